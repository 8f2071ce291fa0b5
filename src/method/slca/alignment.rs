//! The second stage of a task: a copy of all heads is aligned by features that are drawn of every class.

use std::iter::repeat_n;

use super::{Head, Slca};
use crate::autograd::{Gradients, Linear, Loss, Tape, Var};
use crate::device::{Device, Tensor};
use crate::method::{Observer, Point, Task};
use crate::model::optimizer::{Optimizer, Rule, Schedule};
use crate::{Error, Result};

/// What is added to the length of the logits of a task.
const LEAST: f64 = 1e-7;

/// The second stage of a task, on a copy of all heads.
#[derive(Debug)]
pub(super) struct Alignment {
    pub head: Head,
    pub optimizer: Optimizer,
    /// Losses of all steps.
    pub loss: Tensor,
    /// 1 where a class [C] is of a task [tasks].
    own: Tensor,
    /// tau / tasks, [tasks, C].
    mean: Tensor,
    /// tau times [`LEAST`], `[C]`.
    least: Tensor,
    epoch: Option<Epoch>,
}

/// The features of an epoch.
#[derive(Debug)]
struct Epoch {
    number: usize,
    /// [C n, d], class after class.
    features: Vec<f64>,
    order: Vec<usize>,
}

impl Alignment {
    /// Of a head for tasks of these sizes, in so many steps, with the temperature tau.
    fn new(device: &Device, head: Head, sizes: &[usize], rule: Rule, steps: usize, tau: f64) -> Result<Self> {
        let (classes, tasks) = (head.classes(), sizes.len());
        let mut own = vec![0.0; classes * tasks];
        let task_of = sizes.iter().enumerate().flat_map(|(task, &size)| repeat_n(task, size));
        own.chunks_mut(tasks.max(1)).zip(task_of).for_each(|(row, task)| row[task] = 1.0);
        Ok(Self {
            optimizer: Optimizer::new(device, rule, head.parameters("aligned").into())?,
            head,
            loss: device.zeros(&[steps])?,
            own: device.upload(&own, &[classes, tasks])?,
            mean: device.upload(&vec![tau / tasks as f64; tasks * classes], &[tasks, classes])?,
            least: device.upload(&vec![tau * LEAST; classes], &[classes])?,
            epoch: None,
        })
    }

    /// `l / (tau nu)` of logits l [n, C], nu the mean over tasks i of `|l_i| + 1e-7`, l_i the columns of the classes of task i.
    fn normalised(&self, tape: &mut Tape, logits: &Var) -> Result<Var> {
        let [own, mean, least] = [&self.own, &self.mean, &self.least].map(|x| tape.var(x));
        let squares = tape.multiply(logits, logits)?;
        let squares = tape.linear(&squares, Linear::new(&own))?;
        // s / sqrt(s).
        let lengths = tape.root_ratio(&squares, &squares)?;
        let nu = tape.linear(&lengths, Linear { bias: Some(&least), ..Linear::new(&mean) })?;
        let nu = tape.multiply(&nu, &nu)?;
        tape.root_ratio(logits, &nu)
    }

    /// Loss of features [n, d] with their labels `[n]` into its place, and the gradients.
    pub fn gradients(&self, device: &Device, features: &Tensor, labels: &Tensor, step: usize) -> Result<Gradients> {
        let mut tape = Tape::new(device, self.optimizer.tracked());
        let x = tape.var(features);
        let logits = self.head.logits(&mut tape, &x)?;
        let logits = self.normalised(&mut tape, &logits)?;
        let root = tape.cross_entropy(&logits, labels, Loss::new(&self.loss, step, features.rows()))?;
        tape.backward(&root)
    }
}

impl Slca {
    /// Steps of the second stage of a task, after which so many classes are known.
    pub(super) fn alignment_steps(&self, task: usize, classes: usize) -> usize {
        if task > 0 { self.course.of.ca_epochs * classes } else { 0 }
    }

    pub(super) fn alignment(&self, device: &Device, head: Head) -> Result<Alignment> {
        let of = &self.course.of;
        let steps = of.ca_epochs * head.classes();
        Alignment::new(device, head, &self.sizes(), self.course.rule(of.ca_lr), steps, of.ca_temperature)
    }

    /// The features of an epoch behind a task.
    async fn epoch(&self, device: &Device, task: usize, number: usize) -> Result<Epoch> {
        let (n, d) = (self.course.of.ca_samples, self.d());
        let task_of = self.sizes().into_iter().enumerate().flat_map(|(task, size)| repeat_n(task, size));
        let (mut features, shape) = (Vec::new(), [self.classes.len(), n, d]);
        let lacking =
            |_| Error::OutOfMemory { during: format!("features {shape:?} of an alignment, `slca.ca_samples` = {n}") };
        features.try_reserve_exact(shape.iter().product()).map_err(lacking)?;
        for ((c, class), own) in self.classes.iter().enumerate().zip(task_of) {
            let z = device.upload(&self.draws.normals(task, number, c, [n, d])?, &[n, d])?;
            let shrink = 0.9 + 0.1 * (own + 1) as f64 / (task + 1) as f64;
            features.extend(device.read::<f64>(&class.sample(device, &z, shrink)?).await?);
        }
        Ok(Epoch { number, features, order: self.draws.order(task, number, self.classes.len() * n)? })
    }

    /// Batch `step` of the second stage.
    pub(super) async fn align(
        &self,
        device: &Device,
        task: &Task,
        alignment: &mut Alignment,
        step: usize,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let (n, d, epochs) = (self.course.of.ca_samples, self.d(), self.course.of.ca_epochs);
        let (number, batch) = (step / task.classes, step % task.classes);
        let epoch = match alignment.epoch.take().filter(|epoch| epoch.number == number) {
            Some(epoch) => epoch,
            None => self.epoch(device, task.index, number).await?,
        };
        let chosen = epoch.order.get(batch * n..(batch + 1) * n);
        let chosen = chosen.ok_or_else(|| Error::shape("slca", "order", task.classes * n, epoch.order.len()))?;
        let rows: Vec<f64> = chosen.iter().flat_map(|&i| &epoch.features[i * d..][..d]).copied().collect();
        let features = device.upload(&rows, &[n, d])?;
        let labels = device.upload_u32(&chosen.iter().map(|&i| (i / n) as u32).collect::<Vec<_>>(), &[n])?;
        let gradients = alignment.gradients(device, &features, &labels, step)?;
        if step == 0 {
            observer.inspect(Point::Drawn(&features))?;
            let parameters = &alignment.head.parameters("aligned");
            observer.inspect(Point::FirstDescent { parameters, gradients: &gradients })?;
        }
        alignment.optimizer.step(&gradients, Schedule::HalfCosine.factor(number, epochs))?;
        alignment.epoch = Some(epoch);
        device.flush()
    }
}
