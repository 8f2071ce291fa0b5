//! An allocator that counts what a thread holds, so that a reader that believes a header can be told from one that does not.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;

/// A request above this is refused and named: it would end the program anyway.
const LARGEST: usize = 1 << 30;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static CASE: Cell<(&'static str, u64)> = const { Cell::new(("", 0)) };
    static CLOSED: Cell<bool> = const { Cell::new(false) };
}

/// Counts from here, on this thread; `reader` and `case` name it where an allocation is refused.
pub fn start(reader: &'static str, case: u64) {
    HELD.set(0);
    PEAK.set(0);
    CASE.set((reader, case));
    CLOSED.set(false);
}

/// What is held from now on is no reader's.
pub fn stop() {
    CLOSED.set(true);
}

/// Most bytes held at once since [`start`], to [`stop`].
pub fn peak() -> usize {
    PEAK.get().max(0) as usize
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: isize) {
    // A thread that ends has no counters any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        if !CLOSED.try_with(Cell::get).unwrap_or(true) {
            let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
        }
    });
}

fn refused(bytes: usize) -> bool {
    if bytes > LARGEST {
        let (reader, case) = CASE.try_with(Cell::get).unwrap_or_default();
        let _ = writeln!(std::io::stderr(), "{bytes} bytes wanted by {reader}, case {case}");
    }
    bytes > LARGEST
}

// SAFETY: every request goes to the system's allocator as it is, or is answered with null, which stands for no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if refused(layout.size()) {
            return std::ptr::null_mut();
        }
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if refused(layout.size()) {
            return std::ptr::null_mut();
        }
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if refused(size) {
            return std::ptr::null_mut();
        }
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the block came from the system's allocator with this layout.
        unsafe { System.dealloc(block, layout) }
    }
}
