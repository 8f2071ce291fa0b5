//! burn's side of a comparison; see `cases.rs` and `compare`. The argument is `wgpu` (the CPU adapter of its wgpu
//! backend) or `flex` (its CPU backend).
#![recursion_limit = "512"]

#[path = "../../cases.rs"]
mod cases;

use std::cell::RefCell;

use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, DeviceKind, Gradients, Tensor, TensorData, activation, module};
use cases::{Case, Ready, normals, numbers};

const EPS: f64 = 1e-6;
const BATCH: usize = 16;
const TOKENS: usize = 65;
const DIM: usize = 192;

fn main() {
    let device = match std::env::args().nth(1).as_deref() {
        Some("flex") => Device::flex(),
        _ => Device::wgpu(DeviceKind::Cpu),
    };
    eprintln!("burn on {device:?}");
    cases::serve(|| device.sync().expect("the queue"), |case| build(&device, case));
}

fn tensor<const D: usize>(device: &Device, seed: u32, shape: [usize; D], scale: f32) -> Tensor<D> {
    Tensor::from_data(TensorData::new(numbers(seed, shape.iter().product(), scale), shape), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("f32")
}

fn ready<const D: usize>(pass: impl Fn() -> Tensor<D> + Clone + 'static) -> Ready {
    let again = pass.clone();
    Ready { pass: Box::new(move || drop(pass())), results: Box::new(move || values(again())) }
}

/// Burn has no solver of linear systems; whole networks and images are compared with others.
fn build(d: &Device, case: Case) -> Option<Ready> {
    Some(match case {
        Case::Gemm([m, k, n]) => {
            let (a, b) = (tensor(d, 1, [m, k], 2.0), tensor::<2>(d, 2, [k, n], 2.0));
            ready(move || a.clone().matmul(b.clone()))
        }
        Case::Hidden([rows, dim]) => {
            let (x, w) = (tensor::<2>(d, 1, [rows, dim], 2.0), tensor::<2>(d, 2, [dim, 4 * dim], 0.5));
            let bias = tensor::<1>(d, 3, [4 * dim], 2.0);
            ready(move || activation::gelu(module::linear(x.clone(), w.clone(), Some(bias.clone()))))
        }
        Case::Attention(shape) => {
            let [q, k, v] = [3, 4, 5].map(|seed| tensor::<4>(d, seed, shape, 2.0));
            ready(move || {
                let options = AttentionModuleOptions::default();
                // The heads of a token side by side, as minoise has them.
                module::attention(q.clone(), k.clone(), v.clone(), None, None, options).swap_dims(1, 2)
            })
        }
        Case::LayerNorm([rows, cols]) => {
            let x = tensor::<2>(d, 6, [rows, cols], 2.0);
            let (gamma, beta) = (tensor::<1>(d, 7, [cols], 2.0), tensor::<1>(d, 8, [cols], 2.0));
            ready(move || module::layer_norm(x.clone(), gamma.clone(), Some(beta.clone()), EPS))
        }
        Case::Noise(modules) => noise(d, modules),
        Case::Train => train(d),
        Case::Ridge(_) | Case::Features(_) | Case::Paper(_) | Case::Loader => return None,
    })
}

fn noise(d: &Device, modules: usize) -> Ready {
    let (x, down) = (tensor::<2>(d, 11, [3152, DIM], 2.0), tensor::<2>(d, 12, [DIM, 96], 0.2));
    let up = tensor::<2>(d, 13, [96, DIM], 0.2);
    let eps: Vec<_> = (0..modules as u32)
        .map(|i| Tensor::<2>::from_data(TensorData::new(normals(i, 3152 * 96), [3152, 96]), d))
        .collect();
    let omega = move |i: usize| (i + 1) as f32 / (modules * (modules + 1) / 2) as f32;
    let part = |seed: u32| (tensor::<2>(d, seed, [96, 96], 0.2), tensor::<1>(d, seed + 1, [96], 0.2));
    let phi: Vec<_> = (0..modules as u32).map(|i| (part(20 + 4 * i), part(22 + 4 * i))).collect();
    ready(move || {
        let h = x.clone().matmul(down.clone());
        // mu of all modules is one map: as many products as modules, and one more.
        let mean = |of: &dyn Fn(usize) -> Tensor<2>| {
            (0..modules).map(|i| of(i).mul_scalar(omega(i))).reduce(|sum, x| sum + x).expect("a module")
        };
        let (w_mu, b_mu) = (mean(&|i| phi[i].0.0.clone()), mean(&|i| phi[i].0.1.clone().unsqueeze()));
        let mu = module::linear(h.clone(), w_mu, Some(b_mu.squeeze()));
        let z = phi.iter().zip(&eps).enumerate().fold(mu, |z, (i, ((_, (w, b)), eps))| {
            let sigma = module::linear(h.clone(), w.clone(), Some(b.clone()));
            z + (eps.clone() * sigma).mul_scalar(omega(i))
        });
        x.clone() + z.matmul(up.clone())
    })
}

struct Block {
    norms: [Tensor<1>; 4],
    matrices: [Tensor<2>; 4],
    biases: [Tensor<1>; 4],
}

struct Vit {
    blocks: Vec<Block>,
    norm: [Tensor<1>; 2],
    head: Tensor<2>,
    bias: Tensor<1>,
    x: Tensor<3>,
    onehot: Tensor<2>,
}

impl Vit {
    fn new(device: &Device) -> Self {
        let d = &device.clone().autodiff();
        let mut seed = 199;
        let mut weight = |rows: usize, cols: usize| {
            seed += 1;
            tensor::<2>(d, seed, [rows, cols], 0.07).require_grad()
        };
        let constant = |n: usize, x: f32| Tensor::<1>::from_data(TensorData::new(vec![x; n], [n]), d).require_grad();
        let blocks = (0..4).map(|_| Block {
            matrices: [weight(DIM, 3 * DIM), weight(DIM, DIM), weight(DIM, 4 * DIM), weight(4 * DIM, DIM)],
            norms: [1.0, 0.0, 1.0, 0.0].map(|x| constant(DIM, x)),
            biases: [3 * DIM, DIM, 4 * DIM, DIM].map(|n| constant(n, 0.0)),
        });
        let blocks = blocks.collect();
        let onehot: Vec<f32> = (0..BATCH * 10).map(|i| if i / 10 % 10 == i % 10 { 1.0 } else { 0.0 }).collect();
        Self {
            blocks,
            norm: [1.0, 0.0].map(|x| constant(DIM, x)),
            head: weight(DIM, 10),
            bias: constant(10, 0.0),
            x: tensor(d, 100, [BATCH, TOKENS, DIM], 2.0),
            onehot: Tensor::from_data(TensorData::new(onehot, [BATCH, 10]), d),
        }
    }

    fn step(&mut self) -> Tensor<1> {
        let mut h = self.x.clone();
        for Block { norms: [g1, b1, g2, b2], matrices, biases } in &self.blocks {
            let linear = |x, i: usize| module::linear(x, matrices[i].clone(), Some(biases[i].clone()));
            let norm = |x, g: &Tensor<1>, b: &Tensor<1>| module::layer_norm(x, g.clone(), Some(b.clone()), EPS);
            let qkv = linear(norm(h.clone(), g1, b1), 0);
            let [q, k, v] = [0, 1, 2].map(|i| {
                let part = qkv.clone().slice([0..BATCH, 0..TOKENS, i * DIM..(i + 1) * DIM]);
                part.reshape([BATCH, TOKENS, 3, 64]).swap_dims(1, 2)
            });
            let scores = activation::softmax(q.matmul(k.swap_dims(2, 3)).mul_scalar(0.125), 3);
            h = h + linear(scores.matmul(v).swap_dims(1, 2).reshape([BATCH, TOKENS, DIM]), 1);
            h = h.clone() + linear(activation::gelu(linear(norm(h, g2, b2), 2)), 3);
        }
        let [gamma, beta] = self.norm.clone();
        let h = module::layer_norm(h, gamma, Some(beta), EPS);
        let c = h.slice([0..BATCH, 0..1, 0..DIM]).reshape([BATCH, DIM]);
        let logits = module::linear(c, self.head.clone(), Some(self.bias.clone()));
        let picked = (activation::log_softmax(logits, 1) * self.onehot.clone()).sum();
        let loss = picked.mul_scalar(-1.0 / BATCH as f32);
        let mut gradients = loss.backward();
        for block in &mut self.blocks {
            block.matrices.iter_mut().for_each(|p| descend(p, &mut gradients));
            block.norms.iter_mut().chain(&mut block.biases).for_each(|p| descend(p, &mut gradients));
        }
        self.norm.iter_mut().chain([&mut self.bias]).for_each(|p| descend(p, &mut gradients));
        descend(&mut self.head, &mut gradients);
        loss.inner()
    }
}

fn descend<const D: usize>(parameter: &mut Tensor<D>, gradients: &mut Gradients) {
    let gradient = parameter.grad_remove(gradients).expect("a gradient");
    *parameter = (parameter.clone().inner() - gradient.mul_scalar(0.05)).autodiff().require_grad();
}

fn train(device: &Device) -> Ready {
    let (vit, device) = (RefCell::new(Vit::new(device)), device.clone());
    Ready {
        pass: Box::new(move || drop(vit.borrow_mut().step())),
        results: Box::new(move || {
            let mut fresh = Vit::new(&device);
            (0..5).flat_map(|_| values(fresh.step())).collect()
        }),
    }
}
