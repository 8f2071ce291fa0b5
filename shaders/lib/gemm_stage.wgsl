// A stage of both operands in workgroup memory as f32, terms as rows.
import package::lib::gemm_tile::{A_LOADS, B_LOADS, a_next, b_next, numbers, fetch};
import package::plan::{BM, BN, BK, WG};

var<workgroup> a_tile: array<vec4<f32>, BK * BM / 4u>; // [BK][BM]
var<workgroup> b_tile: array<vec4<f32>, BK * BN / 4u>; // [BK][BN]

// Puts the loaded stage there.
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

// Loads the first stage, of what k leaves over, and fills it up with zeros.
fn begin(first: u32, lane: u32) {
    fetch(first);
    put(lane);
    workgroupBarrier();
    for (var i = first * (BM / 4u) + lane; i < BK * BM / 4u; i += WG) { a_tile[i] = vec4<f32>(0.0); }
    for (var i = first * (BN / 4u) + lane; i < BK * BN / 4u; i += WG) { b_tile[i] = vec4<f32>(0.0); }
}
