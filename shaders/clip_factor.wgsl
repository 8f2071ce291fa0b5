// clip = [min(1, most / (norm + eps)), norm],  norm = sqrt(sum_k partials[k]), k < n
// One workgroup makes everything, so that the sum has a fixed order: a lane takes every WG-th partial sum, and lanes
// are added in a tree.
import package::plan::{WG};

struct Params {
    n: u32,
    most: f32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partials: array<f32>; // [n ..]
@group(0) @binding(2) var<storage, read_write> clip: array<f32>; // [2]

var<workgroup> sums: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var k = lane; k < params.n; k += WG) { sum += partials[k]; }
    sums[lane] = sum;
    for (var step = WG / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if lane < step { sums[lane] += sums[lane + step]; }
    }
    if lane == 0u {
        // Roots may be taken by way of 1 / sqrt, which zero has not.
        var norm = 0.0;
        if sums[0] > 0.0 { norm = sqrt(sums[0]); }
        clip[0] = min(1.0, params.most / (norm + params.eps));
        clip[1] = norm;
    }
}
