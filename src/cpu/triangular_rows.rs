//! Twin of `triangular_rows`.

use crate::device::{Io, Real};
use crate::kernels::triangular_rows::TriangularRows;

pub fn triangular_rows<R: Real>(t: &TriangularRows<'_>, io: Io<'_, R>) {
    let (m, size) = (t.m(), t.size);
    let given = t.l.map(|_| io.real(0));
    let [rhs, scratch] = io.outs();
    let l: Vec<R> = {
        let whole = given.unwrap_or(rhs);
        (0..size * size).map(|i| whole[(t.start + i / size) * m + t.start + i % size]).collect()
    };
    for r in 0..t.rows {
        let x = &mut rhs[t.rhs.offset + r * t.rhs.ld + t.start..][..size];
        for step in 0..size {
            if t.transposed {
                let c = size - 1 - step;
                let sum: R = (c + 1..size).map(|k| x[k] * l[k * size + c]).sum();
                x[c] = (x[c] - sum) / l[c * size + c];
            } else {
                let sum: R = (0..step).map(|k| x[k] * l[step * size + k]).sum();
                x[step] = (x[step] - sum) / l[step * size + step];
            }
        }
        scratch[r * t.scratch.cols() + t.start..][..size].copy_from_slice(x);
    }
}
