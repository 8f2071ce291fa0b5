// Triangular solve for every row of X, in place, with the diagonal block L = l[start.., start..] (size rows, columns):
//   x L^T = a (forward substitution), or x L = a (backward) if TRANSPOSED; a = x[row, start ..] before, x after.
//   l [m, m], or x itself if OWN; x: row r starts at element x_offset + r * x_ld; scratch [.., scratch_ld], a copy of
//   the result in the same columns.
// One thread owns a row, a workgroup WG rows; all lanes read the same elements of L. 4 unknowns at a time.
// Edges: threads beyond the last row do nothing; L continues beyond size as the identity, a as 0.
import package::lib::math::{linear_group};
import package::plan::{SIZE, WG};

struct Params {
    m: u32, start: u32, size: u32,
    rows: u32, x_offset: u32, x_ld: u32, scratch_ld: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@if(!OWN) @group(0) @binding(1) var<storage, read> l: array<f32>; // [m, m]
@group(0) @binding(2) var<storage, read_write> x: array<f32>; // [rows, ...]
@group(0) @binding(3) var<storage, read_write> scratch: array<f32>; // [.., scratch_ld]

// Solved unknowns; every thread sees its own column only.
var<workgroup> solved: array<f32, SIZE * WG>; // [SIZE][WG]

// The matrix of the equations: unknown k in equation c.
fn entry(c: u32, k: u32) -> f32 {
    if max(c, k) >= params.size { return select(0.0, 1.0, c == k); }
    @if(TRANSPOSED) let at = (params.start + k) * params.m + params.start + c;
    @if(!TRANSPOSED) let at = (params.start + c) * params.m + params.start + k;
    @if(OWN) { return x[at]; }
    @else { return l[at]; }
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = linear_group(group, groups) * WG + lane;
    if row >= params.rows { return; }
    let x_base = params.x_offset + row * params.x_ld + params.start;
    let quads = (params.size + 3u) / 4u;
    for (var step = 0u; step < quads; step++) {
        @if(TRANSPOSED) let c0 = 4u * (quads - 1u - step);
        @if(!TRANSPOSED) let c0 = 4u * step;
        // Unknowns solved before this quad.
        @if(TRANSPOSED) let first = c0 + 4u;
        @if(TRANSPOSED) let last = params.size;
        @if(!TRANSPOSED) let first = 0u;
        @if(!TRANSPOSED) let last = c0;
        var a: array<f32, 4>;
        for (var i = 0u; i < 4u; i++) {
            a[i] = 0.0;
            if c0 + i < params.size { a[i] = x[x_base + c0 + i]; }
        }
        for (var k = first; k < last; k++) {
            let known = solved[k * WG + lane];
            for (var i = 0u; i < 4u; i++) { a[i] -= known * entry(c0 + i, k); }
        }
        for (var n = 0u; n < 4u; n++) {
            @if(TRANSPOSED) let i = 3u - n;
            @if(!TRANSPOSED) let i = n;
            a[i] /= entry(c0 + i, c0 + i);
            for (var rest = n + 1u; rest < 4u; rest++) {
                @if(TRANSPOSED) let j = 3u - rest;
                @if(!TRANSPOSED) let j = rest;
                a[j] -= a[i] * entry(c0 + j, c0 + i);
            }
            if c0 + i < params.size {
                solved[(c0 + i) * WG + lane] = a[i];
                x[x_base + c0 + i] = a[i];
                scratch[row * params.scratch_ld + params.start + c0 + i] = a[i];
            }
        }
    }
}
