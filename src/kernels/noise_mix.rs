//! The noise layer in one dispatch.

mod layout;

pub use layout::PhiLayout;

use super::philox_normal::Stream;
use crate::device::{Caps, Constant, DeviceClass, Kernel, Operand, Plan, Tensor, View, grid, read, write};
use crate::{Error, Result, params};

/// What multiplies sigma.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// eps = 0: the mean, for evaluation; sigma is not computed and gets zero gradients.
    Mean,
    /// eps = 1 (profile `official`).
    Plain,
    /// eps ~ N(0, 1), independent per module, token and unit.
    /// `first_row` rows of tokens come before these where a batch is taken in parts.
    Sample { seed: u64, layer: u32, step: u32, first_row: u32 },
}

impl Noise {
    /// The random numbers of module `task`; all zero where none are drawn.
    pub(crate) fn stream(self, task: usize) -> Stream {
        match self {
            Self::Sample { seed, layer, step, first_row } => Stream { seed, layer, task: task as u32, step, first_row },
            _ => Stream { seed: 0, layer: 0, task: 0, step: 0, first_row: 0 },
        }
    }

    pub(crate) fn samples(self) -> bool {
        matches!(self, Self::Sample { .. })
    }

    /// Maps of a module that are computed: mu, and sigma unless the mean is asked for.
    pub(crate) fn kinds(self) -> usize {
        if self == Self::Mean { 1 } else { 2 }
    }
}

params! {
    /// Uniforms of `noise_mix.wgsl` and `noise_mix_backward.wgsl`.
    pub struct NoiseMixParams {
        rows: u32, d1: u32, e: u32, d2: u32,
        modules: u32,
        /// Elements of one module's row of phi.
        phi_row: u32,
        seed_low: u32, seed_high: u32,
        /// `layer * 65536`
        upper: u32,
        step: u32,
        first_row: u32,
        /// Backward: whether x is also the residual.
        residual: u32,
    }
}

impl NoiseMixParams {
    pub(super) fn new(x: &Tensor, layout: PhiLayout, modules: usize, noise: Noise) -> Self {
        let stream = noise.stream(0);
        let [upper, step] = stream.counter();
        Self {
            rows: x.rows() as u32,
            d1: x.cols() as u32,
            e: layout.e as u32,
            d2: layout.d2 as u32,
            modules: modules as u32,
            phi_row: layout.len() as u32,
            seed_low: stream.seed as u32,
            seed_high: (stream.seed >> 32) as u32,
            upper,
            step,
            first_row: stream.first_row,
            residual: 0,
        }
    }
}

/// How a workgroup covers token rows: a thread owns four neighbouring units of `per_thread` rows of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowBlock {
    /// Rows that are computed together.
    rows: usize,
    per_thread: usize,
    /// Threads along the units.
    units: usize,
    /// Elements of workgroup memory.
    floats: usize,
}

/// What the choice of a tile depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    pub kernel: &'static str,
    pub layout: PhiLayout,
    /// Vectors of e elements that each row keeps while modules pass, and those of one module.
    pub kept: usize,
    pub passing: usize,
    /// The kept vectors beyond these stand in workgroup memory.
    pub in_registers: usize,
}

impl RowBlock {
    /// # Errors
    /// [`Error::Limit`] where not even one row fits into workgroup memory.
    pub fn new(demand: &Demand, caps: &Caps) -> Result<Self> {
        let e = demand.layout.e;
        let units = e / 4;
        let threads = caps.max_invocations.min(256) as usize;
        let limit = |what: &str, needed: usize, limit: usize| Error::Limit {
            what: format!("{what} of kernel `{}` with noise_hidden {e}", demand.kernel),
            subject: "this device".into(),
            needed: needed as u64,
            limit: limit as u64,
            way_out: "use a smaller noise_hidden or --device cpu",
        };
        if units > threads {
            return Err(limit("the workgroup", units, threads));
        }
        let row_floats = e * (demand.passing + demand.kept - demand.in_registers);
        // One element for each thread is left for sums.
        let memory = (caps.workgroup_memory as usize / 4).saturating_sub(threads);
        let fitting = memory / row_floats;
        if fitting == 0 {
            return Err(limit("the workgroup memory", (row_floats + threads) * 4, caps.workgroup_memory as usize));
        }
        // Software devices want an address that all lanes share, so that all their threads take the same rows.
        let software = caps.class == DeviceClass::SoftwareGpu;
        // More rows are fewer loads of weights a multiplication. With two vectors of each row in registers eight rows
        // spill on GPUs with few registers, which are those with the least workgroup memory.
        let wide = demand.in_registers == 1 || caps.workgroup_memory > 32 << 10;
        let (most_rows, most_groups) = match (software, wide) {
            (true, _) => (16, 1),
            (_, true) => (8, 128 / units),
            (_, false) => (4, 128 / units),
        };
        let groups = most_groups.clamp(1, threads / units).min(fitting).min(64 / most_rows);
        let per_thread = [16, 12, 8, 6, 4, 3, 2, 1].into_iter().find(|&n| n <= most_rows && n * groups <= fitting);
        let per_thread = per_thread.unwrap_or(1);
        let rows = groups * per_thread;
        Ok(Self { rows, per_thread, units, floats: rows * row_floats })
    }

    pub fn threads(&self) -> usize {
        self.units * (self.rows / self.per_thread)
    }

    /// Workgroups for `rows` token rows.
    pub fn groups(&self, rows: usize) -> usize {
        rows.div_ceil(self.rows)
    }

    /// The plan of a shader that uses workgroup memory for nothing else, with its flags of layout and noise.
    pub fn plan(&self, shader: &'static str, rows: usize, layout: PhiLayout, noise: Noise, caps: &Caps) -> Plan {
        let number = |name, x: usize| (name, Constant::U32(x as u32));
        let mut constants = flags(layout, noise);
        constants.extend([
            number("ROWS", self.rows),
            number("PER_THREAD", self.per_thread),
            number("UNITS", self.units),
            number("WG", self.threads()),
        ]);
        Plan {
            shader,
            constants,
            workgroup: self.threads() as u32,
            shared_bytes: 4 * self.floats as u32,
            groups: grid(self.groups(rows), caps),
        }
    }
}

/// Flags of layout and noise, for all shaders of the layer.
pub(super) fn flags(layout: PhiLayout, noise: Noise) -> Vec<(&'static str, Constant)> {
    vec![
        ("TWO", Constant::Flag(layout.layers == 2)),
        ("MEAN", Constant::Flag(noise == Noise::Mean)),
        ("SAMPLE", Constant::Flag(matches!(noise, Noise::Sample { .. }))),
        ("ALIGNED", Constant::Flag(layout.d2 == layout.e)),
    ]
}

/// Lanes of a workgroup whose lanes take rows, and quads of units that a lane makes together.
pub(super) const LANES: usize = 8;
const QUADS: usize = 4;

/// The plan of a shader for software devices, whose lanes take `per_lane` rows; without workgroup memory.
pub(super) fn rows_plan(
    shader: &'static str,
    per_lane: usize,
    rows: usize,
    layout: PhiLayout,
    noise: Noise,
    caps: &Caps,
) -> Plan {
    let number = |name, x: usize| (name, Constant::U32(x as u32));
    let mut constants = flags(layout, noise);
    let lanes = [number("WG", LANES), number("ROWS", per_lane), number("QUADS", QUADS)];
    constants.extend(lanes.into_iter().chain([number("UNITS", layout.e / 4)]));
    let groups = grid(rows.div_ceil(per_lane * LANES), caps);
    Plan { shader, constants, workgroup: LANES as u32, shared_bytes: 0, groups }
}

/// Whether a lane of `steps` loop iterations in all is safe: older llvmpipe silently ends all loops of an invocation
/// after 65,535.
pub(super) fn loops_fit(steps: usize) -> bool {
    steps < 60_000
}

/// Loop iterations of a product with `n` results and sums of length `k`, both in quads.
pub(super) fn product_steps(n: usize, k: usize) -> usize {
    n.div_ceil(QUADS) * (k + 1)
}

/// `y = residual + (sum_i omega_i (mu_i(h) + eps_i s_i(h))) U`, `h = x D`, with nothing of size modules x tokens in
/// memory; the residual may be x itself.
///
/// # Shapes
/// x, residual, y [rows, d1], d1 a multiple of 4; proj: D [d1, e], then U [e, d1]; phi [>= modules, P]; omega [>= modules];
/// `mean` [e + 1, e], for one-layer maps: what [`super::mean_map::MeanMap`] makes of them.
///
/// # Source
/// MiN (arXiv 2509.16738), equations of the mixture of noise; the layout is [`PhiLayout`]'s.
#[derive(Clone, Copy, Debug)]
pub struct NoiseMix<'a> {
    pub x: &'a Tensor,
    pub residual: &'a Tensor,
    pub proj: &'a Tensor,
    pub phi: &'a Tensor,
    pub omega: &'a Tensor,
    pub mean: Option<&'a Tensor>,
    pub y: &'a Tensor,
    pub layout: PhiLayout,
    pub modules: usize,
    pub noise: Noise,
}

/// Rows of a lane of the variant for software devices, where it runs: h waits in the rows of y, with two layers the
/// mixture too, and g in workgroup memory.
pub(crate) fn rows_per_lane(d1: usize, layout: PhiLayout, modules: usize, caps: &Caps) -> Option<usize> {
    let (inner, units) = (d1 / 4, layout.e / 4);
    let fits = |n: &usize| rows_bytes(*n, layout) <= caps.workgroup_memory as usize;
    // With two layers more rows would be 10 % faster, but compile twice as long.
    let most = if layout.layers == 1 { 8 } else { 4 };
    let per_lane = [8, 5, 4, 2, 1].into_iter().filter(|&n| n <= most).find(fits)?;
    let module = 2 * (2 * product_steps(units, units) + per_lane * units + per_lane * units.next_multiple_of(QUADS));
    let steps = modules * module + product_steps(units, inner) + product_steps(inner, units);
    let applies = caps.class == DeviceClass::SoftwareGpu && inner >= 2 * units && loops_fit(steps);
    applies.then_some(per_lane)
}

/// Bytes of g, or with one layer of the mixture, for the rows of a workgroup.
fn rows_bytes(per_lane: usize, layout: PhiLayout) -> usize {
    per_lane * LANES * layout.e * 4
}

/// Kept: h and the mixture. Passing: g, or nothing, since then the mixture takes the place of h.
pub(crate) fn row_block(layout: PhiLayout, caps: &Caps) -> Result<RowBlock> {
    let passing = (layout.layers == 2).into();
    RowBlock::new(&Demand { kernel: NoiseMix::NAME, layout, kept: 2, passing, in_registers: 1 }, caps)
}

impl NoiseMix<'_> {
    /// Modules that are gone through one by one: none where all maps are in the mean.
    pub(crate) fn passes(&self) -> usize {
        if self.layout.layers == 2 || matches!(self.noise, Noise::Sample { .. }) { self.modules } else { 0 }
    }
}

impl Kernel for NoiseMix<'_> {
    const NAME: &'static str = "noise_mix";
    type Params = NoiseMixParams;

    fn params(&self) -> NoiseMixParams {
        NoiseMixParams::new(self.x, self.layout, self.passes(), self.noise)
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let shape = self.layout.tokens(Self::NAME, self.x)?;
        let [x, residual, y] = [self.x, self.residual, self.y].map(|x| View::shaped(x, shape));
        let mut all = vec![read(1, "x", x), read(2, "proj", self.layout.projections(self.proj, shape[1]))];
        if self.passes() > 0 {
            all.push(read(3, "phi", self.layout.modules(self.phi, self.modules)));
            all.push(read(4, "omega", View::span(self.omega, 0, self.modules)));
        }
        all.push(read(5, "residual", residual));
        if self.layout.layers == 1 {
            let Some(mean) = self.mean else {
                return Err(Error::Unsupported("noise_mix: one-layer maps need their mean".into()));
            };
            all.push(read(6, "mean", self.layout.mean(mean)));
        }
        all.push(write(7, "y", y));
        Ok(all)
    }

    fn flops(&self) -> f64 {
        let maps = match (self.layout.layers, self.noise) {
            (2, _) => 2 * self.modules,
            // The mean of all maps, and what is sampled.
            (_, Noise::Sample { .. }) => self.modules + 1,
            _ => 1,
        };
        self.x.rows() as f64 * (2 * self.proj.len() + maps * self.layout.len()) as f64
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        let (rows, layout) = (self.x.rows(), self.layout);
        if let Some(per_lane) = rows_per_lane(self.x.cols(), layout, self.modules, caps) {
            let plan = rows_plan("noise_mix_rows", per_lane, rows, layout, self.noise, caps);
            return Ok(Plan { shared_bytes: rows_bytes(per_lane, layout) as u32, ..plan });
        }
        Ok(row_block(layout, caps)?.plan("noise_mix", rows, layout, self.noise, caps))
    }
}
