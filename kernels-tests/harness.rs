//! Runs cases on all devices, compares with the f64 twin, guards the ends of outputs.

use std::cmp::Ordering::{Equal, Less};
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use minoise::Result;
use minoise::device::{
    Caps, DType, Device, DeviceClass, Options, Planned, Precision, Selector, Tensor, Twin, adapters,
};
use pollster::block_on;
use rand::{RngExt, SeedableRng};

/// What one run of a case left behind.
pub struct Output {
    pub name: &'static str,
    pub tensor: Tensor,
    /// Largest error allowed, for each element or (one entry) for all.
    pub bound: Vec<f64>,
}

/// Builds inputs on the given device, runs the kernel, returns the outputs.
pub type Work = Arc<dyn Fn(&Device) -> Result<Vec<Output>> + Send + Sync>;

/// Runs kernels for their plans only; see `shaders.rs`.
pub type Example = fn(&Device) -> Result<()>;

/// What a GPU must have for a case that is of no other device.
#[derive(Clone, Copy)]
pub struct Needs {
    pub what: &'static str,
    pub has: fn(&Caps) -> bool,
}

pub struct Case {
    pub name: String,
    pub work: Work,
    pub needs: Option<Needs>,
}

pub fn case(name: String, work: impl Fn(&Device) -> Result<Vec<Output>> + Send + Sync + 'static) -> Case {
    Case { name, work: Arc::new(work), needs: None }
}

/// A case for the GPUs that have what it needs; on others it is listed as not run.
pub fn case_for(
    needs: Needs,
    name: String,
    work: impl Fn(&Device) -> Result<Vec<Output>> + Send + Sync + 'static,
) -> Case {
    Case { needs: Some(needs), ..case(name, work) }
}

/// Runs the kernel by the device's own plan, or by that for real GPUs, which software devices run as well.
pub fn run_planned<K: Twin>(device: &Device, kernel: K, on_gpu: bool) -> Result<()> {
    if on_gpu { run_as(device, kernel, &as_gpu(device)) } else { device.run(&kernel) }
}

/// A real GPU with the limits of this device.
pub fn as_gpu(device: &Device) -> Caps {
    Caps { class: DeviceClass::Gpu, ..device.caps().clone() }
}

/// Runs the kernel by its plan for `caps`, which must fit this device.
pub fn run_as<K: Twin>(device: &Device, kernel: K, caps: &Caps) -> Result<()> {
    let plan = kernel.plan(caps)?;
    device.run(&Planned(kernel, plan))
}

const CANARY: f32 = 12_345.678;
const GUARD: usize = 64;

/// Deterministic numbers in (-1, 1) without any symmetry.
pub fn numbers(seed: u64, n: usize) -> Vec<f32> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| rng.random_range(-1.0f32..1.0)).collect()
}

/// A tensor of `numbers`.
pub fn random(device: &Device, seed: u64, shape: &[usize]) -> Result<Tensor> {
    device.upload(&numbers(seed, shape.iter().product()), shape)
}

/// An output of NaNs with canaries behind its end.
pub fn poisoned(device: &Device, shape: &[usize]) -> Result<Tensor> {
    let n: usize = shape.iter().product();
    let mut data = vec![f32::NAN; n];
    data.resize(n + GUARD, CANARY);
    Ok(device.upload(&data, &[n + GUARD])?.prefix(shape))
}

/// Same, holding `data`: for outputs that a kernel updates.
pub fn guarded(device: &Device, data: &[f32], shape: &[usize]) -> Result<Tensor> {
    let mut data = data.to_vec();
    data.resize(data.len() + GUARD, CANARY);
    Ok(device.upload(&data, &[data.len()])?.prefix(shape))
}

fn read(device: &Device, tensor: &Tensor) -> Vec<f64> {
    match tensor.dtype() {
        DType::U32 => block_on(device.read_u32(tensor)).expect("read").into_iter().map(f64::from).collect(),
        _ => block_on(device.read(tensor)).expect("read"),
    }
}

fn compare(device: &Device, work: &Work) -> Result<(), Failed> {
    let got = work(device).map_err(|e| e.to_string())?;
    let oracle = Device::cpu(Precision::F64);
    let want = work(&oracle).map_err(|e| format!("the f64 twin: {e}"))?;
    // Cases about refusals assert by themselves and leave no output.
    if got.len() != want.len() {
        return Err(format!("{} outputs, {} by the twin", got.len(), want.len()).into());
    }
    for (got, want) in got.iter().zip(&want) {
        let (x, y) = (read(device, &got.tensor), read(&oracle, &want.tensor));
        let bound = |i: usize| want.bound[if want.bound.len() == 1 { 0 } else { i }];
        let worst = (0..y.len()).max_by(|&i, &j| {
            let score = |i: usize| if x[i].is_finite() { (x[i] - y[i]).abs() / bound(i) } else { f64::INFINITY };
            score(i).total_cmp(&score(j))
        });
        if let Some(i) = worst {
            let error = (x[i] - y[i]).abs();
            if !x[i].is_finite() || !y[i].is_finite() || !matches!(error.partial_cmp(&bound(i)), Some(Less | Equal)) {
                let name = got.name;
                return Err(format!("{name}[{i}]: {} for {}, error {error:e} > {:e}", x[i], y[i], bound(i)).into());
            }
        }
        // Guarded outputs are longer than their shape; others have nothing behind their end to look at.
        let guard = if got.tensor.dtype() == DType::Real { guard_of(device, &got.tensor) } else { None };
        if guard.is_some_and(|tail| tail.iter().any(|&x| x != f64::from(CANARY))) {
            return Err(format!("{}: wrote behind its end", got.name).into());
        }
    }
    Ok(())
}

fn guard_of(device: &Device, tensor: &Tensor) -> Option<Vec<f64>> {
    let whole = tensor.whole();
    (whole > tensor.len()).then(|| read(device, &tensor.extended(whole))[tensor.len()..].to_vec())
}

/// The CPU device and the adapters that the tests use, with their names.
pub fn devices() -> Vec<(String, Device)> {
    let wanted = std::env::var("MINOISE_TEST_DEVICE").unwrap_or_default().to_lowercase();
    let options = Options { tuned: false, ..Options::default() };
    let mut devices = vec![("cpu".to_string(), Device::cpu(Precision::F32))];
    for report in block_on(adapters()) {
        let label = report.label().to_lowercase();
        // The GL writer of naga is covered by the shader tests; running on it too takes minutes of compilation.
        let chosen =
            if wanted.is_empty() { report.backend != "gl" } else { wanted.split(' ').all(|w| label.contains(w)) };
        if chosen {
            let device = block_on(Device::open_with(&Selector::Named(report.label()), &options))
                .expect("a listed adapter opens");
            devices.push((format!("{} {}", report.backend, report.name), device));
        }
    }
    devices
}

/// Runs cases on all devices, and the given other trials.
pub fn run(cases: Vec<Case>, devices: &[(String, Device)], mut trials: Vec<Trial>) {
    let arguments = Arguments::from_args();
    let no_gpu = devices.len() == 1;
    let not_run = |name: String| Trial::test(name, || Ok(())).with_ignored_flag(true);
    for case in cases {
        if no_gpu {
            trials.push(not_run(format!("{} [no GPU adapter: not run]", case.name)));
        }
        for (label, device) in devices {
            if let Some(needs) = case.needs.filter(|needs| device.is_cpu() || !(needs.has)(device.caps())) {
                if !device.is_cpu() {
                    trials.push(not_run(format!("{} [{label}: no {}: not run]", case.name, needs.what)));
                }
                continue;
            }
            let (device, work) = (device.clone(), case.work.clone());
            trials.push(Trial::test(format!("{} [{label}]", case.name), move || compare(&device, &work)));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}
