//! Kernels of the noise layer.

use minoise::device::DType;
use minoise::kernels::mean_map::MeanMap;
use minoise::kernels::mean_map_backward::MeanMapBackward;
use minoise::kernels::mixture::MixtureSoftmax;
use minoise::kernels::mixture_backward::MixtureBackward;
use minoise::kernels::noise_combine::{self, Direction, NoiseCombine};
use minoise::kernels::noise_mix::{NoiseMix, PhiLayout};
use minoise::kernels::noise_mix_backward::{self, NewestOutputs, NoiseMixBackward};
use minoise::kernels::philox_normal::{PhiloxNormal, Stream};

use super::One;
use crate::noise_mix::NOISES;

pub(super) const KERNELS: &[(&str, One)] = &[
    ("mean_map", |d| {
        let (layout, modules, plain) = (PhiLayout::new(d.size(1000), 1).expect("layout"), d.size(20), d.flag());
        let (phi, omega, out) = (d.t(&[modules, layout.len()]), d.t(&[modules]), d.t(&[layout.e + 1, layout.e]));
        d.plan(&MeanMap { phi: &phi, omega: &omega, out: &out, layout, modules, plain })
    }),
    ("mean_map_backward", |d| {
        let (layout, modules, plain) = (PhiLayout::new(d.size(200), 1).expect("layout"), d.size(300), d.flag());
        let (phi, omega, grad) = (d.t(&[modules, layout.len()]), d.t(&[modules]), d.t(&[layout.e + 1, layout.e]));
        let (dphi, domega) = (d.t(&[layout.len()]), d.t(&[1, modules]));
        let (phi, omega, grad, dphi, domega) = (&phi, &omega, &grad, &dphi, &domega);
        d.plan(&MeanMapBackward { phi, omega, grad, dphi, domega, layout, modules, plain })
    }),
    ("mixture", |d| {
        let shape = [d.size(10_000), d.size(100)];
        d.plan(&MixtureSoftmax { logits: &d.t(&shape), omega: &d.t(&shape) })
    }),
    ("mixture_backward", |d| {
        let (groups, layers, modules) = (d.size(5000), d.size(12), d.size(300));
        let [omega, out] = &[(); 2].map(|()| d.t(&[layers, modules]));
        d.plan(&MixtureBackward { partials: &d.t(&[groups, modules]), omega, out, layer: layers - 1 })
    }),
    ("noise_combine", |d| {
        let (rows, e, modules, sigma, sample, forward) =
            (d.size(5000), d.quads(1000), d.size(10), d.flag(), d.flag(), d.flag());
        let width = if sigma { 2 * e } else { e };
        let [maps, dmaps] = &[(); 2].map(|()| d.t(&[rows, width]));
        let [dz, eps] = &[(); 2].map(|()| d.t(&[rows, e]));
        let domega = d.t(&[noise_combine::partial_rows(rows, e), modules]);
        let direction = match forward {
            true => Direction::Forward { maps, mixed: dz, keep: true },
            false => Direction::Backward { dz, dmaps, scores: Some((maps, &domega)) },
        };
        let eps = (sigma && sample).then_some(eps);
        d.plan(&NoiseCombine { omega: &d.t(&[modules]), eps, direction, e, module: modules - 1, modules })
    }),
    ("noise_mix", |d| {
        let layers = 1 + usize::from(d.flag());
        let (rows, d1, d2, modules, noise) = (d.size(5000), d.quads(1024), d.size(1024), d.size(5), d.size(3) - 1);
        let layout = PhiLayout::new(d2, layers).expect("layout");
        let [x, residual, y] = &[(); 3].map(|()| d.t(&[rows, d1]));
        let (proj, phi, omega) = (d.t(&[2, d1 * layout.e]), d.t(&[modules, layout.len()]), d.t(&[modules]));
        let mean = d.t(&[layout.e + 1, layout.e]);
        let (proj, phi, omega, mean, noise) = (&proj, &phi, &omega, (layers == 1).then_some(&mean), NOISES[noise].1);
        d.plan(&NoiseMix { x, residual, proj, phi, omega, mean, y, layout, modules, noise })
    }),
    ("noise_mix_backward", |d| {
        let (layers, newest) = (1 + usize::from(d.flag()), d.flag());
        let (rows, d1, d2, modules, noise) = (d.size(5000), d.quads(1024), d.size(1024), d.size(5), d.size(3) - 1);
        let layout = PhiLayout::new(d2, layers).expect("layout");
        let Ok(n) = noise_mix_backward::partial_rows([rows, d1], layout, modules, d.device.caps()) else {
            return Ok(false);
        };
        let [x, dy, dx] = &[(); 3].map(|()| d.t(&[rows, d1]));
        let (proj, phi, omega) = (d.t(&[2, d1 * layout.e]), d.t(&[modules, layout.len()]), d.t(&[modules]));
        let operands = d.t(&[rows, noise_mix_backward::operand_cols(layout)]);
        let domega = d.t(&[n, modules]);
        let newest = newest.then_some(NewestOutputs { operands: &operands, domega: &domega });
        let (proj, phi, omega, residual, noise) = (&proj, &phi, &omega, d.flag(), NOISES[noise].1);
        d.plan(&NoiseMixBackward { x, proj, phi, omega, dy, dx, newest, residual, layout, modules, noise })
    }),
    ("philox_normal", |d| {
        let (rows, d2, raw) = (d.size(5000), d.size(1000), d.flag());
        let (dtype, d2) = if raw { (DType::U32, d2.next_multiple_of(4)) } else { (DType::Real, d2) };
        let stream = Stream { seed: 1, layer: 2, task: 3, step: 4, first_row: 0 };
        d.plan(&PhiloxNormal { out: &d.of(dtype, &[rows, d2.next_multiple_of(4)]), d2, stream })
    }),
];
