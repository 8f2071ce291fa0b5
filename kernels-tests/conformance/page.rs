//! The page as Markdown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::{Adapter, Kind, Row};

const HEAD: &str = "# Conformance

Written by `make conformance`, which says what it tries and where the drivers come from in `scripts/conformance`. \
Shaders are those of a release build: without bounds checks, by wgpu's own options.
";

pub fn page(rows: &[Row]) -> String {
    let ran = |kind| rows.iter().filter(move |row| row.head.kind == kind && row.head.ran());
    let sections = [
        HEAD.into(),
        executes(&ran(Kind::Executes).collect::<Vec<_>>()),
        errors(&ran(Kind::Executes).collect::<Vec<_>>()),
        compiles(&ran(Kind::Compiles).collect::<Vec<_>>()),
        validates(&ran(Kind::Validates).collect::<Vec<_>>()),
        not_run(rows),
    ];
    sections.join("\n")
}

fn table(title: &str, columns: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = format!("## {title}\n\n");
    text += &line(&columns.iter().map(ToString::to_string).collect::<Vec<_>>());
    text += &line(&vec!["---".into(); columns.len()]);
    rows.into_iter().for_each(|row| text += &line(&row));
    text
}

const CAPS: [&str; 9] = [
    "driver",
    "storage binding MiB",
    "workgroup memory KiB",
    "invocations",
    "storage buffers",
    "subgroup",
    "f16",
    "cooperative matrix",
    "timestamps",
];

fn caps(adapter: Option<&Adapter>) -> Vec<String> {
    let Some(Adapter { name, driver, caps, .. }) = adapter else { return vec!["-".into(); CAPS.len()] };
    let yes = |x: bool| if x { "yes" } else { "no" }.to_string();
    vec![
        format!("{name}, {driver}"),
        (caps.max_binding >> 20).to_string(),
        (caps.workgroup_memory >> 10).to_string(),
        caps.max_invocations.to_string(),
        caps.storage_buffers.to_string(),
        if caps.subgroup.1 == 0 { "none".into() } else { format!("{}..{}", caps.subgroup.0, caps.subgroup.1) },
        yes(caps.f16),
        caps.matrix.map_or("no".into(), |side| format!("{side}x{side}")),
        yes(caps.timestamps),
    ]
}

fn executes(rows: &[&Row]) -> String {
    let columns = [
        &["implementation"],
        &CAPS[..],
        &["cases run", "passed", "failed", "other trials passed", "not run", "seconds", "commit"],
    ]
    .concat();
    let cells = rows.iter().map(|row| {
        let (run, failed) = row.tried();
        let mut missing: BTreeMap<&str, usize> = BTreeMap::new();
        for kernel in row.kernels().into_iter().flat_map(BTreeMap::values) {
            kernel.not_run.iter().for_each(|(why, n)| *missing.entry(why).or_default() += n);
        }
        let all = run + missing.values().sum::<usize>();
        let missing: Vec<_> = missing.iter().map(|(why, n)| format!("{n} {why}")).collect();
        let mut cells = vec![row.head.title.clone()];
        cells.extend(caps(row.adapter()));
        cells.extend([format!("{run} of {all}"), (run - failed).to_string(), failed.to_string()]);
        cells.extend([row.others().to_string(), missing.join(", ")]);
        cells.extend([row.head.seconds.to_string(), row.head.commit.clone()]);
        cells
    });
    let note = "\nOther trials are those of more than a kernel: gradients, golden runs, a short default run of both profiles, statistics, \
                the queue. \"As navi31\" and the like: with the plans of that GPU, as far as the adapter can follow them.\n";
    table("Executing", &columns, cells) + note
}

fn errors(rows: &[&Row]) -> String {
    let kernels: BTreeSet<_> = rows.iter().filter_map(|row| row.kernels()).flat_map(BTreeMap::keys).collect();
    let columns: Vec<_> = ["kernel"].into_iter().chain(rows.iter().map(|row| row.head.title.as_str())).collect();
    let cells = kernels.iter().map(|kernel| {
        let mut cells = vec![kernel.to_string()];
        cells.extend(rows.iter().map(|row| match row.kernels().and_then(|kernels| kernels.get(*kernel)) {
            Some(k) if k.failed > 0 => format!("{} of {} failed", k.failed, k.run),
            Some(k) if k.run > 0 => format!("{:.3} ({})", k.largest_error, k.run),
            _ => "not run".into(),
        }));
        cells
    });
    let title = "Largest error of each kernel, as a share of its bound (and cases run)";
    table(title, &columns, cells)
}

fn compiles(rows: &[&Row]) -> String {
    let columns = [&["GPU"], &CAPS[..], &["pipelines compiled", "failed", "seconds", "commit"]].concat();
    let cells = rows.iter().map(|row| {
        let mut cells = vec![row.head.title.clone()];
        cells.extend(caps(row.adapter()));
        cells.extend([row.sum(|k| k.pipelines.compiled).to_string(), row.tried().1.to_string()]);
        cells.extend([row.head.seconds.to_string(), row.head.commit.clone()]);
        cells
    });
    let mut text = table("Compiling, through wgpu, by drivers of GPUs that were not there", &columns, cells);
    writeln!(text, "\nEvery plan that the tests' examples take on such a device. Nothing of this was executed.")
        .expect("a string takes all");
    text
}

fn validates(rows: &[&Row]) -> String {
    let columns = ["what", "version", "shaders", "failed", "seconds", "commit"];
    let cells = rows.iter().map(|row| {
        let (shaders, failed) = row.tried();
        let head = &row.head;
        let numbers = [shaders.to_string(), failed.to_string(), head.seconds.to_string()];
        [vec![head.title.clone(), head.version.clone()], numbers.to_vec(), vec![head.commit.clone()]].concat()
    });
    table("Emitted and validated", &columns, cells)
}

fn not_run(rows: &[Row]) -> String {
    let missing = rows.iter().filter(|row| !row.head.ran());
    let why = |row: &Row| match row.head.fault.as_str() {
        "" => row.head.reason.clone(),
        fault => format!("FAILED: {fault}"),
    };
    let mut cells: Vec<_> = missing.map(|row| vec![row.head.title.clone(), why(row)]).collect();
    let real = rows.iter().filter(|row| row.head.kind == Kind::Executes && row.head.ran());
    if !real.filter_map(Row::adapter).any(|adapter| adapter.kind != "Cpu") {
        cells.push(vec!["real GPUs".into(), "none was at hand".into()]);
    }
    let never = [
        ("Metal's compiler", "exists on macOS only; MSL is emitted"),
        ("FXC, the older compiler of DX12", "exists on Windows only"),
    ];
    cells.extend(never.map(|(what, why)| vec![what.into(), why.into()]));
    table("Not run", &["what", "why"], cells)
}
