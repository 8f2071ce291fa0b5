// delta[i] = dy_i . out_i; dq_i = scale sum_j ds_ij k_j, ds_ij = p_ij (dy_i . v_j - delta_i),
// p_ij = exp(scale q_i . k_j - lse_i), scale = 1 / sqrt(head dim), for every head of every image.
//   qkv, dqkv [batch * tokens, 3 * d1], columns q | k | v, heads one after the other inside each; out, dy
//   [batch * tokens, d1], d1 = heads * 4 * D4; lse, delta [batch * heads * tokens]. Only the q columns of dqkv are
//   written.
// The kernel of attention_backward_query.wgsl for software devices: one thread owns one query, a workgroup WG queries of
// one head; all lanes read the same key, so that its numbers are scalar loads.
// Edges: threads beyond the last query repeat it and store nothing; keys beyond the last repeat it with weight 0.
import package::lib::math::{add_products, columns_sum, linear_group, multiply_add};
import package::plan::{D4, WG};

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

// Quad `c` of four rows of qkv, of which all lanes read the same.
fn quads(at: vec4<u32>, c: u32) -> mat4x4<f32> {
    return mat4x4<f32>(qkv[at.x + c], qkv[at.y + c], qkv[at.z + c], qkv[at.w + c]);
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let blocks = (params.tokens + WG - 1u) / WG;
    let linear = linear_group(group, groups);
    if linear >= params.batch * params.heads * blocks { return; }
    let head = linear / blocks % params.heads;
    let image = linear / blocks / params.heads;
    let d1 = params.heads * D4;
    let first = image * params.tokens;
    let wanted = linear % blocks * WG + lane;
    let row = min(wanted, params.tokens - 1u);
    let q_at = (first + row) * 3u * d1 + head * D4;
    let out_at = (first + row) * d1 + head * D4;
    let score_at = (image * params.heads + head) * params.tokens + row;
    let k_base = first * 3u * d1 + d1 + head * D4;
    let v_base = k_base + d1;

    var q: array<vec4<f32>, D4>;
    var dy_row: array<vec4<f32>, D4>;
    var dq: array<vec4<f32>, D4>;
    var row_delta = 0.0;
    for (var c = 0u; c < D4; c++) {
        q[c] = params.scale * qkv[q_at + c];
        dy_row[c] = dy[out_at + c];
        row_delta += dot(dy_row[c], out[out_at + c]);
        dq[c] = vec4<f32>(0.0);
    }
    let row_lse = lse[score_at];

    for (var key = 0u; key < params.tokens; key += 4u) {
        let keys = vec4<u32>(key, key + 1u, key + 2u, key + 3u);
        let at = min(keys, vec4<u32>(params.tokens - 1u)) * (3u * d1);
        var s = mat4x4<f32>();
        var dp = mat4x4<f32>();
        for (var c = 0u; c < D4; c++) {
            s = add_products(q[c], quads(k_base + at, c), s);
            dp = add_products(dy_row[c], quads(v_base + at, c), dp);
        }
        let p = select(vec4<f32>(0.0), exp(columns_sum(s) - row_lse), keys < vec4<u32>(params.tokens));
        let ds = p * (columns_sum(dp) - row_delta);
        for (var c = 0u; c < D4; c++) { dq[c] = multiply_add(ds, quads(k_base + at, c), dq[c]); }
    }

    if wanted >= params.tokens { return; }
    delta[score_at] = row_delta;
    for (var c = 0u; c < D4; c++) { dqkv[q_at + c] = params.scale * dq[c]; }
}
