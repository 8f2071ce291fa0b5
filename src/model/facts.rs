//! What no tensor's shape tells of a ViT: from the file's metadata, from timm's `config.json`, or known of a family by its
//! name.

use serde_json::{Map, Value};

use crate::Result;
use crate::model::architecture::{Act, Pooling};
use crate::model::weights::Weights;

/// Each where a source tells it; keys are those of timm's constructors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Pixels along the images that the weights were made for.
    pub image: Option<usize>,
    pub heads: Option<usize>,
    /// That of all norms.
    pub eps: Option<f32>,
    /// Of MLPs without a gate.
    pub act: Option<Act>,
    /// Of packed gates, where a model's own default may be another than the family's.
    pub gate: Option<Act>,
    pub pooling: Option<Pooling>,
    /// Of the rotary embedding.
    pub temperature: Option<f64>,
    pub mean: Option<Vec<f64>>,
    pub std: Option<Vec<f64>>,
}

const IMAGENET: [[f64; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];
const CLIP: [[f64; 3]; 2] = [[0.481_454_66, 0.457_827_5, 0.408_210_73], [0.268_629_54, 0.261_302_58, 0.275_777_11]];
const HALF: [[f64; 3]; 2] = [[0.5; 3]; 2];

/// Families by a part of timm's name, the first that fits: eps, act, pooling, mean and std.
const FAMILIES: [(&str, f32, Act, Pooling, [[f64; 3]; 2]); 9] = [
    ("dinov3", 1e-5, Act::Gelu, Pooling::Average, IMAGENET),
    ("quickgelu", 1e-5, Act::QuickGelu, Pooling::Token, CLIP),
    ("clip", 1e-5, Act::Gelu, Pooling::Token, CLIP),
    ("dino", 1e-6, Act::Gelu, Pooling::Token, IMAGENET),
    ("deit", 1e-6, Act::Gelu, Pooling::Token, IMAGENET),
    (".mae", 1e-6, Act::Gelu, Pooling::Token, IMAGENET),
    ("_gap_", 1e-6, Act::Gelu, Pooling::Average, HALF),
    ("flexivit", 1e-6, Act::Gelu, Pooling::Token, HALF),
    ("vit", 1e-6, Act::Gelu, Pooling::Token, HALF),
];

/// Parts of the names of relatives that compute something else.
const OTHERS: [&str; 8] = ["eva", "beit", "siglip", "samvit", "relpos", "vitamin", "naflex", "rope_"];

/// Heads of the standard widths, from Ti to 7B; those of timm's other sizes have 64 columns.
fn heads(name: &str, width: usize) -> Option<usize> {
    match width {
        1280 if name.contains("dinov3") => Some(20),
        1152 | 1280 | 1408 | 1664 => Some(16),
        4096 => Some(32),
        _ => (width > 0 && width.is_multiple_of(64)).then_some(width / 64),
    }
}

impl Facts {
    /// What is known of a family by timm's name of the architecture; nothing of an unknown one.
    pub fn family(name: &str, width: usize) -> Self {
        let Some((part, eps, act, pooling, [mean, std])) = FAMILIES.into_iter().find(|f| name.contains(f.0)) else {
            return Self::default();
        };
        let rotary = part == "dinov3";
        Self {
            image: rotary.then_some(256),
            heads: heads(name, width),
            eps: Some(eps),
            act: Some(act),
            // That of the only one with gates, giant.
            gate: name.contains("dinov2").then_some(Act::Silu),
            pooling: Some(pooling),
            temperature: rotary.then_some(100.0),
            // One number for all channels, where they are equal, fits any number of them.
            mean: Some(if mean == HALF[0] { vec![0.5] } else { mean.into() }),
            std: Some(if std == HALF[1] { vec![0.5] } else { std.into() }),
        }
    }

    /// These, and those of `other` where these are silent.
    pub fn or(self, other: Self) -> Self {
        Self {
            image: self.image.or(other.image),
            heads: self.heads.or(other.heads),
            eps: self.eps.or(other.eps),
            act: self.act.or(other.act),
            gate: self.gate.or(other.gate),
            pooling: self.pooling.or(other.pooling),
            temperature: self.temperature.or(other.temperature),
            mean: self.mean.or(other.mean),
            std: self.std.or(other.std),
        }
    }

    /// What `args`, by timm's names, say; `w` names itself in errors.
    ///
    /// # Errors
    /// [`Error::Weights`](crate::Error::Weights) naming a key whose value is of another kind or not offered.
    pub fn of_args(w: &Weights, args: &Map<String, Value>) -> Result<Self> {
        let bad = |key: &str, value: &Value, needed: &str| {
            w.error(format!("it is said to have `{key}` = {value}, {needed} is needed"))
        };
        let first = |keys: &[&'static str]| keys.iter().find_map(|&k| Some((k, args.get(k).filter(|v| !v.is_null())?)));
        let number = |keys: &[&'static str]| match first(keys) {
            None => Ok(None),
            Some((key, value)) => match value.as_f64() {
                Some(x) => Ok(Some(x)),
                None => Err(bad(key, value, "a number")),
            },
        };
        let whole = |keys: &[&'static str]| match number(keys)? {
            Some(x) if !(x >= 0.0 && x < f64::from(u32::MAX) && x.fract() == 0.0) => {
                Err(bad(keys[0], &x.into(), "a whole number"))
            }
            x => Ok(x.map(|x| x as usize)),
        };
        let numbers = |key: &'static str| match args.get(key).filter(|v| !v.is_null()) {
            None => Ok(None),
            Some(value) => {
                let all = value.as_array().map_or_else(|| vec![value], |all| all.iter().collect());
                match all.into_iter().map(Value::as_f64).collect::<Option<Vec<_>>>() {
                    Some(all) => Ok(Some(all)),
                    None => Err(bad(key, value, "a number or a list of them")),
                }
            }
        };
        let act = match first(&["act_layer"]) {
            None => None,
            Some((key, value)) => match value.as_str() {
                Some("gelu") => Some(Act::Gelu),
                Some("quick_gelu") => Some(Act::QuickGelu),
                Some("silu") => Some(Act::Silu),
                _ => return Err(bad(key, value, "gelu, quick_gelu or silu")),
            },
        };
        let pooling = match first(&["global_pool"]) {
            None => None,
            Some((key, value)) => match value.as_str() {
                Some("token") => Some(Pooling::Token),
                Some("avg") => Some(Pooling::Average),
                _ => return Err(bad(key, value, "token or avg")),
            },
        };
        Ok(Self {
            image: whole(&["image_size", "img_size"])?,
            heads: whole(&["num_heads"])?,
            eps: number(&["layernorm_eps", "norm_eps"])?.map(|x| x as f32),
            act,
            gate: act,
            pooling,
            temperature: number(&["rope_temperature"])?,
            mean: numbers("mean")?,
            std: numbers("std")?,
        })
    }

    /// Everything that is told of `w`: by its metadata, then by its `config.json`, then by the family of `arch`, or of the
    /// name that one of them gives.
    ///
    /// # Errors
    /// [`Error::Weights`](crate::Error::Weights) where they are not understood or name an architecture that is not offered.
    pub fn of(w: &Weights, arch: Option<&str>) -> Result<Self> {
        let metadata: Map<_, _> = w.metadata.iter().map(|(key, text)| (key.clone(), value(text))).collect();
        let config = w.config.clone().unwrap_or_default();
        let part = |key: &str| config.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
        let mut args = part("model_args");
        if let Some(pool) = config.get("global_pool") {
            args.entry("global_pool").or_insert_with(|| pool.clone());
        }
        for (key, value) in part("pretrained_cfg") {
            match (key.as_str(), value.get(1)) {
                ("mean" | "std", _) => drop(args.insert(key, value)),
                ("input_size", Some(side)) => drop(args.entry("img_size").or_insert_with(|| side.clone())),
                _ => {}
            }
        }
        let named = |map: &Map<String, Value>| map.get("architecture").and_then(Value::as_str).map(str::to_string);
        let name = arch.map(str::to_string).or_else(|| named(&metadata)).or_else(|| named(&config)).unwrap_or_default();
        let dinov3 = name.contains("dinov3");
        if let Some(part) = OTHERS.iter().find(|part| name.contains(**part) && !dinov3) {
            return Err(w.error(format!("`{name}` is not offered: `{part}` computes something else than a ViT")));
        }
        let width = w.shape("patch_embed.proj.weight").ok().and_then(|s| s.first().copied()).unwrap_or(0);
        let family = Self::family(&name, width);
        if arch.is_some() && family == Self::default() {
            return Err(w.error(format!("`{name}` is no architecture of timm's ViTs, such as vit_base_patch16_224")));
        }
        Ok(Self::of_args(w, &metadata)?.or(Self::of_args(w, &args)?).or(family))
    }
}

/// Metadata are texts: a number, several with commas between them, or a word.
fn value(text: &str) -> Value {
    let numbers: Option<Vec<Value>> =
        text.split(',').map(|x| x.trim().parse::<f64>().ok().filter(|x| x.is_finite()).map(Value::from)).collect();
    match numbers {
        Some(mut one) if one.len() == 1 => one.remove(0),
        Some(all) => all.into(),
        None => text.into(),
    }
}
