//! Every kernel with the plans that a device makes for it: those of `tune`'s problems, then those of `uses`.

use crate::Result;
use crate::device::{Caps, Captured, Device, Plan, kernels};
use crate::{tune, uses};

/// A kernel on a device.
#[derive(Clone, Debug)]
pub struct Entry {
    pub kernel: &'static str,
    /// One for each pipeline, in the order in which problems ask for them: the first is the device's own for the first one.
    pub plans: Vec<Planned>,
    /// The variants that the device can run, and whether it takes one for any problem; none where there is one way only.
    pub variants: Vec<(String, bool)>,
    /// Problems that `minoise tune` measured on the adapter.
    pub measured: usize,
}

/// A plan with what it is for.
#[derive(Clone, Debug)]
pub struct Planned {
    pub plan: Plan,
    /// Its name, where the kernel has variants and `tune` knows them.
    pub variant: Option<String>,
    /// Runs that ask for it.
    pub used_by: Vec<&'static str>,
}

/// All kernels as a device with `caps` runs them, in the order of [`kernels`].
///
/// # Errors
/// What the caps do not allow.
pub fn catalogue(caps: &Caps) -> Result<Vec<Entry>> {
    let entry = |kernel| {
        let measured = caps.tuned.measured(kernel);
        Entry { kernel, plans: Vec::new(), variants: Vec::new(), measured }
    };
    let mut all: Vec<Entry> = kernels().map(entry).collect();
    let planner = Device::planner(caps.clone());
    for tune::Planned { kernel, variant, taken, dispatches } in tune::plans(&planner)? {
        // A layer's ways are of several kernels, and variants of none.
        if let Some(entry) = all.iter_mut().find(|entry| entry.kernel == kernel) {
            match entry.variants.iter_mut().find(|known| known.0 == variant) {
                Some(known) => known.1 |= taken,
                None => entry.variants.push((variant.clone(), taken)),
            }
        }
        for captured in dispatches {
            let of = (captured.kernel == kernel).then(|| variant.clone());
            add(&mut all, captured, "tune", of);
        }
    }
    for (name, dispatches) in uses::dispatches(&planner)? {
        dispatches.into_iter().for_each(|captured| add(&mut all, captured, name, None));
    }
    Ok(all)
}

/// Adds a dispatch, by its pipeline.
fn add(all: &mut [Entry], captured: Captured, user: &'static str, variant: Option<String>) {
    let Captured { kernel, plan, .. } = captured;
    let Some(entry) = all.iter_mut().find(|entry| entry.kernel == kernel) else { return };
    let same = |known: &&mut Planned| known.plan.shader == plan.shader && known.plan.constants == plan.constants;
    match entry.plans.iter_mut().find(same) {
        Some(known) if known.used_by.contains(&user) => {}
        Some(known) => known.used_by.push(user),
        None => entry.plans.push(Planned { plan, variant, used_by: vec![user] }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On the smallest device and on a real one's caps every kernel has plans, and those of `tune` have their variants.
    #[test]
    fn every_kernel_has_plans() {
        for caps in [Caps::floor(), Caps::profile("navi31").expect("a known one")] {
            let all = catalogue(&caps).expect("plans");
            let bare: Vec<_> = all.iter().filter(|entry| entry.plans.is_empty()).map(|entry| entry.kernel).collect();
            assert!(bare.is_empty(), "{bare:?}");
            let gemm = all.iter().find(|entry| entry.kernel == "gemm").expect("a kernel");
            let first = gemm.plans[0].variant.as_ref().expect("tune's first problem");
            assert!(
                gemm.variants.iter().any(|(name, taken)| name == first && *taken),
                "{first} of {:?}",
                gemm.variants
            );
        }
    }
}
