//! Every pipeline that a device plans for is one that its driver compiles. Nothing is executed, so that drivers of GPUs that
//! are not there can be asked, too; see `scripts/conformance`.

use std::collections::BTreeMap;
use std::slice;
use std::time::Instant;

use libtest_mimic::{Failed, Trial};
use minoise::device::Device;

use crate::harness::Example;
use crate::{emit, report};

pub fn trials(devices: &[(String, Device)], examples: &[(&'static str, Example)]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (label, device) in devices.iter().filter(|(_, device)| !device.is_cpu()) {
        for &(kernel, example) in examples {
            let (device, label) = (device.clone(), format!("{kernel}: pipelines compile [{label}]"));
            trials.push(Trial::test(label, move || compile(&device, kernel, example)));
        }
    }
    trials
}

fn compile(device: &Device, kernel: &'static str, example: Example) -> Result<(), Failed> {
    // Examples look at what they compute, and drivers without a GPU compute nothing.
    let planner = Device::planner(device.caps().clone());
    let captured = planner.capture(|| example(&planner))?;
    let distinct: BTreeMap<_, _> = captured.iter().map(|captured| (emit::name(&captured.plan), captured)).collect();
    let start = Instant::now();
    let outcomes = distinct.iter().map(|(name, captured)| (name, device.compile(slice::from_ref(captured))));
    let failures: Vec<_> = outcomes.filter_map(|(name, outcome)| Some(format!("{name}: {}", outcome.err()?))).collect();
    report::compiled(device, kernel, distinct.len(), failures.len(), start.elapsed().as_secs_f64());
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
}
