//! The methods that can be compared, and the rows of ablations: names for settings.

use crate::config::Profile;
use crate::{Error, Result};

/// What a method is judged against.
pub const FLOOR: &str = "floor";

/// A row of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// What it is called, in tables and as a directory.
    pub name: &'static str,
    /// The learning rate that its paper leaves open, where it trains anything.
    pub rate: Option<&'static str>,
    /// Settings that make it what it is, on top of those that were given.
    pub sets: &'static [&'static str],
}

const fn row(name: &'static str, sets: &'static [&'static str]) -> Row {
    Row { name, rate: None, sets }
}

/// A row whose learning rate is the setting `lr`.
const fn trained(name: &'static str, sets: &'static [&'static str]) -> Row {
    Row { rate: Some("lr"), ..row(name, sets) }
}

const METHODS: &[Row] = &[
    row(FLOOR, &["profile=paper", "noise=false", "gamma=auto"]),
    trained("paper", &["profile=paper"]),
    trained("official", &["profile=official"]),
    trained("robust", &["profile=robust"]),
    row("simplecil", &["method=simplecil"]),
    row("ncm", &["method=ncm"]),
    row("ranpac", &["method=ranpac"]),
    row("fecam", &["method=fecam"]),
    row("acil", &["method=acil"]),
    row("dsal", &["method=dsal"]),
    trained("ranpac-adapters", &["method=ranpac", "ranpac.adapters=true"]),
    trained("aper", &["method=aper"]),
    trained("ease", &["method=ease"]),
    trained("l2p", &["method=l2p"]),
    trained("dualprompt", &["method=dualprompt"]),
    trained("coda", &["method=coda"]),
    trained("slca", &["method=slca"]),
];

/// The ablation of the paper, row by row one part more.
const OF_PAPER: &[Row] = &[
    row(FLOOR, &["profile=paper", "noise=false"]),
    row("expansion", &["profile=paper", "mixture=sum", "pipeline=two_step"]),
    row("initial-weights", &["profile=paper", "mixture=similarity", "pipeline=two_step"]),
    row("weight-learning", &["profile=paper", "mixture=learned", "pipeline=two_step"]),
    row("three-steps", &["profile=paper", "mixture=learned", "pipeline=three_step"]),
];

/// Every part of `robust` taken away from it; and those of its noise step, each alone on top of `paper`.
const OF_ROBUST: &[Row] = &[
    row(FLOOR, &["profile=paper", "noise=false", "gamma=auto"]),
    row("robust", &["profile=robust"]),
    row("without-anchor", &["profile=robust", "robust.anchor=false"]),
    row("without-adaptation", &["profile=robust", "robust.adapt_epochs=0"]),
    row("without-rotation", &["profile=robust", "robust.rotation=false"]),
    row("without-scale-free", &["profile=robust", "robust.scale_free=false"]),
    row("without-calibration", &["profile=robust", "robust.calibrate=false"]),
    row("without-compensation", &["profile=robust", "robust.compensation=0.0"]),
    row("without-noise", &["profile=robust", "noise=false"]),
    row("paper", &["profile=paper", "lr=0.03", "gamma=auto"]),
    row(
        "only-scale-free",
        &[
            "profile=robust",
            "robust.anchor=false",
            "robust.adapt_epochs=0",
            "robust.rotation=false",
            "robust.calibrate=false",
            "robust.compensation=0.0",
        ],
    ),
    row(
        "only-calibration",
        &[
            "profile=robust",
            "robust.anchor=false",
            "robust.adapt_epochs=0",
            "robust.rotation=false",
            "robust.scale_free=false",
            "robust.compensation=0.0",
        ],
    ),
    row(
        "only-compensation",
        &[
            "profile=robust",
            "robust.anchor=false",
            "robust.adapt_epochs=0",
            "robust.rotation=false",
            "robust.scale_free=false",
            "robust.calibrate=false",
        ],
    ),
];

/// The names of all methods.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    METHODS.iter().map(|row| row.name)
}

/// The methods of these names.
///
/// # Errors
/// [`Error::Config`] where there is none of a name, with those that there are, or a name is given twice.
pub fn methods(wanted: &[String]) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for name in wanted {
        let Some(row) = METHODS.iter().find(|row| row.name == name) else {
            let known = names().collect::<Vec<_>>().join(", ");
            return Err(Error::Config(format!("--methods: `{name}` is none; methods are {known}")));
        };
        if rows.contains(row) {
            return Err(Error::Config(format!("--methods: `{name}` is given twice")));
        }
        rows.push(*row);
    }
    Ok(rows)
}

/// The rows that take a profile apart.
///
/// # Errors
/// [`Error::Config`] for profile `official`, which has no parts.
pub fn ablation(profile: Profile) -> Result<&'static [Row]> {
    match profile {
        Profile::Paper => Ok(OF_PAPER),
        Profile::Robust => Ok(OF_ROBUST),
        Profile::Official => Err(Error::Config("--profile official: it has no parts; take paper or robust".into())),
    }
}
