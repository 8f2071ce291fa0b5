//! The mixture of one-layer maps: one module and many, widths that are multiples of 4 and not, with sigma and without.

use minoise::Result;
use minoise::device::Device;

use crate::harness::{Case, Output, case, growth, output};
use crate::noise_mix::{Bounded, EPS, Problem, Shape, check_oracle, mean_map, shape};

/// By its formula, on the weights as they are packed.
fn mixture(problem: &Problem, plain: bool) -> Bounded {
    let (layout, Shape { modules, .. }) = (problem.layout, problem.shape);
    let e = layout.e;
    let mut want = Bounded::exact(vec![0.0; (e + 1) * e], e);
    for (row, omega) in problem.phi.chunks(layout.len()).zip(&problem.omega) {
        for kind in 0..if plain { 2 } else { 1 } {
            let map = row[layout.w2() + kind * e * e..][..e * e].iter().chain(&row[layout.b2() + kind * e..][..e]);
            for (i, x) in map.enumerate() {
                let term = f64::from(*omega) * f64::from(*x);
                want.value[i] += term;
                want.error[i] += (growth(modules) + 2.0) * EPS * term.abs();
            }
        }
    }
    want
}

fn run(device: &Device, shape: Shape, plain: bool) -> Result<Vec<Output>> {
    let problem = Problem::new(shape);
    let (got, want) = (mean_map(device, &problem, plain)?, mixture(&problem, plain));
    check_oracle(device, &got, &want)?;
    Ok(vec![output("out", got, want.error)])
}

/// Noise widths and modules.
pub const SIZES: [(usize, usize); 6] = [(1, 1), (21, 5), (24, 1), (96, 10), (190, 64), (256, 3)];

pub fn name(kernel: &str, d2: usize, modules: usize, plain: bool) -> String {
    format!("{kernel} d2={d2} T={modules}{}", if plain { " with sigma" } else { "" })
}

pub fn cases() -> Vec<Case> {
    let all = SIZES.into_iter().flat_map(|size| [false, true].map(|plain| (size, plain)));
    all.map(|((d2, modules), plain)| {
        case(name("mean_map", d2, modules, plain), move |d| run(d, shape(1, 4, d2, modules, 1), plain))
    })
    .collect()
}

pub fn examples(device: &Device) -> Result<()> {
    for plain in [false, true] {
        run(device, shape(1, 4, 5, 2, 1), plain)?;
    }
    Ok(())
}
