//! The fused noise layer against a plain evaluation of its formula, on all noises, layouts and edges. Other noise
//! tests take their problems and their arithmetic with error bounds from here.

mod bounded;

use minoise::algorithms::noise::{NoiseLayer, Path};
use minoise::cpu::philox;
use minoise::device::{Caps, Device, Kernel, Tensor};
use minoise::kernels::mean_map::MeanMap;
use minoise::kernels::noise_mix::NoiseMix;
use minoise::kernels::noise_mix::{Noise, PhiLayout};
use minoise::kernels::philox_normal::Stream;
use minoise::{Error, Result};

use crate::harness::{Case, Output, as_gpu, case, input, numbers, output, poisoned, run_as, wide};
pub use bounded::{Bounded, EPS};

/// Error of a normal number in f32, see `philox_normal`.
pub const NORMAL: f64 = 4e-6;
pub const SAMPLE: Noise = Noise::Sample { seed: 0x0123_4567_89ab_cdef, layer: 3, step: 77, first_row: 5 };

/// Sizes of one problem.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub rows: usize,
    pub d1: usize,
    pub d2: usize,
    pub modules: usize,
    pub layers: usize,
}

/// One module in plain matrices, without padding: (mu, sigma).
pub struct Maps {
    pub w1: [Bounded; 2],
    pub b1: [Bounded; 2],
    pub w2: [Bounded; 2],
    pub b2: [Bounded; 2],
}

/// Inputs of the noise layer.
pub struct Problem {
    pub shape: Shape,
    pub layout: PhiLayout,
    pub x: Vec<f32>,
    /// What the mixture is added to, if not x itself.
    pub residual: Option<Vec<f32>>,
    pub proj: Vec<f32>,
    pub phi: Vec<f32>,
    pub omega: Vec<f32>,
}

/// The same on a device.
pub struct Tensors {
    pub x: Tensor,
    pub residual: Tensor,
    pub proj: Tensor,
    pub phi: Tensor,
    pub omega: Tensor,
}

impl Problem {
    pub fn new(shape: Shape) -> Self {
        let Shape { rows, d1, d2, modules, layers } = shape;
        let layout = PhiLayout::new(d2, layers).expect("layout");
        let e = layout.e;
        let (down, up) = (numbers(11, d1 * d2), numbers(12, d2 * d1));
        let mut proj = vec![0.0; 2 * d1 * e];
        for i in 0..d1 {
            for j in 0..d2 {
                proj[i * e + j] = down[i * d2 + j] / (d1 as f32).sqrt();
                proj[d1 * e + j * d1 + i] = up[j * d1 + i] / (d2 as f32).sqrt();
            }
        }
        let mut phi = Vec::new();
        for module in 0..modules {
            let mut row = vec![0.0; layout.len()];
            for (i, name) in layout.names().iter().enumerate() {
                let n: usize = layout.shape(name).iter().product();
                let scale = if name.ends_with("bias") { 0.5 } else { 2.0 / (d2 as f64).sqrt() };
                let data = numbers(100 + (module * 8 + i) as u64, n);
                let data: Vec<f64> = data.into_iter().map(|x| f64::from(x) * scale).collect();
                layout.pack(name, &data, &mut row).expect("pack");
            }
            phi.extend(row.into_iter().map(|x| x as f32));
        }
        let omega: Vec<f32> = numbers(13, modules).iter().map(|a| a.exp()).collect();
        let sum: f32 = omega.iter().sum();
        let omega = omega.iter().map(|a| a / sum).collect();
        Self { shape, layout, x: numbers(14, rows * d1), residual: None, proj, phi, omega }
    }

    /// The same with another residual than x.
    pub fn apart(shape: Shape) -> Self {
        Self { residual: Some(numbers(15, shape.rows * shape.d1)), ..Self::new(shape) }
    }

    /// Uploads, with one row of phi more than there are modules.
    pub fn upload(&self, device: &Device) -> Result<Tensors> {
        let Shape { rows, d1, modules, .. } = self.shape;
        let mut phi = self.phi.clone();
        phi.resize((modules + 1) * self.layout.len(), f32::NAN);
        let x = input(device, &self.x, &[rows, d1])?;
        let residual = self.residual.as_ref().map(|r| input(device, r, &[rows, d1])).transpose()?;
        Ok(Tensors {
            residual: residual.unwrap_or_else(|| x.clone()),
            x,
            proj: input(device, &self.proj, &[2, d1 * self.layout.e])?,
            phi: input(device, &phi, &[modules + 1, self.layout.len()])?,
            omega: input(device, &self.omega, &[modules])?,
        })
    }

    /// x [rows, d1], D [d1, d2], U [d2, d1].
    pub fn outer(&self) -> [Bounded; 3] {
        let Shape { d1, d2, .. } = self.shape;
        let down = self.proj[..d1 * self.layout.e].chunks(self.layout.e).flat_map(|row| wide(&row[..d2])).collect();
        let up = wide(&self.proj[d1 * self.layout.e..][..d2 * d1]);
        [Bounded::exact(wide(&self.x), d1), Bounded::exact(down, d2), Bounded::exact(up, d1)]
    }

    pub fn maps(&self, module: usize) -> Maps {
        let row: Vec<f64> =
            self.phi[module * self.layout.len()..][..self.layout.len()].iter().map(|&x| x.into()).collect();
        let both = |part: &str| {
            ["mu", "sigma"].map(|kind| {
                let data = self.layout.unpack(&format!("{kind}.{part}"), &row).unwrap_or(vec![0.0; self.shape.d2]);
                let all = Bounded::exact(data, self.shape.d2);
                // Weight files have [out, in].
                if part.ends_with("weight") { all.transposed() } else { all }
            })
        };
        Maps { w1: both("fc1.weight"), b1: both("fc1.bias"), w2: both("fc2.weight"), b2: both("fc2.bias") }
    }

    /// What multiplies sigma, [rows, d2].
    pub fn eps(&self, noise: Noise, module: usize) -> Bounded {
        let Shape { rows, d2, .. } = self.shape;
        let mut value = vec![1.0; rows * d2];
        let mut error = 0.0;
        match noise {
            Noise::Mean => value.fill(0.0),
            Noise::Plain => {}
            Noise::Sample { seed, layer, step, first_row } => {
                let before = first_row as usize * d2;
                let mut all = vec![0.0; before + value.len()];
                philox::normals(Stream { seed, layer, task: module as u32, step, first_row }, 0, &mut all);
                value.copy_from_slice(&all[before..]);
                error = NORMAL;
            }
        }
        Bounded { cols: d2, error: vec![error; value.len()], value }
    }

    /// (g, u) of mu and sigma: the input of the last layer and what stands before GELU.
    pub fn hidden(&self, h: &Bounded, maps: &Maps) -> [(Bounded, Option<Bounded>); 2] {
        [0, 1].map(|kind| {
            if self.shape.layers == 1 {
                return (h.clone(), None);
            }
            let u = h.times(&maps.w1[kind]).plus(&maps.b1[kind]);
            (u.gelu(), Some(u))
        })
    }

    /// The layer by its formula.
    pub fn forward(&self, noise: Noise) -> Bounded {
        let [x, down, up] = self.outer();
        let h = x.times(&down);
        let mut mixed = Bounded::exact(vec![0.0; h.value.len()], h.cols);
        for module in 0..self.shape.modules {
            let maps = self.maps(module);
            let [mu, sigma] = self.hidden(&h, &maps);
            let mu = mu.0.times(&maps.w2[0]).plus(&maps.b2[0]);
            let sigma = sigma.0.times(&maps.w2[1]).plus(&maps.b2[1]);
            let z = mu.plus(&self.eps(noise, module).hadamard(&sigma));
            mixed = mixed.plus(&z.scaled(self.omega[module].into()));
        }
        let residual = self.residual.as_ref().map_or(x, |r| Bounded::exact(wide(r), self.shape.d1));
        residual.plus(&mixed.times(&up))
    }
}

/// On the f64 device: the twin equals the formula.
pub fn check_oracle(device: &Device, tensor: &Tensor, want: &Bounded) -> Result<()> {
    if device.name().contains("f64") {
        let got: Vec<f64> = pollster::block_on(device.read(tensor))?;
        for (i, (x, y)) in got.iter().zip(&want.value).enumerate() {
            assert!((x - y).abs() < 1e-9 * (1.0 + y.abs()), "twin[{i}]: {x} for {y}");
        }
    }
    Ok(())
}

fn forward(device: &Device, problem: &Problem, noise: Noise, caps: &Caps) -> Result<Vec<Output>> {
    let Tensors { x, residual, proj, phi, omega } = &problem.upload(device)?;
    let (shape, layout, modules) = (problem.shape, problem.layout, problem.shape.modules);
    let y = poisoned(device, &[shape.rows, shape.d1])?;
    let mean = match layout.layers {
        1 => Some(mean_map(device, problem, noise == Noise::Plain)?),
        _ => None,
    };
    let kernel = NoiseMix { x, residual, proj, phi, omega, mean: mean.as_ref(), y: &y, layout, modules, noise };
    run_as(device, kernel, caps)?;
    let want = problem.forward(noise);
    check_oracle(device, &y, &want)?;
    // Mixing the maps first is like `modules` more terms in each sum of the products with them.
    let longer = if mean.is_some() { 1.0 + (modules as f64) / (layout.d2 as f64) } else { 1.0 };
    Ok(vec![output("y", y, want.scaled(longer).error)])
}

/// The mixture of the one-layer maps of a problem.
pub fn mean_map(device: &Device, problem: &Problem, plain: bool) -> Result<Tensor> {
    let (Tensors { phi, omega, .. }, layout) = (&problem.upload(device)?, problem.layout);
    let out = poisoned(device, &[layout.e + 1, layout.e])?;
    device.run(&MeanMap { phi, omega, out: &out, layout, modules: problem.shape.modules, plain })?;
    Ok(out)
}

/// What cannot run is refused before anything is created: widths beyond a workgroup, rows that are not whole vectors, a
/// residual of another shape.
fn refusals(device: &Device) -> Result<Vec<Output>> {
    let layout = PhiLayout::new(1028, 1)?;
    let some = device.reals(&[1, 4])?;
    let (x, proj, phi, omega, y) = (&some, &some, &some, &some, &some);
    let wide = NoiseMix { x, residual: x, proj, phi, omega, mean: Some(x), y, layout, modules: 1, noise: SAMPLE };
    assert!(matches!(wide.plan(&Caps::floor()), Err(Error::Limit { .. })));
    let layer = NoiseLayer { proj, phi, omega, layout, modules: 1, noise: SAMPLE };
    let odd = device.reals(&[2, 6])?;
    assert!(matches!(layer.forward(device, &odd, &odd, Path::Fused), Err(Error::Unsupported(_))));
    assert!(matches!(layer.forward(device, x, x, Path::Fused), Err(Error::Shape { arg: "proj", .. })));
    let problem = Problem::new(shape(2, 8, 4, 1, 2));
    let Tensors { x, proj, phi, omega, .. } = &problem.upload(device)?;
    let layer = NoiseLayer { proj, phi, omega, layout: problem.layout, modules: 1, noise: SAMPLE };
    assert!(matches!(layer.forward(device, x, &odd, Path::Fused), Err(Error::Shape { arg: "residual", .. })));
    Ok(Vec::new())
}

pub const fn shape(rows: usize, d1: usize, d2: usize, modules: usize, layers: usize) -> Shape {
    Shape { rows, d1, d2, modules, layers }
}

/// Tiles have 1 to 16 rows a thread: around those, primes, widths divisible by 4 and not, many modules.
pub const SHAPES: [Shape; 16] = [
    shape(1, 48, 24, 1, 2),
    shape(7, 60, 21, 5, 2),
    shape(7, 60, 21, 5, 1),
    shape(8, 96, 48, 3, 2),
    shape(9, 192, 96, 10, 2),
    shape(17, 384, 192, 2, 1),
    shape(13, 768, 192, 2, 2),
    shape(5, 1024, 256, 64, 2),
    shape(3, 48, 21, 64, 2),
    shape(67, 60, 24, 4, 1),
    shape(131, 48, 22, 2, 2),
    shape(64, 48, 23, 1, 1),
    shape(6, 4, 1, 2, 2),
    shape(33, 52, 30, 50, 1),
    shape(20, 768, 192, 50, 2),
    // Several tiles a workgroup on software devices.
    shape(901, 72, 21, 2, 2),
];

/// Run by the plans of real GPUs on all devices: tiles of several groups of threads with eight rows each, less than a
/// tile and two, units that fill whole quads and not, one layer and two.
pub const ON_GPU: [Shape; 4] =
    [shape(7, 60, 21, 5, 2), shape(79, 96, 48, 2, 2), shape(131, 48, 22, 3, 1), shape(21, 192, 192, 2, 2)];

/// Run with another residual as well: units that fill whole quads and not, one layer and two, one tile and several.
pub const APART: [Shape; 4] =
    [shape(7, 60, 21, 5, 2), shape(7, 60, 21, 5, 1), shape(8, 96, 48, 3, 2), shape(131, 48, 22, 2, 2)];

/// One of every kind of plan.
pub const EXAMPLES: [Shape; 5] = [
    shape(7, 60, 21, 5, 2),
    shape(7, 60, 21, 5, 1),
    shape(8, 96, 96, 1, 2),
    shape(2, 48, 256, 1, 2),
    shape(901, 72, 24, 2, 2),
];

/// Every shape with sampled noise, the first ones with all noises: each is a pipeline of its own.
pub fn runs() -> impl Iterator<Item = (Shape, &'static str, Noise)> {
    SHAPES.into_iter().enumerate().flat_map(|(i, shape)| {
        NOISES.into_iter().filter(move |n| i < 6 || n.1 == SAMPLE).map(move |(name, noise)| (shape, name, noise))
    })
}

pub const NOISES: [(&str, Noise); 3] = [("mean", Noise::Mean), ("plain", Noise::Plain), ("sample", SAMPLE)];

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (shape, name, noise) in runs() {
        all.push(case(format!("noise_mix {shape:?} {name}"), move |d| {
            forward(d, &Problem::new(shape), noise, d.caps())
        }));
    }
    for shape in APART {
        for (name, noise) in NOISES {
            all.push(case(format!("noise_mix {shape:?} {name}, another residual"), move |d| {
                forward(d, &Problem::apart(shape), noise, d.caps())
            }));
        }
    }
    for shape in ON_GPU {
        all.push(case(format!("noise_mix {shape:?} as on a GPU"), move |d| {
            forward(d, &Problem::new(shape), SAMPLE, &as_gpu(d))
        }));
        all.push(case(format!("noise_mix {shape:?} as on a GPU, another residual"), move |d| {
            forward(d, &Problem::apart(shape), SAMPLE, &as_gpu(d))
        }));
    }
    all.push(case("noise_mix refusals".into(), refusals));
    // More than 65,535 workgroups, also of 16 rows.
    let many = shape(65_536 * 16 + 3, 4, 4, 1, 2);
    all.push(case(format!("noise_mix {many:?}"), move |d| forward(d, &Problem::new(many), SAMPLE, d.caps())));
    all
}

pub fn examples(device: &Device) -> Result<()> {
    for shape in EXAMPLES {
        for (_, noise) in NOISES {
            forward(device, &Problem::new(shape), noise, device.caps())?;
        }
    }
    Ok(())
}
