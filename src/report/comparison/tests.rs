//! Figures, choices and tables of a comparison, and its files.

use super::*;

fn close(got: f64, expected: f64) {
    assert!((got - expected).abs() < 1e-15, "{got} is not {expected}");
}

fn row(name: &str, figures: &[[f64; 2]]) -> Row {
    let run = |(seed, &[a_last, a_avg]): (usize, &[f64; 2])| Run {
        seed: seed as u64,
        a_last,
        a_avg,
        forgetting: 0.125,
        size: Size { trained: 10 * seed as u64, stored_bytes: 3 << 19 },
        seconds: 1.0 + seed as f64,
        peak_device_bytes: 1 << 20,
    };
    let settings = vec![format!("profile={name}")];
    Row::new(name, settings, vec!["lr=1".into()], None, figures.iter().enumerate().map(run).collect(), None)
}

fn comparison() -> Comparison {
    let known = |name: &str| Known { name: name.into(), hash: "0123456789abcdef0123".into() };
    let rows = vec![
        row("floor", &[[0.5, 0.75], [0.25, 0.5], [0.5, 0.5]]),
        row("other", &[[0.75, 0.75], [0.375, 0.5], [0.625, 0.25]]),
    ];
    Comparison {
        version: "1".into(),
        command: "minoise compare".into(),
        devices: vec!["cpu".into()],
        data: known("icons"),
        backbone: known("vit"),
        held_out: false,
        baseline: None,
        rows,
    }
}

#[test]
fn rows_are_held_against_the_baseline_seed_by_seed() {
    let compared = comparison().against("floor");
    assert_eq!(compared.rows[0].differences, None);
    let Differences { a_last, a_avg } = compared.rows[1].differences.unwrap();
    close(a_last.mean, 0.5 / 3.0);
    assert_eq!((a_last.least, a_last.p), (0.125, 0.25));
    close(a_avg.mean, -0.25 / 3.0);
    assert_eq!((a_avg.least, a_avg.p), (-0.25, 1.0));
    assert_eq!(comparison().against("missing"), comparison());
}

#[test]
fn tables_tell_every_row() {
    let compared = comparison().against("floor");
    let text = compared.markdown();
    for line in [
        "| floor | 41.67 ± 14.43 | 58.33 ± 14.43 | 12.50 ± 0.00 | 20 | 1.5 | 2.0 | 1.0 |",
        "| other | +16.67 | +12.50 | 0.250 | -8.33 | -25.00 | 1.000 |",
        "- `floor`: `profile=floor`; without `lr=1`",
        "Device: cpu. Data: icons (0123456789abcdef). Backbone: vit (0123456789abcdef).",
        "minoise compare",
    ] {
        assert!(text.lines().any(|found| found == line), "`{line}` is not in\n{text}");
    }
    assert!(!comparison().markdown().contains("Differences"));
    let csv = compared.csv().unwrap();
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.iter().map(Vec::len).collect::<Vec<_>>(), [18; 3]);
    let of = |line: usize, key: &str| lines[line][lines[0].iter().position(|k| *k == key).expect("a column")];
    assert_eq!((of(2, "method"), of(2, "seeds"), of(2, "a_last_difference_least")), ("other", "3", "0.125"));
    assert_eq!((of(1, "a_last_p"), of(1, "stored_bytes"), of(1, "seconds_mean")), ("", "1572864", "2"));
    let json: serde_json::Value = serde_json::from_slice(&json(&compared).unwrap()).unwrap();
    assert_eq!((&json["baseline"], &json["rows"][1]["runs"][2]["trained"]), (&"floor".into(), &20.into()));
    assert_eq!(json["rows"][1]["differences"]["a_last"]["p"], 0.25);
}

/// A row without a result says so, has no figures, and leaves those of the others as they are.
#[test]
fn a_lost_row_has_no_figures() {
    let mut compared = comparison();
    let run = compared.rows[1].runs[0];
    let trials = [(0.1, None), (0.03, Some(0.5))].map(|(value, a)| Trial { value, a_last: a, a_avg: a });
    let choice = Choice::among("lr", trials.to_vec());
    let why = Some("seed 1: the losses are not finite".to_string());
    compared.rows.push(Row::new("gone", vec!["method=l2p".into()], vec![], choice, vec![run], why));
    let compared = compared.against("floor");
    assert_eq!((compared.rows[1].differences.is_some(), compared.rows[2].differences), (true, None));
    let text = compared.markdown();
    for line in [
        "| other | 58.33 ± 19.09 | 50.00 ± 25.00 | 12.50 ± 0.00 | 20 | 1.5 | 2.0 | 1.0 |",
        "| gone | lost | | | | | | |",
        "- `gone`: `method=l2p`; `lr` = 3.00e-2 by A_avg on held-out training images: 1.00e-1 is lost, 3.00e-2 gives 50.00; \
         lost: seed 1: the losses are not finite",
    ] {
        assert!(text.lines().any(|found| found == line), "`{line}` is not in\n{text}");
    }
    assert!(text.contains("(seeds: 0, 1, 2)"), "{text}");
    let csv = compared.csv().unwrap();
    assert_eq!(csv.lines().nth(3), Some("gone,1,,,,,,,,,,,,,,,,"));
    let json: serde_json::Value = serde_json::from_slice(&json(&compared).unwrap()).unwrap();
    let row = &json["rows"][2];
    assert!(row["lost"].is_string() && row["a_last"].is_null() && row["choice"]["trials"][0]["a_avg"].is_null());
    assert_eq!((&json["rows"][1]["lost"], &json["rows"][1]["a_last"]["mean"]), (&().into(), &(1.75 / 3.0).into()));
    // Nothing is held against a baseline that is lost.
    let mut rows = comparison().rows;
    rows[0] = Row::new("floor", vec![], vec![], None, vec![], Some("seed 0".into()));
    let compared = Comparison { rows, ..comparison() }.against("floor");
    assert_eq!((compared.baseline, compared.rows[1].differences), (None, None));
}

#[test]
fn the_best_trial_is_taken_and_of_equal_ones_the_first() {
    let trial = |value, a_avg| Trial { value, a_last: a_avg, a_avg };
    let chosen = |figures: &[(f64, Option<f64>)]| {
        Choice::among("lr", figures.iter().map(|&(value, a_avg)| trial(value, a_avg)).collect()).map(|c| c.value)
    };
    assert_eq!(chosen(&[(0.1, Some(0.5)), (0.03, Some(0.75)), (0.3, Some(0.25))]), Some(Some(0.03)));
    assert_eq!(chosen(&[(0.1, Some(0.5)), (0.03, Some(0.5)), (0.3, Some(0.25))]), Some(Some(0.1)));
    assert_eq!(chosen(&[(0.1, Some(0.5)), (0.03, Some(0.5)), (0.3, Some(0.75))]), Some(Some(0.3)));
    assert_eq!(chosen(&[(0.1, None), (0.03, Some(0.0)), (0.3, None)]), Some(Some(0.03)));
    assert_eq!(chosen(&[(0.1, None), (0.03, None)]), Some(None));
    assert_eq!(chosen(&[]), None);
}

#[test]
fn files_hold_the_tables() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("new");
    Comparison::check_writable(&out).unwrap();
    comparison().write(&out).unwrap();
    let mut names: Vec<_> = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [CSV, JSON, MARKDOWN]);
    std::fs::remove_file(out.join(CSV)).unwrap();
    std::fs::create_dir(out.join(CSV)).unwrap();
    assert!(matches!(Comparison::check_writable(&out), Err(Error::Io { .. })));
    let size = Size { trained: 7, stored_bytes: 9 };
    size.write(&out).unwrap();
    assert_eq!(Size::read(&out).unwrap(), size);
}
