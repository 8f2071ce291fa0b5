//! The runs of a report: read, checked, and gathered into groups that differ by their seeds alone.

use std::path::{Path, PathBuf};

use super::settings::{Settings, differing};
use crate::config::{self, Method, word};
use crate::report::picture::plain;
use crate::report::profile::{self, Profile};
use crate::report::{Noise, RESULTS_FILE, Results, Seconds, Spread};
use crate::{Error, Result};

/// No amount is as large.
const MOST: f64 = 1e15;
/// No backbone has more blocks.
const BLOCKS: usize = 1024;

/// One run.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub dir: PathBuf,
    pub results: Results,
    pub profile: Option<Profile>,
}

impl Run {
    /// Reads the results in a directory, and the profile if there is one.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Store`] where a file is damaged.
    pub fn read(dir: &Path) -> Result<Self> {
        let results = Results::read(dir)?;
        check(&results).map_err(|what| Error::Store {
            file: dir.join(RESULTS_FILE).display().to_string(),
            message: format!("its `{what}` is impossible, or does not fit the rest of it"),
        })?;
        let path = dir.join(profile::FILE);
        let there = path.try_exists().map_err(|e| Error::io("read", &path, &e))?;
        Ok(Self { dir: dir.into(), results, profile: there.then(|| Profile::read(&path)).transpose()? })
    }

    /// Where its results are.
    pub fn file(&self) -> PathBuf {
        self.dir.join(RESULTS_FILE)
    }
}

/// The first field of results that contradicts others.
fn check(results: &Results) -> std::result::Result<(), &'static str> {
    let measured = &results.measured;
    let metrics = &measured.metrics;
    let (tasks, seen) = (metrics.accuracy.len(), metrics.per_class.len());
    let sizes = results.task_classes.iter().try_fold(results.known, |sum, &n| sum.checked_add(n));
    let share = |x: &f64| (0.0..=1.0).contains(x);
    let amount = |x: &f64| (0.0..MOST).contains(x);
    let mut layers = measured.noise.iter().flatten();
    let blocks = layers.clone().next().map_or(0, |first| first.changes.len());
    let finite = |n: &Noise| n.mixture.iter().flatten().chain(&n.changes).all(|x| x.is_finite());
    let whole = |n: &Noise| n.mixture.len() <= blocks && n.changes.len() == blocks && finite(n);
    let Seconds { total, analytic, noise, eval, compile, data, save } = measured.seconds;
    let seconds = [total, analytic, noise, eval, compile, data, save];
    let mut moved = measured.moved.iter().flatten();
    let fits = [
        ("config", Settings::of(&results.config).is_ok()),
        ("accuracy", tasks > 0 && metrics.accuracy.iter().all(share)),
        ("matrix", metrics.matrix.iter().map(Vec::len).eq(1..=tasks) && metrics.matrix.iter().flatten().all(share)),
        ("per_class", (1..=results.classes.len()).contains(&seen) && metrics.per_class.iter().flatten().all(share)),
        ("confusion", metrics.confusion.len() == seen && metrics.confusion.iter().all(|row| row.len() == seen)),
        ("task_classes", results.task_classes.is_empty() || sizes == Some(results.classes.len())),
        ("noise", measured.noise.len() <= tasks && blocks <= BLOCKS && layers.all(whole)),
        ("gamma", measured.gamma.iter().all(amount)),
        ("moved", moved.all(|m| amount(&m.drift) && m.explained.is_none_or(|x| x.abs() < MOST))),
        ("seconds", seconds.iter().all(amount)),
        ("seconds_per_task", measured.seconds_per_task.iter().all(amount)),
    ];
    fits.iter().find(|(_, fits)| !fits).map_or(Ok(()), |(what, _)| Err(*what))
}

/// Runs that differ by their seeds alone, in their order.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub name: String,
    pub runs: Vec<Run>,
}

impl Group {
    /// Groups in the order in which their first runs were given.
    ///
    /// # Errors
    /// [`Error::Config`] where two runs are one.
    pub fn all(runs: Vec<Run>) -> Result<Vec<Self>> {
        let mut groups: Vec<Self> = Vec::new();
        for run in runs {
            match groups.iter_mut().find(|group| alike(group.first(), &run.results)) {
                None => groups.push(Self { name: String::new(), runs: vec![run] }),
                Some(group) => {
                    if let Some(other) = group.runs.iter().find(|other| other.results.seed == run.results.seed) {
                        return Err(Error::Config(format!(
                            "`seed` = {}: {} and {} hold the same run; leave one of them out",
                            run.results.seed,
                            other.dir.display(),
                            run.dir.display()
                        )));
                    }
                    group.runs.push(run);
                }
            }
        }
        groups.iter_mut().for_each(|group| group.runs.sort_by_key(|run| run.results.seed));
        let names = names(&groups)?;
        groups.iter_mut().zip(names).for_each(|(group, name)| group.name = plain(&name));
        Ok(groups)
    }

    /// The results of the first seed.
    pub fn first(&self) -> &Results {
        &self.runs[0].results
    }

    /// A figure over those runs that have it.
    pub fn over(&self, figure: impl Fn(&Results) -> Option<f64>) -> Option<Spread> {
        let values: Vec<f64> = self.runs.iter().filter_map(|run| figure(&run.results)).collect();
        (!values.is_empty()).then(|| Spread::of(&values))
    }

    /// The most tasks that a run has learned.
    pub fn tasks(&self) -> usize {
        self.runs.iter().map(|run| run.results.measured.metrics.accuracy.len()).max().unwrap_or(0)
    }

    /// The task that a class came with, where that is known.
    pub fn task_of(&self, class: usize) -> Option<usize> {
        let first = self.first();
        let class = class.checked_sub(first.known)?;
        let ends = first.task_classes.iter().scan(0, |sum, &n| {
            *sum += n;
            Some(*sum)
        });
        ends.into_iter().position(|end| class < end)
    }

    /// Whether a run has not learned all its classes.
    pub fn unfinished(&self) -> bool {
        let over = |run: &Run| run.results.measured.metrics.per_class.len() == run.results.classes.len();
        !self.runs.iter().all(over)
    }
}

/// Whether two runs differ by their seeds alone.
fn alike(a: &Results, b: &Results) -> bool {
    let mut config = b.config.clone();
    config.seed = a.config.seed;
    a.config == config
        && (&a.data, &a.backbone, &a.device) == (&b.data, &b.backbone, &b.device)
        && (&a.classes, a.known, &a.task_classes) == (&b.classes, b.known, &b.task_classes)
}

/// What the settings of a run are called: its profile, its method, or the floor, which is `paper` without noise.
pub(super) fn kind(results: &Results) -> String {
    match results.method {
        Method::Min if results.config.noise => word(results.profile),
        Method::Min if results.profile == config::Profile::Paper => "floor".into(),
        Method::Min => format!("{}, noise=false", word(results.profile)),
        method => word(method),
    }
}

/// Names that tell groups apart: what they are, and the settings in which those of one kind differ.
fn names(groups: &[Group]) -> Result<Vec<String>> {
    let kinds: Vec<String> = groups.iter().map(|group| kind(group.first())).collect();
    let settings = groups.iter().map(|group| Settings::of(&group.first().config)).collect::<Result<Vec<_>>>()?;
    let mut names = Vec::new();
    for (i, group) in groups.iter().enumerate() {
        let same = || (0..groups.len()).filter(|&j| kinds[j] == kinds[i]);
        let mut parts = vec![kinds[i].clone()];
        for key in differing(&same().map(|j| &settings[j]).collect::<Vec<_>>()) {
            parts.push(format!("{key}={}", settings[i].value(&key)));
        }
        if same().any(|j| groups[j].first().device != group.first().device) {
            parts.push(format!("on {}", group.first().device));
        }
        let mut name = parts.join(", ");
        // The same settings on other data of that name, or on other weights.
        if names.contains(&name) {
            name += &format!(" ({})", group.runs[0].dir.display());
        }
        names.push(name);
    }
    Ok(names)
}
