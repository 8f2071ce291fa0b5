//! Does it pay to fuse the noise layer? Both paths, forward and backward (with the gradients of the newest module),
//! sampled noise, two-layer maps, over the number of modules.
//!
//! `MINOISE_DEVICE=cpu|auto|WORDS cargo bench --bench noise_mixing -- [FILTER]`; a filter is a part of an id, e.g.
//! `/10/`. Before anything is timed the two paths must agree.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use minoise::Result;
use minoise::device::{Device, Selector, Tensor};
use minoise::kernels::noise::{Noise, NoiseLayer, Path, PhiLayout};
use pollster::block_on;
use rand::{RngExt, SeedableRng};

/// Token rows, embedding, noise width: a small and a ViT-B/16 backbone, batches of 16 and 8 images of 197 tokens.
const SHAPES: [[usize; 3]; 2] = [[3152, 192, 96], [1576, 768, 192]];
const MODULES: [usize; 5] = [1, 5, 10, 20, 50];
const SAMPLE: Noise = Noise::Sample { seed: 1993, layer: 3, step: 7 };
const DIRECTIONS: [&str; 2] = ["forward", "backward"];
const PATHS: [(&str, Path); 2] = [("fused", Path::Fused), ("unfused", Path::Unfused)];

/// Bytes of all operands that the dispatches of one pass read and write, each counted once a dispatch: what a device
/// without caches would move at least. `P` elements of weights a module, `E` a column of units, `X` a token matrix.
fn bytes_moved([rows, d1, d2]: [usize; 3], modules: usize, direction: &str, path: Path) -> u64 {
    let layout = PhiLayout::new(d2, 2).expect("layout");
    let (x, unit, proj, p) = (rows * d1, rows * layout.e, d1 * layout.e, layout.len());
    // dW1 = h^T du, dW2 = g^T dmaps, biases: the columns of h, g, du, dmaps (du and dmaps twice), and the result.
    let phi_gradient = 11 * unit + p;
    let elements = match (direction, path) {
        // x, D, phi, U -> y
        ("forward", Path::Fused) => 2 * x + 2 * proj + modules * p,
        // x, dy, D, U, phi -> dx, seven columns of operands
        (_, Path::Fused) => 3 * x + 2 * proj + modules * p + 7 * unit + phi_gradient,
        // h = x D; h -> g; g -> maps; eps; maps, eps, mixed -> mixed; mixed, U, x -> y
        ("forward", Path::Unfused) => {
            let module = p + (3 + 4 + 1 + 5) * unit;
            (x + proj + unit) + modules * module + (unit + proj + 2 * x)
        }
        // h, dz; h -> u, g; g -> maps; eps; dz, eps, maps -> dmaps; dmaps -> dg; u, dg -> du; du, dh -> dh; dh, dy -> dx
        (_, Path::Unfused) => {
            let module = 2 * p + (1 + 4 + 4 + 1 + 6 + 4 + 6 + 4) * unit;
            2 * (x + proj + unit) + modules * module + (unit + proj + 2 * x) + phi_gradient
        }
    };
    4 * elements as u64
}

/// Operands on the device.
struct Problem {
    x: Tensor,
    dy: Tensor,
    proj: Tensor,
    phi: Tensor,
    omega: Tensor,
    layout: PhiLayout,
    modules: usize,
}

impl Problem {
    fn new(device: &Device, [rows, d1, d2]: [usize; 3], modules: usize) -> Result<Self> {
        let layout = PhiLayout::new(d2, 2)?;
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        let mut random = |shape: &[usize], scale: f32| {
            let data: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-scale..scale)).collect();
            device.upload(&data, shape)
        };
        let weight = 1.7 / (d2 as f32).sqrt();
        Ok(Self {
            x: random(&[rows, d1], 1.0)?,
            dy: random(&[rows, d1], 1.0)?,
            proj: random(&[2, d1 * layout.e], 1.7 / (d1 as f32).sqrt())?,
            phi: random(&[modules, layout.len()], weight)?,
            omega: device.upload(&vec![1.0 / modules as f32; modules], &[modules])?,
            layout,
            modules,
        })
    }

    fn run(&self, device: &Device, direction: &str, path: Path) -> Result<Vec<Tensor>> {
        let Self { proj, phi, omega, layout, modules, .. } = self;
        let layer = NoiseLayer { proj, phi, omega, layout: *layout, modules: *modules, noise: SAMPLE };
        if direction == "forward" {
            return Ok(vec![layer.forward(device, &self.x, path)?]);
        }
        let all = layer.backward(device, &self.x, &self.dy, path, true)?;
        Ok(vec![all.dx, all.phi.expect("asked for")])
    }

    /// Both paths on the same input, relative to the largest entry: sums of at most rows terms, whose rounding errors
    /// grow like a random walk, and normals that agree to 4e-6.
    fn verify(&self, device: &Device, direction: &str) -> Result<()> {
        let bound = 1e-5 + 4.0 * f64::from(f32::EPSILON) * (self.x.rows() as f64).sqrt();
        let (fused, unfused) = (self.run(device, direction, Path::Fused)?, self.run(device, direction, Path::Unfused)?);
        for (a, b) in fused.iter().zip(&unfused) {
            let (a, b): (Vec<f64>, Vec<f64>) = (block_on(device.read(a))?, block_on(device.read(b))?);
            let top = b.iter().fold(0.0f64, |top, x| top.max(x.abs()));
            let worst = a.iter().zip(&b).fold(0.0f64, |worst, (a, b)| worst.max((a - b).abs()));
            assert!(worst <= bound * top, "{direction}: fused and unfused differ by {worst:e}, largest entry {top:e}");
        }
        Ok(())
    }
}

/// A short word for the device, for ids.
fn slug(device: &Device) -> String {
    if device.is_cpu() {
        return "cpu".into();
    }
    let name = device.name().to_lowercase();
    name.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).take(2).collect::<Vec<_>>().join("-")
}

fn main() {
    let device = Device::open(&Selector::from_flag_or_env(None)).expect("a device");
    println!("device: {}", device.name());
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .without_plots()
        .configure_from_args();
    // Fastest time of one pass, by (shape, modules, direction, path).
    let mut times: BTreeMap<(usize, usize, &str, &str), f64> = BTreeMap::new();
    for (which, shape) in SHAPES.into_iter().enumerate() {
        for modules in MODULES {
            let mut problem = None;
            for direction in DIRECTIONS {
                let group = format!("{}/noise_mixing/{direction}/{shape:?}", slug(&device)).replace(", ", "x");
                let mut group = criterion.benchmark_group(group);
                for (name, path) in PATHS {
                    group.throughput(Throughput::Bytes(bytes_moved(shape, modules, direction, path)));
                    let best = times.entry((which, modules, direction, name)).or_insert(f64::INFINITY);
                    // Filtered ids never call this, so that nothing is built for them.
                    group.bench_function(BenchmarkId::new(modules.to_string(), name), |bencher| {
                        let problem = problem.get_or_insert_with(|| {
                            let problem = Problem::new(&device, shape, modules).expect("operands");
                            DIRECTIONS.iter().for_each(|d| problem.verify(&device, d).expect("both paths run"));
                            problem
                        });
                        bencher.iter_custom(|n| {
                            let start = Instant::now();
                            for _ in 0..n {
                                problem.run(&device, direction, path).expect("a pass");
                                block_on(device.finish()).expect("the queue");
                            }
                            let taken = start.elapsed();
                            *best = best.min(taken.as_secs_f64() / n as f64);
                            taken
                        });
                    });
                }
                group.finish();
            }
        }
    }
    criterion.final_summary();
    report(&device, &times);
}

/// Times, bytes and ratios in one table.
fn report(device: &Device, times: &BTreeMap<(usize, usize, &str, &str), f64>) {
    println!("\nnoise_mixing on {}: fastest pass, ms and MiB moved", device.name());
    println!("{:>16} {:>4} {:>9} {:>18} {:>18} {:>7}", "shape", "T", "", "fused", "unfused", "ratio");
    for (which, shape) in SHAPES.into_iter().enumerate() {
        for modules in MODULES {
            let mut sums = [0.0; 2];
            for direction in DIRECTIONS {
                let pair = PATHS.map(|(name, _)| times[&(which, modules, direction, name)]);
                if pair.iter().any(|t| !t.is_finite()) {
                    continue;
                }
                let mib =
                    PATHS.map(|(_, path)| bytes_moved(shape, modules, direction, path) as f64 / f64::from(1 << 20));
                sums.iter_mut().zip(pair).for_each(|(sum, t)| *sum += t);
                let [a, b] = [0, 1].map(|i| format!("{:.2} ({:.0} MiB)", pair[i] * 1e3, mib[i]));
                let name = format!("{shape:?}");
                println!("{name:>16} {modules:>4} {direction:>9} {a:>18} {b:>18} {:>7.2}", pair[1] / pair[0]);
            }
            if sums[0] > 0.0 {
                println!("{:>31} {:>18.2} {:>18.2} {:>7.2}", "both", sums[0] * 1e3, sums[1] * 1e3, sums[1] / sums[0]);
            }
        }
    }
}
