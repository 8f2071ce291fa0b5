//! Profiles: what every dispatch took and moved, for which part of the caller's work, and what the host did meanwhile.

mod profiler;
mod stamps;

use std::fmt;

pub use profiler::Scope;
pub(super) use profiler::{Note, Profiler};
pub(super) use stamps::{Clock, Stamps};

use super::{Backend, Device};
use crate::{Error, Result};

/// A part of a network, such as `block 3` or `head`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part {
    /// Its name; empty where nothing was said.
    pub name: &'static str,
    /// Which one of those of this name, where there are several.
    pub index: Option<usize>,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "{} {index}", self.name),
            None => f.write_str(self.name),
        }
    }
}

/// A dispatch while profiling was on. Seconds count from the beginning of the profile, on the host's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dispatched {
    /// The kernel's name.
    pub kernel: &'static str,
    /// What the caller was at; empty where nothing was said.
    pub phase: &'static str,
    /// For which part of a network.
    pub part: Part,
    /// When the device began with it.
    pub start: f64,
    /// When the device was done with it.
    pub end: f64,
    /// Multiplications and additions, as far as the kernel counts them.
    pub flops: f64,
    /// Bytes of the operands that are only read.
    pub read: f64,
    /// Bytes of the operands that are written, each counted once, whether or not they are read as well.
    pub written: f64,
}

/// Something that the host did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// A phase of the caller's work.
    Phase(&'static str),
    /// Work on a part of a network.
    Part(Part),
    /// Recording a dispatch of this kernel on a GPU.
    Record(&'static str),
    /// Compiling this shader, or several of them at once (an empty name).
    Compile(&'static str),
    /// Handing recorded work to the driver; some run it at once.
    Submit,
    /// Numbers on their way to the device.
    Upload,
    /// Numbers on their way back, with the wait for them.
    ReadBack,
    /// Copies and clears on the device, or asking for them.
    Copy,
    /// Waiting for the device.
    Wait,
}

/// When the host did it: seconds from the beginning of the profile. What is done within something else lies within it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// What it did.
    pub activity: Activity,
    /// When it began.
    pub start: f64,
    /// When it was over.
    pub end: f64,
    /// Bytes that were moved.
    pub bytes: u64,
}

/// What [`Device::profile`] saw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// Seconds from the beginning until all work was done.
    pub seconds: f64,
    /// Every dispatch, in order of their beginnings.
    pub dispatches: Vec<Dispatched>,
    /// What the host did, in order of the beginnings.
    pub host: Vec<Interval>,
    /// Dispatches that were not noted or not timed: beyond 2^22 of them, after which nothing more is noted, or for want of
    /// memory for timestamps.
    pub missing: usize,
}

/// A profile that is being made. Dropped, be it in the midst of the work, it leaves nothing for the next one.
struct Making<'a>(&'a Device);

impl<'a> Making<'a> {
    fn of(device: &'a Device) -> Result<Self> {
        match device.0.profiler.take() {
            true => Ok(Self(device)),
            false => Err(Error::Unsupported("this device is being profiled".into())),
        }
    }

    fn forget_times(&self) {
        if let Backend::Gpu(gpu) = &self.0.0.backend {
            gpu.forget_times();
        }
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.0.0.profiler.release();
        self.forget_times();
    }
}

impl Device {
    /// Runs `work`, waits for the device, and tells what it did. While this lasts, every dispatch is a pass of its own, by
    /// whichever thread, under its kernel's name and those of its phase and part; at other times nothing is measured and
    /// nothing costs.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the adapter has no timestamps or the device is being profiled; those of `work`; any failure
    /// of the queue.
    pub async fn profile<T>(&self, work: impl Future<Output = Result<T>>) -> Result<(T, Profile)> {
        if !self.is_cpu() && !self.0.caps.timestamps {
            return Err(Error::Unsupported(format!("adapter {} has no timestamps", self.name())));
        }
        let making = Making::of(self)?;
        self.finish().await?;
        making.forget_times();
        self.0.profiler.start();
        let result = work.await;
        let finished = self.finish().await;
        let mut profile = self.0.profiler.stop();
        let result = result?;
        finished?;
        if let Backend::Gpu(gpu) = &self.0.backend {
            profile.dispatches = gpu.timed().await?;
        }
        profile.dispatches.sort_by(|a, b| a.start.total_cmp(&b.start));
        profile.host.sort_by(|a, b| a.start.total_cmp(&b.start).then(b.end.total_cmp(&a.end)));
        Ok((result, profile))
    }

    /// Says what the caller is at until the result is dropped: a phase of its work, such as `forward`.
    pub fn phase(&self, name: &'static str) -> Scope {
        self.0.profiler.enter(Activity::Phase(name))
    }

    /// Says for which part of a network the caller works until the result is dropped.
    pub fn part(&self, name: &'static str, index: Option<usize>) -> Scope {
        self.0.profiler.enter(Activity::Part(Part { name, index }))
    }

    /// The part that the caller works for, while that is noted.
    pub fn current_part(&self) -> Option<Part> {
        self.0.profiler.part()
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use pollster::block_on;

    use super::*;
    use crate::device::Precision;
    use crate::kernels::add::Add;

    #[test]
    fn one_profile_at_a_time_and_none_leaves_anything_behind() {
        let device = Device::cpu(Precision::F32);
        let (x, y) = (device.zeros(&[64]).unwrap(), device.zeros(&[64]).unwrap());
        let add = || device.run(&Add { x: &x, y: &y });
        let dispatches = || {
            let ((), profile) = block_on(device.profile(async { add() })).unwrap();
            profile.dispatches.len()
        };
        let work = async {
            add()?;
            let second = device.profile(async { Ok(()) }).await;
            assert!(matches!(second, Err(Error::Unsupported(why)) if why.contains("being profiled")));
            add()
        };
        let ((), profile) = block_on(device.profile(work)).unwrap();
        assert_eq!((profile.dispatches.len(), profile.missing), (2, 0), "the second one takes nothing from the first");

        let mut given_up = Box::pin(device.profile(async {
            let _phase = device.phase("forward");
            add()?;
            std::future::pending::<Result<()>>().await
        }));
        assert!(given_up.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(device.0.profiler.is_on());
        drop(given_up);
        assert!(!device.0.profiler.is_on());
        assert_eq!(dispatches(), 1);

        let failed = block_on(device.profile(async {
            add()?;
            Err::<(), _>(Error::Unsupported("this".into()))
        }));
        assert!(failed.is_err() && !device.0.profiler.is_on());
        assert_eq!(dispatches(), 1);
    }
}
