//! What does the analytic head cost? Adding a batch of features to the Gram matrix, and solving for the classifier (with
//! one class, which is the factorisation, and with 100), over the number of random features m; beside them, in float64 on
//! the host's cores, the recursive update of the published code with its order of products. Before anything is timed,
//! statistics and recursion must give the same classifier.
//!
//! `MINOISE_DEVICE=cpu|auto|WORDS cargo bench --bench analytic -- [FILTER]`; a filter is a part of an id, e.g. `m1024`.

mod common;

use common::{Bench, Random, Work, agree};
use faer::linalg::solvers::DenseSolveCore;
use faer::{MatRef, Side};
use minoise::Result;
use minoise::device::{Device, Precision, Tensor};
use minoise::kernels::gemm::{Gemm, Layout};
use minoise::model::head::Statistics;
use pollster::block_on;

const FEATURES: [usize; 4] = [1024, 2048, 4096, 8192];
/// Above, one recursive update takes minutes.
const RECURSIVE_FEATURES: usize = 4096;
const BATCH: usize = 1000;
const CLASSES: usize = 100;
const GAMMA: f64 = 100.0;

/// Features as ReLU gives them, and labels.
fn batch(m: usize, seed: usize) -> (Vec<f32>, Vec<u32>) {
    let mut random = Random::new();
    // Another part of the same stream for every batch.
    (0..seed).for_each(|_| drop(random.numbers(BATCH, 1.0)));
    let p = random.numbers(BATCH * m, 1.0).into_iter().map(|x| x.max(0.0)).collect();
    (p, (0..BATCH).map(|i| ((i * 7 + seed) % CLASSES) as u32).collect())
}

/// `out = [out +] alpha product of a and b`.
fn product(device: &Device, layout: Layout, a: &Tensor, b: &Tensor, out: &Tensor, alpha: f32, add: bool) -> Result<()> {
    device.run(&Gemm { alpha, accumulate: add, ..Gemm::new(layout, a, b, out)? })
}

/// The recursive state: R = (G + gamma I)^-1 [m, m] and W [m, C], in float64.
struct Recursive {
    device: Device,
    r: Tensor,
    w: Tensor,
}

impl Recursive {
    fn new(m: usize) -> Result<Self> {
        let device = Device::cpu(Precision::F64);
        let mut r = vec![0.0; m * m];
        r.iter_mut().step_by(m + 1).for_each(|x| *x = 1.0 / GAMMA);
        Ok(Self { r: device.upload(&r, &[m, m])?, w: device.zeros(&[m, CLASSES])?, device })
    }

    /// `R -= R p^T (I + p R p^T)^-1 p R`, multiplied from left to right, then `W += R p^T (Y - p W)`.
    fn add(&mut self, p: &[f32], labels: &[u32]) -> Result<()> {
        let (device, m, n) = (&self.device, self.r.cols(), labels.len());
        let reals = |rows: usize, cols: usize| device.reals(&[rows, cols]);
        let p = device.upload(p, &[n, m])?;
        let identity: Vec<f64> = (0..n * n).map(|i| if i % (n + 1) == 0 { 1.0 } else { 0.0 }).collect();
        let identity = device.upload(&identity, &[n, n])?;
        // R is symmetric.
        let p_r = reals(n, m)?;
        product(device, Layout::NN, &p, &self.r, &p_r, 1.0, false)?;
        let inner = device.reals(&[n, n])?;
        device.copy(&identity, 0, &inner, 0, n * n)?;
        product(device, Layout::NT, &p_r, &p, &inner, 1.0, true)?;
        let inner: Vec<f64> = block_on(device.read(&inner))?;
        let factor = MatRef::from_row_major_slice(&inner, n, n).llt(Side::Lower).expect("positive definite");
        let inverse = factor.inverse();
        let inverse: Vec<f64> = inverse.col_iter().flat_map(|col| col.iter().copied().collect::<Vec<_>>()).collect();
        let inverse = device.upload(&inverse, &[n, n])?;
        let (narrow, square, old) = (reals(m, n)?, reals(m, m)?, reals(m, m)?);
        product(device, Layout::TN, &p_r, &inverse, &narrow, 1.0, false)?;
        product(device, Layout::NN, &narrow, &p, &square, 1.0, false)?;
        device.copy(&self.r, 0, &old, 0, m * m)?;
        product(device, Layout::NN, &square, &old, &self.r, -1.0, true)?;
        let mut wanted = vec![0.0; n * CLASSES];
        labels.iter().enumerate().for_each(|(i, &y)| wanted[i * CLASSES + y as usize] = 1.0);
        let missing = device.upload(&wanted, &[n, CLASSES])?;
        product(device, Layout::NN, &p, &self.w, &missing, -1.0, true)?;
        let gain = reals(m, n)?;
        product(device, Layout::NT, &self.r, &p, &gain, 1.0, false)?;
        product(device, Layout::NN, &gain, &missing, &self.w, 1.0, true)
    }

    /// Multiplications and additions of one update.
    fn flops(m: f64) -> f64 {
        let (n, c) = (BATCH as f64, CLASSES as f64);
        2.0 * m * m * m + 2.0 * n * m * m * 3.0 + 2.0 * n * n * m * 2.0 + 4.0 * n * m * c + 7.0 / 3.0 * n * n * n
    }
}

/// Statistics of `classes` classes after two batches.
fn gathered(device: &Device, m: usize, classes: usize) -> Result<Statistics> {
    let mut statistics = Statistics::new(device, m)?;
    statistics.widen(classes)?;
    for seed in 0..2 {
        let (p, labels) = batch(m, seed);
        let labels: Vec<u32> = labels.iter().map(|&y| y % classes as u32).collect();
        block_on(statistics.add(device, &device.upload(&p, &[BATCH, m])?, &labels))?;
    }
    Ok(statistics)
}

fn solve(device: &Device, statistics: &Statistics) -> Result<Tensor> {
    Ok(block_on(statistics.solve(device, GAMMA, &mut |_| ()))?.weights)
}

fn main() {
    let mut bench = Bench::new("analytic");
    for m in FEATURES {
        let (id, wide) = (format!("m{m}"), m as f64);
        let square = 8.0 * wide * wide;
        let gram = Work { flops: BATCH as f64 * wide * wide, bytes: square, images: BATCH };
        bench.time(&id, &format!("gram/{BATCH}"), gram, |device| {
            let mut statistics = gathered(device, m, CLASSES)?;
            let (p, labels) = batch(m, 2);
            let p = device.upload(&p, &[BATCH, m])?;
            Ok(move |device: &Device| {
                block_on(statistics.add(device, &p, &labels))?;
                Ok(Vec::new())
            })
        });
        for classes in [1, CLASSES] {
            let flops = wide * wide * (wide / 3.0 + 2.0 * classes as f64);
            let work = Work { flops, bytes: square, images: 0 };
            bench.time(&id, &format!("solve/C{classes}"), work, |device| {
                let statistics = gathered(device, m, classes)?;
                Ok(move |device: &Device| Ok(vec![solve(device, &statistics)?]))
            });
        }
        if m > RECURSIVE_FEATURES {
            continue;
        }
        let recursive = Work { flops: Recursive::flops(wide), bytes: square, images: BATCH };
        bench.time(&id, &format!("recursive/{BATCH}"), recursive, |device| {
            let mut state = Recursive::new(m)?;
            for seed in 0..2 {
                let (p, labels) = batch(m, seed);
                state.add(&p, &labels)?;
            }
            let exact = solve(device, &gathered(device, m, CLASSES)?)?;
            let columns: Vec<f64> = block_on(state.device.read(&state.w))?;
            let rows: Vec<f64> = (0..CLASSES * m).map(|i| columns[i % m * CLASSES + i / m]).collect();
            let rows = state.device.upload(&rows, &[CLASSES, m])?;
            agree(1e-5, (device, &[exact]), (&state.device, &[rows]))?;
            let (p, labels) = batch(m, 2);
            Ok(move |_: &Device| {
                state.add(&p, &labels)?;
                Ok(Vec::new())
            })
        });
    }
    bench.finish();
}
