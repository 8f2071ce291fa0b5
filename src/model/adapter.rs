//! Bottleneck adapters beside the MLPs of a backbone (RIVALS section 10).
//!
//! Source: AdaptFormer (arXiv 2205.13535) as APER (arXiv 2303.07338) and EASE (arXiv 2403.12030) use it.

use crate::Result;
use crate::autograd::{Linear, Tape, Var};
use crate::device::{Device, Tensor};
use crate::kernels::gemm::Activation;
use crate::kernels::philox_normal::Stream;
use crate::model::optimizer::Parameter;
use crate::model::state::{put, upload};
use crate::model::vit::{Beside, Vit};
use crate::store::Tree;

/// The adapter of one block.
#[derive(Clone, Debug)]
struct Adapter {
    /// D [r, d].
    down: Tensor,
    /// a `[r]`.
    down_bias: Tensor,
    /// U [d, r].
    up: Tensor,
    /// b `[d]`.
    up_bias: Tensor,
}

impl Adapter {
    fn tensors(&self) -> [(&'static str, &Tensor); 4] {
        let Self { down, down_bias, up, up_bias } = self;
        [("down.weight", down), ("down.bias", down_bias), ("up.weight", up), ("up.bias", up_bias)]
    }
}

/// What a random share of the hidden numbers of adapters is dropped by, while they are trained.
#[derive(Clone, Copy, Debug)]
pub struct Drops {
    pub share: f64,
    pub seed: u64,
    /// Training steps of the run before this one.
    pub step: u32,
    /// Images of the batch before these, where it is taken in parts.
    pub first: usize,
}

/// An adapter in one forward pass.
#[derive(Clone, Copy, Debug)]
pub struct Adapted<'a> {
    adapter: &'a Adapter,
    scale: f64,
    /// The share that is dropped, and by what stream.
    drops: Option<(f64, Stream)>,
}

impl Adapted<'_> {
    /// `x + scale (relu(x D^T + a) U^T + b)` for tokens x [rows, d].
    ///
    /// # Errors
    /// Device errors.
    pub(super) fn add(&self, tape: &mut Tape, x: &Var) -> Result<Var> {
        let [down, down_bias, up, up_bias] = self.adapter.tensors().map(|(_, tensor)| tape.var(tensor));
        let op = Linear { transposed: true, bias: Some(&down_bias), ..Linear::new(&down) };
        let mut hidden = tape.linear(x, Linear { activation: Activation::Relu, ..op })?;
        if let Some((share, stream)) = self.drops {
            hidden = tape.dropout(&hidden, share, stream)?;
        }
        // Scaled before they meet the tokens, which are many.
        let (up, up_bias) = (tape.scale(&up, self.scale)?, tape.scale(&up_bias, self.scale)?);
        let op = Linear { transposed: true, bias: Some(&up_bias), residual: Some(x), ..Linear::new(&up) };
        tape.linear(&hidden, op)
    }
}

/// The size of adapters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bottleneck {
    /// Hidden numbers, r.
    pub hidden: usize,
    /// What their output is multiplied by.
    pub scale: f64,
}

/// Adapters of all blocks: block j makes `x + mlp(norm2(x)) + scale (relu(x D^T + a) U^T + b)` of the tokens x behind its
/// attention, which the adapter sees before norm2.
#[derive(Clone, Debug)]
pub struct Adapters {
    scale: f64,
    blocks: Vec<Adapter>,
}

/// What a part of the adapter of block j is called.
fn path(j: usize, part: &str) -> String {
    format!("adapter.{j}.{part}")
}

impl Adapters {
    /// With what `make(j, part, shape)` gives for every part of block j.
    fn made(vit: &Vit, of: Bottleneck, mut make: impl FnMut(usize, &str, &[usize]) -> Result<Tensor>) -> Result<Self> {
        let (sizes, r) = (vit.architecture.sizes, of.hidden);
        let block = |j: usize| {
            Ok(Adapter {
                down: make(j, "down.weight", &[r, sizes.dim])?,
                down_bias: make(j, "down.bias", &[r])?,
                up: make(j, "up.weight", &[sizes.dim, r])?,
                up_bias: make(j, "up.bias", &[sizes.dim])?,
            })
        };
        Ok(Self { scale: of.scale, blocks: (0..sizes.depth).map(block).collect::<Result<_>>()? })
    }

    /// With `down(j)` as D [r, d] of block j; the rest is zero, so that they begin as the identity.
    ///
    /// # Errors
    /// Those of `down`; [`crate::Error::Shape`] where it is of another size; allocation failures.
    pub fn new(vit: &Vit, of: Bottleneck, mut down: impl FnMut(usize) -> Result<Vec<f64>>) -> Result<Self> {
        let device = vit.device();
        Self::made(vit, of, |j, part, shape| match part {
            "down.weight" => device.upload(&down(j)?, shape),
            _ => device.zeros(shape),
        })
    }

    /// With nothing in particular in them.
    ///
    /// # Errors
    /// Allocation failures.
    pub fn stand_in(vit: &Vit, of: Bottleneck) -> Result<Self> {
        Self::made(vit, of, |_, _, shape| vit.device().reals(shape))
    }

    /// What [`Adapters::state`] gave.
    ///
    /// # Errors
    /// [`crate::Error::Store`] where it does not fit; allocation failures.
    pub fn restore(vit: &Vit, of: Bottleneck, mut tree: Tree) -> Result<Self> {
        let made = Self::made(vit, of, |j, part, shape| upload(&mut tree, &path(j, part), vit.device(), shape))?;
        tree.finish()?;
        Ok(made)
    }

    /// All tensors by the names of their parameters.
    ///
    /// # Errors
    /// Device errors.
    pub async fn state(&self, device: &Device) -> Result<Tree> {
        let mut tree = Tree::new();
        for (j, adapter) in self.blocks.iter().enumerate() {
            for (part, tensor) in adapter.tensors() {
                put(&mut tree, &path(j, part), device, tensor).await?;
            }
        }
        Ok(tree)
    }

    /// All of them, to be trained.
    pub fn parameters(&self) -> Vec<Parameter> {
        let of = |(j, adapter): (usize, &Adapter)| {
            adapter.tensors().map(|(part, tensor)| Parameter::whole(&path(j, part), tensor))
        };
        self.blocks.iter().enumerate().flat_map(of).collect()
    }

    /// Features [B, d] of images by a backbone with these adapters.
    ///
    /// # Errors
    /// See [`Vit::features`].
    pub fn features(&self, vit: &Vit, tape: &mut Tape, images: &Tensor, drops: Option<Drops>) -> Result<Var> {
        let tokens = vit.architecture.tokens();
        vit.features(tape, images, |tape, j, x| {
            let stream = |drops: Drops| {
                let first_row = (drops.first * tokens) as u32;
                Stream { seed: drops.seed, layer: j as u32, task: 0, step: drops.step, first_row }
            };
            let drops = drops.map(|drops| (drops.share, stream(drops)));
            let adapted = Adapted { adapter: &self.blocks[j], scale: self.scale, drops };
            vit.block_beside(tape, j, &x, Beside { adapter: Some(adapted), ..Beside::default() })
        })
    }
}

/// A head that compares directions: `sigma unit(f) . unit(w_c)` for features f.
#[derive(Clone, Debug)]
pub struct CosineHead {
    /// w [C, d].
    pub weight: Tensor,
    /// sigma [1, 1].
    pub scale: Tensor,
}

impl CosineHead {
    /// With w [C, d], and sigma = 1.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] where w is of another size; allocation failures.
    pub fn new(device: &Device, weight: &[f64], shape: [usize; 2]) -> Result<Self> {
        Ok(Self { weight: device.upload(weight, &shape)?, scale: device.upload(&[1.0], &[1, 1])? })
    }

    /// Both, to be trained.
    pub fn parameters(&self) -> [Parameter; 2] {
        [("head.weight", &self.weight), ("head.scale", &self.scale)].map(|(path, x)| Parameter::whole(path, x))
    }

    /// Logits [B, C] of features f [B, d].
    ///
    /// # Errors
    /// Device errors.
    pub fn logits(&self, tape: &mut Tape, f: &Var) -> Result<Var> {
        let [weight, scale] = [&self.weight, &self.scale].map(|x| tape.var(x));
        let (f, weight) = (tape.unit(f)?, tape.unit(&weight)?);
        let cosines = tape.linear(&f, Linear { transposed: true, ..Linear::new(&weight) })?;
        // A product with one number, of which the tape knows the gradient.
        let shape = [cosines.value().rows(), cosines.value().cols()];
        let column = tape.reshape(&cosines, &[shape[0] * shape[1], 1]);
        let scaled = tape.linear(&column, Linear::new(&scale))?;
        Ok(tape.reshape(&scaled, &shape))
    }

    /// w and sigma.
    ///
    /// # Errors
    /// Device errors.
    pub async fn state(&self, device: &Device) -> Result<Tree> {
        let mut tree = Tree::new();
        for p in self.parameters() {
            put(&mut tree, &p.path, device, &p.tensor).await?;
        }
        Ok(tree)
    }

    /// What [`CosineHead::state`] gave, for features of d numbers.
    ///
    /// # Errors
    /// [`crate::Error::Store`] where it does not fit; allocation failures.
    pub fn restore(device: &Device, d: usize, mut tree: Tree) -> Result<Self> {
        let classes = tree.shape("head.weight")?.first().copied().unwrap_or(0);
        let weight = upload(&mut tree, "head.weight", device, &[classes, d])?;
        let scale = upload(&mut tree, "head.scale", device, &[1, 1])?;
        tree.finish()?;
        Ok(Self { weight, scale })
    }
}
