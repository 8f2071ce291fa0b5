//! Splitting the classes into tasks.

use std::ops::Range;

use super::class_order;
use crate::data::Images;
use crate::{Error, Result};

/// The classes of every task. Classes are renumbered in order of appearance ("new labels"), so the classes seen after any
/// task are `0..seen(t)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tasks {
    /// New label -> label in the data set.
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
        let order = class_order(n_classes as u32, class_seed);
        let mut new_labels = vec![0; n_classes];
        for (new, &label) in order.iter().enumerate() {
            new_labels[label as usize] = new as u32;
        }
        Ok(Self { order, sizes, new_labels })
    }

    /// The number of tasks.
    pub fn count(&self) -> usize {
        self.sizes.len()
    }

    /// The new labels of task `t`.
    pub fn classes(&self, t: usize) -> Range<usize> {
        let start = self.sizes[..t].iter().sum();
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

    /// The indices of the images of all classes seen after task `t`, ascending.
    pub fn seen_images(&self, images: &Images, t: usize) -> Vec<usize> {
        self.images_of(images, 0..self.seen(t))
    }

    fn images_of(&self, images: &Images, classes: Range<usize>) -> Vec<usize> {
        (0..images.len()).filter(|&i| classes.contains(&(self.new_label(images.labels[i]) as usize))).collect()
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
        let images = Images { pixels: vec![0.0; 7], labels, channels: 1, height: 1, width: 1 };
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
}
