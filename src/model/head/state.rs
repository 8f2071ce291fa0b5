//! Statistics in a state: those of the host in float64, those of a GPU as the pairs that they are.

use super::host::Host;
use super::pairs::Pairs;
use super::{Statistics, Storage};
use crate::Result;
use crate::device::Device;
use crate::store::Tree;

impl Statistics {
    /// Everything that was gathered, as it is kept: `counts`, one of every class; `gram` [1, m (m + 1) / 2], the lower
    /// triangle of G row after row ([C, m (m + 1) / 2], one of every class, if they are kept by class), and `sums`
    /// [C, m] = Q^T; of a GPU `gram/I.J` [2, rows, cols] and `sums` [2, C, m], first parts and second parts in f32.
    ///
    /// # Errors
    /// Device errors.
    pub async fn state(&self) -> Result<Tree> {
        let (mut tree, classes) = (Tree::new(), self.counts.len());
        tree.put("counts", &[classes], &self.counts);
        match &self.storage {
            Storage::Host(host) => put_host(&mut tree, host, classes),
            Storage::Device(pairs) => pairs.state(&mut tree, classes).await?,
        }
        Ok(tree)
    }

    /// The same in float64 wherever it is kept, for files that go from one device to another.
    ///
    /// # Errors
    /// Device errors.
    pub async fn portable_state(&self) -> Result<Tree> {
        let (mut tree, classes) = (Tree::new(), self.counts.len());
        tree.put("counts", &[classes], &self.counts);
        put_host(&mut tree, self.host().await?.as_ref(), classes);
        Ok(tree)
    }

    /// What [`Statistics::state`] gave, in place of what was here. Pairs become float64, exactly, where the device keeps none.
    ///
    /// # Errors
    /// [`crate::Error::Store`] where it is damaged or of other sizes; allocation failures.
    pub async fn restore(&mut self, device: &Device, mut tree: Tree) -> Result<()> {
        let (m, by_class) = (self.features, self.is_by_class());
        let (shape, counts) = tree.take::<u64>("counts")?;
        let total = counts.iter().try_fold(0u64, |sum, &n| sum.checked_add(n)).filter(|&sum| sum < 1 << 53);
        if shape.len() != 1 || total.is_none() {
            return Err(tree.error("`counts` is no list of numbers of samples"));
        }
        let classes = counts.len();
        let storage = if tree.has("gram") {
            let parts = if by_class { classes } else { 1 };
            let gram = tree.take_shaped::<f64>("gram", &[parts, m * (m + 1) / 2])?;
            let sums = tree.take_shaped::<f64>("sums", &[classes, m])?;
            let mut host = Host::new(m, by_class)?;
            host.unpack(&gram, &sums)?;
            Storage::Host(host)
        } else {
            let gram = tree.prune("gram");
            let pairs = Pairs::restore(device, m, classes, gram, &mut tree)?;
            match device.is_cpu() {
                true => Storage::Host(pairs.to_host(classes).await?),
                false => Storage::Device(pairs),
            }
        };
        tree.finish()?;
        (self.counts, self.storage, self.paired) = (counts, storage, None);
        Ok(())
    }
}

fn put_host(tree: &mut Tree, host: &Host, classes: usize) {
    let m = host.features();
    tree.put("gram", &[host.parts(classes), m * (m + 1) / 2], &host.pack());
    tree.put("sums", &[classes, m], &host.sums);
}
