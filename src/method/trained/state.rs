//! Where in its task a learner is, to be saved and gone on from.

use super::{Op, Pupil, QUERIES, Trained, UnderWay};
use crate::Result;
use crate::method::Task;
use crate::method::features::{FeaturePass, Features, Whose};
use crate::method::frozen::Seen;
use crate::store::Tree;

impl<P: Pupil> Trained<P> {
    pub(super) async fn saved(&self) -> Result<Tree> {
        let (mut tree, device) = (Tree::new(), self.vit.device());
        tree.graft("head", self.pupil.state(device).await?);
        tree.set("step", &self.step)?;
        let Some(active) = &self.active else { return Ok(tree) };
        let mut task = Tree::new();
        task.set("operation", &active.ops[active.at])?;
        task.set("reached", &active.learned)?;
        for (name, features) in [("queries", &active.queries), ("features", &active.features)] {
            if let Some(features) = features {
                features.save(&mut task, name, device);
            }
        }
        match &active.under_way {
            UnderWay::Nothing => {}
            UnderWay::Pass(pass) => pass.save(&mut task, device),
            UnderWay::Training(run) => task.graft("training", run.state(device).await?),
        }
        tree.graft("task", task);
        Ok(tree)
    }

    pub(super) async fn restored(&mut self, mut tree: Tree, task: Option<Task>) -> Result<()> {
        self.pupil.restore(&self.vit, tree.prune("head")).await?;
        self.step = tree.get("step")?;
        let mut inner = tree.prune("task");
        tree.finish()?;
        self.active = None;
        let Some(task) = task else { return inner.finish() };
        let mut active = self.activate(task)?;
        let op: Op = inner.get("operation")?;
        let at = active.ops.iter().position(|&own| own == op);
        active.at = at.ok_or_else(|| inner.error(format!("its task has no operation {op:?} by these settings")))?;
        active.learned = inner.get("reached")?;
        let (images, d) = (active.task.samples.len(), self.vit.architecture.sizes.dim);
        active.queries = Features::restore(&mut inner, "queries", [1, images, d])?;
        active.features = Features::restore(&mut inner, "features", [1, images, self.pupil.width(d)])?;
        if let Op::Queries | Op::Look = op {
            let (whose, width) = if op == Op::Queries { (QUERIES, d) } else { (Whose::Network, self.pupil.width(d)) };
            let mut pass = FeaturePass::new(whose);
            pass.restore(&mut inner, images, width)?;
            active.under_way = UnderWay::Pass(pass);
        }
        let training = inner.prune("training");
        if op == Op::Train && !training.is_empty() {
            let mut run = self.run(&active.task)?;
            run.restore(active.lesson.len(), training)?;
            active.under_way = UnderWay::Training(Box::new(run));
        } else {
            training.finish()?;
        }
        inner.finish()?;
        if op == Op::Learn {
            let features = active.features.as_ref().ok_or_else(|| inner.error("it has no features to learn from"))?;
            let seen = Seen { task: &active.task, features, fit_batch: self.fit_batch };
            if active.learned >= self.pupil.total(&seen) {
                return Err(inner.error("its task goes less far than it says it is"));
            }
        }
        self.active = Some(active);
        Ok(())
    }
}
