//! What a file of weights holds, before anything runs.

use serde::Serialize;

use crate::Result;
use crate::model::vit::Architecture;
use crate::protocol::build;

/// A backbone as its file tells it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// Its sizes and parts, and how it wants its images.
    pub architecture: Architecture,
    /// Tokens of an image, class token and registers among them.
    pub tokens: usize,
    /// Name and shape of every tensor of the backbone; those of all blocks are alike, and stand there once as `blocks.J`.
    pub tensors: Vec<(String, Vec<usize>)>,
    /// Names of those that would be left aside.
    pub left_aside: Vec<String>,
    /// Numbers in all tensors of the backbone.
    pub parameters: usize,
    /// Bytes of the weights on a device, in single precision and with `f16_weights`.
    pub weight_bytes: [usize; 2],
    /// Bytes that the tokens of one image take at the widest place of a forward pass.
    pub image_bytes: usize,
    /// Operations of the products of one image, forward; a multiplication and an addition are two.
    pub flops: f64,
}

/// Inspects `weights` as a setting of a run names them, for images of `image` pixels or those that they were made for.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io); [`Error::Weights`](crate::Error::Weights) where they are no backbone, or tensors are
/// missing or of other shapes: all of them are named.
pub fn inspect(weights: &str, arch: &str, image: Option<usize>) -> Result<Inspection> {
    let (weights, told) = build::backbone(weights, arch)?;
    let architecture = Architecture::of(&weights, told, image)?;
    let left_aside = architecture.check(&weights)?;
    let once = |(name, shape): (String, Vec<usize>)| match name.strip_prefix("blocks.") {
        None => Some((name, shape)),
        Some(inside) => inside.strip_prefix("0.").map(|part| (format!("blocks.J.{part}"), shape)),
    };
    Ok(Inspection {
        tokens: architecture.tokens(),
        tensors: architecture.tensors().into_iter().filter_map(once).collect(),
        left_aside,
        parameters: architecture.parameters(),
        weight_bytes: [false, true].map(|halves| architecture.weight_bytes(halves)),
        image_bytes: architecture.image_bytes(),
        flops: architecture.flops(),
        architecture,
    })
}
