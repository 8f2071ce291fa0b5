//! The analytic classifier: additive statistics of random features, solved by Cholesky (SPEC section 3).

mod drift;
mod factor;
pub mod gaussian;
mod gcv;
mod held_out;
mod host;
mod pairs;
pub mod prototype;
pub mod random;
mod recursive;
mod state;
mod tiles;

use std::borrow::Cow;

use crate::algorithms::exact_pairs::pairs_are_exact;
pub use crate::algorithms::ridge::Solution;
use crate::device::{DType, Device, DeviceClass, Tensor};
use crate::kernels::argmax::ArgMax;
use crate::kernels::copy_block::CopyBlock;
use crate::kernels::gemm::{Gemm, Layout, Mat};
use crate::{Error, Result};
pub use drift::{Drift, DriftMap, rehearse as rehearse_drift};
pub use held_out::HeldOut;
use host::Host;
use pairs::Pairs;
pub use recursive::Recursive;

/// Most random features; the lower triangle of a larger Gram matrix would exceed 4 GiB in float64.
pub const MAX_FEATURES: usize = 1 << 15;

/// `p W` [B, C] of random features p [B, m], with W^T [C, m].
///
/// # Errors
/// [`Error::Shape`], device errors.
pub fn logits(device: &Device, p: &Tensor, weights: &Tensor) -> Result<Tensor> {
    let _part = device.part("head", None);
    let logits = device.reals(&[p.rows(), weights.rows()])?;
    device.run(&Gemm::new(Layout::NT, p, weights, &logits)?)?;
    Ok(logits)
}

/// `scores += p W` for scores [B, C], as [`logits`].
///
/// # Errors
/// [`Error::Shape`], device errors.
pub fn add_logits(device: &Device, p: &Tensor, weights: &Tensor, scores: &Tensor) -> Result<()> {
    let _part = device.part("head", None);
    device.run(&Gemm { accumulate: true, ..Gemm::new(Layout::NT, p, weights, scores)? })
}

/// A matrix times a number.
///
/// # Errors
/// Device errors.
pub fn scaled(device: &Device, x: &Tensor, factor: f64) -> Result<Tensor> {
    let (out, [rows, cols]) = (device.reals(x.shape())?, [x.rows(), x.cols()]);
    device.run(&CopyBlock { x: Mat::of(x), out: Mat::of(&out), rows, cols, factor, accumulate: false })?;
    Ok(out)
}

/// The class of the largest logit of each row of [B, C], as integers `[B]`.
///
/// # Errors
/// [`Error::Shape`] without classes, device errors.
pub fn predicted(device: &Device, logits: &Tensor) -> Result<Tensor> {
    let _part = device.part("head", None);
    let classes = device.empty(&[logits.rows()], DType::U32)?;
    device.run(&ArgMax { x: logits, out: &classes })?;
    Ok(classes)
}

/// `G = sum p^T p` [m, m], `Q^T = sum onehot(y)^T p` [C, m] and the number of samples of every class. They are sums over
/// samples, so they can be gathered in any order, in parts and in many places; gamma comes in when they are solved.
#[derive(Debug)]
pub struct Statistics {
    features: usize,
    counts: Vec<u64>,
    storage: Storage,
    /// Whether the device that features come from keeps pairs, once it is known.
    paired: Option<bool>,
}

/// Where G and Q are kept.
#[derive(Debug)]
enum Storage {
    /// In float64 in host memory. Features of a GPU that cannot keep pairs are read back batch by batch.
    Host(Host),
    /// In pairs of f32 on a GPU. New ones, copies, those that were merged and what comes from files stay in host memory until
    /// features are added or they are compensated, so that the GPU holds one Gram matrix at a time.
    Device(Pairs),
}

impl Statistics {
    /// No sample and no class.
    ///
    /// # Errors
    /// [`Error::Shape`] without features, [`Error::Limit`] above [`MAX_FEATURES`], [`Error::OutOfMemory`].
    pub fn new(_: &Device, features: usize) -> Result<Self> {
        Self::on_host(features, false)
    }

    /// The same with a Gram matrix of its own for every class, always in host memory, so that
    /// [`Statistics::forget`] is exact. C classes take 4 C m^2 bytes instead of 4 m^2.
    ///
    /// # Errors
    /// See [`Statistics::new`].
    pub fn by_class(features: usize) -> Result<Self> {
        Self::on_host(features, true)
    }

    fn on_host(features: usize, by_class: bool) -> Result<Self> {
        if features == 0 {
            return Err(Error::shape("statistics", "features", "at least 1", features));
        }
        if features > MAX_FEATURES {
            return Err(Error::Limit {
                what: "the Gram matrix".into(),
                subject: "the analytic classifier".into(),
                needed: features as u64,
                limit: MAX_FEATURES as u64,
                way_out: "use a smaller buffer_size",
            });
        }
        Ok(Self { features, counts: Vec::new(), storage: Storage::Host(Host::new(features, by_class)?), paired: None })
    }

    /// The number of random features, m.
    pub fn features(&self) -> usize {
        self.features
    }

    /// The number of samples of every class.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Whether every class has a Gram matrix of its own.
    pub fn is_by_class(&self) -> bool {
        matches!(&self.storage, Storage::Host(host) if host.by_class)
    }

    /// Moves G and Q to where features of `device` are added.
    async fn settle(&mut self, device: &Device) -> Result<()> {
        let paired = match self.paired {
            Some(known) => known,
            // A compiler may have reordered the sums of pairs.
            None => !device.is_cpu() && pairs_are_exact(device).await?,
        };
        self.paired = Some(paired);
        match &self.storage {
            Storage::Host(host) if paired && !host.by_class => {
                let fresh = self.counts.iter().all(|&n| n == 0);
                let pairs = if fresh { Pairs::new(device, self.features)? } else { Pairs::from_host(device, host)? };
                self.storage = Storage::Device(pairs);
            }
            _ => {}
        }
        Ok(())
    }

    /// G and Q in float64.
    async fn host(&self) -> Result<Cow<'_, Host>> {
        Ok(match &self.storage {
            Storage::Host(host) => Cow::Borrowed(host),
            Storage::Device(pairs) => Cow::Owned(pairs.to_host(self.counts.len()).await?),
        })
    }

    /// Moves G and Q to host memory.
    async fn fetch(&mut self) -> Result<()> {
        if let Cow::Owned(host) = self.host().await? {
            self.storage = Storage::Host(host);
        }
        Ok(())
    }

    /// Widens Q to `classes` classes; it never narrows.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn widen(&mut self, classes: usize) -> Result<()> {
        let classes = classes.max(self.counts.len());
        // Pairs widen when features are added.
        if let Storage::Host(host) = &mut self.storage {
            host.widen(classes)?;
        }
        self.counts.resize(classes, 0);
        Ok(())
    }

    /// A copy that can be added to without touching this one.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], device errors.
    pub async fn fork(&self) -> Result<Self> {
        let storage = match self.host().await? {
            Cow::Borrowed(host) => Storage::Host(host.fork()?),
            Cow::Owned(host) => Storage::Host(host),
        };
        Ok(Self { counts: self.counts.clone(), storage, ..*self })
    }

    /// No sample and no class, kept as these are.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn like(&self) -> Result<Self> {
        Self::on_host(self.features, self.is_by_class())
    }

    /// Adds a batch of random features.
    ///
    /// # Shapes
    /// p [B, m], B labels.
    ///
    /// # Errors
    /// [`Error::Shape`] where the shapes differ or a label is not below the number of classes; device errors.
    pub async fn add(&mut self, device: &Device, p: &Tensor, labels: &[u32]) -> Result<()> {
        self.add_again(device, p, labels).await?;
        labels.iter().for_each(|&y| self.counts[y as usize] += 1);
        Ok(())
    }

    /// The same for samples that were added before, in another view or by another pass, and are not counted again: gamma is
    /// chosen for the number of samples, however often each was seen.
    ///
    /// # Errors
    /// See [`Statistics::add`].
    pub async fn add_again(&mut self, device: &Device, p: &Tensor, labels: &[u32]) -> Result<()> {
        let wanted = [labels.len(), self.features];
        if p.shape() != wanted {
            return Err(Error::shape("statistics", "p", wanted, p.shape()));
        }
        if let Some(y) = labels.iter().find(|&&y| y as usize >= self.counts.len()) {
            return Err(Error::shape("statistics", "labels", 0..self.counts.len(), y));
        }
        let _phase = device.phase("statistics");
        self.settle(device).await?;
        match &mut self.storage {
            // There is nothing to sum or to solve.
            Storage::Host(_) if device.is_planner() => {}
            Storage::Host(host) => host.add(&device.read::<f64>(p).await?, labels),
            Storage::Device(pairs) => pairs.add(p, labels, self.counts.len())?,
        }
        Ok(())
    }

    /// Adds statistics of other samples of the same features; class c of `other` is class `classes[c]` here.
    ///
    /// # Errors
    /// [`Error::Shape`] where the features or the classes do not fit; [`Error::Mismatch`] where one of the two keeps
    /// Gram matrices by class and the other does not; device errors.
    pub async fn merge(&mut self, other: &Self, classes: &[usize]) -> Result<()> {
        if other.features != self.features {
            return Err(Error::shape("merge", "statistics", [self.features; 2], [other.features; 2]));
        }
        if classes.len() != other.counts.len() || classes.iter().any(|&c| c >= self.counts.len()) {
            return Err(Error::shape("merge", "classes", [other.counts.len()], classes));
        }
        if self.is_by_class() != other.is_by_class() {
            return Err(Error::Mismatch { part: "class statistics", same: "the same keep_class_statistics" });
        }
        self.fetch().await?;
        if let Storage::Host(host) = &mut self.storage {
            host.merge(other.host().await?.as_ref(), classes);
        }
        classes.iter().zip(&other.counts).for_each(|(&c, n)| self.counts[c] += n);
        Ok(())
    }

    /// Takes a class out, as if none of its samples had ever been seen; the classes behind it move up.
    ///
    /// # Errors
    /// [`Error::Shape`] where there is no such class; [`Error::Unsupported`] where classes have no Gram matrix of their
    /// own.
    pub fn forget(&mut self, class: usize) -> Result<()> {
        if class >= self.counts.len() {
            return Err(Error::shape("forget", "class", 0..self.counts.len(), class));
        }
        match &mut self.storage {
            Storage::Host(host) if host.by_class => host.forget(class),
            _ => {
                return Err(Error::Unsupported(
                    "no class can be forgotten: these statistics were gathered without keep_class_statistics=true"
                        .into(),
                ));
            }
        }
        self.counts.remove(class);
        Ok(())
    }

    /// G and Q in float64, for a file.
    ///
    /// # Shapes
    /// The lower triangle of G row after row, m (m + 1) / 2 numbers (by class: those of all classes); Q^T [C, m].
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], device errors.
    pub async fn export(&self) -> Result<(Vec<f64>, Vec<f64>)> {
        let host = self.host().await?;
        Ok((host.pack(), host.sums.clone()))
    }

    /// Takes what [`Statistics::export`] gave, with the number of samples of every class, in place of what was here.
    ///
    /// # Errors
    /// [`Error::Shape`] where the lengths do not fit together; [`Error::OutOfMemory`].
    pub fn import(&mut self, counts: Vec<u64>, gram: &[f64], sums: &[f64]) -> Result<()> {
        let mut host = Host::new(self.features, self.is_by_class())?;
        let triangle = self.features * (self.features + 1) / 2;
        let wanted = [host.parts(counts.len()) * triangle, counts.len() * self.features];
        if [gram.len(), sums.len()] != wanted {
            return Err(Error::shape("statistics", "G and Q", wanted, [gram.len(), sums.len()]));
        }
        host.unpack(gram, sums)?;
        (self.counts, self.storage) = (counts, Storage::Host(host));
        Ok(())
    }

    /// The gamma that generalised cross-validation prefers: the prediction error on samples left out, estimated from
    /// the statistics alone. First among the powers of ten from the mean of the diagonal of G down to its n-th part
    /// (not below its 1e-5th),
    /// then 3 and 0.3 times the best; or, with the gamma of an earlier choice `near` by, among 1 and 3 of every decade there
    /// from it downhill, until neither neighbour scores less. Each candidate costs two factorisations: of thousands of
    /// samples 6 are scored without `near`, as a rule 3 with it.
    ///
    /// # Errors
    /// [`Error::Config`] where there is no sample, [`Error::NotPositiveDefinite`].
    pub async fn choose_gamma(&self, near: Option<f64>) -> Result<f64> {
        gcv::choose(self.host().await?.as_ref(), self.counts.iter().sum(), near)
    }

    /// The score that [`Statistics::choose_gamma`] makes least: `(RSS / n) / (1 - dof / n)^2` (Golub, Heath and Wahba,
    /// Technometrics 21, 1979).
    ///
    /// # Errors
    /// [`Error::NotPositiveDefinite`].
    pub async fn gcv(&self, gamma: f64) -> Result<f64> {
        gcv::score(self.host().await?.as_ref(), self.counts.iter().sum(), gamma)
    }

    /// `W = (G + gamma I)^-1 Q`. `advance` hears how many more columns are factored, of m in all.
    ///
    /// # Errors
    /// [`Error::NotPositiveDefinite`] and [`Error::IllConditioned`], device errors.
    pub async fn solve(&self, device: &Device, gamma: f64, advance: &mut dyn FnMut(usize)) -> Result<Solution> {
        let _phase = device.phase("solve");
        match &self.storage {
            Storage::Host(_) if device.is_planner() => {
                Ok(Solution { weights: device.reals(&[self.counts.len(), self.features])?, residual: 0.0 })
            }
            Storage::Host(host) => {
                let (weights, residual) = host.solve(gamma, advance)?;
                let weights = device.upload(&weights, &[self.counts.len(), self.features])?;
                Ok(Solution { weights, residual })
            }
            Storage::Device(pairs) => pairs.solve(gamma, self.counts.len(), advance).await,
        }
    }

    /// Allocates on a device that only plans what adding features p [B, m] and solving for so many classes hold at most, and
    /// returns what stays between the two.
    ///
    /// # Errors
    /// [`Error::Limit`] where a tensor exceeds a binding.
    pub fn occupy(&self, planner: &Device, p: &Tensor, classes: usize) -> Result<Vec<Tensor>> {
        let on_host = planner.caps().class == DeviceClass::Cpu || self.is_by_class();
        if on_host { Ok(Vec::new()) } else { pairs::occupy(planner, p, classes.max(1)) }
    }

    /// Dispatches what adding features p [B, m] and solving for so many classes need, to compile it ahead.
    ///
    /// # Errors
    /// Those of plans.
    pub fn plan(&self, device: &Device, p: &Tensor, classes: usize) -> Result<()> {
        let on_host = device.caps().class == DeviceClass::Cpu || self.is_by_class();
        if on_host { Ok(()) } else { pairs::plan(device, p, classes.max(1)) }
    }
}
