//! Backward pass of the mixture of one-layer maps: one module and many, padded widths, with sigma and without.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::mean_map_backward::MeanMapBackward;

use crate::harness::{Case, Output, case, growth, input, numbers, output, poisoned};
use crate::mean_map::{SIZES, name};
use crate::noise_mix::{Bounded, EPS, Problem, Shape, Tensors, check_oracle, shape};

/// Bound of what must be exactly zero.
const ZERO: f64 = 1e-30;

/// (dphi, domega) by the formulas, on the weights as they are packed.
fn backward(problem: &Problem, grad: &[f32], plain: bool) -> [Bounded; 2] {
    let (layout, Shape { modules, .. }) = (problem.layout, problem.shape);
    let (e, n) = (layout.e, grad.len());
    let mut dphi = Bounded::exact(vec![0.0; layout.len()], layout.len());
    let mut domega = Bounded::exact(vec![0.0; modules], modules);
    dphi.error.fill(ZERO);
    for (module, row) in problem.phi.chunks(layout.len()).enumerate() {
        for kind in 0..if plain { 2 } else { 1 } {
            for (i, d) in grad.iter().enumerate() {
                let at = if i < e * e { layout.w2() + kind * e * e + i } else { layout.b2() + kind * e + i - e * e };
                let term = f64::from(row[at]) * f64::from(*d);
                domega.value[module] += term;
                domega.error[module] += (growth(n) + 2.0) * EPS / 2.0 * term.abs();
                if module + 1 == modules {
                    dphi.value[at] = f64::from(problem.omega[module]) * f64::from(*d);
                    dphi.error[at] = EPS * dphi.value[at].abs() + ZERO;
                }
            }
        }
    }
    [dphi, domega]
}

fn run(device: &Device, shape: Shape, plain: bool) -> Result<Vec<Output>> {
    let (problem, modules) = (Problem::new(shape), shape.modules);
    let (Tensors { phi, omega, .. }, layout) = (&problem.upload(device)?, problem.layout);
    let grad = numbers(31, (layout.e + 1) * layout.e);
    let want = backward(&problem, &grad, plain);
    let grad = &input(device, &grad, &[layout.e + 1, layout.e])?;
    let (dphi, domega) = (poisoned(device, &[layout.len()])?, poisoned(device, &[1, modules])?);
    device.run(&MeanMapBackward { phi, omega, grad, dphi: &dphi, domega: &domega, layout, modules, plain })?;
    let all = [("dphi", dphi), ("domega", domega)].into_iter().zip(want);
    all.map(|((name, tensor), want)| {
        check_oracle(device, &tensor, &want)?;
        Ok(output(name, tensor, want.error))
    })
    .collect()
}

pub fn cases() -> Vec<Case> {
    let all = SIZES.into_iter().flat_map(|size| [false, true].map(|plain| (size, plain)));
    all.map(|((d2, modules), plain)| {
        case(name("mean_map_backward", d2, modules, plain), move |d| run(d, shape(1, 4, d2, modules, 1), plain))
    })
    .collect()
}

pub fn examples(device: &Device) -> Result<()> {
    for plain in [false, true] {
        run(device, shape(1, 4, 5, 2, 1), plain)?;
    }
    Ok(())
}
