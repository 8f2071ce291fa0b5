//! Twin of `mean_map`.

use crate::device::{Io, Real};
use crate::kernels::mean_map::MeanMap;

pub fn mean_map<R: Real>(k: &MeanMap<'_>, io: Io<'_, R>) {
    let (phi, omega, layout) = (io.real(0), io.real(1), k.layout);
    let [out] = io.outs();
    out.fill(R::of(0.0));
    let (map, bias) = out.split_at_mut(layout.e * layout.e);
    for (row, omega) in phi.chunks(layout.len()).zip(omega).take(k.modules) {
        for kind in 0..if k.plain { 2 } else { 1 } {
            let (w, b) = (&row[layout.w2() + kind * map.len()..], &row[layout.b2() + kind * bias.len()..]);
            map.iter_mut().zip(w).for_each(|(sum, x)| *sum += *omega * *x);
            bias.iter_mut().zip(b).for_each(|(sum, x)| *sum += *omega * *x);
        }
    }
}
