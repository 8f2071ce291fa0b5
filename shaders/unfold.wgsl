// out[b][P + t][(c p + i) p + j] = pixel (i, j) of channel c of patch t, patches in row order; out[b][r] = 0 for r < P
// One thread makes one element; threads beyond the end do nothing.
import package::lib::math::{linear_group};
import package::plan::{WG};

struct Params {
    n: u32,
    channels: u32, height: u32, width: u32,
    patch_size: u32,
    patches: u32,
    front: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> images: array<f32>; // [b, channels, height, width]
@group(0) @binding(2) var<storage, read_write> out: array<f32>; // [b, front + patches, channels patch_size^2], n elements

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let at = linear_group(group, groups) * WG + lane;
    if at >= params.n { return; }
    let size = params.patch_size;
    let cols = params.channels * size * size;
    let tokens = params.front + params.patches;
    let image = at / cols / tokens;
    let token = at / cols % tokens;
    var value = 0.0;
    if token >= params.front {
        let across = params.width / size;
        let patch_index = token - params.front;
        let line = at / size % (params.channels * size); // c p + i
        let row = patch_index / across * size + line % size;
        let col = patch_index % across * size + at % size;
        value = images[((image * params.channels + line / size) * params.height + row) * params.width + col];
    }
    out[at] = value;
}
