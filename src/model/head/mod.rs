//! The analytic classifier: additive statistics of random features, solved by Cholesky (SPEC section 3).

mod factor;
mod gcv;
mod host;
mod tiles;

use crate::device::{Device, Tensor};
use crate::{Error, Result};
use host::Host;

/// Most random features; the lower triangle of a larger Gram matrix would exceed 4 GiB in float64.
pub const MAX_FEATURES: usize = 1 << 15;

/// `G = sum p^T p` [m, m], `Q^T = sum onehot(y)^T p` [C, m] and the number of samples of every class. They are sums over
/// samples, so they can be gathered in any order, in parts and in many places; gamma comes in when they are solved.
#[derive(Debug)]
pub struct Statistics {
    features: usize,
    counts: Vec<u64>,
    storage: Storage,
}

/// Where G and Q are kept.
#[derive(Debug)]
enum Storage {
    /// In float64 in host memory. Features of a GPU are read back batch by batch.
    Host(Host),
}

/// A ridge classifier.
#[derive(Clone, Debug)]
pub struct Solution {
    /// W^T [C, m], on the device.
    pub weights: Tensor,
    /// Largest entry of `Q - (G + gamma I) W` relative to that of Q.
    pub residual: f64,
}

impl Statistics {
    /// No sample and no class.
    ///
    /// # Errors
    /// [`Error::Limit`] above [`MAX_FEATURES`], [`Error::OutOfMemory`].
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
        if features > MAX_FEATURES {
            return Err(Error::Limit {
                what: "the Gram matrix".into(),
                subject: "the analytic classifier".into(),
                needed: features as u64,
                limit: MAX_FEATURES as u64,
                way_out: "use a smaller buffer_size",
            });
        }
        Ok(Self { features, counts: Vec::new(), storage: Storage::Host(Host::new(features, by_class)?) })
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
        match &self.storage {
            Storage::Host(host) => host.by_class,
        }
    }

    /// Widens Q to `classes` classes; it never narrows.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn widen(&mut self, classes: usize) -> Result<()> {
        let classes = classes.max(self.counts.len());
        match &mut self.storage {
            Storage::Host(host) => host.widen(classes)?,
        }
        self.counts.resize(classes, 0);
        Ok(())
    }

    /// A copy that can be added to without touching this one.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn fork(&self) -> Result<Self> {
        let storage = match &self.storage {
            Storage::Host(host) => Storage::Host(host.fork()?),
        };
        Ok(Self { counts: self.counts.clone(), storage, ..*self })
    }

    /// Adds a batch of random features.
    ///
    /// # Shapes
    /// p [B, m], B labels.
    ///
    /// # Errors
    /// [`Error::Shape`] where the shapes differ or a label is not below the number of classes; device errors.
    pub async fn add(&mut self, device: &Device, p: &Tensor, labels: &[u32]) -> Result<()> {
        let wanted = [labels.len(), self.features];
        if p.shape() != wanted {
            return Err(Error::shape("statistics", "p", wanted, p.shape()));
        }
        if let Some(y) = labels.iter().find(|&&y| y as usize >= self.counts.len()) {
            return Err(Error::shape("statistics", "labels", 0..self.counts.len(), y));
        }
        match &mut self.storage {
            Storage::Host(host) => host.add(&device.read::<f64>(p).await?, labels),
        }
        labels.iter().for_each(|&y| self.counts[y as usize] += 1);
        Ok(())
    }

    /// Adds statistics of other samples of the same features; class c of `other` is class `classes[c]` here.
    ///
    /// # Errors
    /// [`Error::Shape`] where the features or the classes do not fit; [`Error::Mismatch`] where one of the two keeps
    /// Gram matrices by class and the other does not.
    pub fn merge(&mut self, other: &Self, classes: &[usize]) -> Result<()> {
        if other.features != self.features {
            return Err(Error::shape("merge", "statistics", [self.features; 2], [other.features; 2]));
        }
        if classes.len() != other.counts.len() || classes.iter().any(|&c| c >= self.counts.len()) {
            return Err(Error::shape("merge", "classes", [other.counts.len()], classes));
        }
        if self.is_by_class() != other.is_by_class() {
            return Err(Error::Mismatch { part: "class statistics", same: "the same keep_class_statistics" });
        }
        match (&mut self.storage, &other.storage) {
            (Storage::Host(host), Storage::Host(other)) => host.merge(other, classes),
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
            Storage::Host(_) => {
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
    pub fn export(&self) -> (Vec<f64>, &[f64]) {
        match &self.storage {
            Storage::Host(host) => (host.pack(), &host.sums),
        }
    }

    /// Takes what [`Statistics::export`] gave, with the number of samples of every class, in place of what was here.
    ///
    /// # Errors
    /// [`Error::Shape`] where the lengths do not fit together; [`Error::OutOfMemory`].
    pub fn import(&mut self, counts: Vec<u64>, gram: &[f64], sums: &[f64]) -> Result<()> {
        let Storage::Host(host) = &mut self.storage;
        let triangle = self.features * (self.features + 1) / 2;
        let wanted = [host.parts(counts.len()) * triangle, counts.len() * self.features];
        if [gram.len(), sums.len()] != wanted {
            return Err(Error::shape("statistics", "G and Q", wanted, [gram.len(), sums.len()]));
        }
        host.unpack(gram, sums)?;
        self.counts = counts;
        Ok(())
    }

    /// The gamma that generalised cross-validation prefers: the prediction error on samples left out, estimated from
    /// the statistics alone. First among the powers of ten from the mean of the diagonal of G down to its 1e-5th part,
    /// then 3 and 0.3 times the best; each candidate costs two factorisations.
    ///
    /// # Errors
    /// [`Error::Config`] where there is no sample, [`Error::NotPositiveDefinite`].
    pub fn choose_gamma(&self) -> Result<f64> {
        match &self.storage {
            Storage::Host(host) => gcv::choose(host, self.counts.iter().sum()),
        }
    }

    /// The score that [`Statistics::choose_gamma`] makes least: `(RSS / n) / (1 - dof / n)^2` (Golub, Heath and Wahba,
    /// Technometrics 21, 1979).
    ///
    /// # Errors
    /// [`Error::NotPositiveDefinite`].
    pub fn gcv(&self, gamma: f64) -> Result<f64> {
        match &self.storage {
            Storage::Host(host) => gcv::score(host, self.counts.iter().sum(), gamma),
        }
    }

    /// `W = (G + gamma I)^-1 Q`. `advance` hears how many more columns are factored, of m in all.
    ///
    /// # Errors
    /// [`Error::NotPositiveDefinite`] and [`Error::IllConditioned`], device errors.
    pub async fn solve(&self, device: &Device, gamma: f64, advance: &mut dyn FnMut(usize)) -> Result<Solution> {
        match &self.storage {
            Storage::Host(host) => {
                let (weights, residual) = host.solve(gamma, advance)?;
                let weights = device.upload(&weights, &[self.counts.len(), self.features])?;
                Ok(Solution { weights, residual })
            }
        }
    }
}
