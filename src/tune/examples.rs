//! The problems of a kernel, to be run as often as wanted.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::{Problem, Tuning, problems};
use crate::algorithms::noise::NoiseLayer;
use crate::device::{Caps, Device, Tensor};
use crate::{Error, Result};

/// A problem of a kernel.
pub struct Example {
    problem: Rc<dyn Problem>,
    /// How it runs; `None`: as it does in a run.
    way: Option<&'static str>,
}

/// An example with its operands on a device.
pub struct Ready {
    /// Kernel, class, size and way.
    pub name: String,
    example: Example,
    operands: Vec<Tensor>,
}

/// The problems of the kernel of that name: as the device runs them, noise layers both fused and as the chain of kernels.
///
/// # Errors
/// [`Error::Config`] with the names that there are, where there is none of this one.
pub fn examples(kernel: &str) -> Result<Vec<Example>> {
    let all = problems::all();
    let names: BTreeSet<_> = all.iter().map(|problem| problem.kernel()).collect();
    if !names.contains(kernel) {
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        return Err(Error::Config(format!("no problems of a kernel `{kernel}` are known, only of {names}")));
    }
    let ways = if kernel == NoiseLayer::NAME { &[Some("fused"), Some("unfused")][..] } else { &[None] };
    let both = |problem: Box<dyn Problem>| {
        let problem: Rc<dyn Problem> = problem.into();
        ways.iter().map(move |&way| Example { problem: problem.clone(), way })
    };
    Ok(all.into_iter().filter(|problem| problem.kernel() == kernel).flat_map(both).collect())
}

impl Example {
    /// Brings the operands to the device.
    ///
    /// # Errors
    /// Device errors.
    pub fn ready(self, device: &Device) -> Result<Ready> {
        let operands = self.problem.operands(device)?;
        let Tuning { kernel, class, size, .. } = self.problem.tuning(&Device::planner(Caps::floor()), &operands)?;
        let size: Vec<_> = size.iter().map(usize::to_string).collect();
        let words = [kernel, class, &size.join("x"), self.way.unwrap_or_default()];
        let name = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        Ok(Ready { name, example: self, operands })
    }
}

impl Ready {
    /// One pass.
    ///
    /// # Errors
    /// Device errors.
    pub fn run(&self, device: &Device) -> Result<()> {
        self.example.problem.pass(device, &self.operands, self.example.way).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;

    #[test]
    fn a_kernel_has_its_own_problems_and_no_other_has() {
        let device = Device::cpu(Precision::F32);
        let all = examples("layernorm").unwrap();
        let ready = all.into_iter().next().unwrap().ready(&device).unwrap();
        assert_eq!(ready.name, "layernorm 1088x96");
        ready.run(&device).unwrap();
        let layers = examples(NoiseLayer::NAME).unwrap();
        assert!(layers.chunks(2).all(|pair| [pair[0].way, pair[1].way] == [Some("fused"), Some("unfused")]));
        let told = examples("voodoo").err().unwrap().to_string();
        assert!(["voodoo", "gemm", "attention", "noise_layer"].iter().all(|word| told.contains(word)), "{told}");
    }
}
