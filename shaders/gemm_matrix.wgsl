// The product of gemm.wgsl by cooperative matrices of halves with f32 sums, SIDE x SIDE (16, or 8 without SIDE16), for B
// stored as halves (F16). UNITS_M x UNITS_N subgroups share a tile; each makes a part of its own, fragment by fragment.
// Beside sum |a b| the error stays below 1 / 2048 of the rounding of A, and that of the f32 sums.
// Both operands stand in workgroup memory as rows of BK terms, LD halves apart, which matrix units load whole.
import package::lib::gemm_tile::{
    params, A_LOADS, B_LOADS, a_next, b_next, numbers, tile_of, seek, fetch, first_depth, store,
};
import package::plan::{BM, BN, BK, LD, UNITS_M, UNITS_N, WG};
enable f16;
enable wgpu_cooperative_matrix;

@if(SIDE16) const SIDE: u32 = 16u;
@if(SIDE16) alias FragmentA = coop_mat16x16<f16, A>;
@if(SIDE16) alias FragmentB = coop_mat16x16<f16, B>;
@if(SIDE16) alias FragmentC = coop_mat16x16<f32, C>;
@if(!SIDE16) const SIDE: u32 = 8u;
@if(!SIDE16) alias FragmentA = coop_mat8x8<f16, A>;
@if(!SIDE16) alias FragmentB = coop_mat8x8<f16, B>;
@if(!SIDE16) alias FragmentC = coop_mat8x8<f32, C>;

// Fragments of a subgroup, and elements of one.
const ROWS: u32 = BM / UNITS_M / SIDE;
const COLS: u32 = BN / UNITS_N / SIDE;
const AREA: u32 = SIDE * SIDE;

var<workgroup> a_tile: array<f16, BM * LD>; // [BM][BK]
var<workgroup> b_tile: array<f16, BN * LD>; // [BN][BK]
var<workgroup> c_tile: array<f32, UNITS_M * UNITS_N * AREA>; // a fragment of each subgroup

// Puts the loaded stage into workgroup memory.
fn put(lane: u32) {
    for (var j = 0u; j < A_LOADS; j++) {
        let i = lane + j * WG;
        @if(TN) let at = i % (BM / 4u) * 4u * LD + i / (BM / 4u);
        @if(!TN) let at = i / (BK / 4u) * LD + i % (BK / 4u) * 4u;
        for (var d = 0u; d < 4u; d++) {
            @if(TN) { a_tile[at + d * LD] = f16(a_next[j][d]); }
            @if(!TN) { a_tile[at + d] = f16(a_next[j][d]); }
        }
    }
    for (var j = 0u; j < B_LOADS; j++) {
        let i = lane + j * WG;
        let x = numbers(b_next[j]);
        @if(NT) let at = i / (BK / 4u) * LD + i % (BK / 4u) * 4u;
        @if(!NT) let at = i % (BN / 4u) * 4u * LD + i / (BN / 4u);
        for (var d = 0u; d < 4u; d++) {
            @if(NT) { b_tile[at + d] = f16(x[d]); }
            @if(!NT) { b_tile[at + d * LD] = f16(x[d]); }
        }
    }
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup: u32,
) {
    let tile = tile_of(group, groups);
    if tile.z >= params.batch { return; }
    let row0 = tile.y * BM;
    let col0 = tile.x * BN;
    @if(LOWER) if col0 > row0 + BM - 1u { return; }
    // Where subgroups are smaller than planned for, there are more of them, and these repeat the last one's work.
    let unit = min(subgroup, UNITS_M * UNITS_N - 1u);
    let a_at = unit / UNITS_N * ROWS * SIDE * LD;
    let b_at = unit % UNITS_N * COLS * SIDE * LD;
    var acc: array<array<FragmentC, COLS>, ROWS>;
    for (var i = 0u; i < ROWS; i++) {
        for (var j = 0u; j < COLS; j++) { acc[i][j] = FragmentC(); }
    }

    let first = first_depth();
    seek(row0, col0, tile.z, lane);
    fetch(first);
    put(lane);
    workgroupBarrier();
    for (var i = lane; i < BM * BK; i += WG) {
        if i % BK >= first { a_tile[i / BK * LD + i % BK] = 0.0h; }
    }
    for (var i = lane; i < BN * BK; i += WG) {
        if i % BK >= first { b_tile[i / BK * LD + i % BK] = 0.0h; }
    }

    // After the last stage one more passes by unused, as in gemm.wgsl.
    for (var depth = first; depth <= params.k; depth += BK) {
        workgroupBarrier();
        fetch(BK);
        for (var d = 0u; d < BK; d += SIDE) {
            var x: array<FragmentA, ROWS>;
            for (var i = 0u; i < ROWS; i++) { x[i] = coopLoadT<FragmentA>(&a_tile[a_at + i * SIDE * LD + d], LD); }
            for (var j = 0u; j < COLS; j++) {
                let y = coopLoad<FragmentB>(&b_tile[b_at + j * SIDE * LD + d], LD);
                for (var i = 0u; i < ROWS; i++) { acc[i][j] = coopMultiplyAdd(x[i], y, acc[i][j]); }
            }
        }
        workgroupBarrier();
        put(lane);
    }

    for (var i = 0u; i < ROWS; i++) {
        for (var j = 0u; j < COLS; j++) {
            coopStoreT(acc[i][j], &c_tile[unit * AREA], SIDE);
            workgroupBarrier();
            for (var e = 4u * lane; e < UNITS_M * UNITS_N * AREA; e += 4u * WG) {
                let by = e / AREA;
                let row = row0 + (by / UNITS_N * ROWS + i) * SIDE + e % AREA / SIDE;
                let col = col0 + (by % UNITS_N * COLS + j) * SIDE + e % SIDE;
                store(vec4<f32>(c_tile[e], c_tile[e + 1u], c_tile[e + 2u], c_tile[e + 3u]), row, col, tile.z);
            }
            workgroupBarrier();
        }
    }
}
