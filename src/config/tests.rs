//! Settings from files and the command line, and those that are refused.

use std::path::Path;

use super::load::to_value;
use super::*;
use crate::data::Fit;
use crate::{Error, Result};

fn load(profile: Option<Profile>, file: &str, sets: &[&str]) -> Result<Config> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.toml");
    std::fs::write(&path, file).unwrap();
    let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
    Config::load(profile, Some(&path), &sets)
}

fn refused(sets: &[&str], words: &[&str]) {
    let text = load(None, "", sets).unwrap_err().to_string();
    assert!(text.starts_with("setting `") && words.iter().all(|word| text.contains(word)), "{text}");
}

#[test]
fn published_settings_are_understood() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/configs");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    assert_eq!(files.len(), 10);
    for file in files {
        let config = Config::load(None, Some(&file), &[]).unwrap();
        let name = file.file_stem().unwrap().to_str().unwrap();
        assert!(name.ends_with("official") == (config.profile == Profile::Official), "{name}");
        assert_eq!((config.noise_hidden, config.buffer_size, config.images.augment), (192, 16_384, true), "{name}");
    }
}

/// What a file keeps of settings comes back; what it lacks has its default, what it has too much is named.
#[test]
fn settings_come_back_from_files() {
    let config = load(None, "", &["lr=0.3", "tasks=3,2", "augment=true", "gamma=auto"]).unwrap();
    let mut value = serde_json::to_value(&config).unwrap();
    assert_eq!(Config::from_json(value.clone()).unwrap(), config);
    value.as_object_mut().unwrap().remove("crop_pct");
    assert_eq!(Config::from_json(value.clone()).unwrap(), config);
    value["voodoo"] = 3.into();
    assert!(Config::from_json(value).unwrap_err().to_string().contains("`voodoo`"));
}

#[test]
fn nothing_given_is_the_default_run() {
    let config = Config::load(None, None, &[]).unwrap();
    assert_eq!(config, Config::default());
    assert_eq!((config.profile, config.noise_hidden, config.phi_layers), (Profile::Paper, 48, 2));
    assert_eq!((config.lr, config.epochs, config.batch_size, config.gamma), (0.1, 4, 64, Gamma::Value(10.0)));
}

#[test]
fn sets_override_the_file_and_the_file_the_defaults() {
    let config = load(None, "lr = 0.3\nepochs = 7\ngamma = 5\n", &["lr=0.2", "seed = 3", "lr=0.25"]).unwrap();
    assert_eq!((config.lr, config.epochs, config.gamma, config.seed), (0.25, 7, Gamma::Value(5.0), 3));
    assert_eq!(config.init_epochs, 7);
    assert_eq!(load(None, "init_epochs = 20", &[]).unwrap().init_epochs, 20);
}

#[test]
fn values_are_toml_or_else_text() {
    let sets =
        ["mixture=sum", "data=some/dir", "weights=\"a b.safetensors\"", "fused_noise=false", "eval_noise='sample'"];
    let config = load(None, "", &sets).unwrap();
    assert_eq!((config.mixture, config.eval_noise, config.fused_noise), (Mixture::Sum, EvalNoise::Sample, false));
    assert_eq!((config.data.as_str(), config.weights.as_str()), ("some/dir", "a b.safetensors"));
}

#[test]
fn gamma_is_a_number_or_auto() {
    for (text, gamma) in [("auto", Gamma::Auto), ("'auto'", Gamma::Auto), ("3", Gamma::Value(3.0))] {
        assert_eq!(load(None, "", &[&format!("gamma={text}")]).unwrap().gamma, gamma);
    }
    let auto = Config { gamma: Gamma::Auto, ..Config::default() };
    let json = serde_json::to_string(&auto).unwrap();
    assert!(json.contains("\"gamma\":\"auto\""), "{json}");
    assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), auto);
    refused(&["gamma=automatic"], &["`gamma` = \"automatic\"", "a positive number or \"auto\""]);
    refused(&["gamma=true"], &["`gamma` = true", "auto"]);
}

#[test]
fn profile_decides_the_defaults() {
    let official = Config::load(Some(Profile::Official), None, &[]).unwrap();
    assert_eq!((official.lr, official.epochs, official.init_epochs, official.phi_layers), (0.01, 5, 5, 1));
    assert_eq!(load(None, "profile = 'official'", &[]).unwrap(), official);
    assert_eq!(load(None, "", &["profile=official"]).unwrap(), official);
    assert_eq!(load(Some(Profile::Official), "profile = 'paper'", &[]).unwrap(), official);
    assert_eq!(load(Some(Profile::Official), "lr = 0.1", &[]).unwrap().lr, 0.1);
    let text = load(Some(Profile::Paper), "", &["profile=official"]).unwrap_err().to_string();
    assert!(text.contains("twice"), "{text}");
}

#[test]
fn settings_that_the_profile_ignores_are_refused() {
    refused(&["profile=official", "phi_layers=2"], &["`phi_layers` = 2", "official"]);
    refused(&["profile=official", "mixture=sum"], &["`mixture`"]);
    refused(&["fit_epochs=1"], &["`fit_epochs`", "paper"]);
    refused(&["noise=false", "lr=0.2"], &["`lr`", "noise = false"]);
    refused(&["noise=false", "mixture=sum"], &["`mixture`"]);
    assert!(load(None, "", &["profile=official", "phi_layers=1", "fit_epochs=1"]).is_ok());
}

#[test]
fn methods_have_settings_of_their_own() {
    for method in Method::ALL {
        let name = to_value(method).unwrap().as_str().unwrap().to_string();
        let config = load(None, "", &[&format!("method={name}")]).unwrap();
        assert_eq!(config, Config::of_method(method));
        assert_eq!(Config::load_method(Some(method), None, None, &[]).unwrap(), config);
        assert_eq!(Config::from_json(serde_json::to_value(&config).unwrap()).unwrap(), config);
    }
    let config = load(None, "method = 'ranpac'\n[ranpac]\nprojection = 500", &["memory_mib=100"]).unwrap();
    assert_eq!((config.method, config.ranpac.projection, config.memory_mib), (Method::RanPac, 500, 100));
    let config = load(None, "", &["method=fecam", "fecam.shrink=[10, 10]", "fit_batch=7"]).unwrap();
    assert_eq!(config.fecam.shrink, [10.0, 10.0]);
    assert!(load(None, "", &["method=dsal", "batch_size=32", "dsal.compensation=1.5"]).is_ok());
    // Files of before there was a choice.
    let mut old = serde_json::to_value(Config::of(Profile::Official)).unwrap();
    for key in ["method", "ranpac", "fecam", "acil", "dsal", "aper", "ease", "l2p", "dualprompt", "coda", "slca"] {
        assert!(old.as_object_mut().unwrap().remove(key).is_some(), "{key}");
    }
    assert_eq!(serde_json::from_value::<Config>(old).unwrap(), Config::of(Profile::Official));
    refused(&["method=magic"], &["`method` = \"magic\"", "simplecil"]);
    let error = Config::load_method(Some(Method::Acil), None, None, &["method=dsal".into()]).unwrap_err();
    assert!(error.to_string().contains("--method"), "{error}");
}

#[test]
fn settings_that_the_method_ignores_are_refused() {
    let of_min =
        ["profile=official", "noise=false", "noise_hidden=16", "buffer_size=512", "gamma=1", "lr=0.2", "epochs=9"];
    let others =
        ["optimizer=adamw", "augment=true", "keep_class_statistics=true", "robust.anchor=false", "pipeline=two_step"];
    for method in ["simplecil", "ncm", "ranpac", "fecam", "acil", "dsal"] {
        for set in of_min.iter().chain(&others) {
            let key = set.split('=').next().unwrap();
            refused(&[&format!("method={method}"), set], &[&format!("`{key}`"), &format!("in method {method}")]);
        }
    }
    refused(&["method=acil", "batch_size=32"], &["`batch_size`", "acil"]);
    refused(&["acil.gamma=1"], &["`acil.gamma`", "in method min"]);
    refused(&["profile=robust", "dsal.gamma=1"], &["`dsal.gamma`", "in method min"]);
    refused(&["method=ranpac", "acil.buffer_size=512"], &["`acil.buffer_size`", "ranpac"]);
    refused(&["method=ranpac", "ranpac.projection=0"], &["`ranpac.projection` must be from 1 to 32768"]);
    refused(&["method=fecam", "fecam.shrink=[1, -1]"], &["`fecam.shrink` must be two numbers, 0 or positive"]);
    refused(&["method=fecam", "fecam.shrink=1"], &["`fecam.shrink` = 1"]);
    refused(&["method=acil", "acil.gamma=0"], &["`acil.gamma` must be a positive number"]);
    refused(&["method=dsal", "dsal.gamma_comp=-1"], &["`dsal.gamma_comp` must be a positive number"]);
    refused(&["method=dsal", "dsal.compensation=nan"], &["`dsal.compensation` must be 0 or a positive number"]);
    refused(&["method=acil", "acil.gama=1"], &["`acil.gama` is unknown", "did you mean `acil.gamma`?"]);
}

#[test]
fn methods_of_adapters_train_by_sgd() {
    let used = ["lr=0.1", "epochs=3", "momentum=0.5", "weight_decay=0.1", "batch_size=8", "augment=true"];
    for sets in [&["method=aper"][..], &["method=ease"], &["method=ranpac", "ranpac.adapters=true"]] {
        let config = load(None, "", &[sets, &used].concat()).unwrap();
        assert_eq!((config.lr, config.epochs, config.init_epochs, config.momentum), (0.1, 3, 3, 0.5));
        for set in ["optimizer=adamw", "buffer_size=512", "mixture=sum", "dsal.gamma=1"] {
            refused(&[sets, &[set]].concat(), &[set.split('=').next().unwrap(), "in method"]);
        }
    }
    let config = load(None, "", &["method=ease", "ease.alpha=0.2", "ease.hidden=16"]).unwrap();
    assert_eq!((config.ease.alpha, config.ease.hidden, config.lr, config.batch_size), (0.2, 16, 0.025, 48));
    refused(&["method=ranpac", "lr=0.1"], &["`lr`", "in method ranpac"]);
    refused(&["method=aper", "ease.alpha=0.2"], &["`ease.alpha`", "in method aper"]);
    refused(&["method=aper", "aper.hidden=0"], &["`aper.hidden` must be from 1 to 4096"]);
    refused(&["method=aper", "aper.scale=0"], &["`aper.scale` must be a positive number"]);
    refused(&["method=ease", "ease.dropout=1"], &["`ease.dropout` must be from 0 to below 1"]);
    refused(&["method=ease", "ease.alpha=-1"], &["`ease.alpha` must be 0 or a positive number"]);
}

#[test]
fn methods_of_prompts_train_by_adam() {
    for method in ["l2p", "dualprompt", "coda"] {
        let name = format!("method={method}");
        let used = ["lr=0.01", "epochs=3", "init_epochs=4", "batch_size=8", "augment=true", "f16_activations=true"];
        let sets: Vec<_> = [&name[..]].into_iter().chain(used).collect();
        let config = load(None, "", &sets).unwrap();
        assert_eq!((config.lr, config.epochs, config.init_epochs, config.batch_size), (0.01, 3, 4, 8));
        for set in ["optimizer=adamw", "momentum=0.5", "weight_decay=0.1", "buffer_size=512", "acil.gamma=1"] {
            refused(&[&name, set], &[set.split('=').next().unwrap(), &format!("in method {method}")]);
        }
    }
    let config = load(None, "", &["method=dualprompt", "dualprompt.e_layers=[0, 5]"]).unwrap();
    assert_eq!((&config.dualprompt.e_layers[..], &config.dualprompt.g_layers[..]), (&[0, 5][..], &[0, 1][..]));
    refused(&["method=l2p", "l2p.top_k=11"], &["`l2p.top_k` must be from 1 to l2p.pool = 10"]);
    refused(&["method=l2p", "l2p.clip=0"], &["`l2p.clip` must be a positive number"]);
    refused(&["method=dualprompt", "dualprompt.g_layers=[1, 1]"], &["`dualprompt.g_layers`", "none of them twice"]);
    refused(&["method=coda", "coda.length=7"], &["`coda.length` must be an even number"]);
    refused(&["method=coda", "coda.tasks=101"], &["`coda.tasks` must be from 1 to coda.pool = 100"]);
    refused(&["method=coda", "coda.mu=-1"], &["`coda.mu` must be 0 or a positive number"]);
    refused(&["coda.mu=1"], &["`coda.mu`", "in method min"]);
    // Each may be large, but not both.
    for (method, length) in [("l2p", "length"), ("dualprompt", "e_length"), ("coda", "length")] {
        let set = |pool: usize, n: usize| [format!("{method}.pool={pool}"), format!("{method}.{length}={n}")];
        let [method_set, most] = [format!("method={method}"), format!("`{method}.{length}` must be at most 16")];
        for sets in [set(1024, 16), set(16, 1024)] {
            assert!(load(None, "", &[&method_set, &sets[0], &sets[1]].map(String::as_str)).is_ok(), "{sets:?}");
        }
        let sets = set(1024, 1024);
        refused(&[&method_set, &sets[0], &sets[1]].map(String::as_str), &[&most]);
    }
}

#[test]
fn slca_trains_by_sgd() {
    let used =
        ["lr=0.02", "epochs=3", "init_epochs=4", "batch_size=8", "momentum=0.5", "weight_decay=0", "augment=true"];
    let own = ["slca.milestones=[1, 2]", "slca.backbone_rate=1", "slca.ca_samples=16"];
    let sets: Vec<_> = ["method=slca"].into_iter().chain(used).chain(own).collect();
    let config = load(None, "", &sets).unwrap();
    assert_eq!((config.lr, config.epochs, config.init_epochs, config.weight_decay), (0.02, 3, 4, 0.0));
    assert_eq!((&config.slca.milestones[..], config.slca.ca_samples, config.slca.ca_epochs), (&[1, 2][..], 16, 5));
    for set in ["optimizer=adamw", "f16_weights=true", "gamma=1", "coda.mu=1"] {
        refused(&["method=slca", set], &[set.split('=').next().unwrap(), "in method slca"]);
    }
    refused(&["method=slca", "slca.ca_temperature=0"], &["`slca.ca_temperature` must be a positive number"]);
    refused(&["method=slca", "slca.ca_samples=0"], &["`slca.ca_samples` must be from 1"]);
    refused(&["method=slca", "slca.cov_ridge=-1"], &["`slca.cov_ridge` must be 0 or a positive number"]);
    refused(&["slca.ca_lr=1"], &["`slca.ca_lr`", "in method min"]);
}

#[test]
fn settings_of_images_are_keys_like_others() {
    let config = load(None, "holdout = 0.1", &["fit=pad", "tasks=30,20,20", "image_size=98"]).unwrap();
    assert_eq!((config.images.holdout, config.images.fit, config.images.image_size), (0.1, Fit::Pad, 98));
    assert_eq!(config.tasks.as_slice(), [30, 20, 20]);
    assert_eq!(load(None, "tasks = [5, 5]", &[]).unwrap().tasks.as_slice(), [5, 5]);
    let json = serde_json::to_string(&config).unwrap();
    assert!(json.contains("\"holdout\":0.1") && json.contains("\"tasks\":[30,20,20]"), "{json}");
    assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), config);
    // A file with every setting is read, whatever it says of these.
    let whole = toml::to_string(&Config::default()).unwrap();
    assert_eq!(load(None, &whole, &["tasks=4,96"]).unwrap().tasks.as_slice(), [4, 96]);
    refused(&["tasks=30,x"], &["`tasks`", "30,20,20"]);
    refused(&["tasks=5,5", "increment=5"], &["`increment`", "`tasks`"]);
    refused(&["class_order=a.txt", "class_seed=5"], &["`class_seed`", "`class_order`"]);
    refused(&["fit=stretch"], &["`fit`", "pad"]);
    refused(&["holdout=1"], &["`holdout` must be from 0 to below 1"]);
    refused(&["crop_scale=0.1"], &["`crop_scale`", "augment = true"]);
    assert!(load(None, "", &["crop_scale=0.1", "augment=true"]).is_ok());
    assert!(Config::of(Profile::Official).images.augment && !Config::of(Profile::Paper).images.augment);
    // Statistics of before these settings are read with their defaults.
    let mut old: serde_json::Value = serde_json::to_value(Config::default()).unwrap();
    for key in ["tasks", "class_order", "holdout", "fit", "augment"] {
        assert!(old.as_object_mut().unwrap().remove(key).is_some(), "{key}");
    }
    assert_eq!(serde_json::from_value::<Config>(old).unwrap(), Config::default());
}

/// Tasks and padding of the embedded fashion are defaults: what is given goes before them.
#[test]
fn data_have_defaults_of_their_own() {
    let of = |file: &str, sets: &[&str]| {
        let config = load(None, file, sets).unwrap();
        (config.init_classes, config.increment, config.images.fit)
    };
    assert_eq!(of("", &["data=fashion"]), (2, 2, Fit::Pad));
    assert_eq!(of("data = 'fashion'\nprofile = 'official'", &[]), (2, 2, Fit::Pad));
    assert_eq!(of("data = 'fashion'", &["data=icons"]), (10, 10, Fit::Crop));
    assert_eq!(of("", &["data=some/fashion"]), (10, 10, Fit::Crop));
    assert_eq!(of("fit = 'crop'", &["data=fashion"]), (2, 2, Fit::Crop));
    assert_eq!(of("", &["data=fashion", "init_classes=6"]), (6, 2, Fit::Pad));
    assert_eq!(of("increment = 1", &["data=fashion"]), (2, 1, Fit::Pad));
    let config = load(None, "", &["data=fashion", "tasks=4,3,3"]).unwrap();
    assert_eq!((config.tasks.as_slice(), config.images.fit), (&[4, 3, 3][..], Fit::Pad));
    refused(&["data=fashion", "tasks=5,5", "init_classes=2"], &["`init_classes`", "`tasks`"]);
    // Only this much differs from the default run, and it comes back from a file, for other data as well.
    let fashion = load(None, "", &["data=fashion"]).unwrap();
    let mut same = Config { data: "fashion".into(), init_classes: 2, increment: 2, ..Config::default() };
    same.images.fit = Fit::Pad;
    assert_eq!(fashion, same);
    for config in [fashion, Config { data: "fashion".into(), ..Config::default() }] {
        let value = serde_json::to_value(&config).unwrap();
        assert_eq!(Config::from_json(value).unwrap(), config);
    }
}

#[test]
fn unknown_keys_get_a_hint() {
    refused(&["gama=1"], &["`gama` is unknown", "did you mean `gamma`?", "batch_size", "weights"]);
    let text = load(None, "[train]\nlr = 1", &[]).unwrap_err().to_string();
    assert!(text.contains("`train.lr` is unknown"), "{text}");
}

#[test]
fn wrong_types_are_named() {
    refused(&["lr=fast"], &["`lr` = \"fast\""]);
    refused(&["epochs=1.5"], &["`epochs` = 1.5"]);
    refused(&["batch_size=-1"], &["`batch_size` = -1"]);
    refused(&["seed=-1"], &["`seed`"]);
    refused(&["noise=1"], &["`noise` = 1"]);
    refused(&["mixture=mean"], &["`mixture`", "sum", "similarity", "learned"]);
    refused(&["profile=paperr"], &["`profile`", "official"]);
    refused(&["lr=1\nepochs=9"], &["`lr`"]);
    refused(&["lr="], &["`lr`"]);
    refused(&["lr"], &["`lr` has no value"]);
}

#[test]
fn impossible_values_are_named() {
    for set in ["gamma=0", "gamma=-1", "gamma=inf", "gamma=nan", "gamma=1e300", "lr=0", "lr=1e-60", "temperature=0"] {
        let key = set.split('=').next().unwrap();
        refused(&[set], &[&format!("`{key}` must be a positive number")]);
    }
    for key in ["noise_hidden", "buffer_size", "batch_size", "fit_batch", "epochs", "init_epochs", "init_classes"] {
        refused(&[&format!("{key}=0")], &[&format!("`{key}` must be from 1")]);
        refused(&[&format!("{key}=1048577")], &[&format!("`{key}` must be from 1")]);
    }
    refused(&["noise_hidden=4097"], &["`noise_hidden` must be from 1 to 4096"]);
    refused(&["epochs=10001"], &["`epochs` must be from 1 to 10000"]);
    assert_eq!(validate::MAX_BUFFER, crate::model::head::MAX_FEATURES);
    refused(&["momentum=1"], &["`momentum`"]);
    refused(&["weight_decay=-0.1"], &["`weight_decay`"]);
    refused(&["phi_layers=3"], &["`phi_layers` must be 1 or 2, got 3"]);
    refused(&["data="], &["`data`", "\"fashion\""]);
    refused(&["weights="], &["`weights`", "\"icons\" or a path"]);
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let error = Config::load(None, Some(Path::new("no/such.toml")), &[]).unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("no/such.toml"));
    let text = load(None, "lr = = 1", &[]).unwrap_err().to_string();
    assert!(text.contains("run.toml is not TOML"), "{text}");
}
