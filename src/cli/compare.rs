//! `minoise compare`, and what `minoise ablate` shares with it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use pollster::block_on;

use super::drive::{INTERRUPTED, Interrupt, Keep, Now, Steps};
use super::progress::{Bar, Progress};
use super::run::open;
use super::settings::SettingsArgs;
use super::{line, one_line};
use crate::config::Config;
use crate::data::{self, Dataset, Settings};
use crate::protocol::{self, FLOOR, Found, Metrics, Plan, Planned, Session, Watch};
use crate::report::{Choice, Comparison, Known, Results, Row, Run, Size, Trial, quoted};
use crate::{Error, Result};

/// What comparisons have in common; every row takes the settings that it understands.
#[derive(Debug, clap::Args)]
pub(super) struct ComparedArgs {
    /// Runs of every row: those of the seeds 0 to N-1.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Directory for all runs and comparison.json, .md and .csv; what is there of the same runs is gone on with.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingsArgs,
    /// auto, cpu, gpu, or words of an adapter's backend, name and driver.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct CompareArgs {
    /// The methods, such as floor,paper,robust; differences are to `floor`, if it is among them.
    #[arg(long, value_name = "A,B,...", required = true, value_delimiter = ',')]
    methods: Vec<String>,
    /// Learning rates tried for each method that has one, on training images held out: 0, or 3 (a third, one and three times
    /// the one that there is). One at which training diverges is never chosen.
    #[arg(long, value_name = "N", default_value = "0", value_parser = trials)]
    trials: usize,
    #[command(flatten)]
    shared: ComparedArgs,
}

/// Time between two saves within a step of a task.
const SAVE_EVERY: Duration = Duration::from_secs(300);

/// Reads a number of trials.
pub(super) fn trials(text: &str) -> Result<usize, String> {
    match text {
        "0" => Ok(0),
        "3" => Ok(3),
        _ => Err("0 or 3 is needed".into()),
    }
}

pub(super) fn compare(args: CompareArgs) -> Result<ExitCode> {
    let rows = protocol::methods(&args.methods)?;
    compared(&rows, &args.shared, args.trials > 0)
}

/// Runs all rows with all seeds, and tells what came of them.
pub(super) fn compared(wanted: &[protocol::Row], args: &ComparedArgs, trials: bool) -> Result<ExitCode> {
    let plan = Plan::new(wanted, args.settings.config.as_deref(), &args.settings.sets()?)?;
    if trials {
        plan.rows.iter().try_for_each(|row| row.rates().map(drop))?;
    }
    args.out.as_deref().map_or(Ok(()), Comparison::check_writable)?;
    plan.notes.iter().for_each(|note| eprintln!("note: {}", one_line(note)));
    let mut runner = Runner {
        device: args.device.as_deref(),
        out: args.out.as_deref(),
        interrupt: Interrupt::listen()?,
        loaded: None,
        told: HashSet::new(),
        seen: None,
    };
    let mut rows = Vec::new();
    for planned in &plan.rows {
        match runner.row(planned, args.seeds, trials)? {
            Some(row) => rows.push(row),
            None => return Ok(runner.stopped()),
        }
    }
    let Some(Seen { devices, data, backbone, held_out }) = runner.seen else { return Ok(ExitCode::SUCCESS) };
    let lost = rows.iter().any(|row| row.lost.is_some());
    let version = env!("CARGO_PKG_VERSION").into();
    let comparison =
        Comparison { version, command: command(), devices, data, backbone, held_out, baseline: None, rows };
    let comparison = comparison.against(FLOOR);
    if let Some(dir) = &args.out {
        comparison.write(dir)?;
    }
    line(&comparison.markdown())?;
    Ok(if lost { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// Whether numbers went astray, which they need not do with another rate or method.
fn has_no_result(error: &Error) -> bool {
    matches!(error, Error::Diverged { .. } | Error::NotPositiveDefinite { .. } | Error::IllConditioned { .. })
}

/// What this program was called with, for a shell.
pub(super) fn command() -> String {
    let args = std::env::args_os().skip(1).map(|arg| quoted(&arg.to_string_lossy()));
    one_line(&std::iter::once("minoise".into()).chain(args).collect::<Vec<_>>().join(" "))
}

/// What the runs of a comparison are on.
struct Seen {
    devices: Vec<String>,
    data: Known,
    backbone: Known,
    held_out: bool,
}

/// Data as settings name them.
struct Loaded {
    data: String,
    images: Settings,
    dataset: Dataset,
    hash: String,
}

/// Takes runs to their ends, one after the other.
struct Runner<'a> {
    device: Option<&'a str>,
    out: Option<&'a Path>,
    interrupt: Interrupt,
    /// The data of the last run.
    loaded: Option<Loaded>,
    /// Notes that the user has read.
    told: HashSet<String>,
    seen: Option<Seen>,
}

/// What became of a run.
enum Ran {
    Whole(Box<Results>, Size),
    /// It has no result: where it was, and why.
    Lost(Box<Results>, String),
    Interrupted,
}

/// Moves its bar with every task.
struct Tasks(Bar);

impl Watch for Tasks {
    fn task(&mut self, _: &Metrics, _: &[u32], _: f64) {
        self.0.inc(1);
    }
}

impl Runner<'_> {
    /// All runs of a row; nothing where one was interrupted.
    fn row(&mut self, planned: &Planned, seeds: u64, trials: bool) -> Result<Option<Row>> {
        let mut choice = None;
        if trials && let Some((key, rates)) = planned.rates()? {
            let mut tried = Vec::new();
            for (i, value) in rates.into_iter().enumerate() {
                let config = planned.trial(key, value)?;
                let (a_last, a_avg) = match self.run(planned.row.name, &format!("trial-{i}"), &config)? {
                    Ran::Whole(results, _) => {
                        (Some(results.measured.metrics.a_last), Some(results.measured.metrics.a_avg))
                    }
                    Ran::Lost(..) => (None, None),
                    Ran::Interrupted => return Ok(None),
                };
                tried.push(Trial { value, a_last, a_avg });
            }
            choice = Choice::among(key, tried);
        }
        let (mut runs, mut lost, mut chosen) = (Vec::new(), None, Vec::new());
        match &choice {
            Some(Choice { setting, value: Some(value), .. }) => chosen.push(protocol::setting(setting, *value)),
            Some(_) => {
                lost = Some("all trials".into());
                let config = planned.config(0, &[])?;
                let (dataset, _) = self.data(&config)?;
                self.see(&Session::new(&config, &open(self.device, &config)?, &dataset)?.results())?;
            }
            None => {}
        }
        // A mean over fewer seeds than the others have would be no mean of the same.
        for seed in 0..seeds {
            if lost.is_some() {
                break;
            }
            let config = planned.config(seed, &chosen)?;
            match self.run(planned.row.name, &format!("seed-{seed}"), &config)? {
                Ran::Whole(results, size) => {
                    self.see(&results)?;
                    runs.push(Run::of(&results, size));
                }
                Ran::Lost(results, why) => {
                    self.see(&results)?;
                    lost = Some(format!("seed {seed}: {why}"));
                }
                Ran::Interrupted => return Ok(None),
            }
        }
        let (settings, left_out) = (planned.settings.clone(), planned.left_out.clone());
        Ok(Some(Row::new(planned.row.name, settings, left_out, choice, runs, lost)))
    }

    /// Takes one run to its end, or finds that it is there already.
    fn run(&mut self, name: &str, part: &str, config: &Config) -> Result<Ran> {
        let (dataset, hash) = self.data(config)?;
        let label = format!("{name}, {}", part.replace('-', " "));
        let dir = self.out.map(|out| out.join(name).join(part));
        let found = dir.as_deref().map_or(Ok(Found::Nothing), |dir| protocol::found(dir, config, &hash))?;
        let mut session = match (found, &dir) {
            (Found::Finished(results, size), _) => {
                Progress::new().bar(&label, 1).finish("read, as it was done before");
                return Ok(Ran::Whole(results, size));
            }
            // A device of its own, so that its memory is what this run took.
            (Found::Begun, Some(dir)) => block_on(Session::resume(dir, &open(self.device, config)?, &dataset))?,
            _ => Session::new(config, &open(self.device, config)?, &dataset)?,
        };
        for note in session.notes() {
            if self.told.insert(note.clone()) {
                eprintln!("note: {}", one_line(note));
            }
        }
        let (tasks, done) = session.tasks();
        let mut watch = Tasks(Progress::new().bar(&label, tasks as u64));
        watch.0.inc(done as u64);
        let keep = dir.as_deref().map(|dir| Keep { dir, every: SAVE_EVERY });
        let mut steps = Steps::new(keep.as_ref(), &self.interrupt);
        loop {
            match steps.go_on(&mut session, &mut watch) {
                Ok(Now::Further) => {}
                Ok(Now::Over) => break,
                Ok(Now::Stopped) => return Ok(Ran::Interrupted),
                Err(error) if has_no_result(&error) => {
                    let why = one_line(&error.to_string());
                    watch.0.finish(&format!("lost: {why}"));
                    return Ok(Ran::Lost(Box::new(session.results()), why));
                }
                Err(error) => return Err(error),
            }
        }
        let results = session.results();
        let size = match &dir {
            Some(dir) => {
                let size = session.size(dir)?;
                size.write(dir)?;
                size
            }
            None => {
                let scratch = tempfile::tempdir().map_err(|e| Error::io("create", std::env::temp_dir(), &e))?;
                block_on(session.save(scratch.path()))?;
                session.size(scratch.path())?
            }
        };
        let (metrics, seconds) = (&results.measured.metrics, results.measured.seconds.total);
        let [a_last, a_avg] = [metrics.a_last, metrics.a_avg].map(|share| 100.0 * share);
        watch.0.finish(&format!("A_last {a_last:.2} %, A_avg {a_avg:.2} %, {seconds:.1} s"));
        Ok(Ran::Whole(Box::new(results), size))
    }

    /// The data of a run, and their hash.
    fn data(&mut self, config: &Config) -> Result<(Dataset, String)> {
        let same = |loaded: &Loaded| loaded.data == config.data && loaded.images == config.images;
        let loaded = match self.loaded.take().filter(same) {
            Some(loaded) => loaded,
            None => {
                let dataset = data::load(&config.data, &config.images)?;
                let hash = dataset.fingerprint()?;
                Loaded { data: config.data.clone(), images: config.images.clone(), dataset, hash }
            }
        };
        let loaded = self.loaded.insert(loaded);
        Ok((loaded.dataset.clone(), loaded.hash.clone()))
    }

    /// Notes what a run was on; all of a table are on the same data and backbone.
    fn see(&mut self, results: &Results) -> Result<()> {
        let (data, weights, device) = (&results.config.data, &results.config.weights, &results.device);
        let seen = self.seen.get_or_insert_with(|| Seen {
            devices: Vec::new(),
            data: Known { name: data.clone(), hash: results.data.clone() },
            backbone: Known { name: weights.clone(), hash: results.backbone.clone() },
            held_out: results.config.images.holdout > 0.0,
        });
        for (key, name, [first, this]) in [
            ("data", data, [&seen.data.hash, &results.data]),
            ("weights", weights, [&seen.backbone.hash, &results.backbone]),
        ] {
            if first != this {
                return Err(Error::Config(format!(
                    "`{key}` = {name}: not all runs are on the same; choose another --out"
                )));
            }
        }
        if !seen.devices.contains(device) {
            seen.devices.push(device.clone());
        }
        Ok(())
    }

    /// Says how to go on.
    fn stopped(&self) -> ExitCode {
        match self.out {
            Some(_) => eprintln!("stopped and saved; the same command goes on from there"),
            None => eprintln!("stopped; nothing is saved without --out DIR"),
        }
        ExitCode::from(INTERRUPTED)
    }
}
