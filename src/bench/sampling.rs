//! Samples of passes, taken in turn.

use std::time::Duration;

use serde::Serialize;

use super::Pass;
use crate::device::Device;
use crate::host::Instant;
use crate::{Result, host};

/// A sample takes at least this long, so that neither the clock nor a submission counts.
const LONG: Duration = Duration::from_millis(5);

/// Samples in three numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    /// A quarter of the samples is below the first, a quarter above the second.
    pub quartiles: [f64; 2],
    pub samples: usize,
}

impl Spread {
    /// Of at least one sample.
    pub(super) fn of(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (sorted.len() - 1) as f64;
            let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
            below + (above - below) * place.fract()
        };
        Self { median: at(0.5), quartiles: [at(0.25), at(0.75)], samples: sorted.len() }
    }

    /// Half of what lies between the quartiles, in percent of the median.
    pub fn percent(&self) -> f64 {
        50.0 * (self.quartiles[1] - self.quartiles[0]) / self.median
    }
}

/// Seconds of a pass in every sample, one column for each of `passes`. They take turns, every other time in the opposite
/// order, so that what the machine does meanwhile meets all alike; as often as `budget` allows, once at least.
pub(super) fn sample(device: &Device, mut passes: Vec<Pass>, budget: Duration) -> Result<Vec<Vec<f64>>> {
    let mut counts = Vec::new();
    for pass in &mut passes {
        // The first pass compiles.
        taken(device, pass, 1)?;
        let mut count = 1;
        while taken(device, pass, count)? < LONG {
            count *= 2;
        }
        counts.push(count);
    }
    let (start, mut columns) = (Instant::now(), vec![Vec::new(); passes.len()]);
    let mut order: Vec<_> = (0..passes.len()).collect();
    while columns[0].is_empty() || start.elapsed() < budget {
        for &i in &order {
            columns[i].push(taken(device, &mut passes[i], counts[i])?.as_secs_f64() / f64::from(counts[i]));
        }
        order.reverse();
    }
    Ok(columns)
}

/// Time of `count` passes.
fn taken(device: &Device, pass: &mut Pass, count: u32) -> Result<Duration> {
    let start = Instant::now();
    for _ in 0..count {
        pass(device)?;
    }
    host::wait(device.finish(), "a measurement")?;
    Ok(start.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;

    #[test]
    fn quartiles_lie_between_samples() {
        let spread = Spread::of(&[4.0, 1.0, 2.0, 3.0, 5.0]);
        assert_eq!(spread, Spread { median: 3.0, quartiles: [2.0, 4.0], samples: 5 });
        assert_eq!(Spread::of(&[1.0, 2.0]).quartiles, [1.25, 1.75]);
        assert_eq!(Spread::of(&[2.0]).percent(), 0.0);
    }

    /// All are sampled as often, in turn, at least once.
    #[test]
    fn passes_take_turns() {
        let device = Device::cpu(Precision::F32);
        let pass = || -> Pass {
            Box::new(|_: &Device| {
                std::thread::sleep(LONG);
                Ok(Vec::new())
            })
        };
        let columns = sample(&device, vec![pass(), pass()], Duration::ZERO).unwrap();
        assert_eq!(columns.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
        let columns = sample(&device, vec![pass(), pass()], 4 * LONG).unwrap();
        assert!(columns[0].len() > 1 && columns[0].len() == columns[1].len());
        assert!(columns.concat().iter().all(|&seconds| seconds >= LONG.as_secs_f64()));
    }
}
