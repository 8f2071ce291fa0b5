//! Drift compensation on every device: statistics become those of the features as they are now.

use libtest_mimic::{Failed, Trial};
use minoise::Error;
use minoise::algorithms::drift as pairs;
use minoise::algorithms::products::{add_products, symmetric};
use minoise::algorithms::tiles::Tiles;
use minoise::device::Device;
use minoise::model::head::{Drift, DriftMap, Statistics};
use pollster::block_on;

use super::{Features, GAMMA, SAMPLES, largest, same, solve};
use crate::harness::numbers;

/// Of tiles.
const SIDE: usize = 64;
/// Samples that are gone, each of a class of its own where there are so many.
const OLD: usize = 8;

/// Samples, features, and how many of these do not move.
#[derive(Clone, Copy, Debug)]
struct Size {
    n: usize,
    m: usize,
    still: usize,
}

/// Both forms, around tiles of the host.
const SIZES: [Size; 7] = [
    Size { n: 3, m: 1, still: 0 },
    Size { n: 30, m: 50, still: 0 },
    Size { n: 90, m: 50, still: 25 },
    Size { n: 101, m: 101, still: 50 },
    Size { n: 200, m: 301, still: 150 },
    Size { n: 400, m: 300, still: 0 },
    Size { n: 300, m: 257, still: 256 },
];
/// Both forms in tiles of 64: one of which moves in part, none, several and a sliver.
const TILED: [Size; 4] = [
    Size { n: 70, m: 200, still: 90 },
    Size { n: 201, m: 200, still: 90 },
    Size { n: 140, m: 130, still: 64 },
    Size { n: 100, m: 130, still: 0 },
];

/// `x y` by plain loops, for y of so many columns.
fn times(x: &[f64], y: &[f64], cols: usize) -> Vec<f64> {
    let inner = y.len() / cols;
    let mut out = vec![0.0; x.len() / inner * cols];
    for (out, x) in out.chunks_mut(cols).zip(x.chunks(inner)) {
        for (x, y) in x.iter().zip(y.chunks(cols)) {
            out.iter_mut().zip(y).for_each(|(out, y)| *out += x * y);
        }
    }
    out
}

fn random(seed: u64, n: usize, size: f64) -> Vec<f64> {
    numbers(seed, n).into_iter().map(|x| size * f64::from(x)).collect()
}

/// Features before and after, [n, m], and those of samples that are gone, [OLD, m], as they were and as they are now.
struct Problem {
    size: Size,
    before: Vec<f64>,
    after: Vec<f64>,
    old: Vec<f64>,
    now: Vec<f64>,
}

impl Problem {
    /// Old samples in the span of the new ones, which move by one linear map of rank 3.
    fn linear(size: Size) -> Self {
        let Size { n, m, still } = size;
        let before = random(1, n * m, 1.0);
        let down = random(2, 3 * m, 1.0 / (m as f64).sqrt());
        let up: Vec<f64> =
            random(3, 3 * m, 1.0).iter().enumerate().map(|(k, x)| if k % m < still { 0.0 } else { *x }).collect();
        let moved = |x: &[f64]| -> Vec<f64> {
            x.iter().zip(times(&times(x, &down, 3), &up, m)).map(|(x, change)| x + change).collect()
        };
        let old = times(&random(4, OLD * n, 1.0 / (n as f64).sqrt()), &before, m);
        Self { size, after: moved(&before), now: moved(&old), before, old }
    }

    /// Features as ReLU makes them, which move by a map and by chance.
    fn noisy(size: Size) -> Self {
        let relu = |x: Vec<f64>| -> Vec<f64> { x.into_iter().map(|x| x.max(-0.1) + 0.1).collect() };
        let linear = Self::linear(size);
        let (before, old) = (relu(linear.before.clone()), relu(random(5, OLD * size.m, 1.0)));
        let chance = random(6, before.len(), 0.1);
        let change = linear.after.iter().zip(&linear.before).zip(chance).enumerate();
        let change =
            change.map(|(k, ((y, x), chance))| if k % size.m < size.still { 0.0 } else { 0.3 * (y - x) + chance });
        let after = before.iter().zip(change).map(|(x, change)| x + change).collect();
        Self { size, before, after, now: old.clone(), old }
    }

    fn map(&self, device: &Device, ridge: f64) -> Result<DriftMap, Error> {
        let Size { n, m, still } = self.size;
        let mut drift = block_on(Drift::new(device, m, still, n, ridge))?;
        for samples in drift.order().chunks(70) {
            let [before, after] = [&self.before, &self.after].map(|x| {
                let rows: Vec<f64> = samples.iter().flat_map(|&i| &x[i * m..(i + 1) * m]).copied().collect();
                device.upload(&rows, &[samples.len(), m])
            });
            block_on(drift.add(&before?, &after?))?;
        }
        block_on(drift.finish())
    }

    /// Statistics of the old samples of so many classes; one more has none.
    fn statistics(&self, device: &Device, classes: usize, by_class: bool) -> Result<Statistics, Error> {
        let m = self.size.m;
        let mut statistics = if by_class { Statistics::by_class(m)? } else { Statistics::new(device, m)? };
        statistics.widen(classes + 1)?;
        let labels: Vec<u32> = (0..OLD).map(|i| (i % classes) as u32).collect();
        block_on(statistics.add(device, &device.upload(&self.old, &[OLD, m])?, &labels))?;
        Ok(statistics)
    }
}

/// The rows of class c, of so many that have samples.
fn class(x: &[f64], m: usize, classes: usize, c: usize) -> Vec<&[f64]> {
    x.chunks(m).skip(c).step_by(classes).filter(|_| c < classes).collect()
}

/// Largest difference of G and Q from those of features x [OLD, m] by plain loops, relative to their largest entries.
fn error(statistics: &Statistics, x: &[f64], classes: usize) -> Result<f64, Error> {
    let (m, by_class) = (statistics.features(), statistics.is_by_class());
    let (gram, sums) = block_on(statistics.export())?;
    let parts: Vec<Vec<&[f64]>> =
        if by_class { (0..=classes).map(|c| class(x, m, classes, c)).collect() } else { vec![x.chunks(m).collect()] };
    let whole = parts.iter().flat_map(|rows| triangle(rows, m)).collect::<Vec<_>>();
    let sum = |c: usize, k: usize| class(x, m, classes, c).iter().map(|row| row[k]).sum::<f64>();
    let q: Vec<f64> = (0..=classes).flat_map(|c| (0..m).map(move |k| (c, k))).map(|(c, k)| sum(c, k)).collect();
    Ok(relative(&gram, &whole).max(relative(&sums, &q)))
}

/// The lower triangle of the products of features.
fn triangle(rows: &[&[f64]], m: usize) -> Vec<f64> {
    let entry = |(r, c): (usize, usize)| rows.iter().map(|row| row[r] * row[c]).sum::<f64>();
    (0..m).flat_map(|r| (0..=r).map(move |c| (r, c))).map(entry).collect()
}

/// Largest difference, relative to the largest number.
fn relative(got: &[f64], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    largest(got.iter().zip(want).map(|(x, y)| x - y)) / largest(want.iter().copied())
}

fn within(what: &str, error: f64, bound: f64) -> Result<(), Failed> {
    println!("{what}: {error:e}");
    if error <= bound { Ok(()) } else { Err(format!("{what}: off by {error:e}, bound {bound:e}").into()) }
}

/// A linear drift is undone, as the ridge of the map hides next to nothing of it. And where every sample has a class of its
/// own, the rows of Q^T are the features that the map makes of the old ones: whatever the map is, G must be made of them, far
/// better than in single precision.
fn linear_drift_is_undone(device: &Device, size: Size, by_class: bool) -> Result<(), Failed> {
    let problem = Problem::linear(size);
    let [ridge, bound] = if device.is_double() { [1e-13, 1e-10] } else { [1e-9, 1e-5] };
    let mut statistics = problem.statistics(device, OLD, by_class)?;
    block_on(statistics.compensate(&problem.map(device, ridge)?))?;
    within("G and Q", error(&statistics, &problem.now, OLD)?, bound)?;
    let (_, sums) = block_on(statistics.export())?;
    let bound = if device.is_cpu() { 1e-13 } else { 2e-9 };
    within("G beside Q", error(&statistics, &sums[..OLD * size.m], OLD)?, bound)
}

/// The same where statistics have tiles of a size that tests can afford, which in the end are as symmetric as at first.
fn in_tiles(device: &Device, size: Size) -> Result<(), Failed> {
    let (problem, Size { n, m, still }) = (Problem::linear(size), size);
    let mut drift = pairs::Drift::new(device, m, still, SIDE, n, 1e-9)?;
    let order = drift.order();
    let [before, after] = [&problem.before, &problem.after].map(|x| {
        let rows: Vec<f64> = order.iter().flat_map(|&i| &x[i * m..(i + 1) * m]).copied().collect();
        device.upload(&rows, &[n, m])
    });
    drift.add(&before?, &after?)?;
    let map = block_on(drift.finish())?;
    let gram = Tiles::new(device, m, SIDE, 2)?;
    gram.all().iter().try_for_each(|tile| device.clear(tile))?;
    let old = device.upload(&problem.old, &[OLD, m])?;
    add_products(device, &old, 0..OLD, &symmetric(&gram, 0))?;
    let sums = device.zeros(&[2, OLD, m])?;
    device.copy(&old, 0, &sums, 0, OLD * m)?;
    let (gram, sums) = (map.carry(&gram)?, map.carry_sums(&sums)?);
    let number = |x: &[f64], at: usize| x[at] + x[x.len() / 2 + at];
    let mut lower = vec![0.0; m * (m + 1) / 2];
    for (i, j) in gram.places() {
        let tile: Vec<f64> = block_on(device.read(gram.tile(i, j)))?;
        let (rows, cols) = (gram.range(i), gram.range(j));
        for (at, (r, c)) in rows.clone().flat_map(|r| cols.clone().map(move |c| (r, c))).enumerate() {
            let x = number(&tile, at);
            if c <= r {
                lower[r * (r + 1) / 2 + c] = x;
            } else if x != number(&tile, (c - rows.start) * cols.len() + r - cols.start) {
                return Err(format!("row {r}, column {c} is not as column {r}, row {c}").into());
            }
        }
    }
    let sums: Vec<f64> = block_on(device.read(&sums))?;
    let now: Vec<f64> = (0..OLD * m).map(|at| number(&sums, at)).collect();
    let of = |x: &[f64]| triangle(&x.chunks(m).collect::<Vec<_>>(), m);
    within("G", relative(&lower, &of(&problem.now)), 1e-5)?;
    within("Q", relative(&now, &problem.now), 1e-5)?;
    within("G beside Q", relative(&lower, &of(&now)), 2e-9)
}

/// The map of a device beside that of the twins.
fn as_the_oracle(device: &Device, oracle: &Device, size: Size) -> Result<(), Failed> {
    let problem = Problem::noisy(size);
    let (map, want) = (problem.map(device, 0.1)?, problem.map(oracle, 0.1)?);
    let explained = (map.explained() - want.explained()).abs();
    let mut of_oracle = problem.statistics(oracle, 3, false)?;
    block_on(of_oracle.compensate(&want))?;
    let mut statistics = problem.statistics(device, 3, false)?;
    block_on(statistics.compensate(&map))?;
    let (got, want_of) = (block_on(statistics.export())?, block_on(of_oracle.export())?);
    let error = relative(&got.0, &want_of.0).max(relative(&got.1, &want_of.1));
    within("G and Q", error, 1e-5)?;
    within("explained", explained, 1e-4)
}

/// Features that became twice what they were: compensated statistics give half the classifier, and those of the new features
/// can be added to them.
fn doubled(device: &Device, m: usize) -> Result<(), Failed> {
    let features = Features::new(m);
    let mut statistics = features.whole(device)?;
    let want = solve(device, &statistics, GAMMA)?;
    let before: Vec<f64> = features.p.iter().map(|&x| x.into()).collect();
    let after = before.iter().map(|x| 2.0 * x).collect();
    let size = Size { n: SAMPLES, m, still: 0 };
    let problem = Problem { size, before, after, old: Vec::new(), now: Vec::new() };
    // The ridge of the map, far below that of W, hides as little of the change.
    block_on(statistics.compensate(&problem.map(device, 1e-9)?))?;
    let doubled = |w: &[f64]| -> Vec<f64> { w.iter().map(|w| 2.0 * w).collect() };
    same("compensated", &doubled(&solve(device, &statistics, 4.0 * GAMMA)?), &want)?;
    let new = Features { m, p: features.p.iter().map(|x| 2.0 * x).collect(), labels: features.labels };
    new.add(device, &mut statistics, &(0..SAMPLES).collect::<Vec<_>>(), 100, |y| y)?;
    same("and added to", &doubled(&solve(device, &statistics, 8.0 * GAMMA)?), &want)
}

fn refusals(device: &Device) -> Result<(), Failed> {
    let expect = |what: &str, holds: bool| if holds { Ok(()) } else { Err(Failed::from(what.to_string())) };
    let shape = |outcome: &Result<(), Error>| matches!(outcome, Err(Error::Shape { .. }));
    expect("no samples", shape(&block_on(Drift::new(device, 3, 0, 0, 0.1)).map(drop)))?;
    for (n, m) in [(4, 5), (5, 4)] {
        let mut drift = block_on(Drift::new(device, m, 1, n, 0.1))?;
        let x = device.upload(&random(7, (n + 1) * m, 1.0), &[n + 1, m])?;
        expect("too many samples", shape(&block_on(drift.add(&x, &x))))?;
        let one = x.prefix(&[1, m]);
        expect("unequal batches", shape(&block_on(drift.add(&one, &x.prefix(&[2, m])))))?;
        block_on(drift.add(&one, &one))?;
        expect("samples that are missing", shape(&block_on(drift.finish()).map(drop)))?;
        let mut drift = block_on(Drift::new(device, m, 1, n, 0.1))?;
        block_on(drift.add(&x.prefix(&[n, m]), &x.prefix(&[n, m])))?;
        let map = block_on(drift.finish())?;
        expect("nothing moved", map.explained() == 0.0)?;
        let mut other = Statistics::new(device, m + 1)?;
        expect("other features", shape(&block_on(other.compensate(&map))))?;
    }
    // Features of 0 leave nothing to invert.
    let mut drift = block_on(Drift::new(device, 5, 0, 4, 0.1))?;
    let x = random(8, 20, 1.0);
    block_on(drift.add(&device.zeros(&[4, 5])?, &device.upload(&x, &[4, 5])?))?;
    let outcome = block_on(drift.finish());
    let refused = matches!(outcome, Err(Error::NotPositiveDefinite { .. }));
    expect(&format!("features of 0: {:?}", outcome.map(drop)), refused)
}

pub fn trials(devices: &[(String, Device)], oracle: &Device) -> Vec<Trial> {
    let mut trials = Vec::new();
    let all = devices.iter().map(|(label, device)| (label.as_str(), device));
    for (label, device) in all.chain([("f64 twins", oracle)]) {
        let mut add = |name: String, test: Box<dyn FnOnce(&Device) -> Result<(), Failed> + Send>| {
            let device = device.clone();
            trials.push(Trial::test(format!("statistics drift {name} [{label}]"), move || test(&device)));
        };
        for size in SIZES {
            let (Size { n, m, still }, oracle) = (size, oracle.clone());
            let name = format!("n{n} m{m} still {still}");
            add(format!("{name}, linear"), Box::new(move |d| linear_drift_is_undone(d, size, false)));
            add(format!("{name}, linear, by class"), Box::new(move |d| linear_drift_is_undone(d, size, true)));
            if !device.is_double() {
                add(format!("{name}, oracle"), Box::new(move |d| as_the_oracle(d, &oracle, size)));
            }
        }
        for size in TILED {
            let Size { n, m, still } = size;
            add(format!("n{n} m{m} still {still}, tiles of {SIDE}"), Box::new(move |d| in_tiles(d, size)));
        }
        // One of more than four is held out.
        let (size, oracle) = (Size { n: 3000, m: 20, still: 7 }, oracle.clone());
        if !device.is_double() {
            add("n3000 m20, oracle".into(), Box::new(move |d| as_the_oracle(d, &oracle, size)));
        }
        for m in [37, 257, 601] {
            add(format!("m{m} doubled"), Box::new(move |d| doubled(d, m)));
        }
        add("refusals".into(), Box::new(refusals));
    }
    trials
}
