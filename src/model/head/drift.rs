//! Drift compensation: the statistics of samples that are gone follow the features of a network that went on learning
//! (SPEC section 9.4).

mod host;

use super::{Statistics, Storage, pairs};
use crate::algorithms::drift as on_device;
use crate::algorithms::exact_pairs::pairs_are_exact;
use crate::algorithms::tiles::side;
use crate::device::{Device, DeviceClass, Tensor};
use crate::{Error, Result};
use host::HostDrift;
pub(super) use host::HostMap;

/// Random features of a task's images before and after the network learned the task, on their way into a [`DriftMap`].
#[derive(Debug)]
pub struct Drift(Gathering);

#[derive(Debug)]
enum Gathering {
    /// In float64 in host memory. Features of a GPU that cannot keep pairs are read back batch by batch.
    Host { device: Device, samples: usize, drift: HostDrift },
    /// On a GPU.
    Device(on_device::Drift),
}

impl Drift {
    /// For so many images and features, of which the first `still` do not move. `ridge` is that of the map relative to the
    /// mean of the diagonal of `P_o^T P_o`, 0.1 in SPEC.
    ///
    /// # Errors
    /// [`Error::Shape`] without samples or features that move; [`Error::OutOfMemory`], device errors.
    pub async fn new(device: &Device, features: usize, still: usize, samples: usize, ridge: f64) -> Result<Self> {
        Ok(Self(if !device.is_cpu() && pairs_are_exact(device).await? {
            Gathering::Device(on_device::Drift::new(device, features, still, side(features), samples, ridge)?)
        } else {
            let (device, drift) = (device.clone(), HostDrift::new(features, samples, ridge)?);
            Gathering::Host { device, samples, drift }
        }))
    }

    /// In which order samples are to be added.
    pub fn order(&self) -> Vec<usize> {
        match &self.0 {
            Gathering::Host { samples, .. } => (0..*samples).collect(),
            Gathering::Device(drift) => drift.order(),
        }
    }

    /// Adds a batch.
    ///
    /// # Shapes
    /// `before` and `after` [B, m], of the same images.
    ///
    /// # Errors
    /// [`Error::Shape`] where they are not, or where there are more samples than were announced; device errors.
    pub async fn add(&mut self, before: &Tensor, after: &Tensor) -> Result<()> {
        match &mut self.0 {
            Gathering::Host { device, drift, .. } => {
                let (before, after) = (device.read::<f64>(before).await?, device.read::<f64>(after).await?);
                drift.add(&before, &after)
            }
            Gathering::Device(drift) => drift.add(before, after),
        }
    }

    /// The map that fits all samples.
    ///
    /// # Errors
    /// [`Error::Shape`] where samples are missing; [`Error::NotPositiveDefinite`] where P_o is not finite, or 0
    /// and n < m; [`Error::OutOfMemory`], device errors.
    pub async fn finish(self) -> Result<DriftMap> {
        Ok(DriftMap(match self.0 {
            Gathering::Host { drift, .. } => Found::Host(drift.finish()?),
            Gathering::Device(drift) => Found::Device(drift.finish().await?),
        }))
    }
}

/// The linear map A [m, m] from random features before a task was learned to those after it, `P_n ~ P_o A`:
/// `A = I + P_o^T L` with `L = (P_o P_o^T + lambda I)^-1 (P_n - P_o)` [n, m], or where n >= m the equal `A = I + L` with
/// `L = (P_o^T P_o + lambda I)^-1 P_o^T (P_n - P_o)` [m, m].
#[derive(Debug)]
pub struct DriftMap(Found);

#[derive(Debug)]
enum Found {
    Host(HostMap),
    Device(on_device::Map),
}

impl DriftMap {
    /// The number of random features, m.
    pub fn features(&self) -> usize {
        match &self.0 {
            Found::Host(map) => map.features(),
            Found::Device(map) => map.features(),
        }
    }

    /// How much of the change of samples that are held out, every fourth and where n >= m at most 512, the map of all others
    /// explains: `1 - |P_n - P_o A|_F^2 / |P_n - P_o|_F^2`. 0 where they did not move, negative where no map is better than
    /// this.
    pub fn explained(&self) -> f64 {
        match &self.0 {
            Found::Host(map) => map.explained,
            Found::Device(map) => map.explained,
        }
    }
}

impl Statistics {
    /// Takes the samples along where their features went, as far as the map of a drift tells: `G <- A^T G A`, of every class
    /// if they are kept by class, and `Q <- A^T Q`, on the device that the map is on. Samples that are added afterwards have
    /// their new features already.
    ///
    /// # Errors
    /// [`Error::Shape`] where the map is one of other features; [`Error::OutOfMemory`]; device errors, after which statistics
    /// that are kept by class are of no use: some classes may have moved.
    pub async fn compensate(&mut self, map: &DriftMap) -> Result<()> {
        if map.features() != self.features {
            return Err(Error::shape("compensate", "map", [self.features; 2], [map.features(); 2]));
        }
        match &map.0 {
            Found::Host(_) => self.fetch().await?,
            Found::Device(map) => self.settle(map.device()).await?,
        }
        match (&map.0, &mut self.storage) {
            (Found::Host(map), Storage::Host(host)) => host.compensate(map),
            (Found::Device(map), Storage::Host(host)) => pairs::compensate(host, map).await,
            (Found::Device(map), Storage::Device(pairs)) => pairs.compensate(map),
            (Found::Host(_), Storage::Device(_)) => unreachable!("fetched"),
        }
    }
}

/// Allocates and dispatches what the map of so many samples needs and what it does to statistics of so many classes, on a
/// device that only plans, in a [capture](Device::capture): batches are `p` [B, m], of which the first `still` columns do not
/// move. Nothing where the host does it.
///
/// # Errors
/// [`Error::Limit`] where a tensor exceeds a binding.
pub fn rehearse(planner: &Device, p: &Tensor, still: usize, samples: usize, classes: usize) -> Result<()> {
    if planner.caps().class == DeviceClass::Cpu {
        return Ok(());
    }
    let m = p.cols();
    let mut drift = on_device::Drift::new(planner, m, still, side(m), samples, 1.0)?;
    let batch = p.prefix(&[p.rows().min(samples), m]);
    drift.add(&batch, &batch)?;
    let map = drift.rehearse()?;
    pairs::rehearse_compensation(&map, classes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Caps;

    #[test]
    fn the_published_size_fits_small_devices() {
        let (m, classes) = (16_384, 200);
        for samples in [2000, m - 1, 3 * m] {
            // Refuses tensors above 128 MiB.
            let device = Device::planner(Caps::floor());
            let p = device.reals(&[1000, m]).unwrap();
            device.capture(|| rehearse(&device, &p, m / 2, samples, classes)).unwrap();
            let peak = device.stats().peak_bytes_in_use;
            // Of the features, their products in pairs, the factor and the map the middle case keeps the most at once.
            assert!(peak < 6 << 30, "{samples} samples take {peak} bytes");
        }
    }
}
