// out[i] = sum_j softmax_j(scale q_i . k_j) v_j, scale = 1 / sqrt(head dim), for every head of every image;
// lse[i] = log sum_j exp(scale q_i . k_j). The softmax is online: a running maximum and sum, key by key.
//   qkv [batch * tokens, 3 * d1], columns q | k | v, heads one after the other inside each; out [batch * tokens, d1],
//   d1 = heads * 4 * D4; lse [batch * heads * tokens].
// The kernel of attention.wgsl for software devices: a lane owns ROWS queries that lie WG apart, a workgroup WG * ROWS
// queries of one head; all lanes read the same key, so that its numbers are scalar loads, each for ROWS products.
// Edges: queries beyond the last repeat it and are not stored.
import package::lib::math::{linear_group};
import package::plan::{D4, ROWS, WG};

struct Params {
    batch: u32, tokens: u32, heads: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<f32>>; // [batch * tokens, 3 * d1]
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>; // [batch * tokens, d1]
@if(LSE) @group(0) @binding(3) var<storage, read_write> lse: array<f32>; // [batch * heads * tokens]

// Below every score, yet its differences to scores stay finite.
const LOWEST: f32 = -1e30;

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

    var q: array<array<vec4<f32>, D4>, ROWS>;
    var acc: array<array<vec4<f32>, D4>, ROWS>;
    var highest: array<f32, ROWS>;
    var sum: array<f32, ROWS>;
    for (var r = 0u; r < ROWS; r++) {
        let q_at = q_base + min(row0 + r * WG, params.tokens - 1u) * 3u * d1;
        for (var c = 0u; c < D4; c++) {
            q[r][c] = params.scale * qkv[q_at + c];
            acc[r][c] = vec4<f32>(0.0);
        }
        highest[r] = LOWEST;
        sum[r] = 0.0;
    }

    for (var key = 0u; key < params.tokens; key++) {
        let k_at = q_base + key * 3u * d1 + d1;
        let v_at = k_at + d1;
        var products: array<vec4<f32>, ROWS>;
        for (var r = 0u; r < ROWS; r++) { products[r] = vec4<f32>(0.0); }
        for (var c = 0u; c < D4; c++) {
            let k = qkv[k_at + c];
            for (var r = 0u; r < ROWS; r++) { products[r] = fma(q[r][c], k, products[r]); }
        }
        var p: array<f32, ROWS>;
        for (var r = 0u; r < ROWS; r++) {
            let s = dot(products[r], vec4<f32>(1.0));
            if s > highest[r] {
                let shrink = exp(highest[r] - s);
                sum[r] *= shrink;
                for (var c = 0u; c < D4; c++) { acc[r][c] *= shrink; }
                highest[r] = s;
            }
            p[r] = exp(s - highest[r]);
            sum[r] += p[r];
        }
        for (var c = 0u; c < D4; c++) {
            let v = qkv[v_at + c];
            for (var r = 0u; r < ROWS; r++) { acc[r][c] = fma(vec4<f32>(p[r]), v, acc[r][c]); }
        }
    }

    for (var r = 0u; r < ROWS; r++) {
        let row = row0 + r * WG;
        if row < params.tokens {
            for (var c = 0u; c < D4; c++) { out[(first + row) * d1 + head * D4 + c] = acc[r][c] / sum[r]; }
            @if(LSE) lse[(image * params.heads + head) * params.tokens + row] = highest[r] + log(sum[r]);
        }
    }
}
