//! What is measured, at sizes that every device can take.

use std::rc::Rc;

use super::network::{CLASSES, SMALL, Sizes, VIT_TI};
use super::training::{Profile, Training};
use super::{Pass, Work, analytic, attention, gemm, inference, noise, rounding, training, verified};
use crate::Result;
use crate::device::{Device, Tensor};
use crate::kernels::gemm::Layout;

/// Modules of noise layers.
const MODULES: usize = 10;
/// Random features of the analytic head.
const FEATURES: usize = 2048;

/// Passes that are measured in turn.
pub(super) struct Question {
    pub question: &'static str,
    pub shape: String,
    /// Variant and work of each pass.
    pub rows: Vec<(String, Work)>,
    /// Whether these are two ways to the same results.
    pub compared: bool,
    /// Verified passes, one for each row.
    pub prepare: Box<dyn Fn(&Device) -> Result<Vec<Pass>>>,
}

/// Every question, in the order of the table.
pub(super) fn all() -> Vec<Question> {
    let mut all = Vec::new();
    all.extend([[768, 768, 768], [3152, 768, 3072]].map(products));
    all.extend([[16, 3, 65, 64], [2, 12, 197, 64]].map(heads));
    for shape in [[3152, 192, 96, 2], [1576, 768, 192, 2]] {
        all.extend(noise::DIRECTIONS.map(|direction| layer(shape, direction)));
    }
    all.extend([(SMALL, Profile::Paper), (SMALL, Profile::Official), (VIT_TI, Profile::Paper)].map(step));
    all.extend([false, true].map(images));
    all.push(head());
    all
}

fn boxed(pass: impl FnMut(&Device) -> Result<Vec<Tensor>> + 'static) -> Pass {
    Box::new(pass)
}

fn products([m, k, n]: [usize; 3]) -> Question {
    const WAYS: [(&str, Layout, bool); 4] = [
        ("NN", Layout::NN, false),
        ("NT", Layout::NT, false),
        ("TN", Layout::TN, false),
        ("NN+bias+gelu", Layout::NN, true),
    ];
    let mkn = [m, k, n];
    let pass = move |device: &Device, (_, layout, epilogue): (&str, Layout, bool)| {
        verified(device, rounding(k), |device| gemm::product(device, mkn, layout, epilogue)).map(boxed)
    };
    Question {
        question: "products",
        shape: format!("{m}x{k}x{n}"),
        rows: WAYS.map(|(name, _, epilogue)| (name.into(), gemm::work(mkn, epilogue))).into(),
        compared: false,
        prepare: Box::new(move |device| WAYS.into_iter().map(|way| pass(device, way)).collect()),
    }
}

fn heads(shape: [usize; 4]) -> Question {
    const WAYS: [(&str, bool); 2] = [("forward", false), ("backward", true)];
    let [batch, heads, tokens, dim] = shape;
    let pass = move |device: &Device, (_, backward): (&str, bool)| {
        verified(device, rounding(tokens), |device| attention::attention(device, shape, backward)).map(boxed)
    };
    Question {
        question: "attention",
        shape: format!("B{batch}xH{heads}xN{tokens}xD{dim}"),
        rows: WAYS.map(|(name, backward)| (name.into(), attention::work(shape, backward))).into(),
        compared: false,
        prepare: Box::new(move |device| WAYS.into_iter().map(|way| pass(device, way)).collect()),
    }
}

fn layer(shape: [usize; 4], direction: &'static str) -> Question {
    let [rows, d1, d2, _] = shape;
    let work = noise::work(shape, MODULES, direction);
    Question {
        question: "noise",
        shape: format!("{rows}x{d1}x{d2}/T{MODULES} {direction}"),
        rows: noise::PATHS.map(|(name, _)| (name.into(), work)).into(),
        compared: true,
        prepare: Box::new(move |device| {
            let problem = Rc::new(noise::Problem::new(device, shape, MODULES)?);
            problem.verify(device, direction)?;
            let pass = |(_, path)| -> Pass {
                let problem = problem.clone();
                Box::new(move |device: &Device| problem.run(device, direction, path))
            };
            Ok(noise::PATHS.map(pass).into())
        }),
    }
}

fn step((sizes, profile): (Sizes, Profile)) -> Question {
    Question {
        question: "training step",
        shape: format!("{}xB{}", sizes.name, sizes.batch),
        rows: vec![(format!("{}/T{MODULES}", profile.name()), training::work(&sizes, profile, MODULES))],
        compared: false,
        prepare: Box::new(move |device| {
            training::verify(device, profile)?;
            let mut training = Training::new(device, sizes, profile, MODULES)?;
            Ok(vec![Box::new(move |device: &Device| training.step(device))])
        }),
    }
}

fn images(official: bool) -> Question {
    let (sizes, profile) = (Sizes { batch: 8, ..VIT_TI }, if official { Profile::Official } else { Profile::Paper });
    Question {
        question: "inference",
        shape: format!("{}xB{}", sizes.name, sizes.batch),
        rows: vec![(format!("{}/T{MODULES}", profile.name()), inference::work(&sizes, MODULES, official))],
        compared: false,
        prepare: Box::new(move |device| Ok(vec![Box::new(inference::inference(device, sizes, MODULES, official)?)])),
    }
}

fn head() -> Question {
    let m = FEATURES;
    Question {
        question: "analytic head",
        shape: format!("m{m}"),
        rows: vec![
            (format!("gram/{}", analytic::BATCH), analytic::adding(m)),
            (format!("solve/C{CLASSES}"), analytic::solving(m, CLASSES)),
        ],
        compared: false,
        prepare: Box::new(move |device| {
            analytic::verify(device)?;
            let mut growing = analytic::gathered(device, m, CLASSES)?;
            let gathered = analytic::gathered(device, m, CLASSES)?;
            let (p, labels) = analytic::batch(m, CLASSES, 2);
            let p = device.upload(&p, &[analytic::BATCH, m])?;
            let gram = move |device: &Device| {
                analytic::add(device, &mut growing, &p, &labels)?;
                Ok(Vec::new())
            };
            let solve = move |device: &Device| Ok(vec![analytic::solve(device, &gathered)?]);
            Ok(vec![Box::new(gram), Box::new(solve)])
        }),
    }
}
