// q[labels[b]] += p[b], over b in order, q as pairs: the sums of the first parts are exact, their errors go to the second.
// Rows whose label is no class are left out. One thread owns a column of q, so no two threads add to one element; threads beyond the last column do nothing.
import package::lib::math::{linear_group};
import package::lib::pair::{two_sum};
import package::plan::{WG};

struct Params {
    rows: u32,
    cols: u32,
    classes: u32,
    zero: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> p: array<f32>; // [rows, cols]
@group(0) @binding(2) var<storage, read> labels: array<u32>; // [rows]
@group(0) @binding(3) var<storage, read_write> q: array<f32>; // [2, classes, cols]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let col = linear_group(group, groups) * WG + lane;
    if col >= params.cols { return; }
    for (var row = 0u; row < params.rows; row++) {
        let label = labels[row];
        if label >= params.classes { continue; }
        let at = label * params.cols + col;
        let low = at + params.classes * params.cols;
        let sum = two_sum(q[at], p[row * params.cols + col], params.zero);
        q[at] = sum.x;
        q[low] += sum.y;
    }
}
