//! The first failure of a queue, after which it refuses further work.

use std::sync::{Arc, Mutex};

use crate::{Error, Result};

/// Shared by a queue and the callbacks of its driver.
#[derive(Clone, Debug, Default)]
pub(super) struct Poison(Arc<State>);

#[derive(Debug, Default)]
struct State {
    error: Mutex<Option<Error>>,
    /// Name of the kernel recorded last, for messages.
    last: Mutex<&'static str>,
}

impl Poison {
    /// The first error counts, but for a loss: what failed before its report was a consequence.
    pub fn set(&self, error: Error) {
        let mut held = self.0.error.lock().expect("poison");
        let lost = |e: &Error| matches!(e, Error::DeviceLost { .. });
        if held.as_ref().is_none_or(|before| lost(&error) && !lost(before)) {
            *held = Some(error);
        }
    }

    pub fn get(&self) -> Option<Error> {
        self.0.error.lock().expect("poison").clone()
    }

    /// Notes what is recorded.
    pub fn record(&self, kernel: &'static str) {
        *self.0.last.lock().expect("last") = kernel;
    }

    fn during(&self) -> String {
        match *self.0.last.lock().expect("last") {
            "" => "start-up".into(),
            kernel => kernel.into(),
        }
    }

    /// The device stopped answering.
    pub fn lost(&self, reason: String) {
        self.set(Error::DeviceLost { during: self.during(), reason });
    }

    /// Notes what the driver reports and nobody asked for.
    pub fn reported(&self, error: &wgpu::Error) {
        let during = self.during();
        self.set(match error {
            wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory { during },
            other => Error::Validation { during, reason: other.to_string() },
        });
    }

    /// The failure of the queue, if there is one.
    pub fn check(&self, device: &wgpu::Device) -> Result<()> {
        let Some(error) = self.get() else { return Ok(()) };
        // A lost device first shows as invalid objects; polling delivers the report of the loss itself.
        if matches!(error, Error::Validation { .. }) {
            let _ = device.poll(wgpu::PollType::Poll);
        }
        Err(self.get().unwrap_or(error))
    }
}
