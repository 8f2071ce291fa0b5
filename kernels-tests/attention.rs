//! Attention: token counts around the tiles, heads, head dimensions, large scores, many workgroups, prefixes. The f64
//! reference here also gives the error bounds of both backward kernels.

use minoise::device::{Device, Tensor};
use minoise::kernels::attention::Attention;
use minoise::{Error, Result};

use crate::harness::{Case, Output, case, input, numbers, output, poisoned, run_planned};

pub const EPS: f64 = f32::EPSILON as f64;

/// Sizes and inputs; entries of qkv and prefix lie in (-amplitude, amplitude), those of dy in (-1, 1).
#[derive(Clone, Copy)]
pub struct Problem {
    pub batch: usize,
    pub tokens: usize,
    pub heads: usize,
    pub dim: usize,
    /// Rows in front of those of the tokens; none where there is no prefix.
    pub prefix: usize,
    pub amplitude: f32,
}

const fn problem(batch: usize, tokens: usize, heads: usize, dim: usize) -> Problem {
    Problem { batch, tokens, heads, dim, prefix: 0, amplitude: 1.0 }
}

const PROBLEMS: [Problem; 25] = [
    problem(1, 1, 1, 12),
    problem(2, 2, 3, 16),
    problem(3, 17, 3, 32),
    problem(1, 31, 1, 48),
    problem(2, 32, 5, 64),
    problem(1, 33, 3, 80),
    problem(2, 65, 1, 64),
    problem(1, 197, 3, 64),
    problem(1, 37, 2, 4),
    problem(1, 35, 1, 128),
    problem(1, 66, 1, 100),
    problem(1, 131, 2, 96),
    problem(1, 1000, 1, 32),
    problem(1, 4096, 1, 4),
    problem(0, 5, 1, 16),
    // Scores up to 80 in size.
    Problem { amplitude: 8.0, ..problem(1, 65, 3, 64) },
    Problem { amplitude: 9.0, ..problem(2, 17, 1, 32) },
    // More workgroups than one dimension of a dispatch takes.
    problem(65_537, 1, 1, 4),
    Problem { prefix: 1, ..problem(65_537, 1, 1, 4) },
    // A prefix with padded and with wide heads, longer than the tokens, of no image, and of large scores.
    Problem { prefix: 7, ..problem(1, 35, 1, 100) },
    Problem { prefix: 5, ..problem(1, 9, 1, 128) },
    Problem { prefix: 5, ..problem(2, 33, 3, 64) },
    Problem { prefix: 300, ..problem(1, 3, 2, 16) },
    Problem { prefix: 5, ..problem(0, 5, 1, 16) },
    Problem { prefix: 5, amplitude: 8.0, ..problem(1, 65, 3, 64) },
];

/// All problems: those above, and every length of a prefix in front of every number of tokens.
pub fn problems() -> Vec<Problem> {
    let prefixed = |prefix| [1, 17, 65, 197].map(|tokens| Problem { prefix, ..problem(2, tokens, 2, 8) });
    PROBLEMS.into_iter().chain([1, 5, 20, 33].into_iter().flat_map(prefixed)).collect()
}

/// Those of few images.
pub fn examples_of(work: impl Fn(Problem) -> Result<Vec<Output>>) -> Result<()> {
    problems().into_iter().filter(|p| p.batch < 100).try_for_each(|p| work(p).map(drop))
}

impl Problem {
    pub fn name(&self, kernel: &str) -> String {
        let Self { batch, tokens, heads, dim, prefix, amplitude } = self;
        let behind = if *prefix > 0 { format!(" behind {prefix}") } else { String::new() };
        format!("{kernel} batch {batch}, {tokens} tokens{behind}, {heads} heads of {dim}, amplitude {amplitude}")
    }

    pub fn width(&self) -> usize {
        self.heads * self.dim
    }

    pub fn rows(&self) -> usize {
        self.batch * self.tokens
    }

    pub fn scores(&self) -> usize {
        self.batch * self.heads * self.tokens
    }

    pub fn qkv(&self) -> Vec<f32> {
        numbers(1, self.rows() * 3 * self.width()).into_iter().map(|x| x * self.amplitude).collect()
    }

    pub fn prefix_shape(&self) -> [usize; 4] {
        [self.batch, 2, self.prefix, self.width()]
    }

    fn prefix_rows(&self) -> Vec<f32> {
        numbers(4, self.prefix_shape().iter().product()).into_iter().map(|x| x * self.amplitude).collect()
    }

    /// The prefix, where there is one.
    pub fn prefix(&self, device: &Device) -> Result<Option<Tensor>> {
        let uploaded = || input(device, &self.prefix_rows(), &self.prefix_shape());
        (self.prefix > 0).then(uploaded).transpose()
    }

    pub fn dy(&self) -> Vec<f32> {
        numbers(2, self.rows() * self.width())
    }

    fn heads(&self) -> impl Iterator<Item = Head> + use<> {
        let p = *self;
        (0..p.batch * p.heads).map(move |i| Head { p, image: i / p.heads, head: i % p.heads })
    }

    pub fn reference(&self) -> Reference {
        let (qkv, prefix, dy) = (self.qkv(), self.prefix_rows(), self.dy());
        let (n, dim, scale) = (self.tokens, self.dim, 1.0 / (self.dim as f64).sqrt());
        let keys = self.prefix + n;
        let (scores, values) = (self.scores(), self.rows() * self.width());
        let mut r = Reference {
            lse: vec![0.0; scores],
            out: vec![0.0; values],
            delta: vec![0.0; scores],
            lse_bound: vec![0.0; scores],
            out_bound: vec![0.0; values],
            delta_bound: vec![0.0; scores],
            dqkv_bound: vec![0.0; 3 * values],
            dprefix_bound: vec![0.0; prefix.len()],
            wide_lse: vec![0.0; scores],
            wide_out: vec![0.0; values],
            wide_delta: vec![0.0; scores],
            dqkv: vec![0.0; 3 * values],
            dprefix: vec![0.0; prefix.len()],
        };
        let sums = (keys + 16) as f64 * EPS;
        let dots = (dim + 4) as f64 * EPS;
        for h in self.heads() {
            let q = |i| &qkv[h.qkv(0, i)..][..dim];
            // Keys (part 0) and values, those of the prefix first.
            let key = |part, j| {
                let (rows, at) = if j < self.prefix { (&prefix, h.prefix(part, j)) } else { (&qkv, h.key(part, j)) };
                &rows[at..][..dim]
            };
            let dy = |i| &dy[h.value(i)..][..dim];
            for i in 0..n {
                let s: Vec<_> = (0..keys).map(|j| scale * dot(q(i), key(0, j)).0).collect();
                let ds: Vec<_> = (0..keys).map(|j| dots * scale * dot(q(i), key(0, j)).1).collect();
                let high = s.iter().copied().fold(f64::MIN, f64::max);
                let lse = high + s.iter().map(|s| (s - high).exp()).sum::<f64>().ln();
                let p: Vec<_> = s.iter().map(|s| (s - lse).exp()).collect();
                let at = h.score(i);
                (r.wide_lse[at], r.lse[at]) = (lse, lse as f32);
                // Errors of the scores, of the sum, and of log and addition.
                let mean: f64 = p.iter().zip(&ds).map(|(p, e)| p * e).sum();
                r.lse_bound[at] = mean + sums + 4.0 * EPS * (1.0 + high.abs() + (lse - high).abs());
                // Relative error of an exponential: that of its argument, and 3 + 2 |x| units in the last place.
                let e: Vec<_> = (0..keys).map(|j| ds[j] + (4.0 + 3.0 * (s[j] - high).abs()) * EPS).collect();
                let mean: f64 = p.iter().zip(&e).map(|(p, e)| p * e).sum();
                for c in 0..dim {
                    let v = |j| f64::from(key(1, j)[c]);
                    let sum = (0..keys).map(|j| p[j] * v(j)).sum::<f64>();
                    (r.wide_out[h.value(i) + c], r.out[h.value(i) + c]) = (sum, sum as f32);
                    r.out_bound[h.value(i) + c] = (0..keys).map(|j| p[j] * v(j).abs() * (e[j] + mean + sums)).sum();
                }
                // The backward kernels receive lse, out and delta rounded to f32; p = exp(s - lse) has their error too.
                let out = &r.out[h.value(i)..][..dim];
                let (delta, size) = dot(dy(i), out);
                (r.wide_delta[at], r.delta[at]) = (delta, delta as f32);
                r.delta_bound[at] = dots * size + 1e-30;
                for j in 0..keys {
                    let e = ds[j] + (4.0 + 3.0 * (s[j] - lse).abs() + lse.abs()) * EPS;
                    let (dp, dp_size) = dot(dy(i), key(1, j));
                    let g = p[j] * (dp - delta);
                    // By the inputs of the backward kernels: that of keys gets delta rounded.
                    let p_given = (s[j] - f64::from(r.lse[at])).exp();
                    let [of_q, of_k] = [delta, f64::from(r.delta[at])].map(|delta| scale * p_given * (dp - delta));
                    let g_error = p[j] * ((dp - delta).abs() * e + dots * (dp_size + size)) + g.abs() * sums;
                    for c in 0..dim {
                        let k = f64::from(key(0, j)[c]);
                        r.dqkv[h.qkv(0, i) + c] += of_q * k;
                        r.dqkv_bound[h.qkv(0, i) + c] += scale * k.abs() * g_error;
                    }
                    let (to, bound, [dk, dv]) = if j < self.prefix {
                        (&mut r.dprefix, &mut r.dprefix_bound, [0, 1].map(|part| h.prefix(part, j)))
                    } else {
                        (&mut r.dqkv, &mut r.dqkv_bound, [0, 1].map(|part| h.key(part, j)))
                    };
                    for c in 0..dim {
                        let [q, dy] = [q(i)[c], dy(i)[c]].map(f64::from);
                        to[dk + c] += of_k * q;
                        to[dv + c] += p_given * dy;
                        bound[dk + c] += scale * q.abs() * g_error;
                        bound[dv + c] += p[j] * dy.abs() * (e + sums);
                    }
                }
            }
        }
        r
    }
}

struct Head {
    p: Problem,
    image: usize,
    head: usize,
}

impl Head {
    fn qkv(&self, part: usize, i: usize) -> usize {
        ((self.image * self.p.tokens + i) * 3 + part) * self.p.width() + self.head * self.p.dim
    }

    /// Key number `j` (part 0) or its value, which a token has.
    fn key(&self, part: usize, j: usize) -> usize {
        self.qkv(1 + part, j - self.p.prefix)
    }

    fn prefix(&self, part: usize, j: usize) -> usize {
        ((self.image * 2 + part) * self.p.prefix + j) * self.p.width() + self.head * self.p.dim
    }

    fn value(&self, i: usize) -> usize {
        (self.image * self.p.tokens + i) * self.p.width() + self.head * self.p.dim
    }

    fn score(&self, i: usize) -> usize {
        (self.image * self.p.heads + self.head) * self.p.tokens + i
    }
}

/// Sum of products, and of their sizes.
fn dot(a: &[f32], b: &[f32]) -> (f64, f64) {
    a.iter().zip(b).fold((0.0, 0.0), |(x, y), (a, b)| {
        let product = f64::from(*a) * f64::from(*b);
        (x + product, y + product.abs())
    })
}

/// Results by plain loops; those of the forward pass also rounded to f32, as the backward kernels receive them; the errors
/// that f32 kernels may make.
pub struct Reference {
    pub lse: Vec<f32>,
    pub out: Vec<f32>,
    pub delta: Vec<f32>,
    pub lse_bound: Vec<f64>,
    pub out_bound: Vec<f64>,
    pub delta_bound: Vec<f64>,
    pub dqkv_bound: Vec<f64>,
    pub dprefix_bound: Vec<f64>,
    pub wide_lse: Vec<f64>,
    pub wide_out: Vec<f64>,
    pub wide_delta: Vec<f64>,
    pub dqkv: Vec<f64>,
    pub dprefix: Vec<f64>,
}

impl Reference {
    /// `tensor` [rows, 3 width], of which a kernel has written these of the parts q, k, v over `before`.
    pub fn dqkv(&self, tensor: Tensor, parts: std::ops::Range<usize>, before: &[f32]) -> Output {
        let width = tensor.cols() / 3;
        let written = |i: usize| parts.contains(&(i / width.max(1) % 3));
        let choose = |new: &[f64], old: &dyn Fn(usize) -> f64| -> Vec<f64> {
            (0..before.len()).map(|i| if written(i) { new[i] } else { old(i) }).collect()
        };
        let naive = choose(&self.dqkv, &|i| before[i].into());
        let bound = choose(&self.dqkv_bound, &|_| f64::MIN_POSITIVE);
        output("dqkv", tensor, bound).naive(|| naive)
    }
}

fn forward(device: &Device, p: Problem) -> Result<Vec<Output>> {
    let Problem { batch, tokens, heads, .. } = p;
    let (qkv, prefix) = (input(device, &p.qkv(), &[p.rows(), 3 * p.width()])?, p.prefix(device)?);
    let prefix = prefix.as_ref();
    let r = p.reference();
    let mut all = Vec::new();
    for on_gpu in [false, true] {
        let (out, lse) = (poisoned(device, &[p.rows(), p.width()])?, poisoned(device, &[p.scores()])?);
        let kernel = Attention { qkv: &qkv, prefix, out: &out, lse: Some(&lse), batch, tokens, heads };
        run_planned(device, kernel, on_gpu)?;
        let [wide_out, wide_lse] = [r.wide_out.clone(), r.wide_lse.clone()];
        all.push(output("out", out, r.out_bound.clone()).naive(|| wide_out));
        all.push(output("lse", lse, r.lse_bound.clone()).naive(|| wide_lse));
    }
    // Once more as outside training; small heads suffice, since software devices compile for seconds.
    if p.dim <= 32 {
        for on_gpu in [false, true] {
            let out = poisoned(device, &[p.rows(), p.width()])?;
            let kernel = Attention { qkv: &qkv, prefix, out: &out, lse: None, batch, tokens, heads };
            run_planned(device, kernel, on_gpu)?;
            all.push(output("out without lse", out, r.out_bound.clone()));
        }
    }
    Ok(all)
}

fn refused(device: &Device) -> Result<Vec<Output>> {
    for dim in [6, 132] {
        let (qkv, out) = (device.reals(&[5, 3 * dim])?, device.reals(&[5, dim])?);
        let attention = Attention { qkv: &qkv, prefix: None, out: &out, lse: None, batch: 1, tokens: 5, heads: 1 };
        assert!(matches!(device.run(&attention), Err(Error::Unsupported(_))), "{dim}");
    }
    let (qkv, out) = (device.reals(&[5, 24])?, device.reals(&[5, 8])?);
    let attention = Attention { qkv: &qkv, prefix: None, out: &out, lse: None, batch: 1, tokens: 4, heads: 1 };
    assert!(matches!(device.run(&attention), Err(Error::Shape { arg: "qkv", .. })));
    // Of other heads, of half a row, and of none.
    let whole = device.reals(&[64])?;
    for shape in [&[1, 2, 3, 4][..], &[3, 8], &[1, 2, 0, 8]] {
        let prefix = whole.prefix(shape);
        let attention = Attention { prefix: Some(&prefix), tokens: 5, ..attention };
        assert!(matches!(device.run(&attention), Err(Error::Shape { arg: "prefix", .. })), "{shape:?}");
    }
    Ok(Vec::new())
}

pub fn cases() -> Vec<Case> {
    let mut all: Vec<_> = problems().into_iter().map(|p| case(p.name("attention"), move |d| forward(d, p))).collect();
    all.push(case("attention refuses odd heads and shapes".into(), refused));
    all
}

pub fn examples(device: &Device) -> Result<()> {
    examples_of(|p| forward(device, p))
}
