//! Twin of `triangular_rows`.

use crate::device::{Io, Real, Twin};
use crate::kernels::triangular_rows::TriangularRows;

impl Twin for TriangularRows<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let (m, size) = (self.m(), self.size);
        let given = self.l.map(|_| io.real(0));
        let [rhs, scratch] = io.outs();
        let l: Vec<R> = {
            let whole = given.unwrap_or(rhs);
            (0..size * size).map(|i| whole[(self.start + i / size) * m + self.start + i % size]).collect()
        };
        for r in 0..self.rows {
            let x = &mut rhs[self.rhs.offset + r * self.rhs.ld + self.start..][..size];
            for step in 0..size {
                if self.transposed {
                    let c = size - 1 - step;
                    let sum: R = (c + 1..size).map(|k| x[k] * l[k * size + c]).sum();
                    x[c] = (x[c] - sum) / l[c * size + c];
                } else {
                    let sum: R = (0..step).map(|k| x[k] * l[step * size + k]).sum();
                    x[step] = (x[step] - sum) / l[step * size + step];
                }
            }
            scratch[r * self.scratch.cols() + self.start..][..size].copy_from_slice(x);
        }
    }
}
