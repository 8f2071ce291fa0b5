//! Ridge regression from a Gram matrix in pairs: a factor in single precision, refined by conjugate gradients in pairs.

use super::cholesky::{Factor, factor};
use super::tiles::Tiles;
use crate::device::{Device, Tensor};
use crate::kernels::cg_direction::CgDirection;
use crate::kernels::cg_step::{CgStep, SCALARS};
use crate::kernels::jacobi_scale::JacobiScale;
use crate::kernels::pair_product::PairProduct;
use crate::kernels::scale_columns::ScaleColumns;
use crate::kernels::scaled_tile::ScaledTile;
use crate::{Error, Result};

/// Estimated error of the solution and residual at which refinement ends.
const ENOUGH: f64 = 1e-6;
/// Steps of refinement at most.
const STEPS: usize = 200;

/// A ridge classifier.
#[derive(Clone, Debug)]
pub struct Solution {
    /// W^T [C, m], on the device.
    pub weights: Tensor,
    /// How far `(G + gamma I) W` is from Q, relative to Q, before W was rounded to single precision.
    pub residual: f64,
}

/// The equations in single precision: `D (G + gamma I) D (D^-1 W) = D Q` with powers of two D that bring the diagonal
/// near 1.
#[derive(Debug)]
pub struct System<'a> {
    device: &'a Device,
    gram: &'a Tiles,
    scale: Tensor,
    diagonal: Tensor,
    factor: Factor,
}

impl<'a> System<'a> {
    /// Scales and factors. The factor is that of `D (G + gamma I) D + m 2^-24 I`: what rounding to single precision can take
    /// from an eigenvalue is given back, so that matrices of condition numbers far above 1e7 still have a factor. Conjugate
    /// gradients remove the difference: it touches only the few eigenvalues below it.
    ///
    /// # Shapes
    /// gram: tiles of two layers.
    ///
    /// # Errors
    /// Device errors; a matrix that is not positive definite is told by [`System::solve`].
    pub fn new(device: &'a Device, gram: &'a Tiles, gamma: f64, advance: &mut dyn FnMut(usize)) -> Result<Self> {
        Self::factored(device, gram, Tiles::new(device, gram.size(), gram.side(), 1)?, gamma, advance)
    }

    /// Dispatches what solving for `sums` does, once, for [`Device::prewarm`].
    ///
    /// # Errors
    /// Those of plans.
    pub fn plan(device: &'a Device, gram: &'a Tiles, sums: &Tensor) -> Result<()> {
        let single = Tiles::stand_in(device, gram.size(), gram.side(), 1)?;
        let system = Self::factored(device, gram, single, 1.0, &mut |_| ())?;
        let state = State::new(&system, sums)?;
        system.factor.solve(&state.z)?;
        state.turn(device)?;
        state.step(&system)
    }

    /// Scales into `single` and factors that.
    fn factored(
        device: &'a Device,
        gram: &'a Tiles,
        single: Tiles,
        gamma: f64,
        advance: &mut dyn FnMut(usize),
    ) -> Result<Self> {
        let m = gram.size();
        let (scale, diagonal) = (device.reals(&[m])?, device.reals(&[2, m])?);
        for i in 0..gram.count() {
            let (tile, offset) = (gram.tile(i, i), gram.range(i).start);
            device.run(&JacobiScale { tile, gamma, offset, scale: &scale, diagonal: &diagonal })?;
        }
        let shift = m as f32 * 0.5 * f32::EPSILON;
        for (i, j) in gram.places() {
            let (row0, col0) = (gram.range(i).start, gram.range(j).start);
            let f = single.tile(i, j).reshape(&[gram.range(i).len(), gram.range(j).len()]);
            let tile = gram.tile(i, j);
            let scaled = ScaledTile { tile, scale: &scale, diagonal: &diagonal, row0, col0, shift, f: &f };
            device.run(&scaled)?;
        }
        let factor = factor(device, single, advance)?;
        Ok(Self { device, gram, scale, diagonal, factor })
    }

    /// Solves for all classes by conjugate gradients, preconditioned with the factor (Golub and Van Loan, Matrix
    /// Computations, 11.5; beta by conjugation to the direction before, which forgives an inexact preconditioner).
    /// Solution and residual are pairs, products with A too, directions are short numbers: so the residual stays that of
    /// the solution to about 1e-13 of `|A| |x|`.
    ///
    /// A class is done when the preconditioned residual z, which is its error but for what the preconditioner misses, is at
    /// most 1e-6 of x, and r 1e-6 of q. Where the preconditioner misses much, steps alpha are long: z counts that much.
    ///
    /// # Shapes
    /// sums [2, C, m]: Q^T as pairs.
    ///
    /// # Errors
    /// [`Error::NotPositiveDefinite`], [`Error::IllConditioned`], device errors.
    pub async fn solve(&self, sums: &Tensor) -> Result<Solution> {
        let (device, classes, m) = (self.device, sums.shape()[1], self.gram.size());
        self.status().await?;
        let weights = device.reals(&[classes, m])?;
        let state = State::new(self, sums)?;
        // Of every class: |r|^2 at the start, the unit of the direction before, the longest step so far.
        let mut history = vec![[0.0f64, 0.0, 1.0]; classes];
        let mut residual = 0.0;
        for step in 0..=STEPS {
            self.factor.solve(&state.z)?;
            state.turn(device)?;
            let scalars: Vec<f64> = device.read(&state.scalars).await?;
            let mut done = true;
            residual = 0.0;
            for (s, [start, unit, longest]) in scalars.chunks(SCALARS).zip(&mut history) {
                let &[alpha, _, rr, zz, xx, next] = s else { unreachable!("SCALARS of them") };
                if step == 0 {
                    *start = rr;
                }
                *longest = longest.max(alpha * *unit);
                *unit = next;
                let missing = if *start > 0.0 { (rr / *start).sqrt() } else { 0.0 };
                done &= zz.sqrt() * *longest <= ENOUGH * xx.sqrt() && missing <= ENOUGH;
                residual = f64::max(residual, missing);
            }
            if done {
                device.run(&ScaleColumns { x: &state.x.prefix(&[classes, m]), scale: &self.scale, y: &weights })?;
                return Ok(Solution { weights, residual });
            }
            state.step(self)?;
        }
        Err(Error::IllConditioned { residual })
    }

    /// `y = A x` for rows x [c, m] of short numbers, y [2, c, m].
    fn product(&self, x: &Tensor, y: &Tensor) -> Result<()> {
        self.device.clear(y)?;
        let gram = self.gram;
        for (i, j) in gram.places() {
            let (row0, col0) = (gram.range(i).start, gram.range(j).start);
            for transposed in if i == j { &[false][..] } else { &[false, true] } {
                let product = PairProduct {
                    x,
                    tile: gram.tile(i, j),
                    row0,
                    col0,
                    scale: &self.scale,
                    diagonal: &self.diagonal,
                    transposed: *transposed,
                    y,
                };
                self.device.run(&product)?;
            }
        }
        Ok(())
    }

    async fn status(&self) -> Result<()> {
        match self.factor.status().await {
            Err(Error::NotPositiveDefinite { column, pivot }) => {
                let scale: Vec<f64> = self.device.read(&self.scale).await?;
                Err(Error::NotPositiveDefinite { column, pivot: pivot / scale[column].powi(2) })
            }
            other => other,
        }
    }
}

/// Vectors of conjugate gradients, one row a class.
struct State {
    x: Tensor,
    r: Tensor,
    y: Tensor,
    z: Tensor,
    p: Tensor,
    scalars: Tensor,
}

impl State {
    fn new(system: &System<'_>, sums: &Tensor) -> Result<Self> {
        let (device, classes, m) = (system.device, sums.shape()[1], sums.cols());
        let (pairs, rows) = ([2, classes, m], [classes, m]);
        let new = Self {
            x: device.zeros(&pairs)?,
            r: device.reals(&pairs)?,
            y: device.zeros(&pairs)?,
            z: device.reals(&rows)?,
            p: device.zeros(&rows)?,
            scalars: device.zeros(&[classes, SCALARS])?,
        };
        device.run(&ScaleColumns { x: sums, scale: &system.scale, y: &new.r })?;
        device.copy(&new.r, 0, &new.z, 0, new.z.len())?;
        Ok(new)
    }

    /// The next direction.
    fn turn(&self, device: &Device) -> Result<()> {
        let Self { x, r, y, z, p, scalars } = self;
        device.run(&CgDirection { z, y, x, r, p, scalars })
    }

    /// One step along it.
    fn step(&self, system: &System<'_>) -> Result<()> {
        let Self { x, r, y, z, p, scalars } = self;
        system.product(p, y)?;
        system.device.run(&CgStep { p, y, x, r, z, scalars })
    }
}
