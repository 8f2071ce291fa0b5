// f = D G D + shift I in single precision for one tile, D = diag(scale); on the diagonal stands that of A instead of G's.
//   g [2, rows, cols], of which the first part counts; diagonal [2, m]; f [rows, cols].
// One thread an element; threads beyond the last do nothing.
import package::lib::math::{linear_group};
import package::plan::{WG};

struct Params {
    rows: u32, cols: u32,
    row0: u32, col0: u32,
    shift: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> g: array<f32>; // [2, rows, cols]
@group(0) @binding(2) var<storage, read> scale: array<f32>; // [m]
@group(0) @binding(3) var<storage, read> diagonal: array<f32>; // [2, m]
@group(0) @binding(4) var<storage, read_write> f: array<f32>; // [rows, cols]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let at = linear_group(group, groups) * WG + lane;
    if at >= params.rows * params.cols { return; }
    let row = params.row0 + at / params.cols;
    let col = params.col0 + at % params.cols;
    var x = g[at] * scale[row] * scale[col];
    if row == col { x = diagonal[row] + params.shift; }
    f[at] = x;
}
