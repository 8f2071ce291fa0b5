//! What is computed against what is recorded: errors by group, and predictions.

use super::Check;
use super::min::Shown;
use crate::Result;
use crate::device::{Device, Tensor};
use crate::model::vit::transpose;
use crate::protocol::golden::Golden;

/// Collects errors by group.
pub(super) struct Judge<'a> {
    pub device: Device,
    pub golden: &'a Golden,
    oracle: bool,
    /// What is compared was made from something that the oracle rounded to single precision.
    pub rounded: bool,
    pub checks: Vec<Check>,
    /// What the method showed of its work and is not yet judged.
    pub shown: Vec<Shown>,
    pub task: usize,
}

impl<'a> Judge<'a> {
    pub fn new(device: &Device, golden: &'a Golden, oracle: bool) -> Self {
        let (checks, shown) = (Vec::new(), Vec::new());
        Self { device: device.clone(), golden, oracle, rounded: false, checks, shown, task: 0 }
    }
}

impl Judge<'_> {
    pub fn record(&mut self, group: &str, name: &str, error: f64, tolerance: f64) {
        let new = Check { group: group.into(), tensors: 0, error, tolerance, worst: name.into(), passed: true };
        let at = self.checks.iter().position(|c| c.group == group).unwrap_or_else(|| {
            self.checks.push(new.clone());
            self.checks.len() - 1
        });
        let check = &mut self.checks[at];
        check.tensors += 1;
        check.passed &= error <= tolerance;
        let worse = error * check.tolerance > check.error * tolerance || (tolerance == 0.0 && error > check.error);
        if worse {
            (check.error, check.tolerance, check.worst) = (error, tolerance, name.into());
        }
    }

    /// Compares `got` with the recorded tensor `name`.
    pub fn compare(&mut self, group: &str, name: &str, got: &[f64], single: f64) -> Result<()> {
        self.compare_with(group, name, self.golden.tensors.get(name)?, got, single)
    }

    /// Compares `got` with `want`, a part of the recorded tensor `name`.
    pub fn compare_with(&mut self, group: &str, name: &str, want: &[f64], got: &[f64], single: f64) -> Result<()> {
        if want.len() != got.len() {
            return Err(self.golden.tensors.error(format!(
                "`{name}` has {} entries, the replay {}",
                want.len(),
                got.len()
            )));
        }
        let scale = want.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        let worst = got.iter().zip(want).map(|(g, w)| (g - w).abs());
        // NaN must not vanish in a maximum.
        let worst = worst.fold(0.0, |m: f64, e| if e.is_nan() || m.is_nan() { f64::NAN } else { m.max(e) });
        let error = if scale > 0.0 { worst / scale } else { worst };
        let tolerance = match (self.oracle, self.rounded || self.golden.tensors.is_narrow(name)) {
            (false, _) => single,
            (true, true) => 1e-6,
            (true, false) => 1e-8,
        };
        self.record(group, name, if error.is_nan() { f64::INFINITY } else { error }, tolerance);
        Ok(())
    }

    /// Compares a device matrix [C, m] with a recorded one [m, C].
    pub async fn transposed(&mut self, group: &str, name: &str, got: &Tensor, single: f64) -> Result<()> {
        let data: Vec<f64> = self.device.read(got).await?;
        self.compare(group, name, &transpose(&data, got.rows(), got.cols()), single)
    }

    /// Counts predictions that differ from those of the recorded logits `name` [n, classes] where these have a margin.
    pub fn predictions(&mut self, name: &str, logits: &[f64], classes: usize) -> Result<()> {
        let want = self.golden.tensors.get(name)?;
        let rows = want.chunks(classes).zip(logits.chunks(classes));
        let wrong = rows.filter(|(want, got)| {
            let (best, margin) = top(want);
            margin > 1e-3 && top(got).0 != best
        });
        let wrong = wrong.count();
        self.record("predictions that differ", name, wrong as f64, 0.0);
        Ok(())
    }
}

/// Index of the largest entry, and its lead over the next.
pub(super) fn top(row: &[f64]) -> (usize, f64) {
    let best = (0..row.len()).max_by(|&i, &j| row[i].total_cmp(&row[j]).then(j.cmp(&i))).unwrap_or(0);
    let second = (0..row.len()).filter(|&i| i != best).map(|i| row[i]).fold(f64::NEG_INFINITY, f64::max);
    (best, row[best] - second)
}
