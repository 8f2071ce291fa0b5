//! The arrows between the rooms of `src/`: which module may use which, read from the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};

/// Rooms that every room may use.
const SHARED: [&str; 2] = ["error", "host"];

/// Every room with those that it may use beside them. A room that is not listed is itself a fault.
const ARROWS: &[(&str, &[&str])] = &[
    ("error", &["device"]),
    ("host", &[]),
    ("device", &[]),
    ("kernels", &["device"]),
    ("cpu", &["kernels", "device", "linalg"]),
    ("linalg", &["device"]),
    ("algorithms", &["kernels", "device"]),
    ("autograd", &["algorithms", "kernels", "device"]),
    ("store", &[]),
    ("model", &["autograd", "algorithms", "kernels", "device", "linalg", "store"]),
    ("config", &["model", "data"]),
    ("method", &["model", "autograd", "device", "config", "store"]),
    ("data", &[]),
    ("report", &["config", "store"]),
    ("protocol", &["method", "model", "device", "data", "report", "config", "store"]),
    ("roofline", &["kernels", "device"]),
    ("tune", &["algorithms", "kernels", "device", "roofline"]),
    // Runs as MiN makes them, for the plans that they ask for.
    ("uses", &["method", "model", "algorithms", "kernels", "device", "config"]),
    ("catalogue", &["uses", "tune", "device"]),
    ("emit", &["device"]),
    // Compiles what `emit` wrote.
    ("driver", &["emit", "device"]),
    // Problems of every size, from one kernel to a training step.
    ("bench", &["model", "autograd", "algorithms", "kernels", "device", "roofline"]),
    (
        "cli",
        &[
            "protocol",
            "device",
            "data",
            "report",
            "config",
            "store",
            "roofline",
            "tune",
            "catalogue",
            "emit",
            "driver",
            "bench",
        ],
    ),
];

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("house: rooms use only what they may", arrows),
        Trial::test("house: no two rooms use each other", no_cycles),
    ]
}

/// The sources of a room: a file, and everything below a folder of that name.
fn sources(root: &Path, into: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(root)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, into)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
    Ok(())
}

/// Rooms named in `crate::room` and in `crate::{room, ..}`, outside comments and unit tests.
fn used(text: &str) -> BTreeSet<String> {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let code: String = text.lines().map(|l| l.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let mut rooms = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        let word = |s: &str| s.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        match after.strip_prefix('{') {
            Some(list) => rooms.extend(list.split('}').next().unwrap_or_default().split(',').map(word)),
            None => drop(rooms.insert(word(after))),
        }
    }
    rooms
}

/// Every room of the crate with the rooms that it uses.
fn uses() -> Result<BTreeMap<String, BTreeSet<String>>, Failed> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files)?;
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        let inside = file.strip_prefix(&root)?;
        let first = inside.iter().next().and_then(|p| p.to_str()).ok_or("a name that is no text")?;
        let room = first.trim_end_matches(".rs").to_string();
        found.entry(room).or_default().extend(used(&std::fs::read_to_string(&file)?));
    }
    let rooms: BTreeSet<_> = found.keys().cloned().collect();
    for (room, used) in &mut found {
        used.retain(|other| other != room && rooms.contains(other));
    }
    // The roots of library and program know everything.
    found.retain(|room, _| room != "lib" && room != "main");
    Ok(found)
}

fn arrows() -> Result<(), Failed> {
    let mut wrong = Vec::new();
    for (room, used) in uses()? {
        let Some((_, allowed)) = ARROWS.iter().find(|a| a.0 == room) else {
            wrong.push(format!("src/{room} has no place in the table"));
            continue;
        };
        let extra = used.iter().filter(|other| !SHARED.contains(&other.as_str()) && !allowed.contains(&other.as_str()));
        wrong.extend(extra.map(|other| format!("{room} uses {other}")));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ").into()) }
}

fn no_cycles() -> Result<(), Failed> {
    let uses = uses()?;
    let back = |a: &str, b: &str| uses.get(b).is_some_and(|used| used.contains(a));
    let pairs = uses.iter().flat_map(|(a, used)| used.iter().filter(|b| back(a, b)).map(move |b| (a, b)));
    // The error type names element types, and every room fails with it.
    let pairs: Vec<_> =
        pairs.filter(|(a, b)| a < b && !SHARED.contains(&a.as_str()) && !SHARED.contains(&b.as_str())).collect();
    if pairs.is_empty() { Ok(()) } else { Err(format!("{pairs:?} use each other").into()) }
}
