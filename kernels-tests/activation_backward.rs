//! Gradients of the activations.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::activation_backward::ActivationBackward;
use minoise::kernels::gemm::Activation;

use crate::add::SIZES;
use crate::glu_backward::silu_slope_bound;
use crate::harness::{Case, Output, case, input, numbers, output, poisoned, wide};

const EPS: f64 = f32::EPSILON as f64;

/// Phi adds the error of erf (3e-7 / 2 < 2 eps) and two roundings; z phi(z) the relative error of exp, which on a GPU
/// grows with its argument z^2 / 2 (3 + 2 |argument| units), and four roundings.
pub fn gelu_bound(z: f64, dy: f64) -> f64 {
    let phi = (-0.5 * z * z).exp() * 0.398_942_280_401_432_7;
    dy.abs() * EPS * (3.0 + z.abs() * phi * (7.0 + 2.0 * z * z))
}

/// Of z sigmoid(1.702 z), see `glu_backward.rs`.
fn quick_gelu_bound(z: f64, dy: f64) -> f64 {
    1.702 * silu_slope_bound(1.702 * z, dy.abs() / 1.702)
}

fn gradient(device: &Device, activation: Activation, n: usize) -> Result<Vec<Output>> {
    // Values from -5 to 5, where GELU bends and where it is straight; an exact zero.
    let mut saved: Vec<_> = numbers(1, n).iter().map(|x| 5.0 * x).collect();
    saved[n / 2] = 0.0;
    let dy = numbers(2, n);
    let bound = match activation {
        Activation::Gelu => saved.iter().zip(&dy).map(|(z, dy)| gelu_bound((*z).into(), (*dy).into())).collect(),
        Activation::QuickGelu => {
            saved.iter().zip(&dy).map(|(z, dy)| quick_gelu_bound((*z).into(), (*dy).into())).collect()
        }
        _ => vec![f64::MIN_POSITIVE],
    };
    let dx = poisoned(device, &[n])?;
    // The other slopes are judged by the f64 twin, whose functions come from libm.
    let naive = (activation == Activation::QuickGelu).then(|| {
        let slope = |z: f64| {
            let s = 1.0 / (1.0 + (-1.702 * z).exp());
            s + 1.702 * z * s * (1.0 - s)
        };
        wide(&saved).iter().zip(wide(&dy)).map(|(z, dy)| dy * slope(*z)).collect::<Vec<_>>()
    });
    let (saved, dy) = (input(device, &saved, &[n])?, input(device, &dy, &[n])?);
    device.run(&ActivationBackward { activation, saved: &saved, dy: &dy, dx: &dx })?;
    let out = output("dx", dx, bound);
    Ok(vec![match naive {
        Some(naive) => out.naive(|| naive),
        None => out,
    }])
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for activation in [Activation::Gelu, Activation::QuickGelu, Activation::Relu] {
        for n in &SIZES[..6] {
            let name = format!("activation_backward {activation:?} {n}");
            all.push(case(name, move |d| gradient(d, activation, *n)));
        }
    }
    all
}

pub fn examples(device: &Device) -> Result<()> {
    gradient(device, Activation::Gelu, 257)?;
    gradient(device, Activation::QuickGelu, 257)?;
    gradient(device, Activation::Relu, 257).map(drop)
}
