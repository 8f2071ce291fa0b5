//! The gradient step that both profiles take: cross-entropy of analytic plus auxiliary logits.

use crate::autograd::{Gradients, Linear, Tape};
use crate::device::Tensor;
use crate::method::{Batch, Core, Observer, Phase, Point, Task};
use crate::model::network::{Behind, Drawn};
use crate::model::noise::Noise;
use crate::model::optimizer::{Optimizer, Parameter, Rule};
use crate::{Error, Result};

/// Steps between two reads of the losses, which stay on the device meanwhile.
const LOSS_READS: usize = 64;

/// What the analytic classifier contributes to the logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Main {
    Absent,
    /// A constant.
    Detached,
    /// Passes gradient to the features.
    Through,
}

/// The set-up of one training run.
pub(super) struct Training {
    pub parameters: Vec<Parameter>,
    /// W_aux^T, [classes, m].
    pub aux: Tensor,
    pub aux_bias: Option<Tensor>,
    pub main: Main,
    pub noise: fn(Drawn, u32) -> Noise,
    pub rule: Rule,
    pub seed: u64,
}

impl Training {
    /// Loss of one batch into `loss[slot]`, and the gradients.
    fn gradients(
        &self,
        core: &Core,
        images: &Tensor,
        labels: &Tensor,
        step: u32,
        (loss, slot): (&Tensor, usize),
    ) -> Result<Gradients> {
        let tracked = self.parameters.iter().map(|p| &p.tensor);
        let mut tape = Tape::new(core.device(), tracked);
        let behind = Behind::Layers { noise: self.noise, drawn: Drawn { seed: self.seed, step } };
        let f = core.network.features(&mut tape, images, behind)?;
        let p = core.network.random_features(&mut tape, &f)?;
        let main = match self.main {
            Main::Absent => None,
            kind => {
                let w = tape.var(&core.weights);
                let p = if kind == Main::Through { p.clone() } else { p.detach() };
                Some(tape.linear(&p, Linear { transposed: true, ..Linear::new(&w) })?)
            }
        };
        let (aux, bias) = (tape.var(&self.aux), self.aux_bias.as_ref().map(|b| tape.var(b)));
        let op = Linear { transposed: true, bias: bias.as_ref(), residual: main.as_ref(), ..Linear::new(&aux) };
        let logits = tape.linear(&p, op)?;
        let root = tape.cross_entropy(&logits, labels, loss, slot)?;
        tape.backward(&root)
    }

    /// Runs the schedule; one forward pass a step.
    pub async fn run(&self, core: &mut Core, task: &Task<'_>, observer: &mut dyn Observer) -> Result<()> {
        let device = core.device().clone();
        let mut optimizer = Optimizer::new(&device, self.rule, self.parameters.clone())?;
        let loss = device.zeros(&[LOSS_READS])?;
        let mut losses: Vec<f64> = Vec::new();
        let (mut done, mut epoch, mut epoch_start) = (0, 0, 0);
        let mut stream = task.samples.stream(batches(task))?;
        for (i, idx) in task.schedule.iter().enumerate() {
            if done % task.samples.len() == 0 {
                epoch += 1;
                observer.begin(Phase::Noise, &format!("noise, epoch {epoch}"), task.samples.len());
            }
            let pixels = stream.next().ok_or_else(|| Error::Unsupported("the samples end before the task".into()))?;
            let images = core.images(task.samples, &pixels?)?;
            let labels: Vec<u32> = idx.iter().map(|&i| task.samples.labels[i]).collect();
            let labels = device.upload_u32(&labels, &[idx.len()])?;
            let gradients = self.gradients(core, &images, &labels, core.step, (&loss, i % LOSS_READS))?;
            if i == 0 {
                observer.inspect(Point::FirstGradients { core, gradients: &gradients, aux: &self.aux })?;
            }
            optimizer.step(&gradients)?;
            device.flush()?;
            core.step += 1;
            done += idx.len();
            observer.advance(idx.len());
            let epoch_over = done % task.samples.len() == 0 || i + 1 == task.schedule.len();
            if epoch_over || (i + 1) % LOSS_READS == 0 {
                let slots: Vec<f64> = device.read(&loss).await?;
                losses.extend((losses.len()..=i).map(|k| slots[k % LOSS_READS]));
            }
            if epoch_over {
                let mean = losses[epoch_start..].iter().sum::<f64>() / (losses.len() - epoch_start) as f64;
                epoch_start = losses.len();
                observer.end(Phase::Noise, Some(mean));
            }
        }
        observer.inspect(Point::Losses(&losses))
    }

    /// Plans one step on a batch of each size that the schedule has, and its update.
    pub fn plan(&self, core: &Core, task: &Task<'_>) -> Result<()> {
        let mut sizes: Vec<usize> = task.schedule.iter().map(Vec::len).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let loss = core.device().zeros(&[LOSS_READS])?;
        let mut optimizer = Optimizer::new(core.device(), self.rule, self.parameters.clone())?;
        for size in sizes {
            let [c, h, w] = task.samples.shape();
            let images = core.device().zeros(&[size, c, h, w])?;
            let labels = core.device().upload_u32(&vec![0; size], &[size])?;
            optimizer.step(&self.gradients(core, &images, &labels, 0, (&loss, 0))?)?;
        }
        Ok(())
    }
}

/// The batches of the schedule, each in the epoch that it belongs to.
fn batches(task: &Task<'_>) -> Vec<Batch> {
    let mut done = 0;
    let batch = |idx: &Vec<usize>| {
        let epoch = (done / task.samples.len()) as u32;
        done += idx.len();
        Batch { images: idx.clone(), epoch: Some(epoch) }
    };
    task.schedule.iter().map(batch).collect()
}
