//! What of a backbone is trained: all of its tensors, or LayerNorms of its own.

use super::{Norm, Places, Vit, transpose};
use crate::Result;
use crate::device::Tensor;
use crate::model::state::take;
use crate::store::Tree;

/// A tensor of a backbone to be trained.
#[derive(Clone, Debug)]
pub struct Trainable<'a> {
    /// As in timm.
    pub name: String,
    pub tensor: &'a Tensor,
    /// Whether timm has it as [out, in], where the device has [in, out].
    pub transposed: bool,
}

impl Vit {
    /// Every tensor of a backbone that [`Vit::load_trainable`] made, named as in timm, for the size of image that it has;
    /// `fc1_g` and `fc1_x` of a gated MLP stand together as `fc1`.
    pub fn trainable(&self) -> Vec<Trainable<'_>> {
        let (parts, mut all) = (&self.parts, Vec::new());
        let mut add = |name: &str, tensor, transposed| all.push(Trainable { name: name.into(), tensor, transposed });
        if let Places::Apart { class_token, registers, position, bias } = &parts.places {
            for (name, x) in [
                ("cls_token", class_token),
                ("reg_token", registers),
                ("pos_embed", position),
                ("patch_embed.proj.bias", bias),
            ] {
                x.iter().for_each(|x| add(name, x, false));
            }
        }
        add("patch_embed.proj.weight", &parts.patch, true);
        for (j, block) in parts.blocks.iter().enumerate() {
            let scales = self.architecture.scales().unwrap_or_default();
            let maps = [
                ("attn.qkv", &block.qkv, ""),
                ("attn.proj", &block.proj, scales[0]),
                ("mlp.fc1", &block.fc1, ""),
                ("mlp.fc2", &block.fc2, scales[1]),
            ];
            for (name, map, scale) in maps {
                add(&format!("blocks.{j}.{name}.weight"), &map.weight, true);
                match &map.bias[..] {
                    [bias] => add(&format!("blocks.{j}.{name}.bias"), bias, false),
                    // Keys have none.
                    [q, _, v] => [("q", q), ("v", v)]
                        .into_iter()
                        .for_each(|(x, bias)| add(&format!("blocks.{j}.attn.{x}_bias"), bias, false)),
                    _ => {}
                }
                map.scale.iter().for_each(|gamma| add(&format!("blocks.{j}.{scale}"), gamma, false));
            }
        }
        if let Some(norm) = &parts.norm_pre {
            add("norm_pre.weight", &norm.weight, false);
            add("norm_pre.bias", &norm.bias, false);
        }
        self.norm_parameters(0).into_iter().for_each(|(name, x)| add(&name, x, false));
        all
    }

    /// The tensors of [`Vit::trainable`] by their names, [out, in] as timm has them.
    ///
    /// # Errors
    /// Device errors.
    pub async fn state(&self) -> Result<Tree> {
        let mut tree = Tree::new();
        for Trainable { name, tensor, transposed } in self.trainable() {
            let (mut shape, mut data) = (tensor.shape().to_vec(), self.device.read::<f64>(tensor).await?);
            if transposed {
                data = transpose(&data, tensor.rows(), tensor.cols());
                shape.reverse();
            }
            if self.device.is_double() {
                tree.put(&name, &shape, &data);
            } else {
                tree.put(&name, &shape, &data.into_iter().map(|x| x as f32).collect::<Vec<_>>());
            }
        }
        Ok(tree)
    }

    /// What [`Vit::state`] gave, into the tensors that are there: other copies of this backbone have them, too.
    ///
    /// # Errors
    /// [`Error::Store`](crate::Error::Store) where it does not fit.
    pub fn restore(&self, mut tree: Tree) -> Result<()> {
        for Trainable { name, tensor, transposed } in self.trainable() {
            let mut shape = tensor.shape().to_vec();
            if transposed {
                shape.reverse();
            }
            let mut data = take(&mut tree, &name, &shape)?;
            if transposed {
                data = transpose(&data, tensor.cols(), tensor.rows());
            }
            self.device.write(tensor, &data)?;
        }
        tree.finish()
    }

    /// Scale and shift of the LayerNorms from block `first` on: norm1 and norm2 of each, then those behind the last one, named
    /// as in timm.
    pub fn norm_parameters(&self, first: usize) -> Vec<(String, &Tensor)> {
        let mut norms = Vec::new();
        for (j, block) in self.parts.blocks.iter().enumerate().skip(first) {
            norms.push((format!("blocks.{j}.norm1"), &block.norm1));
            norms.push((format!("blocks.{j}.norm2"), &block.norm2));
        }
        norms.extend(self.parts.norm.iter().map(|norm| ("norm".into(), norm)));
        norms.extend(self.parts.fc_norm.iter().map(|norm| ("fc_norm".into(), norm)));
        let both = norms
            .into_iter()
            .map(|(name, norm)| [(format!("{name}.weight"), &norm.weight), (format!("{name}.bias"), &norm.bias)]);
        both.flatten().collect()
    }

    /// The same backbone with LayerNorms of its own from block `first` on, which can be trained apart.
    ///
    /// # Errors
    /// Allocation failures.
    pub fn with_own_norms(&self, first: usize) -> Result<Self> {
        let mut vit = self.clone();
        let own = |norm: &mut Norm| -> Result<()> {
            for part in [&mut norm.weight, &mut norm.bias] {
                let copy = self.device.reals(part.shape())?;
                self.device.copy(part, 0, &copy, 0, part.len())?;
                *part = copy;
            }
            Ok(())
        };
        let blocks = vit.parts.blocks.iter_mut().skip(first);
        let norms = blocks.flat_map(|block| [&mut block.norm1, &mut block.norm2]);
        norms.chain(&mut vit.parts.norm).chain(&mut vit.parts.fc_norm).try_for_each(own)?;
        Ok(vit)
    }
}
