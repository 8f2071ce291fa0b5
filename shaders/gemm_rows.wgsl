// The same product as gemm.wgsl without workgroup memory, for software devices, whose loads are fast only where all
// lanes share an address: a workgroup makes ROWS rows, a lane 4 * QUADS neighbouring columns of them.
// Needs n and the leading dimensions divisible by 4 (and k, except for TN); rows beyond m repeat the last one and
// are not stored.
import package::lib::math::{gelu};
import package::plan::{ROWS, QUADS, WG};

struct Params {
    m: u32, n: u32, k: u32,
    a_offset: u32, a_ld: u32, a_batch: u32,
    b_offset: u32, b_ld: u32, b_batch: u32,
    out_offset: u32, out_ld: u32, out_batch: u32,
    bias_offset: u32, bias_batch: u32,
    accumulate: u32,
    alpha: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@if(TN) @group(0) @binding(1) var<storage, read> a: array<f32>; // [z][k, m]
@if(!TN) @group(0) @binding(1) var<storage, read> a: array<vec4<f32>>; // [z][m, k]
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>; // [z][k, n] or [z][n, k]
@if(BIAS) @group(0) @binding(3) var<storage, read> bias: array<f32>; // [z][n]
@if(RESIDUAL) @group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>; // like out
@group(0) @binding(5) var<storage, read_write> out: array<vec4<f32>>; // [z][m, n]
@if(PRE) @group(0) @binding(6) var<storage, read_write> pre: array<vec4<f32>>; // like out

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row0 = group.y * ROWS;
    let col0 = (group.x * WG + lane) * 4u * QUADS;
    @if(LOWER) if group.x * WG * 4u * QUADS > row0 + ROWS - 1u { return; }
    if col0 >= params.n { return; }
    let a_base = params.a_offset + group.z * params.a_batch;
    let b_base = params.b_offset + group.z * params.b_batch;
    let last = params.m - 1u;
    var acc: array<array<vec4<f32>, QUADS>, ROWS>;
    for (var r = 0u; r < ROWS; r++) {
        for (var q = 0u; q < QUADS; q++) { acc[r][q] = vec4<f32>(0.0); }
    }

    @if(TN) for (var depth = 0u; depth < params.k; depth++) {
        var b4: array<vec4<f32>, QUADS>;
        for (var q = 0u; q < QUADS; q++) { b4[q] = b[(b_base + depth * params.b_ld + col0) / 4u + q]; }
        for (var r = 0u; r < ROWS; r++) {
            let x = vec4<f32>(a[a_base + depth * params.a_ld + min(row0 + r, last)]);
            for (var q = 0u; q < QUADS; q++) { acc[r][q] = fma(x, b4[q], acc[r][q]); }
        }
    }
    @if(!TN) for (var depth = 0u; depth < params.k; depth += 4u) {
        // b4[q][d]: columns of quad q at depth d.
        var b4: array<array<vec4<f32>, 4>, QUADS>;
        for (var q = 0u; q < QUADS; q++) {
            @if(NT) {
                let at = (b_base + (col0 + 4u * q) * params.b_ld + depth) / 4u;
                let step = params.b_ld / 4u;
                let t = transpose(mat4x4<f32>(b[at], b[at + step], b[at + 2u * step], b[at + 3u * step]));
                b4[q] = array<vec4<f32>, 4>(t[0], t[1], t[2], t[3]);
            }
            @if(!NT) {
                let at = (b_base + depth * params.b_ld + col0) / 4u + q;
                let step = params.b_ld / 4u;
                b4[q] = array<vec4<f32>, 4>(b[at], b[at + step], b[at + 2u * step], b[at + 3u * step]);
            }
        }
        for (var r = 0u; r < ROWS; r++) {
            let x = a[(a_base + min(row0 + r, last) * params.a_ld + depth) / 4u];
            for (var q = 0u; q < QUADS; q++) {
                acc[r][q] = fma(vec4<f32>(x.x), b4[q][0], acc[r][q]);
                acc[r][q] = fma(vec4<f32>(x.y), b4[q][1], acc[r][q]);
                acc[r][q] = fma(vec4<f32>(x.z), b4[q][2], acc[r][q]);
                acc[r][q] = fma(vec4<f32>(x.w), b4[q][3], acc[r][q]);
            }
        }
    }

    for (var r = 0u; r < ROWS; r++) {
        if row0 + r < params.m {
            for (var q = 0u; q < QUADS; q++) {
                let col = col0 + 4u * q;
                let at = (params.out_offset + group.z * params.out_batch + (row0 + r) * params.out_ld + col) / 4u;
                var x = params.alpha * acc[r][q];
                @if(BIAS) {
                    let c = params.bias_offset + group.z * params.bias_batch + col;
                    x += vec4<f32>(bias[c], bias[c + 1u], bias[c + 2u], bias[c + 3u]);
                }
                @if(PRE) { pre[at] = x; }
                @if(GELU) { x = vec4<f32>(gelu(x.x), gelu(x.y), gelu(x.z), gelu(x.w)); }
                @if(RELU) { x = max(x, vec4<f32>(0.0)); }
                @if(RESIDUAL) { x += residual[at]; }
                if params.accumulate != 0u { x += out[at]; }
                out[at] = x;
            }
        }
    }
}
