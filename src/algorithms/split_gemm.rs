//! Matrix products of few results and long sums, such as gradients of weights: parts of the sums are made side by side
//! and then added in a fixed order.

use crate::Result;
use crate::device::{Caps, Device, DeviceClass};
use crate::kernels::column_sum::ColumnSum;
use crate::kernels::gemm::{Activation, Gemm, Layout, Mat};

/// Terms that are worth a part of their own.
const TERMS: usize = 256;
/// Parts start at multiples of it, so that those of aligned matrices are aligned.
const STEP: usize = 16;

impl Gemm<'_> {
    /// Runs the product, in parts where one pass would leave most of a GPU idle.
    ///
    /// # Errors
    /// Device errors.
    pub fn run(&self, device: &Device) -> Result<()> {
        match self.parts(device.caps()) {
            1 => device.run(self),
            parts => self.run_in_parts(device, parts),
        }
    }

    /// How many parts keep a device busy: 1 where the result is large, sums are short, or parts cannot be added up.
    fn parts(&self, caps: &Caps) -> usize {
        const SIDE: usize = 64;
        let [m, n, k] = self.mnk;
        let linear = self.bias.is_none() && self.residual.is_none() && self.pre.is_none();
        let plain = linear && self.activation == Activation::None && !self.lower && self.out.ld == n;
        if caps.class != DeviceClass::Gpu || !plain || m * n == 0 {
            return 1;
        }
        (caps.resident() / (m.div_ceil(SIDE) * n.div_ceil(SIDE))).min(k / TERMS).max(1)
    }

    /// `out (+)= alpha (sum over parts A_p B_p) + alpha A_r B_r`, where r are the terms that `parts` equal ones leave
    /// over. Only for products without bias, residual and activation whose results are contiguous.
    ///
    /// # Errors
    /// Device errors.
    pub fn run_in_parts(&self, device: &Device, parts: usize) -> Result<()> {
        let [m, n, k] = self.mnk;
        let terms = k / parts / STEP * STEP;
        let rest = k - parts * terms;
        let partial = device.reals(&[parts, m * n])?;
        let a_step = if self.layout == Layout::TN { self.a.ld } else { 1 };
        let b_step = if self.layout == Layout::NT { 1 } else { self.b.ld };
        for z in 0..self.batch {
            let [a, b, out] = [self.a, self.b, self.out].map(|x| shifted(x, z * x.batch));
            let to = Mat::at(&partial, 0, n).every(m * n);
            let product = Gemm::of(self.layout, [m, n, terms], a.every(terms * a_step), b.every(terms * b_step), to);
            device.run(&Gemm { batch: parts, ..product })?;
            if rest > 0 {
                let (a, b) = (shifted(a, parts * terms * a_step), shifted(b, parts * terms * b_step));
                device.run(&Gemm { mnk: [m, n, rest], a, b, out, batch: 1, ..*self })?;
            }
            device.run(&ColumnSum {
                out_offset: out.offset,
                scale: self.alpha.into(),
                accumulate: self.accumulate || rest > 0,
                ..ColumnSum::of(&partial, out.tensor)
            })?;
        }
        Ok(())
    }
}

/// The same matrix `by` elements further on.
fn shifted(x: Mat<'_>, by: usize) -> Mat<'_> {
    Mat { offset: x.offset + by, ..x }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(mnk: [usize; 3], class: DeviceClass) -> usize {
        let device = Device::planner(Caps { class, ..Caps::floor() });
        let x = device.reals(&[1]).unwrap();
        let mat = |ld| Mat::at(&x, 0, ld);
        Gemm::of(Layout::TN, mnk, mat(mnk[0]), mat(mnk[1]), mat(mnk[1])).parts(device.caps())
    }

    #[test]
    fn few_results_and_long_sums_are_made_in_parts() {
        assert_eq!(parts([96, 96, 4352], DeviceClass::Gpu), 16);
        assert_eq!(parts([48, 48, 1040], DeviceClass::Gpu), 4);
        assert_eq!(parts([192, 768, 3152], DeviceClass::Gpu), 1);
        assert_eq!(parts([96, 96, 289], DeviceClass::Gpu), 1);
        assert_eq!(parts([96, 96, 4352], DeviceClass::SoftwareGpu), 1);
        assert_eq!(parts([0, 96, 4352], DeviceClass::Gpu), 1);
    }
}
