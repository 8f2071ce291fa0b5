//! Pictures that are kept, as far as a budget of bytes goes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Picture;

/// Bytes that several caches share.
#[derive(Debug)]
pub struct Budget {
    left: AtomicUsize,
}

impl Budget {
    /// `bytes` in all.
    pub fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(bytes) })
    }

    fn take(&self, bytes: usize) -> bool {
        let less = |left: usize| left.checked_sub(bytes);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

/// Pictures by number. The first that come stay: passes go over all images again and again, and a cache that dropped the
/// oldest would then always drop what is needed next.
#[derive(Debug)]
pub(super) struct Cache {
    budget: Arc<Budget>,
    pictures: Mutex<HashMap<u32, Arc<Picture>>>,
}

impl Cache {
    pub fn new(budget: Arc<Budget>) -> Self {
        Self { budget, pictures: Mutex::default() }
    }

    pub fn get(&self, key: u32) -> Option<Arc<Picture>> {
        self.pictures.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }

    /// Keeps a picture if there is room.
    pub fn put(&self, key: u32, picture: &Arc<Picture>) {
        let mut pictures = self.pictures.lock().unwrap_or_else(PoisonError::into_inner);
        if !pictures.contains_key(&key) && self.budget.take(picture.pixels.len()) {
            pictures.insert(key, picture.clone());
        }
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        let pictures = self.pictures.get_mut().unwrap_or_else(PoisonError::into_inner);
        let bytes = pictures.values().map(|picture| picture.pixels.len()).sum();
        self.budget.left.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_stay_and_the_budget_comes_back() {
        let budget = Budget::new(10);
        let picture = |n| Arc::new(Picture { width: n, height: 1, channels: 1, pixels: vec![0; n] });
        let cache = Cache::new(budget.clone());
        for (key, n) in [(1, 6), (2, 6), (3, 4), (1, 6)] {
            cache.put(key, &picture(n));
        }
        assert_eq!([1, 2, 3].map(|key| cache.get(key).is_some()), [true, false, true]);
        assert!(!budget.take(1));
        drop(cache);
        assert!(budget.take(10));
    }
}
