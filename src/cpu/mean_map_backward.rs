//! Twin of `mean_map_backward`.

use rayon::prelude::*;

use super::noise_mix_backward::dot;
use crate::device::{Io, Real, Twin};
use crate::kernels::mean_map_backward::MeanMapBackward;

impl Twin for MeanMapBackward<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let (phi, omega, grad, layout) = (io.real(0), io.real(1), io.real(2), self.layout);
        let [dphi, domega] = io.outs();
        let e = layout.e;
        let (map, bias) = grad.split_at(e * e);
        let kinds = if self.plain { 2 } else { 1 };
        domega.par_iter_mut().zip(phi.par_chunks(layout.len())).for_each(|(domega, row)| {
            let of = |kind: usize| {
                let (w, b) = (&row[layout.w2() + kind * e * e..], &row[layout.b2() + kind * e..]);
                let products: R = w.chunks(e).zip(map.chunks(e)).map(|(w, d)| dot(w, d)).sum();
                products + dot(&b[..e], bias)
            };
            *domega = (0..kinds).map(of).sum();
        });
        dphi.fill(R::of(0.0));
        let omega = omega[self.modules - 1];
        for kind in 0..kinds {
            let (to, bias_to) = (layout.w2() + kind * e * e, layout.b2() + kind * e);
            dphi[to..].iter_mut().zip(map).for_each(|(to, d)| *to = omega * *d);
            dphi[bias_to..].iter_mut().zip(bias).for_each(|(to, d)| *to = omega * *d);
        }
    }
}
