//! Matrix product: layouts, edges, epilogues, parts of tensors, halves, batches, lower triangle.

use minoise::Result;
use minoise::device::{Caps, Device, Planned, Precision};
use minoise::kernels::gemm::{Activation, Gemm, Layout, Mat, TILES, Variant};

use crate::harness::{Case, Needs, Output, case, case_for, few_groups, guarded, numbers, poisoned, random};

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

pub fn shapes(layout: Layout, [m, n, k]: [usize; 3]) -> ([usize; 2], [usize; 2]) {
    let a = if layout == Layout::TN { [k, m] } else { [m, k] };
    let b = if layout == Layout::NT { [n, k] } else { [k, n] };
    (a, b)
}

/// Rounding error of sums of length k: (k + 4) eps sum |a||b|, the sums taken with absolute values in f64.
pub fn bound(layout: Layout, mnk: [usize; 3], a: &[f32], b: &[f32], extra: f64) -> Result<Vec<f64>> {
    let oracle = Device::cpu(Precision::F64);
    let (sa, sb) = shapes(layout, mnk);
    let abs = |x: &[f32]| x.iter().map(|x| x.abs()).collect::<Vec<_>>();
    let (a, b) = (oracle.upload(&abs(a), &sa)?, oracle.upload(&abs(b), &sb)?);
    let out = oracle.reals(&[mnk[0], mnk[1]])?;
    oracle.run(&Gemm::new(layout, &a, &b, &out)?)?;
    let sums: Vec<f64> = pollster::block_on(oracle.read(&out))?;
    let eps = f64::from(f32::EPSILON);
    Ok(sums.into_iter().map(|s| ((mnk[2] + 4) as f64 * s + extra) * eps).collect())
}

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
    match variant.and_then(|v| gemm.planned(v, device.caps())) {
        Some(plan) => device.run(&Planned(gemm, plan)),
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
    let (da, db) = (numbers(1, m * k), numbers(2, k * n));
    let (a, b) = (device.upload(&da, &sa)?, device.upload(&db, &sb)?);
    let (bias, residual) = (random(device, 3, &[n])?, random(device, 4, &[m, n])?);
    if !full {
        let out = poisoned(device, &[m, n])?;
        run(device, Gemm::new(layout, &a, &b, &out)?, variant)?;
        return Ok(vec![Output { name: "out", tensor: out, bound: bound(layout, mnk, &da, &db, 0.0)? }]);
    }
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
    run(device, gemm, variant)?;
    // The slope of GELU is below 1.13; erf adds 6e-7 |x| / 2 <= 3 eps |x|.
    let bound = bound(layout, mnk, &da, &db, 8.0)?.into_iter().map(|x| 3.0 * x).collect::<Vec<_>>();
    Ok(vec![Output { name: "out", tensor: out, bound: bound.clone() }, Output { name: "pre", tensor: pre, bound }])
}

/// Two products inside larger tensors: offsets, leading dimensions and batch strides that differ from the sizes.
fn parts(device: &Device, layout: Layout, pad: usize, variant: Option<Variant>) -> Result<Vec<Output>> {
    let (mnk, batch) = ([20, 24, 12], 3);
    let [m, n, k] = mnk;
    let (sa, sb) = shapes(layout, mnk);
    let (lda, ldb, ldo) = (sa[1] + pad, sb[1] + 2 * pad, n + pad);
    let a = random(device, 1, &[pad + batch * (sa[0] * lda + pad)])?;
    let b = random(device, 2, &[pad + batch * (sb[0] * ldb + pad)])?;
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
    run(device, gemm, variant)?;
    let eps = f64::from(f32::EPSILON);
    Ok(vec![Output { name: "out", tensor: out, bound: vec![(k * k) as f64 * eps] }])
}

fn halves(device: &Device, layout: Layout, mnk: [usize; 3], variant: Option<Variant>) -> Result<Vec<Output>> {
    let (sa, sb) = shapes(layout, mnk);
    let (da, db) = (numbers(1, mnk[0] * mnk[2]), numbers(2, mnk[2] * mnk[1]));
    let db: Vec<_> = db.iter().map(|&x| half::f16::from_f32(x)).collect();
    let (a, b) = (device.upload(&da, &sa)?, device.upload_f16(&db, &sb)?);
    let out = poisoned(device, &[mnk[0], mnk[1]])?;
    run(device, Gemm::new(layout, &a, &b, &out)?, variant)?;
    let wide: Vec<_> = db.iter().map(|x| x.to_f32()).collect();
    Ok(vec![Output { name: "out", tensor: out, bound: bound(layout, mnk, &da, &wide, 0.0)? }])
}

/// More tiles than the device takes groups in a dimension: two rows and two columns of them for each of seven products.
fn spread(device: &Device, [rows, cols]: [usize; 2], variant: Option<Variant>) -> Result<Vec<Output>> {
    let (mnk @ [m, n, k], batch) = ([rows + 4, cols + 4, 20], 7);
    let (da, db) = (numbers(1, batch * m * k), numbers(2, k * n));
    let (a, b) = (device.upload(&da, &[batch * m, k])?, device.upload(&db, &[k, n])?);
    let out = poisoned(device, &[batch * m, n])?;
    let [a, out_mat] = [(&a, m * k), (&out, m * n)].map(|(x, size)| Mat::of(x).every(size));
    let gemm = Gemm { batch, ..Gemm::of(Layout::NN, mnk, a, Mat::of(&b), out_mat) };
    let caps = few_groups(device.caps().clone());
    let plan = gemm.planned(variant.unwrap_or_else(|| gemm.variant(&caps)), &caps);
    device.run(&Planned(gemm, plan.expect("a plan")))?;
    // The product of all rows at once.
    let bound = bound(Layout::NN, [batch * m, n, k], &da, &db, 0.0)?;
    Ok(vec![Output { name: "out", tensor: out, bound }])
}

/// The lower triangle of A^T A accumulated; the upper one is cleared before the comparison.
fn lower(device: &Device, m: usize, variant: Option<Variant>) -> Result<Vec<Output>> {
    let k = 37;
    let a = random(device, 1, &[k, m])?;
    let out = guarded(device, &numbers(5, m * m), &[m, m])?;
    let gemm = Gemm { accumulate: true, lower: true, ..Gemm::new(Layout::TN, &a, &a, &out)? };
    run(device, gemm, variant)?;
    let mut all: Vec<f64> = pollster::block_on(device.read(&out))?;
    (0..m).for_each(|i| all[i * m + i + 1..(i + 1) * m].fill(0.0));
    let out = device.upload(&all, &[m, m])?;
    Ok(vec![Output { name: "out", tensor: out, bound: vec![(k * k) as f64 * f64::from(f32::EPSILON)] }])
}

/// A product in three parts and what they leave over, judged by the whole one.
fn in_parts(device: &Device, layout: Layout, accumulate: bool) -> Result<Vec<Output>> {
    let mnk @ [m, n, k] = [20, 24, 3 * 32 + 7];
    let (sa, sb) = shapes(layout, mnk);
    let (a, b) = (random(device, 1, &[2 * sa[0], sa[1]])?, random(device, 2, &[2 * sb[0], sb[1]])?);
    let out = guarded(device, &numbers(3, 2 * m * n + 4), &[2 * m * n + 4])?;
    let [a, b] = [&a, &b].map(|x| Mat::of(x).every(x.len() / 2));
    let product = Gemm::of(layout, mnk, a, b, Mat::at(&out, 4, n).every(m * n));
    let product = Gemm { alpha: 0.75, accumulate, batch: 2, ..product };
    if device.is_cpu() {
        device.run(&product)?
    } else {
        product.run_in_parts(device, 3)?
    }
    Ok(vec![Output { name: "out", tensor: out, bound: vec![(k * k) as f64 * f64::from(f32::EPSILON)] }])
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
        all.push(case_of(variant, format!("gemm few groups{}", name(variant)), move |d| spread(d, tile, variant)));
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
        for m in [64, 99] {
            let (a, out) = (device.reals(&[37, m])?, device.reals(&[m, m])?);
            run(device, Gemm { lower: true, ..Gemm::new(Layout::TN, &a, &a, &out)? }, variant)?;
        }
    }
    Ok(())
}
