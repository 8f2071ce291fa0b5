//! Copies a block of a matrix into another: what concatenations, slices, repetitions and scalings are made of.

use super::add::elementwise;
use super::gemm::Mat;
use crate::device::{Caps, Kernel, Operand, Plan, read, write};
use crate::{Result, params};

params! {
    /// Uniforms of `copy_block.wgsl`; n counts the written elements, strides and offsets are in elements.
    pub struct CopyBlockParams {
        n: u32, cols: u32,
        x_offset: u32, x_ld: u32,
        out_offset: u32, out_ld: u32,
        accumulate: u32,
        factor: f32,
    }
}

/// `out[r][c] (+)= factor x[r][c]` for r < rows, c < cols, where both are blocks inside tensors: element (r, c) of a block
/// stands at `offset + r ld + c`. Elements around the block of `out` stay as they are.
///
/// # Shapes
/// x and out hold matrices [rows, cols]; a row stride 0 of x repeats one row. They are different tensors.
#[derive(Clone, Copy, Debug)]
pub struct CopyBlock<'a> {
    /// Only `tensor`, `offset` and `ld` count, of `out` as well.
    pub x: Mat<'a>,
    pub out: Mat<'a>,
    pub rows: usize,
    pub cols: usize,
    pub factor: f64,
    /// Adds to `out` instead of overwriting it.
    pub accumulate: bool,
}

impl Kernel for CopyBlock<'_> {
    const NAME: &'static str = "copy_block";
    type Params = CopyBlockParams;

    fn params(&self) -> CopyBlockParams {
        CopyBlockParams {
            n: (self.rows * self.cols) as u32,
            cols: self.cols as u32,
            x_offset: self.x.offset as u32,
            x_ld: self.x.ld as u32,
            out_offset: self.out.offset as u32,
            out_ld: self.out.ld as u32,
            accumulate: self.accumulate.into(),
            factor: self.factor as f32,
        }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let shape = [self.rows, self.cols];
        Ok(vec![read(1, "x", self.x.view(shape, 1)), write(2, "out", self.out.view(shape, 1))])
    }

    fn flops(&self) -> f64 {
        let each = f64::from(u8::from(self.factor != 1.0) + u8::from(self.accumulate));
        each * (self.rows * self.cols) as f64
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("copy_block", self.rows * self.cols, caps))
    }
}
