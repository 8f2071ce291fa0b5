//! NCM (RIVALS section 2): the distance of a normalised feature to the mean normalised feature of each class.
//!
//! Source: dipamgoswami/FeCAM, `NCM_vit_*.py`. Differs: what RanPAC calls NCM is SimpleCIL.

use crate::Result;
use crate::device::{Device, Tensor};
use crate::method::frozen::{Head, Seen};
use crate::method::{Observer, Task};
use crate::model::head::prototype::{affine, class_means, unit_rows, units};
use crate::store::Tree;

/// The class of least `|u - nu_c|`, `u = unit(f)`, nu_c the mean of u over the images of class c. The score is
/// `u . nu_c - |nu_c|^2 / 2 = (|u|^2 - |u - nu_c|^2) / 2`, which has the order of the negative distance.
#[derive(Debug)]
pub(crate) struct Ncm {
    /// nu [C, d].
    means: Vec<f64>,
    /// nu [C, d] and `-|nu|^2 / 2` `[C]` on the device.
    prototypes: Tensor,
    offsets: Tensor,
}

impl Ncm {
    /// For features of d numbers.
    ///
    /// # Errors
    /// Allocation failures.
    pub fn new(device: &Device, d: usize) -> Result<Self> {
        Ok(Self { means: Vec::new(), prototypes: device.zeros(&[0, d])?, offsets: device.zeros(&[0])? })
    }

    /// nu [C, d].
    pub fn means(&self) -> &[f64] {
        &self.means
    }

    fn upload(&mut self, device: &Device) -> Result<()> {
        let d = self.prototypes.cols();
        let offsets: Vec<f64> = self.means.chunks(d).map(|nu| -nu.iter().map(|x| x * x).sum::<f64>() / 2.0).collect();
        self.prototypes = device.upload(&self.means, &[offsets.len(), d])?;
        self.offsets = device.upload(&offsets, &[offsets.len()])?;
        Ok(())
    }
}

impl Head for Ncm {
    const WHAT: &'static str = "class means";

    fn begin(&mut self, _: &Task) -> Result<()> {
        Ok(())
    }

    async fn learn(&mut self, device: &Device, seen: &Seen<'_>, done: usize, _: &mut dyn Observer) -> Result<usize> {
        let d = seen.width();
        self.means.extend(class_means(&units(seen.rows(), d), d, seen.labels(), seen.classes()));
        self.upload(device)?;
        Ok(done + 1)
    }

    fn scores(&self, device: &Device, f: &Tensor) -> Result<Tensor> {
        affine(device, &unit_rows(device, f)?, &self.prototypes, &self.offsets)
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
        let prototypes = planner.reals(&[classes, self.prototypes.cols()])?;
        Ok(Self { means: Vec::new(), prototypes, offsets: planner.reals(&[classes])? })
    }
}
