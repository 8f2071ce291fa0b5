//! Sampling and mixture of one module, as steps of their own: the unfused form of the noise layer.

use crate::device::{Caps, Constant, Kernel, Operand, Plan, Tensor, View, grid, read, write};
use crate::{Error, Result, params};

/// Threads of a workgroup; each makes four neighbouring units.
const WG: usize = 64;

params! {
    /// Uniforms of `noise_combine.wgsl`.
    pub struct NoiseCombineParams {
        rows: u32,
        /// e / 4
        quads: u32,
        /// (Elements of a row of `maps`) / 4.
        maps_quads: u32,
        index: u32,
        modules: u32,
        /// Whether earlier contents of the result are kept.
        keep: u32,
    }
}

/// Which way the step goes.
#[derive(Clone, Copy, Debug)]
pub enum Direction<'a> {
    /// `mixed = [keep] mixed + omega_i z`.
    Forward { maps: &'a Tensor, mixed: &'a Tensor, keep: bool },
    /// `dmaps = omega_i (dz | dz eps)`; with `scores` = (maps, domega), `domega[group][i]` = the group's part of `<dz, z>`.
    Backward { dz: &'a Tensor, dmaps: &'a Tensor, scores: Option<(&'a Tensor, &'a Tensor)> },
}

/// One module's step from `maps` = (mu | s) to the mixture of `z = mu + eps s`, or back; from mu alone to that of `z = mu`,
/// and where there is eps, from s alone to that of `z = eps s`.
///
/// # Shapes
/// maps, dmaps [rows, 2e] or, one of the two alone, [rows, e]; eps, mixed, dz [rows, e], e a multiple of 4; omega [>= modules];
/// domega [[`partial_rows`], modules]. Without `eps`, sigma (where there is one) counts once.
#[derive(Clone, Copy, Debug)]
pub struct NoiseCombine<'a> {
    pub omega: &'a Tensor,
    pub eps: Option<&'a Tensor>,
    pub direction: Direction<'a>,
    pub e: usize,
    pub module: usize,
    pub modules: usize,
}

/// Rows of the partial sums of omega's gradient.
pub fn partial_rows(rows: usize, e: usize) -> usize {
    (rows * e).div_ceil(4 * WG)
}

impl NoiseCombine<'_> {
    /// (mu | s), or its gradient.
    pub(crate) fn maps(&self) -> &Tensor {
        match self.direction {
            Direction::Forward { maps, .. } => maps,
            Direction::Backward { dmaps, .. } => dmaps,
        }
    }

    /// Whether mu and s are both there.
    pub(crate) fn both(&self) -> bool {
        self.maps().cols() > self.e
    }
}

impl Kernel for NoiseCombine<'_> {
    const NAME: &'static str = "noise_combine";
    type Params = NoiseCombineParams;

    fn params(&self) -> NoiseCombineParams {
        NoiseCombineParams {
            rows: self.maps().rows() as u32,
            quads: self.e as u32 / 4,
            maps_quads: self.maps().cols() as u32 / 4,
            index: self.module as u32,
            modules: self.modules as u32,
            keep: matches!(self.direction, Direction::Forward { keep: true, .. }).into(),
        }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let (rows, width, e) = (self.maps().rows(), self.maps().cols(), self.e);
        if !e.is_multiple_of(4) || (width != e && width != 2 * e) {
            return Err(Error::shape(Self::NAME, "maps", format!("{e} or {} columns", 2 * e), self.maps().shape()));
        }
        if self.module >= self.modules {
            return Err(Error::shape(Self::NAME, "omega", format!("{} modules", self.module + 1), self.modules));
        }
        let wide = |x| View::shaped(x, [rows, width]);
        let narrow = |x| View::shaped(x, [rows, e]);
        let mut all = vec![read(1, "omega", View::span(self.omega, 0, self.modules))];
        all.extend(self.eps.map(|eps| read(2, "eps", narrow(eps))));
        match self.direction {
            Direction::Forward { maps, mixed, .. } => {
                all.extend([read(3, "maps", wide(maps)), write(5, "mixed", narrow(mixed))]);
            }
            Direction::Backward { dz, dmaps, scores } => {
                all.extend(scores.map(|(maps, _)| read(3, "maps", wide(maps))));
                all.extend([read(4, "dz", narrow(dz)), write(5, "dmaps", wide(dmaps))]);
                let shape = [partial_rows(rows, e), self.modules];
                all.extend(scores.map(|(_, domega)| write(6, "domega", View::shaped(domega, shape))));
            }
        }
        Ok(all)
    }

    fn flops(&self) -> f64 {
        4.0 * self.maps().len() as f64
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        let backward = matches!(self.direction, Direction::Backward { .. });
        let scores = matches!(self.direction, Direction::Backward { scores: Some(_), .. });
        Ok(Plan {
            shader: "noise_combine",
            constants: vec![
                ("BOTH", Constant::Flag(self.both())),
                ("SAMPLE", Constant::Flag(self.eps.is_some())),
                ("BACKWARD", Constant::Flag(backward)),
                ("SCORES", Constant::Flag(scores)),
                ("WG", Constant::U32(WG as u32)),
            ],
            workgroup: WG as u32,
            shared_bytes: if scores { 4 * WG as u32 } else { 0 },
            groups: grid(partial_rows(self.maps().rows(), self.e), caps),
        })
    }
}
