//! Compiled pipelines, kept on disk between processes where the driver can give them out (Vulkan).

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::tuned::path_of;
use crate::host;

/// Version of this crate, whose shaders these are.
const VERSION: &str = env!("CARGO_PKG_VERSION");
const DIGEST: usize = 32;

/// A driver's cache of pipelines with its file.
#[derive(Debug)]
pub(super) struct Saved {
    pub cache: wgpu::PipelineCache,
    label: String,
    path: PathBuf,
}

/// Of adapter, driver and version, too: what another one made must not reach the driver.
fn digest(label: &str, data: &[u8]) -> [u8; DIGEST] {
    let mut hash = Sha256::new();
    for part in [VERSION.as_bytes(), label.as_bytes(), data] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

fn unpack<'a>(label: &str, file: &'a [u8]) -> Option<&'a [u8]> {
    let (head, data) = file.split_at_checked(DIGEST)?;
    (head == digest(label, data)).then_some(data)
}

impl Saved {
    /// The cache of the adapter with this label; empty where its file is missing, damaged or of another version. Nothing
    /// where the device or the host keeps none.
    pub fn open(device: &wgpu::Device, label: &str) -> Option<Self> {
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let path = path_of("pipelines", label, "bin")?;
        let file = std::fs::read(&path).unwrap_or_default();
        let descriptor =
            wgpu::PipelineCacheDescriptor { label: Some("pipelines"), data: unpack(label, &file), fallback: true };
        // SAFETY: the data came out of `get_data` for this adapter and driver, as their digest shows.
        let cache = unsafe { device.create_pipeline_cache(&descriptor) };
        Some(Self { cache, label: label.into(), path })
    }

    /// Replaces the file. A cache that cannot be saved is none the next time, and no reason to fail.
    pub fn save(&self) {
        if let Some(data) = self.cache.get_data() {
            let file = [&digest(&self.label, &data)[..], &data].concat();
            let _ = host::replace(&self.path, &file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_files_of_this_adapter_count() {
        let file = [&digest("gpu (driver 1)", b"data")[..], b"data"].concat();
        assert_eq!(unpack("gpu (driver 1)", &file), Some(&b"data"[..]));
        assert_eq!(unpack("gpu (driver 2)", &file), None);
        assert_eq!(unpack("gpu (driver 1)", &file[..file.len() - 1]), None);
        assert_eq!(unpack("gpu (driver 1)", &file[..5]), None);
        assert_eq!(unpack("gpu (driver 1)", b""), None);
    }
}
