// The same product as gemm.wgsl without workgroup memory, for software devices: lanes take rows, so that every load of b
// has one address for all lanes and costs a scalar load, and only those of a are gathered. A workgroup makes
// WG * ROWS rows and 4 * QUADS columns, a lane ROWS rows that lie WG apart.
// Needs n and the leading dimensions divisible by 4 (and k, except for TN); rows and columns beyond the edges repeat the
// last ones and are not stored.
import package::lib::math::{gelu, linear_group, quick_gelu4, tile_place};
import package::plan::{ROWS, QUADS, WG};

struct Params {
    m: u32, n: u32, k: u32,
    a_offset: u32, a_ld: u32, a_batch: u32,
    b_offset: u32, b_ld: u32, b_batch: u32,
    out_offset: u32, out_ld: u32, out_batch: u32,
    bias_offset: u32, bias_batch: u32,
    accumulate: u32,
    batch: u32,
    alpha: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@if(TN) @group(0) @binding(1) var<storage, read> a: array<f32>; // [z][k, m]
@if(!TN) @group(0) @binding(1) var<storage, read> a: array<vec4<f32>>; // [z][m, k]
@if(F16) @group(0) @binding(2) var<storage, read> b: array<vec2<u32>>; // [z][k, n] or [z][n, k], packed halves
@if(!F16) @group(0) @binding(2) var<storage, read> b: array<vec4<f32>>; // [z][k, n] or [z][n, k]
@if(BIAS) @group(0) @binding(3) var<storage, read> bias: array<f32>; // [z][n]
@if(RESIDUAL) @group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>; // like out
@group(0) @binding(5) var<storage, read_write> out: array<vec4<f32>>; // [z][m, n]
@if(PRE) @group(0) @binding(6) var<storage, read_write> pre: array<vec4<f32>>; // like out

// Columns and rows of a workgroup.
const TILE: vec2<u32> = vec2<u32>(4u * QUADS, ROWS * WG);

fn load_b(at: u32) -> vec4<f32> {
    @if(F16) { return vec4<f32>(unpack2x16float(b[at].x), unpack2x16float(b[at].y)); }
    @else { return b[at]; }
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let tiles = (vec2<u32>(params.n, params.m) + TILE - 1u) / TILE;
    let tile = tile_place(linear_group(group, groups), tiles.x, tiles.y);
    if tile.z >= params.batch { return; }
    let row0 = tile.y * TILE.y + lane;
    let col0 = tile.x * TILE.x;
    @if(LOWER) if col0 > (tile.y + 1u) * TILE.y - 1u { return; }
    let a_base = params.a_offset + tile.z * params.a_batch;
    let b_base = params.b_offset + tile.z * params.b_batch;
    var row: array<u32, ROWS>;
    for (var r = 0u; r < ROWS; r++) { row[r] = min(row0 + r * WG, params.m - 1u); }
    var col: array<u32, QUADS>;
    for (var q = 0u; q < QUADS; q++) { col[q] = min(col0 + 4u * q, params.n - 4u); }
    var acc: array<array<vec4<f32>, QUADS>, ROWS>;
    for (var r = 0u; r < ROWS; r++) {
        for (var q = 0u; q < QUADS; q++) { acc[r][q] = vec4<f32>(0.0); }
    }

    let last = params.k - 1u;
    for (var depth = 0u; depth < params.k; depth += 4u) {
        var x: array<vec4<f32>, ROWS>;
        for (var r = 0u; r < ROWS; r++) {
            @if(TN) {
                for (var d = 0u; d < 4u; d++) {
                    let at = a_base + min(depth + d, last) * params.a_ld + row[r];
                    x[r][d] = select(0.0, a[at], depth + d < params.k);
                }
            }
            @if(!TN) { x[r] = a[(a_base + row[r] * params.a_ld + depth) / 4u]; }
        }
        for (var q = 0u; q < QUADS; q++) {
            var w: array<vec4<f32>, 4>;
            for (var d = 0u; d < 4u; d++) {
                @if(NT) { w[d] = load_b((b_base + depth + (col[q] + d) * params.b_ld) / 4u); }
                @if(!NT) { w[d] = load_b((b_base + min(depth + d, last) * params.b_ld + col[q]) / 4u); }
            }
            @if(NT) {
                let t = transpose(mat4x4<f32>(w[0], w[1], w[2], w[3]));
                w = array<vec4<f32>, 4>(t[0], t[1], t[2], t[3]);
            }
            for (var r = 0u; r < ROWS; r++) {
                for (var d = 0u; d < 4u; d++) { acc[r][q] = fma(vec4<f32>(x[r][d]), w[d], acc[r][q]); }
            }
        }
    }

    for (var q = 0u; q < QUADS; q++) {
        let col = col0 + 4u * q;
        if col < params.n {
            @if(BIAS) let c = params.bias_offset + tile.z * params.bias_batch + col;
            @if(BIAS) let bias_quad = vec4<f32>(bias[c], bias[c + 1u], bias[c + 2u], bias[c + 3u]);
            for (var r = 0u; r < ROWS; r++) {
                if row0 + r * WG < params.m {
                    let at = (params.out_offset + tile.z * params.out_batch + row[r] * params.out_ld + col) / 4u;
                    var v = params.alpha * acc[r][q];
                    @if(BIAS) { v += bias_quad; }
                    @if(PRE) { pre[at] = v; }
                    @if(GELU) { v = vec4<f32>(gelu(v.x), gelu(v.y), gelu(v.z), gelu(v.w)); }
                    @if(QUICK) { v = quick_gelu4(v); }
                    @if(RELU) { v = max(v, vec4<f32>(0.0)); }
                    @if(RESIDUAL) { v += residual[at]; }
                    if params.accumulate != 0u { v += out[at]; }
                    out[at] = v;
                }
            }
        }
    }
}
