//! DualPrompt (RIVALS section 7): prefixes that all tasks share in the first blocks, and one set for each task behind them.
//!
//! Source: arXiv 2204.04799; google-research/l2p, `configs/*_dualprompt.py`, `models/prompt.py`. Differs: LAMDA-PILOT and
//! JH-LEE-KR/dualprompt-pytorch reshape keys and values without a transpose, so that half of a batch takes keys for both.

use crate::Result;
use crate::autograd::{Linear, Tape, Var};
use crate::config;
use crate::device::{Device, Tensor};
use crate::method::Task;
use crate::method::prompts::{ClassHead, Course, Draw, Part, asked, check_blocks, check_task, queries, similarities};
use crate::method::trained::{Descent, Given, Graded, Pupil};
use crate::model::optimizer::{Parameter, Schedule};
use crate::model::state::{put, upload};
use crate::model::vit::{Beside, Vit};
use crate::store::Tree;

/// Entry t of the pool is that of task t, which starts from that of the task before; the key of each learns from `-pull` times
/// the mean cosine to the queries of its task. Images that are judged take the entry of the largest cosine in the whole pool.
#[derive(Debug)]
pub(crate) struct DualPrompt {
    of: config::DualPrompt,
    course: Course,
    draw: Draw,
    /// Keys and values of the blocks with general prompts, [blocks, 2 g_length d].
    general: Tensor,
    /// Those of all blocks with prompts of tasks, by task, [pool, blocks 2 e_length d].
    expert: Tensor,
    /// [pool, d].
    key: Tensor,
    head: ClassHead,
}

impl DualPrompt {
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for blocks that the backbone has not; those of `draw`; allocation failures.
    pub fn new(vit: &Vit, of: config::DualPrompt, course: Course, draw: Draw) -> Result<Self> {
        check_blocks(vit, "dualprompt.g_layers", &of.g_layers)?;
        check_blocks(vit, "dualprompt.e_layers", &of.e_layers)?;
        let (device, d) = (vit.device(), vit.architecture.sizes.dim);
        let [general, expert] = [of.g_length, of.e_length].map(|length| 2 * length * d);
        Ok(Self {
            general: draw.upload(device, Part::General, 0..of.g_layers.len(), general)?,
            expert: draw.upload(device, Part::Expert, 0..of.pool, of.e_layers.len() * expert)?,
            key: draw.upload(device, Part::Key, 0..of.pool, d)?,
            head: ClassHead::new(device, 0, d)?,
            of,
            course,
            draw,
        })
    }

    /// The entry [B, 1, pool] of the largest cosine for each of some queries.
    fn choose(&self, tape: &mut Tape, queries: &Tensor) -> Result<Var> {
        let cosines = similarities(tape, queries, &self.key)?;
        tape.largest(&cosines, 1)
    }

    /// What images chose, [B, 1, pool].
    ///
    /// # Errors
    /// Device errors.
    pub fn chosen(&self, vit: &Vit, images: &Tensor) -> Result<Tensor> {
        let (mut tape, queries) = asked(vit, images)?;
        Ok(self.choose(&mut tape, &queries)?.value().clone())
    }

    /// Features [B, d] of images by a backbone with prefixes, for each image the entry that is 1 in [B, 1, pool].
    fn behind(&self, vit: &Vit, tape: &mut Tape, images: &Tensor, chosen: &Var) -> Result<Var> {
        let (batch, d) = (images.shape()[0], self.key.cols());
        let [general, expert] = [self.general.reshape(&[1, self.general.len()]), self.expert.clone()];
        let (general, expert) = (tape.var(&general), tape.var(&expert));
        let expert = tape.linear(chosen, Linear::new(&expert))?;
        let mut prefixes = Vec::new();
        for j in 0..vit.architecture.sizes.depth {
            // Keys and values of an image one below the other, so that more rows come beside them.
            let mut rows = Vec::new();
            if let Some(at) = self.of.g_layers.iter().position(|&block| block == j) {
                let n = self.general.cols();
                let own = tape.columns(&general, at * n..(at + 1) * n)?;
                let own = tape.repeat(&own, batch)?;
                rows.push(tape.reshape(&own, &[2 * batch, n / 2]));
            }
            if let Some(at) = self.of.e_layers.iter().position(|&block| block == j) {
                let n = 2 * self.of.e_length * d;
                let own = tape.columns(&expert, at * n..(at + 1) * n)?;
                rows.push(tape.reshape(&own, &[2 * batch, n / 2]));
            }
            let prefix = match &rows[..] {
                [] => None,
                [one] => Some(one.clone()),
                _ => Some(tape.concat(&rows.iter().collect::<Vec<_>>())?),
            };
            prefixes.push(prefix.map(|prefix| {
                let rows = prefix.value().cols() / d;
                tape.reshape(&prefix, &[batch, 2, rows, d])
            }));
        }
        vit.features(tape, images, |tape, j, x| {
            vit.block_beside(tape, j, &x, Beside { prefix: prefixes[j].as_ref(), ..Beside::default() })
        })
    }
}

impl Pupil for DualPrompt {
    const QUERIES: bool = true;

    fn epochs(&self, task: usize) -> usize {
        self.course.epochs(task)
    }

    async fn begin(&mut self, vit: &Vit, task: &Task) -> Result<()> {
        let (device, t) = (vit.device(), task.index);
        check_task(task, "dualprompt.pool", self.of.pool)?;
        if t > 0 {
            let n = self.expert.cols();
            let entry = device.reals(&[n])?;
            device.copy(&self.expert, (t - 1) * n, &entry, 0, n)?;
            device.copy(&entry, 0, &self.expert, t * n, n)?;
        }
        self.head.widen(device, task.classes, &self.draw)
    }

    fn descent(&self, _: &Task) -> Descent {
        let (rule, clip) = (self.course.rule, Some(self.of.clip));
        Descent { parameters: self.learned(), rule, schedule: Schedule::Constant, clip }
    }

    fn loss(&self, vit: &Vit, tape: &mut Tape, given: &Given<'_>) -> Result<Graded> {
        let (batch, pool) = (given.images.shape()[0], self.of.pool);
        let entry: Vec<f64> = (0..batch * pool).map(|i| f64::from(u8::from(i % pool == given.task))).collect();
        let chosen = tape.device().upload(&entry, &[batch, 1, pool])?;
        let chosen = tape.var(&chosen);
        let f = self.behind(vit, tape, &given.images, &chosen)?;
        self.head.cross_entropy(tape, &f, given)?;
        let cosines = similarities(tape, queries(given)?, &self.key)?;
        let weight = -self.of.pull / given.loss.batch as f64;
        let root = tape.inner_loss(&cosines, &chosen, weight, (given.loss.loss, given.loss.slot))?;
        Ok(Graded { root, chosen: Some(chosen.value().clone()) })
    }

    fn scores(&self, vit: &Vit, images: &Tensor) -> Result<Tensor> {
        let (mut tape, queries) = asked(vit, images)?;
        let chosen = self.choose(&mut tape, &queries)?;
        let f = self.behind(vit, &mut tape, images, &chosen)?;
        self.head.scores(&mut tape, &f)
    }

    fn learned(&self) -> Vec<Parameter> {
        let pool = [(Part::General, &self.general), (Part::Expert, &self.expert), (Part::Key, &self.key)];
        let pool = pool.map(|(part, tensor)| Parameter::whole(&part.path(), tensor));
        pool.into_iter().chain(self.head.parameters()).collect()
    }

    async fn state(&self, device: &Device) -> Result<Tree> {
        let mut tree = Tree::new();
        self.head.save(&mut tree, device).await?;
        put(&mut tree, "g_prompt", device, &self.general).await?;
        put(&mut tree, "e_prompt", device, &self.expert).await?;
        put(&mut tree, "key", device, &self.key).await?;
        Ok(tree)
    }

    async fn restore(&mut self, vit: &Vit, mut tree: Tree) -> Result<()> {
        let device = vit.device();
        self.head.restore(&mut tree, device)?;
        self.general = upload(&mut tree, "g_prompt", device, self.general.shape())?;
        self.expert = upload(&mut tree, "e_prompt", device, self.expert.shape())?;
        self.key = upload(&mut tree, "key", device, self.key.shape())?;
        tree.finish()
    }

    fn rehearsal(&self, vit: &Vit, task: &Task) -> Result<Self> {
        let planner = vit.device();
        check_task(task, "dualprompt.pool", self.of.pool)?;
        Ok(Self {
            of: self.of.clone(),
            course: self.course,
            draw: self.draw.clone(),
            general: planner.reals(self.general.shape())?,
            expert: planner.reals(self.expert.shape())?,
            key: planner.reals(self.key.shape())?,
            head: ClassHead::new(planner, task.classes, self.key.cols())?,
        })
    }
}
