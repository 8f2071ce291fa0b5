// words[i] = halves of x[2 i] and x[2 i + 1], the first in the lower bits; beyond the largest half that half, 65504
// One thread makes one word; threads beyond the end do nothing.
import package::lib::math::{linear_group};
import package::plan::{WG};

struct Params {
    n: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [n]
@group(0) @binding(2) var<storage, read_write> words: array<u32>; // [ceil(n / 2)]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = linear_group(group, groups) * WG + lane;
    if i >= (params.n + 1u) / 2u { return; }
    var pair = vec2<f32>(x[2u * i], 0.0);
    if 2u * i + 1u < params.n { pair.y = x[2u * i + 1u]; }
    words[i] = pack2x16float(clamp(pair, vec2<f32>(-65504.0), vec2<f32>(65504.0)));
}
