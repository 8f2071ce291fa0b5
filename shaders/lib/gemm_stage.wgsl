// A stage of both operands in workgroup memory as f32, terms as rows.
// Operands whose rows are terms in memory, too, move as whole vectors. Of the others a lane loads four terms of one row or
// column, whose neighbours are other lanes': these tiles are arrays of numbers, since storing a component of a vector may
// touch all of it. Compilers join the four loads of a quad.
import package::lib::gemm_tile::{A_LOADS, B_LOADS, a_next, b_next, numbers, fetch};
import package::plan::{BM, BN, BK, WG};

@if(TN) var<workgroup> a_tile: array<vec4<f32>, BK * BM / 4u>; // [BK][BM]
@if(!TN) var<workgroup> a_tile: array<f32, BK * BM>; // [BK][BM]
@if(!NT) var<workgroup> b_tile: array<vec4<f32>, BK * BN / 4u>; // [BK][BN]
@if(NT) var<workgroup> b_tile: array<f32, BK * BN>; // [BK][BN]

fn a_number(i: u32) -> f32 {
    @if(TN) { return a_tile[i / 4u][i % 4u]; }
    @else { return a_tile[i]; }
}

fn a_quad(i: u32) -> vec4<f32> {
    @if(TN) { return a_tile[i]; }
    @else { return vec4<f32>(a_tile[4u * i], a_tile[4u * i + 1u], a_tile[4u * i + 2u], a_tile[4u * i + 3u]); }
}

fn b_quad(i: u32) -> vec4<f32> {
    @if(!NT) { return b_tile[i]; }
    @else { return vec4<f32>(b_tile[4u * i], b_tile[4u * i + 1u], b_tile[4u * i + 2u], b_tile[4u * i + 3u]); }
}

// Puts the loaded stage there.
fn put(lane: u32) {
    for (var j = 0u; j < A_LOADS; j++) {
        let i = lane + j * WG;
        @if(TN) { a_tile[i] = a_next[j]; }
        @if(!TN) {
            let at = i % (BK / 4u) * 4u * BM + i / (BK / 4u);
            for (var d = 0u; d < 4u; d++) { a_tile[at + d * BM] = a_next[j][d]; }
        }
    }
    for (var j = 0u; j < B_LOADS; j++) {
        let i = lane + j * WG;
        let x = numbers(b_next[j]);
        @if(!NT) { b_tile[i] = x; }
        @if(NT) {
            let at = i % (BK / 4u) * 4u * BN + i / (BK / 4u);
            for (var d = 0u; d < 4u; d++) { b_tile[at + d * BN] = x[d]; }
        }
    }
}

// Loads the first stage, of what k leaves over, and fills it up with zeros.
fn begin(first: u32, lane: u32) {
    fetch(first);
    put(lane);
    workgroupBarrier();
    @if(TN) for (var i = first * (BM / 4u) + lane; i < BK * BM / 4u; i += WG) { a_tile[i] = vec4<f32>(0.0); }
    @if(!TN) for (var i = first * BM + lane; i < BK * BM; i += WG) { a_tile[i] = 0.0; }
    @if(!NT) for (var i = first * (BN / 4u) + lane; i < BK * BN / 4u; i += WG) { b_tile[i] = vec4<f32>(0.0); }
    @if(NT) for (var i = first * BN + lane; i < BK * BN; i += WG) { b_tile[i] = 0.0; }
}
