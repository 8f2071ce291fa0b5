//! Backward pass of the fused noise layer: against its formula, and the formula against central differences.

use minoise::Result;
use minoise::algorithms::noise::{NoiseLayer, Path};
use minoise::device::{Caps, Device, Precision, Tensor};
use minoise::kernels::noise_mix::Noise;
use minoise::kernels::noise_mix_backward::{NewestOutputs, NoiseMixBackward, operand_cols, partial_rows};

use crate::harness::{Case, Output, as_gpu, case, growth, input, numbers, output, poisoned, rms, run_as};
use crate::noise_mix::{
    APART, Bounded, EPS, EXAMPLES, NOISES, ON_GPU, Problem, SAMPLE, Shape, Tensors, check_oracle, runs, shape,
};

/// Bound of what must be exactly zero.
const ZERO: f64 = 1e-30;

/// All gradients by the formulas, padded as the kernels lay them out.
pub struct Wanted {
    pub dx: Bounded,
    pub operands: Bounded,
    /// [1, modules]
    pub domega: Bounded,
    /// Of sums like these; terms may cancel further.
    pub domega_size: Vec<f64>,
    /// [1, P], newest module
    pub phi: Bounded,
}

/// Rows whose terms a device sums in f32 at most: those of a job of the CPU device. The host adds up these sums in f64.
const SUMMED: usize = 264;

/// Sum of all elements, in any order: its value, its error, and its size where terms of both signs cancel by chance only.
fn total(terms: &Bounded) -> (f64, f64, f64) {
    let size: f64 = terms.value.iter().map(|x| x.abs()).sum();
    let error = terms.error.iter().map(|e| e * e).sum::<f64>().sqrt();
    let walk = terms.value.iter().map(|x| x * x).sum::<f64>().sqrt();
    // Sums of different rows are rounded independently: their errors add up in squares.
    let sums = terms.rows().div_ceil(SUMMED).max(1) as f64;
    let rounding = growth(terms.value.len().min(SUMMED * terms.cols)) * EPS * size / sums.sqrt();
    (terms.value.iter().sum(), error.hypot(rounding), walk)
}

fn column_sums(x: &Bounded) -> Bounded {
    Bounded::exact(vec![1.0; x.rows()], x.rows()).times(x)
}

pub fn backward(problem: &Problem, dy: &[f32], noise: Noise) -> Wanted {
    let Shape { rows, d1, d2, modules, layers } = problem.shape;
    let (layout, e) = (problem.layout, problem.layout.e);
    let [x, down, up] = problem.outer();
    let dy = Bounded::exact(dy.iter().map(|&x| x.into()).collect(), d1);
    let (h, dz) = (x.times(&down), dy.times(&up.transposed()));
    let mut dh = Bounded::exact(vec![0.0; rows * d2], d2);
    let mut domega = Bounded::exact(vec![0.0; modules], modules);
    let mut domega_size = vec![0.0; modules];
    let mut operands = Bounded { cols: operand_cols(layout), value: vec![], error: vec![] };
    operands.value.resize(rows * operands.cols, 0.0);
    operands.error.resize(rows * operands.cols, ZERO);
    let mut phi = Bounded { cols: layout.len(), value: vec![0.0; layout.len()], error: vec![ZERO; layout.len()] };
    for module in 0..modules {
        let (maps, weight) = (problem.maps(module), f64::from(problem.omega[module]));
        let hidden = problem.hidden(&h, &maps);
        let grads = [dz.clone(), dz.hadamard(&problem.eps(noise, module))];
        for (kind, (g, u)) in hidden.iter().enumerate() {
            let used = kind == 0 || noise != Noise::Mean;
            // Without sigma its operands are zeros.
            let g = if used { g.clone() } else { g.map(|_, _| (0.0, ZERO)) };
            let dg = grads[kind].times(&maps.w2[kind].transposed());
            // One-layer maps are met by (h^T dz) W as well as by h (dz W^T): the larger error counts.
            let mut parts = [total(&dg.hadamard(&g)), total(&grads[kind].hadamard(&maps.b2[kind]))];
            if layers == 1 {
                let by_maps = total(&g.transposed().times(&grads[kind]).hadamard(&maps.w2[kind]));
                parts[0].1 = parts[0].1.max(by_maps.1);
            }
            for (value, error, walk) in parts {
                domega_size[module] = f64::hypot(domega_size[module], walk);
                domega.value[module] += value;
                domega.error[module] = domega.error[module].hypot(error.hypot(2.0 * EPS * value));
            }
            let du = match u {
                Some(u) => dg.hadamard(&u.gelu_grad()).scaled(weight),
                None => dg.scaled(weight),
            };
            dh = dh.plus(&if layers == 2 { du.times(&maps.w1[kind].transposed()) } else { du.clone() });
            if module + 1 < modules {
                continue;
            }
            let dm = grads[kind].scaled(weight);
            let fields = operands.cols / e;
            let mut put = |field: usize, from: &Bounded| {
                for (i, (value, error)) in from.value.iter().zip(&from.error).enumerate() {
                    let to = i / d2 * fields * e + field * e + i % d2;
                    (operands.value[to], operands.error[to]) = (*value, error.max(ZERO));
                }
            };
            put(0, &h);
            put(fields - 2 + kind, &dm);
            if layers == 2 {
                put(1 + kind, &g);
                put(3 + kind, &du);
            }
            let name = ["mu", "sigma"][kind];
            let mut pack = |part: &str, x: &Bounded| {
                let name = format!("{name}.{part}");
                layout.pack(&name, &x.value, &mut phi.value).expect("pack");
                layout.pack(&name, &x.error, &mut phi.error).expect("pack");
            };
            // Weight files have [out, in]: the transposes of h^T du and g^T dm.
            pack("fc2.weight", &dm.transposed().times(&g));
            pack("fc2.bias", &column_sums(&dm));
            if layers == 2 {
                pack("fc1.weight", &du.transposed().times(&h));
                pack("fc1.bias", &column_sums(&du));
            }
        }
    }
    phi.error.iter_mut().for_each(|e| *e = e.max(ZERO));
    let through = dh.times(&down.transposed());
    let dx = if problem.residual.is_none() { dy.plus(&through) } else { through };
    Wanted { dx, operands, domega, domega_size, phi }
}

fn run(device: &Device, problem: &Problem, noise: Noise, newest: bool, caps: &Caps) -> Result<Vec<Output>> {
    let (shape, residual) = (problem.shape, problem.residual.is_none());
    let Tensors { x, proj, phi, omega, .. } = &problem.upload(device)?;
    let dy = numbers(21, shape.rows * shape.d1);
    let want = backward(problem, &dy, noise);
    let dy = &input(device, &dy, &[shape.rows, shape.d1])?;
    let dx = poisoned(device, &[shape.rows, shape.d1])?;
    let (layout, modules) = (problem.layout, shape.modules);
    let operands = poisoned(device, &[shape.rows, operand_cols(layout)])?;
    let n = partial_rows([shape.rows, shape.d1], layout, modules, caps)?;
    let domega = poisoned(device, &[n, modules])?;
    let newest = newest.then_some(NewestOutputs { operands: &operands, domega: &domega });
    let kernel = NoiseMixBackward { x, proj, phi, omega, dy, dx: &dx, newest, residual, layout, modules, noise };
    run_as(device, kernel, caps)?;
    check_oracle(device, &dx, &want.dx)?;
    let mut all = vec![output("dx", dx, want.dx.error)];
    if newest.is_some() {
        check_oracle(device, &operands, &want.operands)?;
        let sums = sum_rows(device, &domega)?;
        check_oracle(device, &sums, &want.domega)?;
        all.push(output("operands", operands, want.operands.error));
        all.push(output("domega", sums, want.domega.error).differences_of(rms(&want.domega_size)));
    }
    Ok(all)
}

/// Partial sums added up on the host: how many there are depends on the device.
pub fn sum_rows(device: &Device, partials: &Tensor) -> Result<Tensor> {
    let all: Vec<f64> = pollster::block_on(device.read(partials))?;
    let n = partials.cols();
    let sums: Vec<f64> = (0..n).map(|i| all.iter().skip(i).step_by(n).sum()).collect();
    device.upload(&sums, &[n])
}

/// Gradients of both paths on the f64 device against central differences of `<dy, y>`.
fn differences(problem: &Problem, noise: Noise, path: Path) -> Result<()> {
    let (device, shape) = (Device::cpu(Precision::F64), problem.shape);
    let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    let (layout, modules) = (problem.layout, shape.modules);
    let proj = device.upload(&problem.proj, &[problem.proj.len()])?;
    let residual = problem.residual.as_ref().map(|r| device.upload(r, &[shape.rows, shape.d1])).transpose()?;
    let dy = wide(&numbers(21, shape.rows * shape.d1));
    let inputs = [wide(&problem.x), wide(&problem.phi), wide(&problem.omega)];
    let tensors = |inputs: &[Vec<f64>; 3]| -> Result<[Tensor; 3]> {
        Ok([
            device.upload(&inputs[0], &[shape.rows, shape.d1])?,
            device.upload(&inputs[1], &[modules, layout.len()])?,
            device.upload(&inputs[2], &[modules])?,
        ])
    };
    let loss = |inputs: &[Vec<f64>; 3]| -> Result<f64> {
        let [x, phi, omega] = &tensors(inputs)?;
        let layer = NoiseLayer { proj: &proj, phi, omega, layout, modules, noise };
        let y = layer.forward(&device, x, residual.as_ref().unwrap_or(x), path)?;
        let y: Vec<f64> = pollster::block_on(device.read(&y))?;
        Ok(y.iter().zip(&dy).map(|(y, dy)| y * dy).sum())
    };
    let [x, phi, omega] = &tensors(&inputs)?;
    let layer = NoiseLayer { proj: &proj, phi, omega, layout, modules, noise };
    let dy_tensor = device.upload(&dy, &[shape.rows, shape.d1])?;
    let got = layer.backward(&device, x, &dy_tensor, residual.is_none(), path, true)?;
    let read = |t: &Tensor| pollster::block_on(device.read::<f64>(t));
    let domega = sum_rows(&device, &got.domega.expect("domega"))?;
    let gradients = [read(&got.dx)?, read(&got.phi.expect("phi"))?, read(&domega)?];
    let newest = (modules - 1) * layout.len();
    for (which, gradient) in gradients.iter().enumerate() {
        let offset = if which == 1 { newest } else { 0 };
        let used: Vec<usize> = match which {
            1 => layout.names().iter().flat_map(|name| elements(layout, name)).collect(),
            _ => (0..gradient.len()).step_by(3).collect(),
        };
        for i in used {
            let (mut plus, mut minus, step) = (inputs.clone(), inputs.clone(), 1e-4);
            plus[which][offset + i] += step;
            minus[which][offset + i] -= step;
            let want = (loss(&plus)? - loss(&minus)?) / (2.0 * step);
            let error = (gradient[i] - want).abs();
            assert!(error < 1e-6 * (1.0 + want.abs()), "input {which}[{i}]: {} for {want}", gradient[i]);
        }
    }
    Ok(())
}

/// Every 5th element of a parameter in a row of phi.
fn elements(layout: minoise::kernels::noise_mix::PhiLayout, name: &str) -> Vec<usize> {
    let n: usize = layout.shape(name).iter().product();
    let mut row = vec![0.0; layout.len()];
    layout.pack(name, &vec![1.0; n], &mut row).expect("pack");
    (0..row.len()).filter(|&i| row[i] != 0.0).step_by(5).collect()
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (shape, name, noise) in runs() {
        all.push(case(format!("noise_mix_backward {shape:?} {name}"), move |d| {
            run(d, &Problem::new(shape), noise, true, d.caps())
        }));
    }
    for shape in APART {
        for (name, noise) in NOISES {
            all.push(case(format!("noise_mix_backward {shape:?} {name}, another residual"), move |d| {
                run(d, &Problem::apart(shape), noise, true, d.caps())
            }));
        }
    }
    for shape in ON_GPU {
        // Eight rows a thread need a GPU of much workgroup memory; small units stay within that of every device.
        let memory = move |device: &Device| if shape.d2 < 32 { 48 << 10 } else { device.caps().workgroup_memory };
        let as_planned = move |d: &Device, problem: &Problem| {
            let gpu = Caps { workgroup_memory: memory(d), ..as_gpu(d) };
            run(d, problem, SAMPLE, true, if d.is_cpu() { d.caps() } else { &gpu })
        };
        all.push(case(format!("noise_mix_backward {shape:?} as on a GPU"), move |d| {
            as_planned(d, &Problem::new(shape))
        }));
        all.push(case(format!("noise_mix_backward {shape:?} as on a GPU, another residual"), move |d| {
            as_planned(d, &Problem::apart(shape))
        }));
    }
    for shape in [shape(7, 60, 21, 5, 2), shape(9, 192, 96, 3, 1)] {
        all.push(case(format!("noise_mix_backward {shape:?} dx only"), move |d| {
            run(d, &Problem::new(shape), SAMPLE, false, d.caps())
        }));
        all.push(case(format!("noise_mix_backward {shape:?} dx only, another residual"), move |d| {
            run(d, &Problem::apart(shape), SAMPLE, false, d.caps())
        }));
    }
    let many = shape(65_536 * 16 + 3, 4, 4, 1, 2);
    all.push(case(format!("noise_mix_backward {many:?}"), move |d| {
        run(d, &Problem::new(many), SAMPLE, true, d.caps())
    }));
    for layers in [1, 2] {
        for (name, noise) in NOISES {
            for path in [Path::Fused, Path::Unfused] {
                let shape = shape(5, 8, 6, 3, layers);
                let problems: [(&str, fn(Shape) -> Problem); 2] =
                    [("", Problem::new), (", another residual", Problem::apart)];
                for (told, problem) in problems {
                    let name = format!("noise differences {layers} layers {name} {path:?}{told}");
                    all.push(case(name, move |device| {
                        // Differences need f64; the other devices are compared with that one.
                        if device.name().contains("f64") {
                            differences(&problem(shape), noise, path)?
                        }
                        Ok(Vec::new())
                    }));
                }
            }
        }
    }
    all
}

pub fn examples(device: &Device) -> Result<()> {
    for shape in EXAMPLES {
        for (_, noise) in NOISES {
            let problem = Problem::new(shape);
            let Tensors { x, proj, phi, omega, .. } = &problem.upload(device)?;
            let layer = NoiseLayer { proj, phi, omega, layout: problem.layout, modules: shape.modules, noise };
            layer.backward(device, x, x, true, Path::Fused, true)?;
            layer.backward(device, x, x, true, Path::Fused, false)?;
        }
    }
    Ok(())
}
