// hot[r][j][i] = 1 where j entries of x[r] are larger than x[r][i], else 0, for j < k; of equal entries the first is larger
// One thread makes column i of the k rows of hot[r]; threads beyond the last do nothing.
import package::lib::math::{linear_group};
import package::plan::{WG};

struct Params {
    n: u32,
    cols: u32,
    k: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, cols], n elements
@group(0) @binding(2) var<storage, read_write> hot: array<f32>; // [rows, k, cols]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = linear_group(group, groups) * WG + lane;
    if i >= params.n { return; }
    let row = i / params.cols;
    let col = i % params.cols;
    let value = x[i];
    var larger = 0u;
    for (var other = 0u; other < params.cols; other++) {
        let x_other = x[row * params.cols + other];
        if x_other > value || (x_other == value && other < col) { larger += 1u; }
    }
    let base = row * params.k * params.cols + col;
    for (var j = 0u; j < params.k; j++) { hot[base + j * params.cols] = select(0.0, 1.0, j == larger); }
}
