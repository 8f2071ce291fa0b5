// dx[r] (+)= rstd (g - mean(g) - xhat mean(g xhat)),  g = dy[r] gamma,  xhat = (x[r] - mean_r) rstd_r
// One workgroup makes one row; groups beyond the last row do nothing.
import package::lib::math::{linear_group};
import package::plan::{WG};

struct Params {
    rows: u32,
    cols: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, cols]
@group(0) @binding(2) var<storage, read> gamma: array<f32>; // [cols]
@group(0) @binding(3) var<storage, read> stats: array<f32>; // [rows, 2]
@group(0) @binding(4) var<storage, read> dy: array<f32>; // [rows, cols]
@group(0) @binding(5) var<storage, read_write> dx: array<f32>; // [rows, cols]

var<workgroup> partial: array<vec2<f32>, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let row = linear_group(group, groups);
    if row >= params.rows { return; }
    let base = row * params.cols;
    let mean = stats[2u * row];
    let rstd = stats[2u * row + 1u];
    var sums = vec2<f32>(0.0);
    for (var col = lane; col < params.cols; col += WG) {
        let g = dy[base + col] * gamma[col];
        sums += vec2<f32>(g, g * ((x[base + col] - mean) * rstd));
    }
    partial[lane] = sums;
    for (var step = WG / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if lane < step { partial[lane] += partial[lane + step]; }
    }
    workgroupBarrier();
    let means = partial[0] / f32(params.cols);
    for (var col = lane; col < params.cols; col += WG) {
        let xhat = (x[base + col] - mean) * rstd;
        var d = rstd * (dy[base + col] * gamma[col] - means.x - xhat * means.y);
        if params.accumulate != 0u { d += dx[base + col]; }
        dx[base + col] = d;
    }
}
