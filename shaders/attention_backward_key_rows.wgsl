// dv_j = sum_i p_ij dy_i; dk_j = scale sum_i ds_ij q_i, ds_ij = p_ij (dy_i . v_j - delta_i),
// p_ij = exp(scale q_i . k_j - lse_i), scale = 1 / sqrt(head dim), for every head of every image.
//   qkv, dqkv [batch * tokens, 3 * d1], columns q | k | v, heads one after the other inside each; dy
//   [batch * tokens, d1], d1 = heads * 4 * D4; lse, delta [batch * heads * tokens]. Only the k and v columns of dqkv
//   are written.
// The kernel of attention_backward_key.wgsl for software devices: a lane owns ROWS keys that lie WG apart, a workgroup
// WG * ROWS keys of one head; all lanes read the same query, so that its numbers are scalar loads, each for ROWS products.
// Edges: keys beyond the last repeat it and are not stored.
import package::lib::math::{linear_group};
import package::plan::{D4, ROWS, WG};

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
    let dy_base = first * d1 + head * D4;
    let score_base = (image * params.heads + head) * params.tokens;

    var k: array<array<vec4<f32>, D4>, ROWS>;
    var v: array<array<vec4<f32>, D4>, ROWS>;
    var dk: array<array<vec4<f32>, D4>, ROWS>;
    var dv: array<array<vec4<f32>, D4>, ROWS>;
    for (var r = 0u; r < ROWS; r++) {
        let k_at = q_base + min(row0 + r * WG, params.tokens - 1u) * 3u * d1 + d1;
        for (var c = 0u; c < D4; c++) {
            k[r][c] = params.scale * qkv[k_at + c];
            v[r][c] = qkv[k_at + d1 + c];
            dk[r][c] = vec4<f32>(0.0);
            dv[r][c] = vec4<f32>(0.0);
        }
    }

    for (var query = 0u; query < params.tokens; query++) {
        let q_at = q_base + query * 3u * d1;
        let dy_at = dy_base + query * d1;
        var s: array<vec4<f32>, ROWS>;
        for (var r = 0u; r < ROWS; r++) { s[r] = vec4<f32>(0.0); }
        for (var c = 0u; c < D4; c++) {
            let q = qkv[q_at + c];
            for (var r = 0u; r < ROWS; r++) { s[r] = fma(k[r][c], q, s[r]); }
        }
        var p: array<f32, ROWS>;
        let row_lse = lse[score_base + query];
        for (var r = 0u; r < ROWS; r++) { p[r] = exp(dot(s[r], vec4<f32>(1.0)) - row_lse); }
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
        let row_delta = delta[score_base + query];
        for (var r = 0u; r < ROWS; r++) { ds[r] = p[r] * (dot(dp[r], vec4<f32>(1.0)) - row_delta); }
        for (var c = 0u; c < D4; c++) {
            let q = qkv[q_at + c];
            for (var r = 0u; r < ROWS; r++) { dk[r][c] = fma(vec4<f32>(ds[r]), q, dk[r][c]); }
        }
    }

    for (var r = 0u; r < ROWS; r++) {
        let row = row0 + r * WG;
        if row < params.tokens {
            let k_at = q_base + row * 3u * d1 + d1;
            for (var c = 0u; c < D4; c++) {
                dqkv[k_at + c] = params.scale * dk[r][c];
                dqkv[k_at + d1 + c] = dv[r][c];
            }
        }
    }
}
