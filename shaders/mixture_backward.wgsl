// domega_i = sum over groups of partials[group][i],  out_i = omega_i (domega_i - sum_j omega_j domega_j)
// One workgroup: each thread sums every WG-th partial, then the threads are added up as a tree, so that the order is
// the same on every run.
import package::plan::{WG};

struct Params {
    groups: u32, modules: u32, offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partials: array<f32>; // [groups, modules]
@group(0) @binding(2) var<storage, read> omega: array<f32>; // [layers, modules]
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // [layers, modules]

var<workgroup> sums: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
    var mean = 0.0;
    for (var i = 0u; i < params.modules; i++) {
        var sum = 0.0;
        for (var group = lane; group < params.groups; group += WG) { sum += partials[group * params.modules + i]; }
        sums[lane] = sum;
        workgroupBarrier();
        for (var step = WG / 2u; step > 0u; step /= 2u) {
            if lane < step { sums[lane] += sums[lane + step]; }
            workgroupBarrier();
        }
        let total = sums[0];
        mean += omega[params.offset + i] * total;
        // Only this thread touches the element until the end.
        if lane == i % WG { out[params.offset + i] = total; }
        workgroupBarrier();
    }
    for (var i = lane; i < params.modules; i += WG) {
        let at = params.offset + i;
        out[at] = omega[at] * (out[at] - mean);
    }
}
