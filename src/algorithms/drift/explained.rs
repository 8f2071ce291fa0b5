//! How much of a drift the map of some samples tells of others.

use std::ops::Range;

use super::{Drift, Gathered, Strip, parts};
use crate::Result;
use crate::algorithms::products::{Place, add_products};
use crate::algorithms::ridge::System;
use crate::algorithms::tiles::Tiles;
use crate::device::{Device, Tensor};
use crate::kernels::copy_block::CopyBlock;
use crate::kernels::gemm::{Gemm, Layout, Mat};
use crate::kernels::square_sum::{SquareSum, partials};

/// `1 - |E|^2 / |D_h|^2` for `E = P_n - P_o A` of the samples that are held out, A being the map of all others; 0 where they
/// did not move. With h for samples that are held out, r for the others, D = P_n - P_o and `K = P_o P_o^T`,
/// `E = D_h - Z D_r` and `Z = K_hr (K_rr + lambda I)^-1`; with C = P_o^T D, `E = D_h - Z C_r` and
/// `Z = P_h (P_r^T P_r + lambda I)^-1`.
///
/// Z C_r in single precision is off by about `2^-24 sqrt(m) / ridge` of D_h, at random, and the share by the square of that:
/// 1e-9 for 4096 features and a ridge of 0.1, 1e-3 for one of 1e-4.
pub async fn explained(drift: &Drift) -> Result<f64> {
    if drift.fitted() == drift.samples {
        return Ok(0.0);
    }
    let products = drift.products(drift.fitted())?;
    let shift = drift.shift(&products).await?;
    let system = System::new(&drift.device, &products, shift, &mut |_| ())?;
    let mut squares = Squares::new(drift)?;
    for rows in batches(drift) {
        let z = system.solve(&right(drift, &rows)?).await?.weights;
        squares.add(drift, &rows, &z)?;
    }
    squares.share(&drift.device).await
}

/// The same without results, see [`Drift::rehearse`].
pub fn rehearse(drift: &Drift) -> Result<()> {
    let Some(rows) = batches(drift).next() else { return Ok(()) };
    let products = drift.products(drift.fitted())?;
    let _factor = Tiles::new(&drift.device, products.size(), products.side(), 1)?;
    let right = right(drift, &rows)?;
    System::plan(&drift.device, &products, &right)?;
    let z = drift.device.reals(&[rows.len(), products.size()])?;
    Squares::new(drift)?.add(drift, &rows, &z)
}

/// Samples that are held out, as many as are solved for at once.
fn batches(drift: &Drift) -> impl Iterator<Item = Range<usize>> + use<> {
    let (held_out, most) = (drift.samples - drift.fitted(), parts::height(2 * size(drift)));
    (0..held_out).step_by(most).map(move |start| start..held_out.min(start + most))
}

/// Rows of the system.
fn size(drift: &Drift) -> usize {
    match drift.gathered {
        Gathered::Samples { .. } => drift.fitted(),
        Gathered::Products { .. } => drift.features,
    }
}

fn strips(drift: &Drift) -> &[Strip] {
    match &drift.gathered {
        Gathered::Samples { change: strips, .. } | Gathered::Products { cross: strips, .. } => strips,
    }
}

/// K_hr or P_h in pairs [2, rows, size of the system].
fn right(drift: &Drift, rows: &Range<usize>) -> Result<Tensor> {
    let (device, size) = (&drift.device, size(drift));
    let right = device.zeros(&[2, rows.len(), size])?;
    match &drift.gathered {
        Gathered::Samples { before, .. } => {
            let place = Place { tile: &right, row0: drift.fitted() + rows.start, col0: 0 };
            before.iter().try_for_each(|x| add_products(device, &x.data, 0..x.len(), &[place]))?;
        }
        Gathered::Products { held_out, .. } => {
            let width = held_out.cols();
            let x = Mat::at(held_out, rows.start * width + width - size, width);
            copy(device, x, Mat::at(&right, 0, size), [rows.len(), size])?;
        }
    }
    Ok(right)
}

fn copy(device: &Device, x: Mat<'_>, out: Mat<'_>, [rows, cols]: [usize; 2]) -> Result<()> {
    device.run(&CopyBlock { x, out, rows, cols, factor: 1.0, accumulate: false })
}

/// Sums of squares, a few thousand at a time.
struct Squares {
    /// Of D_h, and of E.
    sums: [Tensor; 2],
    /// How many there are.
    next: usize,
}

impl Squares {
    fn new(drift: &Drift) -> Result<Self> {
        let blocks = batches(drift).flat_map(|rows| strips(drift).iter().map(move |strip| rows.len() * strip.len()));
        let count = [blocks.map(partials).sum()];
        Ok(Self { sums: [drift.device.zeros(&count)?, drift.device.zeros(&count)?], next: 0 })
    }

    /// Adds those of some rows of D_h and E for Z [rows, size of the system].
    fn add(&mut self, drift: &Drift, rows: &Range<usize>, z: &Tensor) -> Result<()> {
        let device = &drift.device;
        for strip in strips(drift) {
            let (data, size) = (&strip.data, z.cols());
            let (d, shape, [a, b]) = match &drift.gathered {
                // Of columns, as they are kept.
                Gathered::Samples { .. } => {
                    let at = |first: usize| Mat::at(data, first, drift.samples);
                    (at(size + rows.start), [strip.len(), rows.len()], [at(0), Mat::of(z)])
                }
                Gathered::Products { held_out, .. } => {
                    let first = rows.start * held_out.cols() + strip.features.start - drift.still;
                    let d = Mat::at(held_out, first, held_out.cols());
                    (d, [rows.len(), strip.len()], [Mat::of(z), Mat::at(data, 0, size)])
                }
            };
            let e = device.reals(&shape)?;
            copy(device, d, Mat::of(&e), shape)?;
            device.run(&SquareSum { x: &e, partials: &self.sums[0], slot: self.next })?;
            let product = Gemm::of(Layout::NT, [shape[0], shape[1], size], a, b, Mat::of(&e));
            device.run(&Gemm { alpha: -1.0, accumulate: true, ..product })?;
            device.run(&SquareSum { x: &e, partials: &self.sums[1], slot: self.next })?;
            self.next += partials(e.len());
        }
        Ok(())
    }

    async fn share(&self, device: &Device) -> Result<f64> {
        let mut totals = [0.0; 2];
        for (total, sums) in totals.iter_mut().zip(&self.sums) {
            *total = device.read::<f64>(sums).await?.iter().sum();
        }
        Ok(if totals[0] > 0.0 { 1.0 - totals[1] / totals[0] } else { 0.0 })
    }
}
