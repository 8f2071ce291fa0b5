// delta[i] = dy_i . out_i; dq_i = scale sum_j ds_ij k_j, ds_ij = p_ij (dy_i . v_j - delta_i),
// p_ij = exp(scale q_i . k_j - lse_i), scale = 1 / sqrt(head dim), for every head of every image.
//   qkv, dqkv [batch * tokens, 3 * d1], columns q | k | v, heads one after the other inside each; out, dy
//   [batch * tokens, d1], d1 = heads * 4 * D4; lse, delta [batch * heads * tokens]; with a PREFIX its rows
//   [batch, 2, prefix, d1] are keys and values in front of the tokens'. Only the q columns of dqkv are written.
// The kernel of attention_backward_query.wgsl for software devices, as in lib/attention_rows.wgsl.
// Edges: queries beyond the last repeat it and are not stored.
import package::lib::attention::{block_of, out_at, params, qkv, qkv_at, score_at};
@if(PREFIX) import package::lib::attention::{prefix_at};
import package::lib::attention_backward::{dy, lse};
import package::lib::attention_rows::{Rows, add, products};
import package::lib::math::{linear_group};
import package::plan::{D4, ROWS, WG};

@group(0) @binding(5) var<storage, read> out: array<vec4<f32>>; // [batch * tokens, d1]
@group(0) @binding(6) var<storage, read_write> delta: array<f32>; // [batch * heads * tokens]
@group(0) @binding(7) var<storage, read_write> dqkv: array<vec4<f32>>; // [batch * tokens, 3 * d1]

// One key and value more: the quads of the prefix or of qkv from these on.
fn meet(q: ptr<function, Rows>, dy_row: ptr<function, Rows>, dq: ptr<function, Rows>,
        row_lse: ptr<function, array<f32, ROWS>>, row_delta: ptr<function, array<f32, ROWS>>,
        of_prefix: bool, k_at: u32, v_at: u32) {
    let s = products(q, of_prefix, k_at);
    var ds = products(dy_row, of_prefix, v_at);
    for (var r = 0u; r < ROWS; r++) { ds[r] = exp(s[r] - (*row_lse)[r]) * (ds[r] - (*row_delta)[r]); }
    add(dq, ds, of_prefix, k_at);
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = block_of(linear_group(group, groups), WG * ROWS, params.tokens);
    if block.image >= params.batch { return; }
    let row0 = block.first + lane;

    var q: Rows;
    var dy_row: Rows;
    var dq: Rows;
    var row_delta: array<f32, ROWS>;
    var row_lse: array<f32, ROWS>;
    for (var r = 0u; r < ROWS; r++) {
        let row = min(row0 + r * WG, params.tokens - 1u);
        row_delta[r] = 0.0;
        for (var c = 0u; c < D4; c++) {
            q[r][c] = params.scale * qkv[qkv_at(block, row, 0u) + c];
            dy_row[r][c] = dy[out_at(block, row) + c];
            row_delta[r] += dot(dy_row[r][c], out[out_at(block, row) + c]);
            dq[r][c] = vec4<f32>(0.0);
        }
        row_lse[r] = lse[score_at(block, row)];
    }

    @if(PREFIX) for (var key = 0u; key < params.prefix; key++) {
        let k_at = prefix_at(block, key, 0u);
        meet(&q, &dy_row, &dq, &row_lse, &row_delta, true, k_at, prefix_at(block, key, 1u));
    }
    for (var key = 0u; key < params.tokens; key++) {
        let k_at = qkv_at(block, key, 1u);
        meet(&q, &dy_row, &dq, &row_lse, &row_delta, false, k_at, qkv_at(block, key, 2u));
    }

    for (var r = 0u; r < ROWS; r++) {
        let row = row0 + r * WG;
        if row < params.tokens {
            delta[score_at(block, row)] = row_delta[r];
            for (var c = 0u; c < D4; c++) { dqkv[qkv_at(block, row, 0u) + c] = params.scale * dq[r][c]; }
        }
    }
}
