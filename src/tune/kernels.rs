//! Problems of single kernels.

use half::f16;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::subject::Subject;
use crate::Result;
use crate::algorithms::tiles;
use crate::device::{Device, Tensor};
use crate::kernels::attention::Attention;
use crate::kernels::attention_backward_key::{AttentionBackwardKey, Keys};
use crate::kernels::attention_backward_query::AttentionBackwardQuery;
use crate::kernels::column_unit::ColumnUnit;
use crate::kernels::gemm::{Gemm, Layout, Mat};
use crate::kernels::gram::{Gram, SAMPLES};
use crate::kernels::layernorm::LayerNorm;
use crate::kernels::layernorm_backward::LayerNormBackward;
use crate::kernels::pair_product::PairProduct;

const EPS: f32 = 1e-6;

/// Operands from a fixed seed.
pub(super) fn random(device: &Device, seed: u64, shape: &[usize], scale: f32) -> Result<Tensor> {
    device.upload(&numbers(device, seed, shape, scale), shape)
}

/// Zeros for a planner, which keeps none of them.
fn numbers(device: &Device, seed: u64, shape: &[usize], scale: f32) -> Vec<f32> {
    if device.is_planner() {
        return vec![0.0; shape.iter().product()];
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..shape.iter().product()).map(|_| rng.random_range(-scale..scale)).collect()
}

/// Rounding errors of f32 sums of so many terms, relative to the largest entry: they grow like a random walk.
pub(super) fn rounding(terms: usize) -> f64 {
    4.0 * f64::from(f32::EPSILON) * (terms as f64).sqrt()
}

/// `out = A B`; m, n, k.
pub(super) struct Product {
    pub layout: Layout,
    pub mnk: [usize; 3],
    /// Whether B is stored as halves.
    pub halves: bool,
}

impl Subject for Product {
    type Kernel<'a> = Gemm<'a>;

    fn operands(&self, device: &Device) -> Result<Vec<Tensor>> {
        let [m, n, k] = self.mnk;
        let a = if self.layout == Layout::TN { [k, m] } else { [m, k] };
        let b = if self.layout == Layout::NT { [n, k] } else { [k, n] };
        let b = if self.halves {
            let halves: Vec<_> = numbers(device, 2, &b, 1.0).into_iter().map(f16::from_f32).collect();
            device.upload_f16(&halves, &b)?
        } else {
            random(device, 2, &b, 1.0)?
        };
        Ok(vec![random(device, 1, &a, 1.0)?, b])
    }

    fn results(&self, device: &Device) -> Result<Vec<Tensor>> {
        Ok(vec![device.reals(&[self.mnk[0], self.mnk[1]])?])
    }

    fn kernel<'a>(&self, operands: &'a [Tensor], results: &'a [Tensor]) -> Gemm<'a> {
        Gemm::of(self.layout, self.mnk, Mat::of(&operands[0]), Mat::of(&operands[1]), Mat::of(&results[0]))
    }

    /// Variants that round operands to halves have 2^-11 of every term, and as much of short partial sums.
    fn bound(&self, rounds: bool) -> f64 {
        rounding(self.mnk[2]) + if rounds { 4.0 * f64::from(f16::EPSILON) } else { 0.0 }
    }
}

/// Normalised rows; with `stats` they are kept for the gradient.
pub(super) struct Norm {
    pub rows: usize,
    pub cols: usize,
    pub stats: bool,
}

impl Subject for Norm {
    type Kernel<'a> = LayerNorm<'a>;

    fn operands(&self, device: &Device) -> Result<Vec<Tensor>> {
        let &Self { rows, cols, .. } = self;
        Ok(vec![
            random(device, 1, &[rows, cols], 1.0)?,
            random(device, 2, &[cols], 1.0)?,
            random(device, 3, &[cols], 1.0)?,
        ])
    }

    fn results(&self, device: &Device) -> Result<Vec<Tensor>> {
        let &Self { rows, cols, stats } = self;
        let mut all = vec![device.reals(&[rows, cols])?];
        if stats {
            all.push(device.reals(&[rows, 2])?);
        }
        Ok(all)
    }

    fn kernel<'a>(&self, operands: &'a [Tensor], results: &'a [Tensor]) -> LayerNorm<'a> {
        let [x, gamma, beta] = operands else { unreachable!("three operands") };
        LayerNorm { stats: results.get(1), ..LayerNorm::new(x, gamma, beta, &results[0], EPS) }
    }

    fn bound(&self, _: bool) -> f64 {
        rounding(self.cols)
    }
}

/// The gradient of normalised rows.
pub(super) struct NormBackward {
    pub rows: usize,
    pub cols: usize,
}

impl Subject for NormBackward {
    type Kernel<'a> = LayerNormBackward<'a>;

    fn operands(&self, device: &Device) -> Result<Vec<Tensor>> {
        let &Self { rows, cols } = self;
        let forward = Norm { rows, cols, stats: true };
        let (mut operands, mut results) = (forward.operands(device)?, forward.results(device)?);
        device.run(&forward.kernel(&operands, &results))?;
        operands.truncate(2);
        operands.push(results.remove(1));
        operands.push(random(device, 4, &[rows, cols], 1.0)?);
        Ok(operands)
    }

    fn results(&self, device: &Device) -> Result<Vec<Tensor>> {
        Ok(vec![device.reals(&[self.rows, self.cols])?])
    }

    fn kernel<'a>(&self, operands: &'a [Tensor], results: &'a [Tensor]) -> LayerNormBackward<'a> {
        let [x, gamma, stats, dy] = operands else { unreachable!("four operands") };
        LayerNormBackward { x, gamma, stats, dy, dx: &results[0], accumulate: false }
    }

    fn bound(&self, _: bool) -> f64 {
        2.0 * rounding(self.cols)
    }
}

/// All heads of a batch.
#[derive(Clone, Copy)]
pub(super) struct Heads {
    pub batch: usize,
    pub tokens: usize,
    pub heads: usize,
    /// Columns of one head.
    pub dim: usize,
}

impl Heads {
    fn rows(self) -> usize {
        self.batch * self.tokens
    }

    fn width(self) -> usize {
        self.heads * self.dim
    }

    fn scores(self) -> usize {
        self.heads * self.rows()
    }

    fn qkv(self, device: &Device) -> Result<Tensor> {
        random(device, 1, &[self.rows(), 3 * self.width()], 1.0)
    }

    /// Sums over a head's columns, and over all tokens.
    fn bound(self) -> f64 {
        1e-6 + rounding(self.dim + self.tokens)
    }
}

/// The forward pass; with `lse` for a backward one.
pub(super) struct Forward {
    pub heads: Heads,
    pub lse: bool,
}

impl Subject for Forward {
    type Kernel<'a> = Attention<'a>;

    fn operands(&self, device: &Device) -> Result<Vec<Tensor>> {
        Ok(vec![self.heads.qkv(device)?])
    }

    fn results(&self, device: &Device) -> Result<Vec<Tensor>> {
        let mut all = vec![device.reals(&[self.heads.rows(), self.heads.width()])?];
        if self.lse {
            all.push(device.reals(&[self.heads.scores()])?);
        }
        Ok(all)
    }

    fn kernel<'a>(&self, operands: &'a [Tensor], results: &'a [Tensor]) -> Attention<'a> {
        let Heads { batch, tokens, heads, .. } = self.heads;
        Attention { qkv: &operands[0], prefix: None, out: &results[0], lse: results.get(1), batch, tokens, heads }
    }

    fn bound(&self, _: bool) -> f64 {
        self.heads.bound()
    }
}

/// The gradient of q.
pub(super) struct Query(pub Heads);

impl Subject for Query {
    type Kernel<'a> = AttentionBackwardQuery<'a>;

    fn operands(&self, device: &Device) -> Result<Vec<Tensor>> {
        let forward = Forward { heads: self.0, lse: true };
        let (mut operands, results) = (forward.operands(device)?, forward.results(device)?);
        device.run(&forward.kernel(&operands, &results))?;
        operands.extend(results);
        operands.push(random(device, 2, &[self.0.rows(), self.0.width()], 1.0)?);
        Ok(operands)
    }

    fn results(&self, device: &Device) -> Result<Vec<Tensor>> {
        Ok(vec![device.zeros(&[self.0.rows(), 3 * self.0.width()])?, device.reals(&[self.0.scores()])?])
    }

    fn kernel<'a>(&self, operands: &'a [Tensor], results: &'a [Tensor]) -> AttentionBackwardQuery<'a> {
        let ([qkv, out, lse, dy], [dqkv, delta]) = (operands, results) else { unreachable!("as above") };
        let Heads { batch, tokens, heads, .. } = self.0;
        AttentionBackwardQuery { qkv, prefix: None, out, dy, lse, delta, dqkv, batch, tokens, heads }
    }

    fn bound(&self, _: bool) -> f64 {
        2.0 * self.0.bound()
    }
}

/// The gradients of k and v.
pub(super) struct Key(pub Heads);

impl Subject for Key {
    type Kernel<'a> = AttentionBackwardKey<'a>;

    fn operands(&self, device: &Device) -> Result<Vec<Tensor>> {
        let query = Query(self.0);
        let (mut operands, mut results) = (query.operands(device)?, query.results(device)?);
        device.run(&query.kernel(&operands, &results))?;
        operands.push(results.remove(1));
        Ok(operands)
    }

    fn results(&self, device: &Device) -> Result<Vec<Tensor>> {
        Ok(vec![device.zeros(&[self.0.rows(), 3 * self.0.width()])?])
    }

    fn kernel<'a>(&self, operands: &'a [Tensor], results: &'a [Tensor]) -> AttentionBackwardKey<'a> {
        let [qkv, _, lse, dy, delta] = operands else { unreachable!("as above") };
        let Heads { batch, tokens, heads, .. } = self.0;
        let keys = Keys::Tokens { dqkv: &results[0] };
        AttentionBackwardKey { qkv, dy, lse, delta, keys, batch, tokens, heads }
    }

    fn bound(&self, _: bool) -> f64 {
        2.0 * self.0.bound()
    }
}

/// A tile on the diagonal of so many features' Gram matrix.
pub(super) struct Statistics {
    pub features: usize,
}

impl Subject for Statistics {
    type Kernel<'a> = Gram<'a>;

    fn operands(&self, device: &Device) -> Result<Vec<Tensor>> {
        let x = random(device, 1, &[SAMPLES, self.features], 1.0)?;
        let units = device.reals(&[2, self.features])?;
        device.run(&ColumnUnit { x: &x, start: 0, rows: SAMPLES, units: &units })?;
        Ok(vec![x, units])
    }

    fn results(&self, device: &Device) -> Result<Vec<Tensor>> {
        let side = tiles::side(self.features);
        Ok(vec![device.zeros(&[2, side, side])?])
    }

    fn kernel<'a>(&self, operands: &'a [Tensor], results: &'a [Tensor]) -> Gram<'a> {
        let [p, units] = operands else { unreachable!("as above") };
        Gram { p, start: 0, samples: SAMPLES, units, tile: &results[0], row0: 0, col0: 0 }
    }

    /// The first part of a pair is rounded once.
    fn bound(&self, _: bool) -> f64 {
        rounding(1)
    }
}

/// Rows of the solver times a tile of the scaled Gram matrix.
pub(super) struct Scaled {
    pub features: usize,
    pub classes: usize,
    pub transposed: bool,
}

impl Subject for Scaled {
    type Kernel<'a> = PairProduct<'a>;

    fn operands(&self, device: &Device) -> Result<Vec<Tensor>> {
        let &Self { features, classes, .. } = self;
        let side = tiles::side(features);
        // 9 bits before the point and as many behind.
        let x: Vec<f32> = numbers(device, 1, &[classes, features], 1.0)
            .into_iter()
            .map(|x| (x * 262_144.0).round() / 512.0)
            .collect();
        let mut tile = numbers(device, 2, &[2, side, side], 1.0);
        tile[side * side..].iter_mut().for_each(|low| *low *= 2e-8);
        let mut diagonal = vec![1.0; 2 * features];
        diagonal[features..].fill(3e-8);
        Ok(vec![
            device.upload(&x, &[classes, features])?,
            device.upload(&tile, &[2, side, side])?,
            device.upload(&vec![1.0f32; features], &[features])?,
            device.upload::<f32>(&diagonal, &[2, features])?,
        ])
    }

    fn results(&self, device: &Device) -> Result<Vec<Tensor>> {
        Ok(vec![device.zeros(&[2, self.classes, self.features])?])
    }

    fn kernel<'a>(&self, operands: &'a [Tensor], results: &'a [Tensor]) -> PairProduct<'a> {
        let [x, tile, scale, diagonal] = operands else { unreachable!("as above") };
        PairProduct { x, tile, row0: 0, col0: 0, scale, diagonal, transposed: self.transposed, y: &results[0] }
    }

    /// The first part of a pair is rounded once.
    fn bound(&self, _: bool) -> f64 {
        rounding(1)
    }
}
