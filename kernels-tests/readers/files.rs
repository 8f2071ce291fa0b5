//! Small valid files of every kind, with their structure in view.

use std::collections::BTreeMap;

use minoise::config::Config;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A safetensors file before it is written; what the header says need not fit the data.
#[derive(Clone)]
pub struct File {
    pub metadata: Vec<(String, String)>,
    pub tensors: Vec<Entry>,
}

#[derive(Clone)]
pub struct Entry {
    pub name: String,
    pub dtype: &'static str,
    pub shape: Vec<u64>,
    pub data: Vec<u8>,
}

impl Entry {
    pub fn width(&self) -> usize {
        match self.dtype {
            "F64" | "I64" | "U64" => 8,
            "F32" | "I32" => 4,
            "F16" | "BF16" => 2,
            _ => 1,
        }
    }

    /// Makes the data as long as shape and type say, where that is not much.
    pub fn fit(&mut self) {
        let size = self.shape.iter().try_fold(self.width() as u64, |size, &x| size.checked_mul(x));
        if let Some(size) = size.filter(|&size| size <= 1 << 14) {
            let old = if self.data.is_empty() { vec![0] } else { std::mem::take(&mut self.data) };
            self.data = old.into_iter().cycle().take(size as usize).collect();
        }
    }
}

impl File {
    fn new(metadata: &[(&str, String)]) -> Self {
        let metadata = metadata.iter().map(|(key, text)| (key.to_string(), text.clone())).collect();
        Self { metadata, tensors: Vec::new() }
    }

    fn put(&mut self, name: impl Into<String>, dtype: &'static str, shape: &[u64], data: Vec<u8>) {
        self.tensors.push(Entry { name: name.into(), dtype, shape: shape.to_vec(), data });
    }

    /// Numbers in (-1, 1) that differ.
    fn reals(&mut self, name: impl Into<String>, shape: &[u64]) {
        let (n, salt) = (shape.iter().product::<u64>(), 31 * self.tensors.len() as u64);
        let number = |i: u64| ((i * 37 + salt) % 199) as f32 / 100.0 - 0.99;
        self.put(name, "F32", shape, (0..n).flat_map(|i| number(i).to_le_bytes()).collect());
    }

    /// Takes the place of a tensor of this name.
    pub fn integers(&mut self, name: impl Into<String>, values: &[i64]) {
        let name = name.into();
        self.tensors.retain(|tensor| tensor.name != name);
        self.put(name, "I64", &[values.len() as u64], values.iter().flat_map(|x| x.to_le_bytes()).collect());
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut header = serde_json::Map::new();
        let metadata: serde_json::Map<_, _> = self.metadata.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        header.insert("__metadata__".into(), metadata.into());
        let mut at = 0;
        for Entry { name, dtype, shape, data } in &self.tensors {
            let offsets = [at, at + data.len()];
            at = offsets[1];
            header.insert(name.clone(), json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets }));
        }
        let mut text = Value::from(header).to_string().into_bytes();
        text.resize(text.len().next_multiple_of(8), b' ');
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.append(&mut text);
        self.tensors.iter().for_each(|tensor| bytes.extend(&tensor.data));
        bytes
    }
}

/// Side of an image, widths of the network and of its noise, random features.
const SIDE: u64 = 4;
const D1: u64 = 8;
const D2: u64 = 3;
const M: u64 = 6;

fn backbone(file: &mut File, prefix: &str) {
    let mut put = |name: &str, shape: &[u64]| file.reals(format!("{prefix}{name}"), shape);
    put("patch_embed.proj.weight", &[D1, 1, 2, 2]);
    put("patch_embed.proj.bias", &[D1]);
    put("cls_token", &[1, 1, D1]);
    put("pos_embed", &[1, 5, D1]);
    for (name, rows, cols) in [("attn.qkv", 3 * D1, D1), ("attn.proj", D1, D1), ("mlp.fc1", 5, D1), ("mlp.fc2", D1, 5)]
    {
        put(&format!("blocks.0.{name}.weight"), &[rows, cols]);
        put(&format!("blocks.0.{name}.bias"), &[rows]);
    }
    for name in ["blocks.0.norm1", "blocks.0.norm2", "norm"] {
        put(&format!("{name}.weight"), &[D1]);
        put(&format!("{name}.bias"), &[D1]);
    }
}

/// A ViT with a register and LayerScale.
pub fn vit() -> File {
    let keys =
        [("architecture", "vit"), ("image_size", "4"), ("num_heads", "2"), ("layernorm_eps", "1e-6"), ("std", "0.5")];
    let mut file = File::new(&keys.map(|(key, text)| (key, text.to_string())));
    backbone(&mut file, "");
    file.reals("reg_token", &[1, 1, D1]);
    file.reals("blocks.0.ls1.gamma", &[D1]);
    file.reals("blocks.0.ls2.gamma", &[D1]);
    file
}

/// A relative with everything that the plain one has not: no class token, turned queries and keys, a gated MLP in two parts.
pub fn eva() -> File {
    let keys = [("architecture", "vit_dinov3"), ("image_size", "4"), ("num_heads", "2")];
    let mut file = File::new(&keys.map(|(key, text)| (key, text.to_string())));
    backbone(&mut file, "");
    let plain =
        ["cls_token", "pos_embed", "blocks.0.attn.qkv.bias", "blocks.0.mlp.fc1.weight", "blocks.0.mlp.fc1.bias"];
    file.tensors.retain(|tensor| !plain.contains(&tensor.name.as_str()) && !tensor.name.starts_with("patch_embed"));
    file.reals("patch_embed.proj.weight", &[D1, 3, 2, 2]);
    file.reals("patch_embed.proj.bias", &[D1]);
    ["q", "v"].iter().for_each(|x| file.reals(format!("blocks.0.attn.{x}_bias"), &[D1]));
    ["g", "x"].iter().for_each(|x| {
        file.reals(format!("blocks.0.mlp.fc1_{x}.weight"), &[5, D1]);
        file.reals(format!("blocks.0.mlp.fc1_{x}.bias"), &[5]);
    });
    ["gamma_1", "gamma_2"].iter().for_each(|x| file.reals(format!("blocks.0.{x}"), &[D1]));
    file
}

/// Features of a backbone inside the file, for two sizes of images.
pub fn features() -> File {
    let args = json!({ "img_size": SIDE, "num_heads": 2, "global_pool": "token", "norm_eps": 1e-6 });
    let case = json!({ "kind": "vit_features", "class": "timm VisionTransformer", "args": args });
    let mut file = File::new(&[("case", case.to_string())]);
    backbone(&mut file, "weights.");
    for side in [SIDE, SIDE + 2] {
        file.reals(format!("x{side}"), &[2, 1, side, side]);
        file.reals(format!("features{side}"), &[2, D1]);
        file.reals(format!("block_cls{side}"), &[2, 1, D1]);
        file.reals(format!("pos_embed{side}"), &[1, 1 + side * side / 4, D1]);
    }
    file
}

/// Explanations by a backbone inside the file, whose feature is the class token or the mean of the patches.
pub fn explained(pool: &str) -> File {
    let args = json!({ "img_size": SIDE, "num_heads": 2, "global_pool": pool, "norm_eps": 1e-6 });
    let case = json!({ "kind": "explanations", "class": "timm VisionTransformer", "args": args });
    let mut file = File::new(&[("case", case.to_string())]);
    backbone(&mut file, "weights.");
    file.reals("x", &[2, 1, SIDE, SIDE]);
    file.reals("head", &[D1, 3]);
    file.integers("class", &[2, 0]);
    file.reals("scores", &[2, 3]);
    ["rollout", "grad_cam"].iter().for_each(|map| file.reals(*map, &[2, SIDE * SIDE / 4]));
    file
}

/// Statistics of three classes, as a whole or by class; to be written by [`sealed`].
pub fn statistics(by_class: bool) -> File {
    let (m, parts) = (5, if by_class { 3 } else { 1 });
    let config = Config { buffer_size: m, keep_class_statistics: by_class, noise: false, ..Config::default() };
    let contents = json!({
        "version": 1,
        "kind": "statistics",
        "fields": {
            "classes": ["ant", "bee", "cat"],
            "config": config,
            "fingerprint": { "backbone": "a", "noise": "none", "random": "b" },
        },
    });
    let mut file = File::new(&[("minoise", contents.to_string())]);
    // Dominant on the diagonal, so that it can be solved.
    let row = |r: usize| (0..=r).map(move |c| if r == c { 9.0 } else { 0.25 * r as f64 - c as f64 });
    let triangle: Vec<u8> = (0..m).flat_map(row).flat_map(f64::to_le_bytes).collect();
    file.put("statistics/gram", "F64", &[parts, 15], triangle.repeat(parts as usize));
    file.put("statistics/sums", "F64", &[3, m as u64], (0..15).flat_map(|i| (i as f64 - 3.5).to_le_bytes()).collect());
    file.put("statistics/counts", "U64", &[3], [7u64, 2, 4].iter().flat_map(|x| x.to_le_bytes()).collect());
    file
}

/// The bytes of a file of the store whose checksums are right, whatever it holds.
pub fn sealed(file: &File) -> Vec<u8> {
    let hex = |digest: &[u8]| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut file = file.clone();
    let hashes: BTreeMap<String, String> = file
        .tensors
        .iter()
        .map(|Entry { name, dtype, shape, data }| {
            let mut hasher = Sha256::new();
            hasher.update(format!("{dtype} {shape:?}\n"));
            hasher.update(data);
            (name.clone(), hex(&hasher.finalize()))
        })
        .collect();
    for (_, text) in file.metadata.iter_mut().filter(|(key, _)| key == "minoise") {
        if let Ok(Value::Object(mut contents)) = serde_json::from_str(text) {
            // In the order that the reader hashes them in, which a removal disturbs.
            if let Some(Value::Object(fields)) = contents.get_mut("fields") {
                fields.sort_keys();
            }
            contents.insert("sha256".into(), json!(hashes));
            let seal = hex(&Sha256::digest(serde_json::to_vec(&contents).expect("JSON")));
            *text = json!({ "contents": contents, "seal": seal }).to_string();
        }
    }
    file.bytes()
}

/// What [`sealed`] writes from a file of the store. What clocks and the system measured becomes 1, so that such files are the
/// same whenever they are made.
pub fn unsealed(bytes: &[u8]) -> File {
    let (_, header) = SafeTensors::read_metadata(bytes).expect("a file of the store");
    let text = header.metadata().as_ref().and_then(|entries| entries.get("minoise")).expect("its contents");
    let mut whole: Value = serde_json::from_str(text).expect("JSON");
    let mut contents = whole["contents"].take();
    contents.as_object_mut().expect("an object").remove("sha256");
    for place in ["/task_seconds", "/measured/seconds", "/measured/seconds_per_task", "/measured/peak_host_bytes"] {
        if let Some(measured) = contents["fields"].pointer_mut(place) {
            ones(measured);
        }
    }
    let mut file = File::new(&[("minoise", contents.to_string())]);
    let mut tensors = SafeTensors::deserialize(bytes).expect("a file of the store").tensors();
    // They come in an order of chance.
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, view) in tensors {
        let dtype = match view.dtype() {
            Dtype::F32 => "F32",
            Dtype::F64 => "F64",
            Dtype::U64 => "U64",
            other => panic!("`{name}` holds {other:?}"),
        };
        let shape: Vec<u64> = view.shape().iter().map(|&x| x as u64).collect();
        file.put(name, dtype, &shape, view.data().to_vec());
    }
    file
}

fn ones(value: &mut Value) {
    match value {
        Value::Number(_) => *value = json!(1),
        Value::Array(all) => all.iter_mut().for_each(ones),
        Value::Object(all) => all.values_mut().for_each(ones),
        _ => {}
    }
}

/// A ridge regression.
pub fn ridge() -> File {
    let case = json!({ "kind": "ridge", "gamma": 0.5, "classes": 3, "condition": 1e3 });
    let mut file = File::new(&[("case", case.to_string())]);
    file.reals("p", &[8, M]);
    file.integers("y", &[0, 1, 2, 0, 1, 2, 2, 1]);
    file.reals("W", &[M, 3]);
    file.reals("test.p", &[4, M]);
    file.reals("test.logits", &[4, 3]);
    file
}

/// Two tasks of 2 and 1 classes.
pub fn run(official: bool) -> File {
    let profile = if official { "official" } else { "paper" };
    let phi_layers = if official { 1 } else { 2 };
    let case = json!({
        "kind": format!("{profile}_run"), "profile": profile, "seed": 5, "img_size": SIDE, "in_chans": 1, "num_heads": 2,
        "noise_hidden": D2, "phi_layers": phi_layers, "buffer_size": M, "gamma": 1.0, "temperature": 0.5,
        "task_classes": [2, 1], "lr": 0.05, "momentum": 0.9, "weight_decay": 0.001, "fit_batch": 3, "fit_epochs": 2,
        "layernorm_eps": 1e-6, "grad_through_analytic": true, "refit": "replace",
    });
    let mut file = File::new(&[("case", case.to_string())]);
    backbone(&mut file, "backbone.");
    file.reals("noise.0.w_down", &[D1, D2]);
    file.reals("noise.0.w_up", &[D2, D1]);
    file.reals("buffer.weight", &[D1, M]);
    file.reals("train.x", &[5, 1, SIDE, SIDE]);
    file.integers("train.y", &[0, 1, 2, 1, 2]);
    file.reals("test.x", &[4, 1, SIDE, SIDE]);
    file.integers("test.y", &[0, 1, 2, 2]);
    for (t, seen, order, sizes, tests) in [(0u64, 2u64, &[0, 1, 3][..], &[2, 1][..], 2u64), (1, 3, &[4, 2], &[2], 4)] {
        file.integers(format!("task{t}.run.order"), order);
        file.integers(format!("task{t}.run.batch_sizes"), sizes);
        let mut put = |name: &str, shape: &[u64]| file.reals(format!("task{t}.{name}"), shape);
        put("run.loss", &[sizes.len() as u64]);
        put("W", &[M, seen]);
        put("step1.W", &[M, seen]);
        put("test.features", &[tests, D1]);
        put("test.logits", &[tests, seen]);
        let layers = if official { &[""][..] } else { &["fc1.", "fc2."] };
        for kind in ["mu", "sigma"] {
            for layer in layers {
                put(&format!("noise.0.{kind}.{layer}weight"), &[D2, D2]);
                put(&format!("noise.0.{kind}.{layer}bias"), &[D2]);
            }
        }
        if official {
            ["prototype_before", "prototype_after"].iter().for_each(|name| put(name, &[D1]));
            put("weight_noise", &[t + 1]);
            put("noise.0.M.weight", &[D1, D1]);
            put("noise.0.M.bias", &[D1]);
            for name in ["blocks.0.norm1", "blocks.0.norm2", "norm"] {
                put(&format!("{name}.weight"), &[D1]);
                put(&format!("{name}.bias"), &[D1]);
            }
        } else {
            put("prototype", &[D1]);
            put("similarity", &[t + 1]);
            put("omega", &[1, t + 1]);
            ["mu", "sigma"].iter().for_each(|kind| {
                file.reals(format!("init.task{t}.noise.0.{kind}.fc1.weight"), &[D2, D2]);
            });
        }
    }
    file.reals("eps.layer1.task0.step0", &[3, D2]);
    file
}

/// Every setting with its default.
pub fn settings() -> String {
    toml::to_string(&Config::default()).expect("settings")
}

/// Images or labels as IDX.
pub fn idx(sizes: &[u32], content: &[u8]) -> Vec<u8> {
    let mut bytes = (0x800 + sizes.len() as u32).to_be_bytes().to_vec();
    sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
    bytes.extend(content);
    bytes
}

/// The files of `pictures.safetensors` whose names start so.
pub fn pictures(start: &str) -> Vec<Vec<u8>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/kernels-tests/golden/pictures.safetensors");
    let bytes = std::fs::read(path).expect("a golden file");
    let file = SafeTensors::deserialize(&bytes).expect("a golden file");
    let wanted = file.tensors().into_iter().filter(|(name, _)| name.starts_with(start) && name.ends_with(".file"));
    wanted.map(|(_, view)| view.data().to_vec()).collect()
}

/// A pickle as Python 2 wrote CIFAR: labels `entry`, and pixels [n, 3072].
pub fn cifar_python(entry: &str, labels: &[u8], pixels: &[u8]) -> Vec<u8> {
    let text = |text: &[u8]| [&[b'U', text.len() as u8][..], text].concat();
    let list: Vec<u8> = labels.iter().flat_map(|&label| [b'K', label]).collect();
    let rows = (labels.len() as u16).to_le_bytes();
    [
        b"\x80\x02}q\x01(".to_vec(),
        [text(b"batch_label"), b"q\x02".to_vec(), text(b"training batch 1 of 5"), b"q\x03".to_vec()].concat(),
        [text(entry.as_bytes()), b"q\x04]q\x05(".to_vec(), list, b"e".to_vec()].concat(),
        [
            text(b"data"),
            b"q\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\0\x85U\x01b\x87Rq\t".to_vec(),
        ]
        .concat(),
        [b"(K\x01M".to_vec(), rows.to_vec(), b"M\x00\x0c\x86cnumpy\ndtype\nq\nU\x02u1K\0K\x01\x87Rq\x0b".to_vec()]
            .concat(),
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89T".to_vec(),
        [(pixels.len() as u32).to_le_bytes().to_vec(), pixels.to_vec(), b"tbu.".to_vec()].concat(),
    ]
    .concat()
}

/// A list of images, as CSV or JSON lines.
pub fn manifest(csv: bool) -> String {
    let entries =
        [("a 1.png", "cat", "train"), ("b.png", "ant", "train"), ("c.jpg", "cat", "test"), ("d.bmp", "ant", "test")];
    let line = |(path, class, split): (&str, &str, &str)| {
        if csv {
            format!("{path},{class},{split}\n")
        } else {
            format!("{}\n", json!({ "path": path, "class": class, "split": split }))
        }
    };
    let header = if csv { "path,class,split\n" } else { "" };
    format!("{header}{}", entries.map(line).concat())
}
