//! What runs take: time and memory by phase, time of each task, kernels.

use super::accuracy::over_tasks;
use super::bars::{Bars, Row};
use super::figure::Figure;
use super::html::{Table, escape};
use super::lines::Lines;
use super::runs::Group;
use super::say::{digits, ms, percent, seconds};
use super::section::{Section, each};
use crate::Result;
use crate::report::profile::{Profile, Row as Kernel};
use crate::report::say::{mib, spread};
use crate::report::{Results, Seconds};

/// Phases, and what is left of the whole.
const PHASES: [&str; 5] = ["analytic passes and solves", "training", "evaluation", "saving", "the rest"];
/// Most groups whose memory is drawn by phase.
const FEW: usize = 3;
/// Most kernels that are drawn.
const DRAWN: usize = 16;

fn phases(s: &Seconds) -> [f64; 5] {
    let known = [s.analytic, s.noise, s.eval, s.save];
    let rest = (s.total - known.iter().sum::<f64>()).max(0.0);
    [known[0], known[1], known[2], known[3], rest]
}

pub(super) fn time(groups: &[Group]) -> Result<Section> {
    let row = |group: &Group| {
        let part = |i: usize| group.over(|r| Some(phases(&r.measured.seconds)[i])).map_or(0.0, |s| s.mean);
        let total = group.over(|r| Some(r.measured.seconds.total));
        let end = total.map_or(String::new(), |s| spread(s, seconds));
        Row { name: group.name.clone(), parts: (0..PHASES.len()).map(part).collect(), colour: 0, end }
    };
    let mut table = Table::of(&["settings", "total"]);
    table.head.extend(PHASES.map(String::from));
    table.head.extend(["compilation", "waiting for images"].map(|name| format!("{name}, within these")));
    for group in groups {
        let said = |figure: &dyn Fn(&Seconds) -> f64| {
            group.over(|r| Some(figure(&r.measured.seconds))).map_or(String::new(), |s| spread(s, seconds))
        };
        let mut cells = vec![group.name.clone(), said(&|s| s.total)];
        cells.extend((0..PHASES.len()).map(|i| said(&|s| phases(s)[i])));
        cells.extend([said(&|s| s.compile), said(&|s| s.data)]);
        table.rows.push(cells);
    }
    let bars = Bars {
        label: "Time by phase",
        unit: "seconds, mean over seeds",
        parts: &PHASES,
        say: seconds,
        most: None,
        rows: groups.iter().map(row).collect(),
        table,
    };
    Ok(Section {
        id: "time",
        title: "Time by phase",
        lead: "Seconds of whole runs, by what they were spent on.".into(),
        figures: bars.figure()?.into_iter().collect(),
        missing: "Not recorded.",
    })
}

pub(super) fn tasks(groups: &[Group]) -> Result<Section> {
    let lines = Lines {
        label: "Time of each task",
        unit: "seconds",
        across: "task",
        within: (0.0, f64::MAX),
        log: false,
        say: digits,
        lines: over_tasks(groups, |results, t| results.measured.seconds_per_task.get(t).copied()),
    };
    Ok(Section {
        id: "tasks",
        title: "Time of each task",
        lead: "Seconds of learning a task and of judging after it.".into(),
        figures: lines.figure()?.into_iter().collect(),
        missing: "Not recorded.",
    })
}

pub(super) fn memory(groups: &[Group]) -> Result<Section> {
    type Bytes = fn(&Results) -> Option<u64>;
    let kinds: [(&str, Bytes); 6] = [
        ("planned", |r| Some(r.memory.planned_bytes)),
        ("analytic passes and solves", |r| Some(r.measured.peak_by_phase.analytic)),
        ("training", |r| Some(r.measured.peak_by_phase.noise)),
        ("evaluation", |r| Some(r.measured.peak_by_phase.eval)),
        ("the device, with what it keeps free", |r| Some(r.measured.peak_device_bytes)),
        ("the process, in the host's memory", |r| r.measured.peak_host_bytes),
    ];
    let bytes = |group: &Group, of: Bytes| group.over(|r| of(r).filter(|n| *n > 0).map(|n| n as f64));
    let mut table = Table::of(&["settings"]);
    table.head.extend(kinds.map(|(name, _)| name.to_string()));
    let mut rows = Vec::new();
    for group in groups {
        let said = kinds.map(|(_, of)| bytes(group, of).map_or("–".into(), |s| spread(s, mib)));
        table.rows.push(std::iter::once(group.name.clone()).chain(said).collect());
        for (i, (kind, of)) in kinds.into_iter().enumerate() {
            let drawn = if groups.len() <= FEW { i > 0 } else { i == 4 };
            let Some(spread) = bytes(group, of).filter(|_| drawn) else { continue };
            let name = match groups.len() {
                1 => kind.to_string(),
                n if n <= FEW => format!("{}: {kind}", group.name),
                _ => group.name.clone(),
            };
            rows.push(Row {
                name,
                parts: vec![spread.mean],
                colour: i.saturating_sub(1),
                end: format!("{} MiB", mib(spread.mean)),
            });
        }
    }
    let bars = Bars { label: "Memory by phase", unit: "", parts: &[], say: mib, most: None, rows, table };
    Ok(Section {
        id: "memory",
        title: "Memory by phase",
        lead: "The most bytes that tensors took on the device in each phase; with what the device keeps free for the next; and \
               the most that the process took of the host."
            .into(),
        figures: bars.figure()?.into_iter().collect(),
        missing: "Not recorded.",
    })
}

fn profile(group: &Group) -> Option<&Profile> {
    group.runs.iter().find_map(|run| run.profile.as_ref())
}

/// The profiles of the first run of each group that has one; nothing where none has.
pub(super) fn kernels(groups: &[Group]) -> Result<Option<Section>> {
    let figures = groups.iter().enumerate().map(|(of, group)| match profile(group) {
        Some(profile) => profiled(of, profile),
        None => Ok(None),
    });
    let figures = each(figures)?;
    let profiles = groups.iter().filter_map(profile);
    let of = profiles.map(|p| escape(&format!("{} on {}, {} a step", p.what, p.device, spread(p.wall(), ms))));
    let lead = format!(
        "Time of each kernel in a step, as minoise profile measured it ({}).",
        of.collect::<Vec<_>>().join("; ")
    );
    let section = Section { id: "kernels", title: "Kernels", lead, figures, missing: "" };
    Ok(Some(section).filter(|section| !section.figures.is_empty()))
}

fn profiled(of: usize, profile: &Profile) -> Result<Option<Figure>> {
    let mean = |kernel: &Kernel| kernel.spread().mean;
    let all = profile.kernels.iter().map(mean).sum::<f64>().max(f64::MIN_POSITIVE);
    let share = |kernel: &Kernel| percent(mean(kernel) / all);
    let rate = |kernel: &Kernel, amount: f64| match amount > 0.0 && mean(kernel) > 0.0 {
        true => digits(amount * 1e-9 / mean(kernel)),
        false => "–".into(),
    };
    let mut table = Table::of(&["kernel", "calls", "time", "share", "GFLOP/s", "GB/s"]);
    let cells = |k: &Kernel| {
        let [gflops, gbytes] = [k.flops, k.bytes()].map(|amount| rate(k, amount));
        vec![k.name.clone(), digits(k.calls), spread(k.spread(), ms), share(k), gflops, gbytes]
    };
    table.rows = profile.kernels.iter().map(cells).collect();
    let row = |k: &Kernel| Row {
        name: format!("{}, {} calls", k.name, digits(k.calls)),
        parts: vec![mean(k)],
        colour: 0,
        end: format!("{}, {}", ms(mean(k)), share(k)),
    };
    let rows = profile.kernels.iter().take(DRAWN).map(row).collect();
    let unit = "time of a step";
    let bars = Bars { label: "Time of kernels", unit, parts: &[], say: ms, most: None, rows, table };
    Ok(bars.figure()?.map(|figure| Figure { of: Some(of), ..figure }))
}
