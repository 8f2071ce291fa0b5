//! Products of matrices and their epilogues by plain loops, with bounds of their rounding errors.

use minoise::device::Tensor;
use minoise::kernels::gemm::{Layout, Mat};

use crate::harness::numbers;

pub fn shapes(layout: Layout, [m, n, k]: [usize; 3]) -> ([usize; 2], [usize; 2]) {
    let a = if layout == Layout::TN { [k, m] } else { [m, k] };
    let b = if layout == Layout::NT { [n, k] } else { [k, n] };
    (a, b)
}

pub const EPS: f64 = f32::EPSILON as f64;

/// A matrix, or a batch of them, inside an array; NaN around and between them.
#[derive(Clone)]
pub struct Part {
    pub data: Vec<f32>,
    offset: usize,
    ld: usize,
    every: usize,
}

impl Part {
    pub fn whole(data: Vec<f32>, cols: usize) -> Self {
        Self { data, offset: 0, ld: cols, every: 0 }
    }

    /// `numbers` in matrices that start at `pad` and have `pad` elements behind each row and each matrix.
    pub fn inside(seed: u64, batch: usize, [rows, cols]: [usize; 2], pad: usize) -> Self {
        let (ld, every) = (cols + pad, rows * (cols + pad) + pad);
        let mut part = Self { data: vec![f32::NAN; pad + batch * every], offset: pad, ld, every };
        for (i, x) in numbers(seed, batch * rows * cols).into_iter().enumerate() {
            let at = part.at(i / (rows * cols), i / cols % rows, i % cols);
            part.data[at] = x;
        }
        part
    }

    pub fn at(&self, z: usize, row: usize, col: usize) -> usize {
        self.offset + z * self.every + row * self.ld + col
    }

    /// The same place in a tensor that holds `data`.
    pub fn mat<'a>(&self, tensor: &'a Tensor) -> Mat<'a> {
        Mat::at(tensor, self.offset, self.ld).every(self.every)
    }

    pub fn map(&self, f: impl Fn(f32) -> f32) -> Self {
        Self { data: self.data.iter().copied().map(f).collect(), ..self.clone() }
    }
}

/// Sums `a b` of one matrix of a batch, and sums `|a| |b|`, by plain loops in f64.
pub fn sums(layout: Layout, [m, n, k]: [usize; 3], a: &Part, b: &Part, z: usize) -> [Vec<f64>; 2] {
    let (mut sums, mut sizes) = (vec![0.0; m * n], vec![0.0; m * n]);
    for i in 0..m {
        for j in 0..n {
            for t in 0..k {
                let x = a.data[if layout == Layout::TN { a.at(z, t, i) } else { a.at(z, i, t) }];
                let y = b.data[if layout == Layout::NT { b.at(z, j, t) } else { b.at(z, t, j) }];
                let product = f64::from(x) * f64::from(y);
                sums[i * n + j] += product;
                sizes[i * n + j] += product.abs();
            }
        }
    }
    [sums, sizes]
}

/// Rounding error of sums of length k: (k + 4) eps sum |a||b|.
pub fn bound(k: usize, sizes: &[f64], extra: f64) -> Vec<f64> {
    sizes.iter().map(|s| ((k + 4) as f64 * s + extra) * EPS).collect()
}

/// What an epilogue adds: bias [n], residual and earlier contents [m, n].
#[derive(Clone)]
pub struct Epilogue {
    pub bias: Vec<f32>,
    pub residual: Vec<f32>,
    pub before: Vec<f32>,
}

pub const ALPHA: f32 = 0.75;

impl Epilogue {
    pub fn new([m, n, _]: [usize; 3]) -> Self {
        Self { bias: numbers(3, n), residual: numbers(4, m * n), before: numbers(5, m * n) }
    }

    /// (out, pre) of `out = gelu(alpha A B + bias) + residual + out` from the sums.
    pub fn naive(&self, sums: &[f64]) -> [Vec<f64>; 2] {
        let bias = self.bias.iter().cycle();
        let pre: Vec<_> = sums.iter().zip(bias).map(|(s, b)| f64::from(ALPHA) * s + f64::from(*b)).collect();
        let added = self.residual.iter().zip(&self.before).map(|(r, b)| f64::from(*r) + f64::from(*b));
        let gelu = |u: f64| 0.5 * u * (1.0 + libm::erf(u * std::f64::consts::FRAC_1_SQRT_2));
        [pre.iter().zip(added).map(|(u, added)| gelu(*u) + added).collect(), pre]
    }
}
