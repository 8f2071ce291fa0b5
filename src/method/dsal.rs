//! DS-AL (RIVALS section 5): the analytic classifier, and a second one that learns what the first leaves of the labels.
//!
//! Source: AAAI 2024, arXiv 2403.17503; github.com/ZHUANGHP/Analytic-continual-learning, `analytic/`. Differs: the authors
//! train the network on the first task before they freeze it.

use crate::device::{Device, Tensor};
use crate::method::frozen::{Head, Seen};
use crate::method::{Observer, Task};
use crate::model::head::random::{rectified, saturated};
use crate::model::head::{Recursive, add_logits, logits};
use crate::store::Tree;
use crate::{Error, Result};

/// Batches in their order add (h, onehot(y)) to the main stream, `h = relu(f B)`, and (g, E) to the second, `g = tanh(f B)`,
/// where E is what the main stream then leaves of the labels, 0 for classes of earlier tasks. Both are recursive: the
/// classifier of the main stream is needed after every batch.
#[derive(Debug)]
pub(crate) struct DsAl {
    /// B [d, m].
    random: Tensor,
    main: Recursive,
    comp: Recursive,
    /// How much of the second stream is added to the first.
    compensation: f64,
    /// W_m^T and ratio W_c^T [C, m] on the device, for scores.
    weights: [Tensor; 2],
}

impl DsAl {
    /// With the buffer B [d, m], and the ridges of the two streams.
    ///
    /// # Errors
    /// Allocation failures.
    pub fn new(device: &Device, buffer: &[f64], m: usize, gamma: [f64; 2], compensation: f64) -> Result<Self> {
        let none = || device.zeros(&[0, m]);
        Ok(Self {
            random: device.upload(buffer, &[buffer.len() / m, m])?,
            main: Recursive::new(m, gamma[0])?,
            comp: Recursive::new(m, gamma[1])?,
            compensation,
            weights: [none()?, none()?],
        })
    }

    /// The main stream and the second, with W^T [C, m] each.
    pub fn streams(&self) -> [&Recursive; 2] {
        [&self.main, &self.comp]
    }

    fn upload(&mut self, device: &Device) -> Result<()> {
        let shape = [self.main.classes(), self.main.features()];
        let comp: Vec<f64> = self.comp.weights().iter().map(|w| self.compensation * w).collect();
        self.weights = [device.upload(self.main.weights(), &shape)?, device.upload(&comp, &shape)?];
        Ok(())
    }
}

impl Head for DsAl {
    const WHAT: &'static str = "two streams";
    const EPOCHS: usize = 1;

    fn begin(&mut self, task: &Task) -> Result<()> {
        self.main.widen(task.classes);
        self.comp.widen(task.classes);
        Ok(())
    }

    /// All batches of the schedule.
    fn total(&self, seen: &Seen<'_>) -> usize {
        seen.task.schedule.len().max(1)
    }

    async fn learn(&mut self, device: &Device, seen: &Seen<'_>, done: usize, _: &mut dyn Observer) -> Result<usize> {
        let (schedule, classes) = (&seen.task.schedule, self.main.classes());
        let images = schedule.get(done).ok_or_else(|| Error::shape("dsal", "schedule", "a batch", schedule.len()))?;
        let (f, labels) = seen.upload(device, images)?;
        let h: Vec<f64> = device.read(&rectified(device, &f, &self.random)?).await?;
        let g: Vec<f64> = device.read(&saturated(device, &f, &self.random)?).await?;
        let mut left = vec![0.0; labels.len() * classes];
        labels.iter().enumerate().for_each(|(i, &y)| left[i * classes + y as usize] = 1.0);
        self.main.add(&h, &mut left)?;
        left.chunks_mut(classes).for_each(|row| row[..seen.task.first_class].fill(0.0));
        self.comp.add(&g, &mut left)?;
        if done + 1 == schedule.len() {
            self.upload(device)?;
        }
        Ok(done + 1)
    }

    fn scores(&self, device: &Device, f: &Tensor) -> Result<Tensor> {
        let [main, comp] = &self.weights;
        let scores = logits(device, &rectified(device, f, &self.random)?, main)?;
        add_logits(device, &saturated(device, f, &self.random)?, comp, &scores)?;
        Ok(scores)
    }

    fn random(&self) -> Option<&Tensor> {
        Some(&self.random)
    }

    async fn state(&self, _: &Device) -> Result<Tree> {
        let (mut tree, m) = (Tree::new(), self.main.features());
        tree.put("classifier", &[self.main.classes(), m], self.main.weights());
        tree.put("compensation", &[self.comp.classes(), m], self.comp.weights());
        for (name, stream) in [("main", &self.main), ("comp", &self.comp)] {
            tree.put(&format!("statistics/{name}"), &[m * (m + 1) / 2], &stream.packed());
        }
        Ok(tree)
    }

    async fn restore(&mut self, device: &Device, mut tree: Tree) -> Result<()> {
        let (m, mut statistics) = (self.main.features(), tree.prune("statistics"));
        let classes = tree.shape("classifier")?.first().copied().unwrap_or(0);
        for (weights, name, stream) in
            [("classifier", "main", &mut self.main), ("compensation", "comp", &mut self.comp)]
        {
            let packed = match statistics.has(name) {
                true => Some(statistics.take_shaped::<f64>(name, &[m * (m + 1) / 2])?),
                false => None,
            };
            stream.restore(packed.as_deref(), tree.take_shaped::<f64>(weights, &[classes, m])?)?;
        }
        statistics.finish()?;
        tree.finish()?;
        self.upload(device)
    }

    fn rehearsal(&self, planner: &Device, classes: usize) -> Result<Self> {
        let weights = || planner.reals(&[classes, self.random.cols()]);
        Ok(Self {
            random: self.random.clone(),
            // They are in host memory.
            main: Recursive::new(1, 1.0)?,
            comp: Recursive::new(1, 1.0)?,
            compensation: self.compensation,
            weights: [weights()?, weights()?],
        })
    }

    fn plan(&self, device: &Device, f: &Tensor, _: usize) -> Result<()> {
        rectified(device, f, &self.random)?;
        saturated(device, f, &self.random)?;
        Ok(())
    }

    fn occupy(&self, planner: &Device, f: &Tensor, _: usize) -> Result<Vec<Tensor>> {
        if f.rows() > 0 {
            self.plan(planner, f, 0)?;
        }
        Ok(Vec::new())
    }
}
