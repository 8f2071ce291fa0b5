// One step of conjugate gradients for every row c: alpha = (p r) / (p y) with y = A p, then
//   x += alpha p,  r -= alpha y,  z = r,  scalars[c][0..2] = (alpha, p y).
//   p [rows, m]; y, x, r [2, rows, m] pairs; z [rows, m], r in single precision; scalars [rows, 6]. alpha = 0 where p y = 0.
// One workgroup a row.
import package::lib::math::{linear_group};
import package::lib::pair::{pair_add, pair_scale, two_product};
import package::plan::{WG};

struct Params {
    rows: u32,
    m: u32,
    zero: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> p: array<f32>; // [rows, m]
@group(0) @binding(2) var<storage, read> y: array<f32>; // [2, rows, m]
@group(0) @binding(3) var<storage, read_write> x: array<f32>; // [2, rows, m]
@group(0) @binding(4) var<storage, read_write> r: array<f32>; // [2, rows, m]
@group(0) @binding(5) var<storage, read_write> z: array<f32>; // [rows, m]
@group(0) @binding(6) var<storage, read_write> scalars: array<f32>; // [rows, 6]

var<workgroup> sums: array<vec2<f32>, WG>; // [WG]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let row = linear_group(group, groups);
    if row >= params.rows { return; }
    let base = row * params.m;
    let low = params.rows * params.m;
    var dots = vec2<f32>(0.0);
    for (var j = lane; j < params.m; j += WG) {
        dots += p[base + j] * vec2<f32>(r[base + j], y[base + j]);
    }
    sums[lane] = dots;
    workgroupBarrier();
    for (var width = WG / 2u; width > 0u; width /= 2u) {
        if lane < width { sums[lane] += sums[lane + width]; }
        workgroupBarrier();
    }
    let curvature = sums[0].y;
    var alpha = 0.0;
    if curvature > 0.0 { alpha = sums[0].x / curvature; }
    if lane == 0u {
        scalars[row * 6u] = alpha;
        scalars[row * 6u + 1u] = curvature;
    }
    for (var j = lane; j < params.m; j += WG) {
        let at = base + j;
        let step = two_product(alpha, p[at], params.zero);
        let moved = pair_add(vec2<f32>(x[at], x[low + at]), step, params.zero);
        let change = pair_scale(vec2<f32>(y[at], y[low + at]), -alpha, params.zero);
        let left = pair_add(vec2<f32>(r[at], r[low + at]), change, params.zero);
        x[at] = moved.x;
        x[low + at] = moved.y;
        r[at] = left.x;
        r[low + at] = left.y;
        z[at] = left.x;
    }
}
