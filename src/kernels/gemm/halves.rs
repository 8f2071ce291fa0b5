//! Variants for B stored as halves that round A likewise: f16 arithmetic, and cooperative matrices. No device plans for
//! them by itself; who measures plans may choose them.

use super::variants::number;
use super::{Gemm, Tile};
use crate::device::{Caps, Constant, DType, Plan};

/// What one workgroup of `gemm_matrix.wgsl` makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatrixTile {
    pub rows: usize,
    pub cols: usize,
    /// Subgroups that share the rows, and those that share the columns.
    units: [usize; 2],
}

/// Tiles for large results and for small ones; a subgroup has at least one fragment of 16 x 16.
pub const MATRIX_TILES: [MatrixTile; 4] = [
    MatrixTile { rows: 128, cols: 128, units: [2, 2] },
    MatrixTile { rows: 128, cols: 64, units: [2, 2] },
    MatrixTile { rows: 64, cols: 64, units: [2, 2] },
    MatrixTile { rows: 32, cols: 32, units: [2, 2] },
];

impl Gemm<'_> {
    fn has_halves(&self) -> bool {
        self.b.tensor.dtype() == DType::F16
    }

    /// The plan of `gemm_half.wgsl` with the given tile; none where B is not stored as halves or the device has no f16
    /// arithmetic.
    pub fn half(&self, tile: &Tile, caps: &Caps) -> Option<Plan> {
        (caps.f16 && self.has_halves()).then(|| self.tiled("gemm_half", tile, 2, caps))
    }

    /// The plan of `gemm_matrix.wgsl` with the given tile; none where B is not stored as halves or the device has no
    /// cooperative matrices or too little room.
    pub fn matrix(&self, tile: &MatrixTile, caps: &Caps) -> Option<Plan> {
        /// Terms of the sums in workgroup memory.
        const DEPTH: usize = 32;
        /// From one row of them to the next: 16 bytes more, so that rows start in different banks.
        const LD: usize = DEPTH + 8;
        let &MatrixTile { rows, cols, units: [along_m, along_n] } = tile;
        let side = caps.matrix.filter(|_| self.has_halves())? as usize;
        let workgroup = along_m * along_n * caps.subgroup.1 as usize;
        let flags = [("ALIGNED", self.aligned()), ("SIDE16", side == 16)];
        let flags = flags.map(|(name, on)| (name, Constant::Flag(on)));
        let lengths = [("BM", rows), ("BN", cols), ("BK", DEPTH), ("LD", LD)].map(number);
        let units = [("UNITS_M", along_m), ("UNITS_N", along_n)].map(number);
        let shared = 2 * LD * (rows + cols) + 4 * along_m * along_n * side * side;
        let own = flags.into_iter().chain(lengths).chain(units);
        let plan = self.with_flags("gemm_matrix", own, [rows, cols], workgroup, caps);
        let plan = Plan { shared_bytes: shared as u32, ..plan };
        let whole = [rows, cols].iter().all(|x| (x * DEPTH / 4).is_multiple_of(workgroup));
        let fits = plan.shared_bytes <= caps.workgroup_memory && plan.workgroup <= caps.max_invocations;
        (whole && fits).then_some(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::kernels::gemm::{Layout, TILES};

    /// How many tiles of both variants `caps` allow for B stored as halves or not.
    fn allowed(caps: &Caps, halves: bool) -> [usize; 2] {
        let device = Device::planner(caps.clone());
        let (a, out) = (device.reals(&[8, 8]).unwrap(), device.reals(&[8, 8]).unwrap());
        let b = if halves { device.upload_f16(&[half::f16::ONE; 64], &[8, 8]) } else { device.reals(&[8, 8]) }.unwrap();
        let gemm = Gemm::new(Layout::NN, &a, &b, &out).unwrap();
        let matrix = MATRIX_TILES.iter().filter(|tile| gemm.matrix(tile, caps).is_some());
        [TILES.iter().filter(|tile| gemm.half(tile, caps).is_some()).count(), matrix.count()]
    }

    #[test]
    fn only_devices_with_the_means_and_products_with_halves_have_plans() {
        let all = Caps { f16: true, matrix: Some(16), subgroup: (32, 64), workgroup_memory: 64 << 10, ..Caps::floor() };
        assert_eq!(allowed(&all, true), [TILES.len(), MATRIX_TILES.len()]);
        assert_eq!(allowed(&all, false), [0, 0]);
        assert_eq!(allowed(&Caps { f16: false, matrix: None, ..all.clone() }, true), [0, 0]);
        let little = Caps { workgroup_memory: 16 << 10, ..all.clone() };
        assert_eq!(allowed(&little, true)[1], 2, "64 x 64 and 32 x 32 fit into 16 KiB");
        assert_eq!(allowed(&Caps { max_invocations: 128, ..all }, true)[1], 0, "four subgroups of 64");
    }
}
