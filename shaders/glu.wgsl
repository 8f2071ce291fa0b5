// out = gate(a) b, u = a | b; gate(a) = a Phi(a) where GELU, else a sigmoid(a)
// One thread makes one element; threads beyond the end do nothing.
import package::lib::math::{gelu, linear_group, sigmoid};
import package::plan::{WG};

struct Params {
    n: u32,
    cols: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> u: array<f32>; // [rows, 2 cols]
@group(0) @binding(2) var<storage, read_write> out: array<f32>; // [rows, cols], n elements

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = linear_group(group, groups) * WG + lane;
    if i >= params.n { return; }
    let at = i + i / params.cols * params.cols;
    let a = u[at];
    @if(GELU) let gate = gelu(a);
    @if(!GELU) let gate = a * sigmoid(a);
    out[i] = gate * u[at + params.cols];
}
