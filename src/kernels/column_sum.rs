//! Sums over the rows of a matrix: gradients of biases and of layer normalisation, means of prototypes.

use crate::device::{Caps, Constant, Kernel, Operand, Plan, Tensor, View, grid, read, write};
use crate::{Result, params};

params! {
    /// Uniforms of `column_sum.wgsl`; strides and offsets in elements.
    pub struct ColumnSumParams {
        rows: u32, cols: u32,
        x_offset: u32, x_ld: u32,
        out_offset: u32,
        accumulate: u32,
        scale: f32,
    }
}

/// `out[out_offset + j] (+)= scale sum_r x[x_offset + r x_ld + j]`, each term times `xhat[r][j]` where `normalised`:
/// then the sum is the gradient of layer normalisation's gamma.
///
/// # Shapes
/// x holds a matrix [rows, cols] of row stride x_ld; the input of layer normalisation [rows, cols], stats [rows, 2].
#[derive(Clone, Copy, Debug)]
pub struct ColumnSum<'a> {
    pub x: &'a Tensor,
    /// Element of the first row.
    pub x_offset: usize,
    /// Elements from one row to the next.
    pub x_ld: usize,
    pub rows: usize,
    pub cols: usize,
    pub out: &'a Tensor,
    pub out_offset: usize,
    /// Input and stats of the layer normalisation whose output x is the gradient of.
    pub normalised: Option<(&'a Tensor, &'a Tensor)>,
    pub scale: f64,
    /// Adds to `out` instead of overwriting it.
    pub accumulate: bool,
}

impl<'a> ColumnSum<'a> {
    /// All rows of `x` into the whole of `out`.
    pub fn of(x: &'a Tensor, out: &'a Tensor) -> Self {
        Self {
            x,
            x_offset: 0,
            x_ld: x.cols(),
            rows: x.rows(),
            cols: x.cols(),
            out,
            out_offset: 0,
            normalised: None,
            scale: 1.0,
            accumulate: false,
        }
    }
}

impl Kernel for ColumnSum<'_> {
    const NAME: &'static str = "column_sum";
    type Params = ColumnSumParams;

    fn params(&self) -> ColumnSumParams {
        ColumnSumParams {
            rows: self.rows as u32,
            cols: self.cols as u32,
            x_offset: self.x_offset as u32,
            x_ld: self.x_ld as u32,
            out_offset: self.out_offset as u32,
            accumulate: self.accumulate.into(),
            scale: self.scale as f32,
        }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let (rows, cols) = (self.rows, self.cols);
        let mut all = vec![read(1, "x", View::part(self.x, self.x_offset, [rows, cols], self.x_ld))];
        if let Some((z, stats)) = self.normalised {
            all.extend([
                read(2, "z", View::shaped(z, [rows * cols])),
                read(3, "stats", View::shaped(stats, [2 * rows])),
            ]);
        }
        all.push(write(4, "out", View::span(self.out, self.out_offset, cols)));
        Ok(all)
    }

    /// Few rows need few lanes a column.
    fn flops(&self) -> f64 {
        let each = if self.normalised.is_some() { 4.0 } else { 1.0 };
        each * (self.rows * self.cols) as f64
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        let cols = 16;
        let workgroup = cols * if self.rows < 256 { 4 } else { 16 };
        Ok(Plan {
            shader: "column_sum",
            constants: vec![
                ("NORMALISED", Constant::Flag(self.normalised.is_some())),
                ("COLS", Constant::U32(cols)),
                ("WG", Constant::U32(workgroup)),
            ],
            workgroup,
            shared_bytes: 4 * workgroup,
            groups: grid(self.cols.div_ceil(cols as usize), caps),
        })
    }
}
