//! What does one dispatch cost the host, before its work: checks, plan, variant, pipeline and bind group? And what does a
//! pipeline cost: assembling, validating, and all of it with the driver?
//!
//! `MINOISE_DEVICE=auto|WORDS cargo bench --bench dispatch`

use std::time::{Duration, Instant};

use minoise::Result;
use minoise::device::{Device, Options, Selector, assemble, validate};
use minoise::kernels::add::Add;
use minoise::kernels::gemm::{Gemm, Layout};
use pollster::block_on;

/// Dispatches of one measurement, which is less than a submission holds.
const TIMES: u32 = 100;
const REPEATS: usize = 50;

/// The fastest of many measurements: the host does other things, too.
fn host_time(device: &Device, work: &dyn Fn() -> Result<()>) -> Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..REPEATS {
        block_on(device.finish())?;
        let start = Instant::now();
        (0..TIMES).try_for_each(|_| work())?;
        best = best.min(start.elapsed());
    }
    Ok(best / TIMES)
}

fn measure(device: &Device) -> Result<()> {
    let [x, y] = [device.zeros(&[4])?, device.zeros(&[4])?];
    let [a, b, c] = [device.zeros(&[4, 4])?, device.zeros(&[4, 4])?, device.zeros(&[4, 4])?];
    let add = || device.run(&Add { x: &x, y: &y });
    let gemm = || device.run(&Gemm::new(Layout::NN, &a, &b, &c)?);
    println!("host time of a dispatch: add {:?}, gemm {:?}", host_time(device, &add)?, host_time(device, &gemm)?);
    let seen = device.capture(|| add().and_then(|()| gemm()))?;
    for plan in seen.iter().map(|c| &c.plan) {
        let start = Instant::now();
        let text = assemble(plan)?;
        let assembled = start.elapsed();
        validate(plan.shader, &text)?;
        println!("{}: assembled in {assembled:?}, validated in {:?}", plan.shader, start.elapsed() - assembled);
    }
    let stats = device.stats();
    println!("{} pipelines made in {:.3} s", stats.pipelines, stats.compile_seconds);
    Ok(())
}

fn main() {
    let options = Options { saved: false, ..Options::default() };
    let device = block_on(Device::open_with(&Selector::from_flag_or_env(None), &options)).expect("a device");
    println!("device: {}", device.name());
    measure(&device).expect("a measurement");
}
