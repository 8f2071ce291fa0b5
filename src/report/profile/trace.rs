//! Traces that Perfetto and chrome://tracing open: the JSON of the Trace Event Format.

use serde_json::{Map, Value, json};

/// Where an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Track {
    /// Kernels, on the device.
    Kernels,
    /// Phases, on the host.
    Phases,
    /// Parts of the network that the host works for.
    Parts,
    /// What the host does.
    Host,
}

/// Something that took time.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What it is called.
    pub name: String,
    /// Where it stands.
    pub track: Track,
    /// When it began, in seconds.
    pub start: f64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What else is known.
    pub args: Map<String, Value>,
}

const DEVICE: u32 = 1;
const HOST: u32 = 2;
/// Threads of the device, from this number on, for kernels that ran beside each other.
const KERNELS: u32 = 1;

impl Track {
    fn place(self) -> (u32, u32, &'static str) {
        match self {
            Self::Kernels => (DEVICE, KERNELS, "kernels"),
            Self::Phases => (HOST, 1, "phases"),
            Self::Parts => (HOST, 2, "parts"),
            Self::Host => (HOST, 3, "host"),
        }
    }
}

/// The events as complete events of such a trace, in order of their beginnings: the kernels on the track of the device, phases,
/// parts and the host's work each on their own.
pub fn trace(device: &str, events: &[Event]) -> String {
    let named = |what: &str, pid: u32, tid: u32, name: &str| json!({ "ph": "M", "name": what, "pid": pid, "tid": tid, "args": { "name": name } });
    let mut sorted: Vec<&Event> = events.iter().collect();
    // What holds others comes before them.
    sorted.sort_by(|a, b| a.start.total_cmp(&b.start).then(b.seconds.total_cmp(&a.seconds)));
    // Until when each thread of the device is busy.
    let mut lanes: Vec<f64> = Vec::new();
    let mut each = Vec::new();
    for event in sorted {
        let (pid, mut tid, track) = event.track.place();
        if event.track == Track::Kernels {
            let free = lanes.iter().position(|&end| end <= event.start + 1e-9).unwrap_or(lanes.len());
            lanes.resize(lanes.len().max(free + 1), 0.0);
            lanes[free] = event.start + event.seconds;
            tid += free as u32;
        }
        let micro = |seconds: f64| (seconds.max(0.0) * 1e9).round() / 1e3;
        let (ts, dur) = (micro(event.start), micro(event.seconds));
        each.push(json!({
            "ph": "X", "name": event.name, "cat": track, "pid": pid, "tid": tid, "ts": ts, "dur": dur, "args": event.args,
        }));
    }
    let mut all = vec![named("process_name", DEVICE, 0, device), named("process_name", HOST, 0, "host")];
    for lane in 0..lanes.len().max(1) as u32 {
        all.push(named("thread_name", DEVICE, KERNELS + lane, "kernels"));
    }
    for (pid, tid, name) in [Track::Phases, Track::Parts, Track::Host].map(Track::place) {
        all.push(named("thread_name", pid, tid, name));
    }
    all.extend(each);
    json!({ "displayTimeUnit": "ms", "traceEvents": all }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, track: Track, start: f64, seconds: f64) -> Event {
        let args = Map::from_iter([("part".to_string(), json!("block 0"))]);
        Event { name: name.into(), track, start, seconds, args }
    }

    /// What the format asks for, and what viewers take amiss.
    fn check(text: &str) -> Vec<Value> {
        let trace: Value = serde_json::from_str(text).expect("JSON");
        let events = trace["traceEvents"].as_array().expect("events").clone();
        let number = |event: &Value, key: &str| event[key].as_f64().unwrap_or_else(|| panic!("{key} of {event}"));
        let mut last = 0.0;
        for event in &events {
            assert!(event["name"].is_string() && event["pid"].is_u64() && event["tid"].is_u64(), "{event}");
            match event["ph"].as_str().expect("a phase") {
                "M" => assert!(event["args"]["name"].is_string(), "{event}"),
                "X" => {
                    assert!(number(event, "ts") >= last && number(event, "dur") >= 0.0, "{event} after {last}");
                    last = number(event, "ts");
                    assert!(event["cat"].is_string() && event["args"].is_object());
                }
                other => panic!("{other}"),
            }
        }
        // Events of one thread lie within each other or apart.
        let complete: Vec<_> = events.iter().filter(|event| event["ph"] == "X").cloned().collect();
        for a in &complete {
            for b in &complete {
                let same = a != b && a["pid"] == b["pid"] && a["tid"] == b["tid"];
                let [(s, e), (t, f)] = [a, b].map(|x| (number(x, "ts"), number(x, "ts") + number(x, "dur")));
                assert!(
                    !same || e <= t + 1e-6 || f <= s + 1e-6 || (s <= t && f <= e) || (t <= s && e <= f),
                    "{a}, {b}"
                );
            }
        }
        complete
    }

    #[test]
    fn events_stand_on_their_tracks_in_order() {
        let events = [
            event("gemm", Track::Kernels, 0.002, 0.001),
            event("record gemm", Track::Host, 0.0005, 0.0001),
            event("forward", Track::Phases, 0.0, 0.0015),
            event("block 0", Track::Parts, 0.0, 0.0014),
            event("add", Track::Kernels, 0.003, 0.0005),
        ];
        let seen = check(&trace("vulkan test", &events));
        let names: Vec<_> = seen.iter().map(|event| event["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["forward", "block 0", "record gemm", "gemm", "add"]);
        let gemm = &seen[3];
        assert_eq!(
            (gemm["ts"].as_f64(), gemm["dur"].as_f64(), &gemm["cat"]),
            (Some(2000.0), Some(1000.0), &json!("kernels"))
        );
        assert_eq!(gemm["args"]["part"], "block 0");
        assert_eq!(gemm["tid"], seen[4]["tid"], "one after the other");
        let places: std::collections::BTreeSet<_> =
            seen.iter().map(|e| (e["pid"].to_string(), e["tid"].to_string())).collect();
        assert_eq!(places.len(), 4);
    }

    #[test]
    fn kernels_beside_each_other_take_lanes() {
        let kernel = |start, seconds| event("add", Track::Kernels, start, seconds);
        let seen = check(&trace("gpu", &[kernel(0.0, 3.0), kernel(1.0, 1.0), kernel(2.0, 2.0), kernel(4.0, 1.0)]));
        let lanes: Vec<_> = seen.iter().map(|event| event["tid"].as_u64().unwrap()).collect();
        assert_eq!(lanes, [1, 2, 2, 1]);
        assert!(check(&trace("gpu", &[])).is_empty());
    }
}
