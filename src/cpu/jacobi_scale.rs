//! Twin of `jacobi_scale`.

use super::pair;
use crate::device::{Io, Real, Twin};
use crate::kernels::jacobi_scale::JacobiScale;

impl Twin for JacobiScale<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let g = io.real(0);
        let [scale, diagonal] = io.outs();
        let (n, m) = (self.tile.cols(), scale.len());
        for i in 0..n {
            let sum = g[i * n + i].get() + g[n * n + i * n + i].get() + self.gamma;
            let mut power = 1.0;
            while sum > 0.0 && sum * power * power >= 2.0 {
                power *= 0.5;
            }
            while sum > 0.0 && sum * power * power < 0.5 {
                power *= 2.0;
            }
            let to = self.offset + i;
            scale[to] = R::of(power);
            (diagonal[to], diagonal[m + to]) = pair(sum * power * power);
        }
    }
}
