// A tile of HEIGHT = 4 RN ROWS x 4 COLS scores in the registers of ROWS x COLS threads, and its products: what the
// attention kernels share. Thread (row, col) owns the scores of tile rows row + ROWS i, i < 4 RN, and tile columns
// col + COLS j, j < 4, as s[i][j]; of the sums weights x columns [HEIGHT, D4] it owns the same rows and quads
// col + COLS n as acc[DN i + n]. No thread holds a whole head row, so that registers do not grow with the head dimension.
import package::plan::{COLS, D4, DEPTH, DN, RN, ROWS};

// Rows of the tile, and those of a thread.
const HEIGHT: u32 = 4u * RN * ROWS;
const OWN: u32 = 4u * RN;

// Whether tiles hold quads behind those of a head, which are 0.
const PADDED: bool = COLS * DN != D4 || D4 % DEPTH != 0u;

// A chunk of the tile's columns for the scores, [DEPTH][4 COLS]; then the COLS columns of a weight slice, padded.
var<workgroup> col_tile: array<vec4<f32>, max(4u * COLS * DEPTH, COLS * COLS * DN)>; // [COLS][COLS DN]
var<workgroup> row_tile: array<vec4<f32>, HEIGHT * DEPTH>; // [DEPTH][HEIGHT]
// Four rows of a thread row are one vector.
var<workgroup> weight_tile: array<vec4<f32>, RN * ROWS * COLS>; // [RN][ROWS][COLS]

// Whether a workgroup's i-th load falls into a tile. What is known when compiling comes first and spares the branch.
fn in_rows(i: u32) -> bool { return OWN * DEPTH % COLS == 0u || i < HEIGHT * DEPTH; }
fn in_chunk(i: u32) -> bool { return 4u * DEPTH % ROWS == 0u || i < 4u * COLS * DEPTH; }
fn in_slice(i: u32) -> bool { return COLS * DN % ROWS == 0u || i < COLS * COLS * DN; }

// s += row_tile^T col_tile, quad by quad of the head dimension.
fn add_scores(s: ptr<function, array<vec4<f32>, OWN>>, row: u32, col: u32) {
    for (var d = 0u; d < DEPTH; d++) {
        let at = d * 4u * COLS + col;
        let b = transpose(mat4x4<f32>(
            col_tile[at], col_tile[at + COLS], col_tile[at + 2u * COLS], col_tile[at + 3u * COLS]));
        // Four rows at a time, term by term, so that no multiply-add waits for the one before it.
        for (var r = 0u; r < OWN; r += 4u) {
            var x: array<vec4<f32>, 4>;
            for (var i = 0u; i < 4u; i++) { x[i] = row_tile[d * HEIGHT + row + ROWS * (r + i)]; }
            for (var i = 0u; i < 4u; i++) { (*s)[r + i] = fma(vec4<f32>(x[i].x), b[0], (*s)[r + i]); }
            for (var i = 0u; i < 4u; i++) { (*s)[r + i] = fma(vec4<f32>(x[i].y), b[1], (*s)[r + i]); }
            for (var i = 0u; i < 4u; i++) { (*s)[r + i] = fma(vec4<f32>(x[i].z), b[2], (*s)[r + i]); }
            for (var i = 0u; i < 4u; i++) { (*s)[r + i] = fma(vec4<f32>(x[i].w), b[3], (*s)[r + i]); }
        }
    }
}

// Quad q of the first weights of a thread's rows.
fn front(s: ptr<function, array<vec4<f32>, OWN>>, q: u32) -> vec4<f32> {
    return vec4<f32>((*s)[4u * q].x, (*s)[4u * q + 1u].x, (*s)[4u * q + 2u].x, (*s)[4u * q + 3u].x);
}

// acc += weight_tile col_tile, for the COLS columns of a slice.
fn add_weighted(acc: ptr<function, array<vec4<f32>, OWN * DN>>, row: u32, col: u32) {
    for (var k = 0u; k < COLS; k++) {
        var weight: array<vec4<f32>, RN>;
        for (var q = 0u; q < RN; q++) { weight[q] = weight_tile[(q * ROWS + row) * COLS + k]; }
        for (var n = 0u; n < DN; n++) {
            let x = col_tile[(k * DN + n) * COLS + col];
            for (var i = 0u; i < OWN; i++) {
                (*acc)[i * DN + n] = fma(vec4<f32>(weight[i / 4u][i % 4u]), x, (*acc)[i * DN + n]);
            }
        }
    }
}

// Largest of quad q of what the threads of a thread row left in weight_tile.
fn row_max(q: u32, row: u32) -> vec4<f32> {
    let at = (q * ROWS + row) * COLS;
    var x = weight_tile[at];
    for (var k = 1u; k < COLS; k++) { x = max(x, weight_tile[at + k]); }
    return x;
}

// Sum of quad q of what the threads of a thread row left in weight_tile.
fn row_sum(q: u32, row: u32) -> vec4<f32> {
    let at = (q * ROWS + row) * COLS;
    var x = weight_tile[at];
    for (var k = 1u; k < COLS; k++) { x += weight_tile[at + k]; }
    return x;
}
