//! Captures of graphics debuggers.

use std::sync::atomic::{AtomicBool, Ordering};

use super::gpu::Gpu;
use super::{Backend, Device};
use crate::{Error, Result};

/// Whether a capture is being made: debuggers make one of a process at a time.
static CAPTURING: AtomicBool = AtomicBool::new(false);

/// The right to make a capture, until this is dropped.
struct Turn;

impl Turn {
    fn take() -> Result<Self> {
        match CAPTURING.swap(true, Ordering::Acquire) {
            false => Ok(Self),
            true => Err(Error::Unsupported("another capture is being made".into())),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        CAPTURING.store(false, Ordering::Release);
    }
}

/// A capture that has begun; it ends when this is dropped.
struct Capture<'a> {
    gpu: &'a Gpu,
    _turn: Turn,
}

impl Drop for Capture<'_> {
    fn drop(&mut self) {
        // SAFETY: the capture of this device has begun, and nothing else ends it.
        unsafe { self.gpu.raw().stop_graphics_debugger_capture() };
    }
}

impl Device {
    /// Runs `work` inside a capture of the graphics debugger that runs this process, RenderDoc or Xcode, and waits for the
    /// device. Where it is profiled as well, passes have the names of their phases, parts and kernels.
    ///
    /// # Errors
    /// [`Error::Unsupported`] on the CPU device, where no debugger is there, and while another capture is made; those of `work`;
    /// any failure of the queue.
    pub async fn debugged<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let Backend::Gpu(gpu) = &self.0.backend else {
            return Err(Error::Unsupported(
                "no graphics debugger captures the CPU device: choose another --device".into(),
            ));
        };
        let turn = Turn::take()?;
        self.finish().await?;
        if !begun(gpu) {
            return Err(Error::Unsupported(
                "no graphics debugger runs this program: start it from RenderDoc, which wgpu knows only in builds with debug \
                 assertions, or from Xcode"
                    .into(),
            ));
        }
        let capture = Capture { gpu, _turn: turn };
        let result = work.await;
        let finished = self.finish().await;
        drop(capture);
        finished.and(result)
    }
}

/// Begins a capture; false where there is nobody to make it.
#[cfg(not(any(target_arch = "wasm32", target_vendor = "apple")))]
fn begun(gpu: &Gpu) -> bool {
    use wgpu::hal::{Api, Device as _, api};

    fn with<A: Api>(gpu: &Gpu) -> bool {
        // SAFETY: the device is only asked to begin a capture, while no other is active and nothing is submitted.
        unsafe { gpu.raw().as_hal::<A>().is_some_and(|device| device.start_graphics_debugger_capture()) }
    }
    #[cfg(windows)]
    if with::<api::Dx12>(gpu) {
        return true;
    }
    with::<api::Vulkan>(gpu) || with::<api::Gles>(gpu)
}

/// The same with Xcode, which says nothing.
#[cfg(target_vendor = "apple")]
fn begun(gpu: &Gpu) -> bool {
    // SAFETY: no other capture is active, and nothing is submitted.
    unsafe { gpu.raw().start_graphics_debugger_capture() };
    true
}

#[cfg(target_arch = "wasm32")]
fn begun(_: &Gpu) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_capture_at_a_time() {
        let turn = Turn::take().unwrap();
        assert!(matches!(Turn::take(), Err(Error::Unsupported(why)) if why.contains("another capture")));
        drop(turn);
        Turn::take().unwrap();
    }
}
