//! Matrix product in halves: f16 arithmetic and cooperative matrices, every tile by its plan, against the f64 twin with A
//! rounded as these variants round it.

use half::f16;
use minoise::Result;
use minoise::device::{Caps, Device, Plan, Planned, Tensor};
use minoise::kernels::gemm::{Activation, Gemm, Layout, MATRIX_TILES, Mat, MatrixTile, TILES, Tile};

use crate::gemm::{LAYOUTS, bound, shapes};
use crate::harness::{Case, Needs, Output, case_for, guarded, numbers, poisoned, random};

/// A variant with one tile.
#[derive(Clone, Copy)]
struct Variant {
    name: &'static str,
    needs: Needs,
    /// Rows and columns of the tile.
    tile: [usize; 2],
    index: usize,
    plan: fn(&Gemm<'_>, usize, &Caps) -> Option<Plan>,
    /// Roundings to halves that a product passes through on its way to the sum.
    roundings: usize,
}

fn variants() -> Vec<Variant> {
    let half = |(index, tile): (usize, &Tile)| Variant {
        name: "f16 arithmetic",
        needs: Needs { what: "f16 arithmetic", has: |caps| caps.f16 },
        tile: [tile.rows, tile.cols],
        index,
        plan: |gemm, i, caps| gemm.half(&TILES[i], caps),
        // As many as terms in a partial sum.
        roundings: 8,
    };
    let matrix = |(index, tile): (usize, &MatrixTile)| Variant {
        name: "cooperative matrices",
        needs: Needs {
            what: "cooperative matrices and 32 KiB of workgroup memory",
            has: |caps| caps.matrix.is_some() && caps.workgroup_memory >= 32 << 10,
        },
        tile: [tile.rows, tile.cols],
        index,
        plan: |gemm, i, caps| gemm.matrix(&MATRIX_TILES[i], caps),
        roundings: 0,
    };
    TILES.iter().enumerate().map(half).chain(MATRIX_TILES.iter().enumerate().map(matrix)).collect()
}

impl Variant {
    /// Runs the plan of the variant; the device's own where its caps do not allow it, as on the CPU device, the judge.
    fn run(&self, device: &Device, gemm: Gemm<'_>) -> Result<()> {
        if let Some(plan) = (self.plan)(&gemm, self.index, device.caps()) {
            return device.run(&Planned(gemm, plan));
        }
        assert!(!(self.needs.has)(device.caps()), "{} cannot be planned", self.name);
        device.run(&gemm)
    }

    /// [`bound`], and that of the roundings to halves: each is 2^-11 of a partial sum, or 2^-25 where that is tiny.
    fn bound(&self, layout: Layout, mnk: [usize; 3], a: &[f32], b: &[f32], extra: f64) -> Result<Vec<f64>> {
        let of_sums = bound(layout, mnk, a, b, extra)?;
        let eps = f64::from(f32::EPSILON);
        let in_halves = |x: f64| {
            let sum = (x / eps - extra) / (mnk[2] + 4) as f64;
            self.roundings as f64 * (sum / 2048.0 + mnk[2] as f64 / f64::from(1 << 25))
        };
        Ok(of_sums.into_iter().map(|x| x + in_halves(x)).collect())
    }

    fn product(&self, device: &Device, layout: Layout, mnk: [usize; 3], full: bool) -> Result<Vec<Output>> {
        let [m, n, k] = mnk;
        let (sa, sb) = shapes(layout, mnk);
        let (da, db) = (numbers(1, m * k), halves(2, k * n));
        let (a, b) = (rounded(device, &da, &sa)?, device.upload_f16(&db, &sb)?);
        let wide: Vec<_> = db.iter().map(|x| x.to_f32()).collect();
        if !full {
            let out = poisoned(device, &[m, n])?;
            self.run(device, Gemm::new(layout, &a, &b, &out)?)?;
            return Ok(vec![Output { name: "out", tensor: out, bound: self.bound(layout, mnk, &da, &wide, 0.0)? }]);
        }
        let (bias, residual) = (random(device, 3, &[n])?, random(device, 4, &[m, n])?);
        let (out, pre) = (guarded(device, &numbers(5, m * n), &[m, n])?, poisoned(device, &[m, n])?);
        let gemm = Gemm {
            bias: Some(Mat::of(&bias)),
            residual: Some(&residual),
            pre: Some(&pre),
            activation: Activation::Gelu,
            accumulate: true,
            alpha: 0.75,
            ..Gemm::new(layout, &a, &b, &out)?
        };
        self.run(device, gemm)?;
        // The slope of GELU is below 1.13; erf adds 6e-7 |x| / 2 <= 3 eps |x|.
        let bound: Vec<_> = self.bound(layout, mnk, &da, &wide, 8.0)?.into_iter().map(|x| 1.2 * x).collect();
        Ok(vec![Output { name: "out", tensor: out, bound: bound.clone() }, Output { name: "pre", tensor: pre, bound }])
    }

    /// Products inside larger tensors, as in `gemm.rs`.
    fn parts(&self, device: &Device, layout: Layout, pad: usize) -> Result<Vec<Output>> {
        let (mnk, batch) = ([20, 24, 12], 3);
        let [m, n, k] = mnk;
        let (sa, sb) = shapes(layout, mnk);
        let (lda, ldb, ldo) = (sa[1] + pad, sb[1] + 2 * pad, n + pad);
        let (len_a, len_b) = (pad + batch * (sa[0] * lda + pad), pad + batch * (sb[0] * ldb + pad));
        let a = rounded(device, &numbers(1, len_a), &[len_a])?;
        let b = device.upload_f16(&halves(2, len_b), &[len_b])?;
        let bias = random(device, 3, &[batch * n + pad])?;
        let fill = numbers(4, pad + batch * (m * ldo + pad));
        let out = guarded(device, &fill, &[fill.len()])?;
        let gemm = Gemm {
            bias: Some(Mat::at(&bias, pad, n).every(n)),
            activation: Activation::Relu,
            batch,
            ..Gemm::of(
                layout,
                mnk,
                Mat::at(&a, pad, lda).every(sa[0] * lda + pad),
                Mat::at(&b, pad, ldb).every(sb[0] * ldb + pad),
                Mat::at(&out, pad, ldo).every(m * ldo + pad),
            )
        };
        self.run(device, gemm)?;
        // All numbers are below 1, so that k bounds the sums of absolute values.
        let bound = (k * k) as f64 * f64::from(f32::EPSILON) + self.roundings as f64 * k as f64 / 2048.0;
        Ok(vec![Output { name: "out", tensor: out, bound: vec![bound] }])
    }

    /// The lower triangle of a square product; the upper one is cleared before the comparison.
    fn lower(&self, device: &Device, m: usize) -> Result<Vec<Output>> {
        let mnk @ [_, _, k] = [m, m, 37];
        let (da, db) = (numbers(1, k * m), halves(2, k * m));
        let (a, b) = (rounded(device, &da, &[k, m])?, device.upload_f16(&db, &[k, m])?);
        let out = guarded(device, &numbers(5, m * m), &[m, m])?;
        self.run(device, Gemm { accumulate: true, lower: true, ..Gemm::new(Layout::TN, &a, &b, &out)? })?;
        let mut all: Vec<f64> = pollster::block_on(device.read(&out))?;
        (0..m).for_each(|i| all[i * m + i + 1..(i + 1) * m].fill(0.0));
        let out = device.upload(&all, &[m, m])?;
        let wide: Vec<_> = db.iter().map(|x| x.to_f32()).collect();
        Ok(vec![Output { name: "out", tensor: out, bound: self.bound(Layout::TN, mnk, &da, &wide, 4.0)? }])
    }

    /// Around the edges of the tile and of the stages, whole quads and not; and three tiles wide.
    fn sizes(&self) -> [[usize; 3]; 5] {
        let [rows, cols] = self.tile;
        [[1, 1, 1], [rows, cols, 32], [rows - 1, cols + 1, 33], [rows + 4, cols - 4, 28], [2 * rows + 4, 3 * cols, 100]]
    }
}

fn halves(seed: u64, n: usize) -> Vec<f16> {
    numbers(seed, n).into_iter().map(f16::from_f32).collect()
}

/// A: the variants round it themselves, for the twin it is rounded before.
fn rounded(device: &Device, data: &[f32], shape: &[usize]) -> Result<Tensor> {
    let halves: Vec<_> = data.iter().map(|&x| f16::from_f32(x).to_f32()).collect();
    device.upload(if device.is_cpu() { &halves } else { data }, shape)
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for variant in variants() {
        let Variant { name, needs, tile: [rows, cols], .. } = variant;
        let of = format!("{name}, tile {rows}x{cols}");
        for layout in LAYOUTS {
            for mnk in variant.sizes() {
                for full in [false, true] {
                    let what = if full { "epilogue" } else { "plain" };
                    let name = format!("gemm {layout:?} {mnk:?} {what}, {of}");
                    all.push(case_for(needs, name, move |d| variant.product(d, layout, mnk, full)));
                }
            }
            for pad in [4, 5] {
                let name = format!("gemm {layout:?} parts, padding {pad}, {of}");
                all.push(case_for(needs, name, move |d| variant.parts(d, layout, pad)));
            }
        }
        for m in [64, 99, 132] {
            all.push(case_for(needs, format!("gemm lower triangle {m}, {of}"), move |d| variant.lower(d, m)));
        }
    }
    all
}

pub fn examples(device: &Device) -> Result<()> {
    for variant in variants() {
        // Layouts and epilogues with one tile of each variant, other tiles once.
        let layouts = if variant.index == 0 { &LAYOUTS[..] } else { &LAYOUTS[..1] };
        for &layout in layouts {
            for mnk in [[20, 24, 28], [19, 21, 23]] {
                variant.product(device, layout, mnk, false)?;
                variant.product(device, layout, mnk, true)?;
            }
            variant.parts(device, layout, 4)?;
        }
        let (a, out) = (device.reals(&[37, 99])?, device.reals(&[99, 99])?);
        let b = device.upload_f16(&halves(2, 37 * 99), &[37, 99])?;
        variant.run(device, Gemm { lower: true, ..Gemm::new(Layout::TN, &a, &b, &out)? })?;
    }
    Ok(())
}
