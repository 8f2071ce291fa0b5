//! Golden files (SPEC section 8): a recorded run as inputs for a learner of this crate.

mod cases;
mod checks;
mod learners;

use std::path::{Path, PathBuf};

use crate::Result;
use crate::method::Samples;
use crate::model::facts::Facts;
use crate::model::weights::Weights;
use crate::protocol::build;

use cases::VitCase;
pub(super) use cases::{RidgeCase, RivalCase, RunCase};

/// What a golden file holds.
#[derive(Clone, Debug)]
pub(super) enum Case {
    Run(Box<RunCase>),
    Rival(Box<RivalCase>),
    Ridge(RidgeCase),
    Vit(VitCase),
    /// Scores `f head` of images `x`, and `rollout` and `grad_cam` of the class in `class` of each.
    Explained(VitCase),
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
            Some("explanations") => Case::Explained(serde_json::from_value(value).map_err(bad)?),
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
            Case::Explained(_) => golden.check_explained()?,
        }
        Ok(golden)
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
        if file == "icons" {
            return build::backbone(file, "auto").map(Some);
        }
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
}
