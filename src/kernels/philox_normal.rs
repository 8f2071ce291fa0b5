//! The noise of one module: normal numbers from a counter-based generator.

use crate::device::{Caps, Constant, DType, Kernel, Operand, Plan, Tensor, View, grid, write};
use crate::{Error, Result, params};

/// Threads of a workgroup.
const WG: usize = 64;

/// What one module's noise depends on, beside the element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    pub seed: u64,
    pub layer: u32,
    pub task: u32,
    pub step: u32,
    /// Rows of the batch that come before these, where it is taken in parts: the parts draw what the whole would.
    pub first_row: u32,
}

impl Stream {
    /// Words 2 and 3 of the counter.
    pub fn counter(&self) -> [u32; 2] {
        [self.layer * 65_536 + self.task, self.step]
    }
}

params! {
    /// Uniforms of `philox_normal.wgsl`.
    pub struct PhiloxNormalParams {
        rows: u32, d2: u32, quads: u32,
        seed_low: u32, seed_high: u32,
        /// `layer * 65536 + task`
        upper: u32,
        step: u32,
        first_row: u32,
    }
}

/// Fills `out` with N(0, 1) from Philox4x32-10 and Box-Muller (SPEC section 4).
///
/// # Shapes
/// out [rows, e] with e = d2 rounded up to a multiple of 4; the padding becomes zero. An `out` of integers receives
/// the raw random words instead and needs d2 = e.
#[derive(Clone, Copy, Debug)]
pub struct PhiloxNormal<'a> {
    pub out: &'a Tensor,
    /// Width without padding.
    pub d2: usize,
    pub stream: Stream,
}

impl PhiloxNormal<'_> {
    /// Whether the random words themselves are asked for.
    pub(crate) fn raw(&self) -> bool {
        self.out.dtype() == DType::U32
    }
}

impl Kernel for PhiloxNormal<'_> {
    const NAME: &'static str = "philox_normal";
    type Params = PhiloxNormalParams;

    fn params(&self) -> PhiloxNormalParams {
        let [upper, step] = self.stream.counter();
        PhiloxNormalParams {
            rows: self.out.rows() as u32,
            d2: self.d2 as u32,
            quads: self.out.cols() as u32 / 4,
            seed_low: self.stream.seed as u32,
            seed_high: (self.stream.seed >> 32) as u32,
            upper,
            step,
            first_row: self.stream.first_row,
        }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let (e, d2) = (self.out.cols(), self.d2);
        if e != d2.next_multiple_of(4) || (self.raw() && e != d2) {
            return Err(Error::shape(
                Self::NAME,
                "out",
                format!("{} columns", d2.next_multiple_of(4)),
                self.out.shape(),
            ));
        }
        let dtype = if self.raw() { DType::U32 } else { DType::Real };
        Ok(vec![write(1, "out", View::all(self.out)).of(dtype)])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(Plan {
            shader: "philox_normal",
            constants: vec![
                ("RAW", Constant::Flag(self.raw())),
                ("ALIGNED", Constant::Flag(self.d2 == self.out.cols())),
                ("WG", Constant::U32(WG as u32)),
            ],
            workgroup: WG as u32,
            shared_bytes: 0,
            groups: grid(self.out.len().div_ceil(4 * WG), caps),
        })
    }
}
