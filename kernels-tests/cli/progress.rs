//! What a run tells as it goes: to people, to programs, and to those who collect traces.

use std::sync::{Arc, Mutex};

use minoise::protocol::{Unwatched, run};
use minoise::{Config, Device, data};
use pollster::block_on;
use serde_json::Value;

use crate::{minoise, refused, text};

const SETS: [&str; 5] = ["train_per_class=4", "test_per_class=1", "tasks=50,50", "epochs=1", "buffer_size=256"];

fn args<'a>(more: &[&'a str]) -> Vec<&'a str> {
    ["run"].into_iter().chain(SETS.iter().flat_map(|set| ["--set", set])).chain(more.iter().copied()).collect()
}

#[test]
fn programs_hear_of_every_pass_and_task() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let out = minoise(&args(&["--json", "--out", dir.path().to_str().expect("a path")]));
    assert!(out.status.success() && out.stderr.is_empty(), "{}", text(&out.stderr));
    let events: Vec<Value> =
        text(&out.stdout).lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let of = |kind: &str| events.iter().filter(|event| event["event"] == kind).collect::<Vec<_>>();
    assert_eq!(events.len(), 1 + of("pass").len() + of("task").len() + 1);
    assert!(events[0]["event"] == "begin" && events[0]["tasks"] == 2, "{}", events[0]);
    for task in 0..2 {
        let passes: Vec<_> = of("pass").into_iter().filter(|pass| pass["task"] == task).collect();
        assert!(passes.len() >= 4, "{passes:?}");
        for pass in &passes {
            // The images of the task, or the random features.
            let solve = pass["what"].as_str().expect("text").starts_with("solve");
            assert_eq!(pass["items"], if solve { 256 } else { 200 }, "{pass}");
            assert!(pass["seconds"].as_f64() > Some(0.0), "{pass}");
        }
        assert!(passes.iter().any(|pass| pass["loss"].is_f64()), "{passes:?}");
    }
    let results: Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("results.json")).expect("results")).expect("JSON");
    let accuracy = results["accuracy"].as_array().expect("accuracies");
    let told: Vec<_> = of("task").iter().map(|task| task["accuracy"].clone()).collect();
    assert_eq!(&told, accuracy);
    let end = &events[events.len() - 1];
    assert!(end["event"] == "end" && end["measured"]["a_last"] == results["a_last"], "{end}");
    refused(&["run", "--resume", "nowhere", "--json"], &["nowhere"]);
}

#[test]
fn quiet_leaves_the_table() {
    let [loud, quiet] = [&[][..], &["--quiet"]].map(|more| minoise(&args(more)));
    assert!(text(&loud.stderr).contains("/s\n"), "{}", text(&loud.stderr));
    assert!(quiet.status.success() && quiet.stderr.is_empty(), "{}", text(&quiet.stderr));
    assert_eq!(text(&quiet.stdout).lines().count(), text(&loud.stdout).lines().count());
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("lines").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A program that embeds the library sees the tasks and passes as spans.
#[test]
fn traces_have_tasks_and_passes() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        let config = Config::load(None, None, &SETS.map(String::from)).expect("settings");
        let dataset = data::load(&config.data, &config.images).expect("data");
        let device = block_on(Device::open(&"cpu".into())).expect("a device");
        block_on(run(&config, &device, &dataset, &mut Unwatched)).expect("a run");
    });
    let told = text(&lines.0.lock().expect("lines"));
    for task in 0..2 {
        let of_pass = format!("task{{task={task}}}:pass{{task={task} what=");
        assert!(told.lines().any(|line| line.contains(&of_pass) && line.contains("items=200")), "{told}");
        let over = format!("task{{task={task}}}: minoise::protocol::session: task over accuracy=");
        assert!(told.lines().any(|line| line.contains(&over)), "{told}");
    }
}
