// y = tanh(x) = sign(x) (1 - e) / (1 + e) with e = exp(-|x|)^2, which cannot overflow
// One thread makes one element; threads beyond the end do nothing.
import package::lib::math::{linear_group};
import package::plan::{WG};

struct Params {
    n: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // n elements
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // n elements

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = linear_group(group, groups) * WG + lane;
    if i >= params.n { return; }
    let s = exp(-abs(x[i]));
    let e = s * s;
    y[i] = sign(x[i]) * (1.0 - e) / (1.0 + e);
}
