// Forward:   mixed = [keep] mixed + omega_i z,  z = mu + eps s
// BACKWARD:  dmaps = omega_i (dz | dz eps);  with SCORES domega[group][i] = the group's part of <dz, z>
//   maps = mu | s (BOTH), s alone (SAMPLE: z = eps s) or mu alone (z = mu); eps = 1 without SAMPLE.
// One thread makes four neighbouring units of a row.
import package::lib::math::{linear_group};
import package::plan::{WG};

struct Params {
    rows: u32,
    quads: u32,
    maps_quads: u32,
    index: u32,
    modules: u32,
    keep: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> omega: array<f32>; // [modules]
@if(SAMPLE) @group(0) @binding(2) var<storage, read> eps: array<vec4<f32>>; // [rows, e]
@if(!BACKWARD || SCORES) @group(0) @binding(3) var<storage, read> maps: array<vec4<f32>>; // [rows, 2e] or [rows, e]
@if(BACKWARD) @group(0) @binding(4) var<storage, read> dz: array<vec4<f32>>; // [rows, e]
@if(!BACKWARD) @group(0) @binding(5) var<storage, read_write> mixed: array<vec4<f32>>; // [rows, e]
@if(BACKWARD) @group(0) @binding(5) var<storage, read_write> dmaps: array<vec4<f32>>; // like maps
@if(SCORES) @group(0) @binding(6) var<storage, read_write> domega: array<f32>; // [groups, modules]

@if(SCORES) var<workgroup> sums: array<f32, WG>;

@if(!BACKWARD || SCORES)
fn sampled(i: u32, at: u32) -> vec4<f32> {
    @if(BOTH && SAMPLE) { return fma(eps[i], maps[at + params.quads], maps[at]); }
    @if(BOTH && !SAMPLE) { return maps[at] + maps[at + params.quads]; }
    @if(!BOTH && SAMPLE) { return eps[i] * maps[at]; }
    @if(!BOTH && !SAMPLE) { return maps[at]; }
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = linear_group(group, groups);
    let n = params.rows * params.quads;
    if tile * WG >= n { return; }
    let i = tile * WG + lane;
    let at = i / params.quads * params.maps_quads + i % params.quads;
    let weight = omega[params.index];
    @if(!BACKWARD) if i < n {
        let z = weight * sampled(i, at);
        if params.keep != 0u { mixed[i] += z; } else { mixed[i] = z; }
    }
    @if(BACKWARD) if i < n {
        let dm = weight * dz[i];
        @if(BOTH || !SAMPLE) { dmaps[at] = dm; }
        @if(BOTH && SAMPLE) { dmaps[at + params.quads] = dm * eps[i]; }
        @if(BOTH && !SAMPLE) { dmaps[at + params.quads] = dm; }
        @if(!BOTH && SAMPLE) { dmaps[at] = dm * eps[i]; }
    }
    @if(SCORES) {
        var sum = 0.0;
        if i < n { sum = dot(dz[i], sampled(i, at)); }
        sums[lane] = sum;
        workgroupBarrier();
        if lane == 0u {
            var total = 0.0;
            for (var j = 0u; j < WG; j++) { total += sums[j]; }
            domega[tile * params.modules + params.index] = total;
        }
    }
}
