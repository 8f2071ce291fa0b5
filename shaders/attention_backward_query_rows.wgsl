// delta[i] = dy_i . out_i; dq_i = scale sum_j ds_ij k_j, ds_ij = p_ij (dy_i . v_j - delta_i),
// p_ij = exp(scale q_i . k_j - lse_i), scale = 1 / sqrt(head dim), for every head of every image.
//   qkv, dqkv [batch * tokens, 3 * d1], columns q | k | v, heads one after the other inside each; out, dy
//   [batch * tokens, d1], d1 = heads * 4 * D4; lse, delta [batch * heads * tokens]. Only the q columns of dqkv are
//   written.
// The kernel of attention_backward_query.wgsl for software devices: a lane owns ROWS queries that lie WG apart, a
// workgroup WG * ROWS queries of one head; all lanes read the same key, so that its numbers are scalar loads, each for
// ROWS products.
// Edges: queries beyond the last repeat it and are not stored.
import package::lib::math::{linear_group};
import package::plan::{D4, ROWS, WG};

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

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let blocks = (params.tokens + WG * ROWS - 1u) / (WG * ROWS);
    let linear = linear_group(group, groups);
    if linear >= params.batch * params.heads * blocks { return; }
    let head = linear / blocks % params.heads;
    let image = linear / blocks / params.heads;
    let d1 = params.heads * D4;
    let first = image * params.tokens;
    let row0 = linear % blocks * WG * ROWS + lane;
    let q_base = first * 3u * d1 + head * D4;
    let out_base = first * d1 + head * D4;
    let score_base = (image * params.heads + head) * params.tokens;

    var q: array<array<vec4<f32>, D4>, ROWS>;
    var dy_row: array<array<vec4<f32>, D4>, ROWS>;
    var dq: array<array<vec4<f32>, D4>, ROWS>;
    var row_delta: array<f32, ROWS>;
    var row_lse: array<f32, ROWS>;
    for (var r = 0u; r < ROWS; r++) {
        let row = min(row0 + r * WG, params.tokens - 1u);
        row_delta[r] = 0.0;
        for (var c = 0u; c < D4; c++) {
            q[r][c] = params.scale * qkv[q_base + row * 3u * d1 + c];
            dy_row[r][c] = dy[out_base + row * d1 + c];
            row_delta[r] += dot(dy_row[r][c], out[out_base + row * d1 + c]);
            dq[r][c] = vec4<f32>(0.0);
        }
        row_lse[r] = lse[score_base + row];
    }

    for (var key = 0u; key < params.tokens; key++) {
        let k_at = q_base + key * 3u * d1 + d1;
        let v_at = k_at + d1;
        var s: array<vec4<f32>, ROWS>;
        for (var r = 0u; r < ROWS; r++) { s[r] = vec4<f32>(0.0); }
        for (var c = 0u; c < D4; c++) {
            let k = qkv[k_at + c];
            for (var r = 0u; r < ROWS; r++) { s[r] = fma(q[r][c], k, s[r]); }
        }
        var dp: array<vec4<f32>, ROWS>;
        for (var r = 0u; r < ROWS; r++) { dp[r] = vec4<f32>(0.0); }
        for (var c = 0u; c < D4; c++) {
            let v = qkv[v_at + c];
            for (var r = 0u; r < ROWS; r++) { dp[r] = fma(dy_row[r][c], v, dp[r]); }
        }
        var ds: array<f32, ROWS>;
        for (var r = 0u; r < ROWS; r++) {
            ds[r] = exp(dot(s[r], vec4<f32>(1.0)) - row_lse[r]) * (dot(dp[r], vec4<f32>(1.0)) - row_delta[r]);
        }
        for (var c = 0u; c < D4; c++) {
            let k = qkv[k_at + c];
            for (var r = 0u; r < ROWS; r++) { dq[r][c] = fma(vec4<f32>(ds[r]), k, dq[r][c]); }
        }
    }

    for (var r = 0u; r < ROWS; r++) {
        let row = row0 + r * WG;
        if row < params.tokens {
            delta[score_base + row] = row_delta[r];
            for (var c = 0u; c < D4; c++) { dqkv[q_base + row * 3u * d1 + c] = params.scale * dq[r][c]; }
        }
    }
}
