// For every head of q and k of a token behind the prefix, with its row (cos | sin) of the table:
//   x_i, x_(i + dim / 2) <- x_i cos_i - x_(i + dim / 2) sin_i, x_(i + dim / 2) cos_i + x_i sin_i   (sin negated: INVERSE)
// in place. One thread turns one pair; threads beyond the end do nothing.
import package::lib::math::{linear_group};
import package::plan::{WG};

struct Params {
    n: u32,
    tokens: u32,
    prefix: u32,
    heads: u32,
    dim: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<f32>; // [tokens - prefix, dim]
@group(0) @binding(2) var<storage, read_write> x: array<f32>; // [b tokens, 3 heads dim], 2 n elements of it turned

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_group(group, groups) * WG + lane;
    if index >= params.n { return; }
    let span = params.dim / 2u;
    let patches = params.tokens - params.prefix;
    let i = index % span;
    // The heads of q, then those of k.
    let head = index / span % (2u * params.heads);
    let patch_index = index / span / (2u * params.heads);
    let row = patch_index / patches * params.tokens + params.prefix + patch_index % patches;
    let at = (row * 3u * params.heads + head) * params.dim + i;
    let c = table[patch_index % patches * params.dim + i];
    @if(INVERSE) let s = -table[patch_index % patches * params.dim + span + i];
    @if(!INVERSE) let s = table[patch_index % patches * params.dim + span + i];
    let a = x[at];
    let b = x[at + span];
    x[at] = a * c - b * s;
    x[at + span] = b * c + a * s;
}
