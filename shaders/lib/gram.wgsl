// Operands of the two kernels for a tile of a Gram matrix, and how its sums are stored.
import package::lib::pair::{pair_add, two_sum};

struct Params {
    m: u32, start: u32, samples: u32,
    row0: u32, col0: u32, rows: u32, cols: u32,
    diagonal: u32,
    zero: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read_write> g: array<f32>; // [2, rows, cols]

// g += units (exact + rest) at a row and column, where they are inside; in a tile on the diagonal, what is below it on both
// sides.
fn add_sums(row: u32, col: u32, exact: i32, rest: f32, units: vec2<f32>) {
    if row >= params.rows || col >= params.cols || (params.diagonal != 0u && col > row) { return; }
    let high = f32(exact);
    // Where few samples have large features in both columns, the rest is the larger part.
    let add = two_sum(high, f32(exact - i32(high)) + rest, params.zero) * units.x * units.y;
    let at = row * params.cols + col;
    let low = params.rows * params.cols;
    let sum = pair_add(vec2<f32>(g[at], g[low + at]), add, params.zero);
    g[at] = sum.x;
    g[low + at] = sum.y;
    if params.diagonal != 0u {
        let mirrored = col * params.cols + row;
        g[mirrored] = sum.x;
        g[low + mirrored] = sum.y;
    }
}
