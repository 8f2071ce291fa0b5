// m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
// param = (1 - lr weight_decay) param - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
// The factors that are the same for all elements come from the host: keep = 1 - lr weight_decay,
// rate = lr / (1 - beta1^t), spread = 1 / sqrt(1 - beta2^t). CLIPPED: g = clip[0] grad, else grad.
// One thread updates one element of param[offset ..]; threads beyond the end do nothing.
import package::lib::math::{linear_group};
import package::plan::{WG};

struct Params {
    n: u32,
    offset: u32,
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    keep: f32,
    rate: f32,
    spread: f32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> grad: array<f32>; // [n]
@if(CLIPPED) @group(0) @binding(2) var<storage, read> clip: array<f32>; // [1 ..]
@group(0) @binding(3) var<storage, read_write> param: array<f32>; // [offset + n ..]
@group(0) @binding(4) var<storage, read_write> first: array<f32>; // [n]
@group(0) @binding(5) var<storage, read_write> second: array<f32>; // [n]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = linear_group(group, groups) * WG + lane;
    if i >= params.n { return; }
    var g = grad[i];
    @if(CLIPPED) { g *= clip[0]; }
    let m = params.beta1 * first[i] + params.rest1 * g;
    let v = params.beta2 * second[i] + params.rest2 * g * g;
    first[i] = m;
    second[i] = v;
    let at = params.offset + i;
    // Roots may be taken by way of 1 / sqrt, which zero has not.
    var root = 0.0;
    if v > 0.0 { root = sqrt(v); }
    param[at] = params.keep * param[at] - params.rate * m / (params.spread * root + params.eps);
}
