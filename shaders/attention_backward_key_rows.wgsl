// dv_j = sum_i p_ij dy_i; dk_j = scale sum_i ds_ij q_i, ds_ij = p_ij (dy_i . v_j - delta_i),
// p_ij = exp(scale q_i . k_j - lse_i), scale = 1 / sqrt(head dim), for every head of every image.
//   qkv, dqkv [batch * tokens, 3 * d1], columns q | k | v, heads one after the other inside each; dy
//   [batch * tokens, d1], d1 = heads * 4 * D4; lse, delta [batch * heads * tokens]. Only the k and v columns of dqkv
//   are written. With a PREFIX the keys are its rows alone: prefix, dprefix [batch, 2, prefix, d1].
// The kernel of attention_backward_key.wgsl for software devices, as in lib/attention_rows.wgsl.
// Edges: keys beyond the last repeat it and are not stored.
import package::lib::attention::{block_of, out_at, params, qkv, qkv_at, score_at};
@if(PREFIX) import package::lib::attention::{prefix, prefix_at};
import package::lib::attention_backward::{dy, lse, owned};
import package::lib::attention_rows::{Rows, add, products};
import package::lib::math::{linear_group};
import package::plan::{D4, ROWS, WG};

@group(0) @binding(5) var<storage, read> delta: array<f32>; // [batch * heads * tokens]
@if(!PREFIX) @group(0) @binding(6) var<storage, read_write> dqkv: array<vec4<f32>>; // [batch * tokens, 3 * d1]
@if(PREFIX) @group(0) @binding(6) var<storage, read_write> dprefix: array<vec4<f32>>; // [batch, 2, prefix, d1]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = block_of(linear_group(group, groups), WG * ROWS, owned());
    if block.image >= params.batch { return; }
    let row0 = block.first + lane;

    var k: Rows;
    var v: Rows;
    var dk: Rows;
    var dv: Rows;
    for (var r = 0u; r < ROWS; r++) {
        let row = min(row0 + r * WG, owned() - 1u);
        for (var c = 0u; c < D4; c++) {
            @if(!PREFIX) {
                k[r][c] = params.scale * qkv[qkv_at(block, row, 1u) + c];
                v[r][c] = qkv[qkv_at(block, row, 2u) + c];
            }
            @if(PREFIX) {
                k[r][c] = params.scale * prefix[prefix_at(block, row, 0u) + c];
                v[r][c] = prefix[prefix_at(block, row, 1u) + c];
            }
            dk[r][c] = vec4<f32>(0.0);
            dv[r][c] = vec4<f32>(0.0);
        }
    }

    for (var query = 0u; query < params.tokens; query++) {
        let q_at = qkv_at(block, query, 0u);
        let dy_at = out_at(block, query);
        var p = products(&k, false, q_at);
        let row_lse = lse[score_at(block, query)];
        for (var r = 0u; r < ROWS; r++) { p[r] = exp(p[r] - row_lse); }
        var dp: array<vec4<f32>, ROWS>;
        for (var r = 0u; r < ROWS; r++) { dp[r] = vec4<f32>(0.0); }
        for (var c = 0u; c < D4; c++) {
            let y = dy[dy_at + c];
            for (var r = 0u; r < ROWS; r++) { dp[r] = fma(v[r][c], y, dp[r]); }
        }
        // Not in the loop above: sums of ROWS products leave no registers.
        for (var c = 0u; c < D4; c++) {
            let y = dy[dy_at + c];
            for (var r = 0u; r < ROWS; r++) { dv[r][c] = fma(vec4<f32>(p[r]), y, dv[r][c]); }
        }
        var ds: array<f32, ROWS>;
        let row_delta = delta[score_at(block, query)];
        for (var r = 0u; r < ROWS; r++) { ds[r] = p[r] * (dot(dp[r], vec4<f32>(1.0)) - row_delta); }
        add(&dk, ds, false, q_at);
    }

    for (var r = 0u; r < ROWS; r++) {
        let row = row0 + r * WG;
        if row < owned() {
            for (var c = 0u; c < D4; c++) {
                @if(!PREFIX) {
                    dqkv[qkv_at(block, row, 1u) + c] = params.scale * dk[r][c];
                    dqkv[qkv_at(block, row, 2u) + c] = dv[r][c];
                }
                @if(PREFIX) {
                    dprefix[prefix_at(block, row, 0u) + c] = params.scale * dk[r][c];
                    dprefix[prefix_at(block, row, 1u) + c] = dv[r][c];
                }
            }
        }
    }
}
