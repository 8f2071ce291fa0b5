// out[z] = act(alpha A[z] B[z] + bias) + residual[z] (+ out[z] if accumulate)
//   A [m, k] (stored [k, m] if TN), B [k, n] (stored [n, k] if NT; packed halves if F16), out and residual [m, n],
//   bias [n]; pre (if PRE) receives the value before the activation.
// Tiles and edges as in lib/gemm_tile.wgsl; a thread makes TM x TN of a tile, in quads that lie BM / (TM / 4) rows and
// BN / (TN / 4) columns apart. What k leaves over in the first stage is filled up with zeros. LOWER skips tiles above the
// diagonal.
import package::lib::gemm_stage::{a_quad, b_quad, begin, put};
import package::lib::gemm_tile::{params, tile_of, seek, fetch, first_depth, store};
import package::plan::{BM, BN, BK, TM, TN, WG};

// Quads of a thread: of its rows and columns of the result.
const ROWS: u32 = TM / 4u;
const COLS: u32 = TN / 4u;
// Terms of the sums that are multiplied in straight code.
const UNROLL: u32 = 4u;

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
    begin(first, lane);

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
                for (var i = 0u; i < ROWS; i++) { x[i] = a_quad(d * (BM / 4u) + i * (BM / TM) + thread_row); }
                for (var j = 0u; j < COLS; j++) { y[j] = b_quad(d * (BN / 4u) + j * (BN / TN) + thread_col); }
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
            store(acc[i][j], row, col, tile.z);
        }
    }
}
