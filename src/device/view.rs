//! Views: which elements of a tensor a dispatch touches, checked before it runs.

use super::{Access, DType, Tensor};
use crate::{Error, Result};

/// A batch of matrices inside a tensor. A vector is a matrix of one row.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The tensor that holds it.
    pub tensor: &'a Tensor,
    /// Element at which the first matrix starts.
    pub offset: usize,
    /// Rows of each matrix.
    pub rows: usize,
    /// Elements of a row, which stand side by side.
    pub cols: usize,
    /// Elements from one row to the next.
    pub ld: usize,
    /// Number of matrices, and elements from one to the next.
    pub batch: [usize; 2],
    /// Whether the tensor may hold nothing else.
    exact: bool,
}

impl<'a> View<'a> {
    /// All elements, whatever their number.
    pub fn all(tensor: &'a Tensor) -> Self {
        Self::part(tensor, 0, [tensor.rows(), tensor.cols()], tensor.cols())
    }

    /// All elements of a tensor that must have this shape, its dimensions before the last split in whatever way.
    pub fn shaped<const N: usize>(tensor: &'a Tensor, shape: [usize; N]) -> Self {
        let cols = shape.last().copied().unwrap_or(1);
        let rows = shape.iter().rev().skip(1).product();
        Self { exact: true, ..Self::part(tensor, 0, [rows, cols], cols) }
    }

    /// `rows` rows of `cols` elements, the first from element `offset` on, one every `ld` elements.
    pub fn part(tensor: &'a Tensor, offset: usize, [rows, cols]: [usize; 2], ld: usize) -> Self {
        Self { tensor, offset, rows, cols, ld, batch: [1, 0], exact: false }
    }

    /// `n` elements from element `offset` on.
    pub fn span(tensor: &'a Tensor, offset: usize, n: usize) -> Self {
        Self::part(tensor, offset, [1, n], n)
    }

    /// The same elements of another tensor.
    pub fn like(self, tensor: &'a Tensor) -> Self {
        Self { tensor, ..self }
    }

    /// `count` such matrices, one every `stride` elements.
    pub fn every(self, count: usize, stride: usize) -> Self {
        Self { batch: [count, stride], ..self }
    }

    /// One behind the last element; 0 where there is none, nothing where the number does not fit.
    pub fn end(&self) -> Option<usize> {
        let [count, stride] = self.batch;
        if self.rows == 0 || self.cols == 0 || count == 0 {
            return Some(0);
        }
        let last = (count - 1).checked_mul(stride)?.checked_add((self.rows - 1).checked_mul(self.ld)?)?;
        self.offset.checked_add(last)?.checked_add(self.cols)
    }

    fn fits(&self) -> bool {
        // A vector may also come as a column.
        let exact =
            || self.tensor.len() == self.rows * self.cols && (self.rows == 1 || self.tensor.cols() == self.cols);
        (!self.exact || exact()) && self.end().is_some_and(|end| end <= self.tensor.len())
    }

    /// Whether no element belongs to two rows or matrices: they stand one behind the other, or matrices side by side in the
    /// same rows.
    fn apart(&self) -> bool {
        let [count, stride] = self.batch;
        let size = self.rows.saturating_sub(1) * self.ld + self.cols;
        let side_by_side = || stride >= self.cols && (count - 1) * stride + self.cols <= self.ld;
        self.end() == Some(0)
            || (self.rows == 1 || self.ld >= self.cols) && (count == 1 || stride >= size || side_by_side())
    }

    /// What a tensor needs to hold this view, in words.
    fn wanted(&self) -> String {
        if self.exact {
            return if self.rows == 1 { format!("[{}]", self.cols) } else { format!("{:?}", [self.rows, self.cols]) };
        }
        match self.end() {
            Some(end) => format!("at least {end} elements"),
            None => "more elements than can be counted".into(),
        }
    }
}

/// One tensor of a dispatch as the kernel declares it.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// Number in the shader; params are binding 0.
    pub binding: u32,
    /// Name in the shader.
    pub name: &'static str,
    /// The elements that are touched.
    pub view: View<'a>,
    /// Whether they are written.
    pub access: Access,
    /// Element type that the shader declares.
    pub dtype: DType,
}

/// Reads reals.
pub fn read<'a>(binding: u32, name: &'static str, view: View<'a>) -> Operand<'a> {
    Operand { binding, name, view, access: Access::Read, dtype: DType::Real }
}

/// Writes or updates reals.
pub fn write<'a>(binding: u32, name: &'static str, view: View<'a>) -> Operand<'a> {
    Operand { binding, name, view, access: Access::Write, dtype: DType::Real }
}

impl Operand<'_> {
    /// Bytes of its elements.
    pub fn bytes(&self) -> f64 {
        let word = if self.dtype == DType::F16 { 2 } else { 4 };
        (self.view.rows * self.view.cols * self.view.batch[0] * word) as f64
    }

    /// The same of another element type.
    pub fn of(self, dtype: DType) -> Self {
        Self { dtype, ..self }
    }
}

/// Refuses operands that would let kernel `op` touch what it must not: views that leave their tensor, elements of another
/// type.
///
/// # Errors
/// [`Error::Shape`], [`Error::DType`].
pub(super) fn check(op: &'static str, operands: &[Operand<'_>]) -> Result<()> {
    for &Operand { name, view, access, dtype, .. } in operands {
        if view.tensor.dtype() != dtype {
            return Err(Error::DType { op, arg: name, expected: dtype, got: view.tensor.dtype() });
        }
        if !view.fits() {
            return Err(Error::Shape {
                op,
                arg: name,
                expected: view.wanted(),
                got: format!("{:?}", view.tensor.shape()),
            });
        }
        if access == Access::Write && !view.apart() {
            return Err(Error::Shape {
                op,
                arg: name,
                expected: "rows and matrices that do not overlap".into(),
                got: format!("rows {} apart, matrices {}", view.ld, view.batch[1]),
            });
        }
    }
    Ok(())
}

/// Refuses tensors that are written beside another use: one buffer cannot be bound twice in a dispatch that writes it,
/// wherever its views lie.
///
/// # Errors
/// [`Error::Aliasing`].
pub(super) fn check_aliasing(op: &'static str, operands: &[Operand<'_>]) -> Result<()> {
    for (i, b) in operands.iter().enumerate() {
        let written = |a: &&Operand<'_>| a.access == Access::Write || b.access == Access::Write;
        let twice = |a: &&Operand<'_>| a.view.tensor.id() == b.view.tensor.id();
        if let Some(a) = operands[..i].iter().filter(twice).find(written) {
            return Err(Error::Aliasing { op, a: a.name, b: b.name });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Caps, Device, Precision};

    fn cpu() -> Device {
        Device::cpu(Precision::F32)
    }

    #[test]
    fn the_end_of_a_view_counts_what_it_touches() {
        let x = cpu().reals(&[100]).unwrap();
        assert_eq!(View::span(&x, 7, 5).end(), Some(12));
        assert_eq!(View::part(&x, 3, [4, 5], 10).end(), Some(38));
        assert_eq!(View::part(&x, 3, [4, 5], 10).every(3, 20).end(), Some(78));
        assert_eq!(View::part(&x, 3, [0, 5], 10).end(), Some(0));
        assert_eq!(View::part(&x, 1, [2, 1], usize::MAX).end(), None);
    }

    #[test]
    fn views_stay_inside_their_tensors() {
        let device = cpu();
        let x = device.reals(&[4, 6]).unwrap();
        let fits = |view| check("test", &[read(1, "x", view)]).is_ok();
        assert!(fits(View::part(&x, 0, [4, 6], 6)) && !fits(View::part(&x, 0, [5, 6], 6)));
        assert!(fits(View::part(&x, 3, [4, 3], 6)) && !fits(View::part(&x, 3, [4, 4], 6)));
        assert!(fits(View::part(&x, 0, [2, 6], 6).every(2, 12)) && !fits(View::part(&x, 0, [2, 6], 6).every(2, 13)));
        assert!(!fits(View::part(&x, usize::MAX, [1, 6], 6)));
        assert!(fits(View::shaped(&x, [4, 6])) && fits(View::shaped(&x, [2, 2, 6])) && fits(View::shaped(&x, [24])));
        assert!(!fits(View::shaped(&x, [6, 4])) && !fits(View::shaped(&x, [3, 6])) && !fits(View::shaped(&x, [23])));
    }

    #[test]
    fn types_and_double_use_are_refused() {
        let device = cpu();
        let (x, labels) = (device.reals(&[6]).unwrap(), device.empty(&[6], DType::U32).unwrap());
        let (a, b) = (View::span(&x, 0, 3), View::span(&x, 3, 3));
        assert!(matches!(check("test", &[read(1, "x", View::all(&labels))]), Err(Error::DType { arg: "x", .. })));
        assert!(check("test", &[read(1, "x", View::all(&labels)).of(DType::U32)]).is_ok());
        assert!(check_aliasing("test", &[read(1, "a", a), read(2, "b", a)]).is_ok());
        for pair in [[read(1, "a", a), write(2, "b", b)], [write(1, "a", a), write(2, "b", b)]] {
            assert!(matches!(check_aliasing("test", &pair), Err(Error::Aliasing { a: "a", b: "b", .. })));
        }
    }

    #[test]
    fn results_do_not_overlap_themselves() {
        let x = cpu().reals(&[100]).unwrap();
        let written = |view| check("test", &[write(1, "x", view)]).is_ok();
        assert!(written(View::part(&x, 0, [4, 5], 5)) && !written(View::part(&x, 0, [4, 5], 4)));
        let columns = View::part(&x, 0, [4, 5], 10);
        assert!(written(columns.every(2, 5)) && !written(columns.every(2, 4)) && !written(columns.every(2, 6)));
        assert!(written(columns.every(2, 35)) && !written(columns.every(2, 30)) && !written(columns.every(2, 0)));
        assert!(check("test", &[read(1, "x", columns.every(2, 0))]).is_ok());
    }

    #[test]
    fn planners_check_as_devices_do() {
        let device = Device::planner(Caps::floor());
        let x = device.reals(&[6]).unwrap();
        let kernel = crate::kernels::add::Add { x: &x, y: &x };
        assert!(matches!(device.run(&kernel), Err(Error::Aliasing { .. })));
    }
}
