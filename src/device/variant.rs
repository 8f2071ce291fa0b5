//! Kernels that can be run in several ways: one mechanism to list, to choose and to name them.

use std::fmt::Display;

use super::{Caps, Kernel, Plan};
use crate::{Error, Result};

/// A kernel with several ways to run, all of which compute the same up to rounding.
pub trait Varied: Kernel {
    /// One way; its text is its name in the tables of `minoise tune`.
    type Variant: Copy + PartialEq + Display;

    /// Every way there is, on whatever device.
    fn all() -> Vec<Self::Variant>;

    /// The plan of a variant, where it can run these shapes on a device with `caps`.
    fn planned(&self, variant: Self::Variant, caps: &Caps) -> Option<Plan>;

    /// Estimated time of a variant relative to the others; none where it is run only if measurements say so.
    fn cost(&self, variant: Self::Variant, caps: &Caps) -> Option<f64>;

    /// Whether operands are rounded more than their storage does: such a variant is measured, never taken.
    fn rounds(_: Self::Variant) -> bool {
        false
    }

    /// What distinguishes problems of one size in the table of an adapter.
    fn class(&self) -> &'static str;

    /// Shapes of the problem, in the kernel's own order: what the nearest measured problem is found by.
    fn size(&self) -> Vec<usize>;

    /// The variants that can run these shapes on a device with `caps`.
    fn variants(&self, caps: &Caps) -> Vec<Self::Variant> {
        Self::all().into_iter().filter(|&v| self.planned(v, caps).is_some()).collect()
    }

    /// The variant that a device runs: the one measured for it, else the one of least cost; none that rounds operands.
    fn variant(&self, caps: &Caps) -> Option<Self::Variant> {
        let taken = || Self::all().into_iter().filter(|&v| !Self::rounds(v) && self.planned(v, caps).is_some());
        let measured = caps.tuned.variant(Self::NAME, self.class(), &self.size());
        let measured = measured.and_then(|name| taken().find(|v| v.to_string() == name));
        let costs = || taken().filter_map(|v| Some((v, self.cost(v, caps)?)));
        measured.or_else(|| costs().min_by(|a, b| a.1.total_cmp(&b.1)).map(|(v, _)| v))
    }

    /// Its plan.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where no variant can run these shapes.
    fn chosen(&self, caps: &Caps) -> Result<Plan> {
        self.variant(caps).and_then(|v| self.planned(v, caps)).ok_or_else(|| {
            let size = self.size();
            Error::Unsupported(format!("{}: no variant runs {size:?} on this device; use --device cpu", Self::NAME))
        })
    }
}

/// The two ways of most kernels that have several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Workgroups make tiles or rows together: for real GPUs.
    Tiles,
    /// Lanes take rows of their own, the shader's name ending in `_rows`: for software devices, where all lanes should read
    /// one address.
    Rows,
}

impl Form {
    /// Both, tiles first.
    pub const ALL: [Self; 2] = [Self::Tiles, Self::Rows];

    /// Software devices take rows where they can, real GPUs only where that was measured.
    pub fn cost(self, caps: &Caps) -> Option<f64> {
        match (self, caps.class) {
            (Self::Rows, super::DeviceClass::SoftwareGpu) => Some(1.0),
            (Self::Rows, _) => None,
            (Self::Tiles, _) => Some(2.0),
        }
    }
}

impl Display for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tiles => "tiles",
            Self::Rows => "rows",
        })
    }
}
