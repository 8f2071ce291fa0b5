// out[b] = 1 / count sum_(t < count) x[b][first + t]
// One thread makes one element; threads beyond the end do nothing.
import package::lib::math::{linear_group};
import package::plan::{WG};

struct Params {
    n: u32,
    cols: u32,
    tokens: u32,
    first: u32,
    count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [b, tokens, cols]
@group(0) @binding(2) var<storage, read_write> out: array<f32>; // [b, cols], n elements

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = linear_group(group, groups) * WG + lane;
    if i >= params.n { return; }
    var at = (i / params.cols * params.tokens + params.first) * params.cols + i % params.cols;
    var sum = x[at];
    for (var t = 1u; t < params.count; t++) {
        at += params.cols;
        sum += x[at];
    }
    // A token alone stays as it is: division need not be exact on a GPU, not even by one.
    if params.count > 1u { sum /= f32(params.count); }
    out[i] = sum;
}
