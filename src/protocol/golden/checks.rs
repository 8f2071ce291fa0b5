//! What a golden file must hold for a replay.

use super::{Golden, RidgeCase, RivalCase, RunCase};
use crate::Result;
use crate::config::{MAX_NOISE_HIDDEN, Method, Profile};
use crate::model::head::MAX_FEATURES;
use crate::model::vit::MAX_IMAGE;

/// Analytic passes at most.
const MAX_PASSES: usize = 100;

impl Golden {
    /// Refuses a setting of the case that is not as `expected`.
    pub(super) fn require(&self, holds: bool, key: &str, got: impl std::fmt::Display, expected: &str) -> Result<()> {
        if holds {
            Ok(())
        } else {
            Err(self.tensors.error(format!("its `case` has {key} = {got}, {expected} is needed")))
        }
    }

    pub(super) fn check_ridge(&self, case: &RidgeCase) -> Result<()> {
        let tensors = &self.tensors;
        let [m, classes] = tensors.matrix("W")?;
        let [[samples, _], [tests, _]] = [tensors.matrix("p")?, tensors.matrix("test.p")?];
        self.require(case.classes == classes, "classes", case.classes, &format!("{classes}, as in `W`,"))?;
        self.require(case.gamma.is_normal() && case.gamma > 0.0, "gamma", case.gamma, "a positive number")?;
        self.require(m <= MAX_FEATURES, "m", m, &format!("at most {MAX_FEATURES}"))?;
        tensors.shaped("p", &[samples, m])?;
        tensors.shaped("test.p", &[tests, m])?;
        tensors.shaped("test.logits", &[tests, classes])?;
        tensors.shaped("y", &[samples])?;
        tensors.integers("y", classes as u64).map(drop)
    }

    pub(super) fn check_run(&self, case: &RunCase) -> Result<()> {
        for (key, value, top) in [
            ("img_size", case.img_size, MAX_IMAGE),
            ("in_chans", case.in_chans, MAX_IMAGE),
            ("noise_hidden", case.noise_hidden, MAX_NOISE_HIDDEN),
            ("buffer_size", case.buffer_size, MAX_FEATURES),
            ("fit_batch", case.fit_batch, usize::MAX),
            ("fit_epochs", case.fit_epochs, MAX_PASSES),
            ("phi_layers", case.phi_layers, if case.profile == Profile::Paper { 2 } else { 1 }),
        ] {
            self.require((1..=top).contains(&value), key, value, &format!("a number from 1 to {top}"))?;
        }
        let mut positive = vec![("gamma", case.gamma), ("lr", case.lr)];
        positive.extend((case.profile == Profile::Paper).then_some(("temperature", case.temperature)));
        for (key, value) in positive {
            self.require((value as f32).is_normal() && value > 0.0, key, value, "a positive number")?;
        }
        for (key, value) in [("momentum", case.momentum), ("weight_decay", case.weight_decay)] {
            self.require((value as f32).is_finite() && value >= 0.0, key, value, "0 or a positive number")?;
        }
        self.check_tasks(&case.task_classes, case.image(), |t, seen| {
            self.tensors.shaped(&format!("task{t}.W"), &[case.buffer_size, seen]).map(drop)
        })
    }

    pub(super) fn check_rival(&self, case: &RivalCase) -> Result<()> {
        let Some(method) = case.method() else { return Ok(()) };
        for (key, value) in [("img_size", case.img_size), ("in_chans", case.in_chans)] {
            self.require((1..=MAX_IMAGE).contains(&value), key, value, &format!("a number from 1 to {MAX_IMAGE}"))?;
        }
        let (sizes, ridges, shares) = match method {
            Method::Min | Method::SimpleCil | Method::Ncm => (vec![], vec![], vec![]),
            Method::RanPac => (vec![("projection", case.projection)], vec![], vec![]),
            Method::FeCam => (vec![], vec![], case.shrink.map(|share| ("shrink", share)).to_vec()),
            Method::Acil => (vec![("buffer_size", case.buffer_size)], vec![("gamma", case.gamma)], vec![]),
            Method::DsAl => (
                vec![("buffer_size", case.buffer_size)],
                vec![("gamma", case.gamma), ("gamma_comp", case.gamma_comp)],
                vec![("compensation", case.compensation)],
            ),
            Method::Aper | Method::Ease => (
                vec![("adapter_hidden", case.adapter_hidden), ("epochs", case.epochs)],
                vec![("lr", case.lr), ("adapter_scale", case.adapter_scale)],
                vec![("momentum", case.momentum), ("weight_decay", case.weight_decay), ("alpha", case.alpha)],
            ),
            Method::L2p | Method::DualPrompt | Method::Coda => {
                self.check_prompts(case, method)?;
                let clips = (method != Method::Coda).then_some(("grad_clip", case.grad_clip));
                let rates = [("lr", case.lr), ("adam_eps", case.adam_eps)].into_iter().chain(clips).collect();
                (vec![("epochs", case.epochs)], rates, vec![("pull", case.pull), ("mu", case.mu)])
            }
            Method::Slca => {
                self.check_slca(case)?;
                let rates = [
                    ("lr", case.lr),
                    ("lr_decay", case.lr_decay),
                    ("ca_lr", case.ca_lr),
                    ("ca_temperature", case.ca_temperature),
                ];
                let shares = [
                    ("momentum", case.momentum),
                    ("weight_decay", case.weight_decay),
                    ("backbone_rate", case.backbone_rate),
                    ("cov_ridge", case.cov_ridge),
                ];
                (vec![("epochs", case.epochs)], rates.into(), shares.into())
            }
        };
        for (key, value) in sizes {
            let expected = format!("a number from 1 to {MAX_FEATURES}");
            self.require((1..=MAX_FEATURES).contains(&value), key, value, &expected)?;
        }
        for (key, value) in ridges {
            self.require((value as f32).is_normal() && value > 0.0, key, value, "a positive number")?;
        }
        for (key, value) in shares {
            self.require((value as f32).is_finite() && value >= 0.0, key, value, "0 or a positive number")?;
        }
        self.check_tasks(&case.task_classes, case.image(), |t, seen| {
            let name = format!("task{t}.test.scores");
            let (found, given) = (self.tensors.matrix(&name)?[1], format!("{:?}", case.task_classes));
            self.require(found == seen, "task_classes", given, &format!("{found} in `{name}`"))
        })
    }

    /// Refuses draws that are not of the sizes of the settings, which are thereby bounded.
    fn check_slca(&self, case: &RivalCase) -> Result<()> {
        let (epochs, samples, mut seen) = (case.ca_epochs, case.ca_samples, 0usize);
        self.require(epochs > 0 && samples > 0, "ca_samples", samples, "with ca_epochs a positive number")?;
        let d = self.tensors.matrix("init.head.0.weight")?[1];
        for (t, &classes) in case.task_classes.iter().enumerate() {
            let weight = format!("init.head.{t}.weight");
            self.tensors.shaped(&weight, &[classes, d])?;
            // Both are in memory.
            seen += classes;
            if t > 0 {
                self.tensors.shaped(&format!("task{t}.ca.normal"), &[epochs, seen, samples, d])?;
                self.tensors.shaped(&format!("task{t}.ca.order"), &[epochs, seen.saturating_mul(samples)])?;
            }
        }
        Ok(())
    }

    /// Refuses first prompts and heads that are not of the sizes of the settings, which are thereby bounded.
    fn check_prompts(&self, case: &RivalCase, method: Method) -> Result<()> {
        let (tensors, pool, tasks) = (&self.tensors, case.pool, case.task_classes.len());
        let [classes, d] = tensors.matrix("init.head.weight")?;
        self.require(
            case.task_classes.iter().try_fold(0usize, |sum, &n| sum.checked_add(n)) == Some(classes),
            "task_classes",
            format!("{:?}", case.task_classes),
            &format!("{classes} classes, as in `init.head.weight`,"),
        )?;
        tensors.shaped("init.head.bias", &[classes])?;
        for (i, beta) in case.betas.into_iter().enumerate() {
            self.require((0.0..1.0).contains(&beta), &format!("betas[{i}]"), beta, "from 0 to below 1")?;
        }
        self.require(pool > 0, "pool", pool, "a positive number")?;
        match method {
            Method::L2p => {
                let top_k = case.top_k;
                self.require((1..=pool).contains(&top_k), "top_k", top_k, &format!("a number from 1 to {pool}"))?;
                tensors.shaped("init.key", &[pool, d])?;
                tensors.shaped("init.prompt", &[pool, case.length, d])?;
            }
            Method::DualPrompt => {
                self.require(tasks <= pool, "pool", pool, &format!("at least {tasks}"))?;
                let [general, expert] = [&case.g_layers, &case.e_layers].map(Vec::len);
                tensors.shaped("init.key", &[pool, d])?;
                tensors.shaped("init.g_prompt", &[general, 2, case.g_length, d])?;
                tensors.shaped("init.e_prompt", &[expert, 2, pool, case.e_length, d])?;
            }
            _ => {
                let share = pool.checked_div(tasks).unwrap_or(0);
                self.require(share > 0, "pool", pool, &format!("at least {tasks}"))?;
                self.require(case.length.is_multiple_of(2), "length", case.length, "an even number")?;
                for (t, j) in (0..tasks).flat_map(|t| case.e_layers.iter().map(move |j| (t, j))) {
                    tensors.shaped(&format!("init.task{t}.coda.{j}.P"), &[share, case.length, d])?;
                    tensors.shaped(&format!("init.task{t}.coda.{j}.K"), &[share, d])?;
                    tensors.shaped(&format!("init.task{t}.coda.{j}.A"), &[share, d])?;
                }
            }
        }
        Ok(())
    }

    /// Refuses tasks without classes, and images that are not of these sizes; `result` looks at what is recorded of task t, once
    /// so many classes are seen.
    fn check_tasks(
        &self,
        task_classes: &[usize],
        [channels, rows, cols]: [usize; 3],
        result: impl Fn(usize, usize) -> Result<()>,
    ) -> Result<()> {
        let mut seen = 0usize;
        for (t, &classes) in task_classes.iter().enumerate() {
            seen = seen.checked_add(classes).filter(|_| classes > 0).ok_or_else(|| {
                self.tensors.error(format!("its `case` has {classes} classes in task {t}, at least 1 is needed"))
            })?;
            result(t, seen)?;
        }
        self.require(seen > 0, "task_classes", "[]", "a task")?;
        for split in ["train", "test"] {
            let n = self.tensors.integers(&format!("{split}.y"), seen as u64)?.len();
            self.tensors.shaped(&format!("{split}.x"), &[n, channels, rows, cols])?;
        }
        Ok(())
    }

    pub(super) fn check_vit(&self) -> Result<()> {
        let sizes = self.image_sizes();
        self.require(!sizes.is_empty(), "images", "none", "a tensor `featuresN` of images `xN`")?;
        for size in sizes {
            let x = format!("x{size}");
            match self.tensors.shape(&x)? {
                &[b, c, h, w] if b > 0 && c > 0 && [h, w] == [size; 2] => {}
                found => {
                    return Err(self
                        .tensors
                        .error(format!("`{x}` has shape {found:?}, [B, C, {size}, {size}] is needed")));
                }
            }
        }
        Ok(())
    }

    pub(super) fn check_explained(&self) -> Result<()> {
        let tensors = &self.tensors;
        let images = match tensors.shape("x")? {
            &[b, c, h, w] if b > 0 && c > 0 && h > 0 && h == w => b,
            found => return Err(tensors.error(format!("`x` has shape {found:?}, [B, C, N, N] is needed"))),
        };
        let ([_, classes], [_, patches]) = (tensors.matrix("head")?, tensors.matrix("rollout")?);
        tensors.shaped("class", &[images])?;
        tensors.integers("class", classes as u64)?;
        tensors.shaped("scores", &[images, classes])?;
        tensors.shaped("rollout", &[images, patches])?;
        tensors.shaped("grad_cam", &[images, patches]).map(drop)
    }
}
