//! Twin of `cg_step`.

use super::pair;
use crate::device::{Io, Real, Twin};
use crate::kernels::cg_step::{CgStep, SCALARS};

impl Twin for CgStep<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let (p, y) = (io.real(0), io.real(1));
        let [x, r, z, scalars] = io.outs();
        let (rows, m) = (self.p.rows(), self.p.cols());
        let n = rows * m;
        for row in 0..rows {
            let all = row * m..(row + 1) * m;
            let dot = |a: &[R]| all.clone().map(|i| p[i].get() * a[i].get()).sum::<f64>();
            let curvature = dot(y);
            let alpha = R::of(if curvature > 0.0 { dot(r) / curvature } else { 0.0 });
            scalars[row * SCALARS] = alpha;
            scalars[row * SCALARS + 1] = R::of(curvature);
            for i in all {
                (x[i], x[n + i]) = pair(x[i].get() + (x[n + i].get() + alpha.get() * p[i].get()));
                (r[i], r[n + i]) = pair(r[i].get() + r[n + i].get() - alpha.get() * (y[i].get() + y[n + i].get()));
                z[i] = r[i];
            }
        }
    }
}
