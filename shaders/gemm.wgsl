// out[z] = act(alpha A[z] B[z] + bias) + residual[z] (+ out[z] if accumulate)
//   A [m, k] (stored [k, m] if TN), B [k, n] (stored [n, k] if NT; packed halves if F16), out and residual [m, n],
//   bias [n]; pre (if PRE) receives the value before the activation.
// One workgroup makes a BM x BN tile from workgroup memory, one thread TM x 4 of it.
// Edges: loads outside the matrices give 0, stores outside are skipped. LOWER skips tiles above the diagonal.
import package::lib::math::{gelu};
import package::plan::{BM, BN, BK, TM, WG};

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
@group(0) @binding(1) var<storage, read> a: array<f32>; // [z][m, k] or [z][k, m]
@if(F16) @group(0) @binding(2) var<storage, read> b: array<u32>; // [z][k, n] or [z][n, k], two halves a word
@if(!F16) @group(0) @binding(2) var<storage, read> b: array<f32>; // [z][k, n] or [z][n, k]
@if(BIAS) @group(0) @binding(3) var<storage, read> bias: array<f32>; // [z][n]
@if(RESIDUAL) @group(0) @binding(4) var<storage, read> residual: array<f32>; // like out
@group(0) @binding(5) var<storage, read_write> out: array<f32>; // [z][m, n]
@if(PRE) @group(0) @binding(6) var<storage, read_write> pre: array<f32>; // like out

const TN: u32 = 4u;

var<workgroup> a_tile: array<f32, BK * BM>; // [BK][BM]
var<workgroup> b_tile: array<vec4<f32>, BK * BN / 4u>; // [BK][BN]

fn load_a(base: u32, row: u32, depth: u32) -> f32 {
    if row >= params.m || depth >= params.k { return 0.0; }
    @if(TN) { return a[base + depth * params.a_ld + row]; }
    @else { return a[base + row * params.a_ld + depth]; }
}

fn load_b(base: u32, depth: u32, col: u32) -> f32 {
    if col >= params.n || depth >= params.k { return 0.0; }
    @if(NT) let i = base + col * params.b_ld + depth;
    @if(!NT) let i = base + depth * params.b_ld + col;
    @if(F16) { return unpack2x16float(b[i / 2u])[i % 2u]; }
    @else { return b[i]; }
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row0 = group.y * BM;
    let col0 = group.x * BN;
    @if(LOWER) if col0 > row0 + BM - 1u { return; }
    let a_base = params.a_offset + group.z * params.a_batch;
    let b_base = params.b_offset + group.z * params.b_batch;
    let thread_col = lane % (BN / TN);
    let thread_row = lane / (BN / TN);
    var acc: array<vec4<f32>, TM>;
    for (var i = 0u; i < TM; i++) { acc[i] = vec4<f32>(0.0); }

    for (var k0 = 0u; k0 < params.k; k0 += BK) {
        for (var i = lane; i < BM * BK; i += WG) {
            // Neighbouring lanes read neighbouring addresses.
            @if(TN) let depth = i / BM;
            @if(TN) let row = i % BM;
            @if(!TN) let depth = i % BK;
            @if(!TN) let row = i / BK;
            a_tile[depth * BM + row] = load_a(a_base, row0 + row, k0 + depth);
        }
        for (var i = lane; i < BN * BK / 4u; i += WG) {
            @if(NT) let depth = i % BK;
            @if(NT) let col = i / BK * 4u;
            @if(!NT) let depth = i / (BN / 4u);
            @if(!NT) let col = i % (BN / 4u) * 4u;
            b_tile[depth * (BN / 4u) + col / 4u] = vec4<f32>(
                load_b(b_base, k0 + depth, col0 + col),
                load_b(b_base, k0 + depth, col0 + col + 1u),
                load_b(b_base, k0 + depth, col0 + col + 2u),
                load_b(b_base, k0 + depth, col0 + col + 3u));
        }
        workgroupBarrier();
        for (var depth = 0u; depth < BK; depth++) {
            let b4 = b_tile[depth * (BN / 4u) + thread_col];
            for (var i = 0u; i < TM; i++) {
                acc[i] = fma(vec4<f32>(a_tile[depth * BM + thread_row * TM + i]), b4, acc[i]);
            }
        }
        workgroupBarrier();
    }

    for (var i = 0u; i < TM; i++) {
        for (var j = 0u; j < TN; j++) {
            let row = row0 + thread_row * TM + i;
            let col = col0 + thread_col * TN + j;
            if row < params.m && col < params.n {
                let at = params.out_offset + group.z * params.out_batch + row * params.out_ld + col;
                var x = params.alpha * acc[i][j];
                @if(BIAS) { x += bias[params.bias_offset + group.z * params.bias_batch + col]; }
                @if(PRE) { pre[at] = x; }
                @if(GELU) { x = gelu(x); }
                @if(RELU) { x = max(x, 0.0); }
                @if(RESIDUAL) { x += residual[at]; }
                if params.accumulate != 0u { x += out[at]; }
                out[at] = x;
            }
        }
    }
}
