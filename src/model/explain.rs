//! Where in an image a class is seen: attention rollout and Grad-CAM.

use std::ops::Range;

use faer::Accum;

use crate::autograd::{Linear, Tape, Var};
use crate::device::Tensor;
use crate::linalg::{matrix, matrix_mut, product};
use crate::model::architecture::Pooling;
use crate::model::network::{Behind, Network};
use crate::model::vit::{Beside, Vit};
use crate::{Error, Result};

/// The most bytes that attention may take in host memory.
const MOST_BYTES: u64 = 4 << 30;

/// What a backbone and the scores behind it make of one image.
#[derive(Clone, Debug)]
pub struct Explained {
    /// f [1, d1].
    pub features: Tensor,
    /// One of every class.
    pub scores: Vec<f64>,
    /// The class that is explained.
    pub class: usize,
    /// One number a patch, row after row; together with what falls on tokens that are no patches they are 1.
    ///
    /// With A the mean of the attention probabilities over the heads of a block, `A' = (A + I) / 2` (its rows are sums of 1 as
    /// they are) and `R = A'_L .. A'_1` over all blocks: the row of R that the feature is made of, that of the class token, or
    /// the mean of those of all patches. Source: attention rollout, Abnar and Zuidema 2020 (arXiv:2005.00928).
    pub rollout: Vec<f64>,
    /// One number a patch, row after row, none below 0, in the unit of a score.
    ///
    /// With a the tokens of the patches behind the first norm of the last block: `relu(sum_k w_k a_k)`,
    /// `w_k = mean over patches of d score / d a_k`. Source: Selvaraju et al. 2017 (arXiv:1610.02391); the layer is the one
    /// that pytorch-grad-cam takes of ViTs, since no gradient reaches patches behind the last block where a class token
    /// is the feature.
    pub grad_cam: Vec<f64>,
}

/// Explains the score of `class`, or of the class with the highest one, for an image [1, C, H, W]. `behind(tape, j, x)` makes
/// of the tokens x [N, d1] behind block j what goes on to the next one, `head` makes scores [1, classes] of features
/// [1, d1].
///
/// # Errors
/// [`Error::Shape`] where it is not one image, or there is no such class; device errors.
pub async fn explain(
    vit: &Vit,
    image: &Tensor,
    class: Option<usize>,
    behind: impl Fn(&mut Tape, usize, &Var) -> Result<Var>,
    head: impl FnOnce(&mut Tape, &Var) -> Result<Var>,
) -> Result<Explained> {
    let (device, sizes, tokens) = (vit.device(), vit.architecture.sizes, vit.architecture.tokens());
    let (front, last) = (vit.architecture.front(), sizes.depth - 1);
    let bytes = (8 * (sizes.depth + 1) * tokens) as u64 * tokens as u64;
    if bytes > MOST_BYTES {
        return Err(Error::Limit {
            what: "the attention of every block".into(),
            subject: "explain".into(),
            needed: bytes,
            limit: MOST_BYTES,
            way_out: "use a smaller image_size",
        });
    }
    if image.shape().first() != Some(&1) {
        return Err(Error::shape("explain", "image", [1, sizes.channels, sizes.image, sizes.image], image.shape()));
    }
    let mut plain = Tape::new(device, []);
    let (mut x, mut attention) = (vit.embedded(&mut plain, image)?, Vec::new());
    for j in 0..last {
        let normed = vit.first_normed(&mut plain, j, &x)?;
        let qkv = vit.qkv(&mut plain, j, &normed, 0)?;
        let y = vit.block_from(&mut plain, j, &x, &qkv, Beside::default())?;
        x = behind(&mut plain, j, &y)?;
        attention.push(probabilities(&device.read::<f64>(qkv.value()).await?, tokens, sizes.heads));
    }
    let normed = vit.first_normed(&mut plain, last, &x)?.value().clone();
    let mut tape = Tape::new(device, [&normed]);
    let seen = tape.var(&normed);
    let qkv = vit.qkv(&mut tape, last, &seen, 0)?;
    attention.push(probabilities(&device.read::<f64>(qkv.value()).await?, tokens, sizes.heads));
    let y = vit.block_from(&mut tape, last, &x, &qkv, Beside::default())?;
    let y = behind(&mut tape, last, &y)?;
    let features = vit.features_from(&mut tape, sizes.depth, y, |_, _, x| Ok(x))?;
    let logits = head(&mut tape, &features)?;
    let scores: Vec<f64> = device.read(logits.value()).await?;
    let best = || (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(b.cmp(&a)));
    let class = class.or_else(best).filter(|&class| class < scores.len());
    let class = class.ok_or_else(|| Error::shape("explain", "class", 0..scores.len(), class))?;
    let one = device
        .upload(&(0..scores.len()).map(|c| f64::from(u8::from(c == class))).collect::<Vec<_>>(), &[1, scores.len()])?;
    let (one, score) = (tape.var(&one), device.zeros(&[1])?);
    let root = tape.inner_loss(&logits, &one, 1.0, (&score, 0))?;
    let gradients = tape.backward(&root)?;
    let gradient: Vec<f64> = match gradients.of(&normed) {
        Some(gradient) => device.read(gradient).await?,
        None => vec![0.0; normed.len()],
    };
    let activations: Vec<f64> = device.read(&normed).await?;
    let start = match vit.architecture.style.pooling {
        Pooling::Token => 0..1,
        Pooling::Average => front..tokens,
    };
    Ok(Explained {
        rollout: rollout(&attention, tokens, start).split_off(front),
        grad_cam: grad_cam(&activations[front * sizes.dim..], &gradient[front * sizes.dim..], sizes.dim),
        features: features.value().clone(),
        scores,
        class,
    })
}

/// [`explain`] of the scores `f H`, H [d1, classes], with nothing behind the blocks.
///
/// # Errors
/// See [`explain`].
pub async fn explain_frozen(vit: &Vit, image: &Tensor, class: Option<usize>, head: &Tensor) -> Result<Explained> {
    let scores = |tape: &mut Tape, f: &Var| {
        let head = tape.var(head);
        tape.linear(f, Linear::new(&head))
    };
    explain(vit, image, class, |_, _, x| Ok(x.clone()), scores).await
}

impl Network {
    /// [`explain`] of the scores `p W` that W^T [classes, m] gives random features p; beside an anchor `floor` are its features
    /// [1, d1], through which no gradient flows.
    ///
    /// # Errors
    /// See [`explain`].
    pub async fn explain(
        &self,
        image: &Tensor,
        behind: Behind<'_>,
        floor: Option<&Tensor>,
        weights: &Tensor,
        class: Option<usize>,
    ) -> Result<Explained> {
        let layer = |tape: &mut Tape, j: usize, x: &Var| self.layer(tape, j, x, behind);
        let head = |tape: &mut Tape, f: &Var| {
            let (p, weights) = (self.random_features(tape, f, floor)?, tape.var(weights));
            tape.linear(&p, Linear { transposed: true, ..Linear::new(&weights) })
        };
        explain(&self.vit, image, class, layer, head).await
    }
}

/// The mean over heads of `softmax(q k^T / sqrt dh)` [N, N], from q | k | v [N, 3 d1].
fn probabilities(qkv: &[f64], tokens: usize, heads: usize) -> Vec<f64> {
    let width = qkv.len() / tokens;
    let (dim, dh) = (width / 3, width / 3 / heads);
    let (mut mean, mut scores) = (vec![0.0; tokens * tokens], vec![0.0; tokens * tokens]);
    for head in 0..heads {
        let part = |first: usize| matrix(&qkv[first + head * dh..], tokens, dh, width);
        let into = matrix_mut(&mut scores, tokens, tokens, tokens);
        product(into, Accum::Replace, part(0), part(dim).transpose(), 1.0 / (dh as f64).sqrt());
        for (mean, scores) in mean.chunks_mut(tokens).zip(scores.chunks_mut(tokens)) {
            let most = scores.iter().copied().fold(f64::MIN, f64::max);
            scores.iter_mut().for_each(|x| *x = (*x - most).exp());
            let sum = scores.iter().sum::<f64>() * heads as f64;
            mean.iter_mut().zip(scores).for_each(|(mean, x)| *mean += *x / sum);
        }
    }
    mean
}

/// `mean over the rows start of (A'_L .. A'_1)`, A' = (A + I) / 2, for the attention A [N, N] of every block.
fn rollout(attention: &[Vec<f64>], tokens: usize, start: Range<usize>) -> Vec<f64> {
    let share = 1.0 / start.len() as f64;
    let mut row: Vec<f64> = (0..tokens).map(|t| if start.contains(&t) { share } else { 0.0 }).collect();
    for mixing in attention.iter().rev() {
        let mut before: Vec<f64> = row.iter().map(|x| 0.5 * x).collect();
        for (x, from) in row.iter().zip(mixing.chunks(tokens)) {
            before.iter_mut().zip(from).for_each(|(sum, a)| *sum += 0.5 * x * a);
        }
        row = before;
    }
    row
}

/// `relu(sum_k w_k a_tk)` of every patch t, w the mean of the gradients over patches; both [patches, d1].
fn grad_cam(activations: &[f64], gradients: &[f64], dim: usize) -> Vec<f64> {
    let patches = activations.len() / dim;
    let mut weights = vec![0.0; dim];
    for row in gradients.chunks(dim) {
        weights.iter_mut().zip(row).for_each(|(w, g)| *w += g / patches as f64);
    }
    let of = |row: &[f64]| row.iter().zip(&weights).map(|(a, w)| a * w).sum::<f64>().max(0.0);
    activations.chunks(dim).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two tokens by hand: scores 0 and ln 3 make shares 1/4 and 3/4.
    #[test]
    fn probabilities_are_those_of_the_scores() {
        let x = 3f64.ln();
        // q | k | v of one head of width 1: token 0 sees (0, x), token 1 sees nothing in particular.
        let qkv = [1.0, 0.0, 9.0, 0.0, x, 9.0];
        let got = probabilities(&qkv, 2, 1);
        for (got, want) in got.iter().zip([0.25, 0.75, 0.5, 0.5]) {
            assert!((got - want).abs() < 1e-15, "{got}");
        }
        // Two heads: the second one, whose queries are 0, sees all tokens alike; width 2 in all.
        let qkv = [1.0, 0.0, 0.0, 5.0, 9.0, 9.0, 0.0, 0.0, x, 7.0, 9.0, 9.0];
        let got = probabilities(&qkv, 2, 2);
        for (got, want) in got.iter().zip([0.375, 0.625, 0.5, 0.5]) {
            assert!((got - want).abs() < 1e-15, "{got}");
        }
    }

    /// A row of the product of two blocks, the earlier one to the right.
    #[test]
    fn a_rollout_is_a_row_of_the_product() {
        let [first, second] = [vec![0.2, 0.8, 0.6, 0.4], vec![1.0, 0.0, 0.5, 0.5]];
        // A' of the second is (1, 0; 0.25, 0.75), of the first (0.6, 0.4; 0.3, 0.7).
        let got = rollout(&[first, second], 2, 1..2);
        for (got, want) in got.iter().zip([0.25 * 0.6 + 0.75 * 0.3, 0.25 * 0.4 + 0.75 * 0.7]) {
            assert!((got - want).abs() < 1e-15, "{got}");
        }
    }

    #[test]
    fn a_class_activation_map_weighs_channels_by_their_mean_gradient() {
        let (activations, gradients) = ([1.0, 2.0, 3.0, -1.0], [2.0, 0.0, 0.0, -4.0]);
        // w = (1, -2): 1 - 4 < 0, and 3 + 2.
        assert_eq!(grad_cam(&activations, &gradients, 2), [0.0, 5.0]);
    }
}
