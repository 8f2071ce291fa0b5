//! Where patches stand: learned embeddings for another number of patches, and tables of angles.

/// Weights of the cubic convolution that Pillow and antialiased resizing use, a = -1/2 (Keys 1981).
fn cubic(x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}

/// For each of `to` places the first of `from` places that it is made of, and their weights. Where there are fewer places
/// than before, the kernel widens (antialiasing); what leaves the edge is left out, and the rest adds up to 1.
fn taps(from: usize, to: usize) -> Vec<(usize, Vec<f64>)> {
    let scale = from as f64 / to as f64;
    let widened = scale.max(1.0);
    (0..to)
        .map(|i| {
            let (centre, support) = (scale * (i as f64 + 0.5), 2.0 * widened);
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(from);
            let weights: Vec<_> = (first..end).map(|j| cubic((j as f64 - centre + 0.5) / widened)).collect();
            let sum: f64 = weights.iter().sum();
            (first, weights.into_iter().map(|w| w / sum).collect())
        })
        .collect()
}

/// A position embedding of `from` x `from` patches for `to` x `to` of them, both [patches, dim] in row order: antialiased
/// bicubic, as timm's `resample_abs_pos_embed`.
pub fn resample(embedding: &[f64], from: usize, to: usize, dim: usize) -> Vec<f64> {
    if from == to {
        return embedding.to_vec();
    }
    let taps = taps(from, to);
    // Along the rows [from, to, dim], then along the columns.
    let mut rows = vec![0.0; from * to * dim];
    for (y, row) in rows.chunks_exact_mut(to * dim).enumerate() {
        for (out, (first, weights)) in row.chunks_exact_mut(dim).zip(&taps) {
            for (x, weight) in (*first..).zip(weights) {
                let patch = &embedding[(y * from + x) * dim..][..dim];
                out.iter_mut().zip(patch).for_each(|(out, p)| *out += weight * p);
            }
        }
    }
    let mut result = vec![0.0; to * to * dim];
    for (line, (first, weights)) in result.chunks_exact_mut(to * dim).zip(&taps) {
        for (y, weight) in (*first..).zip(weights) {
            let row = &rows[y * to * dim..][..to * dim];
            line.iter_mut().zip(row).for_each(|(out, x)| *out += weight * x);
        }
    }
    result
}

/// Cosines and sines [patches, dim] (cos | sin, dim / 2 each) of a square of `grid` x `grid` patches for heads of `dim`
/// columns: patch centres lie in -1..1, and pair i of a quarter turns by `2 pi y / temperature^(4 i / dim)`, those of the
/// next quarter likewise by x (Siméoni et al., "DINOv3").
pub fn rotary(grid: usize, dim: usize, temperature: f64) -> Vec<f64> {
    let place = |i: usize| 2.0 * (i as f64 + 0.5) / grid as f64 - 1.0;
    let quarter = dim / 4;
    let mut table = Vec::with_capacity(grid * grid * dim);
    for patch in 0..grid * grid {
        let angle = |i: usize| {
            let along = place(if i < quarter { patch / grid } else { patch % grid });
            std::f64::consts::TAU * along / temperature.powf(4.0 * (i % quarter) as f64 / dim as f64)
        };
        table.extend((0..2 * quarter).map(|i| angle(i).cos()));
        table.extend((0..2 * quarter).map(|i| angle(i).sin()));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_stay_and_symmetry_is_kept() {
        for (from, to) in [(1, 3), (3, 1), (4, 6), (5, 2), (37, 7), (7, 16)] {
            let flat = resample(&vec![2.5; from * from], from, to, 1);
            assert!(flat.iter().all(|x| (x - 2.5).abs() < 1e-12), "{from} to {to}: {flat:?}");
            let place = |i: usize| (i % from) as f64 - (from as f64 - 1.0) / 2.0;
            let odd = resample(&(0..from * from).map(place).collect::<Vec<_>>(), from, to, 1);
            for x in 0..to {
                assert!((odd[x] + odd[to - 1 - x]).abs() < 1e-12, "{from} to {to}: {odd:?}");
            }
        }
    }

    #[test]
    fn the_four_weights_of_a_place_between_two() {
        // Twice as many: the second new place lies a quarter behind the first old one.
        let (first, weights) = &taps(8, 16)[5];
        assert_eq!(*first, 1);
        let want: Vec<_> = [1.25, 0.25, -0.75, -1.75].map(cubic).into();
        assert!(weights.iter().zip(&want).all(|(w, x)| (w - x).abs() < 1e-12), "{weights:?} for {want:?}");
    }

    #[test]
    fn pairs_turn_by_row_then_by_column() {
        let table = rotary(2, 8, 100.0);
        // Patch 1 stands in the first row (y = -1/2) and the second column (x = 1/2); periods are 1 and 10.
        let turns = [-0.5, -0.05, 0.5, 0.05];
        for (i, turn) in turns.into_iter().enumerate() {
            let (sin, cos) = (std::f64::consts::TAU * turn).sin_cos();
            assert!((table[8 + i] - cos).abs() + (table[12 + i] - sin).abs() < 1e-12);
        }
    }
}
