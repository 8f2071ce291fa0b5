//! What was learned, to be saved and gone on from.

use super::{Head, Slca};
use crate::Result;
use crate::device::Device;
use crate::model::head::gaussian::Gaussian;
use crate::model::state::{overwrite, put, take};
use crate::model::vit::Vit;
use crate::store::Tree;

impl Slca {
    pub(super) async fn saved(&self, device: &Device) -> Result<Tree> {
        let (mut tree, mut statistics, d) = (Tree::new(), Tree::new(), self.d());
        put(&mut tree, "classifier", device, &self.aligned.weight).await?;
        put(&mut tree, "bias", device, &self.aligned.bias).await?;
        tree.graft("backbone", self.vit.state().await?);
        statistics.set("tasks", &self.heads.len())?;
        for (i, head) in self.heads.iter().enumerate() {
            statistics.graft(&format!("heads/{i}"), head.state(device).await?);
        }
        let means: Vec<f64> = self.classes.iter().flat_map(|class| &class.mean).copied().collect();
        statistics.put("means", &[self.classes.len(), d], &means);
        // Apart, so that no copy of all of them is needed.
        for (c, Gaussian { factor, .. }) in self.classes.iter().enumerate() {
            let name = format!("factors/{c}");
            if device.is_double() {
                statistics.put(&name, &[factor.len()], factor);
            } else {
                statistics.put(&name, &[factor.len()], &factor.iter().map(|&x| x as f32).collect::<Vec<_>>());
            }
        }
        if let Some(alignment) = &self.alignment {
            let mut part = alignment.head.state(device).await?;
            put(&mut part, "losses", device, &alignment.loss).await?;
            part.graft("optimizer", alignment.optimizer.state().await?);
            statistics.graft("alignment", part);
        }
        tree.graft("statistics", statistics);
        Ok(tree)
    }

    pub(super) async fn restored(&mut self, vit: &Vit, mut tree: Tree) -> Result<()> {
        let (device, d) = (vit.device(), self.d());
        self.aligned = Head::restored(device, &mut tree, "classifier", d)?;
        self.vit.restore(tree.prune("backbone"))?;
        let mut statistics = tree.prune("statistics");
        tree.finish()?;
        (self.heads, self.classes, self.alignment) = (Vec::new(), Vec::new(), None);
        if statistics.is_empty() {
            return Ok(());
        }
        let tasks: usize = statistics.get("tasks")?;
        for i in 0..tasks {
            let mut head = statistics.prune(&format!("heads/{i}"));
            self.heads.push(Head::restored(device, &mut head, "weight", d)?);
            head.finish()?;
        }
        let classes = statistics.shape("means")?.first().copied().unwrap_or(0);
        let means = statistics.take_shaped::<f64>("means", &[classes, d])?;
        for (c, mean) in means.chunks(d).enumerate() {
            let factor = take(&mut statistics, &format!("factors/{c}"), &[d * (d + 1) / 2])?;
            self.classes.push(Gaussian { mean: mean.to_vec(), factor });
        }
        // Those of the task under way are described once it is trained.
        let all = self.sizes().iter().sum::<usize>();
        let newest = self.heads.last().map_or(0, Head::classes);
        if ![all, all - newest].contains(&classes) {
            return Err(statistics.error(format!("it describes {classes} classes, its heads are of {all}")));
        }
        let mut part = statistics.prune("alignment");
        statistics.finish()?;
        if !part.is_empty() {
            let head = Head::restored(device, &mut part, "weight", d)?;
            if head.classes() != classes || all != classes {
                return Err(part.error(format!("it aligns {} of {classes} classes", head.classes())));
            }
            let mut alignment = self.alignment(device, head)?;
            overwrite(&mut part, "losses", device, &alignment.loss)?;
            alignment.optimizer.restore(part.prune("optimizer"))?;
            part.finish()?;
            self.alignment = Some(alignment);
        }
        Ok(())
    }
}
