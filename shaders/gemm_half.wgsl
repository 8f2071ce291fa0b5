// The product of gemm.wgsl with operands rounded to halves, for B stored as halves (F16) on devices with f16 arithmetic.
// Products are added up in halves over RUN terms, two in one instruction where the GPU packs them, and these partial sums
// in f32. Beside sum |a b| the error stays below (RUN + 1) / 2048: one rounding of A, and one of a partial sum for each
// term; products below 6e-8 are lost, and partial sums must stay below 65504.
import package::lib::gemm_tile::{
    params, A_LOADS, B_LOADS, a_next, b_next, numbers, tile_of, seek, fetch, first_depth, store,
};
import package::plan::{BM, BN, BK, TM, TN, WG};
enable f16;

// Quads of a thread: of its rows and columns of the result.
const ROWS: u32 = TM / 4u;
const COLS: u32 = TN / 4u;
// Terms of a partial sum.
const RUN: u32 = 8u;

// Of vectors where lanes store whole ones, as in lib/gemm_stage.wgsl.
@if(TN) var<workgroup> a_tile: array<vec4<f16>, BK * BM / 4u>; // [BK][BM]
@if(!TN) var<workgroup> a_tile: array<f16, BK * BM>; // [BK][BM]
@if(!NT) var<workgroup> b_tile: array<vec4<f16>, BK * BN / 4u>; // [BK][BN]
@if(NT) var<workgroup> b_tile: array<f16, BK * BN>; // [BK][BN]

fn a_quad(i: u32) -> vec4<f16> {
    @if(TN) { return a_tile[i]; }
    @else { return vec4<f16>(a_tile[4u * i], a_tile[4u * i + 1u], a_tile[4u * i + 2u], a_tile[4u * i + 3u]); }
}

fn b_quad(i: u32) -> vec4<f16> {
    @if(!NT) { return b_tile[i]; }
    @else { return vec4<f16>(b_tile[4u * i], b_tile[4u * i + 1u], b_tile[4u * i + 2u], b_tile[4u * i + 3u]); }
}

// Puts the loaded stage into workgroup memory, where both operands have their terms as rows.
fn put(lane: u32) {
    for (var j = 0u; j < A_LOADS; j++) {
        let i = lane + j * WG;
        let x = vec4<f16>(a_next[j]);
        @if(TN) { a_tile[i] = x; }
        @if(!TN) {
            let at = i % (BK / 4u) * 4u * BM + i / (BK / 4u);
            for (var d = 0u; d < 4u; d++) { a_tile[at + d * BM] = x[d]; }
        }
    }
    for (var j = 0u; j < B_LOADS; j++) {
        let i = lane + j * WG;
        let x = vec4<f16>(numbers(b_next[j]));
        @if(!NT) { b_tile[i] = x; }
        @if(NT) {
            let at = i % (BK / 4u) * 4u * BN + i / (BK / 4u);
            for (var d = 0u; d < 4u; d++) { b_tile[at + d * BN] = x[d]; }
        }
    }
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = tile_of(group, groups);
    if tile.z >= params.batch { return; }
    let row0 = tile.y * BM;
    let col0 = tile.x * BN;
    @if(LOWER) if col0 > row0 + BM - 1u { return; }
    let thread_col = lane % (BN / TN);
    let thread_row = lane / (BN / TN);
    var acc: array<array<vec4<f32>, COLS>, TM>;
    for (var i = 0u; i < TM; i++) {
        for (var j = 0u; j < COLS; j++) { acc[i][j] = vec4<f32>(0.0); }
    }

    let first = first_depth();
    seek(row0, col0, tile.z, lane);
    fetch(first);
    put(lane);
    workgroupBarrier();
    @if(TN) for (var i = first * (BM / 4u) + lane; i < BK * BM / 4u; i += WG) { a_tile[i] = vec4<f16>(); }
    @if(!TN) for (var i = first * BM + lane; i < BK * BM; i += WG) { a_tile[i] = 0.0h; }
    @if(!NT) for (var i = first * (BN / 4u) + lane; i < BK * BN / 4u; i += WG) { b_tile[i] = vec4<f16>(); }
    @if(NT) for (var i = first * BN + lane; i < BK * BN; i += WG) { b_tile[i] = 0.0h; }

    // After the last stage one more passes by unused, as in gemm.wgsl.
    for (var depth = first; depth <= params.k; depth += BK) {
        workgroupBarrier();
        fetch(BK);
        for (var d0 = 0u; d0 < BK; d0 += RUN) {
            // Four rows at a time: partial sums of all at once take more registers than some GPUs have.
            for (var q = 0u; q < ROWS; q++) {
                var part: array<array<vec4<f16>, COLS>, 4>;
                for (var e = 0u; e < RUN; e++) {
                    let d = d0 + e;
                    let x = a_quad(d * (BM / 4u) + q * (BM / TM) + thread_row);
                    for (var j = 0u; j < COLS; j++) {
                        let y = b_quad(d * (BN / 4u) + j * (BN / TN) + thread_col);
                        for (var i = 0u; i < 4u; i++) { part[i][j] = fma(vec4<f16>(x[i]), y, part[i][j]); }
                    }
                }
                for (var i = 0u; i < 4u; i++) {
                    for (var j = 0u; j < COLS; j++) { acc[4u * q + i][j] += vec4<f32>(part[i][j]); }
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
            store(acc[i][j], row, col, tile.z);
        }
    }
}
