//! Kernels of the analytic head, and those that measure a device.

use minoise::device::DType;
use minoise::kernels::argmax::ArgMax;
use minoise::kernels::cg_direction::CgDirection;
use minoise::kernels::cg_step::{CgStep, SCALARS};
use minoise::kernels::cholesky_block::CholeskyBlock;
use minoise::kernels::column_unit::ColumnUnit;
use minoise::kernels::error_free::ErrorFree;
use minoise::kernels::fma_chains::FmaChains;
use minoise::kernels::gemm::Mat;
use minoise::kernels::gram::{Gram, SAMPLES};
use minoise::kernels::jacobi_scale::JacobiScale;
use minoise::kernels::label_sum::LabelSum;
use minoise::kernels::pair_product::PairProduct;
use minoise::kernels::scaled_tile::ScaledTile;
use minoise::kernels::stream_copy::StreamCopy;
use minoise::kernels::triangular_rows::TriangularRows;

use super::One;

pub(super) const KERNELS: &[(&str, One)] = &[
    ("argmax", |d| {
        let (rows, cols) = (d.size(20_000), d.size(3000));
        d.plan(&ArgMax { x: &d.t(&[rows, cols]), out: &d.of(DType::U32, &[rows]) })
    }),
    ("cg_direction", |d| {
        let (rows, m) = (d.size(3000), d.size(1000));
        let [y, x, r] = &[(); 3].map(|()| d.t(&[2, rows, m]));
        d.plan(&CgDirection { z: &d.t(&[rows, m]), y, x, r, p: &d.t(&[rows, m]), scalars: &d.t(&[rows, SCALARS]) })
    }),
    ("cg_step", |d| {
        let (rows, m) = (d.size(3000), d.size(1000));
        let [y, x, r] = &[(); 3].map(|()| d.t(&[2, rows, m]));
        d.plan(&CgStep { p: &d.t(&[rows, m]), y, x, r, z: &d.t(&[rows, m]), scalars: &d.t(&[rows, SCALARS]) })
    }),
    ("cholesky_block", |d| {
        let (start, size) = (d.size(500), d.size(64));
        let m = start + size;
        d.plan(&CholeskyBlock { g: &d.t(&[m, m]), info: &d.t(&[2]), start, size, first: 0 })
    }),
    ("column_unit", |d| {
        let (rows, cols) = (d.size(100), d.size(100_000));
        d.plan(&ColumnUnit { x: &d.t(&[rows, cols]), start: 0, rows, units: &d.t(&[2, cols]) })
    }),
    ("error_free", |d| {
        let n = d.size(1 << 20);
        d.plan(&ErrorFree { a: &d.t(&[n]), b: &d.t(&[n]), y: &d.t(&[4, n]) })
    }),
    ("fma_chains", |d| {
        let n = d.quads(1 << 22);
        d.plan(&FmaChains { x: &d.t(&[n]), y: &d.t(&[n]), rounds: 1, factor: 0.5, term: 1.0 })
    }),
    ("gram", |d| {
        let (rows, cols, samples) = (d.size(3000), d.size(3000), d.size(SAMPLES));
        let m = rows + cols;
        let (p, units, tile) = (d.t(&[samples, m]), d.t(&[2, m]), d.t(&[2, rows, cols]));
        d.plan(&Gram { p: &p, start: 0, samples, units: &units, tile: &tile, row0: cols, col0: 0 })
    }),
    ("jacobi_scale", |d| {
        let (n, offset) = (d.size(2000), d.size(1000));
        let m = offset + n;
        let (tile, scale, diagonal) = (d.t(&[2, n, n]), d.t(&[m]), d.t(&[2, m]));
        d.plan(&JacobiScale { tile: &tile, gamma: 0.1, offset, scale: &scale, diagonal: &diagonal })
    }),
    ("label_sum", |d| {
        let (rows, classes, cols) = (d.size(200), d.size(100), d.size(100_000));
        d.plan(&LabelSum { p: &d.t(&[rows, cols]), labels: &d.of(DType::U32, &[rows]), q: &d.t(&[2, classes, cols]) })
    }),
    ("pair_product", |d| {
        let (rows, height, width, transposed) = (d.size(3000), d.size(1000), d.size(1000), d.flag());
        let m = height + width;
        let (x, tile, y) = (d.t(&[rows, m]), d.t(&[2, height, width]), d.t(&[2, rows, m]));
        let (scale, diagonal) = (&d.t(&[m]), &d.t(&[2, m]));
        d.plan(&PairProduct { x: &x, tile: &tile, row0: width, col0: 0, scale, diagonal, transposed, y: &y })
    }),
    ("scaled_tile", |d| {
        let (rows, cols) = (d.size(1500), d.size(1500));
        let m = rows + cols;
        let (tile, f) = (d.t(&[2, rows, cols]), d.t(&[rows, cols]));
        let (scale, diagonal) = (&d.t(&[m]), &d.t(&[2, m]));
        d.plan(&ScaledTile { tile: &tile, scale, diagonal, row0: cols, col0: 0, shift: 0.1, f: &f })
    }),
    ("stream_copy", |d| {
        let n = d.quads(1 << 22);
        d.plan(&StreamCopy { x: &d.t(&[n]), y: &d.t(&[n]) })
    }),
    ("triangular_rows", |d| {
        let (start, size, rows, transposed) = (d.size(100), d.size(64), d.size(20_000), d.flag());
        let m = start + size;
        let (l, rhs, scratch) = (d.t(&[m, m]), d.t(&[rows, m]), d.t(&[rows, m]));
        let (l, rhs, scratch) = (Some(&l), Mat::of(&rhs), &scratch);
        d.plan(&TriangularRows { l, start, size, rhs, rows, scratch, transposed })
    }),
];
