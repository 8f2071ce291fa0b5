//! The variant for GPUs whose lanes read each other's registers. No device plans for it by itself; who measures plans may
//! choose it.

use super::Gemm;
use super::variants::number;
use crate::device::{Caps, Constant, Plan};

impl Gemm<'_> {
    /// The plan of `gemm_shuffle.wgsl` where `lanes` neighbours exchange operands; none where the device has smaller
    /// subgroups, or larger ones than its tile allows.
    pub(super) fn shuffle(&self, lanes: usize, caps: &Caps) -> Option<Plan> {
        /// Terms of the sums in workgroup memory.
        const DEPTH: usize = 16;
        let side = 8 * lanes;
        let workgroup = side * side / (4 * lanes);
        let (least, most) = (caps.subgroup.0 as usize, caps.subgroup.1 as usize);
        let fits = lanes <= least && most <= side && workgroup <= caps.max_invocations as usize;
        let numbers = [("BM", side), ("BN", side), ("BK", DEPTH), ("LANES", lanes)].map(number);
        let own = [("ALIGNED", Constant::Flag(self.aligned()))].into_iter().chain(numbers);
        let plan = self.with_flags("gemm_shuffle", own, [side; 2], workgroup, caps);
        fits.then(|| Plan { shared_bytes: (4 * DEPTH * 2 * side) as u32, ..plan })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Device, Varied};
    use crate::kernels::gemm::{Layout, Variant};

    fn gemm<T>(caps: &Caps, test: impl Fn(&Gemm<'_>) -> T) -> T {
        let x = Device::planner(caps.clone()).reals(&[8, 8]).unwrap();
        test(&Gemm::new(Layout::NN, &x, &x, &x).unwrap())
    }

    #[test]
    fn subgroups_and_workgroups_must_fit() {
        let workgroup = |lanes, subgroup, max_invocations| {
            let caps = Caps { subgroup, max_invocations, ..Caps::floor() };
            gemm(&caps, |gemm| gemm.shuffle(lanes, &caps).map(|plan| plan.workgroup))
        };
        assert_eq!(workgroup(16, (32, 64), 256), Some(256));
        assert_eq!(workgroup(8, (8, 8), 256), Some(128));
        assert_eq!(workgroup(16, (8, 8), 256), None, "subgroups of 8");
        assert_eq!(workgroup(16, (32, 64), 128), None, "256 threads");
        assert_eq!(workgroup(16, (64, 256), 256), None, "subgroups of two column blocks");
        assert_eq!(workgroup(16, (0, 0), 1024), None);
    }

    #[test]
    fn only_devices_with_row_shares_measure_it() {
        let caps = |row_share| Caps { subgroup: (32, 64), row_share, ..Caps::floor() };
        let listed =
            |caps: Caps| gemm(&caps, |gemm| gemm.variants(&caps).iter().any(|v| matches!(v, Variant::Shuffle(_))));
        assert!(listed(caps(true)) && !listed(caps(false)));
    }
}
