// dx[r] (+)= (dy[r] - y[r] <y[r], dy[r]>) / norm_r, without the second term where the norm was raised to `least`
// One workgroup makes one row; groups beyond the last row do nothing.
import package::lib::math::{linear_group};
import package::plan::{WG};

struct Params {
    rows: u32,
    cols: u32,
    accumulate: u32,
    least: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> y: array<f32>; // [rows, cols]
@group(0) @binding(2) var<storage, read> norms: array<f32>; // [rows]
@group(0) @binding(3) var<storage, read> dy: array<f32>; // [rows, cols]
@group(0) @binding(4) var<storage, read_write> dx: array<f32>; // [rows, cols]

var<workgroup> partial: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let row = linear_group(group, groups);
    if row >= params.rows { return; }
    let base = row * params.cols;
    var sum = 0.0;
    for (var col = lane; col < params.cols; col += WG) { sum += y[base + col] * dy[base + col]; }
    partial[lane] = sum;
    for (var step = WG / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if lane < step { partial[lane] += partial[lane + step]; }
    }
    workgroupBarrier();
    let norm = norms[row];
    let along = select(0.0, partial[0], norm > params.least);
    let scale = 1.0 / norm;
    for (var col = lane; col < params.cols; col += WG) {
        var d = scale * (dy[base + col] - y[base + col] * along);
        if params.accumulate != 0u { d += dx[base + col]; }
        dx[base + col] = d;
    }
}
