//! Work that is done ahead of its use, on threads of its own.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// The results of `work(0)` to `work(n - 1)`, in this order, made by threads before they are asked for; by whoever asks
/// where there are no threads. Dropping it ends the threads.
pub(crate) struct Ahead<T> {
    shared: Arc<Shared<T>>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared<T> {
    n: usize,
    /// Results that may wait or be in work.
    most: usize,
    work: Box<dyn Fn(usize) -> T + Send + Sync>,
    state: Mutex<State<T>>,
    /// A result is there.
    made: Condvar,
    /// A result was taken, or nobody wants more.
    taken: Condvar,
}

struct State<T> {
    /// The next item that a thread begins.
    begun: usize,
    /// The next item that is asked for.
    asked: usize,
    done: HashMap<usize, thread::Result<T>>,
}

impl<T> std::fmt::Debug for Ahead<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ahead").field("n", &self.shared.n).field("threads", &self.threads.len()).finish()
    }
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work_on(&self) {
        loop {
            let mut state = self.state();
            while state.begun < self.n && state.begun >= state.asked + self.most {
                state = self.taken.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.begun >= self.n {
                return;
            }
            let i = state.begun;
            state.begun += 1;
            drop(state);
            // A panic is that of whoever asks for the result, who would else wait for ever.
            let result = catch_unwind(AssertUnwindSafe(|| (self.work)(i)));
            self.state().done.insert(i, result);
            self.made.notify_one();
        }
    }
}

impl<T: Send + 'static> Ahead<T> {
    pub fn new(
        n: usize,
        most: usize,
        threads: usize,
        work: impl Fn(usize) -> T + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let state = Mutex::new(State { begun: 0, asked: 0, done: HashMap::new() });
        let work = Box::new(work);
        let (made, taken) = (Condvar::new(), Condvar::new());
        let shared = Arc::new(Shared { n, most: most.max(1), work, state, made, taken });
        let mut ahead = Self { shared, threads: Vec::new() };
        for _ in 0..threads {
            let shared = ahead.shared.clone();
            let thread = thread::Builder::new().name("minoise-load".into());
            ahead.threads.push(thread.spawn(move || shared.work_on())?);
        }
        Ok(ahead)
    }
}

impl<T> Iterator for Ahead<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let shared = &self.shared;
        let mut state = shared.state();
        let i = state.asked;
        if i >= shared.n {
            return None;
        }
        if self.threads.is_empty() {
            state.asked += 1;
            drop(state);
            return Some((shared.work)(i));
        }
        let result = loop {
            match state.done.remove(&i) {
                Some(result) => break result,
                None => state = shared.made.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        };
        state.asked += 1;
        drop(state);
        shared.taken.notify_one();
        Some(result.unwrap_or_else(|panic| resume_unwind(panic)))
    }
}

impl<T> Drop for Ahead<T> {
    fn drop(&mut self) {
        self.shared.state().begun = self.shared.n;
        self.shared.taken.notify_all();
        for thread in self.threads.drain(..) {
            // Its panics are results.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[test]
    fn results_come_in_order_and_no_further_ahead_than_allowed() {
        for threads in [0, 1, 3] {
            let (made, furthest) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let taken = Arc::new(AtomicUsize::new(0));
            let (m, f, t) = (made.clone(), furthest.clone(), taken.clone());
            let work = move |i: usize| {
                m.fetch_add(1, Ordering::SeqCst);
                f.fetch_max(i.saturating_sub(t.load(Ordering::SeqCst)), Ordering::SeqCst);
                thread::sleep(Duration::from_micros(if i.is_multiple_of(7) { 300 } else { 10 }));
                i * i
            };
            let mut ahead = Ahead::new(100, 5, threads, work).unwrap();
            for i in 0..60 {
                assert_eq!(ahead.next(), Some(i * i));
                taken.fetch_add(1, Ordering::SeqCst);
            }
            drop(ahead);
            // One more than allowed, as an item is free before the test counts it as taken.
            assert!(furthest.load(Ordering::SeqCst) <= 5, "{furthest:?}");
            assert!(made.load(Ordering::SeqCst) <= 66, "{made:?}");
        }
        assert_eq!(Ahead::new(3, 1, 2, |i| i).unwrap().collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(Ahead::new(0, 1, 2, |i| i).unwrap().next(), None);
    }

    #[test]
    fn a_panic_reaches_whoever_asks() {
        let work = |i: usize| if i == 2 { panic!("two") } else { i };
        let mut ahead = Ahead::new(4, 4, 2, work).unwrap();
        assert_eq!((ahead.next(), ahead.next()), (Some(0), Some(1)));
        assert!(catch_unwind(AssertUnwindSafe(|| ahead.next())).is_err());
    }
}
