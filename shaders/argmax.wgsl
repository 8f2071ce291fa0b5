// out[r] = the lowest j with x[r][j] = max_j x[r][j]
// One workgroup makes one row; groups beyond the last row do nothing.
import package::lib::math::{linear_group};
import package::plan::{WG};

struct Params {
    rows: u32,
    cols: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, cols]
@group(0) @binding(2) var<storage, read_write> out: array<u32>; // [rows]

var<workgroup> values: array<f32, WG>;
var<workgroup> columns: array<u32, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let row = linear_group(group, groups);
    if row >= params.rows { return; }
    let base = row * params.cols;
    // Lanes without a column of their own enter column 0, which changes no result.
    var best = select(0u, lane, lane < params.cols);
    var value = x[base + best];
    for (var col = best + WG; col < params.cols; col += WG) {
        if x[base + col] > value {
            value = x[base + col];
            best = col;
        }
    }
    values[lane] = value;
    columns[lane] = best;
    for (var step = WG / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if lane < step {
            let v = values[lane + step];
            let c = columns[lane + step];
            if v > values[lane] || (v == values[lane] && c < columns[lane]) {
                values[lane] = v;
                columns[lane] = c;
            }
        }
    }
    if lane == 0u { out[row] = columns[0]; }
}
