// out[i] = sum_j softmax_j(scale q_i . k_j) v_j, scale = 1 / sqrt(head dim), for every head of every image;
// lse[i] = log sum_j exp(scale q_i . k_j). The softmax is online: a running maximum and sum, key by key.
//   qkv [batch * tokens, 3 * d1], columns q | k | v, heads one after the other inside each; out [batch * tokens, d1],
//   d1 = heads * 4 * D4; lse [batch * heads * tokens]; with a PREFIX its rows [batch, 2, prefix, d1] are keys and values
//   in front of the tokens'.
// The kernel of attention.wgsl for software devices, as in lib/attention_rows.wgsl.
// Edges: queries beyond the last repeat it and are not stored.
import package::lib::attention::{block_of, out_at, params, qkv, qkv_at, score_at};
@if(PREFIX) import package::lib::attention::{prefix_at};
import package::lib::attention_rows::{Rows, add, products};
import package::lib::math::{linear_group};
import package::plan::{D4, ROWS, WG};

@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>; // [batch * tokens, d1]
@if(LSE) @group(0) @binding(4) var<storage, read_write> lse: array<f32>; // [batch * heads * tokens]

// Below every score, yet its differences to scores stay finite.
const LOWEST: f32 = -1e30;

// One key and value more: the quads of the prefix or of qkv from these on.
fn meet(q: ptr<function, Rows>, acc: ptr<function, Rows>, highest: ptr<function, array<f32, ROWS>>,
        sum: ptr<function, array<f32, ROWS>>, of_prefix: bool, k_at: u32, v_at: u32) {
    var p = products(q, of_prefix, k_at);
    for (var r = 0u; r < ROWS; r++) {
        let s = p[r];
        if s > (*highest)[r] {
            let shrink = exp((*highest)[r] - s);
            (*sum)[r] *= shrink;
            for (var c = 0u; c < D4; c++) { (*acc)[r][c] *= shrink; }
            (*highest)[r] = s;
        }
        p[r] = exp(s - (*highest)[r]);
        (*sum)[r] += p[r];
    }
    add(acc, p, of_prefix, v_at);
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
    var acc: Rows;
    var highest: array<f32, ROWS>;
    var sum: array<f32, ROWS>;
    for (var r = 0u; r < ROWS; r++) {
        let q_at = qkv_at(block, min(row0 + r * WG, params.tokens - 1u), 0u);
        for (var c = 0u; c < D4; c++) {
            q[r][c] = params.scale * qkv[q_at + c];
            acc[r][c] = vec4<f32>(0.0);
        }
        highest[r] = LOWEST;
        sum[r] = 0.0;
    }

    @if(PREFIX) for (var key = 0u; key < params.prefix; key++) {
        meet(&q, &acc, &highest, &sum, true, prefix_at(block, key, 0u), prefix_at(block, key, 1u));
    }
    for (var key = 0u; key < params.tokens; key++) {
        meet(&q, &acc, &highest, &sum, false, qkv_at(block, key, 1u), qkv_at(block, key, 2u));
    }

    for (var r = 0u; r < ROWS; r++) {
        let row = row0 + r * WG;
        if row < params.tokens {
            for (var c = 0u; c < D4; c++) { out[out_at(block, row) + c] = acc[r][c] / sum[r]; }
            @if(LSE) lse[score_at(block, row)] = highest[r] + log(sum[r]);
        }
    }
}
