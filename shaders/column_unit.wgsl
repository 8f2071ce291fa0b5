// units[0][j] = 2^(BITS - e), units[1][j] = 2^(e - BITS), e the smallest integer with max over r |x[start + r][j]| < 2^e
//   x [.., cols], of which `rows` rows from row `start` count; units [2, cols].
// One thread a column. Threads beyond the last column do nothing. Columns below 2^-110 count as that.
import package::lib::math::{linear_group};
import package::plan::{BITS, WG};

struct Params {
    cols: u32,
    start: u32,
    rows: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [.., cols]
@group(0) @binding(2) var<storage, read_write> units: array<f32>; // [2, cols]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let col = linear_group(group, groups) * WG + lane;
    if col >= params.cols { return; }
    var largest = 0.0;
    for (var row = 0u; row < params.rows; row++) {
        largest = max(largest, abs(x[(params.start + row) * params.cols + col]));
    }
    // The biased exponent of the largest is e + 126. Powers of two are made of bits, as division may round.
    let exponent = clamp(bitcast<u32>(largest) >> 23u, 16u, 254u);
    units[col] = bitcast<f32>((253u + BITS - exponent) << 23u);
    units[params.cols + col] = bitcast<f32>((exponent + 1u - BITS) << 23u);
}
