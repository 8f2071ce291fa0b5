// Operands of the two kernels for rows times a tile in pairs, and how their sums are stored.
import package::lib::pair::{two_sum, pair_add};

struct Params {
    m: u32, rows: u32, cols: u32, depth: u32,
    i0: u32, k0: u32, ld: u32, low: u32,
    zero: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, m]
@group(0) @binding(2) var<storage, read> g: array<f32>; // [2, depth, cols] or [2, cols, depth]
@group(0) @binding(3) var<storage, read> scale: array<f32>; // [m]
@group(0) @binding(4) var<storage, read> diagonal: array<f32>; // [2, m]
@group(0) @binding(5) var<storage, read_write> y: array<f32>; // [2, rows, m]

// y += 2^-8 (first + 2^-9 (second + 2^-9 third)) at a row and column, where they are inside.
fn add_sums(row: u32, col: u32, first: i32, second: i32, third: f32) {
    if row >= params.rows || col >= params.cols { return; }
    let at = row * params.m + params.i0 + col;
    let low = at + params.rows * params.m;
    let high = vec2<f32>(f32(first), f32(second));
    let left = vec2<f32>(f32(first - i32(high.x)), f32(second - i32(high.y)));
    var add = two_sum(high.x, high.y * 0.001953125, params.zero);
    add.y += left.x + 0.001953125 * (left.y + 0.001953125 * third);
    let total = pair_add(vec2<f32>(y[at], y[low]), add * 0.00390625, params.zero);
    y[at] = total.x;
    y[low] = total.y;
}
