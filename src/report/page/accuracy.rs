//! How well runs do: accuracy over tasks, the matrix of tasks, forgetting, classes.

use super::bars::{Bars, Row};
use super::confusion::Confusion;
use super::figure::Figure;
use super::heat::{Heat, Panel, Scale};
use super::html::Table;
use super::lines::{Line, Lines};
use super::runs::Group;
use super::say::{percent, tenths};
use super::section::{Section, each};
use super::summary::judged;
use crate::Result;
use crate::report::say::spread;
use crate::report::{Results, Spread};

/// Most classes that have a bar with their name.
const NAMED: usize = 30;

/// Percentages over tasks, one line for each group.
pub(super) fn over_tasks(groups: &[Group], figure: impl Fn(&Results, usize) -> Option<f64>) -> Vec<Line> {
    let line = |(colour, group): (usize, &Group)| Line {
        name: group.name.clone(),
        colour,
        points: (0..group.tasks()).map(|t| group.over(|results| figure(results, t))).collect(),
    };
    groups.iter().enumerate().map(line).collect()
}

pub(super) fn curve(groups: &[Group]) -> Result<Section> {
    let of = |results: &Results, t: usize| results.measured.metrics.accuracy.get(t).map(|a| 100.0 * a);
    let lines = Lines {
        label: "Accuracy over tasks",
        unit: "A_t in percent",
        across: "task",
        within: (0.0, 100.0),
        log: false,
        say: tenths,
        lines: over_tasks(groups, of),
    };
    Ok(Section {
        id: "accuracy",
        title: "Accuracy over tasks",
        lead: "A_t, the accuracy after task t on all classes seen, without being told the task. Lines are means over seeds, \
               bands one standard deviation."
            .into(),
        figures: lines.figure()?.into_iter().collect(),
        missing: "There is no task.",
    })
}

pub(super) fn matrix(groups: &[Group]) -> Result<Section> {
    let values = |group: &Group| -> Vec<Vec<Option<f64>>> {
        let cell = |t: usize, i: usize| {
            group.over(|r| Some(100.0 * r.measured.metrics.matrix.get(t)?.get(i)?)).map(|s| s.mean)
        };
        (0..group.tasks()).map(|t| (0..=t).map(|i| cell(t, i)).collect()).collect()
    };
    let all: Vec<_> = groups.iter().map(values).collect();
    // One scale for all, so that they can be held beside each other.
    let least = all.iter().flatten().flatten().flatten().copied().fold(100.0, f64::min);
    let scale = Scale::even(((least / 10.0).floor() * 10.0).min(90.0), 100.0);
    let figure = |(of, values): (usize, Vec<Vec<Option<f64>>>)| {
        let panels = vec![Panel { name: String::new(), values }];
        let label = "Accuracy after each task on the classes of each task";
        Heat { label, rows: "after task", cols: "on task", panels, scale, say: tenths }.figure(of)
    };
    Ok(Section {
        id: "matrix",
        title: "Matrix of tasks",
        lead:
            "a[t][i] in percent: the accuracy after task t (down) on the classes of task i (across), mean over seeds."
                .into(),
        figures: each(all.into_iter().enumerate().map(figure))?,
        missing: "There is no task.",
    })
}

pub(super) fn forgetting(groups: &[Group]) -> Result<Section> {
    let of = |results: &Results, i: usize| {
        let matrix = &results.measured.metrics.matrix;
        let last = matrix.last()?;
        // Of the last task nothing can be forgotten yet.
        let best = matrix.get(i..).filter(|_| i + 1 < last.len())?.iter().map(|row| row[i]).fold(0.0, f64::max);
        Some(100.0 * (best - last[i]))
    };
    let lines = Lines {
        label: "Forgetting of each task",
        unit: "points of accuracy",
        across: "task",
        within: (0.0, 100.0),
        log: false,
        say: tenths,
        lines: over_tasks(groups, of),
    };
    Ok(Section {
        id: "forgetting",
        title: "Forgetting of each task",
        lead: "By how many points the accuracy on the classes of task i was better at its best than in the end: the maximum of \
               a[t][i] over t, less a[T][i]."
            .into(),
        figures: lines.figure()?.into_iter().collect(),
        missing: "There is one task, of which nothing is forgotten yet.",
    })
}

pub(super) fn confusion(groups: &[Group]) -> Result<Section> {
    Ok(Section {
        id: "confusion",
        title: "Confusion matrix",
        lead: format!(
            "The {} of all runs after the last task, by true class (down) and by what they were taken for (across). The table \
             has the most frequent confusions.",
            judged(groups)
        ),
        figures: each(groups.iter().enumerate().map(|(of, group)| Confusion::of(group).figure(of)))?,
        missing: "There is no class.",
    })
}

pub(super) fn classes(groups: &[Group]) -> Result<Section> {
    Ok(Section {
        id: "classes",
        title: "Accuracy of each class",
        lead: "After the last task, in percent, mean over seeds; in the order in which classes were learned. The colour changes \
               with the task."
            .into(),
        figures: each(groups.iter().enumerate().map(|(of, group)| of_classes(of, group)))?,
        missing: "There is no class.",
    })
}

fn of_classes(of: usize, group: &Group) -> Result<Option<Figure>> {
    let first = group.first();
    let known = first.measured.metrics.per_class.len();
    let accuracy = |class: usize| group.over(|r| *r.measured.metrics.per_class.get(class)?);
    let judged: Vec<(usize, Spread)> = (0..known).filter_map(|class| Some((class, accuracy(class)?))).collect();
    let task = |class: usize| group.task_of(class);
    let mut table = Table::of(&["class", "task", "accuracy"]);
    for &(class, accuracy) in &judged {
        let task = task(class).map_or("–".into(), |task| task.to_string());
        table.rows.push(vec![first.classes[class].clone(), task, spread(accuracy, percent)]);
    }
    let name = |class: usize| match task(class) {
        Some(task) => format!("{} (task {task})", first.classes[class]),
        None => first.classes[class].clone(),
    };
    let rows = judged.iter().map(|&(class, accuracy)| Row {
        name: name(class),
        parts: vec![accuracy.mean],
        colour: task(class).unwrap_or(0) % 2,
        end: spread(accuracy, percent),
    });
    let label = "Accuracy of each class";
    let bars = Bars { label, unit: "", parts: &[], say: percent, most: Some(1.0), rows: rows.collect(), table };
    let figure = if judged.len() <= NAMED { bars.figure()? } else { bars.columns()? };
    Ok(figure.map(|figure| Figure { of: Some(of), ..figure }))
}
