//! Matrix product with epilogue: `out = act(alpha A B + bias) + residual (+ out)`.

mod halves;

pub use halves::{MATRIX_TILES, MatrixTile};

use crate::device::{Bound, Caps, Constant, DType, DeviceClass, Io, Kernel, Plan, Real, Tensor, read, write};
use crate::{Error, Result, cpu, params};

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
        alpha: f32,
    }
}

/// What one workgroup and one thread of `gemm.wgsl` make.
#[derive(Clone, Copy, Debug)]
pub struct Tile {
    pub rows: usize,
    pub cols: usize,
    /// Rows and columns of a thread, multiples of 4.
    thread: [usize; 2],
    /// Time of one element on a busy device, relative to the others.
    cost: usize,
}

/// Tiles for large results, for small ones and for narrow ones.
pub const TILES: [Tile; 6] = [
    Tile { rows: 128, cols: 128, thread: [8, 8], cost: 100 },
    Tile { rows: 64, cols: 64, thread: [8, 4], cost: 110 },
    Tile { rows: 64, cols: 32, thread: [4, 4], cost: 125 },
    Tile { rows: 32, cols: 32, thread: [4, 4], cost: 135 },
    Tile { rows: 64, cols: 16, thread: [4, 4], cost: 150 },
    Tile { rows: 16, cols: 64, thread: [4, 4], cost: 150 },
];
const SMALL: usize = 3;

/// Workgroups that a device is taken to run at once: fewer leave a part of it idle.
pub(super) const RESIDENT: usize = 64;

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

    /// Offset and strides of A, and those of B and the result with its width, by their bits: 4 divides all that it
    /// divides together.
    fn divisors(&self) -> [usize; 2] {
        let [a, b, out] = [&self.a, &self.b, &self.out].map(|x| x.offset | x.ld | x.batch);
        [a, b | out | self.mnk[1]]
    }

    /// Whether `gemm.wgsl` may access all matrices by quads.
    fn aligned(&self) -> bool {
        let [m, _, k] = self.mnk;
        let [a, rest] = self.divisors();
        (a | rest | if self.layout == Layout::TN { m } else { k }).is_multiple_of(4)
    }

    /// Whether `gemm_rows.wgsl` can serve.
    fn rows_apply(&self) -> bool {
        let k = self.mnk[2];
        let [a, rest] = self.divisors();
        let a_fits = self.layout == Layout::TN || (a | k).is_multiple_of(4);
        a_fits && rest.is_multiple_of(4) && self.b.tensor.dtype() != DType::F16 && k > 0
    }

    /// The tile that is least work for a device that runs [`RESIDENT`] workgroups at once, what lies beyond the edges
    /// included.
    fn tile(&self) -> &'static Tile {
        let work = |t: &Tile| self.groups(t.rows, t.cols).max(RESIDENT) * t.rows * t.cols * t.cost;
        TILES.iter().min_by_key(|t| work(t)).expect("a table")
    }

    fn groups(&self, rows: usize, cols: usize) -> usize {
        let [m, n, _] = self.mnk;
        m.div_ceil(rows) * n.div_ceil(cols) * self.batch
    }

    /// The plan of `gemm.wgsl` with the given tile.
    pub fn tiled(&self, tile: &Tile) -> Plan {
        // The largest tile fills the 16 KiB of workgroup memory that all devices have.
        self.by_tile("gemm", tile, 16, 4)
    }

    /// The plan of a shader like `gemm.wgsl` that holds `depth` terms of the sums in workgroup memory.
    fn by_tile(&self, shader: &'static str, tile: &Tile, depth: usize, bytes: usize) -> Plan {
        let &Tile { rows, cols, thread: [tm, tn], .. } = tile;
        let aligned = ("ALIGNED", Constant::Flag(self.aligned()));
        let numbers = [("BM", rows), ("BN", cols), ("BK", depth), ("TM", tm), ("TN", tn)].map(number);
        let own = [aligned].into_iter().chain(numbers);
        Plan {
            shared_bytes: (bytes * depth * (rows + cols)) as u32,
            ..self.planned(shader, own, [rows, cols], rows / tm * (cols / tn))
        }
    }

    /// The plan of `gemm_rows.wgsl`.
    fn rowwise(&self) -> Plan {
        let (quads, rows, wg) = (4, 8, 8);
        let own = [("ROWS", rows), ("QUADS", quads)].map(number);
        self.planned("gemm_rows", own, [rows * wg, 4 * quads], wg)
    }

    /// The flags that all shaders know, then a shader's own constants; a workgroup for each `tile` of the result.
    fn planned(
        &self,
        shader: &'static str,
        own: impl IntoIterator<Item = (&'static str, Constant)>,
        tile: [usize; 2],
        workgroup: usize,
    ) -> Plan {
        let [m, n, _] = self.mnk;
        let flags = [
            ("NT", self.layout == Layout::NT),
            ("TN", self.layout == Layout::TN),
            ("F16", self.b.tensor.dtype() == DType::F16),
            ("BIAS", self.bias.is_some()),
            ("RESIDUAL", self.residual.is_some()),
            ("PRE", self.pre.is_some()),
            ("GELU", self.activation == Activation::Gelu),
            ("RELU", self.activation == Activation::Relu),
            ("LOWER", self.lower),
        ];
        let flags = flags.map(|(name, on)| (name, Constant::Flag(on)));
        let batch = if m == 0 || n == 0 { 0 } else { self.batch };
        Plan {
            shader,
            constants: flags.into_iter().chain(own).chain([number(("WG", workgroup))]).collect(),
            workgroup: workgroup as u32,
            shared_bytes: 0,
            groups: [n.div_ceil(tile[1]), m.div_ceil(tile[0]), batch].map(|x| x as u32),
        }
    }
}

fn number((name, x): (&'static str, usize)) -> (&'static str, Constant) {
    (name, Constant::U32(x as u32))
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
            alpha: self.alpha,
        }
    }

    fn tensors(&self) -> Vec<Bound<'_>> {
        let mut all = vec![read(1, self.a.tensor), read(2, self.b.tensor)];
        all.extend(self.bias.as_ref().map(|b| read(3, b.tensor)));
        all.extend(self.residual.map(|r| read(4, r)));
        all.push(write(5, self.out.tensor));
        all.extend(self.pre.map(|p| write(6, p)));
        all
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        if caps.class != DeviceClass::SoftwareGpu {
            return Ok(self.tiled(self.tile()));
        }
        // Small tiles compile fast.
        Ok(if self.rows_apply() { self.rowwise() } else { self.tiled(&TILES[SMALL]) })
    }

    fn twin<R: Real>(&self, io: Io<'_, R>) {
        cpu::gemm::gemm(self, io);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;

    #[test]
    fn tiles_follow_the_shape_of_the_result() {
        let device = Device::planner(Caps::floor());
        let x = device.reals(&[1]).unwrap();
        let tile = |m, n| {
            let mat = |ld| Mat::at(&x, 0, ld);
            let tile = Gemm::of(Layout::NN, [m, n, 64], mat(64), mat(n), mat(n)).tile();
            [tile.rows, tile.cols]
        };
        assert_eq!(tile(3152, 768), [128, 128]);
        assert_eq!(tile(3152, 192), [64, 64]);
        assert_eq!(tile(1040, 192), [64, 32]);
        assert_eq!(tile(96, 96), [32, 32]);
        assert_eq!(tile(8192, 10), [64, 16]);
        assert_eq!(tile(10, 8192), [16, 64]);
    }
}
