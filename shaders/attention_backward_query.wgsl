// delta[i] = dy_i . out_i; dq_i = scale sum_j ds_ij k_j, ds_ij = p_ij (dy_i . v_j - delta_i),
// p_ij = exp(scale q_i . k_j - lse_i), scale = 1 / sqrt(head dim), for every head of every image.
//   qkv, dqkv [batch * tokens, 3 * d1], columns q | k | v, heads one after the other inside each; out, dy
//   [batch * tokens, d1], d1 = heads * 4 * D4; lse, delta [batch * heads * tokens]; with a PREFIX its rows
//   [batch, 2, prefix, d1] are keys and values in front of the tokens'. Only the q columns of dqkv are written.
// A workgroup makes HEIGHT queries of one head and meets 4 COLS keys at a time; a thread makes OWN x 4 of p and ds, and
// OWN x DN quads of dq. ds of COLS keys at a time passes through workgroup memory (see lib/score_tile.wgsl).
// Edges: tokens beyond the last repeat it; as queries they are not stored, as keys they have weight 0.
import package::lib::attention::{block_of, count, out_at, params, qkv_at, score_at};
import package::lib::attention_backward::{WG, combine, dy, lse, multiply};
import package::lib::math::{linear_group};
import package::lib::score_tile::{HEIGHT, OWN, row_sum, weight_tile};
import package::plan::{COLS, D4, DN, RN, ROWS};

@group(0) @binding(5) var<storage, read> out: array<vec4<f32>>; // [batch * tokens, d1]
@group(0) @binding(6) var<storage, read_write> delta: array<f32>; // [batch * heads * tokens]
@group(0) @binding(7) var<storage, read_write> dqkv: array<vec4<f32>>; // [batch * tokens, 3 * d1]

// delta and lse of each query: the registers of a thread are full.
var<workgroup> row_delta: array<vec4<f32>, RN * ROWS>; // [RN][ROWS]
var<workgroup> row_lse: array<vec4<f32>, RN * ROWS>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = block_of(linear_group(group, groups), HEIGHT, params.tokens);
    if block.image >= params.batch { return; }
    let row = lane / COLS;
    let col = lane % COLS;

    var acc: array<vec4<f32>, OWN * DN>;
    for (var i = 0u; i < OWN * DN; i++) { acc[i] = vec4<f32>(0.0); }
    for (var q = 0u; q < RN; q++) {
        var part = vec4<f32>(0.0);
        var own_lse = vec4<f32>(0.0);
        for (var e = 0u; e < 4u; e++) {
            let query = min(block.first + row + ROWS * (4u * q + e), params.tokens - 1u);
            for (var c = col; c < D4; c += COLS) {
                let at = out_at(block, query) + c;
                part[e] += dot(dy[at], out[at]);
            }
            own_lse[e] = lse[score_at(block, query)];
        }
        weight_tile[q * WG + lane] = part;
        if col == 0u { row_lse[q * ROWS + row] = own_lse; }
    }
    workgroupBarrier();
    for (var q = 0u; q < RN; q++) {
        let sum = row_sum(q, row);
        if col == 0u { row_delta[q * ROWS + row] = sum; }
    }

    for (var tile = 0u; tile < count(true); tile += 4u * COLS) {
        let valid = vec4<u32>(tile + col) + COLS * vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(count(true));
        var ds: array<vec4<f32>, OWN>;
        // First p from q and k, then ds from dy and v.
        for (var part = 0u; part < 2u; part++) {
            var s: array<vec4<f32>, OWN>;
            multiply(&s, false, part, block, tile, lane);
            for (var i = 0u; i < OWN; i++) {
                let at = i / 4u * ROWS + row;
                if part == 0u {
                    ds[i] = select(vec4<f32>(0.0), exp(params.scale * s[i] - row_lse[at][i % 4u]), valid);
                } else {
                    ds[i] *= s[i] - row_delta[at][i % 4u];
                }
            }
        }

        combine(&acc, &ds, false, 0u, block, tile, lane);
    }

    for (var i = 0u; i < OWN; i++) {
        let query = block.first + row + ROWS * i;
        if query >= params.tokens { return; }
        for (var n = 0u; n < DN; n++) {
            let c = col + COLS * n;
            if c < D4 { dqkv[qkv_at(block, query, 0u) + c] = params.scale * acc[i * DN + n]; }
        }
        if col == 0u { delta[score_at(block, query)] = row_delta[i / 4u * ROWS + row][i % 4u]; }
    }
}
