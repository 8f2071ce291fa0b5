//! Twin of `error_free`.

use super::two_sum;
use crate::device::{Io, Real, Twin};
use crate::kernels::error_free::ErrorFree;

impl Twin for ErrorFree<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let (a, b) = (io.real(0), io.real(1));
        let [y] = io.outs();
        let n = a.len();
        for i in 0..n {
            let product = a[i] * b[i];
            (y[i], y[n + i]) = two_sum(a[i], b[i]);
            (y[2 * n + i], y[3 * n + i]) = (product, Real::mul_add(a[i], b[i], -product));
        }
    }
}
