//! What the programs of a comparison compute, on which numbers, and how they are asked: `compare` sends a line
//! `CASE SECONDS`, a program answers `first BEST mean rms weighted`, all times in ms, or `none` where it has no such case.

use std::io::{BufRead, Write};
use std::time::Instant;

/// `n` numbers in +-scale/2, the same in every program: a hash of the index.
pub fn numbers(seed: u32, n: usize, scale: f32) -> Vec<f32> {
    let hash = |i: u32| {
        let mut h = (i ^ seed.wrapping_mul(0x27d4_eb2f)).wrapping_mul(0x9e37_79b1);
        h = (h ^ (h >> 15)).wrapping_mul(0x85eb_ca77);
        h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae3d);
        h ^ (h >> 16)
    };
    (0..n as u32).map(|i| ((hash(i) >> 8) as f32 / 16_777_216.0 - 0.5) * scale).collect()
}

/// What minoise draws for a module: Philox4x32-10 with key (1, 0) and counter (element / 4, 0, task, 0), Box-Muller.
#[allow(dead_code, reason = "only the other programs find noise instead of drawing it")]
pub fn normals(task: u32, n: usize) -> Vec<f32> {
    let block = |i: u32| {
        let (mut x, mut key) = ([i, 0, task, 0], [1u32, 0]);
        for _ in 0..10 {
            let [a, b] = [(x[0], 0xd251_1f53u64), (x[2], 0xcd9e_8d57)].map(|(x, by)| u64::from(x) * by);
            x = [(b >> 32) as u32 ^ x[1] ^ key[0], b as u32, (a >> 32) as u32 ^ x[3] ^ key[1], a as u32];
            key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
        }
        let u = x.map(|x| (f64::from(x >> 8) + 0.5) / 16_777_216.0);
        let pair = |a: f64, b: f64| {
            [0.0, 0.25].map(|turn| (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * (b - turn)).cos())
        };
        let [z0, z1] = pair(u[0], u[1]);
        let [z2, z3] = pair(u[2], u[3]);
        [z0, z1, z2, z3].map(|z| z as f32)
    };
    (0..n.div_ceil(4) as u32).flat_map(block).take(n).collect()
}

/// One computation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Case {
    /// A [m, k] B [k, n].
    Gemm([usize; 3]),
    /// gelu(x W + b), x [rows, d], W [d, 4 d]: the first layer of an MLP.
    Hidden([usize; 2]),
    /// Batch, heads, tokens, head dimension.
    Attention([usize; 4]),
    /// Rows, columns.
    LayerNorm([usize; 2]),
    /// x [3152, 192], d2 = 96, so many modules of one layer.
    Noise(usize),
    /// SGD on all parameters of a ViT of width 192 with 4 blocks: 16 images of 65 tokens, 10 classes.
    Train,
    /// The ridge classifier of 1,000 samples with so many random features and classes, from its Gram matrix in float64.
    Ridge([usize; 2]),
    /// Features of 16 images by a ViT of 12 blocks, heads of 64 columns: width, patch, pixels of an image.
    Features([usize; 3]),
    /// A step of profile `paper` with so many modules of width 96: ViT-S/14, 16 images of 98 pixels, m = 2048, 100 classes.
    Paper(usize),
    /// A folder of JPEGs as a backbone of 224 pixels sees them.
    Loader,
}

impl Case {
    /// Reads `gemm-768x768x768`, `hidden-3152x192`, `attention-16x3x65x64`, `layernorm-3152x192`, `noise-10`, `train`,
    /// `ridge-4096x100`, `features-384x14x224`, `paper-10`, `loader`.
    fn parse(text: &str) -> Option<Self> {
        let (name, sizes) = text.split_once('-').unwrap_or((text, ""));
        let sizes: Vec<usize> = sizes.split('x').filter_map(|x| x.parse().ok()).collect();
        Some(match (name, sizes.as_slice()) {
            ("gemm", &[m, k, n]) => Self::Gemm([m, k, n]),
            ("hidden", &[rows, d]) => Self::Hidden([rows, d]),
            ("attention", &[b, h, n, d]) => Self::Attention([b, h, n, d]),
            ("layernorm", &[rows, cols]) => Self::LayerNorm([rows, cols]),
            ("noise", &[modules]) => Self::Noise(modules),
            ("train", []) => Self::Train,
            ("ridge", &[m, classes]) => Self::Ridge([m, classes]),
            ("features", &[dim, patch, image]) => Self::Features([dim, patch, image]),
            ("paper", &[modules]) => Self::Paper(modules),
            ("loader", []) => Self::Loader,
            _ => return None,
        })
    }
}

/// A case that is ready to run.
pub struct Ready {
    /// One pass, handed to the device.
    pub pass: Box<dyn FnMut()>,
    /// The results of a pass like those that are timed (losses of the first five steps), to compare with the others'.
    pub results: Box<dyn FnMut() -> Vec<f32>>,
}

/// Answers lines from standard input until it ends; `wait` returns when all passes are done.
pub fn serve(wait: impl Fn(), build: impl Fn(Case) -> Option<Ready>) {
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("standard input");
        let mut words = line.split_whitespace();
        let case = words.next().and_then(Case::parse);
        let seconds: f64 = words.next().and_then(|s| s.parse().ok()).unwrap_or(0.5);
        let start = Instant::now();
        let answer = case.and_then(&build).map(|ready| measure(&wait, ready, start, seconds));
        println!("{}", answer.unwrap_or("none".into()));
        std::io::stdout().flush().expect("standard output");
    }
}

/// The first pass with all that must be compiled for it, then the fastest of series that last 20 ms or one pass.
fn measure(wait: &impl Fn(), mut ready: Ready, start: Instant, seconds: f64) -> String {
    (ready.pass)();
    wait();
    let first = start.elapsed().as_secs_f64();
    let (mut runs, mut best, all) = (1, f64::INFINITY, Instant::now());
    while best.is_infinite() || all.elapsed().as_secs_f64() < seconds {
        let start = Instant::now();
        (0..runs).for_each(|_| (ready.pass)());
        wait();
        let taken = start.elapsed().as_secs_f64();
        best = best.min(taken / f64::from(runs));
        if taken < 0.02 {
            runs *= 2;
        }
    }
    let results = (ready.results)();
    let n = results.len() as f64;
    let mean = results.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let rms = (results.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / n).sqrt();
    // With another weight for every place, so that results in another order differ.
    let weights = numbers(77, results.len(), 2.0);
    let weighted = results.iter().zip(weights).map(|(&x, w)| f64::from(x) * f64::from(w)).sum::<f64>() / n;
    format!("{:.4} {:.4} {mean:.9e} {rms:.9e} {weighted:.9e}", first * 1e3, best * 1e3)
}
