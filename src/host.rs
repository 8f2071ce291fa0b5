//! What the library asks of the machine it runs on: time, waiting, a thread, the environment, a place for cached files.
//! A browser has the other half of each: nothing there waits, and there are no files.

mod ahead;

use std::future::Future;
use std::path::{Path, PathBuf};

pub(crate) use web_time::Instant;

/// The result of a future that a machine can wait for; nothing in a browser, which cannot.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> Option<T> {
    #[cfg(not(target_arch = "wasm32"))]
    return Some(pollster::block_on(future));
    #[cfg(target_arch = "wasm32")]
    {
        drop(future);
        None
    }
}

/// The same of a future that may fail, as it does in a browser: `what` is done only where it can be waited for.
pub(crate) fn wait<T>(future: impl Future<Output = crate::Result<T>>, what: &str) -> crate::Result<T> {
    let cannot = || Err(crate::Error::Unsupported(format!("{what} needs a host that can wait")));
    block_on(future).unwrap_or_else(cannot)
}

/// The result of a future that is done as soon as it is asked for; in a browser `late` gets it, once it is there.
pub(crate) fn settle<T>(future: impl Future<Output = T> + 'static, late: impl FnOnce(T) + 'static) -> Option<T> {
    #[cfg(not(target_arch = "wasm32"))]
    {
        drop(late);
        block_on(future)
    }
    #[cfg(target_arch = "wasm32")]
    {
        wasm_bindgen_futures::spawn_local(async move { late(future.await) });
        None
    }
}

/// A variable of the environment.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The user's directory of cached files.
pub(crate) fn cache_dir() -> Option<PathBuf> {
    #[cfg(not(target_arch = "wasm32"))]
    {
        use etcetera::BaseStrategy;
        Some(etcetera::choose_base_strategy().ok()?.cache_dir().join("minoise"))
    }
    #[cfg(target_arch = "wasm32")]
    None
}

/// The directory of cached files by the XDG rules, which Python's tools follow on every system.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn xdg_cache_dir() -> Option<PathBuf> {
    use etcetera::{BaseStrategy, base_strategy::Xdg};
    Some(Xdg::new().ok()?.cache_dir())
}

/// The most bytes that this process held in memory so far, where the system tells.
pub(crate) fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// Writes a file and its directory; until it is whole, an earlier one stays.
pub(crate) fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    let mut temporary = tempfile::NamedTempFile::new_in(dir)?;
    std::io::Write::write_all(&mut temporary, content)?;
    temporary.persist(path)?;
    Ok(())
}

/// Threads that can run at once.
pub(crate) fn cores() -> usize {
    if cfg!(target_arch = "wasm32") { 0 } else { std::thread::available_parallelism().map_or(1, |n| n.get()) }
}

pub(crate) use ahead::Ahead;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native::Worker;
#[cfg(target_arch = "wasm32")]
pub(crate) use web::Worker;

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::sync::{Mutex, mpsc};
    use std::thread::JoinHandle;

    /// A thread that does one thing for every item; joined on drop, so that it does not outlive its owner.
    #[derive(Debug)]
    pub(crate) struct Worker<T>(Option<(Mutex<mpsc::Sender<T>>, JoinHandle<()>)>);

    impl<T: Send + 'static> Worker<T> {
        /// Nothing where the host has no threads.
        pub fn spawn(name: &str, mut each: impl FnMut(T) + Send + 'static) -> std::io::Result<Option<Self>> {
            let (sender, items) = mpsc::channel();
            let thread = std::thread::Builder::new().name(name.into());
            let thread = thread.spawn(move || items.into_iter().for_each(&mut each))?;
            Ok(Some(Self(Some((Mutex::new(sender), thread)))))
        }

        /// Hands over an item; one that nobody takes any more is dropped.
        pub fn send(&self, item: T) {
            if let Some((sender, _)) = &self.0 {
                let _ = sender.lock().expect("a worker's items").send(item);
            }
        }
    }

    impl<T> Drop for Worker<T> {
        fn drop(&mut self) {
            if let Some((sender, thread)) = self.0.take() {
                drop(sender);
                // A panic of that thread was reported when it happened.
                let _ = thread.join();
            }
        }
    }
}

#[cfg(target_arch = "wasm32")]
mod web {
    #[derive(Debug)]
    pub(crate) struct Worker<T>(std::marker::PhantomData<T>);

    impl<T> Worker<T> {
        pub fn spawn(_: &str, _: impl FnMut(T) + Send + 'static) -> std::io::Result<Option<Self>> {
            Ok(None)
        }

        pub fn send(&self, _: T) {}
    }
}
