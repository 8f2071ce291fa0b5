//! What runs came to in one table, and how to have them again.

use std::fmt::Write as _;

use super::html::{Table, escape};
use super::runs::Group;
use super::say::tenths;
use super::settings::{Settings, changed, command};
use crate::Result;
use crate::report::Results;
use crate::report::say::{hundredths, spread};

/// Letters of a hash that are told.
const HASH: usize = 16;

/// The figures that runs are judged by.
pub(super) fn table(groups: &[Group]) -> Table {
    let percents = ["A_last", "A_avg", "forgetting", "BWT"].map(|name| format!("{name}, %"));
    let mut table = Table::of(&["settings", "seeds"]);
    table.head.extend(percents);
    table.head.extend(["time, s", "peak of the device, MiB"].map(String::from));
    for group in groups {
        let said = |say: fn(f64) -> String, figure: fn(&Results) -> f64| {
            group.over(|r| Some(figure(r))).map_or("–".into(), |s| spread(s, say))
        };
        let seeds: Vec<String> = group.runs.iter().map(|run| run.results.seed.to_string()).collect();
        let unfinished = if group.unfinished() { " (not finished)" } else { "" };
        table.rows.push(vec![
            format!("{}{unfinished}", group.name),
            seeds.join(", "),
            said(hundredths, |r| r.measured.metrics.a_last),
            said(hundredths, |r| r.measured.metrics.a_avg),
            said(hundredths, |r| r.measured.metrics.forgetting),
            said(hundredths, |r| r.measured.metrics.bwt),
            said(tenths, |r| r.measured.seconds.total),
            said(tenths, |r| r.measured.peak_device_bytes as f64 / f64::from(1 << 20)),
        ]);
    }
    table
}

/// Whether a run was judged by images held out of training, to choose by.
fn held_out(results: &Results) -> bool {
    results.config.images.holdout > 0.0
}

/// What the runs of a page were judged by.
pub(super) fn judged(groups: &[Group]) -> &'static str {
    let mut all = groups.iter().map(|group| held_out(group.first()));
    match (all.clone().any(|out| out), all.all(|out| out)) {
        (true, true) => "held-out training images",
        (true, false) => "test images or held-out training images",
        (false, _) => "test images",
    }
}

/// What the runs of a page are on, in a line: data, backbone, device.
pub(super) fn subject(groups: &[Group]) -> String {
    let all = |of: &dyn Fn(&Results) -> String| {
        let mut all: Vec<String> = Vec::new();
        for told in groups.iter().map(|group| of(group.first())) {
            if !all.contains(&told) {
                all.push(told);
            }
        }
        all.join("; ")
    };
    let data = |r: &Results| match held_out(r) {
        true => format!("{}, judged by held-out training images", r.config.data),
        false => r.config.data.clone(),
    };
    let [data, weights, device] = [all(&data), all(&|r| r.config.weights.clone()), all(&|r| r.device.clone())];
    format!("Data: {data}. Backbone: {weights}. Device: {device}.")
}

/// Device, settings and commands of every group.
///
/// # Errors
/// [`crate::Error::Config`] where settings cannot be written.
pub(super) fn repeated(groups: &[Group]) -> Result<String> {
    let mut out = "<section id=\"settings\" aria-labelledby=\"settings-title\">\n\
                   <h2 id=\"settings-title\">Settings, and how to have it again</h2>\n"
        .to_string();
    for group in groups {
        let first = group.first();
        let short = |hash: &str| hash.chars().take(HASH).collect::<String>();
        let facts = [
            ("device", format!("{}{}", first.device, if first.tuned { ", tuned" } else { "" })),
            ("data", format!("{} ({})", first.config.data, short(&first.data))),
            ("backbone", format!("{} ({})", first.config.weights, short(&first.backbone))),
            ("classes", format!("{}, of which {} were known before", first.classes.len(), first.known)),
            ("version", first.version.clone()),
        ];
        let _ = writeln!(out, "<h3>{}</h3>\n<dl>", escape(&group.name));
        for (name, value) in facts {
            let _ = writeln!(out, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
        }
        let changed = match changed(&first.config)? {
            sets if sets.is_empty() => "none".into(),
            sets => sets.iter().map(|set| format!("<code>{}</code>", escape(set))).collect::<Vec<_>>().join(" "),
        };
        let _ = writeln!(out, "<dt>settings that are not the default</dt><dd>{changed}</dd></dl>");
        let mut commands = Vec::new();
        for run in &group.runs {
            commands.extend(command(&run.results)?);
        }
        if commands.is_empty() {
            out += "<p>These runs taught a model further classes (minoise add), which results do not name.</p>\n";
        } else {
            let commands = commands.iter().map(|command| escape(command)).collect::<Vec<_>>().join("\n");
            let label = escape(&format!("Commands of {}", group.name));
            let pre = format!("<pre tabindex=\"0\" role=\"region\" aria-label=\"{label}\">");
            let _ = writeln!(out, "{pre}<code>{commands}</code></pre>");
        }
        let mut all = Table::of(&["setting", "value"]);
        all.rows = Settings::of(&first.config)?.iter().map(|(k, v)| vec![k.to_string(), v.to_string()]).collect();
        let label = format!("All settings of {}", group.name);
        let _ = writeln!(out, "<details><summary>All settings</summary>{}</details>", all.html(&label));
    }
    Ok(out + "</section>\n")
}
