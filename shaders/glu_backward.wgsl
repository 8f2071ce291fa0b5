// u = a | b:  da = dy b gate'(a),  db = dy gate(a)
//   GELU: gate'(a) = Phi(a) + a phi(a); else s (1 + a (1 - s)), s = sigmoid(a)
// One thread makes both elements of a pair; threads beyond the end do nothing.
import package::lib::math::{gelu_with_slope, linear_group, sigmoid};
import package::plan::{WG};

struct Params {
    n: u32,
    cols: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> u: array<f32>; // [rows, 2 cols]
@group(0) @binding(2) var<storage, read> dy: array<f32>; // [rows, cols], n elements
@group(0) @binding(3) var<storage, read_write> du: array<f32>; // [rows, 2 cols]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = linear_group(group, groups) * WG + lane;
    if i >= params.n { return; }
    let at = i + i / params.cols * params.cols;
    let a = u[at];
    @if(GELU) let gate = gelu_with_slope(a);
    // 1 - s = sigmoid(-a), which does not cancel.
    @if(!GELU) let s = sigmoid(a);
    @if(!GELU) let gate = vec2<f32>(a * s, s + a * s * sigmoid(-a));
    du[at] = dy[i] * u[at + params.cols] * gate.y;
    du[at + params.cols] = dy[i] * gate.x;
}
