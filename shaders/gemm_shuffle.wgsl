// The product of gemm.wgsl for GPUs whose lanes read each other's registers. A thread makes one row and 4 LANES columns of
// the tile. For every term, LANES neighbouring lanes hold a quad of B each, which all of them multiply one after the other:
// with 16 lanes, 64 multiply-adds read 20 bytes of workgroup memory; in a thread tile of 8 x 8 they read 64.
// It pays where the exchange is a part of the multiply-add, as the row share of RDNA 3 is.
import package::lib::gemm_stage::{a_number, b_quad, begin, put};
import package::lib::gemm_tile::{params, tile_of, seek, fetch, first_depth, store};
import package::plan::{BM, BN, BK, LANES, WG};

// Terms of the sums that are multiplied in straight code.
const UNROLL: u32 = 4u;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_size) subgroup_size: u32,
    @builtin(subgroup_invocation_id) within: u32,
) {
    let tile = tile_of(group, groups);
    if tile.z >= params.batch { return; }
    let row0 = tile.y * BM;
    let col0 = tile.x * BN;
    @if(LOWER) if col0 > row0 + BM - 1u { return; }
    // Subgroups are full, and none takes two column blocks.
    let lane = subgroup * subgroup_size + within;
    let row = lane % BM;
    let block = lane / BM;
    let own = within % LANES;
    // Others of the subgroup hold the same quads; the nearest are the cheapest to read.
    let neighbours = within - own;
    var acc: array<vec4<f32>, LANES>;
    for (var j = 0u; j < LANES; j++) { acc[j] = vec4<f32>(0.0); }

    let first = first_depth();
    seek(row0, col0, tile.z, lane);
    begin(first, lane);

    // After the last stage one more passes by unused, as in gemm.wgsl.
    for (var depth = first; depth <= params.k; depth += BK) {
        workgroupBarrier();
        fetch(BK);
        for (var d0 = 0u; d0 < BK; d0 += UNROLL) {
            for (var e = 0u; e < UNROLL; e++) {
                let d = d0 + e;
                let x = vec4<f32>(a_number(d * BM + row));
                let y = b_quad(d * (BN / 4u) + block * LANES + own);
                for (var j = 0u; j < LANES; j++) { acc[j] = fma(x, subgroupShuffle(y, neighbours + j), acc[j]); }
            }
        }
        workgroupBarrier();
        put(lane);
    }

    for (var j = 0u; j < LANES; j++) { store(acc[j], row0 + row, col0 + (block * LANES + j) * 4u, tile.z); }
}
