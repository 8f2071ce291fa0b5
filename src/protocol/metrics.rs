//! How a run is judged: accuracies, forgetting and the confusion matrix.

use super::Tasks;
use crate::report::Metrics;
use crate::{Error, Result};

impl Metrics {
    /// Adds the next task: the new labels `truth` of the judged images, and what the model says of each.
    ///
    /// # Shapes
    /// `truth` and `predicted` `[n]`, all below the number of classes seen.
    ///
    /// # Errors
    /// [`Error::Shape`] if the two differ in length or a label is not among the classes seen; [`Error::Data`] if a class
    /// seen has no image.
    ///
    /// # Panics
    /// If all tasks have been added already.
    pub fn push(&mut self, tasks: &Tasks, truth: &[u32], predicted: &[u32]) -> Result<()> {
        let t = self.accuracy.len();
        let seen = tasks.seen(t);
        let confusion = confusion(truth, predicted, seen)?;
        let count = |(c, row): (usize, &Vec<u64>)| (row[c], row.iter().sum());
        let counts: Vec<(u64, u64)> = confusion.iter().enumerate().map(count).skip(tasks.known).collect();
        if let Some(class) = counts.iter().position(|&(_, images)| images == 0) {
            return Err(Error::Data {
                file: "test set".into(),
                message: format!("no image of class {} to judge task {t} by", tasks.order[class]),
            });
        }
        let of_task = |i: usize| tasks.classes(i).start - tasks.known..tasks.classes(i).end - tasks.known;
        let row: Vec<f64> = (0..=t).map(|i| share(&counts[of_task(i)])).collect();
        self.accuracy.push(share(&counts));
        self.matrix.push(row.clone());
        self.a_last = share(&counts);
        self.a_avg = mean(self.accuracy.iter().copied());
        self.forgetting = mean((0..t).map(|i| {
            let best = self.matrix[i..].iter().map(|row| row[i]).fold(0.0, f64::max);
            best - row[i]
        }));
        self.bwt = mean((0..t).map(|i| row[i] - self.matrix[i][i]));
        self.per_class = vec![None; tasks.known];
        self.per_class.extend(counts.iter().map(|count| Some(share(&[*count]))));
        self.confusion = confusion;
        Ok(())
    }
}

fn confusion(truth: &[u32], predicted: &[u32], seen: usize) -> Result<Vec<Vec<u64>>> {
    if truth.len() != predicted.len() {
        return Err(Error::shape("metrics", "predicted", [truth.len()], [predicted.len()]));
    }
    let mut confusion = vec![vec![0; seen]; seen];
    for (arg, labels) in [("truth", truth), ("predicted", predicted)] {
        if let Some(label) = labels.iter().find(|&&label| label as usize >= seen) {
            return Err(Error::Shape {
                op: "metrics",
                arg,
                expected: format!("labels below {seen}"),
                got: format!("label {label}"),
            });
        }
    }
    for (&truth, &predicted) in truth.iter().zip(predicted) {
        confusion[truth as usize][predicted as usize] += 1;
    }
    Ok(confusion)
}

/// The accuracy over classes given as (right, all).
fn share(counts: &[(u64, u64)]) -> f64 {
    let (right, all) = counts.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    right as f64 / all as f64
}

/// The mean, 0 of nothing.
fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len().max(1);
    values.sum::<f64>() / n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-12, "{got} is not {expected}");
    }

    /// Three tasks of 2, 1 and 1 classes; 2 images a class.
    fn run() -> Metrics {
        let tasks = Tasks::new(4, 2, 1, 1993).unwrap();
        let mut metrics = Metrics::default();
        metrics.push(&tasks, &[0, 0, 1, 1], &[0, 0, 1, 0]).unwrap();
        metrics.push(&tasks, &[0, 0, 1, 1, 2, 2], &[0, 0, 1, 1, 2, 0]).unwrap();
        metrics.push(&tasks, &[0, 0, 1, 1, 2, 2, 3, 3], &[0, 3, 1, 2, 2, 2, 3, 1]).unwrap();
        metrics
    }

    #[test]
    fn three_tasks_by_hand() {
        let metrics = run();
        // Task 0: 3 of 4. Task 1: 4 of 4 and 1 of 2. Task 2: 2 of 4, 2 of 2, 1 of 2.
        assert_eq!(metrics.matrix, [vec![0.75], vec![1.0, 0.5], vec![0.5, 1.0, 0.5]]);
        assert_eq!(metrics.accuracy[0], 0.75);
        close(metrics.accuracy[1], 5.0 / 6.0);
        close(metrics.accuracy[2], 5.0 / 8.0);
        close(metrics.a_last, 0.625);
        close(metrics.a_avg, (0.75 + 5.0 / 6.0 + 0.625) / 3.0);
        // max_t - last: task 0: 1 - 0.5, task 1: 1 - 1. Last - own: 0.5 - 0.75, 1 - 0.5.
        close(metrics.forgetting, 0.25);
        close(metrics.bwt, 0.125);
        assert_eq!(metrics.per_class, [0.5, 0.5, 1.0, 0.5].map(Some));
        assert_eq!(metrics.confusion, [[1, 0, 0, 1], [0, 1, 1, 0], [0, 0, 2, 0], [0, 1, 0, 1]]);
    }

    #[test]
    fn one_task_forgets_nothing() {
        let tasks = Tasks::new(2, 2, 1, 1993).unwrap();
        let mut metrics = Metrics::default();
        metrics.push(&tasks, &[0, 1], &[1, 1]).unwrap();
        assert_eq!((metrics.a_last, metrics.a_avg, metrics.forgetting, metrics.bwt), (0.5, 0.5, 0.0, 0.0));
    }

    #[test]
    fn wrong_labels_are_refused_and_change_nothing() {
        let tasks = Tasks::new(3, 2, 1, 1993).unwrap();
        let mut metrics = Metrics::default();
        assert!(matches!(metrics.push(&tasks, &[0, 1], &[0]), Err(Error::Shape { arg: "predicted", .. })));
        assert!(matches!(metrics.push(&tasks, &[0, 2], &[0, 1]), Err(Error::Shape { arg: "truth", .. })));
        assert!(matches!(metrics.push(&tasks, &[0, 1], &[0, 2]), Err(Error::Shape { arg: "predicted", .. })));
        assert!(matches!(metrics.push(&tasks, &[0, 0], &[0, 1]), Err(Error::Data { .. })));
        assert_eq!(metrics, Metrics::default());
    }
}
