//! Splitting the classes into tasks.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use super::class_order;
use crate::config::Config;
use crate::data::Images;
use crate::{Error, Result};

/// The classes of every task. Classes are renumbered in order of appearance ("new labels"), so the classes seen after any
/// task are `0..seen(t)`; the first `known` of them were learned before these tasks, from other data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tasks {
    /// Classes that were learned before these tasks.
    pub known: usize,
    /// New label, less `known` -> label in the data set.
    pub order: Vec<u32>,
    /// The number of classes of each task.
    pub sizes: Vec<usize>,
    /// Label in the data set -> new label.
    new_labels: Vec<u32>,
}

impl Tasks {
    /// `init_classes` classes in task 0 and `increment` in each later one (the last may be shorter), in the order of
    /// [`class_order`].
    ///
    /// # Errors
    /// [`Error::Config`] if `init_classes` is 0 or above `n_classes`, or `increment` is 0 while classes are left.
    pub fn new(n_classes: usize, init_classes: usize, increment: usize, class_seed: u32) -> Result<Self> {
        if init_classes == 0 || init_classes > n_classes {
            return Err(Error::Config(format!(
                "`init_classes` must be from 1 to the number of classes of the data, {n_classes}, got {init_classes}"
            )));
        }
        let left = n_classes - init_classes;
        if increment == 0 && left > 0 {
            return Err(Error::Config(format!(
                "`increment` must be at least 1 while {left} of {n_classes} classes are left after task 0"
            )));
        }
        let mut sizes = vec![init_classes];
        sizes.extend((0..left).step_by(increment.max(1)).map(|start| increment.min(left - start)));
        Ok(Self::with(class_order(n_classes as u32, class_seed), sizes))
    }

    /// The tasks that the settings ask for: of the sizes `tasks`, if it lists any, and in the order of the file `class_order`,
    /// if one is named.
    ///
    /// # Errors
    /// [`Error::Config`] as for [`new`](Self::new), where `tasks` has not as many classes as the data, and where the file does
    /// not list every class once; [`Error::Io`].
    pub fn of(config: &Config, classes: &[String]) -> Result<Self> {
        let mut tasks = match config.tasks.as_slice() {
            [] => Self::new(classes.len(), config.init_classes, config.increment, config.class_seed)?,
            sizes => {
                let sizes = listed(sizes, classes.len())?;
                Self::with(class_order(classes.len() as u32, config.class_seed), sizes)
            }
        };
        if !config.class_order.is_empty() {
            tasks = Self::with(listed_order(Path::new(&config.class_order), classes)?, tasks.sizes);
        }
        Ok(tasks)
    }

    fn with(order: Vec<u32>, sizes: Vec<usize>) -> Self {
        Self::after(0, order, sizes)
    }

    /// Tasks of these sizes, with the classes of the data in this order, after `known` classes of other data.
    fn after(known: usize, order: Vec<u32>, sizes: Vec<usize>) -> Self {
        let mut new_labels = vec![0; order.len()];
        for (new, &label) in order.iter().enumerate() {
            new_labels[label as usize] = (known + new) as u32;
        }
        Self { known, order, sizes, new_labels }
    }

    /// The tasks of a run that goes on: `names` of all its classes in order of appearance, of which the first `known` are not
    /// in the data.
    ///
    /// # Errors
    /// [`Error::Config`] where the data have other classes.
    pub(super) fn again(known: usize, names: &[String], sizes: Vec<usize>, classes: &[String]) -> Result<Self> {
        let label: HashMap<&String, u32> = classes.iter().zip(0..).collect();
        let order: Option<Vec<u32>> = names.iter().skip(known).map(|name| label.get(name).copied()).collect();
        let every_one_once = |order: &Vec<u32>| {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            sorted.into_iter().eq(0..classes.len() as u32)
        };
        let fits = |order: &Vec<u32>| every_one_once(order) && listed(&sizes, classes.len()).is_ok();
        let order = order.filter(fits).ok_or_else(|| Error::Config("`data` has other classes than the run".into()))?;
        Ok(Self::after(known, order, sizes))
    }

    /// Tasks of new classes after those that are known: all at once, or in the sizes given.
    ///
    /// # Errors
    /// [`Error::Config`] where a class is known already, and where the sizes are not those of the data.
    pub(super) fn further(known: &[String], classes: &[String], sizes: &[usize]) -> Result<Self> {
        if let Some(name) = classes.iter().find(|name| known.contains(name)) {
            return Err(Error::Config(format!("`data`: class `{name}` is learned already; give classes that are new")));
        }
        let sizes = if sizes.is_empty() { vec![classes.len()] } else { listed(sizes, classes.len())? };
        Ok(Self::after(known.len(), (0..classes.len() as u32).collect(), sizes))
    }

    /// The number of tasks.
    pub fn count(&self) -> usize {
        self.sizes.len()
    }

    /// The new labels of task `t`.
    pub fn classes(&self, t: usize) -> Range<usize> {
        let start = self.known + self.sizes[..t].iter().sum::<usize>();
        start..start + self.sizes[t]
    }

    /// The number of classes seen after task `t`.
    pub fn seen(&self, t: usize) -> usize {
        self.classes(t).end
    }

    /// The new label of a label of the data set.
    ///
    /// # Panics
    /// If `label` is not a class of the data set.
    pub fn new_label(&self, label: u32) -> u32 {
        self.new_labels[label as usize]
    }

    /// The indices of the images of task `t`, ascending.
    pub fn task_images(&self, images: &Images, t: usize) -> Vec<usize> {
        self.images_of(images, self.classes(t))
    }

    /// The indices of the images of all classes of the data that were seen after task `t`, ascending.
    pub fn seen_images(&self, images: &Images, t: usize) -> Vec<usize> {
        self.images_of(images, self.known..self.seen(t))
    }

    fn images_of(&self, images: &Images, classes: Range<usize>) -> Vec<usize> {
        (0..images.len()).filter(|&i| classes.contains(&(self.new_label(images.labels[i]) as usize))).collect()
    }
}

/// Sizes of tasks that someone listed.
fn listed(sizes: &[usize], classes: usize) -> Result<Vec<usize>> {
    let sum = sizes.iter().fold(0, |sum: usize, &n| sum.saturating_add(n));
    if sum != classes || sizes.contains(&0) {
        return Err(Error::Config(format!(
            "`tasks` must be sizes above 0 with the {classes} classes of the data in all, got {sizes:?}, {sum} in all"
        )));
    }
    Ok(sizes.to_vec())
}

/// The labels of the classes whose names a file lists, one a line.
fn listed_order(path: &Path, classes: &[String]) -> Result<Vec<u32>> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, &e))?;
    let bad = |message: String| Error::Config(format!("`class_order` = {}: {message}", path.display()));
    let mut left: HashMap<&str, u32> = classes.iter().map(String::as_str).zip(0..).collect();
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty());
    let label = |(i, line)| {
        let label = left.remove(line);
        label.ok_or_else(|| bad(format!("line {}: `{line}` is no class of the data, or stands there twice", i + 1)))
    };
    let order = lines.map(label).collect::<Result<Vec<u32>>>()?;
    match left.keys().min() {
        Some(name) => Err(bad(format!("it must list every class, `{name}` is missing"))),
        None => Ok(order),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_the_settings() {
        let sizes = |n, init, increment| Tasks::new(n, init, increment, 1993).unwrap().sizes;
        assert_eq!(sizes(100, 10, 10), [10; 10]);
        assert_eq!(sizes(101, 11, 10), [[11].as_slice(), &[10; 9]].concat());
        assert_eq!(sizes(10, 4, 4), [4, 4, 2]);
        assert_eq!(sizes(10, 2, 100), [2, 8]);
        assert_eq!(sizes(10, 10, 0), [10]);
        assert_eq!(sizes(1, 1, 1), [1]);
    }

    #[test]
    fn impossible_settings_are_named() {
        let refused = |n, init, increment, word: &str| {
            let text = Tasks::new(n, init, increment, 1993).unwrap_err().to_string();
            assert!(text.contains(word), "{text}");
        };
        refused(10, 0, 5, "`init_classes`");
        refused(10, 11, 5, "number of classes of the data, 10, got 11");
        refused(10, 4, 0, "`increment`");
    }

    #[test]
    fn labels_and_images_follow_the_order() {
        let tasks = Tasks::new(5, 2, 2, 1993).unwrap();
        assert_eq!((tasks.count(), tasks.classes(0), tasks.classes(1), tasks.classes(2)), (3, 0..2, 2..4, 4..5));
        assert_eq!((tasks.seen(0), tasks.seen(1), tasks.seen(2)), (2, 4, 5));
        for (new, &label) in tasks.order.iter().enumerate() {
            assert_eq!(tasks.new_label(label), new as u32);
        }
        let labels = vec![3, 0, 1, 4, 2, 0, 3];
        let images = labelled(labels);
        let mut all = Vec::new();
        for t in 0..3 {
            let of_task = tasks.task_images(&images, t);
            assert!(of_task.iter().all(|&i| tasks.classes(t).contains(&(tasks.new_label(images.labels[i]) as usize))));
            all.extend(of_task);
            let mut sorted = all.clone();
            sorted.sort_unstable();
            assert_eq!(tasks.seen_images(&images, t), sorted);
        }
        assert_eq!(all.len(), 7);
    }

    /// Images of which nothing but their labels matters.
    fn labelled(labels: Vec<u32>) -> Images {
        let icons = crate::data::icons().unwrap().train;
        let mut images = icons.pick(&(0..labels.len()).collect::<Vec<_>>());
        images.labels = labels;
        images
    }

    #[test]
    fn sizes_and_order_can_be_listed() {
        let classes: Vec<String> = ["ant", "bee", "cat", "dog"].map(String::from).to_vec();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("order.txt");
        let of = |tasks: &str, text: &str| {
            std::fs::write(&file, text).unwrap();
            let set = [format!("tasks={tasks}"), format!("class_order='{}'", file.display())];
            Tasks::of(&Config::load(None, None, &set).unwrap(), &classes)
        };
        let tasks = of("1,3", "dog\nant\n\ncat\nbee\n").unwrap();
        assert_eq!((tasks.order, tasks.sizes), (vec![3, 0, 2, 1], vec![1, 3]));
        for (sizes, text, words) in [
            ("1,3", "dog\nant\ncat\n", "`bee` is missing"),
            ("1,3", "dog\nant\ncat\ncow\n", "line 4: `cow`"),
            ("1,3", "dog\ndog\ncat\nbee\n", "line 2: `dog`"),
            ("1,2", "", "4 classes of the data"),
            ("0,4", "", "above 0"),
        ] {
            let error = of(sizes, text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
