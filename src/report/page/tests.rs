use std::fs;

use super::confusion::Confusion;
use super::*;
use crate::config::Config;
use crate::report::profile::{Profile, Row, Step};
use crate::report::{Measured, Memory, Metrics, Moved, Noise, Peaks, Results, Seconds};

/// A run of three tasks of two classes with noise in two blocks.
fn results(seed: u64, sets: &[&str]) -> Results {
    let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
    let config = Config { seed, ..Config::load(None, None, &sets).unwrap() };
    let more = 0.01 * seed as f64;
    let metrics = Metrics {
        accuracy: vec![0.9, 0.8, 0.7 + more],
        matrix: vec![vec![0.9], vec![0.75, 0.85], vec![0.5, 0.75, 0.85]],
        a_last: 0.7 + more,
        a_avg: 0.8,
        forgetting: 0.25,
        bwt: -0.25,
        per_class: vec![Some(0.5); 6],
        confusion: (0..6)
            .map(|r| (0..6).map(|c| if r == c { 10 } else { u64::from(c == (r + 1) % 6) * 10 }).collect())
            .collect(),
    };
    let noise = |t: usize| Noise { mixture: vec![vec![1.0 / (t + 1) as f32; t + 1]; 2], changes: vec![0.25, 0.5] };
    Results {
        version: "1.2.3".into(),
        method: config.method,
        profile: config.profile,
        device: "cpu".into(),
        tuned: false,
        seed,
        data: "d".repeat(64),
        backbone: "b".repeat(64),
        classes: ["ant", "bee", "cat", "dog", "eel", "fox"].map(String::from).to_vec(),
        known: 0,
        task_classes: vec![2, 2, 2],
        memory: Memory { planned_bytes: 1 << 20, ..Memory::default() },
        measured: Measured {
            metrics,
            gamma: vec![10.0, 10.0, 1000.0],
            residual: vec![1e-13; 3],
            moved: vec![None, Some(Moved { drift: 0.5, explained: Some(0.25) }), None],
            noise: (0..3).map(|t| Some(noise(t))).collect(),
            seconds: Seconds { total: 10.0, analytic: 2.0, noise: 5.0, eval: 1.0, ..Seconds::default() },
            seconds_per_task: vec![3.0; 3],
            peak_device_bytes: 3 << 20,
            peak_by_phase: Peaks { analytic: 1 << 20, noise: 2 << 20, eval: 1 << 20 },
            peak_host_bytes: None,
            dispatches: 3,
        },
        config,
    }
}

fn run(name: &str, results: Results) -> Run {
    Run { dir: name.into(), results, profile: None }
}

/// Two steps of 10.5 and 12.5 ms with two kernels.
fn profile() -> Profile {
    let row = |name: &str, seconds: [f64; 2], flops: f64| Row {
        name: name.into(),
        calls: 4.0,
        seconds: seconds.into(),
        flops,
        read: 1e6,
        written: 5e5,
        ..Row::default()
    };
    Profile {
        what: "train-step".into(),
        device: "vulkan".into(),
        steps: [0.0105, 0.0125].map(|wall| Step { wall, ..Step::default() }).into(),
        kernels: vec![row("gemm", [0.00825, 0.01025], 1.11e9), row("copy_block", [0.00025, 0.00125], 0.0)],
        ..Profile::default()
    }
}

fn groups(all: Vec<Results>) -> Vec<Group> {
    Group::all(all.into_iter().map(|results| run("a", results)).collect()).unwrap()
}

fn layers_after(task: usize, results: &mut Results) -> &mut Noise {
    results.measured.noise[task].as_mut().unwrap()
}

fn page(runs: Vec<Run>) -> Page {
    let page = Page::drawn(runs).unwrap();
    assert!(page.png.starts_with(b"\x89PNG"));
    // What stands between tags is closed, and no file or address is asked for.
    for tag in ["section", "figure", "svg", "table", "details", "g", "script", "select"] {
        let [open, close] = [format!("<{tag}"), format!("</{tag}>")].map(|tag| page.html.matches(&tag).count());
        let other = page.html.matches(&format!("<{tag}c")).count() + page.html.matches(&format!("<{tag}r")).count();
        assert!(open >= close && open - close <= other, "{tag}: {open} and {close}");
    }
    for outside in ["src=", "url(", "@import", "href=\"http"] {
        assert!(!page.html.contains(outside), "{outside}");
    }
    page
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in the page");
    }
}

#[test]
fn several_runs_are_grouped_by_their_settings() {
    let page = page(vec![
        run("a", results(2, &[])),
        run("b", results(0, &["lr=0.5"])),
        run("c", results(0, &[])),
        run("d", results(0, &["noise=false", "gamma=1"])),
        run("e", results(0, &["method=simplecil"])),
    ]);
    has(
        &page.html,
        &[
            "<title>minoise: 4 settings on icons</title>",
            // Seeds 0 and 2: 70 and 72 percent.
            "<th scope=\"row\">paper, lr=0.1</th><td>0, 2</td><td>71.00 ± 1.41</td>",
            "<th scope=\"row\">paper, lr=0.5</th><td>0</td><td>70.00</td>",
            "<th scope=\"row\">floor</th>",
            "<th scope=\"row\">simplecil</th>",
            "minoise run --profile paper --device cpu --seed 2</code>",
            "minoise run --profile paper --device cpu --seed 0 --set lr=0.5",
            "minoise run --method simplecil --device cpu --seed 0",
            "<option value=\"0\" selected>paper, lr=0.1</option>",
        ],
    );
    let figures = |group: usize| page.html.matches(&format!("<figure data-group=\"{group}\">")).count();
    assert!(figures(0) > 0);
    assert_eq!(figures(3), figures(0));
    has(&page.svg, &["Confusion matrix: paper, lr=0.1", "Accuracy over tasks"]);
}

#[test]
fn names_are_never_markup() {
    let mut results = results(0, &["data=<img alt=x>"]);
    results.classes[0] = "</script><script>alert(1)</script>".into();
    results.classes[1] = "a\u{0}\"'&]]>".into();
    results.device = "<b>gpu</b>".into();
    let mut profiled = run("a", results);
    let mut profile = Profile { device: "<i>".into(), ..profile() };
    profile.kernels[0].name = "<u>gemm</u>".into();
    profiled.profile = Some(profile);
    let page = page(vec![profiled]);
    for part in ["<script>alert", "<b>gpu", "<img", "<u>", "<i>", "\u{0}"] {
        assert!(!page.html.contains(part) && !page.svg.contains(part), "{part}");
    }
    has(
        &page.html,
        &["&lt;/script&gt;&lt;script&gt;alert", "&lt;b&gt;gpu", "a\u{FFFD}&quot;&#39;&amp;]]&gt;", "&lt;u&gt;gemm"],
    );
}

#[test]
fn what_was_not_recorded_is_said() {
    let mut old = results(0, &[]);
    old.task_classes.clear();
    old.measured.noise.clear();
    old.measured.moved.clear();
    old.measured.peak_by_phase = Peaks::default();
    let page = page(vec![run("a", old)]);
    has(
        &page.html,
        &["Not recorded: the results are of an earlier version", "profile robust measures it", "id=\"confusion\""],
    );
    assert!(!page.html.contains("id=\"kernels\"") && !page.html.contains("NaN"));
}

#[test]
fn short_and_odd_runs_have_a_page() {
    // One task of a method without noise and solves.
    let mut one = results(0, &["method=ncm"]);
    let metrics = &mut one.measured.metrics;
    metrics.accuracy.truncate(1);
    metrics.matrix.truncate(1);
    metrics.per_class.truncate(2);
    metrics.confusion = vec![vec![0; 2]; 2];
    one.measured.gamma.clear();
    one.measured.noise = vec![None];
    one.measured.moved = vec![None];
    let text = page(vec![run("a", one)]).html;
    has(&text, &["ncm (not finished)", "There is one task", "no noise layers", "solve for no classifier"]);
    // Classes that were known before, and a hundred of them.
    let mut many = results(0, &[]);
    many.known = 94;
    many.classes = (0..100).map(|class| format!("class {class}")).collect();
    many.measured.metrics.per_class = (0..100).map(|class| (class >= 94).then_some(0.5)).collect();
    many.measured.metrics.confusion = vec![vec![1; 100]; 100];
    has(&page(vec![run("a", many)]).html, &["of which 94 were known before", "minoise add"]);
}

#[test]
fn damaged_and_doubled_runs_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dirs = [dir.path().to_path_buf()];
    let refused = |dirs: &[PathBuf], words: &[&str]| {
        let error = Page::of(dirs).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    refused(&[], &["a report needs a run"]);
    refused(&dirs, &["results.json"]);
    let whole = results(0, &[]);
    let damages: [(&str, fn(&mut Results)); 15] = [
        ("accuracy", |r| r.measured.metrics.accuracy[1] = 5.0),
        ("per_class", |r| r.measured.metrics.per_class[1] = Some(-1.0)),
        ("gamma", |r| r.measured.gamma[0] = 1e300),
        ("moved", |r| r.measured.moved[0] = Some(Moved { drift: -1.0, explained: None })),
        ("seconds", |r| r.measured.seconds.eval = -1.0),
        ("accuracy", |r| r.measured.metrics.accuracy.clear()),
        ("matrix", |r| r.measured.metrics.matrix[2].truncate(1)),
        ("per_class", |r| r.measured.metrics.per_class.clear()),
        ("confusion", |r| r.measured.metrics.confusion[5].truncate(3)),
        ("task_classes", |r| r.task_classes[0] = usize::MAX),
        ("noise", |r| r.measured.noise[0] = Some(Noise { mixture: Vec::new(), changes: vec![0.0625, 0.5] })),
        ("noise", |r| r.measured.noise.push(None)),
        ("noise", |r| r.measured.noise.iter_mut().flatten().for_each(|noise| noise.changes.resize(1025, 0.0))),
        ("noise", |r| layers_after(2, r).changes.push(0.0)),
        ("noise", |r| layers_after(1, r).mixture.resize(20_000, Vec::new())),
    ];
    for (what, damage) in damages {
        let mut damaged = whole.clone();
        damage(&mut damaged);
        let path = damaged.write(dir.path()).unwrap();
        // A number that no f32 holds is read as an infinite one.
        let text = fs::read_to_string(&path).unwrap().replace("0.0625", "1e39");
        fs::write(&path, text).unwrap();
        refused(&dirs, &["results.json", what]);
    }
    whole.write(dir.path()).unwrap();
    refused(&[dirs[0].clone(), dirs[0].clone()], &["seed", "same run", &dirs[0].display().to_string()]);
    fs::write(dir.path().join("profile.json"), "{").unwrap();
    refused(&dirs, &["profile.json"]);
    let mut damaged = profile();
    damaged.kernels[1].seconds[0] = -1.0;
    damaged.write(dir.path(), &[]).unwrap();
    refused(&dirs, &["profile.json", "seconds"]);
    profile().write(dir.path(), &[]).unwrap();
    let out = dir.path().join("out");
    let page = Page::of(&dirs).unwrap();
    has(
        &page.html,
        &[
            "id=\"kernels\"",
            "(train-step on vulkan, 11.5 ms ± 1.41 ms a step)",
            "<th scope=\"row\">gemm</th><td>4</td><td>9.25 ms ± 1.41 ms</td><td>92.50 %</td><td>120</td><td>0.162</td>",
            "<th scope=\"row\">copy_block</th><td>4</td><td>0.750 ms ± 0.707 ms</td><td>7.50 %</td><td>–</td>",
        ],
    );
    let path = page.write(&out).unwrap();
    assert_eq!(path, out.join(HTML));
    assert!([HTML, SVG, PNG].iter().all(|name| out.join(name).is_file()));
}

#[test]
fn continued_runs_show_the_modules_of_earlier_ones() {
    let mut more = results(0, &[]);
    for (t, noise) in more.measured.noise.iter_mut().flatten().enumerate() {
        noise.mixture = vec![vec![0.125; t + 3]; 2];
    }
    has(&page(vec![run("a", more)]).html, &["<th scope=\"col\">module 4</th>", "<th scope=\"row\">block 1, 2</th>"]);
}

#[test]
fn more_weights_than_a_page_has_room_for_are_refused() {
    let mut many = results(0, &[]);
    many.measured.noise[0] = Some(Noise { mixture: vec![Vec::new(); 30_000], changes: vec![0.0; 30_000] });
    let error = Page::drawn(vec![run("a", many)]).unwrap_err().to_string();
    assert!(["results.json", "`noise`"].iter().all(|word| error.contains(word)), "{error}");
}

#[test]
fn only_the_paper_without_noise_is_the_floor() {
    let sets: [&[&str]; 3] = [&["noise=false"], &["profile=robust", "noise=false"], &["profile=robust"]];
    let groups = groups(sets.map(|sets| results(0, sets)).into());
    let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["floor", "robust, noise=false", "robust"]);
}

#[test]
fn runs_on_other_classes_are_no_seeds_of_each_other() {
    let mut all: Vec<Results> = (0..4).map(|seed| results(seed, &[])).collect();
    all[1].known = 2;
    all[2].task_classes = vec![4, 1, 1];
    assert_eq!(groups(all).iter().map(|group| group.runs.len()).collect::<Vec<_>>(), [2, 1, 1]);
}

#[test]
fn classes_that_were_not_judged_are_the_last() {
    let mut known = results(0, &[]);
    known.measured.metrics.confusion[0] = vec![0; 6];
    let figure = Confusion::of(&groups(vec![known])[0]).figure(0).unwrap().unwrap();
    assert_eq!(figure.found["orders"][1], serde_json::json!([1, 2, 3, 4, 5, 0]));
}

#[test]
fn perfect_accuracy_has_the_strongest_colour() {
    let mut perfect = results(0, &[]);
    perfect.measured.metrics.matrix.iter_mut().flatten().for_each(|a| *a = 1.0);
    let figures = accuracy::matrix(&groups(vec![perfect])).unwrap().figures;
    has(&figures[0].svg, &[&format!("<path fill=\"{}\"", colour::LEVELS[8].hex())]);
}

#[test]
fn commands_name_the_device() {
    let of = |device: &str| {
        let on = Results { device: device.into(), ..results(0, &[]) };
        settings::command(&on).unwrap().unwrap()
    };
    assert_eq!(of("cpu (2 threads, f32)"), "minoise run --profile paper --device cpu --seed 0");
    has(&of("vulkan A GPU (driver 1)"), &["--device 'vulkan A GPU (driver 1)' --seed 0"]);
}

#[test]
fn images_held_out_of_training_are_no_test_images() {
    let [test, held_out] = [&[][..], &["holdout=0.25"]].map(|sets| run("a", results(0, sets)));
    let (all, subject) = ("images of all runs after the last task", "icons, judged by held-out training images");
    let html = page(vec![test.clone()]).html;
    has(&html, &[&format!("The test {all}"), "over a few test images"]);
    assert!(!html.contains(subject));
    let html = page(vec![held_out.clone()]).html;
    has(&html, &[&format!("The held-out training {all}"), "over a few held-out training images", subject]);
    has(&page(vec![test, held_out]).html, &[&format!("The test images or held-out training {all}"), subject]);
}
