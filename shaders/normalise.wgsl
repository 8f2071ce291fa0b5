// out[b][c][i] = table[c][byte i of plane c of image b]: pixels of bytes, normalised as the backbone wants them
// One thread makes one element; threads beyond the end do nothing.
import package::lib::math::{linear_group};
import package::plan::{WG};

struct Params {
    n: u32,
    plane: u32,
    channels: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> bytes: array<u32>; // [ceil(n / 4)]
@group(0) @binding(2) var<storage, read> table: array<f32>; // [channels, 256]
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // [b, channels, plane], n elements

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = linear_group(group, groups) * WG + lane;
    if i >= params.n { return; }
    let byte = (bytes[i / 4u] >> (8u * (i % 4u))) & 255u;
    out[i] = table[256u * (i / params.plane % params.channels) + byte];
}
