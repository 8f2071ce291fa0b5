//! Matrix product: layouts, edges, epilogues, parts of tensors, halves, batches, lower triangle. All are judged by plain
//! loops.

mod oracle;

use minoise::Result;
use minoise::device::{Caps, Device, Tensor, Varied, WithPlan};
use minoise::kernels::gemm::{Activation, Gemm, Layout, Mat, TILES, Variant};

use crate::glu::{sigmoid, sigmoid_rounding};
use crate::harness::{
    Case, Needs, Output, canaries, case, case_for, few_groups, guarded, input, input_f16, numbers, output, poisoned,
    wide,
};
use oracle::EPS;
pub use oracle::{ALPHA, Epilogue, Part, bound, shapes, sums};

pub const LAYOUTS: [Layout; 3] = [Layout::NN, Layout::NT, Layout::TN];
/// Around the edges of small tiles (32 wide, 16 deep), primes, divisible by 4 and not.
const SIZES: [[usize; 3]; 9] = [
    [1, 1, 1],
    [31, 33, 15],
    [32, 32, 16],
    [33, 31, 17],
    [67, 100, 61],
    [96, 160, 48],
    [520, 512, 20],
    [13, 8, 64],
    [7, 12, 4],
];

/// The variants that software devices hardly plan for, each with the rows and columns of its tile.
fn variants() -> impl Iterator<Item = (Variant, [usize; 2])> + Clone {
    let tiles = TILES.into_iter().map(|tile| (Variant::Tile(tile), [tile.rows, tile.cols]));
    // One subgroup may hold several groups of lanes that exchange operands, or one; lavapipe's has 8 lanes.
    tiles.chain([4, 8, 16].map(|lanes| (Variant::Shuffle(lanes), [8 * lanes; 2])))
}

/// Around the edges of a tile, and three tiles wide: whole quads and not, as all tiles are run on every device.
fn sizes([rows, cols]: [usize; 2]) -> [[usize; 3]; 4] {
    [[rows, cols, 16], [rows - 1, cols + 1, 17], [rows + 4, cols - 4, 12], [2 * rows + 4, 3 * cols, 36]]
}

/// Runs with the plan of the device, or with the given variant's.
fn run(device: &Device, gemm: Gemm<'_>, variant: Option<Variant>) -> Result<()> {
    run_for(device, gemm, variant, device.caps())
}

fn run_for(device: &Device, gemm: Gemm<'_>, variant: Option<Variant>, caps: &Caps) -> Result<()> {
    // Lanes exchange operands on other devices, too, where it is not free.
    let caps = Caps { row_share: true, ..caps.clone() };
    match variant.and_then(|v| gemm.planned(v, &caps)) {
        Some(plan) => device.run(&WithPlan(gemm, plan)),
        None if variant.is_none() || device.is_cpu() => device.run(&gemm),
        None => panic!("no plan for {variant:?}"),
    }
}

/// A case with the given variant, on the devices that have what it needs.
fn case_of(
    variant: Option<Variant>,
    name: String,
    work: impl Fn(&Device) -> Result<Vec<Output>> + Send + Sync + 'static,
) -> Case {
    let has: fn(&Caps) -> bool = match variant {
        Some(Variant::Shuffle(4)) => |caps| caps.subgroup.0 >= 4 && caps.subgroup.1 <= 32,
        Some(Variant::Shuffle(8)) => |caps| caps.subgroup.0 >= 8 && caps.subgroup.1 <= 64,
        _ => |caps| caps.subgroup.0 >= 16 && caps.subgroup.1 <= 128,
    };
    let needs = Needs { what: "subgroups of as many lanes as exchange operands, at most 8 times as many", has };
    if matches!(variant, Some(Variant::Shuffle(_))) { case_for(needs, name, work) } else { case(name, work) }
}

fn product(
    device: &Device,
    layout: Layout,
    mnk: [usize; 3],
    full: bool,
    variant: Option<Variant>,
) -> Result<Vec<Output>> {
    let [m, n, k] = mnk;
    let (sa, sb) = shapes(layout, mnk);
    let (da, db) = (Part::whole(numbers(1, m * k), sa[1]), Part::whole(numbers(2, k * n), sb[1]));
    let (a, b) = (input(device, &da.data, &sa)?, input(device, &db.data, &sb)?);
    let [sums, sizes] = sums(layout, mnk, &da, &db, 0);
    if !full {
        let out = poisoned(device, &[m, n])?;
        run(device, Gemm::new(layout, &a, &b, &out)?, variant)?;
        return Ok(vec![output("out", out, bound(k, &sizes, 0.0)).naive(|| sums)]);
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
    run(device, gemm, variant)?;
    // The slope of GELU is below 1.13; erf adds 6e-7 |x| / 2 <= 3 eps |x|.
    let bound: Vec<_> = bound(k, &sizes, 8.0).into_iter().map(|x| 1.2 * x).collect();
    let [naive, naive_pre] = epilogue.naive(&sums);
    Ok(vec![output("out", out, bound.clone()).naive(|| naive), output("pre", pre, bound).naive(|| naive_pre)])
}

/// QuickGELU of the sums.
fn quick(device: &Device, mnk: [usize; 3], variant: Option<Variant>) -> Result<Vec<Output>> {
    let [m, n, k] = mnk;
    let (da, db) = (Part::whole(numbers(1, m * k), k), Part::whole(numbers(2, k * n), n));
    let (a, b) = (input(device, &da.data, &[m, k])?, input(device, &db.data, &[k, n])?);
    let out = poisoned(device, &[m, n])?;
    run(device, Gemm { activation: Activation::QuickGelu, ..Gemm::new(Layout::NN, &a, &b, &out)? }, variant)?;
    let [sums, sizes] = sums(Layout::NN, mnk, &da, &db, 0);
    let naive: Vec<_> = sums.iter().map(|z| z * sigmoid(1.702 * z)).collect();
    // The slope of QuickGELU is below 1.1; see `glu.rs` for its own rounding.
    let own = sums.iter().zip(&naive).map(|(z, x)| x.abs() * (sigmoid_rounding(1.702 * z) + 2.0 * EPS));
    let bound = bound(k, &sizes, 0.0).into_iter().zip(own).map(|(sum, own)| 1.1 * sum + own).collect();
    Ok(vec![output("out", out, bound).naive(|| naive)])
}

/// Products inside larger tensors: offsets, leading dimensions and batch strides that differ from the sizes. What stands
/// between the results must stay.
fn parts(device: &Device, layout: Layout, pad: usize, variant: Option<Variant>) -> Result<Vec<Output>> {
    let (mnk, batch) = ([20, 24, 12], 3);
    let [m, n, k] = mnk;
    let (sa, sb) = shapes(layout, mnk);
    let (da, db) = (Part::inside(1, batch, sa, pad), Part::inside(2, batch, sb, 2 * pad));
    let (dbias, place) = (Part::inside(3, batch, [1, n], pad), Part::inside(4, batch, [m, n], pad));
    let fill = numbers(5, place.data.len());
    let (a, b) = (input(device, &da.data, &[da.data.len()])?, input(device, &db.data, &[db.data.len()])?);
    let (bias, out) = (input(device, &dbias.data, &[dbias.data.len()])?, guarded(device, &fill, &[fill.len()])?);
    let gemm = Gemm {
        bias: Some(dbias.mat(&bias)),
        activation: Activation::Relu,
        batch,
        ..Gemm::of(layout, mnk, da.mat(&a), db.mat(&b), place.mat(&out))
    };
    run(device, gemm, variant)?;
    let (naive, bounds) = relu_parts(layout, mnk, batch, [&da, &db, &dbias, &place], &fill);
    Ok(vec![output("out", out, bounds(k)).naive(|| naive)])
}

/// The whole output of [`parts`] by plain loops, and its bounds for sums of a length.
pub fn relu_parts(
    layout: Layout,
    mnk: [usize; 3],
    batch: usize,
    [a, b, bias, place]: [&Part; 4],
    fill: &[f32],
) -> (Vec<f64>, impl Fn(usize) -> Vec<f64> + use<>) {
    let [m, n, _] = mnk;
    let (mut naive, mut sizes) = (wide(fill), vec![None; fill.len()]);
    for z in 0..batch {
        let [values, of_values] = sums(layout, mnk, a, b, z);
        for i in 0..m * n {
            let at = place.at(z, i / n, i % n);
            let bias = f64::from(bias.data[bias.at(z, 0, i % n)]);
            naive[at] = (values[i] + bias).max(0.0);
            sizes[at] = Some(of_values[i]);
        }
    }
    let bounds = move |k: usize| {
        let bound = |size: &Option<f64>| size.map_or(f64::MIN_POSITIVE, |s| bound(k, &[s], 2.0)[0]);
        sizes.iter().map(bound).collect()
    };
    (naive, bounds)
}

fn halves(device: &Device, layout: Layout, mnk: [usize; 3], variant: Option<Variant>) -> Result<Vec<Output>> {
    let (sa, sb) = shapes(layout, mnk);
    let halves: Vec<_> = numbers(2, mnk[2] * mnk[1]).into_iter().map(half::f16::from_f32).collect();
    let da = Part::whole(numbers(1, mnk[0] * mnk[2]), sa[1]);
    let db = Part::whole(halves.iter().map(|x| x.to_f32()).collect(), sb[1]);
    let (a, b) = (input(device, &da.data, &sa)?, input_f16(device, &halves, &sb)?);
    let out = poisoned(device, &[mnk[0], mnk[1]])?;
    run(device, Gemm::new(layout, &a, &b, &out)?, variant)?;
    let [sums, sizes] = sums(layout, mnk, &da, &db, 0);
    Ok(vec![output("out", out, bound(mnk[2], &sizes, 0.0)).naive(|| sums)])
}

/// More tiles than the device takes groups in a dimension: two rows and two columns of them for each of seven products.
fn spread(device: &Device, [rows, cols]: [usize; 2], variant: Option<Variant>) -> Result<Vec<Output>> {
    let (mnk @ [m, n, k], batch) = ([rows + 4, cols + 4, 20], 7);
    let (da, db) = (Part::whole(numbers(1, batch * m * k), k), Part::whole(numbers(2, k * n), n));
    let (a, b) = (input(device, &da.data, &[batch * m, k])?, input(device, &db.data, &[k, n])?);
    let out = poisoned(device, &[batch * m, n])?;
    let [a, out_mat] = [(&a, m * k), (&out, m * n)].map(|(x, size)| Mat::of(x).every(size));
    let gemm = Gemm { batch, ..Gemm::of(Layout::NN, mnk, a, Mat::of(&b), out_mat) };
    run_for(device, gemm, variant, &few_groups(device.caps().clone()))?;
    // The product of all rows at once.
    let [sums, sizes] = sums(Layout::NN, [batch * m, n, k], &da, &db, 0);
    Ok(vec![output("out", out, bound(k, &sizes, 0.0)).naive(|| sums)])
}

/// The lower triangle of A^T A accumulated; the upper one is cleared before the comparison.
fn lower(device: &Device, m: usize, variant: Option<Variant>) -> Result<Vec<Output>> {
    let mnk @ [_, _, k] = [m, m, 37];
    let (da, before) = (Part::whole(numbers(1, k * m), m), numbers(5, m * m));
    let a = input(device, &da.data, &[k, m])?;
    let out = guarded(device, &before, &[m, m])?;
    let gemm = Gemm { accumulate: true, lower: true, ..Gemm::new(Layout::TN, &a, &a, &out)? };
    run(device, gemm, variant)?;
    let [sums, sizes] = sums(Layout::TN, mnk, &da, &da, 0);
    Ok(vec![canaries("whole", out.clone()), triangle(device, &out, &before, &sums, bound(k, &sizes, 2.0))?])
}

/// The lower triangle of `out = before + sums`, zeros above it.
pub fn triangle(device: &Device, out: &Tensor, before: &[f32], sums: &[f64], bound: Vec<f64>) -> Result<Output> {
    let m = out.cols();
    let lower = |mut x: Vec<f64>| {
        (0..m).for_each(|i| x[i * m + i + 1..(i + 1) * m].fill(0.0));
        x
    };
    let got = lower(pollster::block_on(device.read(out))?);
    let naive = lower(sums.iter().zip(before).map(|(s, b)| s + f64::from(*b)).collect());
    Ok(output("out", device.upload(&got, &[m, m])?, bound).naive(|| naive))
}

/// A product in three parts and what they leave over.
fn in_parts(device: &Device, layout: Layout, accumulate: bool) -> Result<Vec<Output>> {
    let (mnk, batch) = ([20, 24, 3 * 32 + 7], 2);
    let [m, n, k] = mnk;
    let (sa, sb) = shapes(layout, mnk);
    let (da, db) = (Part::inside(1, batch, sa, 0), Part::inside(2, batch, sb, 0));
    let (a, b) = (input(device, &da.data, &[da.data.len()])?, input(device, &db.data, &[db.data.len()])?);
    let fill = numbers(3, batch * m * n + 4);
    let out = guarded(device, &fill, &[fill.len()])?;
    let to = Mat::at(&out, 4, n).every(m * n);
    let product = Gemm { alpha: ALPHA, accumulate, batch, ..Gemm::of(layout, mnk, da.mat(&a), db.mat(&b), to) };
    if device.is_cpu() {
        device.run(&product)?
    } else {
        product.run_in_parts(device, 3)?
    }
    let (mut naive, mut bounds) = (wide(&fill), vec![f64::MIN_POSITIVE; fill.len()]);
    for z in 0..batch {
        let [sums, sizes] = sums(layout, mnk, &da, &db, z);
        bounds[4 + z * m * n..][..m * n].copy_from_slice(&bound(k, &sizes, 2.0));
        for (x, sum) in naive[4 + z * m * n..].iter_mut().zip(&sums) {
            *x = f64::from(ALPHA) * sum + if accumulate { *x } else { 0.0 };
        }
    }
    Ok(vec![output("out", out, bounds).naive(|| naive)])
}

const HALVES: [[usize; 3]; 2] = [[19, 21, 23], [20, 24, 28]];

fn name(variant: Option<Variant>) -> String {
    match variant {
        None => String::new(),
        Some(Variant::Tile(tile)) => format!(", tile {}", Variant::Tile(tile)),
        Some(other) => format!(", {other}"),
    }
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    let all_variants = variants().map(Some).chain([None]);
    for (layout, tiled) in LAYOUTS.into_iter().flat_map(|l| all_variants.clone().map(move |t| (l, t))) {
        let variant = tiled.map(|t| t.0);
        let of = name(variant);
        for mnk in tiled.map_or(SIZES.to_vec(), |t| sizes(t.1).to_vec()) {
            for full in [false, true] {
                let what = if full { "epilogue" } else { "plain" };
                let name = format!("gemm {layout:?} {mnk:?} {what}{of}");
                all.push(case_of(variant, name, move |d| product(d, layout, mnk, full, variant)));
            }
        }
        for pad in [4, 5] {
            let name = format!("gemm {layout:?} parts, padding {pad}{of}");
            all.push(case_of(variant, name, move |d| parts(d, layout, pad, variant)));
        }
        for mnk in HALVES {
            let name = format!("gemm {layout:?} halves {mnk:?}{of}");
            all.push(case_of(variant, name, move |d| halves(d, layout, mnk, variant)));
        }
    }
    for (variant, mnk) in all_variants.clone().flat_map(|v| HALVES.map(|mnk| (v.map(|v| v.0), mnk))) {
        let name = format!("gemm QuickGELU {mnk:?}{}", name(variant));
        all.push(case_of(variant, name, move |d| quick(d, mnk, variant)));
    }
    for (layout, add) in LAYOUTS.into_iter().flat_map(|l| [(l, false), (l, true)]) {
        all.push(case(format!("gemm {layout:?} in parts, accumulate {add}"), move |d| in_parts(d, layout, add)));
    }
    for (m, tiled) in [1, 64, 99, 132].into_iter().flat_map(|m| all_variants.clone().map(move |t| (m, t))) {
        let variant = tiled.map(|t| t.0);
        let name = format!("gemm lower triangle {m}{}", name(variant));
        all.push(case_of(variant, name, move |d| lower(d, m, variant)));
    }
    for (variant, tile) in variants().chain([(Variant::Rows, [64, 16])]) {
        let variant = Some(variant);
        let name = format!("gemm few groups{}", name(variant));
        all.push(case_of(variant, name, move |d| spread(d, tile, variant)));
    }
    // More groups than any GPU takes in one dimension.
    let wide = [1, 16 * 65_536 + 4, 4];
    all.push(case(format!("gemm {wide:?}"), move |d| product(d, Layout::NN, wide, false, Some(Variant::Rows))));
    all
}

pub fn examples(device: &Device) -> Result<()> {
    for variant in variants().map(|v| Some(v.0)).chain([None]) {
        for layout in LAYOUTS {
            for mnk in SIZES {
                product(device, layout, mnk, false, variant)?;
                product(device, layout, mnk, true, variant)?;
            }
            parts(device, layout, 4, variant)?;
            for mnk in HALVES {
                halves(device, layout, mnk, variant)?;
            }
        }
        for mnk in HALVES {
            quick(device, mnk, variant)?;
        }
        for m in [64, 99] {
            let (a, out) = (device.reals(&[37, m])?, device.reals(&[m, m])?);
            run(device, Gemm { lower: true, ..Gemm::new(Layout::TN, &a, &a, &out)? }, variant)?;
        }
    }
    Ok(())
}
