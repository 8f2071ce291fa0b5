//! Twin of `pair_product`: the product in f64.

use faer::{Accum, Mat};

use super::pair;
use crate::device::{Io, Real, Twin};
use crate::kernels::pair_product::PairProduct;
use crate::linalg::product;

impl Twin for PairProduct<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let (x, g, scale, diagonal) = (io.real(0), io.real(1), io.real(2), io.real(3));
        let [y] = io.outs();
        let (c, m) = (self.x.rows(), self.x.cols());
        let ([i0, k0, cols, depth], ld) = (self.places(), self.tile.cols());
        let a = Mat::from_fn(depth, cols, |term, col| {
            let (row, to) = (k0 + term, i0 + col);
            let at = if self.transposed { col * ld + term } else { term * ld + col };
            if row == to {
                diagonal[row].get() + diagonal[m + row].get()
            } else {
                (g[at].get() + g[cols * depth + at].get()) * (scale[row].get() * scale[to].get())
            }
        });
        let x = Mat::from_fn(c, depth, |row, term| x[row * m + k0 + term].get());
        let mut sums = Mat::zeros(c, cols);
        product(sums.as_mut(), Accum::Replace, x.as_ref(), a.as_ref(), 1.0);
        let (high, low) = y.split_at_mut(c * m);
        for row in 0..c {
            for col in 0..cols {
                let at = row * m + i0 + col;
                (high[at], low[at]) = pair(high[at].get() + low[at].get() + sums[(row, col)]);
            }
        }
    }
}
