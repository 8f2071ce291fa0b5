//! The tensors of an architecture: which must be in a file, and what a file holds beside them.

use crate::Result;
use crate::model::architecture::{Architecture, Mlp, Position, QkvBias};
use crate::model::weights::Weights;

/// Beginnings of names that are part of what a backbone computes: others, such as `head.`, do not change its features.
const PARTS: [&str; 12] = [
    "blocks.",
    "patch_embed.",
    "norm.",
    "norm_pre.",
    "fc_norm.",
    "cls_token",
    "dist_token",
    "reg_token",
    "pos_embed",
    "attn_pool.",
    "rel_pos",
    "rope.",
];

impl Architecture {
    /// Names of the two scales of a block.
    pub fn scales(&self) -> Option<[&'static str; 2]> {
        let names = if self.style.eva { ["gamma_1", "gamma_2"] } else { ["ls1.gamma", "ls2.gamma"] };
        self.sizes.layer_scale.then_some(names)
    }

    /// Name and shape of every tensor.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (c, s) = (&self.sizes, &self.style);
        let (d, mut all) = (c.dim, Vec::new());
        let mut add = |name: String, shape: &[usize]| all.push((name, shape.to_vec()));
        if s.class_token {
            add("cls_token".into(), &[1, 1, d]);
        }
        if c.registers > 0 {
            add("reg_token".into(), &[1, c.registers, d]);
        }
        if let Position::Learned { grid, front } = s.position {
            add("pos_embed".into(), &[1, front + grid * grid, d]);
        }
        add("patch_embed.proj.weight".into(), &[d, c.channels, c.patch, c.patch]);
        if s.patch_bias {
            add("patch_embed.proj.bias".into(), &[d]);
        }
        let norms = [("norm_pre", s.norm_pre), ("norm", s.norm), ("fc_norm", s.fc_norm)];
        for name in norms.iter().filter(|n| n.1).map(|n| n.0) {
            add(format!("{name}.weight"), &[d]);
            add(format!("{name}.bias"), &[d]);
        }
        for j in 0..c.depth {
            let mut add = |name: &str, shape: &[usize]| add(format!("blocks.{j}.{name}"), shape);
            for norm in ["norm1", "norm2"] {
                add(&format!("{norm}.weight"), &[d]);
                add(&format!("{norm}.bias"), &[d]);
            }
            add("attn.qkv.weight", &[3 * d, d]);
            match s.qkv_bias {
                QkvBias::None => {}
                QkvBias::Whole => add("attn.qkv.bias", &[3 * d]),
                QkvBias::QueryValue => ["q", "v"].iter().for_each(|x| add(&format!("attn.{x}_bias"), &[d])),
            }
            let fc1: &[(&str, usize)] = match s.mlp {
                Mlp::Plain { .. } => &[("mlp.fc1", c.mlp)],
                Mlp::Gated { packed: true, .. } => &[("mlp.fc1", 2 * c.mlp)],
                Mlp::Gated { packed: false, .. } => &[("mlp.fc1_g", c.mlp), ("mlp.fc1_x", c.mlp)],
            };
            let ends = [("attn.proj", d, d), ("mlp.fc2", d, c.mlp)];
            for (name, outs, ins) in ends.into_iter().chain(fc1.iter().map(|&(name, outs)| (name, outs, d))) {
                add(&format!("{name}.weight"), &[outs, ins]);
                add(&format!("{name}.bias"), &[outs]);
            }
            self.scales().into_iter().flatten().for_each(|name| add(name, &[d]));
        }
        all
    }

    /// Compares with what a file holds: names of the tensors that would be left aside.
    ///
    /// # Errors
    /// [`Error::Weights`](crate::Error::Weights) that lists every tensor at fault: missing, of another shape, or part of another architecture.
    pub fn check(&self, w: &Weights) -> Result<Vec<String>> {
        let mut wanted: std::collections::BTreeMap<_, _> = self.tensors().into_iter().collect();
        let (mut faults, mut aside) = (Vec::new(), Vec::new());
        for (name, shape, _) in w.iter() {
            match wanted.remove(name) {
                Some(needed) if needed != shape => {
                    faults.push(format!("`{name}` has shape {shape:?}, {needed:?} is needed"));
                }
                Some(_) => {}
                None if PARTS.iter().any(|part| name.starts_with(part)) => {
                    faults.push(format!("`{name}` {shape:?} is no part of this architecture"));
                }
                None => aside.push(name.to_string()),
            }
        }
        faults.extend(wanted.iter().map(|(name, shape)| format!("`{name}` {shape:?} is missing")));
        match faults.len() {
            0 => Ok(aside),
            1 => Err(w.error(faults.remove(0))),
            n => Err(w.error(format!("{n} tensors at fault: {}", faults.join("; ")))),
        }
    }

    /// Numbers of all tensors.
    pub fn parameters(&self) -> usize {
        self.tensors().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    /// Operations of the products of one image, forward, an addition and a multiplication counted as two.
    pub fn flops(&self) -> f64 {
        let c = &self.sizes;
        let (d, n, mlp) = (c.dim as f64, self.tokens() as f64, c.mlp as f64);
        let mlps = if matches!(self.style.mlp, Mlp::Gated { .. }) { 3.0 } else { 2.0 };
        let embed = (c.grid().pow(2) * c.channels * c.patch * c.patch) as f64 * d;
        2.0 * (embed + c.depth as f64 * n * (4.0 * d * d + mlps * d * mlp + 2.0 * n * d))
    }

    /// Bytes of the weights on a device; matrices of blocks in `halves`, all else in single precision.
    pub fn weight_bytes(&self, halves: bool) -> usize {
        let matrix = |(name, shape): &(String, Vec<usize>)| name.starts_with("blocks.") && shape.len() == 2;
        let all = self.tensors();
        let matrices: usize = all.iter().filter(|t| matrix(t)).map(|t| t.1.iter().product::<usize>()).sum();
        4 * self.parameters() - if halves { 2 * matrices } else { 0 }
    }

    /// Bytes that the tokens of one image take in a forward pass at its widest place.
    pub fn image_bytes(&self) -> usize {
        let c = &self.sizes;
        // The residual stream and, beside it, normed tokens with q, k, v, or with the hidden layer of the MLP.
        let hidden = match self.style.mlp {
            Mlp::Plain { .. } => c.mlp,
            Mlp::Gated { .. } => 3 * c.mlp,
        };
        4 * self.tokens() * (2 * c.dim + (4 * c.dim).max(hidden + c.dim))
    }
}
