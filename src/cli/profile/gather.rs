//! What a device saw, as the report has it.

use std::collections::HashMap;

use crate::device::{Activity, Device, Dispatched, Interval, Profile as Raw};
use crate::report::profile::{Moved, Profile, Row, Step};

/// One profile of a device. Several may make a step; then each has a name, which counts as its only phase.
pub(super) struct Seen {
    pub name: Option<String>,
    pub profile: Raw,
}

/// All steps.
pub(super) struct Steps {
    pub plain: Vec<f64>,
    pub steps: Vec<Vec<Seen>>,
    pub compile_seconds: f64,
    pub pipelines: usize,
    /// Whether the host runs the kernels itself.
    on_host: bool,
}

/// Rows in the order in which they are first met.
#[derive(Default)]
struct Rows {
    rows: Vec<Row>,
    at: HashMap<String, usize>,
    steps: usize,
}

impl Rows {
    fn row(&mut self, name: &str) -> &mut Row {
        let at = *self.at.entry(name.into()).or_insert_with(|| {
            self.rows.push(Row { name: name.into(), seconds: vec![0.0; self.steps], ..Row::default() });
            self.rows.len() - 1
        });
        &mut self.rows[at]
    }

    fn add(&mut self, name: &str, step: usize, d: &Dispatched) {
        let row = self.row(name);
        row.calls += 1.0;
        row.seconds[step] += d.end - d.start;
        row.flops += d.flops;
        row.read += d.read;
        row.written += d.written;
    }

    /// Of a step.
    fn done(mut self) -> Vec<Row> {
        let n = self.steps as f64;
        for row in &mut self.rows {
            [&mut row.calls, &mut row.host, &mut row.flops, &mut row.read, &mut row.written]
                .into_iter()
                .for_each(|x| *x /= n);
        }
        self.rows
    }
}

/// All steps together.
struct Sums {
    kernels: Rows,
    phases: Rows,
    parts: Rows,
    moved: Moved,
}

impl Sums {
    fn new(steps: usize) -> Self {
        let [kernels, phases, parts] = [(); 3].map(|()| Rows { steps, ..Rows::default() });
        Self { kernels, phases, parts, moved: Moved::default() }
    }

    /// Adds the dispatches of a step.
    fn ran(&mut self, step: usize, Seen { name, profile }: &Seen, on_host: bool) {
        for d in &profile.dispatches {
            let (phase, part) = (name.as_deref().unwrap_or(d.phase), d.part.to_string());
            for (rows, name) in [(&mut self.kernels, d.kernel), (&mut self.phases, phase), (&mut self.parts, &part)] {
                rows.add(name, step, d);
            }
            if on_host {
                self.phases.row(phase).host -= d.end - d.start;
                self.parts.row(&part).host -= d.end - d.start;
            }
        }
    }

    /// Adds what the host did.
    fn worked(&mut self, Seen { name, profile }: &Seen) {
        let host = &profile.host;
        for (activity, seconds) in own(host, |a| matches!(a, Activity::Phase(_)) || apart(a)) {
            // Of what has a name, that is the phase.
            if let (Activity::Phase(phase), None) = (activity, name) {
                self.phases.row(phase).host += seconds;
            }
        }
        for (activity, seconds) in own(host, |a| matches!(a, Activity::Part(_)) || apart(a)) {
            if let Activity::Part(part) = activity {
                self.parts.row(&part.to_string()).host += seconds;
            }
        }
        for (activity, seconds) in own(host, |a| matches!(a, Activity::Record(_)) || apart(a)) {
            if let Activity::Record(kernel) = activity {
                self.kernels.row(kernel).host += seconds;
            }
        }
        for interval in host {
            let sum = match interval.activity {
                Activity::Upload => &mut self.moved.uploaded,
                Activity::ReadBack => &mut self.moved.read_back,
                Activity::Copy => &mut self.moved.copied,
                _ => continue,
            };
            *sum += interval.bytes as f64 / self.kernels.steps as f64;
        }
    }

    fn done(self) -> Profile {
        let [mut kernels, mut phases, mut parts] = [self.kernels, self.phases, self.parts].map(Rows::done);
        // Kernels outside of any phase or part are no host's work of one.
        [&mut phases, &mut parts].into_iter().flatten().for_each(|row| row.host = row.host.max(0.0));
        kernels.sort_by(|a, b| b.spread().mean.total_cmp(&a.spread().mean));
        let [read, written] = [|row: &Row| row.read, |row: &Row| row.written].map(|of| kernels.iter().map(of).sum());
        Profile { moved: Moved { read, written, ..self.moved }, kernels, phases, parts, ..Profile::default() }
    }
}

/// Intervals of some kinds with the seconds that none of the others inside takes.
fn own(host: &[Interval], counts: impl Fn(&Activity) -> bool) -> Vec<(&Activity, f64)> {
    let mut all: Vec<(&Activity, f64)> = Vec::new();
    // Those that are open, with their ends.
    let mut open: Vec<(usize, f64)> = Vec::new();
    for interval in host.iter().filter(|interval| counts(&interval.activity)) {
        open.retain(|&(_, end)| end > interval.start);
        let seconds = interval.end - interval.start;
        if let Some(&(around, _)) = open.last() {
            all[around].1 -= seconds;
        }
        open.push((all.len(), interval.end));
        all.push((&interval.activity, seconds));
    }
    all
}

/// What is no work of the host, wherever it is found.
fn apart(activity: &Activity) -> bool {
    matches!(activity, Activity::Submit | Activity::Wait | Activity::Compile(_))
}

impl Steps {
    pub fn new(device: &Device) -> Self {
        Self { plain: Vec::new(), steps: Vec::new(), compile_seconds: 0.0, pipelines: 0, on_host: device.is_cpu() }
    }

    /// Notes what was compiled so far.
    pub fn compiled(&mut self, device: &Device) {
        let now = device.stats();
        (self.compile_seconds, self.pipelines) = (now.compile_seconds, now.pipelines);
    }

    /// Whether steps are made of things that have names.
    pub fn named(&self) -> bool {
        self.steps.iter().flatten().any(|seen| seen.name.is_some())
    }

    /// What the steps come to; what they are of is still to be said.
    pub fn profile(&self) -> Profile {
        let (n, mut steps) = (self.steps.len(), vec![Step::default(); self.steps.len()]);
        let mut sums = Sums::new(n);
        for (i, seen) in self.steps.iter().enumerate().flat_map(|(i, step)| step.iter().map(move |seen| (i, seen))) {
            steps[i] = sum(steps[i], self.step(&seen.profile));
            sums.worked(seen);
            sums.ran(i, seen, self.on_host);
        }
        let missing = self.steps.iter().flatten().map(|seen| seen.profile.missing).sum();
        Profile { plain: self.plain.clone(), steps, missing, ..sums.done() }
    }

    fn step(&self, profile: &Raw) -> Step {
        let (wall, host) = (profile.seconds, &profile.host);
        let kernels = profile.dispatches.iter().map(|d| d.end - d.start).sum();
        let last = profile.dispatches.iter().map(|d| d.end).fold(0.0, f64::max);
        let of = |is: fn(&Activity) -> bool| {
            let all = own(host, |a| is(a) || apart(a)).into_iter();
            all.filter(|(a, _)| is(a)).map(|(_, seconds)| seconds).sum::<f64>()
        };
        let submitting = of(|a| matches!(a, Activity::Submit));
        let waiting = of(|a| matches!(a, Activity::Wait));
        let compiling = of(|a| matches!(a, Activity::Compile(_)));
        let on_host = if self.on_host { kernels } else { 0.0 };
        Step {
            wall,
            kernels,
            before: profile.dispatches.first().map_or(0.0, |d| d.start.max(0.0)),
            after: (wall - last).max(0.0),
            host: (wall - submitting - waiting - compiling - on_host).max(0.0),
            recording: of(|a| matches!(a, Activity::Record(_))),
            submitting,
            waiting,
            compiling,
        }
    }
}

fn sum(a: Step, b: Step) -> Step {
    Step {
        wall: a.wall + b.wall,
        kernels: a.kernels + b.kernels,
        before: a.before + b.before,
        after: a.after + b.after,
        host: a.host + b.host,
        recording: a.recording + b.recording,
        submitting: a.submitting + b.submitting,
        waiting: a.waiting + b.waiting,
        compiling: a.compiling + b.compiling,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::device::Part;

    fn interval(activity: Activity, start: f64, end: f64) -> Interval {
        Interval { activity, start, end, bytes: 8 }
    }

    /// Two steps of 10 s: forward for 4 s, in it 1 s of waiting in a read back, then 3 s backward.
    pub fn steps(on_host: bool) -> Steps {
        let host = vec![
            interval(Activity::Phase("forward"), 0.0, 4.0),
            interval(Activity::Part(Part { name: "block", index: Some(1) }), 0.5, 2.5),
            interval(Activity::Record("gemm"), 1.0, 2.0),
            interval(Activity::ReadBack, 2.0, 3.5),
            interval(Activity::Wait, 2.5, 3.5),
            interval(Activity::Phase("backward"), 5.0, 8.0),
        ];
        let gemm = |phase, start, end| Dispatched {
            kernel: "gemm",
            phase,
            part: Part { name: "block", index: Some(1) },
            start,
            end,
            flops: 10.0,
            read: 6.0,
            written: 2.0,
        };
        let dispatches = vec![gemm("forward", 1.0, 2.0), gemm("backward", 6.0, 7.5)];
        let profile = Raw { seconds: 10.0, dispatches, host, missing: 1 };
        let seen = || Seen { name: None, profile: profile.clone() };
        let steps = vec![vec![seen()], vec![seen()]];
        Steps { plain: vec![9.0, 9.5], steps, compile_seconds: 0.0, pipelines: 0, on_host }
    }

    #[test]
    fn times_are_laid_to_what_they_belong() {
        let profile = steps(false).profile();
        let step = profile.steps[0];
        assert_eq!([step.wall, step.kernels, step.before, step.after], [10.0, 2.5, 1.0, 2.5]);
        assert_eq!([step.host, step.recording, step.waiting, step.compiling], [9.0, 1.0, 1.0, 0.0]);
        let row = &profile.kernels[0];
        assert_eq!((row.calls, row.flops, row.read, row.written), (2.0, 20.0, 12.0, 4.0));
        assert_eq!((&row.seconds[..], row.host), (&[2.5, 2.5][..], 1.0));
        let phases: Vec<_> = profile.phases.iter().map(|row| (row.name.as_str(), row.seconds[1], row.host)).collect();
        assert_eq!(phases, [("forward", 1.0, 3.0), ("backward", 1.5, 3.0)]);
        assert_eq!((profile.parts[0].name.as_str(), profile.parts[0].host), ("block 1", 2.0));
        assert_eq!([profile.moved.read, profile.moved.written, profile.moved.read_back], [12.0, 4.0, 8.0]);
        assert_eq!(profile.missing, 2);
        // Kernels that the host runs are no other work of it.
        let profile = steps(true).profile();
        assert_eq!((profile.steps[0].host, profile.phases[0].host, profile.phases[1].host), (6.5, 2.0, 1.5));
    }

    #[test]
    fn problems_are_phases_of_their_own() {
        let mut all = steps(false);
        for (i, step) in all.steps.iter_mut().enumerate() {
            step[0].name = Some("gemm NT 1x2x3".into());
            step.push(Seen {
                name: Some("gemm NN 1x2x3".into()),
                profile: Raw { seconds: 1.0 + i as f64, ..Raw::default() },
            });
        }
        let profile = all.profile();
        assert_eq!(profile.phases.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), ["gemm NT 1x2x3"]);
        assert_eq!([profile.steps[0].wall, profile.steps[1].wall], [11.0, 12.0]);
        assert!(all.named() && !steps(false).named());
    }
}
