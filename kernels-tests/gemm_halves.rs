//! Matrix product in halves: f16 arithmetic and cooperative matrices, every tile by its plan, against the f64 twin with A
//! rounded as these variants round it.

use half::f16;
use minoise::Result;
use minoise::device::{Caps, Device, Plan, Tensor, WithPlan};
use minoise::kernels::gemm::{Activation, Gemm, Layout, MATRIX_TILES, Mat, MatrixTile, TILES, Tile};

use crate::gemm::{ALPHA, Epilogue, LAYOUTS, Part, bound, relu_parts, shapes, sums, triangle};
use crate::harness::{
    Case, Needs, Output, canaries, case_for, few_groups, guarded, input, input_f16, numbers, output, poisoned,
};

/// A variant with one tile.
#[derive(Clone, Copy)]
struct Variant {
    name: &'static str,
    needs: Needs,
    /// Rows and columns of the tile.
    tile: [usize; 2],
    index: usize,
    plan: fn(&Gemm<'_>, usize, &Caps) -> Option<Plan>,
    /// What plans are made for.
    caps: fn(&Device) -> Caps,
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
        caps: |device| device.caps().clone(),
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
        caps: |device| device.caps().clone(),
        roundings: 0,
    };
    TILES.iter().enumerate().map(half).chain(MATRIX_TILES.iter().enumerate().map(matrix)).collect()
}

impl Variant {
    /// Runs the plan of the variant; the device's own where its caps do not allow it, as on the CPU device, the judge.
    fn run(&self, device: &Device, gemm: Gemm<'_>) -> Result<()> {
        if let Some(plan) = (self.plan)(&gemm, self.index, &(self.caps)(device)) {
            return device.run(&WithPlan(gemm, plan));
        }
        assert!(!(self.needs.has)(device.caps()), "{} cannot be planned", self.name);
        device.run(&gemm)
    }

    /// [`bound`], and that of the roundings to halves: each is 2^-11 of a partial sum, or 2^-25 where that is tiny.
    fn bound(&self, k: usize, sizes: &[f64], extra: f64) -> Vec<f64> {
        let halves = |size: f64| self.roundings as f64 * (size / 2048.0 + k as f64 / f64::from(1 << 25));
        bound(k, sizes, extra).into_iter().zip(sizes).map(|(bound, size)| bound + halves(*size)).collect()
    }

    fn output(&self, name: &'static str, tensor: Tensor, bound: Vec<f64>) -> Output {
        let output = output(name, tensor, bound);
        if self.roundings > 0 { output.loose("sums in halves keep 11 bits") } else { output }
    }

    fn product(&self, device: &Device, layout: Layout, mnk: [usize; 3], full: bool) -> Result<Vec<Output>> {
        let [m, n, k] = mnk;
        let (sa, sb) = shapes(layout, mnk);
        let (da, db) = (Part::whole(numbers(1, m * k), sa[1]), Part::whole(numbers(2, k * n), sb[1]));
        let (a, b) = (device_a(device, &da, &sa)?, device_b(device, &db, &sb)?);
        let [sums, sizes] = sums(layout, mnk, &in_halves(&da), &in_halves(&db), 0);
        if !full {
            let out = poisoned(device, &[m, n])?;
            self.run(device, Gemm::new(layout, &a, &b, &out)?)?;
            return Ok(vec![self.output("out", out, self.bound(k, &sizes, 0.0)).naive(|| sums)]);
        }
        let epilogue = Epilogue::new(mnk);
        let (bias, residual) = (input(device, &epilogue.bias, &[n])?, input(device, &epilogue.residual, &[m, n])?);
        let (out, pre) = (guarded(device, &epilogue.before, &[m, n])?, poisoned(device, &[m, n])?);
        let gemm = Gemm {
            bias: Some(Mat::of(&bias)),
            residual: Some(&residual),
            pre: Some(&pre),
            activation: Activation::Gelu,
            accumulate: true,
            alpha: ALPHA,
            ..Gemm::new(layout, &a, &b, &out)?
        };
        self.run(device, gemm)?;
        // The slope of GELU is below 1.13; erf adds 6e-7 |x| / 2 <= 3 eps |x|.
        let bound: Vec<_> = self.bound(k, &sizes, 8.0).into_iter().map(|x| 1.2 * x).collect();
        let [naive, naive_pre] = epilogue.naive(&sums);
        Ok(vec![
            self.output("out", out, bound.clone()).naive(|| naive),
            self.output("pre", pre, bound).naive(|| naive_pre),
        ])
    }

    /// Products inside larger tensors, as in `gemm.rs`.
    fn parts(&self, device: &Device, layout: Layout, pad: usize) -> Result<Vec<Output>> {
        let (mnk, batch) = ([20, 24, 12], 3);
        let [m, n, k] = mnk;
        let (sa, sb) = shapes(layout, mnk);
        let (da, db) = (Part::inside(1, batch, sa, pad), Part::inside(2, batch, sb, 2 * pad));
        let (dbias, place) = (Part::inside(3, batch, [1, n], pad), Part::inside(4, batch, [m, n], pad));
        let fill = numbers(5, place.data.len());
        let (a, b) = (device_a(device, &da, &[da.data.len()])?, device_b(device, &db, &[db.data.len()])?);
        let (bias, out) = (input(device, &dbias.data, &[dbias.data.len()])?, guarded(device, &fill, &[fill.len()])?);
        let gemm = Gemm {
            bias: Some(dbias.mat(&bias)),
            activation: Activation::Relu,
            batch,
            ..Gemm::of(layout, mnk, da.mat(&a), db.mat(&b), place.mat(&out))
        };
        self.run(device, gemm)?;
        let operands = [&in_halves(&da), &in_halves(&db), &dbias, &place];
        let (naive, bounds) = relu_parts(layout, mnk, batch, operands, &fill);
        // All numbers are below 1, so that k bounds the sums of absolute values.
        let halves = self.roundings as f64 * k as f64 / 2048.0;
        let bound = bounds(k).into_iter().map(|b| if b > f64::MIN_POSITIVE { b + halves } else { b }).collect();
        Ok(vec![self.output("out", out, bound).naive(|| naive)])
    }

    /// The lower triangle of a square product; the upper one is cleared before the comparison.
    fn lower(&self, device: &Device, m: usize) -> Result<Vec<Output>> {
        let mnk @ [_, _, k] = [m, m, 37];
        let (da, db) = (Part::whole(numbers(1, k * m), m), Part::whole(numbers(2, k * m), m));
        let (a, b) = (device_a(device, &da, &[k, m])?, device_b(device, &db, &[k, m])?);
        let before = numbers(5, m * m);
        let out = guarded(device, &before, &[m, m])?;
        self.run(device, Gemm { accumulate: true, lower: true, ..Gemm::new(Layout::TN, &a, &b, &out)? })?;
        let [sums, sizes] = sums(Layout::TN, mnk, &in_halves(&da), &in_halves(&db), 0);
        let lower = triangle(device, &out, &before, &sums, self.bound(k, &sizes, 4.0))?;
        Ok(vec![
            canaries("whole", out),
            if self.roundings > 0 { lower.loose("sums in halves keep 11 bits") } else { lower },
        ])
    }

    /// Around the edges of the tile and of the stages, whole quads and not; and three tiles wide.
    fn sizes(&self) -> [[usize; 3]; 5] {
        let [rows, cols] = self.tile;
        [[1, 1, 1], [rows, cols, 32], [rows - 1, cols + 1, 33], [rows + 4, cols - 4, 28], [2 * rows + 4, 3 * cols, 100]]
    }
}

fn in_halves(x: &Part) -> Part {
    x.map(|x| f16::from_f32(x).to_f32())
}

/// A: the variants round it themselves, for the twin it is rounded before.
fn device_a(device: &Device, a: &Part, shape: &[usize]) -> Result<Tensor> {
    if device.is_cpu() { input(device, &in_halves(a).data, shape) } else { input(device, &a.data, shape) }
}

fn device_b(device: &Device, b: &Part, shape: &[usize]) -> Result<Tensor> {
    input_f16(device, &b.data.iter().map(|&x| f16::from_f32(x)).collect::<Vec<_>>(), shape)
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
        // 6 x 5 tiles, more than so few groups in one dimension.
        let few = Variant { caps: |device| few_groups(device.caps().clone()), ..variant };
        let mnk = [5 * rows + 1, 5 * cols, 33];
        all.push(case_for(needs, format!("gemm NN {mnk:?}, {of}, few groups"), move |d| {
            few.product(d, Layout::NN, mnk, false)
        }));
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
        let b = device_b(device, &Part::whole(numbers(2, 37 * 99), 99), &[37, 99])?;
        variant.run(device, Gemm { lower: true, ..Gemm::new(Layout::TN, &a, &b, &out)? })?;
    }
    Ok(())
}
