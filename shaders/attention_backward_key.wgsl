// dv_j = sum_i p_ij dy_i; dk_j = scale sum_i ds_ij q_i, ds_ij = p_ij (dy_i . v_j - delta_i),
// p_ij = exp(scale q_i . k_j - lse_i), scale = 1 / sqrt(head dim), for every head of every image.
//   qkv, dqkv [batch * tokens, 3 * d1], columns q | k | v, heads one after the other inside each; dy
//   [batch * tokens, d1], d1 = heads * 4 * D4; lse, delta [batch * heads * tokens]. Only the k and v columns of dqkv
//   are written.
// A workgroup makes dk or dv of HEIGHT keys of one head and meets 4 COLS queries at a time; a thread makes OWN x 4 of p
// and ds, and OWN x DN quads of the gradient. p or ds of COLS queries at a time passes through workgroup memory (see
// lib/score_tile.wgsl). Both gradients in one workgroup would spare it p once, a fifth of the work, for twice the sums
// in registers, which then spill.
// Edges: tokens beyond the last repeat it; as keys they are not stored, as queries they have weight 0.
import package::lib::math::{linear_group};
import package::lib::score_tile::{
    HEIGHT, OWN, PADDED, add_scores, add_weighted, col_tile, front, in_chunk, in_rows, in_slice, row_tile, weight_tile,
};
import package::plan::{COLS, D4, DEPTH, DN, RN, ROWS};

struct Params {
    batch: u32, tokens: u32, heads: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<f32>>; // [batch * tokens, 3 * d1]
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>; // [batch * tokens, d1]
@group(0) @binding(3) var<storage, read> lse: array<f32>; // [batch * heads * tokens]
@group(0) @binding(4) var<storage, read> delta: array<f32>; // [batch * heads * tokens]
@group(0) @binding(5) var<storage, read_write> dqkv: array<vec4<f32>>; // [batch * tokens, 3 * d1]

const WG: u32 = ROWS * COLS;

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
    if linear >= 2u * params.batch * params.heads * blocks { return; }
    // Products of rows that a gradient needs: dk those for p and ds, dv those for p.
    let parts = 2u - linear % 2u;
    let head = linear / 2u / blocks % params.heads;
    let image = linear / 2u / blocks / params.heads;
    let d1 = params.heads * D4;
    let first_row = linear / 2u % blocks * HEIGHT;
    let score_base = (image * params.heads + head) * params.tokens;
    let row = lane / COLS;
    let col = lane % COLS;

    var acc: array<vec4<f32>, OWN * DN>;
    for (var i = 0u; i < OWN * DN; i++) { acc[i] = vec4<f32>(0.0); }

    for (var tile = 0u; tile < params.tokens; tile += 4u * COLS) {
        let query = vec4<u32>(tile + col) + COLS * vec4<u32>(0u, 1u, 2u, 3u);
        let valid = query < vec4<u32>(params.tokens);
        let at = score_base + min(query, vec4<u32>(params.tokens - 1u));
        var ds: array<vec4<f32>, OWN>;
        // First p from k and q, then ds from v and dy.
        for (var part = 0u; part < parts; part++) {
            var s: array<vec4<f32>, OWN>;
            for (var i = 0u; i < OWN; i++) { s[i] = vec4<f32>(0.0); }
            for (var d = 0u; d < D4; d += DEPTH) {
                workgroupBarrier();
                for (var t = 0u; t < OWN * DEPTH; t += COLS) {
                    let i = t * ROWS + lane;
                    if in_rows(i) {
                        row_tile[i % DEPTH * HEIGHT + i / DEPTH] =
                            load_key(1u + part, image, first_row + i / DEPTH, head, d + i % DEPTH);
                    }
                }
                for (var t = 0u; t < 4u * DEPTH; t += ROWS) {
                    let i = t * COLS + lane;
                    if in_chunk(i) {
                        col_tile[i % DEPTH * 4u * COLS + i / DEPTH] =
                            load_query(part, image, tile + i / DEPTH, head, d + i % DEPTH);
                    }
                }
                workgroupBarrier();
                add_scores(&s, row, col);
            }
            if part == 0u {
                let col_lse = vec4<f32>(lse[at.x], lse[at.y], lse[at.z], lse[at.w]);
                for (var i = 0u; i < OWN; i++) {
                    ds[i] = select(vec4<f32>(0.0), exp(params.scale * s[i] - col_lse), valid);
                }
            } else {
                let col_delta = vec4<f32>(delta[at.x], delta[at.y], delta[at.z], delta[at.w]);
                for (var i = 0u; i < OWN; i++) { ds[i] *= s[i] - col_delta; }
            }
        }

        for (var j = 0u; j < 4u && tile + j * COLS < params.tokens; j++) {
            workgroupBarrier();
            for (var t = 0u; t < COLS * DN; t += ROWS) {
                let i = t * COLS + lane;
                if in_slice(i) {
                    col_tile[i] =
                        load_query(2u - parts, image, tile + j * COLS + i / (COLS * DN), head, i % (COLS * DN));
                }
            }
            for (var q = 0u; q < RN; q++) { weight_tile[q * WG + lane] = front(&ds, q); }
            // The next slice moves to the front: no register is indexed by j.
            for (var i = 0u; i < OWN; i++) { ds[i] = ds[i].yzwx; }
            workgroupBarrier();
            add_weighted(&acc, row, col);
        }
    }

    let scale = select(1.0, params.scale, parts == 2u);
    for (var i = 0u; i < OWN; i++) {
        let key = first_row + row + ROWS * i;
        if key >= params.tokens { return; }
        for (var n = 0u; n < DN; n++) {
            let c = col + COLS * n;
            let to = ((image * params.tokens + key) * 3u + 3u - parts) * d1 + head * D4 + c;
            if c < D4 { dqkv[to] = scale * acc[i * DN + n]; }
        }
    }
}
