// y[i] = p + q, where p from x[i] and q from x[i] + 1 go through rounds * ROUND steps v <- v factor + term
// One thread makes four elements: eight independent chains, which hide the latency of a fused step and still fit the
// sixteen vector registers of a software device. Threads beyond the end do nothing.
import package::lib::math::{linear_group};
import package::plan::{ROUND, WG};

struct Params {
    quads: u32,
    rounds: u32,
    factor: f32,
    term: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [quads]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>; // [quads]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = linear_group(group, groups) * WG + lane;
    if i >= params.quads { return; }
    let factor = vec4(params.factor);
    let term = vec4(params.term);
    var p = x[i];
    var q = p + 1.0;
    for (var round = 0u; round < params.rounds; round++) {
        for (var step = 0u; step < ROUND; step++) { // unrolled by every compiler
            p = fma(p, factor, term);
            q = fma(q, factor, term);
        }
    }
    y[i] = p + q;
}
