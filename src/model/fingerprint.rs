//! What made a set of random features, as hashes: statistics may be joined only if these agree.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Result;
use crate::model::network::Network;
use crate::model::noise::MixtureSource;

/// Each part of the map from images to random features; numbers as their SHA-256, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// How images are seen: size, crop, normalisation. Empty in files of before it counted.
    #[serde(default)]
    pub images: String,
    /// Weights of the ViT.
    pub backbone: String,
    /// Noise modules, their mixture and the trained norms; `none` while there is no module.
    pub noise: String,
    /// R.
    pub random: String,
}

/// A hash of named numbers in single precision, which is what devices compute with.
#[derive(Clone, Debug, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    pub fn add(&mut self, name: &str, shape: &[usize], data: &[f64]) {
        self.0.update(format!("{name} {shape:?}\n"));
        // In pieces that stay in cache: hashing number by number takes many times as long.
        for piece in data.chunks(1 << 10) {
            let bytes: Vec<u8> = piece.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect();
            self.0.update(&bytes);
        }
    }

    pub fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Fingerprint {
    /// The first part that differs, and what must agree for it not to.
    pub fn difference(&self, other: &Self) -> Option<(&'static str, &'static str)> {
        if self.images != other.images {
            return Some(("views of the images", "the same image_size, fit, crop_pct and backbone"));
        }
        if self.backbone != other.backbone {
            return Some(("backbones", "the same weights and f16_weights"));
        }
        if self.noise != other.noise {
            return Some(("noise modules", "no noise, or the same modules"));
        }
        (self.random != other.random).then_some(("random features", "the same seed and buffer_size"))
    }
}

impl Network {
    /// The fingerprint of the network as it is, for images that are seen as `images` says.
    ///
    /// # Errors
    /// Device errors.
    pub async fn fingerprint(&self, images: String) -> Result<Fingerprint> {
        let mut random = Hasher::default();
        for random_of in [Some(&self.random), self.anchor.as_ref().map(|anchor| &anchor.random)].into_iter().flatten() {
            random.add("R", random_of.shape(), &self.device.read::<f64>(random_of).await?);
        }
        let mut noise = String::from("none");
        if self.noise.modules > 0 {
            let mut hasher = Hasher::default();
            for (j, layer) in self.noise.adapted() {
                let (kind, mixture) = match &layer.mixture {
                    Some(MixtureSource::Logits(a)) => ("logits", Some(a)),
                    Some(MixtureSource::Weights(omega)) => ("weights", Some(omega)),
                    None => ("none", None),
                };
                let branch = layer.branch.as_ref().map(|b| [("M", &b.weight), ("c", &b.bias)]);
                let named = [("projections", &layer.proj), ("phi", &layer.phi)].into_iter();
                for (name, tensor) in named.chain(mixture.map(|t| (kind, t))).chain(branch.into_iter().flatten()) {
                    hasher.add(&format!("{j} {name}"), tensor.shape(), &self.device.read::<f64>(tensor).await?);
                }
            }
            for (name, tensor) in self.vit.norm_parameters(self.noise.first) {
                hasher.add(&name, tensor.shape(), &self.device.read::<f64>(tensor).await?);
            }
            noise = hasher.finish();
        }
        Ok(Fingerprint { images, backbone: self.vit.fingerprint.clone(), noise, random: random.finish() })
    }
}
