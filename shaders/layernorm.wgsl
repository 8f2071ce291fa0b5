// out[r][j] = (x[r][j] - mean_r) / sqrt(var_r + eps) * gamma[j] + beta[j], var the biased variance
// STATS keeps (mean, 1 / sqrt(var + eps)) of each row for the backward pass.
// One workgroup makes one row; the mean comes first, then the squares of what differs from it. Groups beyond the last
// row do nothing.
import package::lib::math::{linear_group};
import package::plan::{WG};

struct Params {
    rows: u32,
    cols: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, cols]
@group(0) @binding(2) var<storage, read> gamma: array<f32>; // [cols]
@group(0) @binding(3) var<storage, read> beta: array<f32>; // [cols]
@group(0) @binding(4) var<storage, read_write> out: array<f32>; // [rows, cols]
@if(STATS) @group(0) @binding(5) var<storage, read_write> stats: array<f32>; // [rows, 2]

var<workgroup> partial: array<f32, WG>;

fn sum_over_lanes(lane: u32, value: f32) -> f32 {
    workgroupBarrier(); // readers of an earlier sum are done
    partial[lane] = value;
    for (var step = WG / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if lane < step { partial[lane] += partial[lane + step]; }
    }
    workgroupBarrier();
    return partial[0];
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let row = linear_group(group, groups);
    if row >= params.rows { return; }
    let base = row * params.cols;
    let n = f32(params.cols);
    var sum = 0.0;
    for (var col = lane; col < params.cols; col += WG) { sum += x[base + col]; }
    let mean = sum_over_lanes(lane, sum) / n;
    var squares = 0.0;
    for (var col = lane; col < params.cols; col += WG) {
        let d = x[base + col] - mean;
        squares += d * d;
    }
    let rstd = 1.0 / sqrt(sum_over_lanes(lane, squares) / n + params.eps);
    for (var col = lane; col < params.cols; col += WG) {
        out[base + col] = (x[base + col] - mean) * rstd * gamma[col] + beta[col];
    }
    @if(STATS) if lane == 0u {
        stats[2u * row] = mean;
        stats[2u * row + 1u] = rstd;
    }
}
