//! Runs cases on all devices, compares with the f64 twin and that with plain loops, guards the ends of operands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use minoise::Result;
use minoise::device::{
    Caps, DType, Device, DeviceClass, Options, Precision, Real, Selector, Tensor, Twin, WithPlan, adapters,
};
use pollster::block_on;
use rand::{RngExt, SeedableRng};

use crate::report;

/// What one run of a case left behind.
pub struct Output {
    pub name: &'static str,
    pub tensor: Tensor,
    /// Largest error allowed, for each element or (one entry) for all.
    pub bound: Vec<f64>,
    /// Why a bound may exceed [`LARGEST`].
    loose: Option<&'static str>,
    /// By what a bound is judged, where that is not the numbers themselves.
    size: Option<f64>,
    /// The same numbers by plain loops in f64.
    naive: Option<Box<dyn FnOnce() -> Vec<f64>>>,
}

pub fn output(name: &'static str, tensor: Tensor, bound: Vec<f64>) -> Output {
    Output { name, tensor, bound, loose: None, size: None, naive: None }
}

/// An output whose numbers the case judges by another one: here only its canaries count, and that all is finite.
pub fn canaries(name: &'static str, tensor: Tensor) -> Output {
    output(name, tensor, vec![f64::INFINITY]).loose("judged by another output")
}

impl Output {
    /// Allows bounds above [`LARGEST`]; says why they are right.
    pub fn loose(self, why: &'static str) -> Self {
        Self { loose: Some(why), ..self }
    }

    /// The numbers are errors, or differences that may vanish, of numbers of this size.
    pub fn differences_of(self, size: f64) -> Self {
        Self { size: Some(size), ..self }
    }

    /// The same numbers by plain loops in f64: the f64 twin must meet them as closely as f32 must meet the twin, in units of
    /// the last place.
    pub fn naive(self, numbers: impl FnOnce() -> Vec<f64> + 'static) -> Self {
        Self { naive: Some(Box::new(numbers)), ..self }
    }
}

/// Largest bound, in units of an output's root mean square, that still says something about the output.
const LARGEST: f64 = 0.1;

/// How many roundings of its size a sum of `n` terms is off by: n at worst and, but for 3 chances in 10^8, at most 6 sqrt(n)
/// (Higham and Mary, A new approach to probabilistic rounding error analysis, SIAM J. Sci. Comput. 41, theorem 3.1).
pub fn growth(n: usize) -> f64 {
    (n as f64).min(6.0 * (n as f64).sqrt())
}

/// Root of the mean square.
pub fn rms(x: &[f64]) -> f64 {
    (x.iter().map(|x| x * x).sum::<f64>() / x.len().max(1) as f64).sqrt()
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

/// Whose plan a case runs, and the caps it is made for: a grid of few groups in a dimension is spread over both.
pub type Plans = (&'static str, fn(&Device) -> Caps);
pub const OWN_AND_GPU: [Plans; 2] = [("", |d| d.caps().clone()), (", GPU plan", as_gpu)];
pub const FEW_GROUPS: [Plans; 2] =
    [(", few groups", |d| few_groups(d.caps().clone())), (", GPU plan, few groups", |d| few_groups(as_gpu(d)))];

pub fn few_groups(caps: Caps) -> Caps {
    Caps { max_groups: 20, ..caps }
}

/// Runs the kernel by its plan for `caps`, which must fit this device.
pub fn run_as<K: Twin>(device: &Device, kernel: K, caps: &Caps) -> Result<()> {
    let plan = kernel.plan(caps)?;
    device.run(&WithPlan(kernel, plan))
}

const CANARY: f32 = 12_345.678;
pub const INT_CANARY: u32 = 0xc0ff_ee11;
const GUARD: usize = 64;

/// Deterministic numbers in (-1, 1) without any symmetry.
pub fn numbers(seed: u64, n: usize) -> Vec<f32> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| rng.random_range(-1.0f32..1.0)).collect()
}

/// The numbers in f64.
pub fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| x.into()).collect()
}

/// `data`, and `filling` behind it.
fn behind<T: Copy>(data: &[T], filling: T) -> Vec<T> {
    let mut data = data.to_vec();
    data.resize(data.len() + GUARD, filling);
    data
}

/// An input with NaN behind its end, so that a read beyond it shows.
pub fn input<T: Real>(device: &Device, data: &[T], shape: &[usize]) -> Result<Tensor> {
    Ok(device.upload(&behind(data, T::of(f64::NAN)), &[data.len() + GUARD])?.prefix(shape))
}

/// An input in halves, likewise.
pub fn input_f16(device: &Device, data: &[half::f16], shape: &[usize]) -> Result<Tensor> {
    Ok(device.upload_f16(&behind(data, half::f16::NAN), &[data.len() + GUARD])?.prefix(shape))
}

/// Integers, with one behind them that is no index.
pub fn input_u32(device: &Device, data: &[u32], shape: &[usize]) -> Result<Tensor> {
    Ok(device.upload_u32(&behind(data, INT_CANARY), &[data.len() + GUARD])?.prefix(shape))
}

/// An input of `numbers`.
pub fn random(device: &Device, seed: u64, shape: &[usize]) -> Result<Tensor> {
    input(device, &numbers(seed, shape.iter().product()), shape)
}

/// An output of NaNs with canaries behind its end.
pub fn poisoned(device: &Device, shape: &[usize]) -> Result<Tensor> {
    guarded(device, &vec![f32::NAN; shape.iter().product()], shape)
}

/// Same, holding `data`: for outputs that a kernel updates.
pub fn guarded(device: &Device, data: &[f32], shape: &[usize]) -> Result<Tensor> {
    Ok(device.upload(&behind(data, CANARY), &[data.len() + GUARD])?.prefix(shape))
}

/// Same, for integers.
pub fn poisoned_u32(device: &Device, shape: &[usize]) -> Result<Tensor> {
    input_u32(device, &vec![u32::MAX; shape.iter().product()], shape)
}

fn read(device: &Device, tensor: &Tensor) -> Vec<f64> {
    match tensor.dtype() {
        DType::U32 => block_on(device.read_u32(tensor)).expect("read").into_iter().map(f64::from).collect(),
        _ => block_on(device.read(tensor)).expect("read"),
    }
}

/// Runs `work` on the device and on the f64 device. Returns the largest error in units of its bound.
fn compare(device: &Device, work: &Work, seconds: &mut f64) -> Result<f64, Failed> {
    let start = Instant::now();
    let got = work(device).map_err(|e| e.to_string())?;
    block_on(device.finish()).map_err(|e| e.to_string())?;
    *seconds = start.elapsed().as_secs_f64();
    let oracle = Device::cpu(Precision::F64);
    let want = work(&oracle).map_err(|e| format!("the f64 twin: {e}"))?;
    // Cases about refusals assert by themselves and leave no output.
    if got.len() != want.len() {
        return Err(format!("{} outputs, {} by the twin", got.len(), want.len()).into());
    }
    let mut largest = 0.0;
    for (got, mut want) in got.into_iter().zip(want) {
        let y = read(&oracle, &want.tensor);
        if let Some(naive) = want.naive.take() {
            let bound: Vec<_> = want.bound.iter().map(|b| b * TWIN).collect();
            meets(&y, &naive(), &bound).map_err(|e| format!("the f64 twin's {}{e} by plain loops", want.name))?;
        }
        says_something(&want, &y)?;
        let score = meets(&read(device, &got.tensor), &y, &want.bound).map_err(|e| format!("{}{e}", got.name))?;
        largest = f64::max(largest, score);
        if guard(device, &got.tensor).any(|intact| !intact) {
            return Err(format!("{}: wrote behind its end", got.name).into());
        }
    }
    Ok(largest)
}

/// What rounding in f64 leaves of a bound for f32; elementary functions of the host may be off by a few units more.
const TWIN: f64 = 4.0 * f64::EPSILON / f32::EPSILON as f64;

/// The largest error in units of its bound, or where it exceeds that.
fn meets(x: &[f64], y: &[f64], bound: &[f64]) -> Result<f64, String> {
    if x.len() != y.len() || bound.len() != 1 && bound.len() != y.len() {
        return Err(format!(": {} numbers for {}, {} bounds", x.len(), y.len(), bound.len()));
    }
    let mut largest = 0.0;
    for (i, (x, y)) in x.iter().zip(y).enumerate() {
        let (error, bound) = ((x - y).abs(), bound[if bound.len() == 1 { 0 } else { i }]);
        // NaN exceeds everything.
        if !(error <= bound && x.is_finite()) {
            return Err(format!("[{i}]: {x} for {y}, error {error:e} > {bound:e}"));
        }
        largest = f64::max(largest, if error == 0.0 { 0.0 } else { error / bound });
    }
    Ok(largest)
}

/// A bound that is not far below the numbers themselves cannot fail, unless the case has a reason.
fn says_something(output: &Output, y: &[f64]) -> Result<(), Failed> {
    let size = output.size.unwrap_or_else(|| rms(y));
    let bound = output.bound.iter().copied().fold(0.0, f64::max);
    if output.loose.is_some() || y.is_empty() || bound <= (LARGEST * size).max(f64::MIN_POSITIVE) {
        return Ok(());
    }
    Err(format!("{}: the bound {bound:e} says nothing about numbers of size {size:e}", output.name).into())
}

/// Whether each word behind an output is as it was; nothing where the output has no canaries.
fn guard(device: &Device, tensor: &Tensor) -> impl Iterator<Item = bool> {
    let canary = if tensor.dtype() == DType::U32 { f64::from(INT_CANARY) } else { f64::from(CANARY) };
    let whole = tensor.whole();
    let tail =
        if whole > tensor.len() { read(device, &tensor.extended(whole)).split_off(tensor.len()) } else { Vec::new() };
    tail.into_iter().map(move |x| x == canary)
}

/// One case gives the same bits on one thread and on several.
fn same_bits(name: &str, work: &Work) -> Result<(), Failed> {
    let [one, many] = [1, 5].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| -> Result<Vec<Vec<u64>>> {
            let device = Device::cpu(Precision::F32);
            let bits = |o: Output| read(&device, &o.tensor).into_iter().map(f64::to_bits).collect();
            Ok(work(&device)?.into_iter().map(bits).collect())
        })
    });
    let (one, many) = (one.map_err(|e| e.to_string())?, many.map_err(|e| e.to_string())?);
    if one == many { Ok(()) } else { Err(format!("{name}: the number of threads changes bits").into()) }
}

/// The CPU device and the adapters that the tests use, with their names. Ends the process where none is the wanted one.
pub fn devices() -> Vec<(String, Device)> {
    let wanted = std::env::var("MINOISE_TEST_DEVICE").unwrap_or_default().to_lowercase();
    // The plans of a real GPU on a software adapter: one of `Caps::profiles`.
    let plans = std::env::var("MINOISE_TEST_PLANS").ok().map(|name| {
        let caps = Caps::profile(&name).unwrap_or_else(|| {
            eprintln!("MINOISE_TEST_PLANS={name}: there are {:?}", Caps::profiles().map(|p| p.0));
            std::process::exit(2)
        });
        (format!(" as {name}"), caps)
    });
    let (suffix, plans) = plans.unzip();
    let options = Options { saved: false, plans, ..Options::default() };
    let mut devices = vec![("cpu".to_string(), Device::cpu(Precision::F32))];
    let adapters = block_on(adapters());
    for adapter in &adapters {
        let label = adapter.label().to_lowercase();
        // The GL writer of naga is covered by the shader tests; running on it too takes minutes of compilation.
        let chosen =
            if wanted.is_empty() { adapter.backend != "gl" } else { wanted.split(' ').all(|w| label.contains(w)) };
        if chosen {
            let device = block_on(Device::open_with(&Selector::Named(adapter.label()), &options))
                .expect("a listed adapter opens");
            report::adapter(adapter);
            let suffix = suffix.as_deref().unwrap_or_default();
            devices.push((format!("{} {}{suffix}", adapter.backend, adapter.name), device));
        }
    }
    if !wanted.is_empty() && devices.len() == 1 {
        let labels: Vec<_> = adapters.iter().map(|a| a.label()).collect();
        eprintln!("MINOISE_TEST_DEVICE={wanted} matches no adapter; there are: [{}]", labels.join("; "));
        std::process::exit(2);
    }
    devices
}

/// The cases of a kernel's module.
pub type Cases = (&'static str, Vec<Case>);

/// So long a kernel's cases are run on other numbers of threads as well, but at least some.
const THREADS: (Duration, usize) = (Duration::from_secs(3), 8);

/// Runs at most so many cases of each kernel on all devices, and the given other trials. Ends the process.
pub fn run(modules: Vec<Cases>, most: usize, devices: &[(String, Device)], mut trials: Vec<Trial>) -> ! {
    let arguments = Arguments::from_args();
    let no_gpu = devices.len() == 1;
    let not_run = |name: String| Trial::test(name, || Ok(())).with_ignored_flag(true);
    for (kernel, cases) in modules {
        // In steps of a large prime, so that what runs is a sample of all.
        let n = cases.len();
        let sample: Vec<_> = (0..n).map(|i| &cases[i * 7919 % n]).map(|c| (c.name.clone(), c.work.clone())).collect();
        trials.push(Trial::test(format!("{kernel}: same bits on 1 and 5 threads [cpu]"), move || {
            let start = Instant::now();
            let enough = |i: usize| i >= THREADS.1 && start.elapsed() > THREADS.0;
            let mut sample = sample.iter().enumerate().take_while(|(i, _)| !enough(*i));
            sample.try_for_each(|(_, (name, work))| same_bits(name, work))
        }));
        let most = most.min(n);
        for (i, case) in cases.into_iter().enumerate() {
            // Of n numbers so many, evenly.
            if i * most % n >= most {
                devices.iter().for_each(|(_, device)| report::not_run(device, kernel, "not in the sample"));
                continue;
            }
            if no_gpu {
                trials.push(not_run(format!("{} [no GPU adapter: not run]", case.name)));
            }
            for (label, device) in devices {
                if let Some(needs) = case.needs.filter(|needs| device.is_cpu() || !(needs.has)(device.caps())) {
                    if !device.is_cpu() {
                        report::not_run(device, kernel, needs.what);
                        trials.push(not_run(format!("{} [{label}: no {}: not run]", case.name, needs.what)));
                    }
                    continue;
                }
                let (device, work) = (device.clone(), case.work.clone());
                trials.push(Trial::test(format!("{} [{label}]", case.name), move || {
                    let mut seconds = 0.0;
                    let outcome = compare(&device, &work, &mut seconds);
                    report::ran(&device, kernel, outcome.as_ref().ok().copied(), seconds);
                    outcome.map(drop)
                }));
            }
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    report::write(&conclusion);
    conclusion.exit()
}
