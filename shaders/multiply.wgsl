// y[i] (+)= a[i] b[i]
// One thread an element; threads beyond the last do nothing.
import package::lib::math::{linear_group};
import package::plan::{WG};

struct Params {
    n: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>; // [n]
@group(0) @binding(2) var<storage, read> b: array<f32>; // [n]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [n]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = linear_group(group, groups) * WG + lane;
    if i >= params.n { return; }
    var product = a[i] * b[i];
    if params.accumulate != 0u { product += y[i]; }
    y[i] = product;
}
