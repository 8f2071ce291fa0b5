// Cholesky factor of one diagonal block, in place: G = L L^T on columns start .. start + size, lower triangle only.
//   g [m, m]; info [2] = (first + column, pivot) of the first pivot that is not positive, normal and finite, or (-1, 0).
// One workgroup, one thread a row. Left-looking: column col of L is
//   l[row][col] = (g[row][col] - sum_k l[row][k] l[col][k]) / l[col][col], k < col.
// Edges: threads beyond the block store nothing. After a failure the numbers have no meaning and stay finite or not.
import package::plan::{SIZE};

struct Params {
    m: u32, start: u32, size: u32, first: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> g: array<f32>; // [m, m]
@group(0) @binding(2) var<storage, read_write> info: array<f32>; // [2]

// Packed lower triangle: row r starts at r (r + 1) / 2, which also spreads a column over all banks.
var<workgroup> tile: array<f32, SIZE * (SIZE + 1u) / 2u>; // [SIZE (SIZE + 1) / 2]

// Compares bits, because comparisons with NaN may be optimised away.
fn usable(pivot: f32) -> bool {
    return bitcast<u32>(pivot) - 0x00800000u < 0x7f000000u;
}

@compute @workgroup_size(SIZE)
fn main(@builtin(local_invocation_index) lane: u32) {
    let base = params.start * params.m + params.start;
    let mine = lane * (lane + 1u) / 2u;
    // Neighbouring lanes read neighbouring columns.
    for (var row = 0u; row < params.size; row++) {
        if lane <= row { tile[row * (row + 1u) / 2u + lane] = g[base + row * params.m + lane]; }
    }
    var failed = info[0] >= 0.0;
    workgroupBarrier();
    for (var col = 0u; col < params.size; col++) {
        let top = col * (col + 1u) / 2u;
        // Every thread computes the pivot for itself, which saves a barrier; the diagonal of `tile` keeps g.
        var pivot = tile[top + col];
        for (var k = 0u; k < col; k++) { pivot -= tile[top + k] * tile[top + k]; }
        if !usable(pivot) && !failed {
            failed = true;
            if lane == 0u {
                info[0] = f32(params.first + params.start + col);
                info[1] = pivot;
            }
        }
        let diagonal = sqrt(pivot);
        if lane == col { g[base + col * params.m + col] = diagonal; }
        if lane > col && lane < params.size {
            var x = tile[mine + col];
            for (var k = 0u; k < col; k++) { x -= tile[mine + k] * tile[top + k]; }
            tile[mine + col] = x / diagonal;
        }
        workgroupBarrier();
    }
    for (var row = 0u; row < params.size; row++) {
        if lane < row { g[base + row * params.m + lane] = tile[row * (row + 1u) / 2u + lane]; }
    }
}
