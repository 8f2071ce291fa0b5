// delta[i] = dy_i . out_i; dq_i = scale sum_j ds_ij k_j, ds_ij = p_ij (dy_i . v_j - delta_i),
// p_ij = exp(scale q_i . k_j - lse_i), scale = 1 / sqrt(head dim), for every head of every image.
//   qkv, dqkv [batch * tokens, 3 * d1], columns q | k | v, heads one after the other inside each; out, dy
//   [batch * tokens, d1], d1 = heads * 4 * D4; lse, delta [batch * heads * tokens]. Only the q columns of dqkv are
//   written.
// A workgroup makes HEIGHT queries of one head and meets 4 COLS keys at a time; a thread makes OWN x 4 of p and ds, and
// OWN x DN quads of dq. ds of COLS keys at a time passes through workgroup memory (see lib/score_tile.wgsl).
// Edges: tokens beyond the last repeat it; as queries they are not stored, as keys they have weight 0.
import package::lib::math::{linear_group};
import package::lib::score_tile::{
    HEIGHT, OWN, PADDED, add_scores, add_weighted, col_tile, front, in_chunk, in_rows, in_slice, row_sum, row_tile,
    weight_tile,
};
import package::plan::{COLS, D4, DEPTH, DN, RN, ROWS};

struct Params {
    batch: u32, tokens: u32, heads: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<f32>>; // [batch * tokens, 3 * d1]
@group(0) @binding(2) var<storage, read> out: array<vec4<f32>>; // [batch * tokens, d1]
@group(0) @binding(3) var<storage, read> dy: array<vec4<f32>>; // [batch * tokens, d1]
@group(0) @binding(4) var<storage, read> lse: array<f32>; // [batch * heads * tokens]
@group(0) @binding(5) var<storage, read_write> delta: array<f32>; // [batch * heads * tokens]
@group(0) @binding(6) var<storage, read_write> dqkv: array<vec4<f32>>; // [batch * tokens, 3 * d1]

const WG: u32 = ROWS * COLS;

// delta and lse of each query: the registers of a thread are full.
var<workgroup> row_delta: array<vec4<f32>, RN * ROWS>; // [RN][ROWS]
var<workgroup> row_lse: array<vec4<f32>, RN * ROWS>;

// Quad c of a row of k (part 1) or v (part 2); 0 behind the head's columns.
fn load_key(part: u32, image: u32, token: u32, head: u32, c: u32) -> vec4<f32> {
    if PADDED && c >= D4 { return vec4<f32>(0.0); }
    let at = (image * params.tokens + min(token, params.tokens - 1u)) * 3u + part;
    return qkv[(at * params.heads + head) * D4 + c];
}

// Quad c of a row of q (part 0) or dy; 0 behind the head's columns.
fn load_query(part: u32, image: u32, token: u32, head: u32, c: u32) -> vec4<f32> {
    if PADDED && c >= D4 { return vec4<f32>(0.0); }
    let at = image * params.tokens + min(token, params.tokens - 1u);
    if part == 0u { return qkv[(at * 3u * params.heads + head) * D4 + c]; }
    return dy[(at * params.heads + head) * D4 + c];
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let blocks = (params.tokens + HEIGHT - 1u) / HEIGHT;
    let linear = linear_group(group, groups);
    if linear >= params.batch * params.heads * blocks { return; }
    let head = linear / blocks % params.heads;
    let image = linear / blocks / params.heads;
    let d1 = params.heads * D4;
    let first = image * params.tokens;
    let first_row = linear % blocks * HEIGHT;
    let score_base = (image * params.heads + head) * params.tokens;
    let row = lane / COLS;
    let col = lane % COLS;

    var acc: array<vec4<f32>, OWN * DN>;
    for (var i = 0u; i < OWN * DN; i++) { acc[i] = vec4<f32>(0.0); }
    for (var q = 0u; q < RN; q++) {
        var part = vec4<f32>(0.0);
        var own_lse = vec4<f32>(0.0);
        for (var e = 0u; e < 4u; e++) {
            let query = min(first_row + row + ROWS * (4u * q + e), params.tokens - 1u);
            for (var c = col; c < D4; c += COLS) {
                let at = (first + query) * d1 + head * D4 + c;
                part[e] += dot(dy[at], out[at]);
            }
            own_lse[e] = lse[score_base + query];
        }
        weight_tile[q * WG + lane] = part;
        if col == 0u { row_lse[q * ROWS + row] = own_lse; }
    }
    workgroupBarrier();
    for (var q = 0u; q < RN; q++) {
        let sum = row_sum(q, row);
        if col == 0u { row_delta[q * ROWS + row] = sum; }
    }

    for (var tile = 0u; tile < params.tokens; tile += 4u * COLS) {
        let valid = vec4<u32>(tile + col) + COLS * vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.tokens);
        var ds: array<vec4<f32>, OWN>;
        // First p from q and k, then ds from dy and v.
        for (var part = 0u; part < 2u; part++) {
            var s: array<vec4<f32>, OWN>;
            for (var i = 0u; i < OWN; i++) { s[i] = vec4<f32>(0.0); }
            for (var d = 0u; d < D4; d += DEPTH) {
                workgroupBarrier();
                for (var t = 0u; t < OWN * DEPTH; t += COLS) {
                    let i = t * ROWS + lane;
                    if in_rows(i) {
                        row_tile[i % DEPTH * HEIGHT + i / DEPTH] =
                            load_query(part, image, first_row + i / DEPTH, head, d + i % DEPTH);
                    }
                }
                for (var t = 0u; t < 4u * DEPTH; t += ROWS) {
                    let i = t * COLS + lane;
                    if in_chunk(i) {
                        col_tile[i % DEPTH * 4u * COLS + i / DEPTH] =
                            load_key(1u + part, image, tile + i / DEPTH, head, d + i % DEPTH);
                    }
                }
                workgroupBarrier();
                add_scores(&s, row, col);
            }
            for (var i = 0u; i < OWN; i++) {
                let at = i / 4u * ROWS + row;
                if part == 0u {
                    ds[i] = select(vec4<f32>(0.0), exp(params.scale * s[i] - row_lse[at][i % 4u]), valid);
                } else {
                    ds[i] *= s[i] - row_delta[at][i % 4u];
                }
            }
        }

        for (var j = 0u; j < 4u && tile + j * COLS < params.tokens; j++) {
            workgroupBarrier();
            for (var t = 0u; t < COLS * DN; t += ROWS) {
                let i = t * COLS + lane;
                if in_slice(i) {
                    col_tile[i] = load_key(1u, image, tile + j * COLS + i / (COLS * DN), head, i % (COLS * DN));
                }
            }
            for (var q = 0u; q < RN; q++) { weight_tile[q * WG + lane] = front(&ds, q); }
            // The next slice moves to the front: no register is indexed by j.
            for (var i = 0u; i < OWN; i++) { ds[i] = ds[i].yzwx; }
            workgroupBarrier();
            add_weighted(&acc, row, col);
        }
    }

    for (var i = 0u; i < OWN; i++) {
        let query = first_row + row + ROWS * i;
        if query >= params.tokens { return; }
        for (var n = 0u; n < DN; n++) {
            let c = col + COLS * n;
            if c < D4 { dqkv[(first + query) * 3u * d1 + head * D4 + c] = params.scale * acc[i * DN + n]; }
        }
        if col == 0u { delta[score_base + query] = row_delta[i / 4u * ROWS + row][i % 4u]; }
    }
}
