// A tile of 4 ROWS x 4 COLS scores in the registers of ROWS x COLS threads, and its products: what the attention
// kernels share. Thread (row, col) owns the scores of tile rows row + ROWS i and tile columns col + COLS j, i and j
// below 4, as s[i][j]; of the sums weights x columns [4 ROWS, D4] it owns the same rows and quads col + COLS n as
// acc[DN i + n]. No thread holds a whole head row, so that registers do not grow with the head dimension.
import package::lib::math::{multiply_add};
import package::plan::{COLS, D4, DEPTH, DN, ROWS};

// Whether tiles hold quads behind those of a head, which are 0.
const PADDED: bool = COLS * DN != D4 || D4 % DEPTH != 0u;

// A chunk of the tile's columns for the scores, [DEPTH][4 COLS]; then the COLS columns of a weight slice, padded.
var<workgroup> col_tile: array<vec4<f32>, max(4u * COLS * DEPTH, COLS * COLS * DN)>; // [COLS][COLS DN]
var<workgroup> row_tile: array<vec4<f32>, 4u * ROWS * DEPTH>; // [DEPTH][4 ROWS]
// The four rows of a thread row are one vector.
var<workgroup> weight_tile: array<vec4<f32>, ROWS * COLS>; // [ROWS][COLS]

// Whether a workgroup's i-th load falls into a tile. What is known when compiling comes first and spares the branch.
fn in_rows(i: u32) -> bool { return 4u * DEPTH % COLS == 0u || i < 4u * ROWS * DEPTH; }
fn in_chunk(i: u32) -> bool { return 4u * DEPTH % ROWS == 0u || i < 4u * COLS * DEPTH; }
fn in_slice(i: u32) -> bool { return COLS * DN % ROWS == 0u || i < COLS * COLS * DN; }

// s += row_tile^T col_tile, quad by quad of the head dimension.
fn add_scores(s: ptr<function, array<vec4<f32>, 4>>, row: u32, col: u32) {
    for (var d = 0u; d < DEPTH; d++) {
        let at = d * 4u * COLS + col;
        let b = transpose(mat4x4<f32>(
            col_tile[at], col_tile[at + COLS], col_tile[at + 2u * COLS], col_tile[at + 3u * COLS]));
        for (var i = 0u; i < 4u; i++) {
            (*s)[i] = multiply_add(row_tile[d * 4u * ROWS + row + ROWS * i], b, (*s)[i]);
        }
    }
}

// acc += weight_tile col_tile, for the COLS columns of a slice.
fn add_weighted(acc: ptr<function, array<vec4<f32>, 4u * DN>>, row: u32, col: u32) {
    for (var k = 0u; k < COLS; k++) {
        let weight = weight_tile[row * COLS + k];
        for (var n = 0u; n < DN; n++) {
            let x = col_tile[(k * DN + n) * COLS + col];
            for (var i = 0u; i < 4u; i++) {
                (*acc)[i * DN + n] = fma(vec4<f32>(weight[i]), x, (*acc)[i * DN + n]);
            }
        }
    }
}

// Largest of what the threads of a thread row left in weight_tile.
fn row_max(row: u32) -> vec4<f32> {
    var x = weight_tile[row * COLS];
    for (var k = 1u; k < COLS; k++) { x = max(x, weight_tile[row * COLS + k]); }
    return x;
}

// Sum of what the threads of a thread row left in weight_tile.
fn row_sum(row: u32) -> vec4<f32> {
    var x = weight_tile[row * COLS];
    for (var k = 1u; k < COLS; k++) { x += weight_tile[row * COLS + k]; }
    return x;
}
