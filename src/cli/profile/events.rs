//! What a device saw, as a trace has it.

use serde_json::{Map, Value, json};

use super::gather::{Seen, Steps};
use crate::device::{Activity, Dispatched, Interval};
use crate::report::profile::{Event, Track};

impl Steps {
    /// The last step, for a trace.
    pub fn events(&self) -> Vec<Event> {
        let (mut all, mut from) = (Vec::new(), 0.0);
        for Seen { name, profile } in self.steps.last().into_iter().flatten() {
            if let Some(name) = name {
                let (name, args) = (name.clone(), Map::new());
                all.push(Event { name, track: Track::Phases, start: from, seconds: profile.seconds, args });
            }
            all.extend(profile.dispatches.iter().map(|d| dispatched(d, from)));
            all.extend(profile.host.iter().map(|interval| worked(interval, from)));
            from += profile.seconds;
        }
        all
    }
}

fn dispatched(d: &Dispatched, from: f64) -> Event {
    let seconds = d.end - d.start;
    let mut args = Map::new();
    for (key, value) in [("phase", d.phase.to_string()), ("part", d.part.to_string())] {
        if !value.is_empty() {
            args.insert(key.into(), Value::String(value));
        }
    }
    args.insert("MFLOP".into(), json!(d.flops * 1e-6));
    args.insert("MB read".into(), json!(d.read * 1e-6));
    args.insert("MB written".into(), json!(d.written * 1e-6));
    if seconds > 0.0 {
        args.insert("GFLOP/s".into(), json!(d.flops * 1e-9 / seconds));
        args.insert("GB/s".into(), json!((d.read + d.written) * 1e-9 / seconds));
    }
    Event { name: d.kernel.into(), track: Track::Kernels, start: from + d.start, seconds, args }
}

fn worked(&Interval { activity, start, end, bytes }: &Interval, from: f64) -> Event {
    let (name, track) = match activity {
        Activity::Phase(name) => (name.to_string(), Track::Phases),
        Activity::Part(part) => (part.to_string(), Track::Parts),
        Activity::Record(kernel) => (format!("record {kernel}"), Track::Host),
        Activity::Compile(shader) => (format!("compile {shader}").trim_end().into(), Track::Host),
        Activity::Submit => ("submit".into(), Track::Host),
        Activity::Upload => ("upload".into(), Track::Host),
        Activity::ReadBack => ("read back".into(), Track::Host),
        Activity::Copy => ("copy".into(), Track::Host),
        Activity::Wait => ("wait".into(), Track::Host),
    };
    let mut args = Map::new();
    if bytes > 0 {
        args.insert("bytes".into(), json!(bytes));
    }
    Event { name, track, start: from + start, seconds: end - start, args }
}

#[cfg(test)]
mod tests {
    use super::super::gather::tests::steps;
    use super::*;
    use crate::device::Profile;

    #[test]
    fn the_last_step_is_laid_out() {
        let mut all = steps(false);
        let place = |event: &Event| (event.name.clone(), event.track);
        let seen: Vec<_> = all.events().iter().map(place).collect();
        let want = [
            ("gemm", Track::Kernels),
            ("forward", Track::Phases),
            ("block 1", Track::Parts),
            ("read back", Track::Host),
        ];
        assert!(want.iter().all(|(name, track)| seen.contains(&(name.to_string(), *track))), "{seen:?}");
        let last = all.steps.last_mut().expect("steps");
        last[0].name = Some("gemm NT 1x2x3".into());
        last.push(Seen { name: Some("gemm NN 1x2x3".into()), profile: Profile { seconds: 2.0, ..Profile::default() } });
        let events = all.events();
        let last = events.last().expect("events");
        assert_eq!(
            (last.name.as_str(), last.track, last.start, last.seconds),
            ("gemm NN 1x2x3", Track::Phases, 10.0, 2.0)
        );
    }
}
