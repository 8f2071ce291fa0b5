//! The learners of all methods: states, diverging trainings, memory, and random numbers.

use pollster::block_on;

use super::*;
use crate::Error;
use crate::device::{Precision, Tensor};
use crate::method::{Extent, Observer, Over, Phase, Samples, Task};

struct Nobody;

impl Observer for Nobody {
    fn begin(&mut self, _: Phase, _: &str, _: usize) {}
    fn advance(&mut self, _: usize) {}
    fn end(&mut self, _: Phase, _: Option<f64>) {}
}

/// Small, so that all of them learn in no time.
fn settings(method: Method) -> Config {
    let mut config = Config { fit_batch: 5, ..Config::of_method(method) };
    if method == Method::Min {
        config.buffer_size = 32;
    }
    (config.ranpac.projection, config.acil.buffer_size, config.dsal.buffer_size) = (40, 32, 24);
    (config.slca.ca_epochs, config.slca.ca_samples) = (1, 3);
    (config.l2p.length, config.coda.pool, config.coda.mu) = (2, 20, 0.1);
    if method != Method::Min {
        (config.epochs, config.init_epochs) = (1, 1);
    }
    config
}

/// Images of two classes a task, 6 of each.
fn task(learner: &dyn Learner, index: usize) -> Task {
    let sizes = learner.backbone().architecture.sizes;
    let shape = [sizes.channels, sizes.image, sizes.image];
    let labels: Vec<u32> = (0..12).map(|i| (2 * index + i % 2) as u32).collect();
    let mut rng = rng(index as u64, Purpose::Frozen);
    let pixels = uniform(&mut rng, labels.len() * shape.iter().product::<usize>(), 1);
    let samples = Samples::in_memory(shape, pixels.iter().map(|&x| x as f32).collect(), labels).unwrap();
    let order: Vec<usize> = (0..12).map(|i| i * 7 % 12).collect();
    let schedule = order.chunks(4).cycle().take(3 * learner.epochs(index)).map(<[usize]>::to_vec).collect();
    Task { index, samples, first_class: 2 * index, classes: 2 * index + 2, schedule }
}

fn scores(learner: &dyn Learner, device: &Device) -> Vec<f32> {
    let sizes = learner.backbone().architecture.sizes;
    let shape = [3, sizes.channels, sizes.image, sizes.image];
    let pixels = uniform(&mut rng(9, Purpose::Frozen), shape.iter().product(), 1);
    let images: Tensor = device.upload(&pixels, &shape).unwrap();
    let scores = learner.logits(&images, 0).unwrap();
    assert_eq!(scores.shape(), [3, 4]);
    block_on(device.read(&scores)).unwrap()
}

/// Every method is there, and one that is interrupted after any step goes on as if it had not been.
#[test]
fn methods_go_on_from_their_state() {
    let device = Device::cpu(Precision::F32);
    for method in Method::ALL {
        let config = settings(method);
        let mut whole = learner(&config, &device).unwrap();
        block_on(whole.learn(task(whole.as_ref(), 0), &mut Nobody)).unwrap();
        let first = block_on(whole.state()).unwrap();
        // Of MiN, whose steps are many, the first ones.
        let stops = if method == Method::Min { 2 } else { 40 };
        block_on(whole.learn(task(whole.as_ref(), 1), &mut Nobody)).unwrap();
        let want = scores(whole.as_ref(), &device);
        assert!(want.iter().all(|x| x.is_finite()), "{method:?}");
        let mut reached = 0;
        for stop in 0..stops {
            let mut begun = learner(&config, &device).unwrap();
            block_on(begun.restore(first.clone(), None)).unwrap();
            begun.begin(task(begun.as_ref(), 1)).unwrap();
            let over = (0..stop).any(|_| block_on(begun.step(&mut Nobody)).unwrap().over == Over::Task);
            if over {
                break;
            }
            let state = block_on(begun.state()).unwrap();
            let mut again = learner(&config, &device).unwrap();
            block_on(again.restore(state, Some(task(again.as_ref(), 1)))).unwrap();
            while block_on(again.step(&mut Nobody)).unwrap().over != Over::Task {}
            assert!(scores(again.as_ref(), &device) == want, "{method:?} stopped after {stop} steps");
            reached = stop;
        }
        // Three batches of the pass, and what the head does.
        assert!(reached >= 1 && (method == Method::Min || (3..39).contains(&reached)), "{method:?}: {reached}");
    }
}

/// Adapters that the first task alone trains, interrupted there after any step, and the head that stands on them.
#[test]
fn the_first_task_goes_on_from_its_state() {
    let device = Device::cpu(Precision::F32);
    for method in [Method::Aper, Method::RanPac] {
        let mut config = settings(method);
        config.ranpac.adapters = method == Method::RanPac;
        let mut whole = learner(&config, &device).unwrap();
        block_on(whole.learn(task(whole.as_ref(), 0), &mut Nobody)).unwrap();
        assert!(whole.trained() > 0 && whole.epochs(1) == usize::from(config.ranpac.adapters), "{method:?}");
        block_on(whole.learn(task(whole.as_ref(), 1), &mut Nobody)).unwrap();
        let want = scores(whole.as_ref(), &device);
        // The beginning, three batches of training and of the pass, and what the head does first.
        for stop in 0..8 {
            let mut begun = learner(&config, &device).unwrap();
            begun.begin(task(begun.as_ref(), 0)).unwrap();
            let over = (0..stop).any(|_| block_on(begun.step(&mut Nobody)).unwrap().over == Over::Task);
            assert!(!over, "{method:?}: over after {stop} steps");
            let state = block_on(begun.state()).unwrap();
            let mut again = learner(&config, &device).unwrap();
            block_on(again.restore(state, Some(task(again.as_ref(), 0)))).unwrap();
            while block_on(again.step(&mut Nobody)).unwrap().over != Over::Task {}
            block_on(again.learn(task(again.as_ref(), 1), &mut Nobody)).unwrap();
            assert!(scores(again.as_ref(), &device) == want, "{method:?} stopped after {stop} steps");
        }
    }
}

/// Where batches have another size a state goes on with the image behind the last one.
#[test]
fn images_are_learned_once_whatever_the_batch() {
    let device = Device::cpu(Precision::F32);
    for (method, adapters) in [(Method::Acil, false), (Method::RanPac, false), (Method::RanPac, true)] {
        let mut config = settings(method);
        config.ranpac.adapters = adapters;
        let counts = |learner: &dyn Learner| {
            let mut state = block_on(learner.state()).unwrap();
            state.take::<u64>("head/statistics/counts").unwrap().1
        };
        let mut begun = learner(&config, &device).unwrap();
        begun.begin(task(begun.as_ref(), 0)).unwrap();
        // Adapters are trained in 3 steps; then come 3 batches of the pass.
        while counts(begun.as_ref()).iter().sum::<u64>() == 0 {
            assert!(block_on(begun.step(&mut Nobody)).unwrap().over != Over::Task);
        }
        config.fit_batch = 4;
        let mut again = learner(&config, &device).unwrap();
        let state = block_on(begun.state()).unwrap();
        block_on(again.restore(state, Some(task(again.as_ref(), 0)))).unwrap();
        while block_on(again.step(&mut Nobody)).unwrap().over != Over::Task {}
        assert_eq!(counts(again.as_ref()), [6, 6], "{method:?}");
    }
}

/// Where training diverges it ends with a word on the rate, and no state holds what could not be restored.
#[test]
fn trainings_that_diverge_are_told() {
    let device = Device::cpu(Precision::F32);
    for method in [Method::Min, Method::L2p, Method::DualPrompt, Method::Coda, Method::Slca] {
        // Two steps of Adam leave the range of f32.
        let config = Config { lr: 3e38, ..settings(method) };
        let mut begun = learner(&config, &device).unwrap();
        begun.begin(task(begun.as_ref(), 0)).unwrap();
        let diverged = |error: &Error| matches!(error, Error::Diverged { rate: "lr", .. });
        let error = loop {
            match block_on(begun.step(&mut Nobody)) {
                Ok(step) => assert!(step.over != Over::Task, "{method:?} notices nothing"),
                Err(error) => break error,
            }
            match block_on(begun.state()) {
                Ok(state) => {
                    let mut again = learner(&config, &device).unwrap();
                    block_on(again.restore(state, Some(task(again.as_ref(), 0)))).unwrap();
                }
                Err(error) => assert!(diverged(&error), "{method:?}: {error}"),
            }
        };
        assert!(diverged(&error) && error.to_string().contains("lower lr"), "{method:?}: {error}");
    }
    let mut config = settings(Method::Slca);
    config.slca.ca_lr = 3e38;
    let mut aligned = learner(&config, &device).unwrap();
    block_on(aligned.learn(task(aligned.as_ref(), 0), &mut Nobody)).unwrap();
    let error = block_on(aligned.learn(task(aligned.as_ref(), 1), &mut Nobody)).unwrap_err();
    assert!(matches!(error, Error::Diverged { rate: "slca.ca_lr", .. }), "{error}");
}

#[test]
fn a_class_without_spread_is_named() {
    let device = Device::cpu(Precision::F32);
    let mut fecam = learner(&settings(Method::FeCam), &device).unwrap();
    let Task { samples, schedule, .. } = task(fecam.as_ref(), 0);
    let (shape, n) = (samples.shape(), samples.len());
    let samples = Samples::in_memory(shape, vec![0.5; n * shape.iter().product::<usize>()], samples.labels).unwrap();
    let same = Task { index: 0, samples, first_class: 0, classes: 2, schedule };
    let text = block_on(fecam.learn(same, &mut Nobody)).unwrap_err().to_string();
    assert!(text.contains("class 0") && text.contains("the same features") && !text.contains("shrink"), "{text}");
}

/// Where memory is short a batch is taken in parts, which drop what the whole would.
#[test]
fn adapters_are_trained_in_parts_where_memory_is_short() {
    let (device, config) = (Device::cpu(Precision::F64), settings(Method::Ease));
    let learned = |limit: u64| {
        let mut learner = learner(&config, &device).unwrap();
        let samples = task(learner.as_ref(), 0).samples;
        let extent = Extent { tasks: 2, classes: 4, task_classes: 2, batch: 4, images: 12, samples };
        let footprint = learner.fit_memory(&extent, limit).unwrap();
        for index in 0..2 {
            block_on(learner.learn(task(learner.as_ref(), index), &mut Nobody)).unwrap();
        }
        (footprint, scores(learner.as_ref(), &device))
    };
    let (whole, want) = learned(u64::MAX);
    let (parts, got) = learned(whole.bytes - 1);
    assert!(whole.parts.images == 4 && parts.parts.images < 4 && parts.bytes < whole.bytes, "{whole:?}, {parts:?}");
    // Sums in another order.
    assert!(got.iter().zip(&want).all(|(x, y)| (x - y).abs() < 1e-5), "{got:?} for {want:?}");
}

/// Without statistics there are scores, and nothing else can be restored.
#[test]
fn states_of_other_methods_are_refused() {
    let device = Device::cpu(Precision::F32);
    let mut states = Vec::new();
    for method in Method::ALL {
        let mut learner = learner(&settings(method), &device).unwrap();
        for index in 0..2 {
            block_on(learner.learn(task(learner.as_ref(), index), &mut Nobody)).unwrap();
        }
        states.push((method, scores(learner.as_ref(), &device), block_on(learner.state()).unwrap()));
    }
    for (method, want, state) in &states {
        let mut quick = state.clone();
        quick.prune("head/statistics");
        quick.prune("core/statistics");
        let mut again = learner(&settings(*method), &device).unwrap();
        block_on(again.restore(quick, None)).unwrap();
        assert!(scores(again.as_ref(), &device) == *want, "{method:?}");
        // Which of the two made means is not in their shape.
        let alike = |other: &Method| [*method, *other].iter().all(|m| [Method::SimpleCil, Method::Ncm].contains(m));
        for (other, _, state) in states.iter().filter(|(other, ..)| other != method && !alike(other)) {
            let mut learner = learner(&settings(*method), &device).unwrap();
            assert!(block_on(learner.restore(state.clone(), None)).is_err(), "{method:?} from {other:?}");
        }
    }
}

#[test]
fn normal_numbers_have_their_moments() {
    let (n, mut rng) = (100_001, rng(1, Purpose::Projection));
    let numbers = normal(&mut rng, n);
    assert_eq!(numbers.len(), n);
    let moment = |k: i32| numbers.iter().map(|x| x.powi(k)).sum::<f64>() / n as f64;
    // Six standard deviations of each mean: variances 1, 2, 15 and 96 over n.
    for (k, want, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
        assert!((moment(k) - want).abs() < 6.0 * f64::sqrt(variance / n as f64), "{k}: {}", moment(k));
    }
    assert!(numbers.iter().all(|&x| f64::from(x as f32) == x));
}
