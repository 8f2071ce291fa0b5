// Backward of mean_map.wgsl: domega_i = <W_i, dM> + <b_i, db>, and the gradient of the newest module, omega_T (dM | db)
// for the maps that take part; without PLAIN sigma's is zero.
// A workgroup makes one module.
import package::lib::math::{linear_group};
import package::plan::{WG};

struct Params {
    e: u32, modules: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> phi: array<vec4<f32>>; // [modules, P]: W [2][e, e], b [2][e], mu, then sigma
@group(0) @binding(2) var<storage, read> omega: array<f32>; // [modules]
@group(0) @binding(3) var<storage, read> grad: array<vec4<f32>>; // [e + 1, e]: dM, then db
@group(0) @binding(4) var<storage, read_write> dphi: array<vec4<f32>>; // [P]
@group(0) @binding(5) var<storage, read_write> domega: array<f32>; // [modules]

var<workgroup> sums: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups);
    if i >= params.modules { return; }
    let units = params.e / 4u;
    let square = params.e * units;
    let row = 2u * (square + units);
    var sum = 0.0;
    for (var at = lane; at < square + units; at += WG) {
        // Biases stand behind both matrices.
        let mu = at + select(0u, square, at >= square);
        let sigma = mu + select(square, units, at >= square);
        var map = phi[i * row + mu];
        @if(PLAIN) { map += phi[i * row + sigma]; }
        sum += dot(map, grad[at]);
        if i == params.modules - 1u {
            let d = omega[i] * grad[at];
            dphi[mu] = d;
            @if(PLAIN) { dphi[sigma] = d; }
            @else { dphi[sigma] = vec4<f32>(0.0); }
        }
    }
    sums[lane] = sum;
    for (var step = WG / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if lane < step { sums[lane] += sums[lane + step]; }
    }
    if lane == 0u { domega[i] = sums[0]; }
}
