//! Excerpts of a run, to be measured: its last task, behind earlier ones that are learned from a few images each.

use crate::config::{Config, Method};
use crate::data::Dataset;
use crate::device::Device;
use crate::host::Instant;
use crate::method::{Over, Phase, Samples, Task, predict};
use crate::protocol::Session;
use crate::protocol::watch::{Meter, Pass, UnderWay, Unwatched, Watch};
use crate::store::Tree;
use crate::{Error, Result};

/// Images of a class that earlier tasks are learned from. What is learned decides nothing about what it costs.
const FEW: usize = 2;

/// Which excerpt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excerpt {
    /// A training step on a whole batch.
    TrainStep,
    /// What a task takes beside its training steps: passes over all its images, statistics, solutions.
    Analytic,
    /// Classes of a batch of images, judged among all classes.
    Inference,
}

/// An excerpt that can be carried out again and again.
#[derive(Debug)]
pub struct Excerpted {
    session: Session,
    what: Excerpt,
    task: Task,
    judged: Samples,
    /// What is learned before the task, where that is learned anew every time.
    before: Option<Tree>,
}

impl Excerpted {
    /// Learns in short what comes before, and carries the excerpt out once, so that all pipelines are compiled; it can then be
    /// carried out `times` times. `watch` hears of every task.
    ///
    /// # Errors
    /// Those of [`Session::new`]; [`Error::Config`] where the method has no such part; device errors.
    pub async fn new(
        (config, device, dataset): (&Config, &Device, &Dataset),
        what: Excerpt,
        times: usize,
        watch: &mut dyn Watch,
    ) -> Result<Self> {
        let mut session = Session::new(config, device, dataset)?;
        let tasks = session.tasks.count();
        let (what_first, start) = ("tasks in short", Instant::now());
        watch.begin(tasks - 1, what_first, tasks);
        for t in 0..tasks - 1 {
            session.task = t;
            let task = few(&session);
            learn(&mut session, task).await?;
            watch.advance(1);
        }
        session.task = tasks - 1;
        let task = match what {
            Excerpt::TrainStep => training(&session, times + 2),
            Excerpt::Analytic if config.method == Method::Min => Task { schedule: Vec::new(), ..session.current() },
            Excerpt::Analytic => session.current(),
            Excerpt::Inference => few(&session),
        };
        let seen = session.tasks.seen_images(dataset.judged(), tasks - 1);
        let images = seen.into_iter().take(session.learner.fit_batch()).collect();
        let loader = session.feed.plain(dataset.judged().clone());
        let judged = session.feed.samples(&loader, images, |label| session.tasks.new_label(label));
        session.learner.prewarm(&task)?;
        let before = if what == Excerpt::Analytic { Some(session.learner.state().await?) } else { None };
        let mut excerpt = Self { session, what, task, judged, before };
        match what {
            Excerpt::TrainStep => {
                excerpt.session.learner.begin(excerpt.task.clone())?;
                loop {
                    match step(&mut excerpt.session).await? {
                        (Phase::Noise, _) => break,
                        (_, true) => return excerpt.none("training step to profile"),
                        _ => {}
                    }
                }
            }
            Excerpt::Analytic => {}
            Excerpt::Inference => learn(&mut excerpt.session, excerpt.task.clone()).await?,
        }
        excerpt.ready().await?;
        excerpt.go().await?;
        excerpt.session.device.finish().await?;
        watch.advance(1);
        let seconds = start.elapsed().as_secs_f64();
        watch.end(&Pass { task: tasks - 1, what: what_first, items: tasks, loss: None, seconds });
        Ok(excerpt)
    }

    /// Images that go through in one go.
    pub fn images(&self) -> usize {
        match self.what {
            Excerpt::TrainStep => self.task.schedule.first().map_or(0, Vec::len),
            Excerpt::Analytic => self.task.samples.len(),
            Excerpt::Inference => self.judged.len(),
        }
    }

    /// What must be done before every time, and does not count.
    ///
    /// # Errors
    /// Device errors.
    pub async fn ready(&mut self) -> Result<()> {
        let Some(before) = &self.before else { return Ok(()) };
        self.session.learner.restore(before.clone(), None).await?;
        self.session.learner.begin(self.task.clone())
    }

    fn none<T>(&self, what: &str) -> Result<T> {
        let method = self.session.config.method;
        Err(Error::Config(format!("`method` = {method:?}: with these settings the last task has no {what}")))
    }

    /// Carries it out, on a device that may still be at work when this is over.
    ///
    /// # Errors
    /// [`Error::Config`] where the method has no such part; device errors.
    pub async fn go(&mut self) -> Result<()> {
        let min = self.session.config.method == Method::Min;
        match self.what {
            Excerpt::TrainStep => match step(&mut self.session).await? {
                (Phase::Noise, _) => Ok(()),
                _ => self.none("training step to profile"),
            },
            Excerpt::Analytic => loop {
                match step(&mut self.session).await? {
                    (Phase::Noise, _) if !min => return self.none("analytic part to profile: all of it is training"),
                    (_, true) => return Ok(()),
                    _ => {}
                }
            },
            Excerpt::Inference => predict(self.session.learner.as_ref(), &self.judged).await.map(drop),
        }
    }
}

/// A step of the learner: its phase, and whether the task is over.
async fn step(session: &mut Session) -> Result<(Phase, bool)> {
    let mut pass = UnderWay::nothing();
    let step = session.learner.step(&mut Meter::new(&mut Unwatched, session.task, &mut pass)).await?;
    Ok((step.phase, step.over == Over::Task))
}

async fn learn(session: &mut Session, task: Task) -> Result<()> {
    session.learner.begin(task)?;
    while !step(session).await?.1 {}
    Ok(())
}

/// The task that a session is at, with the first images of every class alone, all of them in every batch.
fn few(session: &Session) -> Task {
    let task = session.current();
    let mut count = vec![0; task.classes];
    let mut first = |label: u32| {
        count[label as usize] += 1;
        count[label as usize] <= FEW
    };
    let images: Vec<usize> = (0..task.samples.len()).filter(|&i| first(task.samples.labels[i])).collect();
    let (tasks, train) = (&session.tasks, &session.dataset.train);
    let all = tasks.task_images(train, session.task);
    let loader = session.feed.training(train.pick(&images.iter().map(|&i| all[i]).collect::<Vec<_>>()));
    let samples = session.feed.samples(&loader, (0..images.len()).collect(), |label| tasks.new_label(label));
    let batch: Vec<usize> = (0..images.len().min(session.config.batch_size)).collect();
    let schedule = vec![batch; session.learner.epochs(task.index)];
    Task { samples, schedule, ..task }
}

/// The task that a session is at with its whole batches alone, so many of them that the noise of any profile has enough.
fn training(session: &Session, steps: usize) -> Task {
    let mut task = session.current();
    let whole = task.schedule.first().map_or(0, Vec::len);
    task.schedule.retain(|batch| batch.len() == whole);
    let batches = 2 * steps * session.learner.epochs(task.index).max(1);
    let schedule = task.schedule.into_iter().cycle().take(batches).collect();
    Task { schedule, ..task }
}
