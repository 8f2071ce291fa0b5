//! Every pipeline that a device plans for is one that its driver compiles. Nothing is executed, so that drivers of GPUs that
//! are not there can be asked, too; see `scripts/conformance`.

use std::collections::BTreeSet;
use std::time::Instant;

use libtest_mimic::Trial;
use minoise::device::Device;

use crate::harness::Example;
use crate::{emit, report};

pub fn trials(devices: &[(String, Device)], examples: &[(&'static str, Example)]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (label, device) in devices.iter().filter(|(_, device)| !device.is_cpu()) {
        for &(kernel, example) in examples {
            let device = device.clone();
            trials.push(Trial::test(format!("{kernel}: pipelines compile [{label}]"), move || {
                let plans: BTreeSet<_> =
                    device.capture(|| example(&device))?.iter().map(|captured| emit::name(&captured.plan)).collect();
                let start = Instant::now();
                let outcome = device.prewarm(|| example(&device));
                report::compiled(&device, kernel, plans.len(), outcome.is_err(), start.elapsed().as_secs_f64());
                Ok(outcome?)
            }));
        }
    }
    trials
}
