//! Does it pay to fuse the noise layer? Both paths, forward and backward (with the gradients of the newest module),
//! sampled noise, two-layer and one-layer maps, over the number of modules.
//!
//! `MINOISE_DEVICE=cpu|auto|WORDS cargo bench --bench noise_mixing -- [FILTER]`; a filter is a part of an id, e.g.
//! `/10/`. Before anything is timed the two paths must agree.

mod common;

use std::cell::OnceCell;
use std::collections::BTreeMap;

use common::Bench;
use minoise::bench::noise::{DIRECTIONS, PATHS, Problem, bytes_moved, work};
use minoise::device::Device;

/// Token rows, embedding, noise width and layers of a map: a small and a ViT-B/16 backbone, batches of 16 and 8 images of
/// 197 tokens.
const SHAPES: [[usize; 4]; 3] = [[3152, 192, 96, 2], [1576, 768, 192, 2], [3152, 192, 96, 1]];
const MODULES: [usize; 5] = [1, 5, 10, 20, 50];

fn name_of([rows, d1, d2, layers]: [usize; 4]) -> String {
    format!("{rows}x{d1}x{d2}-{}", if layers == 1 { "one-layer" } else { "two-layer" })
}

fn main() {
    let mut bench = Bench::new("noise_mixing");
    let mut times = Times::new();
    for (which, shape) in SHAPES.into_iter().enumerate() {
        for modules in MODULES {
            let problem = OnceCell::new();
            for direction in DIRECTIONS {
                for (name, path) in PATHS {
                    let variant = format!("{direction}/{name}");
                    let id = format!("{}/{modules}", name_of(shape));
                    let taken = bench.time(&id, &variant, work(shape, modules, direction), |device| {
                        if problem.get().is_none() {
                            let built = Problem::new(device, shape, modules)?;
                            DIRECTIONS.iter().try_for_each(|d| built.verify(device, d))?;
                            problem.get_or_init(|| built);
                        }
                        let problem = problem.get().expect("just built");
                        Ok(|device: &Device| problem.run(device, direction, path))
                    });
                    times.extend(taken.map(|t| ((which, modules, direction, name), t)));
                }
            }
        }
    }
    let device = bench.device.clone();
    bench.finish();
    report(&device, &times);
}

/// Seconds of the fastest pass, by (shape, modules, direction, path).
type Times = BTreeMap<(usize, usize, &'static str, &'static str), f64>;

/// Times, bytes and ratios in one table.
fn report(device: &Device, times: &Times) {
    println!("\nnoise_mixing on {}: fastest pass, ms and MiB moved", device.name());
    println!("{:>24} {:>4} {:>9} {:>18} {:>18} {:>7}", "shape", "T", "", "fused", "unfused", "ratio");
    for (which, shape) in SHAPES.into_iter().enumerate() {
        for modules in MODULES {
            let mut sums = [0.0; 2];
            for direction in DIRECTIONS {
                let [Some(fused), Some(unfused)] = PATHS.map(|p| times.get(&(which, modules, direction, p.0))) else {
                    continue;
                };
                let pair = [*fused, *unfused];
                let mib =
                    PATHS.map(|(_, path)| bytes_moved(shape, modules, direction, path) as f64 / f64::from(1 << 20));
                sums.iter_mut().zip(pair).for_each(|(sum, t)| *sum += t);
                let [a, b] = [0, 1].map(|i| format!("{:.2} ({:.0} MiB)", pair[i] * 1e3, mib[i]));
                let name = name_of(shape);
                println!("{name:>24} {modules:>4} {direction:>9} {a:>18} {b:>18} {:>7.2}", pair[1] / pair[0]);
            }
            if sums[0] > 0.0 {
                println!("{:>39} {:>18.2} {:>18.2} {:>7.2}", "both", sums[0] * 1e3, sums[1] * 1e3, sums[1] / sums[0]);
            }
        }
    }
}
