//! Arithmetic of matrices with bounds of the errors that f32 makes in it.

use crate::harness::growth;

pub const EPS: f64 = f32::EPSILON as f64;

/// A matrix of numbers with a bound of the error that f32 arithmetic makes in each. Errors of different origin are taken as
/// independent: they add up in squares, as [`growth`] has it for the roundings of one sum.
#[derive(Clone)]
pub struct Bounded {
    pub cols: usize,
    pub value: Vec<f64>,
    pub error: Vec<f64>,
}

impl Bounded {
    pub fn exact(value: Vec<f64>, cols: usize) -> Self {
        Self { cols, error: vec![0.0; value.len()], value }
    }

    pub fn rows(&self) -> usize {
        self.value.len() / self.cols
    }

    /// `self other`, sums of length k in any order: (growth(k) + 4) eps sum |a||b| beside what the operands bring.
    pub fn times(&self, other: &Self) -> Self {
        let (m, k, n) = (self.rows(), self.cols, other.cols);
        assert_eq!(k, other.rows());
        let mut out = Self::exact(vec![0.0; m * n], n);
        let c = (growth(k) + 4.0) * EPS;
        for i in 0..m {
            let (value, error) = (&mut out.value[i * n..][..n], &mut out.error[i * n..][..n]);
            let mut size = vec![0.0; n];
            for d in 0..k {
                let (a, ea) = (self.value[i * k + d], self.error[i * k + d]);
                let (b, eb) = (&other.value[d * n..][..n], &other.error[d * n..][..n]);
                for j in 0..n {
                    value[j] += a * b[j];
                    size[j] += (a * b[j]).abs();
                    error[j] += (ea * b[j]).powi(2) + (a.abs() + ea).powi(2) * eb[j].powi(2);
                }
            }
            for j in 0..n {
                error[j] = error[j].sqrt().hypot(c * size[j]);
            }
        }
        out
    }

    pub fn transposed(&self) -> Self {
        let (m, n) = (self.rows(), self.cols);
        let turn = |x: &[f64]| (0..m * n).map(|i| x[i % m * n + i / m]).collect();
        Self { cols: m, value: turn(&self.value), error: turn(&self.error) }
    }

    /// Element by element; `f` maps (value, error) pairs and one rounding is added.
    pub fn zip(&self, other: &Self, f: impl Fn((f64, f64), (f64, f64)) -> (f64, f64)) -> Self {
        let mut out = self.clone();
        let rows = other.rows();
        for i in 0..self.value.len() {
            let j = if rows == 1 { i % self.cols } else { i };
            let (v, e) = f((self.value[i], self.error[i]), (other.value[j], other.error[j]));
            (out.value[i], out.error[i]) = (v, e.hypot(2.0 * EPS * v));
        }
        out
    }

    /// The sum; `other` may be one row.
    pub fn plus(&self, other: &Self) -> Self {
        self.zip(other, |(a, ea), (b, eb)| (a + b, ea.hypot(eb).hypot(EPS * (a.abs() + b.abs()))))
    }

    pub fn hadamard(&self, other: &Self) -> Self {
        self.zip(other, |(a, ea), (b, eb)| (a * b, (ea * b).hypot(eb * (a.abs() + ea))))
    }

    pub fn map(&self, f: impl Fn(f64, f64) -> (f64, f64)) -> Self {
        self.zip(self, |(a, ea), _| f(a, ea))
    }

    pub fn scaled(&self, w: f64) -> Self {
        self.map(|a, e| (a * w, e * w.abs()))
    }

    /// GELU: slope below 1.13; erf is exact to 3e-7, which |u| / 2 multiplies.
    pub fn gelu(&self) -> Self {
        self.map(|u, e| (u * cdf(u), 1.13 * e + (2e-7 + 4.0 * EPS) * u.abs()))
    }

    /// Its derivative: slope below 0.8, the same error of erf, and exp within a few eps.
    pub fn gelu_grad(&self) -> Self {
        self.map(|u, e| (cdf(u) + u * (-0.5 * u * u).exp() * 0.398_942_280_401_432_7, 0.8 * e + 2e-7 + 8.0 * EPS))
    }
}

fn cdf(u: f64) -> f64 {
    0.5 * (1.0 + libm::erf(u * std::f64::consts::FRAC_1_SQRT_2))
}
