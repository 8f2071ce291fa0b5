//! What is noted while a device is profiled.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Activity, Dispatched, Interval, Part, Profile};
use crate::device::{Access, Operand};
use crate::host::Instant;

/// What is noted of a dispatch before it runs.
#[derive(Clone, Copy, Debug)]
pub(in crate::device) struct Note {
    /// Number of the profile.
    number: u64,
    pub kernel: &'static str,
    pub phase: &'static str,
    pub part: Part,
    flops: f64,
    read: f64,
    written: f64,
}

impl Note {
    /// Its phase and part, such as `forward, block 3`.
    pub fn place(&self) -> String {
        match (self.phase, self.part.name) {
            (phase, "") => phase.into(),
            ("", _) => self.part.to_string(),
            (phase, _) => format!("{phase}, {}", self.part),
        }
    }

    pub fn at(self, start: f64, end: f64) -> Dispatched {
        let Self { kernel, phase, part, flops, read, written, .. } = self;
        Dispatched { kernel, phase, part, start, end, flops, read, written }
    }
}

/// Notes what happens while it is on. Clones share the notes.
#[derive(Clone, Debug)]
pub(in crate::device) struct Profiler(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    on: AtomicBool,
    /// What seconds count from while notes are taken.
    epoch: Instant,
    notes: Mutex<Notes>,
}

/// Most dispatches of a profile. With what the host does for them they take about a gigabyte.
const MOST: usize = 1 << 22;

#[derive(Debug, Default)]
struct Notes {
    /// Whether somebody makes a profile, begun or not.
    taken: bool,
    /// Number of the profile: what outlives it is not noted in the next.
    number: u64,
    /// Seconds of the epoch at which the profile began.
    began: f64,
    phase: &'static str,
    part: Part,
    /// How many were noted.
    dispatches: usize,
    profile: Profile,
}

impl Notes {
    fn full(&self) -> bool {
        self.dispatches >= MOST
    }
}

impl Default for Profiler {
    fn default() -> Self {
        Self(Arc::new(Shared { on: AtomicBool::new(false), epoch: Instant::now(), notes: Mutex::default() }))
    }
}

impl Profiler {
    pub fn is_on(&self) -> bool {
        self.0.on.load(Ordering::Relaxed)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.notes.lock().expect("notes")
    }

    /// The notes, while they are those of this profile.
    fn notes_of(&self, number: u64) -> Option<MutexGuard<'_, Notes>> {
        Some(self.notes()).filter(|notes| notes.number == number)
    }

    fn seconds(&self, notes: &Notes) -> f64 {
        self.0.epoch.elapsed().as_secs_f64() - notes.began
    }

    /// Keeps everybody else from making a profile until it is released; false where somebody does.
    pub fn take(&self) -> bool {
        !std::mem::replace(&mut self.notes().taken, true)
    }

    /// Ends what profile there is, without a result.
    pub fn release(&self) {
        self.stop();
        self.notes().taken = false;
    }

    pub fn start(&self) {
        // What came late for an earlier one goes.
        self.stop();
        self.notes().began = self.0.epoch.elapsed().as_secs_f64();
        self.0.on.store(true, Ordering::Relaxed);
    }

    pub fn stop(&self) -> Profile {
        let mut notes = self.notes();
        self.0.on.store(false, Ordering::Relaxed);
        let seconds = self.seconds(&notes);
        let next = Notes { taken: notes.taken, number: notes.number + 1, ..Notes::default() };
        Profile { seconds, ..std::mem::replace(&mut *notes, next).profile }
    }

    /// Seconds since the profile began, where there is one.
    pub fn now(&self) -> Option<f64> {
        self.is_on().then(|| self.seconds(&self.notes()))
    }

    pub fn part(&self) -> Option<Part> {
        self.is_on().then(|| self.notes().part).filter(|part| !part.name.is_empty())
    }

    /// Of a dispatch that is about to run; nothing where there are too many.
    pub fn note(&self, kernel: &'static str, flops: f64, operands: &[Operand<'_>]) -> Option<Note> {
        let bytes = |access: Access| operands.iter().filter(|o| o.access == access).map(Operand::bytes).sum();
        let [read, written] = [Access::Read, Access::Write].map(bytes);
        let mut notes = self.notes();
        if notes.full() {
            notes.profile.missing += 1;
            return None;
        }
        notes.dispatches += 1;
        Some(Note { number: notes.number, kernel, phase: notes.phase, part: notes.part, flops, read, written })
    }

    /// So many dispatches that were noted run without being timed.
    pub fn miss(&self, dispatches: usize) {
        self.notes().profile.missing += dispatches;
    }

    /// A dispatch that the host has just run, since `start`.
    pub fn ran(&self, note: Note, start: f64) {
        if let Some(mut notes) = self.notes_of(note.number) {
            let end = self.seconds(&notes);
            notes.profile.dispatches.push(note.at(start, end));
        }
    }

    /// Notes an activity of the host, from now until the result is dropped.
    pub fn span(&self, activity: Activity, bytes: u64) -> Span {
        Span(self.is_on().then(|| self.notes()).filter(|notes| !notes.full()).map(|notes| {
            let start = self.seconds(&notes);
            (self.clone(), notes.number, Interval { activity, start, end: start, bytes })
        }))
    }

    /// The same for a phase or a part, to which dispatches belong meanwhile.
    pub fn enter(&self, activity: Activity) -> Scope {
        let span = self.span(activity, 0);
        let before = self.is_on().then(|| {
            let mut notes = self.notes();
            let before = (self.clone(), notes.number, notes.phase, notes.part);
            match activity {
                Activity::Phase(name) => notes.phase = name,
                Activity::Part(part) => notes.part = part,
                _ => {}
            }
            before
        });
        Scope { before, _span: span }
    }
}

/// An activity of the host that ends when this is dropped. Nothing where nothing is profiled.
#[derive(Debug)]
#[must_use = "it ends when this is dropped"]
pub struct Span(Option<(Profiler, u64, Interval)>);

impl Drop for Span {
    fn drop(&mut self) {
        let Some((profiler, number, interval)) = &self.0 else { return };
        if let Some(mut notes) = profiler.notes_of(*number) {
            let end = profiler.seconds(&notes);
            notes.profile.host.push(Interval { end, ..*interval });
        }
    }
}

/// A phase or a part of the caller's work that ends when this is dropped. Nothing where nothing is profiled.
#[derive(Debug)]
#[must_use = "it ends when this is dropped"]
pub struct Scope {
    before: Option<(Profiler, u64, &'static str, Part)>,
    _span: Span,
}

impl Drop for Scope {
    fn drop(&mut self) {
        let Some((profiler, number, phase, part)) = &self.before else { return };
        if let Some(mut notes) = profiler.notes_of(*number) {
            (notes.phase, notes.part) = (*phase, *part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_and_parts_nest_and_end() {
        let profiler = Profiler::default();
        assert!(profiler.span(Activity::Wait, 8).0.is_none(), "nothing is noted before it begins");
        profiler.start();
        let forward = profiler.enter(Activity::Phase("forward"));
        let block = profiler.enter(Activity::Part(Part { name: "block", index: Some(3) }));
        let noted = || profiler.note("gemm", 4.0, &[]).expect("few are noted");
        let note = noted();
        assert_eq!((note.phase, note.part.to_string()), ("forward", "block 3".into()));
        drop(block);
        drop(profiler.span(Activity::Upload, 12));
        assert_eq!(noted().part, Part::default());
        drop(forward);
        assert_eq!(noted().phase, "");
        let (late, later) = (profiler.enter(Activity::Phase("late")), profiler.enter(Activity::Phase("later")));
        let profile = profiler.stop();
        drop(later);
        let seen: Vec<_> = profile.host.iter().map(|i| (i.activity, i.bytes)).collect();
        let block = Activity::Part(Part { name: "block", index: Some(3) });
        assert_eq!(seen, [(block, 0), (Activity::Upload, 12), (Activity::Phase("forward"), 0)]);
        assert!(profile.host.iter().all(|i| 0.0 <= i.start && i.start <= i.end && i.end <= profile.seconds));
        assert_eq!(profiler.now(), None);
        // Nothing of one profile is noted in the next.
        profiler.start();
        let forward = profiler.enter(Activity::Phase("forward"));
        drop(late);
        profiler.ran(note, 0.0);
        assert_eq!(noted().phase, "forward");
        drop(forward);
        let profile = profiler.stop();
        assert_eq!(profile.host.iter().map(|i| i.activity).collect::<Vec<_>>(), [Activity::Phase("forward")]);
        assert!(profile.dispatches.is_empty());
    }

    #[test]
    fn beyond_the_most_dispatches_are_only_counted() {
        let profiler = Profiler::default();
        profiler.start();
        let phase = profiler.enter(Activity::Phase("forward"));
        profiler.notes().dispatches = MOST - 1;
        assert!(profiler.note("gemm", 4.0, &[]).is_some());
        assert!(profiler.note("gemm", 4.0, &[]).is_none());
        profiler.miss(2);
        let part = Part { name: "block", index: Some(3) };
        let block = profiler.enter(Activity::Part(part));
        assert_eq!(profiler.part(), Some(part));
        drop(block);
        assert_eq!(profiler.part(), None);
        drop(profiler.span(Activity::Upload, 12));
        drop(phase);
        let profile = profiler.stop();
        assert_eq!(profile.host.iter().map(|i| i.activity).collect::<Vec<_>>(), [Activity::Phase("forward")]);
        assert_eq!(profile.missing, 3);
        profiler.start();
        assert!(profiler.note("gemm", 4.0, &[]).is_some());
        assert_eq!(profiler.stop().missing, 0);
    }
}
