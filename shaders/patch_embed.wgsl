// out[b][p] = prefix[p]
// out[b][P + t] = sum_(c, i, j) patch_t[c][i][j] weight[(c p + i) p + j] + pos[t]
// One lane makes a unit of columns (four where WIDE) for PATCHES patches of one image; where there is a PREFIX, block 0
// copies it. Patches beyond the last repeat it and are not stored.
import package::lib::math::{linear_group, tile_place};
import package::plan::{PATCHES, WG};

struct Params {
    channels: u32, height: u32, width: u32,
    patch_size: u32,
    patches: u32,
    prefix: u32,
    cols: u32, // in units
    batch: u32,
}

@if(WIDE) alias Unit = vec4<f32>;
@if(!WIDE) alias Unit = f32;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> images: array<f32>; // [b, channels, height, width]
@group(0) @binding(2) var<storage, read> weight: array<Unit>; // [channels patch_size^2, cols]
@if(PREFIX) @group(0) @binding(3) var<storage, read> prefix: array<Unit>; // [prefix, cols]
@group(0) @binding(4) var<storage, read> pos: array<Unit>; // [patches, cols]
@group(0) @binding(5) var<storage, read_write> out: array<Unit>; // [b, prefix + patches, cols]

@if(PREFIX) const LEAD: u32 = 1u;
@if(!PREFIX) const LEAD: u32 = 0u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let blocks = LEAD + (params.patches + PATCHES - 1u) / PATCHES;
    let place = tile_place(linear_group(group, groups), (params.cols + WG - 1u) / WG, blocks);
    let col = place.x * WG + lane;
    let image = place.z;
    if col >= params.cols || image >= params.batch { return; }
    let out_base = image * (params.prefix + params.patches) * params.cols + col;
    @if(PREFIX) {
        if place.y == 0u {
            for (var p = 0u; p < params.prefix; p++) {
                out[out_base + p * params.cols] = prefix[p * params.cols + col];
            }
            return;
        }
    }
    let first = (place.y - LEAD) * PATCHES;
    let across = params.width / params.patch_size;
    let channel_size = params.height * params.width;
    var corner: array<u32, PATCHES>;
    var acc: array<Unit, PATCHES>;
    for (var t = 0u; t < PATCHES; t++) {
        let patch_index = min(first + t, params.patches - 1u);
        let pixel = patch_index / across * params.width + patch_index % across;
        corner[t] = image * params.channels * channel_size + pixel * params.patch_size;
        acc[t] = Unit(0.0);
    }
    var at = col;
    for (var c = 0u; c < params.channels; c++) {
        for (var i = 0u; i < params.patch_size; i++) {
            let line = c * channel_size + i * params.width;
            for (var j = 0u; j < params.patch_size; j++) {
                let w = weight[at];
                for (var t = 0u; t < PATCHES; t++) {
                    acc[t] = fma(Unit(images[corner[t] + line + j]), w, acc[t]);
                }
                at += params.cols;
            }
        }
    }
    for (var t = 0u; t < PATCHES; t++) {
        if first + t < params.patches {
            let value = acc[t] + pos[(first + t) * params.cols + col];
            out[out_base + (params.prefix + first + t) * params.cols] = value;
        }
    }
}
