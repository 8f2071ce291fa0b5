// y[0][i] + y[1][i] = a[i] + b[i] and y[2][i] + y[3][i] = a[i] b[i], without error, if the compiler leaves the order of sums.
//   a, b [n]; y [4, n].
// One thread an element; threads beyond the last do nothing.
import package::lib::math::{linear_group};
import package::lib::pair::{two_sum, two_product};
import package::plan::{WG};

struct Params {
    n: u32,
    zero: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>; // [n]
@group(0) @binding(2) var<storage, read> b: array<f32>; // [n]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [4, n]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = linear_group(group, groups) * WG + lane;
    if i >= params.n { return; }
    let sum = two_sum(a[i], b[i], params.zero);
    let product = two_product(a[i], b[i], params.zero);
    y[i] = sum.x;
    y[params.n + i] = sum.y;
    y[2u * params.n + i] = product.x;
    y[3u * params.n + i] = product.y;
}
