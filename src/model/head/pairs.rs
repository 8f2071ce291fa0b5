//! The statistics in pairs of f32 on a GPU, which has no float64.

use super::host::Host;
use super::tiles::HostTiles;
use crate::Result;
use crate::algorithms::drift::Map;
use crate::algorithms::products::{add_products, symmetric};
use crate::algorithms::ridge::{Solution, System};
use crate::algorithms::tiles::{Tiles, side};
use crate::device::{Device, Tensor};
use crate::kernels::label_sum::LabelSum;
use crate::model::state::{overwrite, put, upload};
use crate::store::Tree;

/// G as tiles [2, rows, cols] and Q^T [2, C, m]: first parts, second parts.
#[derive(Debug)]
pub struct Pairs {
    gram: Tiles,
    sums: Tensor,
    device: Device,
}

impl Pairs {
    /// # Errors
    /// Allocation failures.
    pub fn new(device: &Device, m: usize) -> Result<Self> {
        let gram = Tiles::new(device, m, side(m), 2)?;
        gram.all().iter().try_for_each(|tile| device.clear(tile))?;
        Ok(Self { gram, sums: device.zeros(&[2, 0, m])?, device: device.clone() })
    }

    /// Q^T of at least `classes` classes.
    fn wide(&self, classes: usize) -> Result<Tensor> {
        let (before, m) = (self.sums.shape()[1], self.gram.size());
        if before >= classes {
            return Ok(self.sums.clone());
        }
        let wide = self.device.zeros(&[2, classes, m])?;
        for part in 0..2 {
            self.device.copy(&self.sums, part * before * m, &wide, part * classes * m, before * m)?;
        }
        Ok(wide)
    }

    /// Adds random features p [B, m] with labels below `classes`.
    ///
    /// # Errors
    /// Device errors.
    pub fn add(&mut self, p: &Tensor, labels: &[u32], classes: usize) -> Result<()> {
        self.sums = self.wide(classes)?;
        gather(&self.device, &self.gram, &self.sums, p, labels)
    }

    /// The statistics in float64 on the host, exactly.
    ///
    /// # Errors
    /// Device errors, [`crate::Error::OutOfMemory`].
    pub async fn to_host(&self, classes: usize) -> Result<Host> {
        let mut host = Host::new(self.gram.size(), false)?;
        host.grams = vec![gram_to_host(&self.device, &self.gram).await?];
        host.sums = sums_to_host(&self.device, &self.wide(classes)?).await?;
        Ok(host)
    }

    /// What [`Pairs::to_host`] gave, to 2^-48; not by class.
    ///
    /// # Errors
    /// Allocation failures.
    pub fn from_host(device: &Device, host: &Host) -> Result<Self> {
        let gram = gram_from_host(device, &host.grams[0])?;
        Ok(Self { gram, sums: sums_from_host(device, host)?, device: device.clone() })
    }

    /// `G <- A^T G A` and `Q^T <- Q^T A`.
    ///
    /// # Errors
    /// Device errors, before anything has changed.
    pub fn compensate(&mut self, map: &Map) -> Result<()> {
        (self.sums, self.gram) = (map.carry_sums(&self.sums)?, map.carry(&self.gram)?);
        Ok(())
    }

    /// The pairs as they are: `gram/I.J` [2, rows, cols] and `sums` [2, C, m].
    ///
    /// # Errors
    /// Device errors.
    pub async fn state(&self, tree: &mut Tree, classes: usize) -> Result<()> {
        for (i, j) in self.gram.places() {
            put(tree, &format!("gram/{i}.{j}"), &self.device, self.gram.tile(i, j)).await?;
        }
        put(tree, "sums", &self.device, &self.wide(classes)?).await
    }

    /// What [`Pairs::state`] gave; `gram` holds the tiles.
    ///
    /// # Errors
    /// [`crate::Error::Store`] where one is missing or misshapen; allocation failures.
    pub fn restore(device: &Device, m: usize, classes: usize, mut gram: Tree, rest: &mut Tree) -> Result<Self> {
        let tiles = Tiles::new(device, m, side(m), 2)?;
        for (i, j) in tiles.places() {
            overwrite(&mut gram, &format!("{i}.{j}"), device, tiles.tile(i, j))?;
        }
        gram.finish()?;
        let sums = upload(rest, "sums", device, &[2, classes, m])?;
        Ok(Self { gram: tiles, sums, device: device.clone() })
    }

    /// # Errors
    /// [`crate::Error::NotPositiveDefinite`] and [`crate::Error::IllConditioned`], device errors.
    pub async fn solve(&self, gamma: f64, classes: usize, advance: &mut dyn FnMut(usize)) -> Result<Solution> {
        System::new(&self.device, &self.gram, gamma, advance)?.solve(&self.wide(classes)?).await
    }
}

/// Dispatches what adding features p [B, m] and solving need, for [`Device::prewarm`].
///
/// # Errors
/// Those of plans.
pub fn plan(device: &Device, p: &Tensor, classes: usize) -> Result<()> {
    let m = p.cols();
    let (gram, sums) = (Tiles::stand_in(device, m, side(m), 2)?, device.reals(&[2, classes, m])?);
    gather(device, &gram, &sums, p, &vec![0; p.rows()])?;
    System::plan(device, &gram, &sums)
}

/// See [`super::Statistics::occupy`].
pub fn occupy(planner: &Device, p: &Tensor, classes: usize) -> Result<Vec<Tensor>> {
    let m = p.cols();
    let (gram, sums) = (Tiles::new(planner, m, side(m), 2)?, planner.reals(&[2, classes, m])?);
    if p.rows() > 0 {
        gather(planner, &gram, &sums, p, &vec![0; p.rows()])?;
        let factor = Tiles::new(planner, m, side(m), 1)?;
        planner.capture(|| System::plan(planner, &gram, &sums))?;
        drop(factor);
    }
    let mut held: Vec<Tensor> = gram.places().map(|(i, j)| gram.tile(i, j).clone()).collect();
    held.push(sums);
    Ok(held)
}

fn gather(device: &Device, gram: &Tiles, sums: &Tensor, p: &Tensor, labels: &[u32]) -> Result<()> {
    add_products(device, p, 0..labels.len(), &symmetric(gram, 0))?;
    device.run(&LabelSum { p, labels: &device.upload_u32(labels, &[labels.len()])?, q: sums })?;
    device.flush()
}

/// `G <- A^T G A` of every class that is kept by class, one after the other, and `Q^T <- Q^T A`.
///
/// # Errors
/// Device errors, after which some classes may have changed; [`crate::Error::OutOfMemory`].
pub async fn compensate(host: &mut Host, map: &Map) -> Result<()> {
    let device = map.device();
    let sums = sums_to_host(device, &map.carry_sums(&sums_from_host(device, host)?)?).await?;
    // A class without samples has nothing to move.
    for gram in host.grams.iter_mut().filter(|gram| gram.trace() != 0.0) {
        *gram = gram_to_host(device, &map.carry(&gram_from_host(device, gram)?)?).await?;
    }
    host.sums = sums;
    Ok(())
}

/// Allocates and dispatches what either does for so many classes, see [`super::drift::rehearse`].
///
/// # Errors
/// Those of plans.
pub fn rehearse_compensation(map: &Map, classes: usize) -> Result<()> {
    let (device, m) = (map.device(), map.features());
    let sums = device.reals(&[2, classes, m])?;
    let _carried = map.carry_sums(&sums)?;
    map.carry(&Tiles::new(device, m, side(m), 2)?).map(drop)
}

/// A matrix in pairs in float64, exactly.
async fn gram_to_host(device: &Device, gram: &Tiles) -> Result<HostTiles> {
    let mut host = HostTiles::zeros(gram.size())?;
    for i in 0..gram.count() {
        let mut row = Vec::new();
        for j in 0..=i {
            row.push(device.read::<f32>(gram.tile(i, j)).await?);
        }
        let rows = gram.range(i);
        host.fill(rows.clone(), |r, c| {
            let j = c / gram.side();
            let cols = gram.range(j);
            let at = (r - rows.start) * cols.len() + c - cols.start;
            f64::from(row[j][at]) + f64::from(row[j][rows.len() * cols.len() + at])
        });
    }
    Ok(host)
}

/// The same back, to 2^-48.
fn gram_from_host(device: &Device, host: &HostTiles) -> Result<Tiles> {
    let m = host.size();
    let gram = Tiles::new(device, m, side(m), 2)?;
    for (i, j) in gram.places() {
        let columns = gram.range(j);
        let entries = gram.range(i).flat_map(|r| columns.clone().map(move |c| (r.max(c), r.min(c))));
        device.write(gram.tile(i, j), &split(entries.map(|(r, c)| host.at(r, c))))?;
    }
    Ok(gram)
}

async fn sums_to_host(device: &Device, sums: &Tensor) -> Result<Vec<f64>> {
    let sums: Vec<f64> = device.read(sums).await?;
    let (high, low) = sums.split_at(sums.len() / 2);
    Ok(high.iter().zip(low).map(|(x, y)| x + y).collect())
}

fn sums_from_host(device: &Device, host: &Host) -> Result<Tensor> {
    let m = host.features();
    device.upload(&split(host.sums.iter().copied()), &[2, host.sums.len() / m, m])
}

/// First parts of all numbers, then second parts.
fn split(x: impl Iterator<Item = f64> + Clone) -> Vec<f32> {
    let second = |x: f64| (x - f64::from(x as f32)) as f32;
    x.clone().map(|x| x as f32).chain(x.map(second)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Caps;

    #[test]
    fn the_published_size_fits_small_devices() {
        let (m, classes, batch) = (16_384, 200, 1000);
        // Refuses tensors above 128 MiB.
        let device = Device::planner(Caps::floor());
        let p = device.reals(&[batch, m]).unwrap();
        let mut pairs = Pairs::new(&device, m).unwrap();
        pairs.add(&p, &vec![0; batch], classes).unwrap();
        let system = System::new(&device, &pairs.gram, 1.0, &mut |_| ()).unwrap();
        // One tile stands for all of the factor, which only a capture lets pass.
        device.capture(|| System::plan(&device, &pairs.gram, &pairs.sums)).unwrap();
        drop(system);
        let peak = device.stats().peak_bytes as f64 / f64::from(1 << 30);
        assert!(peak < 2.5, "{peak} GiB");
    }
}
