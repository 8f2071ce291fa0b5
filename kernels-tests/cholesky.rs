//! Factorisation and solve of matrices in tiles, of one tile and of many.

use minoise::algorithms::cholesky::{Factor, factor};
use minoise::algorithms::tiles::Tiles;
use minoise::device::{Device, Tensor};
use minoise::{Error, Result};
use pollster::block_on;

use crate::cholesky_block::positive;
use crate::harness::{Case, Output, case, growth, guarded, numbers, output};

const EPS: f64 = f32::EPSILON as f64;

/// Layers of the lower triangle of `a` [m, m]; NaN above the diagonal, where nothing may be read.
pub fn tiled(device: &Device, layers: &[&[f32]], m: usize, side: usize) -> Result<Tiles> {
    let tiles = Tiles::new(device, m, side, layers.len())?;
    for (i, j) in tiles.places() {
        let (rows, cols) = (tiles.range(i), tiles.range(j));
        let of = |a: &[f32]| -> Vec<f32> {
            let row = |r: usize| cols.clone().map(move |c| if c <= r { a[r * m + c] } else { f32::NAN });
            rows.clone().flat_map(row).collect()
        };
        device.write(tiles.tile(i, j), &layers.iter().flat_map(|a| of(a)).collect::<Vec<_>>())?;
    }
    Ok(tiles)
}

/// The lower triangle as a whole matrix [m, m], from the first layer.
fn whole(device: &Device, tiles: &Tiles) -> Result<Vec<f64>> {
    let m = tiles.size();
    let mut all = vec![0.0; m * m];
    for (i, j) in tiles.places() {
        let tile: Vec<f64> = block_on(device.read(tiles.tile(i, j)))?;
        let (rows, cols) = (tiles.range(i), tiles.range(j));
        for (r, values) in rows.zip(tile.chunks(cols.len())) {
            (cols.clone()).zip(values).filter(|(c, _)| *c <= r).for_each(|(c, x)| all[r * m + c] = *x);
        }
    }
    Ok(all)
}

fn factored(device: &Device, a: &[f32], m: usize, side: usize) -> Result<Factor> {
    let mut columns = 0;
    let factor = factor(device, tiled(device, &[a], m, side)?, &mut |n| columns += n)?;
    assert_eq!(columns, m);
    Ok(factor)
}

/// `A - L L^T` below and on the diagonal, computed in f64: the f64 device leaves next to nothing.
fn residual(device: &Device, m: usize, side: usize) -> Result<Vec<Output>> {
    let a = positive(m);
    let factor = factored(device, &a, m, side)?;
    block_on(factor.status())?;
    let l = whole(device, &factor.l)?;
    let (mut difference, mut bound) = (vec![0.0; m * m], vec![f64::MIN_POSITIVE; m * m]);
    for i in 0..m {
        for j in 0..=i {
            let dot: f64 = l[i * m..][..j + 1].iter().zip(&l[j * m..]).map(|(x, y)| x * y).sum();
            difference[i * m + j] = f64::from(a[i * m + j]) - dot;
            // |A - L L^T| <= (n + 1) u |L| |L^T| (Higham, theorem 10.3), and rows of L have the length sqrt(a_ii).
            bound[i * m + j] = (m + 8) as f64 * EPS * f64::from(a[i * m + i] * a[j * m + j]).sqrt();
        }
    }
    Ok(vec![output("A - L L^T", device.upload(&difference, &[m, m])?, bound).differences_of(1.0)])
}

fn solve(device: &Device, m: usize, side: usize, rows: usize) -> Result<Vec<Output>> {
    let a = positive(m);
    let x = guarded(device, &numbers(8, rows * m), &[rows, m])?;
    factored(device, &a, m, side)?.solve(&x)?;
    // (A + E) x = b with |E| <= (3 n + 1) u |L| |L^T| (Higham, theorem 10.4, here with the growth of sums), and A^-1 has at
    // most norm 1.
    let values: Vec<f64> = block_on(device.read(&x))?;
    let diagonal: Vec<_> = (0..m).map(|i| f64::from(a[i * m + i]).sqrt()).collect();
    let norm = diagonal.iter().map(|d| d * d).sum::<f64>().sqrt();
    let bound = values
        .chunks(m)
        .flat_map(|x| {
            let size: f64 = x.iter().zip(&diagonal).map(|(x, d)| x.abs() * d).sum();
            std::iter::repeat_n((3.0 * growth(m) + 16.0) * EPS / 2.0 * norm * size, m)
        })
        .collect();
    Ok(vec![output("x", x, bound)])
}

fn no_rows(device: &Device) -> Result<Vec<Output>> {
    factored(device, &positive(130), 130, 96)?.solve(&device.reals(&[0, 130])?)?;
    block_on(device.finish())?;
    Ok(Vec::new())
}

fn indefinite(device: &Device, m: usize, column: usize) -> Result<Vec<Output>> {
    let mut a = positive(m);
    a[column * m + column] = -2.0;
    let factor = factored(device, &a, m, 96)?;
    match block_on(factor.status()) {
        Err(Error::NotPositiveDefinite { column: found, pivot }) => {
            assert_eq!(found, column);
            let pivot = device.upload(&[pivot], &[1])?;
            Ok(vec![output("pivot", pivot, vec![4.0 * (m + 8) as f64 * EPS])])
        }
        other => panic!("{other:?}"),
    }
}

fn misshapen(device: &Device) -> Result<Vec<Output>> {
    let factor = factored(device, &positive(3), 3, 3)?;
    let x: Tensor = device.reals(&[3, 4])?;
    assert!(matches!(factor.solve(&x), Err(Error::Shape { .. })));
    Ok(Vec::new())
}

/// Sizes and sides: around the block of 64, one tile and several, whole ones and not.
const SIZES: [(usize, usize); 12] = [
    (1, 1),
    (2, 2),
    (63, 63),
    (64, 64),
    (65, 65),
    (130, 130),
    (256, 256),
    (190, 64),
    (190, 96),
    (200, 96),
    (256, 128),
    (131, 130),
];

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (m, side) in SIZES {
        all.push(case(format!("cholesky factor of {m} in tiles of {side}"), move |d| residual(d, m, side)));
        all.push(case(format!("cholesky solve of {m} in tiles of {side}, 33 rows"), move |d| solve(d, m, side, 33)));
    }
    all.push(case("cholesky solve of 190, 1 row".into(), |d| solve(d, 190, 96, 1)));
    all.push(case("cholesky solve of 130, no rows".into(), no_rows));
    for (m, column) in [(1, 0), (63, 62), (130, 0), (190, 100), (256, 255)] {
        let name = format!("cholesky indefinite at {column} of {m}");
        all.push(case(name, move |d| indefinite(d, m, column)));
    }
    all.push(case("cholesky refuses other shapes".into(), misshapen));
    all
}

pub fn examples(device: &Device) -> Result<()> {
    factored(device, &positive(190), 190, 96)?.solve(&device.reals(&[3, 190])?)
}
