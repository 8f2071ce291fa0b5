//! Products whose sums are kept in pairs, and transposes.

use std::ops::Range;

use super::tiles::Tiles;
use crate::Result;
use crate::device::{Device, Tensor};
use crate::kernels::column_unit::ColumnUnit;
use crate::kernels::gemm::{Gemm, Layout, Mat};
use crate::kernels::gram::{Gram, SAMPLES};

/// A tile [2, rows, cols] of pairs that gains `x^T y`: x are columns of a matrix from `row0` on, y those from `col0` on.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub tile: &'a Tensor,
    pub row0: usize,
    pub col0: usize,
}

/// The places of a symmetric matrix, whose first column is column `first` of what is multiplied.
pub fn symmetric(tiles: &Tiles, first: usize) -> Vec<Place<'_>> {
    let at = |i: usize| first + tiles.range(i).start;
    tiles.places().map(|(i, j)| Place { tile: tiles.tile(i, j), row0: at(i), col0: at(j) }).collect()
}

/// Adds products of columns of p [.., k], over some of its rows, to tiles of pairs; their error is that of [`Gram`].
///
/// # Errors
/// Device errors.
pub fn add_products(device: &Device, p: &Tensor, rows: Range<usize>, places: &[Place<'_>]) -> Result<()> {
    let units = device.reals(&[2, p.cols()])?;
    for start in rows.clone().step_by(SAMPLES) {
        let samples = SAMPLES.min(rows.end - start);
        device.run(&ColumnUnit { x: p, start, rows: samples, units: &units })?;
        for &Place { tile, row0, col0 } in places {
            device.run(&Gram { p, start, samples, units: &units, tile, row0, col0 })?;
        }
    }
    Ok(())
}

/// Rows that are transposed at once.
const BAND: usize = 64;

/// Transposes as products with the identity, whose sums have one term and so are exact.
#[derive(Debug)]
pub struct Transpose {
    device: Device,
    identity: Tensor,
}

impl Transpose {
    /// # Errors
    /// Allocation failures.
    pub fn new(device: &Device) -> Result<Self> {
        let identity: Vec<f32> = (0..BAND * BAND).map(|at| f32::from(u8::from(at / BAND == at % BAND))).collect();
        Ok(Self { device: device.clone(), identity: device.upload(&identity, &[BAND, BAND])? })
    }

    /// `out[c][r] = x[r][c]` for finite x.
    ///
    /// # Shapes
    /// x [rows, cols], out [cols, rows].
    ///
    /// # Errors
    /// Device errors.
    pub fn run(&self, x: Mat<'_>, [rows, cols]: [usize; 2], out: Mat<'_>) -> Result<()> {
        let identity = Mat::of(&self.identity);
        let bands = rows / BAND;
        for (first, height, batch) in [(0, BAND, bands), (bands * BAND, rows % BAND, 1)] {
            if height * batch > 0 {
                let x = Mat { offset: x.offset + first * x.ld, batch: height * x.ld, ..x };
                let out = Mat { offset: out.offset + first, batch: height, ..out };
                let product = Gemm::of(Layout::TN, [cols, height, height], x, identity, out);
                self.device.run(&Gemm { batch, ..product })?;
            }
        }
        Ok(())
    }
}
