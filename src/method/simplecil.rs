//! SimpleCIL (RIVALS section 2): the cosine of a feature to the mean feature of each class.
//!
//! Source: arXiv 2303.07338; LAMDA-CL/LAMDA-PILOT, `models/simplecil.py`. Differs: none; what RanPAC calls NCM is this.

use crate::Result;
use crate::device::{Device, Tensor};
use crate::method::frozen::{Head, Seen};
use crate::method::{Observer, Task};
use crate::model::head::logits;
use crate::model::head::prototype::{class_means, unit_rows, units};
use crate::store::Tree;

/// `unit(f) . unit(mu_c)`, mu_c the mean of f over the images of class c.
#[derive(Debug)]
pub(crate) struct SimpleCil {
    /// mu [C, d].
    means: Vec<f64>,
    /// unit(mu) [C, d] on the device.
    prototypes: Tensor,
}

impl SimpleCil {
    /// For features of d numbers.
    ///
    /// # Errors
    /// Allocation failures.
    pub fn new(device: &Device, d: usize) -> Result<Self> {
        Ok(Self { means: Vec::new(), prototypes: device.zeros(&[0, d])? })
    }

    /// mu [C, d].
    pub fn means(&self) -> &[f64] {
        &self.means
    }

    fn upload(&mut self, device: &Device) -> Result<()> {
        let d = self.prototypes.cols();
        self.prototypes = device.upload(&units(&self.means, d), &[self.means.len() / d, d])?;
        Ok(())
    }
}

impl Head for SimpleCil {
    const WHAT: &'static str = "class means";

    fn begin(&mut self, _: &Task) -> Result<()> {
        Ok(())
    }

    async fn learn(&mut self, device: &Device, seen: &Seen<'_>, done: usize, _: &mut dyn Observer) -> Result<usize> {
        self.means.extend(class_means(seen.rows(), seen.width(), seen.labels(), seen.classes()));
        self.upload(device)?;
        Ok(done + 1)
    }

    fn scores(&self, device: &Device, f: &Tensor) -> Result<Tensor> {
        logits(device, &unit_rows(device, f)?, &self.prototypes)
    }

    async fn state(&self, _: &Device) -> Result<Tree> {
        let (mut tree, d) = (Tree::new(), self.prototypes.cols());
        tree.put("classifier", &[self.means.len() / d, d], &self.means);
        Ok(tree)
    }

    async fn restore(&mut self, device: &Device, mut tree: Tree) -> Result<()> {
        let classes = tree.shape("classifier")?.first().copied().unwrap_or(0);
        self.means = tree.take_shaped::<f64>("classifier", &[classes, self.prototypes.cols()])?;
        tree.finish()?;
        self.upload(device)
    }

    fn rehearsal(&self, planner: &Device, classes: usize) -> Result<Self> {
        Ok(Self { means: Vec::new(), prototypes: planner.reals(&[classes, self.prototypes.cols()])? })
    }
}
