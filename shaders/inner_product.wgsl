// out[slot] (+)= factor sum_i x[i] y[i]
// One workgroup makes everything, so that the sum has a fixed order: a lane takes every WG-th product, and lanes are
// added in a tree.
import package::plan::{WG};

struct Params {
    n: u32,
    slot: u32,
    accumulate: u32,
    factor: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [n]
@group(0) @binding(2) var<storage, read> y: array<f32>; // [n]
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // [slot + 1 ..]

var<workgroup> sums: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var i = lane; i < params.n; i += WG) { sum += x[i] * y[i]; }
    sums[lane] = sum;
    for (var step = WG / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if lane < step { sums[lane] += sums[lane + step]; }
    }
    if lane == 0u {
        var total = params.factor * sums[0];
        if params.accumulate != 0u { total += out[params.slot]; }
        out[params.slot] = total;
    }
}
