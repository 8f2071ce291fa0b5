// partials[slot + k] = sum x[i]^2 over the k-th BLOCK elements of x
// One workgroup makes one sum: a lane takes every WG-th element of the block, and lanes are added in a tree. The last
// block may have fewer elements; groups beyond it do nothing. Squares are summed as they are: they must not overflow.
import package::lib::math::{linear_group};
import package::plan::{BLOCK, WG};

struct Params {
    n: u32,
    slot: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [n]
@group(0) @binding(2) var<storage, read_write> partials: array<f32>; // [slot + ceil(n / BLOCK) ..]

var<workgroup> squares: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let block = linear_group(group, groups);
    let first = block * BLOCK;
    if first >= params.n { return; }
    let end = min(first + BLOCK, params.n);
    var sum = 0.0;
    for (var i = first + lane; i < end; i += WG) {
        let value = x[i];
        sum += value * value;
    }
    squares[lane] = sum;
    for (var step = WG / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if lane < step { squares[lane] += squares[lane + step]; }
    }
    if lane == 0u { partials[params.slot + block] = squares[0]; }
}
