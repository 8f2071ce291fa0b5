// Powers of two that bring the diagonal of A = G + gamma I near 1, and that diagonal as pairs, for one diagonal tile of G.
//   g [2, n, n]: hi, lo; gamma = gamma_hi + gamma_lo.
//   scale[offset + i] = 2^-k and diagonal[.][offset + i] = (G_ii + gamma) 4^-k in [1/2, 2); k = 0 where G_ii + gamma <= 0.
//   scale [m], diagonal [2, m].
// One thread an entry; threads beyond the last do nothing.
import package::lib::math::{linear_group};
import package::lib::pair::{pair_add};
import package::plan::{WG};

struct Params {
    m: u32,
    n: u32,
    offset: u32,
    zero: u32,
    gamma_hi: f32,
    gamma_lo: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> g: array<f32>; // [2, n, n]
@group(0) @binding(2) var<storage, read_write> scale: array<f32>; // [m]
@group(0) @binding(3) var<storage, read_write> diagonal: array<f32>; // [2, m]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = linear_group(group, groups) * WG + lane;
    if i >= params.n { return; }
    let at = i * params.n + i;
    let gamma = vec2<f32>(params.gamma_hi, params.gamma_lo);
    let sum = pair_add(vec2<f32>(g[at], g[params.n * params.n + at]), gamma, params.zero);
    // The biased exponent; shifting a negative number to the right rounds down.
    let bits = bitcast<i32>(sum.x);
    let k = select(((bits >> 23u) - 126) >> 1u, 0, bits <= 0);
    let power = bitcast<f32>(u32(127 - k) << 23u);
    let to = params.offset + i;
    scale[to] = power;
    diagonal[to] = sum.x * power * power;
    diagonal[params.m + to] = sum.y * power * power;
}
