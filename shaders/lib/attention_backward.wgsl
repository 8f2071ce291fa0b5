// What the two backward kernels of attention share beside: products of a tile and sums of them, for workgroups that own
// rows of keys (`keys`) and meet queries, or the other way round.
// Queries come with q (part 0) and dy (part 1), keys with k and v.
import package::lib::attention::{Block, count, out_at, params, qkv, qkv_at};
@if(PREFIX) import package::lib::attention::{key_quad};
import package::lib::score_tile::{
    HEIGHT, OWN, PADDED, add_scores, add_weighted, col_tile, front, in_chunk, in_rows, in_slice, row_tile, weight_tile,
};
import package::plan::{COLS, D4, DEPTH, DN, RN, ROWS};

@group(0) @binding(3) var<storage, read> dy: array<vec4<f32>>; // [batch * tokens, d1]
@group(0) @binding(4) var<storage, read> lse: array<f32>; // [batch * heads * tokens]

const WG: u32 = ROWS * COLS;

// How many keys have a gradient: with a PREFIX its rows alone.
fn owned() -> u32 {
    @if(PREFIX) { return params.prefix; }
    @if(!PREFIX) { return params.tokens; }
}

// Quad c of a part of a row; 0 behind the head's columns.
fn load(keys: bool, part: u32, block: Block, row: u32, c: u32) -> vec4<f32> {
    if PADDED && c >= D4 { return vec4<f32>(0.0); }
    @if(PREFIX) if keys { return key_quad(block, row, part, c); }
    let inside = min(row, params.tokens - 1u);
    @if(!PREFIX) if keys { return qkv[qkv_at(block, inside, 1u + part) + c]; }
    if part == 0u { return qkv[qkv_at(block, inside, 0u) + c]; }
    return dy[out_at(block, inside) + c];
}

// s = the products of a part of the block's rows and of those from `tile` on.
fn multiply(s: ptr<function, array<vec4<f32>, OWN>>, keys: bool, part: u32, block: Block, tile: u32, lane: u32) {
    for (var i = 0u; i < OWN; i++) { (*s)[i] = vec4<f32>(0.0); }
    for (var d = 0u; d < D4; d += DEPTH) {
        workgroupBarrier();
        for (var t = 0u; t < OWN * DEPTH; t += COLS) {
            let i = t * ROWS + lane;
            if in_rows(i) {
                row_tile[i % DEPTH * HEIGHT + i / DEPTH] = load(keys, part, block, block.first + i / DEPTH, d + i % DEPTH);
            }
        }
        for (var t = 0u; t < 4u * DEPTH; t += ROWS) {
            let i = t * COLS + lane;
            if in_chunk(i) {
                col_tile[i % DEPTH * 4u * COLS + i / DEPTH] = load(!keys, part, block, tile + i / DEPTH, d + i % DEPTH);
            }
        }
        workgroupBarrier();
        add_scores(s, lane / COLS, lane % COLS);
    }
}

// acc += weights x a part of the rows from `tile` on.
fn combine(acc: ptr<function, array<vec4<f32>, OWN * DN>>, weights: ptr<function, array<vec4<f32>, OWN>>,
        keys: bool, part: u32, block: Block, tile: u32, lane: u32) {
    for (var j = 0u; j < 4u && tile + j * COLS < count(!keys); j++) {
        workgroupBarrier();
        for (var t = 0u; t < COLS * DN; t += ROWS) {
            let i = t * COLS + lane;
            if in_slice(i) {
                col_tile[i] = load(!keys, part, block, tile + j * COLS + i / (COLS * DN), i % (COLS * DN));
            }
        }
        for (var q = 0u; q < RN; q++) { weight_tile[q * WG + lane] = front(weights, q); }
        // The next slice moves to the front: no register is indexed by j.
        for (var i = 0u; i < OWN; i++) { (*weights)[i] = (*weights)[i].yzwx; }
        workgroupBarrier();
        add_weighted(acc, lane / COLS, lane % COLS);
    }
}
