//! The analytic classifier: additive statistics of random features, solved by Cholesky (SPEC section 3).

mod factor;
mod host;
mod pairs;
mod tiles;

use crate::device::{Device, Precision, Tensor};
use crate::kernels::error_free::pairs_are_exact;
pub use crate::kernels::ridge::Solution;
use crate::{Error, Result};
use host::Host;
use pairs::Pairs;

/// Most random features; the lower triangle of a larger Gram matrix would exceed 4 GiB in float64.
pub const MAX_FEATURES: usize = 1 << 15;

/// `G = sum p^T p` [m, m], `Q^T = sum onehot(y)^T p` [C, m] and the number of samples of every class. They are sums over
/// samples, so they can be gathered in any order, in parts and in many places; gamma comes in when they are solved.
#[derive(Debug)]
pub struct Statistics {
    features: usize,
    counts: Vec<u64>,
    storage: Storage,
    /// Whether the device has been seen to keep pairs.
    paired: Option<bool>,
}

/// Where G and Q are kept.
#[derive(Debug)]
enum Storage {
    /// In float64 in host memory. Features of a GPU are read back batch by batch.
    Host(Host),
    /// In pairs of f32 on a GPU. New ones, copies and what comes from files stay in host memory until features are added, so
    /// that the GPU holds one Gram matrix at a time.
    Device(Pairs),
}

impl Statistics {
    /// No sample and no class.
    ///
    /// # Errors
    /// [`Error::Limit`] above [`MAX_FEATURES`], [`Error::OutOfMemory`].
    pub fn new(_: &Device, features: usize) -> Result<Self> {
        if features > MAX_FEATURES {
            return Err(Error::Limit {
                what: "the Gram matrix".into(),
                subject: "the analytic classifier".into(),
                needed: features as u64,
                limit: MAX_FEATURES as u64,
                way_out: "use a smaller buffer_size",
            });
        }
        let storage = Storage::Host(Host::new(features)?);
        Ok(Self { features, counts: Vec::new(), storage, paired: None })
    }

    /// The number of random features, m.
    pub fn features(&self) -> usize {
        self.features
    }

    /// The number of samples of every class.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Widens Q to `classes` classes; it never narrows.
    pub fn widen(&mut self, classes: usize) {
        let classes = classes.max(self.counts.len());
        self.counts.resize(classes, 0);
        if let Storage::Host(host) = &mut self.storage {
            host.widen(classes);
        }
    }

    /// Moves G and Q to where features of `device` are added: pairs need a compiler that leaves the order of sums.
    async fn settle(&mut self, device: &Device) -> Result<()> {
        let paired = match self.paired {
            Some(known) => known,
            None => !device.is_cpu() && pairs_are_exact(device).await?,
        };
        self.paired = Some(paired);
        match &self.storage {
            Storage::Host(_) if paired && self.counts.iter().all(|&n| n == 0) => {
                self.storage = Storage::Device(Pairs::new(device, self.features)?);
            }
            Storage::Host(host) if paired => self.storage = Storage::Device(Pairs::from_host(device, host)?),
            _ => {}
        }
        Ok(())
    }

    /// G and Q in float64.
    async fn host(&self) -> Result<Host> {
        match &self.storage {
            Storage::Host(host) => host.fork(),
            Storage::Device(pairs) => pairs.to_host(self.counts.len()).await,
        }
    }

    /// A copy that can be added to without touching this one.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], device errors.
    pub async fn fork(&self) -> Result<Self> {
        Ok(Self { counts: self.counts.clone(), storage: Storage::Host(self.host().await?), ..*self })
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
        self.settle(device).await?;
        match &mut self.storage {
            Storage::Host(host) => host.add(&device.read::<f64>(p).await?, labels),
            Storage::Device(pairs) => pairs.add(p, labels, self.counts.len())?,
        }
        labels.iter().for_each(|&y| self.counts[y as usize] += 1);
        Ok(())
    }

    /// Adds statistics of other samples of the same features; class c of `other` is class `classes[c]` here.
    ///
    /// # Errors
    /// [`Error::Shape`] where the features or the classes do not fit; device errors.
    pub async fn merge(&mut self, other: &Self, classes: &[usize]) -> Result<()> {
        if other.features != self.features {
            return Err(Error::shape("merge", "statistics", [self.features; 2], [other.features; 2]));
        }
        if classes.len() != other.counts.len() || classes.iter().any(|&c| c >= self.counts.len()) {
            return Err(Error::shape("merge", "classes", [other.counts.len()], classes));
        }
        let mut host = self.host().await?;
        match &other.storage {
            Storage::Host(other) => host.merge(other, classes),
            Storage::Device(pairs) => host.merge(&pairs.to_host(other.counts.len()).await?, classes),
        }
        self.storage = Storage::Host(host);
        classes.iter().zip(&other.counts).for_each(|(&c, n)| self.counts[c] += n);
        Ok(())
    }

    /// G and Q in float64, for a file.
    ///
    /// # Shapes
    /// The lower triangle of G row after row, m (m + 1) / 2 numbers; Q^T [C, m].
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], device errors.
    pub async fn export(&self) -> Result<(Vec<f64>, Vec<f64>)> {
        let pack = |host: &Host| (host.gram.pack().collect(), host.sums.clone());
        match &self.storage {
            Storage::Host(host) => Ok(pack(host)),
            Storage::Device(pairs) => Ok(pack(&pairs.to_host(self.counts.len()).await?)),
        }
    }

    /// The statistics that [`Statistics::export`] gave, with the number of samples of every class.
    ///
    /// # Errors
    /// [`Error::Shape`] where the lengths do not fit together; see also [`Statistics::new`].
    pub fn import(features: usize, counts: Vec<u64>, gram: &[f64], sums: &[f64]) -> Result<Self> {
        let new = Self::new(&Device::cpu(Precision::F32), features)?;
        let wanted = [features * (features + 1) / 2, counts.len() * features];
        if [gram.len(), sums.len()] != wanted {
            return Err(Error::shape("statistics", "G and Q", wanted, [gram.len(), sums.len()]));
        }
        let mut new = Self { counts, ..new };
        if let Storage::Host(host) = &mut new.storage {
            host.gram.unpack(gram);
            host.sums = sums.to_vec();
        }
        Ok(new)
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
            Storage::Device(pairs) => pairs.solve(gamma, self.counts.len(), advance).await,
        }
    }

    /// Dispatches what adding features p [B, m] and solving need, for [`Device::prewarm`].
    ///
    /// # Errors
    /// Those of plans.
    pub fn plan(&self, device: &Device, p: &Tensor) -> Result<()> {
        if device.is_cpu() { Ok(()) } else { pairs::plan(device, p, self.counts.len().max(1)) }
    }
}
