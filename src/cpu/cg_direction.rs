//! Twin of `cg_direction`.

use crate::device::{Io, Real, Twin};
use crate::kernels::cg_direction::CgDirection;
use crate::kernels::cg_step::SCALARS;

impl Twin for CgDirection<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let (z, y, x, r) = (io.real(0), io.real(1), io.real(2), io.real(3));
        let [p, scalars] = io.outs();
        let m = self.p.cols();
        for (row, p) in p.chunks_mut(m.max(1)).enumerate() {
            let own = |x: &'_ [R]| x[row * m..][..m].iter().map(|x| x.get()).collect::<Vec<_>>();
            let [z, y, x, r] = [z, y, x, r].map(own);
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let scalars = &mut scalars[row * SCALARS..][..SCALARS];
            let curvature = scalars[1].get();
            let beta = if curvature > 0.0 { -dot(&z, &y) / curvature } else { 0.0 };
            let t: Vec<f64> = z.iter().zip(p.iter()).map(|(z, p)| z + beta * p.get()).collect();
            let largest = t.iter().fold(0.0, |x: f64, t| x.max(t.abs()));
            let mut unit = f64::powi(2.0, 119);
            while largest * unit >= 512.0 {
                unit *= 0.5;
            }
            for (p, t) in p.iter_mut().zip(t) {
                *p = R::of((t * unit * 512.0).round_ties_even() / 512.0);
            }
            for (scalar, value) in scalars[2..].iter_mut().zip([dot(&r, &r), dot(&z, &z), dot(&x, &x), unit]) {
                *scalar = R::of(value);
            }
        }
    }
}
