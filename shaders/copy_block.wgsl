// out[out_offset + r out_ld + c] (+)= factor x[x_offset + r x_ld + c] for r < rows, c < cols; x_ld = 0 repeats one row
// One thread makes one element; threads beyond the end do nothing.
import package::lib::math::{linear_group};
import package::plan::{WG};

struct Params {
    n: u32, cols: u32,
    x_offset: u32, x_ld: u32,
    out_offset: u32, out_ld: u32,
    accumulate: u32,
    factor: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, cols] with stride x_ld
@group(0) @binding(2) var<storage, read_write> out: array<f32>; // [rows, cols] with stride out_ld, n elements

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = linear_group(group, groups) * WG + lane;
    if i >= params.n { return; }
    let row = i / params.cols;
    let col = i % params.cols;
    let at = params.out_offset + row * params.out_ld + col;
    var value = params.factor * x[params.x_offset + row * params.x_ld + col];
    if params.accumulate != 0u { value += out[at]; }
    out[at] = value;
}
