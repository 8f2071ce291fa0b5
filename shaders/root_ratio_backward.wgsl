// y = x / root, root = max(sqrt(s), least):  dx[i] = dy[i] / root[i];  ds[i] = -dy[i] y[i] / (2 s[i]), 0 where the root was
// raised to `least`
// One thread an element; threads beyond the last do nothing.
import package::lib::math::{linear_group};
import package::plan::{WG};

struct Params {
    n: u32,
    least: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> s: array<f32>; // [n]
@group(0) @binding(2) var<storage, read> y: array<f32>; // [n]
@group(0) @binding(3) var<storage, read> dy: array<f32>; // [n]
@group(0) @binding(4) var<storage, read_write> dx: array<f32>; // [n]
@group(0) @binding(5) var<storage, read_write> ds: array<f32>; // [n]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = linear_group(group, groups) * WG + lane;
    if i >= params.n { return; }
    // Roots may be taken by way of 1 / sqrt, which zero has not.
    var root = params.least;
    var slope = 0.0;
    if s[i] > params.least * params.least {
        root = max(sqrt(s[i]), params.least);
        slope = -0.5 * y[i] / s[i];
    }
    dx[i] = dy[i] / root;
    ds[i] = dy[i] * slope;
}
