//! Matrix product with epilogue: `out = act(alpha A B + bias) + residual (+ out)`.

mod halves;
mod shuffle;
mod variants;

pub use halves::{MATRIX_TILES, MatrixTile};
pub use variants::{TILES, Tile, Variant};

use crate::device::{Caps, DType, Kernel, Operand, Plan, PlanKey, Tensor, Varied, View, read, write};
use crate::{Error, Result, params};

/// Which operand is stored transposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A [m, k], B [k, n].
    NN,
    /// A [m, k], B stored as [n, k].
    NT,
    /// A stored as [k, m], B [k, n].
    TN,
}

/// Function applied to the product plus bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    None,
    /// Exact (erf) GELU.
    Gelu,
    /// `z sigmoid(1.702 z)`.
    QuickGelu,
    Relu,
}

/// A matrix, or a batch of them, inside a tensor.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a> {
    pub tensor: &'a Tensor,
    /// Element at which the first matrix starts.
    pub offset: usize,
    /// Elements from one row to the next.
    pub ld: usize,
    /// Elements from one matrix of the batch to the next.
    pub batch: usize,
}

impl<'a> Mat<'a> {
    /// The whole tensor as one matrix [rows, cols].
    pub fn of(tensor: &'a Tensor) -> Self {
        Self { tensor, offset: 0, ld: tensor.cols(), batch: 0 }
    }

    /// A matrix that starts at element `offset` with row stride `ld`.
    pub fn at(tensor: &'a Tensor, offset: usize, ld: usize) -> Self {
        Self { tensor, offset, ld, batch: 0 }
    }

    /// What `count` matrices [rows, cols] touch.
    pub fn view(self, shape: [usize; 2], count: usize) -> View<'a> {
        View::part(self.tensor, self.offset, shape, self.ld).every(count, self.batch)
    }

    /// The same matrix repeated every `batch` elements.
    pub fn every(self, batch: usize) -> Self {
        Self { batch, ..self }
    }
}

params! {
    /// Uniforms of `gemm.wgsl` and its variants; strides and offsets in elements.
    pub struct GemmParams {
        m: u32, n: u32, k: u32,
        a_offset: u32, a_ld: u32, a_batch: u32,
        b_offset: u32, b_ld: u32, b_batch: u32,
        out_offset: u32, out_ld: u32, out_batch: u32,
        bias_offset: u32, bias_batch: u32,
        accumulate: u32,
        batch: u32,
        alpha: f32,
    }
}

/// One (batched) matrix product.
///
/// # Shapes
/// A [m, k], B [k, n], out, residual and pre [m, n] (the latter two laid out like `out`), bias `[n]`.
#[derive(Clone, Copy, Debug)]
pub struct Gemm<'a> {
    pub layout: Layout,
    /// Rows of the result, its columns, and the length of the sums.
    pub mnk: [usize; 3],
    pub a: Mat<'a>,
    pub b: Mat<'a>,
    pub out: Mat<'a>,
    /// Bias row; only `tensor`, `offset` and `batch` count.
    pub bias: Option<Mat<'a>>,
    pub residual: Option<&'a Tensor>,
    /// Receives the value before the activation, for the backward pass.
    pub pre: Option<&'a Tensor>,
    pub activation: Activation,
    pub alpha: f32,
    /// Adds to `out` instead of overwriting it.
    pub accumulate: bool,
    /// Only tiles that touch the lower triangle are needed; others may be left as they are.
    pub lower: bool,
    pub batch: usize,
}

impl<'a> Gemm<'a> {
    /// The plain product of three whole tensors.
    ///
    /// # Errors
    /// [`Error::Shape`] where the sizes do not fit together.
    pub fn new(layout: Layout, a: &'a Tensor, b: &'a Tensor, out: &'a Tensor) -> Result<Self> {
        let (m, k) = if layout == Layout::TN { (a.cols(), a.rows()) } else { (a.rows(), a.cols()) };
        let (kb, n) = if layout == Layout::NT { (b.cols(), b.rows()) } else { (b.rows(), b.cols()) };
        if k != kb {
            return Err(Error::shape("gemm", "b", format!("sums of length {k}"), b.shape()));
        }
        if (out.rows(), out.cols()) != (m, n) {
            return Err(Error::shape("gemm", "out", [m, n], out.shape()));
        }
        Ok(Self::of(layout, [m, n, k], Mat::of(a), Mat::of(b), Mat::of(out)))
    }

    /// A product of parts of tensors; the caller states the sizes.
    pub fn of(layout: Layout, mnk: [usize; 3], a: Mat<'a>, b: Mat<'a>, out: Mat<'a>) -> Self {
        Self {
            layout,
            mnk,
            a,
            b,
            out,
            bias: None,
            residual: None,
            pre: None,
            activation: Activation::None,
            alpha: 1.0,
            accumulate: false,
            lower: false,
            batch: 1,
        }
    }
}

impl Kernel for Gemm<'_> {
    const NAME: &'static str = "gemm";
    type Params = GemmParams;

    fn params(&self) -> GemmParams {
        let [m, n, k] = self.mnk.map(|x| x as u32);
        let bias = self.bias.map_or((0, 0), |b| (b.offset as u32, b.batch as u32));
        GemmParams {
            m,
            n,
            k,
            a_offset: self.a.offset as u32,
            a_ld: self.a.ld as u32,
            a_batch: self.a.batch as u32,
            b_offset: self.b.offset as u32,
            b_ld: self.b.ld as u32,
            b_batch: self.b.batch as u32,
            out_offset: self.out.offset as u32,
            out_ld: self.out.ld as u32,
            out_batch: self.out.batch as u32,
            bias_offset: bias.0,
            bias_batch: bias.1,
            accumulate: self.accumulate.into(),
            batch: self.batch as u32,
            alpha: self.alpha,
        }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let [m, n, k] = self.mnk;
        let batch = self.batch;
        let a = self.a.view(if self.layout == Layout::TN { [k, m] } else { [m, k] }, batch);
        let b = self.b.view(if self.layout == Layout::NT { [n, k] } else { [k, n] }, batch);
        let out = self.out.view([m, n], batch);
        let weights = if self.b.tensor.dtype() == DType::F16 { DType::F16 } else { DType::Real };
        let mut all = vec![read(1, "a", a), read(2, "b", b).of(weights)];
        all.extend(self.bias.map(|bias| read(3, "bias", Mat { ld: n, ..bias }.view([1, n], batch))));
        all.extend(self.residual.map(|tensor| read(4, "residual", out.like(tensor))));
        all.push(write(5, "out", out));
        all.extend(self.pre.map(|tensor| write(6, "pre", out.like(tensor))));
        Ok(all)
    }

    fn key(&self) -> Option<PlanKey> {
        let [m, n, k] = self.mnk;
        let kinds = [self.layout as usize, self.activation as usize];
        let [a, rest] = self.divisors().map(|x| x.is_multiple_of(4));
        let flags = [
            self.b.tensor.dtype() == DType::F16,
            self.bias.is_some(),
            self.residual.is_some(),
            self.pre.is_some(),
            self.lower,
            a,
            rest,
        ];
        let bits = flags.into_iter().fold(0, |bits, flag| 2 * bits + usize::from(flag));
        Some([m, n, k, self.batch, kinds[0] * 4 + kinds[1], bits])
    }

    fn flops(&self) -> f64 {
        2.0 * self.mnk.iter().map(|&x| x as f64).product::<f64>() * self.batch as f64
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        self.chosen(caps)
    }
}
