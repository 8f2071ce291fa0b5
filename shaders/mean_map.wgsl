// (M | b) = sum_i omega_i (W_i | b_i) over the one-layer maps of all modules: those of mu, with PLAIN those of sigma too.
// A thread makes four neighbouring elements.
import package::lib::math::{linear_group};
import package::plan::{WG};

struct Params {
    e: u32, modules: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> phi: array<vec4<f32>>; // [modules, P]: W [2][e, e], b [2][e], mu, then sigma
@group(0) @binding(2) var<storage, read> omega: array<f32>; // [modules]
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>; // [e + 1, e]: M, then b

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = linear_group(group, groups) * WG + lane;
    let units = params.e / 4u;
    let square = params.e * units;
    if at >= square + units { return; }
    // Biases stand behind both matrices.
    let start = at + select(0u, square, at >= square);
    @if(PLAIN) let sigma = start + select(square, units, at >= square);
    let row = 2u * (square + units);
    var sum = vec4<f32>(0.0);
    for (var i = 0u; i < params.modules; i++) {
        var map = phi[i * row + start];
        @if(PLAIN) { map += phi[i * row + sigma]; }
        sum = fma(vec4<f32>(omega[i]), map, sum);
    }
    out[at] = sum;
}
