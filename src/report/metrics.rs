//! The figures that a run is judged by.

use serde::{Deserialize, Serialize};

/// The results of all tasks so far; `T` is the last one. Accuracies are shares from 0 to 1, on test images, and every
/// prediction is made among all classes seen, without being told the task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// `A_t`: accuracy after task `t` on all classes seen.
    pub accuracy: Vec<f64>,
    /// `a[t][i]`, `i <= t`: accuracy after task `t` on the classes of task `i`.
    pub matrix: Vec<Vec<f64>>,
    /// `A_T`.
    pub a_last: f64,
    /// The mean of `A_0 ..= A_T`.
    pub a_avg: f64,
    /// The mean over `i < T` of `max_t a[t][i] - a[T][i]`, the maximum over `i <= t <= T`; 0 for one task.
    pub forgetting: f64,
    /// Backward transfer: the mean over `i < T` of `a[T][i] - a[i][i]`; 0 for one task.
    pub bwt: f64,
    /// Accuracy after task `T` on each class seen, by new label; none of a class that was learned from other data.
    pub per_class: Vec<Option<f64>>,
    /// `[true][predicted]`: images after task `T`, by new label.
    pub confusion: Vec<Vec<u64>>,
}
