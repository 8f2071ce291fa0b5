//! Two profiles side by side.

use super::table::{MOST, ms};
use super::{Profile, Row};
use crate::report::Spread;
use crate::report::say::spread;
use crate::{Error, Result};

/// What became of a time from A to B.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// B takes less, beyond the spread.
    Faster,
    /// B takes more, beyond the spread.
    Slower,
    /// The difference is within the spread.
    Same,
    /// B does nothing of the kind.
    OnlyA,
    /// A does nothing of the kind.
    OnlyB,
}

/// The seconds of a step that something takes in two profiles.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// What it is called.
    pub name: String,
    /// In the first.
    pub a: Option<Spread>,
    /// In the second.
    pub b: Option<Spread>,
    /// What that means.
    pub verdict: Verdict,
}

/// Two profiles of the same thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Beside {
    heads: [String; 2],
    /// The step as a whole, without profiling.
    pub step: Compared,
    /// By kernel.
    pub kernels: Vec<Compared>,
    /// By phase.
    pub phases: Vec<Compared>,
    /// By part.
    pub parts: Vec<Compared>,
    /// What B may be slower, as a share of A.
    pub tolerance: f64,
}

/// Beyond the spread is what exceeds the deviation of the difference of two steps, one of each; where there is one step alone,
/// `tolerance`.
fn verdict(a: Spread, b: Spread, tolerance: f64) -> Verdict {
    let noise = match (a.deviation, b.deviation) {
        (Some(a), Some(b)) => a.hypot(b),
        _ => tolerance * a.mean,
    };
    match b.mean - a.mean {
        less if less < -noise => Verdict::Faster,
        more if more > noise => Verdict::Slower,
        _ => Verdict::Same,
    }
}

impl Compared {
    fn of(name: &str, a: Option<Spread>, b: Option<Spread>, tolerance: f64) -> Self {
        let verdict = match (a, b) {
            (Some(a), Some(b)) => verdict(a, b, tolerance),
            (Some(_), None) => Verdict::OnlyA,
            _ => Verdict::OnlyB,
        };
        Self { name: name.into(), a, b, verdict }
    }

    /// B's time by A's, where both have one.
    pub fn ratio(&self) -> Option<f64> {
        let (a, b) = (self.a?, self.b?);
        (a.mean > 0.0).then(|| b.mean / a.mean)
    }

    fn line(&self, width: usize) -> String {
        let side = |x: Option<Spread>| x.map_or("-".into(), |x| spread(x, ms));
        let ratio = self.ratio().map_or(String::new(), |ratio| format!("{ratio:.2}"));
        let verdict = match self.verdict {
            Verdict::Faster => "faster",
            Verdict::Slower => "slower",
            Verdict::Same => "same",
            Verdict::OnlyA => "only in A",
            Verdict::OnlyB => "only in B",
        };
        format!("{:<width$}  {:>18}  {:>18}  {ratio:>6}  {verdict}", self.name, side(self.a), side(self.b))
    }
}

/// All rows of A, then those that only B has.
fn rows(a: &[Row], b: &[Row], tolerance: f64) -> Vec<Compared> {
    // What takes no time on the device says nothing.
    let of = |rows: &[Row], name: &str| {
        rows.iter().find(|row| row.name == name).map(Row::spread).filter(|spread| spread.mean > 0.0)
    };
    let mut names: Vec<&str> = a.iter().map(|row| row.name.as_str()).collect();
    names.extend(b.iter().map(|row| row.name.as_str()).filter(|name| a.iter().all(|row| row.name != *name)));
    names.retain(|name| !name.is_empty());
    let both = names.into_iter().map(|name| (name, of(a, name), of(b, name)));
    both.filter(|(_, a, b)| a.is_some() || b.is_some())
        .map(|(name, a, b)| Compared::of(name, a, b, tolerance))
        .collect()
}

impl Beside {
    /// # Errors
    /// [`Error::Config`] where they are not profiles of the same thing.
    pub fn of(a: &Profile, b: &Profile, tolerance: f64) -> Result<Self> {
        if a.what != b.what {
            return Err(Error::Config(format!("--compare: one is a profile of {}, the other of {}", a.what, b.what)));
        }
        let head = |p: &Profile| format!("{}, {} on {}: {}", p.what, p.of, p.device, p.command);
        Ok(Self {
            heads: [head(a), head(b)],
            step: Compared::of("step", Some(a.wall()), Some(b.wall()), tolerance),
            kernels: rows(&a.kernels, &b.kernels, tolerance),
            phases: rows(&a.phases, &b.phases, tolerance),
            parts: rows(&a.parts, &b.parts, tolerance),
            tolerance,
        })
    }

    /// The step, the kernels and the phases in which B is slower, beyond the spread and by more than the tolerance.
    pub fn slower(&self) -> Vec<&Compared> {
        let all = std::iter::once(&self.step).chain(&self.kernels).chain(&self.phases);
        let beyond = |row: &&Compared| row.ratio().is_none_or(|ratio| ratio > 1.0 + self.tolerance);
        all.filter(|row| row.verdict == Verdict::Slower).filter(beyond).collect()
    }

    /// As a table.
    pub fn table(&self) -> String {
        let tables = [("kernel", &self.kernels), ("phase", &self.phases), ("part", &self.parts)];
        let all = tables.iter().flat_map(|(_, rows)| rows.iter());
        let width = all.map(|row| row.name.len()).max().unwrap_or(0).max("kernel".len()).min(MOST);
        let mut lines = vec![format!("A: {}", self.heads[0]), format!("B: {}", self.heads[1]), String::new()];
        lines.push(format!("{:<width$}  {:>18}  {:>18}  {:>6}", "", "A, ms a step", "B, ms a step", "B / A"));
        lines.push(self.step.line(width));
        for (title, rows) in tables.into_iter().filter(|(_, rows)| !rows.is_empty()) {
            lines.push(String::new());
            lines.push(title.into());
            lines.extend(rows.iter().map(|row| row.line(width)));
        }
        let slower: Vec<_> = self.slower().into_iter().map(|row| row.name.as_str()).collect();
        let most = 100.0 * self.tolerance;
        lines.push(String::new());
        lines.push(match slower.is_empty() {
            true => format!("nothing is slower by more than {most:.0} %"),
            false => format!("slower by more than {most:.0} %: {}", slower.join(", ")),
        });
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::profile;
    use super::*;

    fn scaled(factor: f64) -> Profile {
        let mut other = profile();
        let rows = [&mut other.kernels, &mut other.phases, &mut other.parts];
        rows.into_iter().flatten().flat_map(|row| &mut row.seconds).chain(&mut other.plain).for_each(|x| *x *= factor);
        other
    }

    #[test]
    fn differences_count_beyond_the_spread() {
        let told = |a: [f64; 2], b: [f64; 2]| verdict(Spread::of(&a), Spread::of(&b), 0.1);
        // Deviations of 0.0707 each, of their difference 0.1.
        assert_eq!(told([1.0, 1.1], [1.05, 1.15]), Verdict::Same);
        assert_eq!(told([1.0, 1.1], [1.11, 1.21]), Verdict::Slower);
        assert_eq!(told([1.11, 1.21], [1.0, 1.1]), Verdict::Faster);
        let alone = |mean| Spread { mean, deviation: None };
        assert_eq!(verdict(alone(1.0), alone(1.09), 0.1), Verdict::Same);
        assert_eq!(verdict(alone(1.0), alone(1.11), 0.1), Verdict::Slower);
        assert_eq!(verdict(alone(1.0), alone(0.89), 0.1), Verdict::Faster);
    }

    #[test]
    fn slower_kernels_are_named() {
        let same = Beside::of(&profile(), &profile(), 0.1).unwrap();
        assert!(same.slower().is_empty() && same.step.verdict == Verdict::Same);
        assert!(same.table().ends_with("nothing is slower by more than 10 %"), "{}", same.table());
        let slow = Beside::of(&profile(), &scaled(1.5), 0.1).unwrap();
        let names: Vec<_> = slow.slower().iter().map(|row| row.name.as_str()).collect();
        // copy_block spreads from 1.5 to 2.5 ms.
        assert_eq!(names, ["step", "gemm", "forward"], "{}", slow.table());
        assert!(Beside::of(&profile(), &scaled(1.5), 0.6).unwrap().slower().is_empty());
        let fast = Beside::of(&profile(), &scaled(0.5), 0.1).unwrap();
        assert!(fast.slower().is_empty() && fast.step.verdict == Verdict::Faster);
    }

    #[test]
    fn what_one_of_them_lacks_is_said() {
        let mut other = profile();
        other.kernels[0].name = "noise_mix".into();
        let beside = Beside::of(&profile(), &other, 0.1).unwrap();
        let verdicts: Vec<_> = beside.kernels.iter().map(|row| (row.name.as_str(), row.verdict)).collect();
        let want = [("gemm", Verdict::OnlyA), ("copy_block", Verdict::Same), ("noise_mix", Verdict::OnlyB)];
        assert_eq!(verdicts, want);
        assert!(beside.slower().is_empty());
        let told = Beside::of(&profile(), &Profile { what: "analytic".into(), ..profile() }, 0.1).unwrap_err();
        assert!(told.to_string().contains("analytic"), "{told}");
    }
}
