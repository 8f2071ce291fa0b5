// Next direction of conjugate gradients for every row c: with beta = -(z y) / (p y), y = A p of the direction before,
//   t = z + beta p,  p = t in units of a power of two: integers below 2^9 and 9 bits behind the point,
//   scalars[c][2..6] = (r r, z z, x x, the unit's inverse).
//   p and z [rows, m]; y, x, r [2, rows, m] pairs, of which the first parts count; scalars [rows, 6] with p y at 1;
//   beta = 0 where p y = 0, as at the start.
// One workgroup a row.
import package::lib::math::{linear_group};
import package::plan::{WG};

struct Params {
    rows: u32,
    m: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> z: array<f32>; // [rows, m]
@group(0) @binding(2) var<storage, read> y: array<f32>; // [2, rows, m]
@group(0) @binding(3) var<storage, read> x: array<f32>; // [2, rows, m]
@group(0) @binding(4) var<storage, read> r: array<f32>; // [2, rows, m]
@group(0) @binding(5) var<storage, read_write> p: array<f32>; // [rows, m]
@group(0) @binding(6) var<storage, read_write> scalars: array<f32>; // [rows, 6]

var<workgroup> sums: array<vec4<f32>, WG>; // [WG]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let row = linear_group(group, groups);
    if row >= params.rows { return; }
    let base = row * params.m;
    var dots = vec4<f32>(0.0);
    for (var j = lane; j < params.m; j += WG) {
        let at = base + j;
        dots += vec4<f32>(z[at], r[at], z[at], x[at]) * vec4<f32>(y[at], r[at], z[at], x[at]);
    }
    sums[lane] = dots;
    workgroupBarrier();
    for (var width = WG / 2u; width > 0u; width /= 2u) {
        if lane < width { sums[lane] += sums[lane + width]; }
        workgroupBarrier();
    }
    let total = sums[0];
    workgroupBarrier();

    let curvature = scalars[row * 6u + 1u];
    var beta = 0.0;
    if curvature > 0.0 { beta = -total.x / curvature; }
    var largest = 0.0;
    for (var j = lane; j < params.m; j += WG) {
        largest = max(largest, abs(z[base + j] + beta * p[base + j]));
    }
    sums[lane] = vec4<f32>(largest);
    workgroupBarrier();
    for (var width = WG / 2u; width > 0u; width /= 2u) {
        if lane < width { sums[lane] = max(sums[lane], sums[lane + width]); }
        workgroupBarrier();
    }
    // 2^(9 - e) for a largest entry in [2^(e - 1), 2^e), made of bits.
    let exponent = clamp(bitcast<u32>(sums[0].x) >> 23u, 16u, 253u);
    let unit = bitcast<f32>((262u - exponent) << 23u);
    if lane == 0u {
        scalars[row * 6u + 2u] = total.y;
        scalars[row * 6u + 3u] = total.z;
        scalars[row * 6u + 4u] = total.w;
        scalars[row * 6u + 5u] = unit;
    }
    for (var j = lane; j < params.m; j += WG) {
        let t = (z[base + j] + beta * p[base + j]) * unit;
        p[base + j] = round(t * 512.0) * 0.001953125;
    }
}
