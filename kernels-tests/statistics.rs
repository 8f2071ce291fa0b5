//! The analytic head on every device: the equations hold, statistics add up in any split and order, what cannot be
//! solved is refused.

mod drift;

use libtest_mimic::{Failed, Trial};
use minoise::Error;
use minoise::device::Device;
use minoise::model::head::{MAX_FEATURES, Statistics};
use pollster::block_on;

use crate::harness::numbers;

/// Around one tile and two, and a prime.
const SIZES: [usize; 7] = [1, 37, 255, 256, 257, 513, 601];
const CLASSES: usize = 7;
const SAMPLES: usize = 331;
const GAMMA: f64 = 0.5;
/// Relative to the largest entry of W.
const SAME: f64 = 1e-4;

/// Random features and labels.
struct Features {
    m: usize,
    p: Vec<f32>,
    labels: Vec<u32>,
}

impl Features {
    fn new(m: usize) -> Self {
        let p = numbers(m as u64, SAMPLES * m).into_iter().map(|x| x.max(-0.1) + 0.1).collect();
        Self { m, p, labels: (0..SAMPLES).map(|i| (i * i % CLASSES) as u32).collect() }
    }

    /// Adds the samples `idx` in batches of `size`, with labels renumbered by `label`.
    fn add(
        &self,
        device: &Device,
        to: &mut Statistics,
        idx: &[usize],
        size: usize,
        label: impl Fn(u32) -> u32,
    ) -> Result<(), Failed> {
        for idx in idx.chunks(size) {
            let p: Vec<f32> = idx.iter().flat_map(|&i| &self.p[i * self.m..(i + 1) * self.m]).copied().collect();
            let labels: Vec<u32> = idx.iter().map(|&i| label(self.labels[i])).collect();
            block_on(to.add(device, &device.upload(&p, &[idx.len(), self.m])?, &labels))?;
        }
        Ok(())
    }

    fn whole(&self, device: &Device) -> Result<Statistics, Failed> {
        let mut statistics = Statistics::new(device, self.m)?;
        statistics.widen(CLASSES)?;
        self.add(device, &mut statistics, &(0..SAMPLES).collect::<Vec<_>>(), SAMPLES, |y| y)?;
        Ok(statistics)
    }

    /// `p^T p` by plain loops.
    fn gram(&self) -> Vec<f64> {
        let m = self.m;
        let mut gram = vec![0.0; m * m];
        for row in self.p.chunks(m) {
            for (i, x) in row.iter().enumerate() {
                let to = &mut gram[i * m..][..m];
                to.iter_mut().zip(row).for_each(|(to, y)| *to += f64::from(*x) * f64::from(*y));
            }
        }
        gram
    }

    /// The normal equations `p^T (p W - Y) + gamma W = 0`, summed from the samples by plain loops and not from G: what they
    /// are missed by is 1e-6 of Q, as solvers promise, and what comes of rounding W to f32.
    fn judge(&self, w: &[f64], gamma: f64) -> Result<(), Failed> {
        let (m, classes) = (self.m, w.len() / self.m);
        let (mut missing, mut q) = (vec![0.0; classes * m], vec![0.0; classes * m]);
        for (p, label) in self.p.chunks(m).zip(&self.labels) {
            for c in 0..classes {
                let logit: f64 = p.iter().zip(&w[c * m..]).map(|(p, w)| f64::from(*p) * w).sum();
                let y = f64::from(u8::from(*label as usize == c));
                for (k, p) in p.iter().enumerate() {
                    missing[c * m + k] += f64::from(*p) * (logit - y);
                    q[c * m + k] += f64::from(*p) * y;
                }
            }
        }
        let gram = self.gram();
        let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
        for (c, w) in w.chunks(m).enumerate() {
            let of_class = c * m..(c + 1) * m;
            let missing: Vec<_> = missing[of_class.clone()].iter().zip(w).map(|(r, w)| r + gamma * w).collect();
            // Every entry of W is off by half a unit; errors add up in squares.
            let row = |j: usize| (0..m).map(|k| (gram[j * m + k] * w[k]).powi(2)).sum::<f64>() + (gamma * w[j]).powi(2);
            let rounding = 0.5 * f64::from(f32::EPSILON) * (0..m).map(row).sum::<f64>().sqrt();
            let (error, size) = (norm(&missing), norm(&q[of_class]));
            let bound = 1e-6 * size + rounding;
            if error.is_nan() || error > bound || bound > 0.1 * size {
                let why = format!("class {c} misses its equations by {error:e} of {size:e}, bound {bound:e}");
                return Err(why.into());
            }
        }
        Ok(())
    }

    fn predictions(&self, w: &[f64]) -> Vec<usize> {
        let logit = |i: usize, c: usize| -> f64 {
            (0..self.m).map(|k| f64::from(self.p[i * self.m + k]) * w[c * self.m + k]).sum()
        };
        let best = |i| (0..CLASSES).max_by(|&a, &b| logit(i, a).total_cmp(&logit(i, b))).unwrap_or(0);
        (0..SAMPLES).map(best).collect()
    }
}

/// W^T [C, m] on the host.
fn solve(device: &Device, statistics: &Statistics, gamma: f64) -> Result<Vec<f64>, Error> {
    let solution = block_on(statistics.solve(device, gamma, &mut |_| ()))?;
    block_on(device.read(&solution.weights))
}

fn largest(x: impl Iterator<Item = f64>) -> f64 {
    x.fold(0.0, |top: f64, x| if x.is_finite() { top.max(x.abs()) } else { f64::INFINITY })
}

fn same(what: &str, got: &[f64], want: &[f64]) -> Result<(), Failed> {
    let error = largest(got.iter().zip(want).map(|(x, y)| x - y)) / largest(want.iter().copied());
    if got.len() == want.len() && error <= SAME {
        Ok(())
    } else {
        Err(format!("{what}: W differs by {error:e}").into())
    }
}

fn equations_hold(device: &Device, m: usize) -> Result<(), Failed> {
    let features = Features::new(m);
    let w = solve(device, &features.whole(device)?, GAMMA)?;
    features.judge(&w, GAMMA)
}

fn splits_add_up(device: &Device, m: usize) -> Result<(), Failed> {
    let features = Features::new(m);
    let whole = features.whole(device)?;
    let want = solve(device, &whole, GAMMA)?;
    // Another order, batches of a prime size, classes that come one by one.
    let order: Vec<usize> = (0..SAMPLES).map(|i| i * 100 % SAMPLES).collect();
    let mut by_class = Statistics::new(device, m)?;
    for class in 0..CLASSES {
        by_class.widen(class + 1)?;
        let of_class: Vec<usize> = order.iter().copied().filter(|&i| features.labels[i] as usize == class).collect();
        features.add(device, &mut by_class, &of_class, 17, |y| y)?;
    }
    same("class by class", &solve(device, &by_class, GAMMA)?, &want)?;
    // Two places: one numbers the classes backwards, the other knows three of them only; both have seen class 1.
    let (low, high): (Vec<usize>, Vec<usize>) = order.iter().partition(|&&i| features.labels[i] < 3 && i % 2 == 0);
    let mut a = Statistics::new(device, m)?;
    a.widen(CLASSES)?;
    features.add(device, &mut a, &high, 50, |y| CLASSES as u32 - 1 - y)?;
    let mut b = Statistics::new(device, m)?;
    b.widen(3)?;
    features.add(device, &mut b, &low, 1, |y| y)?;
    let mut merged = Statistics::new(device, m)?;
    merged.widen(CLASSES)?;
    block_on(merged.merge(&a, &(0..CLASSES).rev().collect::<Vec<_>>()))?;
    let before = block_on(merged.fork())?;
    block_on(merged.merge(&b, &[0, 1, 2]))?;
    let got = solve(device, &merged, GAMMA)?;
    same("merged", &got, &want)?;
    if merged.counts() != whole.counts() || features.predictions(&got) != features.predictions(&want) {
        return Err("merged statistics predict as the whole, from as many samples".into());
    }
    // The fork has seen nothing of what came after it.
    let mut again = before;
    features.add(device, &mut again, &low, SAMPLES, |y| y)?;
    same("fork", &solve(device, &again, GAMMA)?, &want)
}

fn refusals(device: &Device) -> Result<(), Failed> {
    let expect = |what: &str, holds: bool| if holds { Ok(()) } else { Err(Failed::from(what.to_string())) };
    let features = Features::new(300);
    let mut statistics = features.whole(device)?;
    let unsolvable = |e: &Error| matches!(e, Error::NotPositiveDefinite { .. } | Error::IllConditioned { .. });
    let bad = solve(device, &statistics, -1e9).unwrap_err();
    let first = matches!(bad, Error::NotPositiveDefinite { column: 0, pivot } if pivot < 0.0);
    expect(&format!("a negative matrix fails in column 0, not {bad:?}"), first)?;
    expect("the message names the way out", bad.to_string().contains("larger gamma"))?;
    let (p, label) = (device.upload(&features.p[..300], &[1, 300])?, [CLASSES as u32]);
    let add = block_on(statistics.add(device, &p, &label));
    expect("a label that is no class is refused", matches!(add, Err(Error::Shape { arg: "labels", .. })))?;
    let add = block_on(statistics.add(device, &p, &[0, 1]));
    expect("two labels of one sample are refused", matches!(add, Err(Error::Shape { arg: "p", .. })))?;
    let nan = device.upload(&vec![f32::NAN; 300], &[1, 300])?;
    let mut poisoned = block_on(statistics.fork())?;
    block_on(poisoned.add(device, &nan, &[0]))?;
    let outcome = solve(device, &poisoned, GAMMA);
    expect("NaN is no classifier", outcome.as_ref().is_err_and(unsolvable))?;
    let limit = Statistics::new(device, MAX_FEATURES + 1);
    expect("too many features are refused", matches!(limit, Err(Error::Limit { .. })))?;
    let small = Statistics::new(device, 299)?;
    expect("other features do not merge", matches!(block_on(statistics.merge(&small, &[])), Err(Error::Shape { .. })))?;
    // More features than samples: without gamma the matrix is singular.
    let mut few = Statistics::new(device, 300)?;
    few.widen(CLASSES)?;
    features.add(device, &mut few, &[0, 1, 2, 3], 4, |y| y)?;
    match solve(device, &few, 0.0) {
        // Conjugate gradients find the smallest of its many solutions.
        Ok(w) if !device.is_cpu() => {
            let (p, labels) = (features.p[..4 * 300].to_vec(), features.labels[..4].to_vec());
            Features { p, labels, ..features }.judge(&w, 0.0)
        }
        Ok(_) => Err("a singular matrix has no classifier".into()),
        Err(e) => expect(&format!("{e:?} is no typed failure"), unsolvable(&e)),
    }
}

/// A gamma that leaves condition numbers of about 1e10: a solution that meets its equations, or a typed failure.
fn ill_conditioned(device: &Device) -> Result<(), Failed> {
    let (features, gamma) = (Features::new(601), 1e-6);
    match solve(device, &features.whole(device)?, gamma) {
        Ok(w) => features.judge(&w, gamma),
        Err(Error::NotPositiveDefinite { .. } | Error::IllConditioned { .. }) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// A forgotten class leaves what there would be without it: to the last bit by class, within rounding of the sum of all.
fn forgetting(device: &Device) -> Result<(), Failed> {
    let features = Features::new(300);
    let of = |wanted: &dyn Fn(usize) -> bool| -> Vec<usize> {
        (0..SAMPLES).filter(|&i| wanted(features.labels[i] as usize)).collect()
    };
    // Squares leave 0, 1, 2, 4 when divided by 7; class 2 goes and those above move up.
    let up = |y: u32| if y > 2 { y - 1 } else { y };
    let mut kept = Statistics::by_class(300)?;
    kept.widen(CLASSES)?;
    features.add(device, &mut kept, &of(&|_| true), 40, |y| y)?;
    let whole = solve(device, &features.whole(device)?, GAMMA)?;
    same("by class", &solve(device, &kept, GAMMA)?, &whole)?;
    let before = block_on(kept.fork())?;
    kept.forget(2)?;
    let mut never = Statistics::by_class(300)?;
    never.widen(CLASSES - 1)?;
    let without = of(&|y| y != 2);
    // The same batches, less the class: then sums have the same order.
    for idx in of(&|_| true).chunks(40) {
        let idx: Vec<usize> = idx.iter().copied().filter(|i| without.contains(i)).collect();
        features.add(device, &mut never, &idx, 40, up)?;
    }
    let (got, want) = (solve(device, &kept, GAMMA)?, solve(device, &never, GAMMA)?);
    if got != want || kept.counts() != never.counts() {
        return Err("a forgotten class leaves a trace".into());
    }
    let mut plain = Statistics::new(device, 300)?;
    plain.widen(CLASSES - 1)?;
    features.add(device, &mut plain, &without, SAMPLES, up)?;
    same("forgotten", &got, &solve(device, &plain, GAMMA)?)?;
    let mut again = Statistics::by_class(300)?;
    let (gram, sums) = block_on(before.export())?;
    again.import(before.counts().to_vec(), &gram, &sums)?;
    again.forget(2)?;
    if solve(device, &again, GAMMA)? != got {
        return Err("statistics differ after export and import".into());
    }
    let refused = matches!(plain.forget(0), Err(Error::Unsupported(_)))
        && matches!(kept.forget(CLASSES), Err(Error::Shape { .. }))
        && matches!(block_on(kept.merge(&plain, &[0, 1, 2, 3, 4, 5])), Err(Error::Mismatch { .. }));
    if refused { Ok(()) } else { Err("what cannot be forgotten or joined is refused".into()) }
}

/// The score against its definition: `RSS = |Y - P W|^2` from the data, `dof = tr G (G + gamma I)^-1` by Gauss-Jordan.
fn scores(device: &Device, m: usize) -> Result<(), Failed> {
    let features = Features::new(m);
    let statistics = features.whole(device)?;
    let p = |i: usize, k: usize| f64::from(features.p[i * m + k]);
    let gram = features.gram();
    for gamma in [0.02, 0.5, 30.0] {
        // [G + gamma I | I], reduced without pivoting, which a positive definite matrix allows.
        let mut rows: Vec<Vec<f64>> = (0..m)
            .map(|i| {
                let unit = (0..m).map(|k| f64::from(u8::from(k == i)));
                let shifted = gram[i * m..(i + 1) * m].iter().zip(unit.clone()).map(|(g, u)| g + gamma * u);
                shifted.chain(unit).collect()
            })
            .collect();
        for k in 0..m {
            let scaled: Vec<f64> = rows[k].iter().map(|x| x / rows[k][k]).collect();
            for i in (0..m).filter(|&i| i != k) {
                let by = rows[i][k];
                rows[i].iter_mut().zip(&scaled).for_each(|(x, s)| *x -= by * s);
            }
            rows[k] = scaled;
        }
        let inverse = |i: usize, k: usize| rows[i][m + k];
        let dof: f64 = (0..m * m).map(|at| gram[at] * inverse(at / m, at % m)).sum();
        let q = |k: usize, c: usize| -> f64 {
            (0..SAMPLES).filter(|&i| features.labels[i] as usize == c).map(|i| p(i, k)).sum()
        };
        let mut rss = 0.0;
        for c in 0..CLASSES {
            let of_class: Vec<f64> = (0..m).map(|k| q(k, c)).collect();
            let w: Vec<f64> = (0..m).map(|i| (0..m).map(|k| inverse(i, k) * of_class[k]).sum()).collect();
            for i in 0..SAMPLES {
                let logit: f64 = (0..m).map(|k| p(i, k) * w[k]).sum();
                rss += (f64::from(u8::from(features.labels[i] as usize == c)) - logit).powi(2);
            }
        }
        let n = SAMPLES as f64;
        let want = rss / n / (1.0 - dof / n).powi(2);
        let got = block_on(statistics.gcv(gamma))?;
        let error = (got / want - 1.0).abs();
        // Features of a device are f32, as are those here; the rest is float64.
        if error.is_nan() || error > 1e-7 {
            return Err(format!("gamma {gamma}: score {got} for {want}, off by {error:e}").into());
        }
    }
    let (chosen, mean) =
        (block_on(statistics.choose_gamma(None))?, (0..m).map(|k| gram[k * m + k]).sum::<f64>() / m as f64);
    let decades = (0..=5).map(|k| 10f64.powi(mean.log10().floor() as i32 - k));
    let least = block_on(statistics.gcv(chosen))?;
    for gamma in decades {
        if block_on(statistics.gcv(gamma)).is_ok_and(|score| score < least * (1.0 - 1e-9)) {
            return Err(format!("gamma {chosen} was chosen, {gamma} scores less").into());
        }
    }
    Ok(())
}

/// A gamma is found for the ill-conditioned golden problems, and it can be solved with.
fn golden_gamma(device: &Device, name: &str) -> Result<(), Failed> {
    let path = format!("{}/kernels-tests/golden/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
    let golden = minoise::model::weights::Weights::read(path.as_ref())?;
    let labels: Vec<u32> = golden.get("y")?.iter().map(|&y| y as u32).collect();
    let mut statistics = Statistics::new(device, golden.shape("p")?[1])?;
    statistics.widen(golden.shape("W")?[1])?;
    block_on(statistics.add(device, &device.upload(golden.get("p")?, golden.shape("p")?)?, &labels))?;
    let gamma = block_on(statistics.choose_gamma(None))?;
    let w = solve(device, &statistics, gamma)?;
    let p = golden.get("p")?.iter().map(|&x| x as f32).collect();
    Features { m: statistics.features(), p, labels }.judge(&w, gamma)?;
    let empty = block_on(Statistics::new(device, 5)?.choose_gamma(None));
    if matches!(empty, Err(Error::Config(_))) {
        Ok(())
    } else {
        Err("without samples there is nothing to choose by".into())
    }
}

pub fn trials(devices: &[(String, Device)], oracle: &Device) -> Vec<Trial> {
    let mut trials = Vec::new();
    let all = devices.iter().map(|(label, device)| (label.as_str(), device));
    for (label, device) in all.chain([("f64 twins", oracle)]) {
        for m in SIZES {
            let (one, two) = (device.clone(), device.clone());
            let name = format!("statistics m{m} equations [{label}]");
            trials.push(Trial::test(name, move || equations_hold(&one, m)));
            trials.push(Trial::test(format!("statistics m{m} splits [{label}]"), move || splits_add_up(&two, m)));
        }
        let (one, two) = (device.clone(), device.clone());
        trials.push(Trial::test(format!("statistics refusals [{label}]"), move || refusals(&one)));
        trials.push(Trial::test(format!("statistics condition 1e10 [{label}]"), move || ill_conditioned(&two)));
        let one = device.clone();
        trials.push(Trial::test(format!("statistics forget [{label}]"), move || forgetting(&one)));
        for m in [1, 37, 301] {
            let one = device.clone();
            trials.push(Trial::test(format!("statistics m{m} choice of gamma [{label}]"), move || scores(&one, m)));
        }
        for name in ["ridge-512-c1e5", "ridge-384-c1e7"] {
            let one = device.clone();
            let trial = Trial::test(format!("statistics gamma of {name} [{label}]"), move || golden_gamma(&one, name));
            trials.push(trial);
        }
    }
    trials.extend(drift::trials(devices, oracle));
    trials
}
