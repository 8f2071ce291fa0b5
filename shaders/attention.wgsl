// out[i] = sum_j softmax_j(scale q_i . k_j) v_j, scale = 1 / sqrt(head dim), for every head of every image;
// lse[i] = log sum_j exp(scale q_i . k_j). The softmax is online: a running maximum and sum of each query.
//   qkv [batch * tokens, 3 * d1], columns q | k | v, heads one after the other inside each; out [batch * tokens, d1],
//   d1 = heads * 4 * D4; lse [batch * heads * tokens]; with a PREFIX its rows [batch, 2, prefix, d1] are keys and values
//   in front of the tokens'.
// A workgroup makes HEIGHT queries of one head and meets 4 COLS keys at a time; a thread makes OWN x 4 scores and
// OWN x DN quads of out. Weights of COLS keys at a time pass through workgroup memory (see lib/score_tile.wgsl).
// Edges: tokens beyond the last repeat it; as queries they are not stored, as keys they have weight 0.
import package::lib::attention::{Block, block_of, count, out_at, params, qkv, qkv_at, score_at};
@if(PREFIX) import package::lib::attention::{key_quad};
import package::lib::math::{linear_group};
import package::lib::score_tile::{
    HEIGHT, OWN, PADDED, add_scores, add_weighted, col_tile, front, in_chunk, in_rows, in_slice, row_max, row_sum, row_tile,
    weight_tile,
};
import package::plan::{COLS, D4, DEPTH, DN, RN, ROWS};

@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>; // [batch * tokens, d1]
@if(LSE) @group(0) @binding(4) var<storage, read_write> lse: array<f32>; // [batch * heads * tokens]

const WG: u32 = ROWS * COLS;
// Below every score, yet its differences to scores stay finite.
const LOWEST: f32 = -1e30;

// The running maximum of each query, of the keys before a tile and of those up to its end by turns: where threads have
// eight queries, their registers are full.
var<workgroup> highest: array<vec4<f32>, 2u * RN * ROWS>; // [2][RN][ROWS]

// Quad c of a row of q, k or v; 0 behind the head's columns.
fn load(base: u32, token: u32, c: u32) -> vec4<f32> {
    if PADDED && c >= D4 { return vec4<f32>(0.0); }
    return qkv[base + min(token, params.tokens - 1u) * 3u * params.heads * D4 + c];
}

// The same of a key (part 0) or value.
@if(PREFIX) fn load_key(block: Block, key: u32, part: u32, c: u32) -> vec4<f32> {
    if PADDED && c >= D4 { return vec4<f32>(0.0); }
    return key_quad(block, key, part, c);
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = block_of(linear_group(group, groups), HEIGHT, params.tokens);
    if block.image >= params.batch { return; }
    let q_base = qkv_at(block, 0u, 0u);
    @if(!PREFIX) let k_base = qkv_at(block, 0u, 1u);
    @if(!PREFIX) let v_base = qkv_at(block, 0u, 2u);
    let row = lane / COLS;
    let col = lane % COLS;

    var acc: array<vec4<f32>, OWN * DN>;
    for (var i = 0u; i < OWN * DN; i++) { acc[i] = vec4<f32>(0.0); }
    // Of this thread's keys only; the thread row adds up in the end.
    var sum: array<vec4<f32>, RN>;
    for (var q = 0u; q < RN; q++) { sum[q] = vec4<f32>(0.0); }
    for (var i = lane; i < RN * ROWS; i += WG) { highest[i] = vec4<f32>(LOWEST); }
    var now = 0u;

    for (var tile = 0u; tile < count(true); tile += 4u * COLS) {
        var s: array<vec4<f32>, OWN>;
        for (var i = 0u; i < OWN; i++) { s[i] = vec4<f32>(0.0); }
        for (var d = 0u; d < D4; d += DEPTH) {
            workgroupBarrier();
            for (var t = 0u; t < OWN * DEPTH; t += COLS) {
                let i = t * ROWS + lane;
                if in_rows(i) {
                    row_tile[i % DEPTH * HEIGHT + i / DEPTH] = load(q_base, block.first + i / DEPTH, d + i % DEPTH);
                }
            }
            for (var t = 0u; t < 4u * DEPTH; t += ROWS) {
                let i = t * COLS + lane;
                if in_chunk(i) {
                    let at = i % DEPTH * 4u * COLS + i / DEPTH;
                    @if(!PREFIX) { col_tile[at] = load(k_base, tile + i / DEPTH, d + i % DEPTH); }
                    @if(PREFIX) { col_tile[at] = load_key(block, tile + i / DEPTH, 0u, d + i % DEPTH); }
                }
            }
            workgroupBarrier();
            add_scores(&s, row, col);
        }

        let valid = vec4<u32>(tile + col) + COLS * vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(count(true));
        for (var i = 0u; i < OWN; i++) { s[i] = select(vec4<f32>(LOWEST), params.scale * s[i], valid); }
        for (var q = 0u; q < RN; q++) {
            let b = transpose(mat4x4<f32>(s[4u * q], s[4u * q + 1u], s[4u * q + 2u], s[4u * q + 3u]));
            weight_tile[q * WG + lane] = max(max(b[0], b[1]), max(b[2], b[3]));
        }
        workgroupBarrier();
        for (var q = 0u; q < RN; q++) {
            let before = highest[(now * RN + q) * ROWS + row];
            let above = max(before, row_max(q, row));
            if col == 0u { highest[((1u - now) * RN + q) * ROWS + row] = above; }
            let shrink = exp(before - above);
            sum[q] *= shrink;
            for (var e = 0u; e < 4u; e++) {
                let i = 4u * q + e;
                for (var n = 0u; n < DN; n++) { acc[i * DN + n] *= shrink[e]; }
                s[i] = exp(s[i] - above[e]);
            }
        }
        now = 1u - now;

        for (var j = 0u; j < 4u && tile + j * COLS < count(true); j++) {
            workgroupBarrier();
            for (var t = 0u; t < COLS * DN; t += ROWS) {
                let i = t * COLS + lane;
                if in_slice(i) {
                    let key = tile + j * COLS + i / (COLS * DN);
                    @if(!PREFIX) { col_tile[i] = load(v_base, key, i % (COLS * DN)); }
                    @if(PREFIX) { col_tile[i] = load_key(block, key, 1u, i % (COLS * DN)); }
                }
            }
            for (var q = 0u; q < RN; q++) {
                let weight = front(&s, q);
                weight_tile[q * WG + lane] = weight;
                sum[q] += weight;
            }
            // The next slice moves to the front: no register is indexed by j.
            for (var i = 0u; i < OWN; i++) { s[i] = s[i].yzwx; }
            workgroupBarrier();
            add_weighted(&acc, row, col);
        }
    }

    workgroupBarrier();
    for (var q = 0u; q < RN; q++) { weight_tile[q * WG + lane] = sum[q]; }
    workgroupBarrier();
    for (var q = 0u; q < RN; q++) { sum[q] = row_sum(q, row); }
    for (var i = 0u; i < OWN; i++) {
        let query = block.first + row + ROWS * i;
        if query >= params.tokens { return; }
        let total = sum[i / 4u][i % 4u];
        for (var n = 0u; n < DN; n++) {
            let c = col + COLS * n;
            if c < D4 { out[out_at(block, query) + c] = acc[i * DN + n] / total; }
        }
        @if(LSE) if col == 0u {
            let most = highest[(now * RN + i / 4u) * ROWS + row][i % 4u];
            lse[score_at(block, query)] = most + log(total);
        }
    }
}
