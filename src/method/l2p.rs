//! L2P (RIVALS section 6): every image chooses prompts from a pool, which stand in front of its tokens.
//!
//! Source: arXiv 2112.08654; google-research/l2p, `models/prompt.py`, `models/vit.py`, `train_continual.py`, with the choice
//! made for each image. Differs: the authors' settings for CIFAR-100 let a batch choose together, which tells of the task at
//! test time; their norm of gradients counts those of frozen tensors; LAMDA-PILOT puts prompts behind the class token, with
//! position embedding, and clips nothing.

use crate::Result;
use crate::autograd::{Linear, Tape, Var};
use crate::config;
use crate::device::{Device, Tensor};
use crate::method::Task;
use crate::method::prompts::{ClassHead, Course, Draw, Part, asked, queries, similarities};
use crate::method::trained::{Descent, Given, Graded, Pupil};
use crate::model::optimizer::{Parameter, Schedule};
use crate::model::state::{put, upload};
use crate::model::vit::Vit;
use crate::store::Tree;

/// `s = unit(q) . unit(key)`; the prompts of the top_k largest are further tokens, of which the head sees the mean. The keys
/// learn from `-pull` times the mean over images of the sum of what is chosen of s, the prompts from the cross-entropy.
#[derive(Debug)]
pub(crate) struct L2p {
    of: config::L2p,
    course: Course,
    draw: Draw,
    /// [pool, length d].
    prompt: Tensor,
    /// [pool, d].
    key: Tensor,
    head: ClassHead,
}

impl L2p {
    /// # Errors
    /// Those of `draw`; allocation failures.
    pub fn new(vit: &Vit, of: config::L2p, course: Course, draw: Draw) -> Result<Self> {
        let (device, d, entries) = (vit.device(), vit.architecture.sizes.dim, 0..of.pool);
        Ok(Self {
            prompt: draw.upload(device, Part::Prompt, entries.clone(), of.length * d)?,
            key: draw.upload(device, Part::Key, entries, d)?,
            head: ClassHead::new(device, 0, d)?,
            of,
            course,
            draw,
        })
    }

    /// Cosines [B, pool] of queries to keys, and the choice [B, top_k, pool].
    fn choose(&self, tape: &mut Tape, queries: &Tensor) -> Result<(Var, Var)> {
        let cosines = similarities(tape, queries, &self.key)?;
        let chosen = tape.largest(&cosines, self.of.top_k)?;
        Ok((cosines, chosen))
    }

    /// What images chose, [B, top_k, pool].
    ///
    /// # Errors
    /// Device errors.
    pub fn chosen(&self, vit: &Vit, images: &Tensor) -> Result<Tensor> {
        let (mut tape, queries) = asked(vit, images)?;
        Ok(self.choose(&mut tape, &queries)?.1.value().clone())
    }

    /// Features [B, d] of images behind the prompts that they chose.
    fn behind(&self, vit: &Vit, tape: &mut Tape, images: &Tensor, chosen: &Var) -> Result<Var> {
        let prompt = tape.var(&self.prompt);
        let picked = tape.linear(chosen, Linear::new(&prompt))?;
        let picked = tape.reshape(&picked, &[images.shape()[0], self.of.top_k * self.prompt.cols()]);
        vit.prompted_features(tape, images, &picked)
    }
}

impl Pupil for L2p {
    const QUERIES: bool = true;

    fn epochs(&self, task: usize) -> usize {
        self.course.epochs(task)
    }

    async fn begin(&mut self, vit: &Vit, task: &Task) -> Result<()> {
        self.head.widen(vit.device(), task.classes, &self.draw)
    }

    fn descent(&self, _: &Task) -> Descent {
        let (rule, clip) = (self.course.rule, Some(self.of.clip));
        Descent { parameters: self.learned(), rule, schedule: Schedule::Constant, clip }
    }

    fn loss(&self, vit: &Vit, tape: &mut Tape, given: &Given<'_>) -> Result<Graded> {
        let (cosines, chosen) = self.choose(tape, queries(given)?)?;
        let f = self.behind(vit, tape, &given.images, &chosen)?;
        self.head.cross_entropy(tape, &f, given)?;
        // The mean of the choices of an image, times their number.
        let (batch, k) = (given.images.shape()[0], self.of.top_k);
        let all = tape.token_mean(&chosen, batch, k, 0..k)?;
        let weight = -self.of.pull * k as f64 / given.loss.batch as f64;
        let root = tape.inner_loss(&cosines, &all, weight, (given.loss.loss, given.loss.slot))?;
        Ok(Graded { root, chosen: Some(chosen.value().clone()) })
    }

    fn scores(&self, vit: &Vit, images: &Tensor) -> Result<Tensor> {
        let (mut tape, queries) = asked(vit, images)?;
        let (_, chosen) = self.choose(&mut tape, &queries)?;
        let f = self.behind(vit, &mut tape, images, &chosen)?;
        self.head.scores(&mut tape, &f)
    }

    fn learned(&self) -> Vec<Parameter> {
        let pool = [(Part::Prompt, &self.prompt), (Part::Key, &self.key)];
        let pool = pool.map(|(part, tensor)| Parameter::whole(&part.path(), tensor));
        pool.into_iter().chain(self.head.parameters()).collect()
    }

    async fn state(&self, device: &Device) -> Result<Tree> {
        let mut tree = Tree::new();
        self.head.save(&mut tree, device).await?;
        put(&mut tree, "prompt", device, &self.prompt).await?;
        put(&mut tree, "key", device, &self.key).await?;
        Ok(tree)
    }

    async fn restore(&mut self, vit: &Vit, mut tree: Tree) -> Result<()> {
        let device = vit.device();
        self.head.restore(&mut tree, device)?;
        self.prompt = upload(&mut tree, "prompt", device, self.prompt.shape())?;
        self.key = upload(&mut tree, "key", device, self.key.shape())?;
        tree.finish()
    }

    fn rehearsal(&self, vit: &Vit, task: &Task) -> Result<Self> {
        let planner = vit.device();
        Ok(Self {
            of: self.of,
            course: self.course,
            draw: self.draw.clone(),
            prompt: planner.reals(self.prompt.shape())?,
            key: planner.reals(self.key.shape())?,
            head: ClassHead::new(planner, task.classes, self.key.cols())?,
        })
    }
}
