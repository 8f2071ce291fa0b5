//! What does the analytic head cost? Adding a batch of features to the Gram matrix, and solving for the classifier (with
//! one class, which is the factorisation, and with 100), over the number of random features m; beside them, in float64 on
//! the host's cores, the recursive update with the published order of products, and with that of least cost. Before
//! anything is timed, statistics and recursion must give the same classifier, and at m = 2048 that of a float64 Cholesky factorisation. A run
//! of everything draws how the costs grow: `target/analytic-DEVICE.svg`.
//!
//! `MINOISE_DEVICE=cpu|auto|WORDS cargo bench --bench analytic -- [FILTER]`; a filter is a part of an id, e.g. `m1024`.
//! Above m = 4096 passes are measured once, and only where the filter names them: `m8192`, `m16384`.

mod accuracy;
#[path = "../common/mod.rs"]
mod common;
mod growth;
mod recursive;

use common::{Bench, slug};
use growth::Growth;
use minoise::Result;
use minoise::bench::analytic::{BATCH, GAMMA, add, adding, batch, gathered, solve, solving};
use minoise::bench::{Work, agree};
use minoise::device::{Device, Tensor};
use pollster::block_on;
use recursive::{Order, Recursive};

const FEATURES: [usize; 3] = [1024, 2048, 4096];
/// Random features and classes that are measured once.
const LARGE: [(usize, usize); 2] = [(8192, 100), (16384, 200)];
const CLASSES: usize = 100;
/// Where solutions are compared with float64.
const COMPARED: usize = 2048;
/// What m = 16384 and C = 200 may take of a GPU.
const MEMORY: u64 = 5 << 29;

fn repeated(bench: &mut Bench, m: usize, growth: &mut Growth) {
    let id = format!("m{m}");
    let variant = format!("gram/{BATCH}");
    let seconds = bench.time(&id, &variant, adding(m), |device| {
        let mut statistics = gathered(device, m, CLASSES)?;
        let (p, labels) = batch(m, CLASSES, 2);
        let p = device.upload(&p, &[BATCH, m])?;
        Ok(move |device: &Device| {
            add(device, &mut statistics, &p, &labels)?;
            Ok(Vec::new())
        })
    });
    growth.add(&variant, m, seconds);
    for classes in [1, CLASSES] {
        let variant = format!("solve/C{classes}");
        let seconds = bench.time(&id, &variant, solving(m, classes), |device| {
            if m == COMPARED && classes > 1 {
                accuracy::check(device, m)?;
            }
            let statistics = gathered(device, m, classes)?;
            Ok(move |device: &Device| Ok(vec![solve(device, &statistics)?]))
        });
        growth.add(&variant, m, seconds);
    }
    for order in Order::ALL {
        let variant = format!("{}/{BATCH}", order.name());
        let flops = Recursive::flops(order, m as f64, BATCH, CLASSES);
        let seconds =
            bench.time(&id, &variant, Work { flops, ..adding(m) }, |device| updated(recursion(order, m)?, device));
        growth.add(&variant, m, seconds);
    }
}

/// The recursion after two batches.
fn recursion(order: Order, m: usize) -> Result<Recursive> {
    let mut state = Recursive::new(order, m, CLASSES, GAMMA)?;
    for seed in 0..2 {
        let (p, labels) = batch(m, CLASSES, seed);
        state.add(&p, &labels)?;
    }
    Ok(state)
}

/// One update more, once the recursion has given the classifier of the statistics.
fn updated(mut state: Recursive, device: &Device) -> Result<impl FnMut(&Device) -> Result<Vec<Tensor>> + use<>> {
    let m = state.w.rows();
    let exact = solve(device, &gathered(device, m, CLASSES)?)?;
    let columns: Vec<f64> = block_on(state.device.read(&state.w))?;
    let rows: Vec<f64> = (0..CLASSES * m).map(|i| columns[i % m * CLASSES + i / m]).collect();
    let rows = state.device.upload(&rows, &[CLASSES, m])?;
    agree(1e-5, (device, &[exact]), (&state.device, &[rows]))?;
    let (p, labels) = batch(m, CLASSES, 2);
    Ok(move |_: &Device| {
        state.add(&p, &labels)?;
        Ok(Vec::new())
    })
}

/// One batch more and one solution; what is solved has been checked by its residual.
fn once(bench: &mut Bench, m: usize, classes: usize) -> Result<()> {
    let id = format!("m{m}");
    let mut statistics = gathered(&bench.device, m, classes)?;
    let (p, labels) = batch(m, classes, 2);
    let p = bench.device.upload(&p, &[BATCH, m])?;
    bench.once(&id, &format!("gram/{BATCH}"), adding(m), |device| add(device, &mut statistics, &p, &labels));
    drop(p);
    bench.once(&id, &format!("solve/C{classes}"), solving(m, classes), |device| solve(device, &statistics).map(drop));
    let peak = bench.device.stats().peak_bytes;
    println!("device memory: {} MiB at most", peak >> 20);
    assert!(peak <= MEMORY, "device memory stays below {} MiB", MEMORY >> 20);
    Ok(())
}

fn main() {
    let mut bench = Bench::new("analytic");
    let mut growth = Growth::default();
    for m in FEATURES {
        repeated(&mut bench, m, &mut growth);
    }
    for (m, classes) in LARGE {
        if bench.named(&format!("m{m}")) {
            once(&mut bench, m, classes).expect("statistics");
        }
    }
    let file = format!("target/analytic-{}.svg", slug(&bench.device));
    growth.draw(bench.device.name(), &file);
    bench.finish();
}
