//! Problems that are one dispatch of a kernel with variants.

use super::{Problem, Tuning, Way};
use crate::device::{Caps, Device, Kernel, Operand, Tensor, Twin, Varied, WithPlan};
use crate::{Error, Result};

/// A kernel with operands; its variants, sizes and work follow from its declaration.
pub(super) trait Subject {
    type Kernel<'a>: Varied + Twin;
    /// The same numbers on every device.
    fn operands(&self, device: &Device) -> Result<Vec<Tensor>>;
    /// Tensors for the results; zeros where the kernel adds, or leaves a part.
    fn results(&self, device: &Device) -> Result<Vec<Tensor>>;
    fn kernel<'a>(&self, operands: &'a [Tensor], results: &'a [Tensor]) -> Self::Kernel<'a>;
    /// Largest error of results, relative to their largest entry.
    fn bound(&self, rounds: bool) -> f64;
}

impl<S: Subject> Problem for S {
    fn kernel(&self) -> &'static str {
        S::Kernel::<'static>::NAME
    }

    fn tuning(&self, device: &Device, operands: &[Tensor]) -> Result<Tuning> {
        let results = self.results(&Device::planner(device.caps().clone()))?;
        Ok(tuning(self.kernel(operands, &results), device.caps()))
    }

    fn work(&self, operands: &[Tensor]) -> Result<(f64, f64)> {
        let results = self.results(&Device::planner(Caps::floor()))?;
        let kernel = self.kernel(operands, &results);
        Ok((kernel.flops(), kernel.operands()?.iter().map(Operand::bytes).sum()))
    }

    fn operands(&self, device: &Device) -> Result<Vec<Tensor>> {
        Subject::operands(self, device)
    }

    fn pass(&self, device: &Device, operands: &[Tensor], way: Option<&str>) -> Result<Vec<Tensor>> {
        let results = self.results(device)?;
        run(device, self.kernel(operands, &results), way)?;
        Ok(results)
    }

    fn bound(&self, rounds: bool) -> f64 {
        Subject::bound(self, rounds)
    }
}

fn run<K: Varied + Twin>(device: &Device, kernel: K, way: Option<&str>) -> Result<()> {
    let Some(name) = way else {
        return device.run(&kernel);
    };
    let variant = kernel.variants(device.caps()).into_iter().find(|v| v.to_string() == name);
    let plan = variant.and_then(|v| kernel.planned(v, device.caps()));
    let plan = plan.ok_or_else(|| Error::Unsupported(format!("{} has no variant `{name}`", K::NAME)))?;
    device.run(&WithPlan(kernel, plan))
}

fn tuning<K: Varied>(kernel: K, caps: &Caps) -> Tuning {
    let default = kernel.variant(caps);
    let way = |variant: K::Variant| Way {
        variant: variant.to_string(),
        default: Some(variant) == default,
        rounds: K::rounds(variant),
    };
    let ways = kernel.variants(caps).into_iter().map(way).collect();
    Tuning { kernel: K::NAME, class: kernel.class(), size: kernel.size(), ways }
}
