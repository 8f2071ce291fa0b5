// y[r] = x[r] / norm_r,  norm_r = max(|x[r]|, least)
// NORMS keeps the norms for the backward pass: exactly `least` where they were raised to it.
// One workgroup makes one row; groups beyond the last row do nothing. Squares are summed as they are: they must not
// overflow.
import package::lib::math::{linear_group};
import package::plan::{WG};

struct Params {
    rows: u32,
    cols: u32,
    least: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, cols]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [rows, cols]
@if(NORMS) @group(0) @binding(3) var<storage, read_write> norms: array<f32>; // [rows]

var<workgroup> partial: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let row = linear_group(group, groups);
    if row >= params.rows { return; }
    let base = row * params.cols;
    var squares = 0.0;
    for (var col = lane; col < params.cols; col += WG) {
        let value = x[base + col];
        squares += value * value;
    }
    partial[lane] = squares;
    for (var step = WG / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if lane < step { partial[lane] += partial[lane + step]; }
    }
    workgroupBarrier();
    // Roots may be taken by way of 1 / sqrt, which zero has not.
    var norm = params.least;
    if partial[0] > params.least * params.least { norm = max(sqrt(partial[0]), params.least); }
    let scale = 1.0 / norm;
    for (var col = lane; col < params.cols; col += WG) { y[base + col] = x[base + col] * scale; }
    @if(NORMS) if lane == 0u { norms[row] = norm; }
}
