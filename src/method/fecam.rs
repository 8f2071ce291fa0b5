//! FeCAM (RIVALS section 4): the Mahalanobis distance of a normalised feature to each class, by the class's own covariance.
//!
//! Source: arXiv 2309.14062; dipamgoswami/FeCAM, `FeCAM_vit_*.py`. Differs: PILOT trains an adapter on the first task, takes
//! statistics of features as they are, S + 100 I, and the correlations of that matrix's rows.

use crate::device::{Device, Tensor};
use crate::method::frozen::{Head, Seen};
use crate::method::{Observer, Point, Task};
use crate::model::head::prototype::{Spread, Whitened, class_means, nearness, unit_rows, units};
use crate::model::state::{put, upload};
use crate::store::Tree;
use crate::{Error, Result};

/// The class of least `(u - mu_c)^T N_c^-1 (u - mu_c)`, `u = unit(f)`, mu_c the mean of u over the images of class c and N_c
/// their correlations after shrinkage. The score is the negative root of that.
#[derive(Debug)]
pub(crate) struct FeCam {
    /// a1 and a2.
    shrink: [f64; 2],
    /// d.
    width: usize,
    /// mu [C, d].
    means: Vec<f64>,
    /// Of every class, its mean and the inverse of the Cholesky factor of N_c on the device.
    classes: Vec<Whitened>,
}

impl FeCam {
    /// For features of d numbers.
    pub fn new(width: usize, shrink: [f64; 2]) -> Self {
        Self { shrink, width, means: Vec::new(), classes: Vec::new() }
    }

    /// mu [C, d].
    pub fn means(&self) -> &[f64] {
        &self.means
    }
}

impl Head for FeCam {
    const WHAT: &'static str = "class covariances";

    fn begin(&mut self, task: &Task) -> Result<()> {
        let mut counts = vec![0; task.classes - task.first_class];
        task.samples.labels.iter().for_each(|&y| counts[y as usize - task.first_class] += 1);
        match counts.iter().position(|&n| n < 2) {
            None => Ok(()),
            Some(c) => Err(Error::Config(format!(
                "`method` = fecam: class {} has {} training images, a covariance takes at least 2",
                task.first_class + c,
                counts[c]
            ))),
        }
    }

    async fn learn(
        &mut self,
        device: &Device,
        seen: &Seen<'_>,
        done: usize,
        observer: &mut dyn Observer,
    ) -> Result<usize> {
        let d = self.width;
        let rows = units(seen.rows(), d);
        let means = class_means(&rows, d, seen.labels(), seen.classes());
        for (c, mean) in seen.classes().zip(means.chunks(d)) {
            let own = rows.chunks(d).zip(seen.labels()).filter(|(_, y)| **y as usize == c);
            let own: Vec<f64> = own.flat_map(|(row, _)| row).copied().collect();
            if own.chunks(d).all(|row| row == &own[..d]) {
                return Err(Error::Config(format!(
                    "`method` = fecam: the images of class {c} all have the same features, a covariance takes others"
                )));
            }
            let spread = Spread::of(&own, mean, self.shrink).map_err(|e| match e {
                Error::NotPositiveDefinite { .. } => Error::Config(format!(
                    "`fecam.shrink` = {:?}: the covariance of class {c} cannot be inverted; use more",
                    self.shrink
                )),
                e => e,
            })?;
            let (covariance, correlation) = (&spread.covariance, &spread.correlation);
            observer.inspect(Point::Spread { covariance, correlation })?;
            self.classes.push(Whitened::new(device, &spread.whitening, mean)?);
        }
        self.means.extend(means);
        Ok(done + 1)
    }

    fn scores(&self, device: &Device, f: &Tensor) -> Result<Tensor> {
        nearness(device, &unit_rows(device, f)?, &self.classes)
    }

    async fn state(&self, device: &Device) -> Result<Tree> {
        let mut tree = Tree::new();
        tree.put("classifier", &[self.classes.len(), self.width], &self.means);
        for (c, class) in self.classes.iter().enumerate() {
            put(&mut tree, &format!("maps/{c}"), device, &class.map).await?;
            put(&mut tree, &format!("shifts/{c}"), device, &class.shift).await?;
        }
        Ok(tree)
    }

    async fn restore(&mut self, device: &Device, mut tree: Tree) -> Result<()> {
        let (d, classes) = (self.width, tree.shape("classifier")?.first().copied().unwrap_or(0));
        self.means = tree.take_shaped::<f64>("classifier", &[classes, d])?;
        self.classes.clear();
        for c in 0..classes {
            let map = upload(&mut tree, &format!("maps/{c}"), device, &[d, d])?;
            self.classes.push(Whitened { map, shift: upload(&mut tree, &format!("shifts/{c}"), device, &[d])? });
        }
        tree.finish()
    }

    fn rehearsal(&self, planner: &Device, classes: usize) -> Result<Self> {
        let classes = (0..classes).map(|_| Whitened::stand_in(planner, self.width)).collect::<Result<_>>()?;
        Ok(Self { classes, ..Self::new(self.width, self.shrink) })
    }
}
