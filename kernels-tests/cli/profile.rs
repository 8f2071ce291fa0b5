//! `minoise profile`: its figures add up, its files are what they say, and two of them are told apart.

use std::path::Path;

use serde_json::Value;

use super::{minoise, refused, text};

fn profile(args: &[&str]) -> std::process::Output {
    minoise(&[&["profile"], args].concat())
}

fn said(args: &[&str]) -> String {
    let out = profile(args);
    assert!(out.status.success(), "{args:?}: {}", text(&out.stderr));
    text(&out.stdout)
}

fn json(dir: &Path, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join(name)).expect(name)).expect("JSON")
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// The sum of a field over rows.
fn sum(rows: &Value, of: impl Fn(&Value) -> f64) -> f64 {
    rows.as_array().expect("rows").iter().map(of).sum()
}

/// Two small tasks.
const SHORT: [&str; 8] =
    ["--set", "tasks=5,95", "--set", "buffer_size=64", "--set", "train_per_class=8", "--set", "test_per_class=1"];

#[test]
fn a_training_step_adds_up() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let out = dir.path().join("a");
    let table = said(&[&["train-step", "--steps", "3", "--out", out.to_str().expect("a path")], &SHORT[..]].concat());
    for words in ["train-step, 64 images of icons, task 2 of 2", "roof ", "3 times", "without profiling", "gemm"] {
        assert!(table.contains(words), "`{words}` is not in {table}");
    }
    let profile = json(&out, "profile.json");
    assert_eq!((&profile["what"], &profile["plain"].as_array().map(Vec::len)), (&"train-step".into(), &Some(3)));
    for (i, step) in profile["steps"].as_array().expect("steps").iter().enumerate() {
        let (wall, kernels) = (number(&step["wall"]), number(&step["kernels"]));
        assert!(0.3 * wall < kernels && kernels <= wall, "step {i}: {step}");
        let host = number(&step["host"]) + number(&step["waiting"]) + number(&step["compiling"]);
        assert!((host + kernels - wall).abs() < 1e-6 * wall, "step {i}: {step}");
        // Every dispatch belongs to a kernel, a phase and a part, and to one of each.
        for rows in ["kernels", "phases", "parts"] {
            let all = sum(&profile[rows], |row| number(&row["seconds"][i]));
            assert!((all - kernels).abs() < 1e-6 * wall, "step {i}: {rows} add up to {all}, not to {kernels}");
        }
    }
    let row = |rows: &str, name: &str| {
        let all = profile[rows].as_array().expect("rows");
        all.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name} in {rows}")).clone()
    };
    for name in ["images", "forward", "backward", "update"] {
        row("phases", name);
    }
    for name in ["embedding", "block 0", "noise 0", "block 5", "noise 5", "random features", "head"] {
        row("parts", name);
    }
    // 64 images of 17 tokens: qkv, projection and both layers of the MLP of a block, 12 d^2 weights.
    let (forward, rows) = (number(&row("phases", "forward")["flops"]), 64.0 * 17.0);
    assert!(forward > 6.0 * 2.0 * rows * 12.0 * 96.0 * 96.0, "{forward}");
    let (a, b) = (number(&row("parts", "block 1")["flops"]), number(&row("parts", "block 2")["flops"]));
    assert_eq!(a, b, "blocks are alike");

    let trace = json(&out, "trace.json");
    let events = trace["traceEvents"].as_array().expect("events");
    let of = |category: &str| events.iter().filter(|event| event["cat"] == category).count() as f64;
    assert_eq!(of("kernels"), sum(&profile["kernels"], |row| number(&row["calls"])));
    assert!(of("phases") >= 4.0 && of("parts") >= 14.0 && of("host") >= 1.0);
    assert!(std::fs::read_to_string(out.join("roofline.svg")).expect("a plot").contains("</svg>"));
    assert!(std::fs::read(out.join("roofline.png")).expect("a plot").starts_with(b"\x89PNG"));

    // The same beside itself, and beside what it would be if it took twice as long.
    let (file, path) = (out.to_str().expect("a path"), dir.path().join("slow.json"));
    assert!(said(&["--compare", file, file]).contains("nothing is slower by more than 10 %"));
    let mut slow = profile.clone();
    for rows in ["kernels", "phases", "parts"] {
        let seconds = slow[rows].as_array_mut().expect("rows").iter_mut();
        for x in seconds.flat_map(|row| row["seconds"].as_array_mut().expect("seconds")) {
            *x = (100.0 * number(x)).into();
        }
    }
    std::fs::write(&path, slow.to_string()).expect("a temporary file");
    let other = path.to_str().expect("a path");
    let told = minoise(&["profile", "--compare", file, other]);
    let table = text(&told.stdout);
    assert_eq!(told.status.code(), Some(1), "{table}");
    assert!(table.contains("slower by more than 10 %: ") && table.contains("gemm"), "{table}");
    assert_eq!(minoise(&["profile", "--compare", other, file]).status.code(), Some(0));
}

/// The other things that can be profiled, as JSON, and the unfused noise layer.
#[test]
fn everything_can_be_profiled() {
    let of = |args: &[&str]| -> Value { serde_json::from_str(&said(&[args, &["--json"]].concat())).expect("JSON") };
    let names = |profile: &Value, rows: &str| -> Vec<String> {
        let all = profile[rows].as_array().expect("rows").iter();
        all.map(|row| row["name"].as_str().expect("a name").to_string()).collect()
    };
    let steps = ["--steps", "1"];
    let inference = of(&[&["inference"], &SHORT[..], &steps].concat());
    assert!(
        names(&inference, "phases").contains(&"inference".into())
            && inference["of"] == "100 images of icons, task 2 of 2"
    );
    let analytic = of(&[&["analytic", "--set", "noise=false"], &SHORT[..], &steps].concat());
    assert!(
        ["forward", "statistics", "solve"].iter().all(|phase| names(&analytic, "phases").contains(&phase.to_string()))
    );
    for profile in ["paper", "robust"] {
        let of_min = of(&[&["analytic", "--profile", profile], &SHORT[..], &steps].concat());
        assert!(names(&of_min, "phases").contains(&"solve".into()), "{profile}: {of_min}");
    }
    let unfused = of(&[&["--set", "fused_noise=false"], &SHORT[..], &steps].concat());
    let kernels = names(&unfused, "kernels");
    assert!(kernels.contains(&"noise_combine".into()) && !kernels.contains(&"noise_mix".into()), "{kernels:?}");
    let norms = of(&[&["layernorm"], &steps[..]].concat());
    assert_eq!(names(&norms, "kernels"), ["layernorm"]);
    assert!(names(&norms, "phases").contains(&"layernorm stats 3152x192".into()), "{norms}");
    let small = ["--set", "tasks=3,97", "--set", "epochs=1"];
    let run = of(&[&["run"], &small[..], &SHORT[2..]].concat());
    assert!(names(&run, "phases").contains(&"solve".into()) && run["plain"] == serde_json::json!([]));
}

#[test]
fn what_cannot_be_profiled_is_refused() {
    refused(&["profile", "voodoo"], &["voodoo", "gemm", "noise_layer"]);
    refused(&["profile", "gemm", "--set", "lr=0.1"], &["gemm", "no settings"]);
    refused(&["profile", "run", "--steps", "3"], &["--steps"]);
    refused(&["profile", "--set", "gama=3"], &["`gama`", "`gamma`"]);
    refused(&["profile", "--compare", "a.json", "b.json"], &["a.json"]);
    refused(&[&["profile", "--set", "noise=false"], &SHORT[..]].concat(), &["no training step"]);
    refused(&[&["profile", "--capture", "--steps", "1"], &SHORT[..]].concat(), &["graphics debugger", "CPU device"]);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broken = super::write(dir.path(), "broken.json", b"{}");
    let broken = broken.to_str().expect("a path");
    refused(&["profile", "--compare", broken, broken], &["broken.json", "no profile"]);
    let out = minoise(&["profile", "--tolerance", "5"]);
    assert_eq!(out.status.code(), Some(2), "{}", text(&out.stderr));
}
