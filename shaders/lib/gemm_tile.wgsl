// What the tiled products share: uniforms, operands, loading by stages, and the epilogue.
// One workgroup makes a BM x BN tile of out; stages of BK terms of the sums pass through workgroup memory; while one is
// multiplied, the next one is on its way to registers.
// Edges: the first stage takes what k leaves over, so that all others are whole; indices beyond a matrix repeat its last
// element, and what comes of them is not stored.
// ALIGNED: all strides, offsets and contiguous sizes divide by 4, and memory is accessed by quads.
import package::lib::math::{gelu, gelu4, linear_group, quick_gelu, quick_gelu4, tile_place};
import package::plan::{BM, BN, BK, WG};

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
// Quads of A and B that a thread loads for each stage.
const A_LOADS: u32 = BM * BK / 4u / WG;
const B_LOADS: u32 = BN * BK / 4u / WG;

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

// Column, row and matrix of a workgroup's tile; behind the last there is no such matrix.
fn tile_of(group: vec3<u32>, groups: vec3<u32>) -> vec3<u32> {
    return tile_place(linear_group(group, groups), (params.n + BN - 1u) / BN, (params.m + BM - 1u) / BM);
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

// Terms of the first stage.
fn first_depth() -> u32 {
    return params.k - (max(params.k, 1u) - 1u) / BK * BK;
}

fn finish(x: Element, at: u32, bias_at: u32) {
    var y = params.alpha * x;
    @if(BIAS && ALIGNED) { y += vec4<f32>(bias[bias_at], bias[bias_at + 1u], bias[bias_at + 2u], bias[bias_at + 3u]); }
    @if(BIAS && !ALIGNED) { y += bias[bias_at]; }
    @if(PRE) { pre[at] = y; }
    @if(GELU && ALIGNED) { y = gelu4(y); }
    @if(GELU && !ALIGNED) { y = gelu(y); }
    @if(QUICK && ALIGNED) { y = quick_gelu4(y); }
    @if(QUICK && !ALIGNED) { y = quick_gelu(y); }
    @if(RELU) { y = max(y, Element(0.0)); }
    @if(RESIDUAL) { y += residual[at]; }
    if params.accumulate != 0u { y += out[at]; }
    out[at] = y;
}

// Four sums of row `row` of matrix `z`, from column `col` on.
fn store(x: vec4<f32>, row: u32, col: u32, z: u32) {
    let at = params.out_offset + z * params.out_batch + row * params.out_ld + col;
    let bias_at = params.bias_offset + z * params.bias_batch + col;
    @if(ALIGNED) {
        if row < params.m && col < params.n { finish(x, at / 4u, bias_at); }
    }
    @if(!ALIGNED) {
        for (var c = 0u; c < 4u; c++) {
            if row < params.m && col + c < params.n { finish(x[c], at + c, bias_at + c); }
        }
    }
}
