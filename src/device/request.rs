//! Requests a device of an adapter with what kernels use of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use super::Caps;
use crate::{Error, Result};

/// A device with what `caps` ask for, and these without what its driver then refused.
///
/// # Errors
/// [`Error::Unsupported`] where there is none.
pub(super) async fn device(adapter: &wgpu::Adapter, caps: Caps) -> Result<(wgpu::Device, wgpu::Queue, Caps)> {
    match request(adapter, &caps).await {
        Err(_) if caps.matrix.is_some() => {
            let caps = caps.without_matrices();
            let (device, queue) = request(adapter, &caps).await?;
            Ok((device, queue, caps))
        }
        answer => answer.map(|(device, queue)| (device, queue, caps)),
    }
}

/// A device of the adapter with all its limits and the features that `caps` ask for. wgpu panics where a driver refuses
/// cooperative matrices after all; that counts as a refusal.
async fn request(adapter: &wgpu::Adapter, caps: &Caps) -> Result<(wgpu::Device, wgpu::Queue)> {
    let refused = |why: String| {
        Error::Unsupported(format!("adapter {} gave no device ({why}); use --device cpu", adapter.get_info().name))
    };
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("minoise"),
        // What keeps pipelines costs nothing to ask for.
        required_features: caps.features() | (adapter.features() & wgpu::Features::PIPELINE_CACHE),
        required_limits: adapter.limits(),
        // SAFETY: of the experimental features only cooperative matrices are requested. Their shaders use sizes that the
        // adapter lists, in control flow that is uniform and at places inside the workgroup's memory.
        experimental_features: unsafe { wgpu::ExperimentalFeatures::enabled() },
        ..wgpu::DeviceDescriptor::default()
    };
    if caps.matrix.is_none() {
        return adapter.request_device(&descriptor).await.map_err(|e| refused(e.to_string()));
    }
    let mut asked = std::pin::pin!(async { adapter.request_device(&descriptor).await });
    let answer = std::future::poll_fn(|context| {
        // Nobody need read of a panic that is dealt with.
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let poll = catch_unwind(AssertUnwindSafe(|| asked.as_mut().poll(context)));
        std::panic::set_hook(hook);
        poll.map_or(Poll::Ready(None), |poll| poll.map(Some))
    });
    match answer.await {
        Some(device) => device.map_err(|e| refused(e.to_string())),
        None => Err(refused("its driver refuses cooperative matrices".into())),
    }
}
