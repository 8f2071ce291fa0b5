//! Twin of `gram`: the product in f64.

use faer::{Accum, Mat, MatRef};

use crate::device::{Io, Real, Twin};
use crate::kernels::gram::Gram;
use crate::linalg::product;

impl Twin for Gram<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let p = io.real(0);
        let [g] = io.outs();
        let (m, [rows, cols]) = (self.p.cols(), self.size());
        let part = |first: usize, count: usize| -> Vec<f64> {
            let samples = p.chunks(m).skip(self.start).take(self.samples);
            samples.flat_map(|row| row[first..][..count].iter().map(|x| x.get())).collect()
        };
        let (a, b) = (part(self.row0, rows), part(self.col0, cols));
        let a = MatRef::from_row_major_slice(&a, self.samples, rows);
        let b = MatRef::from_row_major_slice(&b, self.samples, cols);
        let mut sums = Mat::zeros(rows, cols);
        product(sums.as_mut(), Accum::Replace, a.transpose(), b, 1.0);
        let (high, low) = g.split_at_mut(rows * cols);
        for i in 0..rows {
            for j in 0..if self.diagonal() { i + 1 } else { cols } {
                let at = i * cols + j;
                let sum = sums[(i, j)] + low[at].get() + high[at].get();
                high[at] = R::of(sum);
                low[at] = R::of(sum - high[at].get());
                if self.diagonal() {
                    (high[j * cols + i], low[j * cols + i]) = (high[at], low[at]);
                }
            }
        }
    }
}
