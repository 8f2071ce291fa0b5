// out[z] = act(alpha A[z] B[z] + bias) + residual[z] (+ out[z] if accumulate)
//   A [m, k] (stored [k, m] if TN), B [k, n] (stored [n, k] if NT; packed halves if F16), out and residual [m, n],
//   bias [n]; pre (if PRE) receives the value before the activation.
// One workgroup makes a BM x BN tile, one thread TM x TN of it, in quads that lie BM / (TM / 4) rows and BN / (TN / 4)
// columns apart. Stages of BK terms of the sums pass through workgroup memory; while one is multiplied, the next one is on
// its way to registers.
// Edges: the first stage takes what k leaves over, filled up with zeros, so that all others are whole; indices beyond a
// matrix repeat its last element, and what comes of them is not stored. LOWER skips tiles above the diagonal.
// ALIGNED: all strides, offsets and contiguous sizes divide by 4, and memory is accessed by quads.
import package::lib::math::{gelu, gelu4};
import package::plan::{BM, BN, BK, TM, TN, WG};

struct Params {
    m: u32, n: u32, k: u32,
    a_offset: u32, a_ld: u32, a_batch: u32,
    b_offset: u32, b_ld: u32, b_batch: u32,
    out_offset: u32, out_ld: u32, out_batch: u32,
    bias_offset: u32, bias_batch: u32,
    accumulate: u32,
    alpha: f32,
}

@if(ALIGNED) alias Element = vec4<f32>;
@if(!ALIGNED) alias Element = f32;
// What is loaded of B at once, as it stands in memory.
@if(ALIGNED && F16) alias Half = vec2<u32>;
@if(!ALIGNED && F16) alias Half = u32;
@if(ALIGNED && F16) alias Loaded = vec2<u32>;
@if(!ALIGNED || !F16) alias Loaded = vec4<f32>;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<Element>; // [z][m, k] or [z][k, m]
@if(F16) @group(0) @binding(2) var<storage, read> b: array<Half>; // [z][k, n] or [z][n, k]
@if(!F16) @group(0) @binding(2) var<storage, read> b: array<Element>; // [z][k, n] or [z][n, k]
@if(BIAS) @group(0) @binding(3) var<storage, read> bias: array<f32>; // [z][n]
@if(RESIDUAL) @group(0) @binding(4) var<storage, read> residual: array<Element>; // like out
@group(0) @binding(5) var<storage, read_write> out: array<Element>; // [z][m, n]
@if(PRE) @group(0) @binding(6) var<storage, read_write> pre: array<Element>; // like out

// Numbers of an element of the arrays above.
@if(ALIGNED) const UNIT: u32 = 4u;
@if(!ALIGNED) const UNIT: u32 = 1u;
// Quads of a thread: of A and B in each stage, of its rows and columns of the result.
const A_LOADS: u32 = BM * BK / 4u / WG;
const B_LOADS: u32 = BN * BK / 4u / WG;
const ROWS: u32 = TM / 4u;
const COLS: u32 = TN / 4u;
// Terms of the sums that are multiplied in straight code.
const UNROLL: u32 = 4u;

var<workgroup> a_tile: array<vec4<f32>, BK * BM / 4u>; // [BK][BM]
var<workgroup> b_tile: array<vec4<f32>, BK * BN / 4u>; // [BK][BN]

// The next stage, where its quads stand in memory, and the last place of the matrices.
var<private> a_next: array<vec4<f32>, A_LOADS>;
var<private> b_next: array<Loaded, B_LOADS>;
var<private> a_at: array<u32, A_LOADS>;
var<private> b_at: array<u32, B_LOADS>;
var<private> a_last: u32;
var<private> b_last: u32;

fn load_a(at: u32) -> vec4<f32> {
    @if(ALIGNED) { return a[min(at, a_last)]; }
    @else {
        return vec4<f32>(
            a[min(at, a_last)], a[min(at + 1u, a_last)], a[min(at + 2u, a_last)], a[min(at + 3u, a_last)]);
    }
}

@if(!ALIGNED)
fn element_b(at: u32) -> f32 {
    let i = min(at, b_last);
    @if(F16) { return unpack2x16float(b[i / 2u])[i % 2u]; }
    @else { return b[i]; }
}

fn load_b(at: u32) -> Loaded {
    @if(ALIGNED) { return b[min(at, b_last)]; }
    @else { return vec4<f32>(element_b(at), element_b(at + 1u), element_b(at + 2u), element_b(at + 3u)); }
}

fn numbers(x: Loaded) -> vec4<f32> {
    @if(ALIGNED && F16) { return vec4<f32>(unpack2x16float(x.x), unpack2x16float(x.y)); }
    @else { return x; }
}

// Where quads start, before the first stage. Neighbouring lanes read neighbouring addresses.
fn seek(row0: u32, col0: u32, z: u32, lane: u32) {
    let a_base = params.a_offset + z * params.a_batch;
    let b_base = params.b_offset + z * params.b_batch;
    for (var j = 0u; j < A_LOADS; j++) {
        let i = lane + j * WG;
        @if(TN) let at = i / (BM / 4u) * params.a_ld + row0 + i % (BM / 4u) * 4u;
        @if(!TN) let at = (row0 + i / (BK / 4u)) * params.a_ld + i % (BK / 4u) * 4u;
        a_at[j] = (a_base + at) / UNIT;
    }
    for (var j = 0u; j < B_LOADS; j++) {
        let i = lane + j * WG;
        @if(NT) let at = (col0 + i / (BK / 4u)) * params.b_ld + i % (BK / 4u) * 4u;
        @if(!NT) let at = i / (BN / 4u) * params.b_ld + col0 + i % (BN / 4u) * 4u;
        b_at[j] = (b_base + at) / UNIT;
    }
    let deepest = max(params.k, 1u) - 1u;
    @if(TN) { a_last = (a_base + deepest * params.a_ld + params.m - 1u) / UNIT; }
    @if(!TN) { a_last = (a_base + (params.m - 1u) * params.a_ld + deepest) / UNIT; }
    @if(NT) { b_last = (b_base + (params.n - 1u) * params.b_ld + deepest) / UNIT; }
    @if(!NT) { b_last = (b_base + deepest * params.b_ld + params.n - 1u) / UNIT; }
}

// Loads a stage and moves on by `depth`.
fn fetch(depth: u32) {
    @if(TN) let a_step = depth * params.a_ld / UNIT;
    @if(!TN) let a_step = depth / UNIT;
    @if(NT) let b_step = depth / UNIT;
    @if(!NT) let b_step = depth * params.b_ld / UNIT;
    for (var j = 0u; j < A_LOADS; j++) {
        a_next[j] = load_a(a_at[j]);
        a_at[j] += a_step;
    }
    for (var j = 0u; j < B_LOADS; j++) {
        b_next[j] = load_b(b_at[j]);
        b_at[j] += b_step;
    }
}

// Puts the loaded stage into workgroup memory, where both operands have their terms as rows.
fn put(lane: u32) {
    for (var j = 0u; j < A_LOADS; j++) {
        let i = lane + j * WG;
        @if(TN) { a_tile[i] = a_next[j]; }
        @if(!TN) {
            let row = i / (BK / 4u);
            let at = i % (BK / 4u) * BM + row / 4u;
            for (var d = 0u; d < 4u; d++) { a_tile[at + d * (BM / 4u)][row % 4u] = a_next[j][d]; }
        }
    }
    for (var j = 0u; j < B_LOADS; j++) {
        let i = lane + j * WG;
        let x = numbers(b_next[j]);
        @if(!NT) { b_tile[i] = x; }
        @if(NT) {
            let col = i / (BK / 4u);
            let at = i % (BK / 4u) * BN + col / 4u;
            for (var d = 0u; d < 4u; d++) { b_tile[at + d * (BN / 4u)][col % 4u] = x[d]; }
        }
    }
}

fn finish(x: Element, at: u32, bias_at: u32) {
    var y = params.alpha * x;
    @if(BIAS && ALIGNED) { y += vec4<f32>(bias[bias_at], bias[bias_at + 1u], bias[bias_at + 2u], bias[bias_at + 3u]); }
    @if(BIAS && !ALIGNED) { y += bias[bias_at]; }
    @if(PRE) { pre[at] = y; }
    @if(GELU && ALIGNED) { y = gelu4(y); }
    @if(GELU && !ALIGNED) { y = gelu(y); }
    @if(RELU) { y = max(y, Element(0.0)); }
    @if(RESIDUAL) { y += residual[at]; }
    if params.accumulate != 0u { y += out[at]; }
    out[at] = y;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row0 = group.y * BM;
    let col0 = group.x * BN;
    @if(LOWER) if col0 > row0 + BM - 1u { return; }
    let thread_col = lane % (BN / TN);
    let thread_row = lane / (BN / TN);
    var acc: array<array<vec4<f32>, COLS>, TM>;
    for (var i = 0u; i < TM; i++) {
        for (var j = 0u; j < COLS; j++) { acc[i][j] = vec4<f32>(0.0); }
    }

    let first = params.k - (max(params.k, 1u) - 1u) / BK * BK;
    seek(row0, col0, group.z, lane);
    fetch(first);
    put(lane);
    workgroupBarrier();
    for (var i = first * (BM / 4u) + lane; i < BK * BM / 4u; i += WG) { a_tile[i] = vec4<f32>(0.0); }
    for (var i = first * (BN / 4u) + lane; i < BK * BN / 4u; i += WG) { b_tile[i] = vec4<f32>(0.0); }

    // After the last stage one more passes by unused: a branch around it would keep compilers from loading it early.
    for (var depth = first; depth <= params.k; depth += BK) {
        workgroupBarrier();
        fetch(BK);
        // Drivers unroll loops up to some size: the inner one by all, the outer one by those that gain from it.
        for (var d0 = 0u; d0 < BK; d0 += UNROLL) {
            for (var e = 0u; e < UNROLL; e++) {
                let d = d0 + e;
                var x: array<vec4<f32>, ROWS>;
                var y: array<vec4<f32>, COLS>;
                for (var i = 0u; i < ROWS; i++) { x[i] = a_tile[d * (BM / 4u) + i * (BM / TM) + thread_row]; }
                for (var j = 0u; j < COLS; j++) { y[j] = b_tile[d * (BN / 4u) + j * (BN / TN) + thread_col]; }
                for (var i = 0u; i < TM; i++) {
                    for (var j = 0u; j < COLS; j++) { acc[i][j] = fma(vec4<f32>(x[i / 4u][i % 4u]), y[j], acc[i][j]); }
                }
            }
        }
        workgroupBarrier();
        put(lane);
    }

    for (var i = 0u; i < TM; i++) {
        let row = row0 + i / 4u * (4u * BM / TM) + thread_row * 4u + i % 4u;
        for (var j = 0u; j < COLS; j++) {
            let col = col0 + j * (4u * BN / TN) + thread_col * 4u;
            let at = params.out_offset + group.z * params.out_batch + row * params.out_ld + col;
            let bias_at = params.bias_offset + group.z * params.bias_batch + col;
            @if(ALIGNED) {
                if row < params.m && col < params.n { finish(acc[i][j], at / 4u, bias_at); }
            }
            @if(!ALIGNED) {
                for (var c = 0u; c < 4u; c++) {
                    if row < params.m && col + c < params.n { finish(acc[i][j][c], at + c, bias_at + c); }
                }
            }
        }
    }
}
