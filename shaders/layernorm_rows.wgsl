// out[r][j] = (x[r][j] - mean_r) / sqrt(var_r + eps) * gamma[j] + beta[j], var the biased variance
// STATS keeps (mean, 1 / sqrt(var + eps)) of each row for the backward pass.
// The kernel of layernorm.wgsl for software devices: a lane makes one row and waits for no other, so that gamma and beta
// are scalar loads. QUADS quads of columns at a time, which must divide the row; lanes beyond the last row do nothing.
import package::lib::math::{linear_group};
import package::plan::{QUADS, WG};

struct Params {
    rows: u32,
    cols: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [rows, cols]
@group(0) @binding(2) var<storage, read> gamma: array<vec4<f32>>; // [cols]
@group(0) @binding(3) var<storage, read> beta: array<vec4<f32>>; // [cols]
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>; // [rows, cols]
@if(STATS) @group(0) @binding(5) var<storage, read_write> stats: array<vec2<f32>>; // [rows, 2]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let row = linear_group(group, groups) * WG + lane;
    if row >= params.rows { return; }
    let quads = params.cols / 4u;
    let base = row * quads;
    var sums = vec4<f32>(0.0);
    for (var c = 0u; c < quads; c += QUADS) {
        for (var q = 0u; q < QUADS; q++) { sums += x[base + c + q]; }
    }
    let mean = dot(sums, vec4<f32>(1.0)) / f32(params.cols);
    var squares = vec4<f32>(0.0);
    for (var c = 0u; c < quads; c += QUADS) {
        for (var q = 0u; q < QUADS; q++) {
            let d = x[base + c + q] - mean;
            squares += d * d;
        }
    }
    let rstd = 1.0 / sqrt(dot(squares, vec4<f32>(1.0)) / f32(params.cols) + params.eps);
    for (var c = 0u; c < quads; c += QUADS) {
        for (var q = 0u; q < QUADS; q++) {
            out[base + c + q] = (x[base + c + q] - mean) * rstd * gamma[c + q] + beta[c + q];
        }
    }
    @if(STATS) stats[row] = vec2<f32>(mean, rstd);
}
