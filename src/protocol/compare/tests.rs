//! Which settings rows take, and what is found of their runs.

use super::*;
use crate::config::{Gamma, Method, Profile};

fn named(names: &[&str]) -> Vec<Row> {
    methods(&names.iter().map(|name| name.to_string()).collect::<Vec<_>>()).unwrap()
}

fn plan(rows: &[Row], sets: &[&str]) -> Result<Plan> {
    Plan::new(rows, None, &sets.iter().map(|set| set.to_string()).collect::<Vec<_>>())
}

fn refused(rows: &[Row], sets: &[&str], words: &[&str]) {
    let text = plan(rows, sets).unwrap_err().to_string();
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
}

#[test]
fn every_row_is_a_run_of_its_own() {
    let all = methods(&rows::names().map(String::from).collect::<Vec<_>>()).unwrap();
    for rows in [&all[..], ablation(Profile::Paper).unwrap(), ablation(Profile::Robust).unwrap()] {
        let plan = plan(rows, &[]).unwrap();
        let configs: Vec<Config> = plan.rows.iter().map(|row| row.config(3, &[]).unwrap()).collect();
        for (i, config) in configs.iter().enumerate() {
            assert_eq!(config.seed, 3);
            assert!(!configs[..i].contains(config), "{} is as another row", rows[i].name);
        }
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(plan.rows.iter().all(|row| row.row.name.chars().all(fits)));
    }
    assert!(ablation(Profile::Official).is_err());
    let compared: Vec<Method> =
        plan(&all, &[]).unwrap().rows.iter().map(|row| row.config(0, &[]).unwrap().method).collect();
    for method in Method::ALL {
        assert!(compared.contains(&method), "{method:?} has no row");
    }
}

#[test]
fn unknown_methods_are_told_the_known_ones() {
    for (names, words) in [
        (vec!["floor", "voodoo"], vec!["`voodoo`", "floor, paper, official, robust"]),
        (vec!["ncm", "ncm"], vec!["`ncm`", "twice"]),
    ] {
        let names: Vec<String> = names.into_iter().map(String::from).collect();
        let text = methods(&names).unwrap_err().to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }
}

#[test]
fn settings_go_to_the_rows_that_they_suit() {
    let rows = named(&["floor", "paper", "official"]);
    let sets = ["epochs=2", "buffer_size=64", "tasks=50,50", "refit=accumulate", "gamma=3", "epochs=1"];
    let plan = plan(&rows, &sets).unwrap();
    let [floor, paper, official] = [0, 1, 2].map(|i| plan.rows[i].config(0, &[]).unwrap());
    for config in [&floor, &paper, &official] {
        assert_eq!((config.buffer_size, config.tasks.as_slice()), (64, &[50, 50][..]));
    }
    assert_eq!((floor.noise, floor.gamma, floor.epochs), (false, Gamma::Auto, Config::default().epochs));
    assert_eq!(
        (paper.profile, paper.gamma, paper.epochs, paper.init_epochs),
        (Profile::Paper, Gamma::Value(3.0), 1, 1)
    );
    assert_eq!((official.profile, official.epochs), (Profile::Official, 1));
    assert_eq!(plan.rows[0].left_out, ["refit=accumulate", "gamma=3", "epochs=1"]);
    assert_eq!((&plan.rows[1].left_out[..], &plan.rows[2].left_out[..]), (&[][..], &["refit=accumulate".into()][..]));
    assert_eq!(
        plan.notes,
        [
            "refit=accumulate is left out of floor, official",
            "gamma=3 is left out of floor",
            "epochs=1 is left out of floor"
        ]
    );
}

#[test]
fn settings_that_need_each_other_come_in_any_order() {
    let rows = named(&["floor", "official"]);
    let plan = plan(&rows, &["crop_scale=0.5", "augment=true", "epochs=2"]).unwrap();
    assert_eq!(plan.rows[0].left_out, ["epochs=2"]);
    let config = plan.rows[0].config(0, &[]).unwrap();
    assert_eq!((config.images.augment, config.images.crop_scale), (true, 0.5));
}

#[test]
fn settings_that_no_row_understands_are_refused() {
    refused(&named(&["floor", "paper"]), &["gama=3"], &["`gama`", "`gamma`"]);
    refused(&named(&["floor", "paper"]), &["lr=-1"], &["`lr`", "positive"]);
    refused(&named(&["floor"]), &["lr=1"], &["`lr`", "no meaning"]);
    refused(&named(&["paper"]), &["lr"], &["`lr` has no value"]);
    refused(&named(&["paper"]), &["tasks=5,5", "increment=5"], &["`increment`", "`tasks`"]);
    for set in ["seed=1", "profile=paper"] {
        refused(&named(&["paper"]), &[set], &[key(set), "leave it out"]);
    }
}

#[test]
fn files_are_taken_setting_by_setting() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("run.toml");
    let text = "profile = 'official'\nseed = 9\nlr = 0.5\nepochs = 7\ndata = 'a \"b\"'\ntasks = [5, 5]\n[robust]\nanchor = false\n";
    std::fs::write(&file, text).unwrap();
    let plan = Plan::new(&named(&["floor", "robust"]), Some(&file), &["lr=0.25".into()]).unwrap();
    let [floor, robust] = [0, 1].map(|i| plan.rows[i].config(1, &[]).unwrap());
    assert_eq!((floor.profile, floor.data.as_str(), floor.tasks.as_slice()), (Profile::Paper, "a \"b\"", &[5, 5][..]));
    assert_eq!((robust.profile, robust.lr, robust.epochs, robust.robust.anchor), (Profile::Robust, 0.25, 7, false));
    assert_eq!((robust.seed, robust.data), (1, floor.data));
    std::fs::write(&file, "lr = = 1").unwrap();
    let text = Plan::new(&named(&["paper"]), Some(&file), &[]).unwrap_err().to_string();
    assert!(text.contains("run.toml is not TOML"), "{text}");
    assert!(matches!(Plan::new(&named(&["paper"]), Some(dir.path()), &[]), Err(Error::Io { .. })));
}

#[test]
fn rates_are_tried_around_the_one_there_is() {
    let rates = |name: &str, sets: &[&str]| plan(&named(&[name]), sets).unwrap().rows[0].rates();
    let (key, values) = rates("paper", &["lr=0.3"]).unwrap().unwrap();
    assert_eq!((key, values[0]), ("lr", 0.3));
    assert!((values[1] - 0.1).abs() < 1e-15 && (values[2] - 0.9).abs() < 1e-15, "{values:?}");
    assert_eq!(rates("floor", &[]).unwrap(), None);
    // Without noise nothing is trained.
    assert_eq!(rates("paper", &["noise=false"]).unwrap(), None);
    let text = rates("paper", &["holdout=0.2"]).unwrap_err().to_string();
    assert!(text.contains("`holdout`") && text.contains("--trials"), "{text}");
    let trial = plan(&named(&["paper"]), &[]).unwrap().rows[0].trial("lr", 0.05).unwrap();
    assert_eq!((trial.lr, trial.images.holdout, trial.seed), (0.05, HOLDOUT, 0));
}

#[test]
fn runs_of_other_settings_are_found_out() {
    let config = Config::default();
    assert_eq!(difference(&config, &config).unwrap(), None);
    let other = Config { batch_size: 3, ..config.clone() };
    assert_eq!(difference(&config, &other).unwrap().as_deref(), Some("batch_size"));
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(found(&dir.path().join("new"), &config, "").unwrap(), Found::Nothing));
    std::fs::write(dir.path().join("checkpoint.safetensors"), "").unwrap();
    assert!(matches!(found(dir.path(), &config, ""), Err(Error::Store { .. })));
}
