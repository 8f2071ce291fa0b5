//! What noise does: mixture weights, changes of tokens, drift of features, gamma.

use super::accuracy::over_tasks;
use super::heat::{Heat, Panel, Scale};
use super::lines::Lines;
use super::runs::Group;
use super::say::{digits, tenths};
use super::section::{Section, each};
use super::summary::judged;
use crate::report::say::hundredths;
use crate::report::{Noise, Results};
use crate::{Error, Result};

/// Most rows of mixture weights that a page has room for.
const ROWS: usize = 1 << 16;

/// What is said where nothing is known of noise.
fn missing(groups: &[Group]) -> &'static str {
    let recorded = |group: &Group| group.runs.iter().any(|run| !run.results.measured.noise.is_empty());
    match groups.iter().any(recorded) {
        true => "These runs have no noise layers.",
        false => "Not recorded: the results are of an earlier version, or the run was not finished with this one.",
    }
}

/// The noise layers of a run after a task.
fn after(results: &Results, task: usize) -> Option<&Noise> {
    results.measured.noise.get(task)?.as_ref()
}

/// The longest of some lists of the runs of a group.
fn longest<'a>(group: &'a Group, list: impl Fn(&'a Results) -> Option<usize>) -> usize {
    group.runs.iter().filter_map(|run| list(&run.results)).max().unwrap_or(0)
}

/// The noise layers that take part.
fn layers(group: &Group) -> usize {
    longest(group, |r| r.measured.noise.iter().flatten().map(|noise| noise.mixture.len()).max())
}

/// The blocks of the backbone.
fn blocks(group: &Group) -> usize {
    longest(group, |r| r.measured.noise.iter().flatten().map(|noise| noise.changes.len()).max())
}

/// The most of some values, and 0 of none.
fn most(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, f64::max)
}

pub(super) fn mixture(groups: &[Group]) -> Result<Section> {
    let mut rows = 0;
    for group in groups {
        rows += layers(group) * group.tasks();
        if rows > ROWS {
            return Err(Error::Store {
                file: group.runs[0].file().display().to_string(),
                message: format!("its `noise` makes {rows} rows of weights of the page, which has room for {ROWS}"),
            });
        }
    }
    let panels = |group: &Group| -> Vec<Panel> {
        let (tasks, layers, blocks) = (group.tasks(), layers(group), blocks(group));
        let weight = |layer: usize, t: usize, module: usize| {
            group.over(|r| Some(f64::from(*after(r, t)?.mixture.get(layer)?.get(module)?))).map(|s| s.mean)
        };
        // A model that was taught before has modules of earlier runs as well.
        let modules = |layer: usize, t: usize| longest(group, |r| Some(after(r, t)?.mixture.get(layer)?.len()));
        let row = |layer: usize, t: usize| (0..modules(layer, t)).map(|module| weight(layer, t, module)).collect();
        let panel = |layer: usize| Panel {
            // Layers that take part are those of the last blocks.
            name: format!("block {}", layer + blocks.saturating_sub(layers)),
            values: (0..tasks).map(|t| row(layer, t)).collect(),
        };
        (0..layers).map(panel).collect()
    };
    let all: Vec<Vec<Panel>> = groups.iter().map(panels).collect();
    let values = all.iter().flatten().flat_map(|panel| panel.values.iter().flatten().flatten());
    let scale = Scale::even(0.0, most(values.copied()));
    let figure = |(of, panels): (usize, Vec<Panel>)| {
        let label = "Mixture weights of each noise layer";
        Heat { label, rows: "after task", cols: "module", panels, scale, say: digits }.figure(of)
    };
    Ok(Section {
        id: "mixture",
        title: "Mixture weights",
        lead: "The weight of each module, the oldest first (across), after each task (down), in the noise layer behind each \
               block; mean over seeds."
            .into(),
        figures: each(all.into_iter().enumerate().map(figure))?,
        missing: missing(groups),
    })
}

pub(super) fn changes(groups: &[Group]) -> Result<Section> {
    let values = |group: &Group| -> Vec<Vec<Option<f64>>> {
        let change =
            |t: usize, block: usize| group.over(|r| Some(f64::from(*after(r, t)?.changes.get(block)?))).map(|s| s.mean);
        (0..group.tasks()).map(|t| (0..blocks(group)).map(|block| change(t, block)).collect()).collect()
    };
    let all: Vec<_> = groups.iter().map(values).collect();
    let scale = Scale::even(0.0, most(all.iter().flatten().flatten().flatten().copied()));
    let figure = |(of, values): (usize, Vec<Vec<Option<f64>>>)| {
        let panels = vec![Panel { name: String::new(), values }];
        let label = "Norm of what noise adds against the norm of features";
        Heat { label, rows: "after task", cols: "block", panels, scale, say: hundredths }.figure(of)
    };
    Ok(Section {
        id: "changes",
        title: "Noise against features",
        lead: format!(
            "The norm of what the noise layer adds behind each block, in percent of the norm of the tokens that it adds it to, \
             |y - x| / |x|, over a few {}; mean over seeds.",
            judged(groups)
        ),
        figures: each(all.into_iter().enumerate().map(figure))?,
        missing: missing(groups),
    })
}

pub(super) fn drift(groups: &[Group]) -> Result<Section> {
    let moved = |results: &Results, t: usize| *results.measured.moved.get(t)?;
    let drift = Lines {
        label: "Drift of features",
        unit: "|f after - f before| / |f before|",
        across: "task",
        within: (0.0, f64::MAX),
        log: false,
        say: digits,
        lines: over_tasks(groups, |results, t| Some(moved(results, t)?.drift)),
    };
    let explained = Lines {
        label: "Share of the change that compensation foretells",
        unit: "percent that compensation foretells",
        within: (f64::MIN, 100.0),
        say: tenths,
        lines: over_tasks(groups, |results, t| Some(100.0 * moved(results, t)?.explained?)),
        ..drift.clone()
    };
    Ok(Section {
        id: "drift",
        title: "Drift of features",
        lead: "How far the training of each task moved the features of its images; and how much of the change of random features \
               the map foretells, of images that it was not fitted to, by which old statistics are carried over."
            .into(),
        figures: each([drift.figure(), explained.figure()].into_iter())?,
        missing: "Not measured: profile robust measures it, where there is noise.",
    })
}

pub(super) fn gamma(groups: &[Group]) -> Result<Section> {
    let lines = Lines {
        label: "Gamma of the last solve of each task",
        unit: "gamma",
        across: "task",
        within: (0.0, f64::MAX),
        log: true,
        say: digits,
        lines: over_tasks(groups, |results, t| results.measured.gamma.get(t).copied().filter(|gamma| *gamma > 0.0)),
    };
    Ok(Section {
        id: "gamma",
        title: "Gamma",
        lead: "The ridge of the last solve of each task, as it was set or chosen.".into(),
        figures: lines.figure()?.into_iter().collect(),
        missing: "These runs solve for no classifier.",
    })
}
