//! The noise layer in one dispatch.

use super::noise::{Noise, PhiLayout};
use crate::device::{Bound, Caps, Constant, DeviceClass, Io, Kernel, Plan, Real, Tensor, grid, read, write};
use crate::{Error, Result, cpu, params};

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
        }
    }
}

/// How a workgroup covers its tile of token rows: a thread owns four neighbouring units of `per_thread` rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    /// Rows of the workgroup.
    pub rows: usize,
    pub per_thread: usize,
    /// Threads along the units.
    pub cols: usize,
}

impl Tile {
    /// The largest tile whose `row_floats` elements a row fit into workgroup memory.
    ///
    /// # Errors
    /// [`Error::Limit`] where not even one row fits.
    pub fn new(kernel: &str, e: usize, row_floats: usize, caps: &Caps) -> Result<Self> {
        let cols = e / 4;
        let limit = |what: &str, needed: usize, limit: u32| Error::Limit {
            what: format!("{what} of kernel `{kernel}` with noise_hidden {e}"),
            subject: "this device".into(),
            needed: needed as u64,
            limit: limit.into(),
            way_out: "use a smaller noise_hidden or --device cpu",
        };
        if cols > caps.max_invocations as usize {
            return Err(limit("the workgroup", cols, caps.max_invocations));
        }
        let fitting = caps.workgroup_memory as usize / (row_floats * 4);
        if fitting == 0 {
            return Err(limit("the workgroup memory", row_floats * 4, caps.workgroup_memory));
        }
        // Software devices want an address that all lanes share, so that all their threads take the same rows.
        let (most_rows, most_groups) = if caps.class == DeviceClass::SoftwareGpu { (8, 1) } else { (4, 128 / cols) };
        let groups = most_groups.clamp(1, caps.max_invocations as usize / cols);
        let groups = groups.min(fitting).min(cpu::noise_mix::TILE / most_rows);
        let per_thread = [8, 6, 4, 3, 2, 1].into_iter().find(|&n| n <= most_rows && n * groups <= fitting);
        let per_thread = per_thread.unwrap_or(1);
        Ok(Self { rows: groups * per_thread, per_thread, cols })
    }

    pub fn threads(&self) -> usize {
        self.cols * (self.rows / self.per_thread)
    }

    /// The constants that both shaders import, and the flags of layout and noise.
    pub fn constants(&self, layout: PhiLayout, noise: Noise) -> Vec<(&'static str, Constant)> {
        let number = |name, x: usize| (name, Constant::U32(x as u32));
        let flag = |name, on| (name, Constant::Flag(on));
        vec![
            flag("TWO", layout.layers == 2),
            flag("MEAN", noise == Noise::Mean),
            flag("SAMPLE", matches!(noise, Noise::Sample { .. })),
            flag("ALIGNED", layout.d2 == layout.e),
            number("ROWS", self.rows),
            number("PER_THREAD", self.per_thread),
            number("COLS", self.cols),
            number("WG", self.threads()),
        ]
    }
}

/// `y = x + (sum_i omega_i (mu_i(h) + eps_i s_i(h))) U`, `h = x D`, with nothing of size modules x tokens in memory.
///
/// # Shapes
/// x, y [rows, d1], d1 a multiple of 4; proj: D [d1, e], then U [e, d1]; phi [>= modules, P]; omega [>= modules].
///
/// # Source
/// MiN (arXiv 2509.16738), equations of the mixture of noise; the layout is [`PhiLayout`]'s.
#[derive(Clone, Copy, Debug)]
pub struct NoiseMix<'a> {
    pub x: &'a Tensor,
    pub proj: &'a Tensor,
    pub phi: &'a Tensor,
    pub omega: &'a Tensor,
    pub y: &'a Tensor,
    pub layout: PhiLayout,
    pub modules: usize,
    pub noise: Noise,
}

impl Kernel for NoiseMix<'_> {
    const NAME: &'static str = "noise_mix";
    type Params = NoiseMixParams;

    fn params(&self) -> NoiseMixParams {
        NoiseMixParams::new(self.x, self.layout, self.modules, self.noise)
    }

    fn tensors(&self) -> Vec<Bound<'_>> {
        vec![read(1, self.x), read(2, self.proj), read(3, self.phi), read(4, self.omega), write(5, self.y)]
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        let e = self.layout.e;
        // h, and with two layers g of mu and sigma.
        let row_floats = if self.layout.layers == 2 { 3 * e } else { e };
        let tile = Tile::new(Self::NAME, e, row_floats, caps)?;
        Ok(Plan {
            shader: "noise_mix",
            constants: tile.constants(self.layout, self.noise),
            workgroup: tile.threads() as u32,
            shared_bytes: (tile.rows * row_floats * 4) as u32,
            groups: grid(self.x.rows().div_ceil(tile.rows), caps),
        })
    }

    fn twin<R: Real>(&self, io: Io<'_, R>) {
        cpu::noise_mix::noise_mix(self, io);
    }
}
