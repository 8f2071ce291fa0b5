//! Cholesky factorisation and solve of a symmetric positive definite matrix: a sequence of kernels on a GPU, one call
//! of faer on the CPU device.

use super::cholesky_block::{BLOCK, CholeskyBlock};
use super::gemm::{Gemm, Layout, Mat};
use super::triangular_rows::TriangularRows;
use crate::device::{Bound, Caps, Device, DeviceClass, Io, Kernel, Plan, Real, Tensor, read, write};
use crate::{Error, Result, cpu, params};

/// The factor L of `G = L L^T`, in the lower triangle of `l` [m, m]; above the diagonal stands anything.
#[derive(Clone, Debug)]
pub struct Factor {
    pub l: Tensor,
    /// (column, pivot) of the first unusable pivot; column -1: none.
    info: Tensor,
    device: Device,
}

/// Factors `g`, whose buffer becomes the factor's. Whether `g` was positive definite is told by [`Factor::status`].
///
/// On a GPU blocked and right-looking (Golub and Van Loan, Matrix Computations, 4.2.9): factor a diagonal block, solve
/// the panel below it, subtract the panel's products from the lower triangle that remains.
///
/// # Shapes
/// g [m, m], of which the lower triangle is read.
///
/// # Errors
/// [`Error::Shape`] where `g` is not square; any earlier failure of the queue.
pub fn factor(device: &Device, g: &Tensor) -> Result<Factor> {
    let m = g.cols();
    if g.shape() != [m, m] {
        return Err(Error::shape("cholesky", "g", [m, m], g.shape()));
    }
    let info = device.upload(&[-1.0f32, 0.0], &[2])?;
    let factor = Factor { l: g.clone(), info, device: device.clone() };
    if device.caps().class == DeviceClass::Cpu {
        device.run(&CholeskyHost { g, info: &factor.info })?;
        return Ok(factor);
    }
    let panel = device.reals(&[m.saturating_sub(BLOCK), BLOCK])?;
    for start in (0..m).step_by(BLOCK) {
        let size = BLOCK.min(m - start);
        device.run(&CholeskyBlock { g, info: &factor.info, start, size })?;
        let (end, rows) = (start + size, m - start - size);
        if rows == 0 {
            break;
        }
        let scratch = panel.prefix(&[rows, size]);
        device.run(&TriangularRows {
            l: None,
            start,
            size,
            rhs: g,
            rhs_offset: end * m,
            rhs_ld: m,
            rows,
            scratch: &scratch,
            transposed: false,
        })?;
        let (a, rest) = (Mat::of(&scratch), Mat::at(g, end * m + end, m));
        let update = Gemm::of(Layout::NT, [rows, rows, size], a, a, rest);
        device.run(&Gemm { alpha: -1.0, accumulate: true, lower: true, ..update })?;
    }
    Ok(factor)
}

impl Factor {
    /// Solves `x G = b` for every row b of `rhs`: forward with `y L^T = b`, then backward with `x L = y`.
    ///
    /// # Shapes
    /// rhs and the result [rows, m].
    ///
    /// # Errors
    /// [`Error::Shape`] where the columns of `rhs` are not those of the factor; any earlier failure of the queue.
    pub fn solve(&self, rhs: &Tensor) -> Result<Tensor> {
        let (m, rows, device, l) = (self.l.cols(), rhs.rows(), &self.device, &self.l);
        if rhs.shape() != [rows, m] {
            return Err(Error::shape("cholesky solve", "rhs", [rows, m], rhs.shape()));
        }
        let x = device.reals(&[rows, m])?;
        device.copy(rhs, 0, &x, 0, rhs.len())?;
        if device.caps().class == DeviceClass::Cpu {
            device.run(&SolveHost { l, x: &x })?;
            return Ok(x);
        }
        let solved = device.reals(&[rows, BLOCK])?;
        let starts = (0..m).step_by(BLOCK);
        let steps = starts.clone().map(|start| (start, false)).chain(starts.rev().map(|start| (start, true)));
        for (start, transposed) in steps {
            let size = BLOCK.min(m - start);
            let scratch = solved.prefix(&[rows, size]);
            device.run(&TriangularRows {
                l: Some(l),
                start,
                size,
                rhs: &x,
                rhs_offset: 0,
                rhs_ld: m,
                rows,
                scratch: &scratch,
                transposed,
            })?;
            // Forward, the columns behind the block lose X_block L[behind, block]^T; backward, those before it lose
            // X_block L[block, before].
            let end = start + size;
            let (layout, first, count, at) = if transposed {
                (Layout::NN, 0, start, start * m)
            } else {
                (Layout::NT, end, m - end, end * m + start)
            };
            if count > 0 {
                let (a, b, out) = (Mat::of(&scratch), Mat::at(l, at, m), Mat::at(&x, first, m));
                let update = Gemm::of(layout, [rows, count, size], a, b, out);
                device.run(&Gemm { alpha: -1.0, accumulate: true, ..update })?;
            }
        }
        Ok(x)
    }

    /// Waits for the factorisation and tells whether it succeeded.
    ///
    /// # Errors
    /// [`Error::NotPositiveDefinite`] with the first pivot that is not positive; any failure of the queue.
    pub async fn status(&self) -> Result<()> {
        let info: Vec<f64> = self.device.read(&self.info).await?;
        if info[0] < 0.0 {
            return Ok(());
        }
        Err(Error::NotPositiveDefinite { column: info[0] as usize, pivot: info[1] })
    }
}

params! {
    /// faer needs none.
    pub struct HostParams {}
}

/// The whole factorisation as one step of the CPU device.
struct CholeskyHost<'a> {
    g: &'a Tensor,
    info: &'a Tensor,
}

/// Both substitutions as one step of the CPU device.
struct SolveHost<'a> {
    l: &'a Tensor,
    x: &'a Tensor,
}

impl Kernel for CholeskyHost<'_> {
    const NAME: &'static str = "cholesky_host";
    type Params = HostParams;

    fn params(&self) -> HostParams {
        HostParams {}
    }

    fn tensors(&self) -> Vec<Bound<'_>> {
        vec![write(1, self.g), write(2, self.info)]
    }

    fn plan(&self, _: &Caps) -> Result<Plan> {
        Err(Error::Unsupported("cholesky_host runs on the CPU device only".into()))
    }

    fn twin<R: Real>(&self, io: Io<'_, R>) {
        cpu::cholesky::factor(self.g.cols(), io);
    }
}

impl Kernel for SolveHost<'_> {
    const NAME: &'static str = "cholesky_solve_host";
    type Params = HostParams;

    fn params(&self) -> HostParams {
        HostParams {}
    }

    fn tensors(&self) -> Vec<Bound<'_>> {
        vec![read(1, self.l), write(2, self.x)]
    }

    fn plan(&self, _: &Caps) -> Result<Plan> {
        Err(Error::Unsupported("cholesky_solve_host runs on the CPU device only".into()))
    }

    fn twin<R: Real>(&self, io: Io<'_, R>) {
        cpu::cholesky::solve(self.l.cols(), io);
    }
}
