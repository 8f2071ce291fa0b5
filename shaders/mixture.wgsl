// omega[row] = softmax(logits[row])
// One thread makes one row: a row is one layer of the network, as long as there are noise modules.
import package::lib::math::{linear_group};
import package::plan::{WG};

struct Params {
    rows: u32, modules: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>; // [rows, modules]
@group(0) @binding(2) var<storage, read_write> omega: array<f32>; // [rows, modules]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = linear_group(group, groups) * WG + lane;
    if row >= params.rows { return; }
    let at = row * params.modules;
    var top = logits[at];
    for (var i = 1u; i < params.modules; i++) { top = max(top, logits[at + i]); }
    var sum = 0.0;
    for (var i = 0u; i < params.modules; i++) { sum += exp(logits[at + i] - top); }
    for (var i = 0u; i < params.modules; i++) { omega[at + i] = exp(logits[at + i] - top) / sum; }
}
