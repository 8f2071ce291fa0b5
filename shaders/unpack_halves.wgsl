// x[2 i] and x[2 i + 1] = the halves of words[i], the lower bits first
// One thread reads one word; threads beyond the end do nothing.
import package::lib::math::{linear_group};
import package::plan::{WG};

struct Params {
    n: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> words: array<u32>; // [ceil(n / 2)]
@group(0) @binding(2) var<storage, read_write> x: array<f32>; // [n]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = linear_group(group, groups) * WG + lane;
    if i >= (params.n + 1u) / 2u { return; }
    let pair = unpack2x16float(words[i]);
    x[2u * i] = pair.x;
    if 2u * i + 1u < params.n { x[2u * i + 1u] = pair.y; }
}
