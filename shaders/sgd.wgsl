// g = grad + weight_decay param;  velocity = momentum velocity + g;  param -= lr velocity;  CLIPPED: grad times clip[0]
// One thread updates one element of param[offset ..]; threads beyond the end do nothing.
import package::lib::math::{linear_group};
import package::plan::{WG};

struct Params {
    n: u32,
    offset: u32,
    lr: f32,
    momentum: f32,
    weight_decay: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> grad: array<f32>; // [n]
@if(CLIPPED) @group(0) @binding(2) var<storage, read> clip: array<f32>; // [1 ..]
@group(0) @binding(3) var<storage, read_write> param: array<f32>; // [offset + n ..]
@group(0) @binding(4) var<storage, read_write> velocity: array<f32>; // [n]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = linear_group(group, groups) * WG + lane;
    if i >= params.n { return; }
    let p = param[params.offset + i];
    var g = grad[i];
    @if(CLIPPED) { g *= clip[0]; }
    let v = params.momentum * velocity[i] + (g + params.weight_decay * p);
    velocity[i] = v;
    param[params.offset + i] = p - params.lr * v;
}
