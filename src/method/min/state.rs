//! Where in its task a learner is, to be saved and gone on from.

use super::{Keep, Min, Op, Procedure, UnderWay};
use crate::Result;
use crate::method::Task;
use crate::method::features::{FeaturePass, Features};
use crate::method::pass::Pass;
use crate::store::Tree;

impl<P: Procedure> Min<P> {
    pub(super) async fn saved(&self) -> Result<Tree> {
        let (mut tree, device) = (Tree::new(), self.core.device());
        tree.graft("core", self.core.state().await?);
        let Some(active) = &self.active else { return Ok(tree) };
        let mut task = Tree::new();
        task.set("operation", &active.at)?;
        task.set("scale", &active.scale)?;
        if let Some(kept) = &active.kept {
            task.graft("kept", kept.state().await?);
        }
        for (name, features) in [("floor", &active.floor), ("before", &active.before), ("after", &active.after)] {
            if let Some(features) = features {
                features.save(&mut task, name, device);
            }
        }
        match &active.under_way {
            UnderWay::Nothing => {}
            UnderWay::Features(pass) => pass.save(&mut task, device),
            UnderWay::Pass(pass) => task.graft("pass", pass.state(&self.core).await?),
            UnderWay::Fit(done) => task.set("fitted", done)?,
            UnderWay::Training(run) => task.graft("training", run.state(&self.core).await?),
        }
        tree.graft("task", task);
        Ok(tree)
    }

    pub(super) async fn restored(&mut self, mut tree: Tree, task: Option<Task>) -> Result<()> {
        self.core.restore(tree.prune("core")).await?;
        if self.core.network.noise.changes() {
            self.core.refold(P::FOLDED).await?;
        }
        let mut inner = tree.prune("task");
        tree.finish()?;
        let Some(task) = task else {
            self.active = None;
            return inner.finish();
        };
        let mut active = self.activate(task)?;
        active.at = inner.get("operation")?;
        active.scale = inner.find("scale")?.unwrap_or(1.0);
        let Some(&op) = active.ops.get(active.at) else {
            return Err(inner.error("its task has fewer operations than it says are done"));
        };
        let counted = |counts: fn(Op) -> bool| {
            let earlier = (0..active.task.index).flat_map(|task| self.procedure.ops(task));
            earlier.chain(active.ops[..active.at].iter().copied()).filter(|&op| counts(op)).count()
        };
        let wanted = [counted(Op::brings_prototype), counted(|op| op == Op::Expand)];
        let found = [self.core.prototypes.len(), self.core.network.noise.modules];
        if found != wanted {
            return Err(
                inner.error(format!("its prototypes and modules are {found:?}, {wanted:?} are those of its task"))
            );
        }
        let kept = inner.prune("kept");
        if !kept.is_empty() {
            let mut statistics = self.core.statistics.like()?;
            statistics.restore(self.core.device(), kept).await?;
            statistics.widen(active.task.classes)?;
            active.kept = Some(statistics);
        }
        let (images, width) = (active.task.samples.len(), self.core.network.vit.architecture.sizes.dim);
        let turns = active
            .ops
            .iter()
            .find_map(|op| if let Op::Features(Keep::Floor { turns }) = op { Some(*turns) } else { None });
        active.floor = Features::restore(&mut inner, "floor", [turns.unwrap_or(1), images, width])?;
        active.before = Features::restore(&mut inner, "before", [1, images, width])?;
        active.after = Features::restore(&mut inner, "after", [1, images, width])?;
        let (pass, training) = (inner.prune("pass"), inner.prune("training"));
        let fitted: Option<usize> = inner.find("fitted")?;
        match op {
            Op::Pass { what, fit, epoch, .. } if !pass.is_empty() => {
                let mut started = Pass::new(&self.core, what, fit, epoch)?;
                started.restore(&self.core, &active.task.samples, pass)?;
                active.under_way = UnderWay::Pass(started);
            }
            Op::Train(lesson) if !training.is_empty() => {
                let mut run = self.training(&active, lesson)?;
                run.restore(&self.core, &active.task, training)?;
                active.under_way = UnderWay::Training(Box::new(run));
            }
            Op::Features(keep) => {
                let mut started = FeaturePass::new(keep.whose());
                started.restore(&mut inner, images, width)?;
                active.under_way = UnderWay::Features(started);
            }
            Op::Fit(share) if fitted.is_some_and(|done| done >= active.share(share).len()) => {
                return Err(inner.error("it has fitted more images than there are to fit"));
            }
            Op::Fit(_) => active.under_way = fitted.map_or(UnderWay::Nothing, UnderWay::Fit),
            _ => {
                pass.finish()?;
                training.finish()?;
            }
        }
        self.active = Some(active);
        inner.finish()
    }
}
