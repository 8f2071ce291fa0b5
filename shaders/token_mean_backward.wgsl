// dx[b][t] = dy[b] / count for first <= t < first + count, else 0
// One thread makes one element of dx; threads beyond the end do nothing.
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
@group(0) @binding(1) var<storage, read> dy: array<f32>; // [b, cols]
@group(0) @binding(2) var<storage, read_write> dx: array<f32>; // [b, tokens, cols], n elements

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = linear_group(group, groups) * WG + lane;
    if i >= params.n { return; }
    let row = i / params.cols;
    let token = row % params.tokens;
    var value = 0.0;
    if token >= params.first && token < params.first + params.count {
        value = dy[row / params.tokens * params.cols + i % params.cols];
        if params.count > 1u { value /= f32(params.count); }
    }
    dx[i] = value;
}
