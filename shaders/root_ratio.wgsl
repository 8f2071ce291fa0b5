// y[i] = x[i] / max(sqrt(s[i]), least)
// One thread an element; threads beyond the last do nothing.
import package::lib::math::{linear_group};
import package::plan::{WG};

struct Params {
    n: u32,
    least: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [n]
@group(0) @binding(2) var<storage, read> s: array<f32>; // [n]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [n]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = linear_group(group, groups) * WG + lane;
    if i >= params.n { return; }
    // Roots may be taken by way of 1 / sqrt, which zero has not.
    var root = params.least;
    if s[i] > params.least * params.least { root = max(sqrt(s[i]), params.least); }
    y[i] = x[i] / root;
}
