//! EASE (RIVALS section 12): every task trains adapters of its own, and what the classes of earlier tasks would look like
//! through them is made up from how alike classes are in the subspaces that they do have.
//!
//! Source: arXiv 2403.12030; sun-hailong/CVPR24-Ease, equal to LAMDA-CL/LAMDA-PILOT, `models/ease.py`. Differs: with
//! `recalc_sim = false` that code fills the newest subspace alone, from the newest classes; here all are filled.

use std::ops::Range;

use crate::autograd::Tape;
use crate::device::{Device, Tensor};
use crate::method::aper::beside;
use crate::method::frozen::Seen;
use crate::method::trained::{Descent, Given, Graded, Pupil};
use crate::method::tuning::{Tuned, Tuning};
use crate::method::{Observer, Task};
use crate::model::head::logits;
use crate::model::head::prototype::{class_means, unit_rows, units};
use crate::model::optimizer::Parameter;
use crate::model::vit::Vit;
use crate::store::Tree;
use crate::{Error, Result};

/// `sum_i k unit(f_i) . unit(p[c, i])` over the subspaces i of t + 1 tasks: k = 1 in that of the task of c, else alpha / t.
#[derive(Debug)]
pub(crate) struct Ease {
    tuned: Tuned,
    alpha: f64,
    /// d.
    width: usize,
    /// Classes known once each task is learned.
    ends: Vec<usize>,
    /// p [C, t + 1, d].
    prototypes: Vec<f64>,
    /// `k unit(p)` [C, (t + 1) d] on the device.
    weights: Tensor,
}

impl Ease {
    /// For features of d numbers.
    ///
    /// # Errors
    /// Allocation failures.
    pub fn new(device: &Device, tuning: Tuning, alpha: f64, d: usize) -> Result<Self> {
        let (ends, prototypes) = (Vec::new(), Vec::new());
        Ok(Self { tuned: Tuned::new(tuning), alpha, width: d, ends, prototypes, weights: device.zeros(&[0, d])? })
    }

    /// p [C, t + 1, d].
    pub fn prototypes(&self) -> &[f64] {
        &self.prototypes
    }

    /// The classes of a task.
    fn classes(&self, task: usize) -> Range<usize> {
        task.checked_sub(1).map_or(0, |before| self.ends[before])..self.ends[task]
    }

    /// Adds the means [c, t + 1, d] of the classes of task t, and fills in what others would be in the subspaces that came
    /// after them.
    fn extend(&mut self, means: &[f64], end: usize) {
        let (known, d) = (self.ends.len(), self.width);
        let row = (known + 1) * d;
        let mut wide: Vec<f64> = Vec::with_capacity(end * row);
        for class in self.prototypes.chunks(known.max(1) * d) {
            wide.extend_from_slice(class);
            wide.resize(wide.len() + d, 0.0);
        }
        wide.extend_from_slice(means);
        (self.prototypes, self.ends) = (wide, [&self.ends[..], &[end]].concat());
        for old in 0..known {
            let (own, later) = (self.classes(old), self.ends[old]..end);
            let likeness = self.likeness(own.clone(), later.clone(), old);
            for space in old + 1..=known {
                let donors = self.classes(space).start..end;
                for (a, like) in own.clone().zip(likeness.chunks(later.len())) {
                    let like = &like[donors.start - later.start..];
                    let most = like.iter().copied().fold(f64::MIN, f64::max);
                    let shares: Vec<f64> = like.iter().map(|x| (x - most).exp()).collect();
                    let (sum, mut made) = (shares.iter().sum::<f64>(), vec![0.0; d]);
                    for (share, b) in shares.iter().zip(donors.clone()) {
                        let of = &self.prototypes[b * row + space * d..][..d];
                        made.iter_mut().zip(of).for_each(|(made, x)| *made += share / sum * x);
                    }
                    self.prototypes[a * row + space * d..][..d].copy_from_slice(&made);
                }
            }
        }
    }

    /// Cosines [a, b] of the prototypes of classes a and b in a subspace that both have.
    fn likeness(&self, a: Range<usize>, b: Range<usize>, space: usize) -> Vec<f64> {
        let (d, row) = (self.width, self.ends.len() * self.width);
        let of = |classes: Range<usize>| {
            let all: Vec<f64> = classes.flat_map(|c| &self.prototypes[c * row + space * d..][..d]).copied().collect();
            units(&all, d)
        };
        let (a, b) = (of(a), of(b));
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        a.chunks(d).flat_map(|a| b.chunks(d).map(move |b| dot(a, b))).collect()
    }

    fn upload(&mut self, device: &Device) -> Result<()> {
        let (tasks, d) = (self.ends.len(), self.width);
        let mut weights = units(&self.prototypes, d);
        for task in 0..tasks {
            for class in weights.chunks_mut(tasks * d).take(self.classes(task).end).skip(self.classes(task).start) {
                for (_, other) in class.chunks_mut(d).enumerate().filter(|(space, _)| *space != task) {
                    other.iter_mut().for_each(|x| *x *= self.alpha / (tasks - 1) as f64);
                }
            }
        }
        self.weights = device.upload(&weights, &[weights.len() / (tasks * d).max(1), tasks * d])?;
        Ok(())
    }
}

impl Pupil for Ease {
    const LOOKS: bool = true;
    const WHAT: &'static str = "class means";

    fn epochs(&self, task: usize) -> usize {
        self.tuned.epochs(task)
    }

    async fn begin(&mut self, vit: &Vit, task: &Task) -> Result<()> {
        self.tuned.begin(vit, task)
    }

    fn descent(&self, _: &Task) -> Descent {
        self.tuned.descent()
    }

    fn loss(&self, vit: &Vit, tape: &mut Tape, given: &Given<'_>) -> Result<Graded> {
        self.tuned.loss(vit, tape, given)
    }

    fn conclude(&mut self, _: &Task) {
        self.tuned.conclude();
    }

    /// `[f_0 | f_1 | ..]`.
    fn features(&self, vit: &Vit, images: &Tensor) -> Result<Tensor> {
        beside(vit.device(), &self.tuned.features(self.tuned.count(), vit, images)?)
    }

    fn width(&self, d: usize) -> usize {
        self.tuned.count() * d
    }

    async fn learn(&mut self, device: &Device, seen: &Seen<'_>, done: usize, _: &mut dyn Observer) -> Result<usize> {
        let (task, known) = (seen.task, self.ends.last().copied().unwrap_or(0));
        if self.tuned.count() != task.index + 1 || known != task.first_class {
            let message =
                format!("its adapters or its {known} classes are not those of the tasks before task {}", task.index);
            return Err(Error::Store { file: "state".into(), message });
        }
        let d = (self.ends.len() + 1) * self.width;
        if seen.width() != d {
            return Err(Error::shape("ease", "features", [seen.labels().len(), d], [seen.width()]));
        }
        let means = class_means(seen.rows(), seen.width(), seen.labels(), seen.classes());
        self.extend(&means, seen.classes().end);
        self.upload(device)?;
        Ok(done + 1)
    }

    fn scores(&self, vit: &Vit, images: &Tensor) -> Result<Tensor> {
        let device = vit.device();
        let f = self.tuned.features(self.ends.len(), vit, images)?;
        let units: Vec<_> = f.iter().map(|f| unit_rows(device, f)).collect::<Result<_>>()?;
        logits(device, &beside(device, &units)?, &self.weights)
    }

    fn learned(&self) -> Vec<Parameter> {
        self.tuned.learned()
    }

    async fn state(&self, device: &Device) -> Result<Tree> {
        let (mut tree, tasks) = (Tree::new(), self.ends.len());
        let classes = self.ends.last().copied().unwrap_or(0);
        tree.put("classifier", &[classes, tasks, self.width], &self.prototypes);
        tree.set("ends", &self.ends)?;
        tree.graft("adapters", self.tuned.state(device).await?);
        Ok(tree)
    }

    async fn restore(&mut self, vit: &Vit, mut tree: Tree) -> Result<()> {
        self.tuned.restore(vit, tree.prune("adapters"))?;
        let ends: Vec<usize> = tree.get("ends")?;
        let grows = std::iter::once(&0).chain(&ends).zip(&ends).all(|(before, end)| before < end);
        if !grows || ![ends.len(), ends.len() + 1].contains(&self.tuned.count()) {
            return Err(tree.error("its tasks have no classes of their own, or no adapters"));
        }
        let classes = ends.last().copied().unwrap_or(0);
        self.prototypes = tree.take_shaped::<f64>("classifier", &[classes, ends.len(), self.width])?;
        self.ends = ends;
        tree.finish()?;
        self.upload(vit.device())
    }

    fn rehearsal(&self, vit: &Vit, task: &Task) -> Result<Self> {
        let (tasks, d) = (task.index + 1, self.width);
        Ok(Self {
            tuned: self.tuned.rehearsal(vit, tasks, task)?,
            alpha: self.alpha,
            width: d,
            ends: vec![task.classes; tasks],
            prototypes: Vec::new(),
            weights: vit.device().reals(&[task.classes, tasks * d])?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;
    use crate::model::adapter::Bottleneck;
    use crate::model::optimizer::Rule;

    /// Two tasks of two classes and a third of one, in two dimensions: shares by hand.
    #[test]
    fn old_classes_borrow_from_those_that_are_alike() {
        let device = Device::cpu(Precision::F64);
        let tuning = Tuning {
            of: Bottleneck { hidden: 1, scale: 1.0 },
            dropout: 0.0,
            rule: Rule::Sgd { lr: 1.0, momentum: 0.0, weight_decay: 0.0 },
            epochs: [1; 2],
            seed: 0,
            draw: std::rc::Rc::new(|_, _, n| Ok(vec![0.0; n])),
        };
        let mut ease = Ease::new(&device, tuning, 0.1, 2).unwrap();
        ease.extend(&[2.0, 0.0, 0.0, 3.0], 2);
        assert_eq!(ease.prototypes, [2.0, 0.0, 0.0, 3.0]);
        // Classes 2 and 3 point where 0 and 1 do in subspace 0, and to 5 and 7 in subspace 1.
        ease.extend(&[4.0, 0.0, 5.0, 0.0, 0.0, 1.0, 0.0, 7.0], 4);
        let e = 1f64.exp();
        let (more, less) = (e / (e + 1.0), 1.0 / (e + 1.0));
        let near = |got: &[f64], want: [f64; 2]| {
            assert!(got.iter().zip(want).all(|(x, y)| (x - y).abs() < 1e-12), "{got:?} for {want:?}");
        };
        near(&ease.prototypes[2..4], [5.0 * more, 7.0 * less]);
        near(&ease.prototypes[6..8], [5.0 * less, 7.0 * more]);
        // The only class of the third task gives all that is made up in subspace 2, but renews subspace 1 with its own.
        ease.extend(&[1.0, 0.0, 0.0, 2.0, 9.0, 8.0], 5);
        for class in ease.prototypes.chunks(6) {
            near(&class[4..], [9.0, 8.0]);
        }
        let sum = 2.0 * e + 1.0;
        near(&ease.prototypes[2..4], [5.0 * e / sum, (7.0 + 2.0 * e) / sum]);
        // Class 2 keeps what it has.
        near(&ease.prototypes[14..16], [5.0, 0.0]);
    }
}
