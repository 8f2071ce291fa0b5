// out[i] = sum_j softmax_j(scale q_i . k_j) v_j, scale = 1 / sqrt(head dim), for every head of every image;
// lse[i] = log sum_j exp(scale q_i . k_j). The softmax is online: a running maximum and sum, 4 keys at a time.
//   qkv [batch * tokens, 3 * d1], columns q | k | v, heads one after the other inside each; out [batch * tokens, d1],
//   d1 = heads * 4 * D4; lse [batch * heads * tokens].
// The kernel of attention.wgsl for software devices: one thread owns one query, a workgroup WG queries of one head; all
// lanes read the same key, so that its numbers are scalar loads.
// Edges: threads beyond the last query repeat it and store nothing; keys beyond the last repeat it with weight 0.
import package::lib::math::{add_products, columns_sum, linear_group, multiply_add};
import package::plan::{D4, WG};

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
    let k_base = first * 3u * d1 + d1 + head * D4;
    let v_base = k_base + d1;

    var q: array<vec4<f32>, D4>;
    var acc: array<vec4<f32>, D4>;
    for (var c = 0u; c < D4; c++) {
        q[c] = params.scale * qkv[(first + row) * 3u * d1 + head * D4 + c];
        acc[c] = vec4<f32>(0.0);
    }
    var highest = LOWEST;
    var sum = 0.0;

    for (var key = 0u; key < params.tokens; key += 4u) {
        let keys = vec4<u32>(key, key + 1u, key + 2u, key + 3u);
        let at = min(keys, vec4<u32>(params.tokens - 1u)) * (3u * d1);
        var products = mat4x4<f32>();
        for (var c = 0u; c < D4; c++) { products = add_products(q[c], quads(k_base + at, c), products); }
        let valid = keys < vec4<u32>(params.tokens);
        let s = select(vec4<f32>(LOWEST), columns_sum(products), valid);
        let above = max(max(s.x, s.y), max(s.z, s.w));
        if above > highest {
            let shrink = exp(highest - above);
            sum *= shrink;
            for (var c = 0u; c < D4; c++) { acc[c] *= shrink; }
            highest = above;
        }
        let p = select(vec4<f32>(0.0), exp(s - highest), valid);
        sum += (p.x + p.y) + (p.z + p.w);
        for (var c = 0u; c < D4; c++) { acc[c] = multiply_add(p, quads(v_base + at, c), acc[c]); }
    }

    if wanted >= params.tokens { return; }
    for (var c = 0u; c < D4; c++) { out[(first + row) * d1 + head * D4 + c] = acc[c] / sum; }
    @if(LSE) lse[(image * params.heads + head) * params.tokens + row] = highest + log(sum);
}
