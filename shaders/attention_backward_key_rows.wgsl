// dv_j = sum_i p_ij dy_i; dk_j = scale sum_i ds_ij q_i, ds_ij = p_ij (dy_i . v_j - delta_i),
// p_ij = exp(scale q_i . k_j - lse_i), scale = 1 / sqrt(head dim), for every head of every image.
//   qkv, dqkv [batch * tokens, 3 * d1], columns q | k | v, heads one after the other inside each; dy
//   [batch * tokens, d1], d1 = heads * 4 * D4; lse, delta [batch * heads * tokens]. Only the k and v columns of dqkv
//   are written.
// The kernel of attention_backward_key.wgsl for software devices: one thread owns one key, a workgroup WG keys of one head;
// all lanes read the same query, so that its numbers are scalar loads.
// Edges: threads beyond the last key repeat it and store nothing; queries beyond the last repeat it with weight 0.
import package::lib::math::{add_products, columns_sum, linear_group, multiply_add};
import package::plan::{D4, WG};

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

// Quad `c` of four rows, of which all lanes read the same.
fn q_quads(at: vec4<u32>, c: u32) -> mat4x4<f32> {
    return mat4x4<f32>(qkv[at.x + c], qkv[at.y + c], qkv[at.z + c], qkv[at.w + c]);
}

fn dy_quads(at: vec4<u32>, c: u32) -> mat4x4<f32> {
    return mat4x4<f32>(dy[at.x + c], dy[at.y + c], dy[at.z + c], dy[at.w + c]);
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
    let q_base = first * 3u * d1 + head * D4;
    let dy_base = first * d1 + head * D4;
    let score_base = (image * params.heads + head) * params.tokens;
    let k_at = q_base + row * 3u * d1 + d1;
    let v_at = k_at + d1;

    var k: array<vec4<f32>, D4>;
    var v: array<vec4<f32>, D4>;
    var dk: array<vec4<f32>, D4>;
    var dv: array<vec4<f32>, D4>;
    for (var c = 0u; c < D4; c++) {
        k[c] = params.scale * qkv[k_at + c];
        v[c] = qkv[v_at + c];
        dk[c] = vec4<f32>(0.0);
        dv[c] = vec4<f32>(0.0);
    }

    for (var query = 0u; query < params.tokens; query += 4u) {
        let queries = vec4<u32>(query, query + 1u, query + 2u, query + 3u);
        let at = min(queries, vec4<u32>(params.tokens - 1u));
        let q_at = q_base + at * (3u * d1);
        let dy_at = dy_base + at * d1;
        var s = mat4x4<f32>();
        var dp = mat4x4<f32>();
        for (var c = 0u; c < D4; c++) {
            s = add_products(k[c], q_quads(q_at, c), s);
            dp = add_products(v[c], dy_quads(dy_at, c), dp);
        }
        let scores = score_base + at;
        let row_lse = vec4<f32>(lse[scores.x], lse[scores.y], lse[scores.z], lse[scores.w]);
        let row_delta = vec4<f32>(delta[scores.x], delta[scores.y], delta[scores.z], delta[scores.w]);
        let p = select(vec4<f32>(0.0), exp(columns_sum(s) - row_lse), queries < vec4<u32>(params.tokens));
        let ds = p * (columns_sum(dp) - row_delta);
        for (var c = 0u; c < D4; c++) {
            dv[c] = multiply_add(p, dy_quads(dy_at, c), dv[c]);
            dk[c] = multiply_add(ds, q_quads(q_at, c), dk[c]);
        }
    }

    if wanted >= params.tokens { return; }
    for (var c = 0u; c < D4; c++) {
        dqkv[k_at + c] = params.scale * dk[c];
        dqkv[v_at + c] = dv[c];
    }
}
