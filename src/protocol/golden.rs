//! Golden files (SPEC section 8): a recorded run as inputs for a learner of this crate.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Result;
use crate::config::{Gamma, MAX_NOISE_HIDDEN, Method, Mixture, Pipeline, Profile, Refit};
use crate::device::Device;
use crate::method::{Core, Init, Min, Official, Paper, Samples, Settings};
use crate::model::facts::Facts;
use crate::model::head::MAX_FEATURES;
use crate::model::network::Network;
use crate::model::noise::{NoiseLayers, PhiLayout};
use crate::model::optimizer::Rule;
use crate::model::vit::{Architecture, MAX_IMAGE, Vit, VitConfig};
use crate::model::weights::Weights;

/// Files record the batches of all epochs, whatever their number.
const EPOCHS: [usize; 2] = [1; 2];

/// Analytic passes at most.
const MAX_PASSES: usize = 100;

fn one() -> usize {
    1
}

/// The settings in a golden file's metadata.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct RunCase {
    pub profile: Profile,
    #[serde(default)]
    pub seed: u64,
    pub img_size: usize,
    pub in_chans: usize,
    pub num_heads: usize,
    pub noise_hidden: usize,
    #[serde(default = "one")]
    pub phi_layers: usize,
    pub buffer_size: usize,
    pub gamma: f64,
    #[serde(default)]
    pub temperature: f64,
    pub task_classes: Vec<usize>,
    pub lr: f64,
    pub momentum: f64,
    pub weight_decay: f64,
    pub fit_batch: usize,
    #[serde(default = "one")]
    pub fit_epochs: usize,
    pub layernorm_eps: f32,
    #[serde(default)]
    pub grad_through_analytic: bool,
    pub refit: Option<Refit>,
}

impl RunCase {
    /// Channels, rows and columns of an image.
    pub fn image(&self) -> [usize; 3] {
        [self.in_chans, self.img_size, self.img_size]
    }
}

/// A run of a rival: its own settings are those of its method.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct RivalCase {
    pub method: String,
    pub img_size: usize,
    pub in_chans: usize,
    pub num_heads: usize,
    pub layernorm_eps: f32,
    pub task_classes: Vec<usize>,
    #[serde(default)]
    pub projection: usize,
    #[serde(default)]
    pub shrink: [f64; 2],
    #[serde(default)]
    pub buffer_size: usize,
    #[serde(default)]
    pub gamma: f64,
    #[serde(default)]
    pub gamma_comp: f64,
    #[serde(default)]
    pub compensation: f64,
    #[serde(default)]
    pub lr: f64,
    #[serde(default)]
    pub epochs: usize,
    #[serde(default)]
    pub betas: [f64; 2],
    #[serde(default)]
    pub adam_eps: f64,
    #[serde(default)]
    pub grad_clip: f64,
    #[serde(default)]
    pub pool: usize,
    #[serde(default)]
    pub length: usize,
    #[serde(default)]
    pub top_k: usize,
    #[serde(default)]
    pub g_layers: Vec<usize>,
    #[serde(default)]
    pub e_layers: Vec<usize>,
    #[serde(default)]
    pub g_length: usize,
    #[serde(default)]
    pub e_length: usize,
    #[serde(default)]
    pub pull: f64,
    #[serde(default)]
    pub mu: f64,
    #[serde(default)]
    pub momentum: f64,
    #[serde(default)]
    pub weight_decay: f64,
    #[serde(default)]
    pub adapter_hidden: usize,
    #[serde(default)]
    pub adapter_scale: f64,
    #[serde(default)]
    pub alpha: f64,
    #[serde(default)]
    pub backbone_rate: f64,
    #[serde(default)]
    pub milestones: Vec<usize>,
    #[serde(default)]
    pub lr_decay: f64,
    #[serde(default)]
    pub cov_ridge: f64,
    #[serde(default)]
    pub ca_lr: f64,
    #[serde(default)]
    pub ca_epochs: usize,
    #[serde(default)]
    pub ca_samples: usize,
    #[serde(default)]
    pub ca_temperature: f64,
}

impl RivalCase {
    /// The method, if it is there.
    pub fn method(&self) -> Option<Method> {
        serde_json::from_value(self.method.as_str().into()).ok()
    }

    /// Channels, rows and columns of an image.
    pub fn image(&self) -> [usize; 3] {
        [self.in_chans, self.img_size, self.img_size]
    }
}

/// A ridge regression: random features `p` [n, m], labels `y`, and the classifier.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct RidgeCase {
    pub gamma: f64,
    pub classes: usize,
    /// Condition number of the Gram matrix with gamma on its diagonal.
    pub condition: f64,
}

/// Features of a backbone: images `xN` of N pixels and `featuresN`; `block_clsN` and `pos_embedN` where they are recorded.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct VitCase {
    /// Arguments of timm's constructor, where the weights are inside.
    #[serde(default)]
    pub args: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    pub class: String,
    /// The file of the weights, seen from the folder above that of the golden file.
    pub weights: Option<String>,
    pub architecture: Option<String>,
}

/// What a golden file holds.
#[derive(Clone, Debug)]
pub(super) enum Case {
    Run(Box<RunCase>),
    Rival(Box<RivalCase>),
    Ridge(RidgeCase),
    Vit(VitCase),
}

/// A golden file in memory.
#[derive(Clone, Debug)]
pub(super) struct Golden {
    pub name: String,
    pub folder: PathBuf,
    pub case: Case,
    pub tensors: Weights,
}

impl Golden {
    /// Reads a file and refuses one that a replay would stumble over: settings out of range, tensors that are missing or
    /// of other sizes than the settings say. What the replay takes is bounded by what the file holds.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Weights`] where the file is no golden file or a damaged one.
    pub fn read(path: &Path) -> Result<Self> {
        let tensors = Weights::read(path)?;
        let text = tensors.metadata.get("case");
        let text = text.ok_or_else(|| tensors.error("its metadata has no `case`: not a golden file"))?;
        let bad = |e: serde_json::Error| tensors.error(format!("its `case` is not understood: {e}"));
        let value: serde_json::Value = serde_json::from_str(text).map_err(bad)?;
        let case = match value["kind"].as_str() {
            Some("paper_run" | "official_run") => Case::Run(serde_json::from_value(value).map_err(bad)?),
            Some("rival") => Case::Rival(serde_json::from_value(value).map_err(bad)?),
            Some("ridge") => Case::Ridge(serde_json::from_value(value).map_err(bad)?),
            Some("vit_features") => Case::Vit(serde_json::from_value(value).map_err(bad)?),
            other => return Err(tensors.error(format!("its `case` is of unknown kind {other:?}"))),
        };
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
        let golden = Self { name, folder, case, tensors };
        golden.tensors.finite()?;
        match &golden.case {
            Case::Run(case) => golden.check_run(case)?,
            Case::Rival(case) => golden.check_rival(case)?,
            Case::Ridge(case) => golden.check_ridge(case)?,
            Case::Vit(_) => golden.check_vit()?,
        }
        Ok(golden)
    }

    /// Refuses a setting of the case that is not as `expected`.
    fn require(&self, holds: bool, key: &str, got: impl std::fmt::Display, expected: &str) -> Result<()> {
        if holds {
            Ok(())
        } else {
            Err(self.tensors.error(format!("its `case` has {key} = {got}, {expected} is needed")))
        }
    }

    fn check_ridge(&self, case: &RidgeCase) -> Result<()> {
        let tensors = &self.tensors;
        let [m, classes] = tensors.matrix("W")?;
        let [[samples, _], [tests, _]] = [tensors.matrix("p")?, tensors.matrix("test.p")?];
        self.require(case.classes == classes, "classes", case.classes, &format!("{classes}, as in `W`,"))?;
        self.require(case.gamma.is_normal() && case.gamma > 0.0, "gamma", case.gamma, "a positive number")?;
        self.require(m <= MAX_FEATURES, "m", m, &format!("at most {MAX_FEATURES}"))?;
        tensors.shaped("p", &[samples, m])?;
        tensors.shaped("test.p", &[tests, m])?;
        tensors.shaped("test.logits", &[tests, classes])?;
        tensors.shaped("y", &[samples])?;
        tensors.integers("y", classes as u64).map(drop)
    }

    fn check_run(&self, case: &RunCase) -> Result<()> {
        for (key, value, top) in [
            ("img_size", case.img_size, MAX_IMAGE),
            ("in_chans", case.in_chans, MAX_IMAGE),
            ("noise_hidden", case.noise_hidden, MAX_NOISE_HIDDEN),
            ("buffer_size", case.buffer_size, MAX_FEATURES),
            ("fit_batch", case.fit_batch, usize::MAX),
            ("fit_epochs", case.fit_epochs, MAX_PASSES),
            ("phi_layers", case.phi_layers, if case.profile == Profile::Paper { 2 } else { 1 }),
        ] {
            self.require((1..=top).contains(&value), key, value, &format!("a number from 1 to {top}"))?;
        }
        let mut positive = vec![("gamma", case.gamma), ("lr", case.lr)];
        positive.extend((case.profile == Profile::Paper).then_some(("temperature", case.temperature)));
        for (key, value) in positive {
            self.require((value as f32).is_normal() && value > 0.0, key, value, "a positive number")?;
        }
        for (key, value) in [("momentum", case.momentum), ("weight_decay", case.weight_decay)] {
            self.require((value as f32).is_finite() && value >= 0.0, key, value, "0 or a positive number")?;
        }
        self.check_tasks(&case.task_classes, case.image(), |t, seen| {
            self.tensors.shaped(&format!("task{t}.W"), &[case.buffer_size, seen]).map(drop)
        })
    }

    fn check_rival(&self, case: &RivalCase) -> Result<()> {
        let Some(method) = case.method() else { return Ok(()) };
        for (key, value) in [("img_size", case.img_size), ("in_chans", case.in_chans)] {
            self.require((1..=MAX_IMAGE).contains(&value), key, value, &format!("a number from 1 to {MAX_IMAGE}"))?;
        }
        let (sizes, ridges, shares) = match method {
            Method::Min | Method::SimpleCil | Method::Ncm => (vec![], vec![], vec![]),
            Method::RanPac => (vec![("projection", case.projection)], vec![], vec![]),
            Method::FeCam => (vec![], vec![], case.shrink.map(|share| ("shrink", share)).to_vec()),
            Method::Acil => (vec![("buffer_size", case.buffer_size)], vec![("gamma", case.gamma)], vec![]),
            Method::DsAl => (
                vec![("buffer_size", case.buffer_size)],
                vec![("gamma", case.gamma), ("gamma_comp", case.gamma_comp)],
                vec![("compensation", case.compensation)],
            ),
            Method::Aper | Method::Ease => (
                vec![("adapter_hidden", case.adapter_hidden), ("epochs", case.epochs)],
                vec![("lr", case.lr), ("adapter_scale", case.adapter_scale)],
                vec![("momentum", case.momentum), ("weight_decay", case.weight_decay), ("alpha", case.alpha)],
            ),
            Method::L2p | Method::DualPrompt | Method::Coda => {
                self.check_prompts(case, method)?;
                let clips = (method != Method::Coda).then_some(("grad_clip", case.grad_clip));
                let rates = [("lr", case.lr), ("adam_eps", case.adam_eps)].into_iter().chain(clips).collect();
                (vec![("epochs", case.epochs)], rates, vec![("pull", case.pull), ("mu", case.mu)])
            }
            Method::Slca => {
                self.check_slca(case)?;
                let rates = [
                    ("lr", case.lr),
                    ("lr_decay", case.lr_decay),
                    ("ca_lr", case.ca_lr),
                    ("ca_temperature", case.ca_temperature),
                ];
                let shares = [
                    ("momentum", case.momentum),
                    ("weight_decay", case.weight_decay),
                    ("backbone_rate", case.backbone_rate),
                    ("cov_ridge", case.cov_ridge),
                ];
                (vec![("epochs", case.epochs)], rates.into(), shares.into())
            }
        };
        for (key, value) in sizes {
            let expected = format!("a number from 1 to {MAX_FEATURES}");
            self.require((1..=MAX_FEATURES).contains(&value), key, value, &expected)?;
        }
        for (key, value) in ridges {
            self.require((value as f32).is_normal() && value > 0.0, key, value, "a positive number")?;
        }
        for (key, value) in shares {
            self.require((value as f32).is_finite() && value >= 0.0, key, value, "0 or a positive number")?;
        }
        self.check_tasks(&case.task_classes, case.image(), |t, seen| {
            let name = format!("task{t}.test.scores");
            let (found, given) = (self.tensors.matrix(&name)?[1], format!("{:?}", case.task_classes));
            self.require(found == seen, "task_classes", given, &format!("{found} in `{name}`"))
        })
    }

    /// Refuses draws that are not of the sizes of the settings, which are thereby bounded.
    fn check_slca(&self, case: &RivalCase) -> Result<()> {
        let (epochs, samples, mut seen) = (case.ca_epochs, case.ca_samples, 0usize);
        self.require(epochs > 0 && samples > 0, "ca_samples", samples, "with ca_epochs a positive number")?;
        let d = self.tensors.matrix("init.head.0.weight")?[1];
        for (t, &classes) in case.task_classes.iter().enumerate() {
            let weight = format!("init.head.{t}.weight");
            self.tensors.shaped(&weight, &[classes, d])?;
            // Both are in memory.
            seen += classes;
            if t > 0 {
                self.tensors.shaped(&format!("task{t}.ca.normal"), &[epochs, seen, samples, d])?;
                self.tensors.shaped(&format!("task{t}.ca.order"), &[epochs, seen.saturating_mul(samples)])?;
            }
        }
        Ok(())
    }

    /// Refuses first prompts and heads that are not of the sizes of the settings, which are thereby bounded.
    fn check_prompts(&self, case: &RivalCase, method: Method) -> Result<()> {
        let (tensors, pool, tasks) = (&self.tensors, case.pool, case.task_classes.len());
        let [classes, d] = tensors.matrix("init.head.weight")?;
        self.require(
            case.task_classes.iter().try_fold(0usize, |sum, &n| sum.checked_add(n)) == Some(classes),
            "task_classes",
            format!("{:?}", case.task_classes),
            &format!("{classes} classes, as in `init.head.weight`,"),
        )?;
        tensors.shaped("init.head.bias", &[classes])?;
        for (i, beta) in case.betas.into_iter().enumerate() {
            self.require((0.0..1.0).contains(&beta), &format!("betas[{i}]"), beta, "from 0 to below 1")?;
        }
        self.require(pool > 0, "pool", pool, "a positive number")?;
        match method {
            Method::L2p => {
                let top_k = case.top_k;
                self.require((1..=pool).contains(&top_k), "top_k", top_k, &format!("a number from 1 to {pool}"))?;
                tensors.shaped("init.key", &[pool, d])?;
                tensors.shaped("init.prompt", &[pool, case.length, d])?;
            }
            Method::DualPrompt => {
                self.require(tasks <= pool, "pool", pool, &format!("at least {tasks}"))?;
                let [general, expert] = [&case.g_layers, &case.e_layers].map(Vec::len);
                tensors.shaped("init.key", &[pool, d])?;
                tensors.shaped("init.g_prompt", &[general, 2, case.g_length, d])?;
                tensors.shaped("init.e_prompt", &[expert, 2, pool, case.e_length, d])?;
            }
            _ => {
                let share = pool.checked_div(tasks).unwrap_or(0);
                self.require(share > 0, "pool", pool, &format!("at least {tasks}"))?;
                self.require(case.length.is_multiple_of(2), "length", case.length, "an even number")?;
                for (t, j) in (0..tasks).flat_map(|t| case.e_layers.iter().map(move |j| (t, j))) {
                    tensors.shaped(&format!("init.task{t}.coda.{j}.P"), &[share, case.length, d])?;
                    tensors.shaped(&format!("init.task{t}.coda.{j}.K"), &[share, d])?;
                    tensors.shaped(&format!("init.task{t}.coda.{j}.A"), &[share, d])?;
                }
            }
        }
        Ok(())
    }

    /// Refuses tasks without classes, and images that are not of these sizes; `result` looks at what is recorded of task t, once
    /// so many classes are seen.
    fn check_tasks(
        &self,
        task_classes: &[usize],
        [channels, rows, cols]: [usize; 3],
        result: impl Fn(usize, usize) -> Result<()>,
    ) -> Result<()> {
        let mut seen = 0usize;
        for (t, &classes) in task_classes.iter().enumerate() {
            seen = seen.checked_add(classes).filter(|_| classes > 0).ok_or_else(|| {
                self.tensors.error(format!("its `case` has {classes} classes in task {t}, at least 1 is needed"))
            })?;
            result(t, seen)?;
        }
        self.require(seen > 0, "task_classes", "[]", "a task")?;
        for split in ["train", "test"] {
            let n = self.tensors.integers(&format!("{split}.y"), seen as u64)?.len();
            self.tensors.shaped(&format!("{split}.x"), &[n, channels, rows, cols])?;
        }
        Ok(())
    }

    fn check_vit(&self) -> Result<()> {
        let sizes = self.image_sizes();
        self.require(!sizes.is_empty(), "images", "none", "a tensor `featuresN` of images `xN`")?;
        for size in sizes {
            let x = format!("x{size}");
            match self.tensors.shape(&x)? {
                &[b, c, h, w] if b > 0 && c > 0 && [h, w] == [size; 2] => {}
                found => {
                    return Err(self
                        .tensors
                        .error(format!("`{x}` has shape {found:?}, [B, C, {size}, {size}] is needed")));
                }
            }
        }
        Ok(())
    }

    /// Sizes of the images whose features a file of kind `vit_features` records.
    pub fn image_sizes(&self) -> Vec<usize> {
        self.tensors.iter().filter_map(|(name, ..)| name.strip_prefix("features")?.parse().ok()).collect()
    }

    /// The weights that the features are of, with what is told of them; nothing where they are a file that is not there.
    ///
    /// # Errors
    /// [`Error::Weights`](crate::Error::Weights) where they are damaged or of no architecture that is offered.
    pub fn backbone(&self, case: &VitCase) -> Result<Option<(Weights, Facts)>> {
        let Some(file) = &case.weights else {
            let weights = self.tensors.below("weights.");
            // timm's classes, by families that have their defaults.
            let family = Facts::family(if case.class.ends_with("Eva") { "dinov3" } else { "vit" }, 0);
            // The constructor's own default is that of gates, too.
            let told = Facts::of_args(&weights, &case.args)?.or(Facts { gate: family.act, ..family });
            return Ok(Some((weights, told)));
        };
        let above = self.folder.parent().unwrap_or(Path::new(".."));
        let path = above.join(file);
        if !path.is_file() {
            return Ok(None);
        }
        let weights = Weights::read(&path)?;
        let told = Facts::of(&weights, case.architecture.as_deref())?;
        Ok(Some((weights, told)))
    }

    /// Name of a recorded part of a noise module, such as `mu.fc2.weight`.
    pub fn part(&self, prefix: &str, part: &str) -> String {
        let full = format!("{prefix}.{part}");
        // Profile `official` knows one layer and does not name it.
        if self.tensors.has(&full) { full } else { format!("{prefix}.{}", part.replace("fc2.", "")) }
    }

    /// Images, of this shape, of a split whose labels lie in `classes`, and their indices in the file.
    ///
    /// # Errors
    /// [`Error::Weights`](crate::Error::Weights) where there is none.
    pub fn samples(
        &self,
        shape: [usize; 3],
        split: &str,
        classes: std::ops::Range<usize>,
    ) -> Result<(Samples, Vec<usize>)> {
        let size: usize = shape.iter().product();
        let (x, y) = (self.tensors.get(&format!("{split}.x"))?, self.tensors.get(&format!("{split}.y"))?);
        let idx: Vec<usize> = (0..y.len()).filter(|&i| classes.contains(&(y[i] as usize))).collect();
        if idx.is_empty() {
            return Err(self.tensors.error(format!("`{split}.y` has no image of the classes {classes:?}")));
        }
        let pixels = idx.iter().flat_map(|&i| &x[i * size..(i + 1) * size]).map(|&v| v as f32).collect();
        Ok((Samples::in_memory(shape, pixels, idx.iter().map(|&i| y[i] as u32).collect())?, idx))
    }

    /// The recorded batches of task `t`, as positions in `idx`.
    ///
    /// # Errors
    /// [`Error::Weights`] where the sizes of the batches are not those of the order, or an image is not in `idx`.
    pub fn schedule(&self, t: usize, idx: &[usize]) -> Result<Vec<Vec<usize>>> {
        let [order, sizes] = ["order", "batch_sizes"].map(|what| format!("task{t}.run.{what}"));
        let steps = self.order(&order, idx)?;
        let mut rest: &[usize] = &steps;
        let mut batches = Vec::new();
        for size in self.tensors.integers(&sizes, 1 + steps.len() as u64)? {
            let cut = rest.split_at_checked(size).filter(|_| size > 0);
            let (batch, more) = cut.ok_or_else(|| {
                self.tensors
                    .error(format!("`{sizes}` has a batch of {size}, where {} of `{order}` are left", rest.len()))
            })?;
            batches.push(batch.to_vec());
            rest = more;
        }
        if batches.is_empty() || !rest.is_empty() {
            return Err(self.tensors.error(format!("`{sizes}` leaves {} of `{order}` over", rest.len())));
        }
        Ok(batches)
    }

    /// A recorded order of images of a task, as positions in `idx`.
    ///
    /// # Errors
    /// [`Error::Weights`] where an image is not in `idx`.
    pub fn order(&self, name: &str, idx: &[usize]) -> Result<Vec<usize>> {
        let images = self.tensors.get("train.y")?.len();
        let position = |i: &usize| {
            let found = idx.binary_search(i);
            found.map_err(|_| self.tensors.error(format!("`{name}` names image {i}, which is of another task")))
        };
        self.tensors.integers(name, images as u64)?.iter().map(position).collect()
    }

    /// The frozen backbone of a rival.
    pub fn vit(&self, case: &RivalCase, device: &Device) -> Result<Vit> {
        let (architecture, backbone) = self.rival(case)?;
        Vit::load(device, architecture, backbone, false)
    }

    /// The same as it can be trained.
    pub fn trainable(&self, case: &RivalCase, device: &Device) -> Result<Vit> {
        let (architecture, backbone) = self.rival(case)?;
        Vit::load_trainable(device, architecture, backbone)
    }

    fn rival(&self, case: &RivalCase) -> Result<(Architecture, Weights)> {
        let backbone = self.tensors.below("backbone.");
        let architecture = VitConfig::infer(&backbone, case.img_size, case.num_heads, case.layernorm_eps)?;
        let channels = architecture.sizes.channels;
        self.require(case.in_chans == channels, "in_chans", case.in_chans, &format!("{channels}"))?;
        Ok((architecture, backbone))
    }

    /// The network and empty statistics that the run starts from.
    pub fn core(&self, case: &RunCase, device: &Device) -> Result<Core> {
        let backbone = self.tensors.below("backbone.");
        let architecture = VitConfig::infer(&backbone, case.img_size, case.num_heads, case.layernorm_eps)?;
        let vit = architecture.sizes;
        let (d1, d2, m) = (vit.dim, case.noise_hidden, case.buffer_size);
        self.require(case.in_chans == vit.channels, "in_chans", case.in_chans, &format!("{}", vit.channels))?;
        let mut tensors = self.tensors.clone();
        let mut projections = Vec::new();
        for j in 0..vit.depth {
            let down = tensors.take(&format!("noise.{j}.w_down"), &[d1, d2])?;
            projections.push((down, tensors.take(&format!("noise.{j}.w_up"), &[d2, d1])?));
            self.tensors.shaped(&self.part(&format!("task0.noise.{j}"), "mu.fc2.weight"), &[d2, d2])?;
        }
        let layout = PhiLayout::new(d2, case.phi_layers)?;
        let official = case.profile == Profile::Official;
        let network = Network {
            device: device.clone(),
            vit: Vit::load(device, architecture, backbone, false)?,
            noise: NoiseLayers::new(device, layout, d1, &projections, official)?,
            random: device.upload(&tensors.take("buffer.weight", &[d1, m])?, &[d1, m])?,
            anchor: None,
        };
        Core::new(network, Gamma::Value(case.gamma), case.fit_batch, None)
    }

    fn rule(case: &RunCase) -> Rule {
        Rule::Sgd { lr: case.lr, momentum: case.momentum, weight_decay: case.weight_decay }
    }

    /// Initial modules as recorded.
    fn init(&self, case: &RunCase) -> Result<Init> {
        let layout = PhiLayout::new(case.noise_hidden, case.phi_layers)?;
        let tensors = self.tensors.clone();
        Ok(Box::new(move |task, layer| {
            let mut row = vec![0.0; layout.len()];
            for kind in ["mu", "sigma"].iter().filter(|_| layout.layers == 2) {
                let name = format!("{kind}.fc1.weight");
                let recorded =
                    tensors.shaped(&format!("init.task{task}.noise.{layer}.{name}"), &layout.shape(&name))?;
                layout.pack(&name, recorded, &mut row)?;
            }
            Ok(row)
        }))
    }

    pub fn paper(&self, case: &RunCase, core: Core) -> Result<Min<Paper>> {
        let settings = Settings {
            noise: true,
            mixing: Mixture::Learned,
            pipeline: Pipeline::ThreeStep,
            refit: case.refit.ok_or_else(|| self.tensors.error("its `case` has no `refit`"))?,
            grad_through_analytic: case.grad_through_analytic,
            temperature: case.temperature,
            rule: Self::rule(case),
            epochs: EPOCHS,
            seed: case.seed,
        };
        Ok(Min::new(core, Paper(settings), self.init(case)?))
    }

    pub fn official(&self, case: &RunCase, core: Core) -> Result<Min<Official>> {
        let official = Official { rule: Self::rule(case), epochs: EPOCHS, fit_epochs: case.fit_epochs };
        Ok(Min::new(core, official, self.init(case)?))
    }
}
