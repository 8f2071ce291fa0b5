// dx[i] = dy[i] * act'(saved[i])
//   GELU: act' = Phi(z) + z phi(z), saved = z, the value before the activation; QUICK: act' = s + 1.702 z s (1 - s),
//   s = sigmoid(1.702 z), saved likewise; else ReLU: act' = (saved > 0), the same before and after the activation.
// One thread makes one element; threads beyond the end do nothing.
import package::lib::math::{gelu_grad, linear_group, quick_gelu_grad};
import package::plan::{WG};

struct Params {
    n: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> saved: array<f32>; // [n]
@group(0) @binding(2) var<storage, read> dy: array<f32>; // [n]
@group(0) @binding(3) var<storage, read_write> dx: array<f32>; // [n]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = linear_group(group, groups) * WG + lane;
    if i >= params.n { return; }
    @if(GELU) { dx[i] = dy[i] * gelu_grad(saved[i]); }
    @if(QUICK) { dx[i] = dy[i] * quick_gelu_grad(saved[i]); }
    @if(!GELU && !QUICK) { dx[i] = select(0.0, dy[i], saved[i] > 0.0); }
}
