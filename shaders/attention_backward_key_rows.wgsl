// dv_j = sum_i p_ij dy_i; dk_j = scale sum_i ds_ij q_i, ds_ij = p_ij (dy_i . v_j - delta_i),
// p_ij = exp(scale q_i . k_j - lse_i), scale = 1 / sqrt(head dim), for every head of every image.
//   qkv, dqkv [batch * tokens, 3 * d1], columns q | k | v, heads one after the other inside each; dy
//   [batch * tokens, d1], d1 = heads * 4 * D4; lse, delta [batch * heads * tokens]. Only the k and v columns of dqkv
//   are written.
// The kernel of attention_backward_key.wgsl for software devices: one thread owns one key, a workgroup WG keys of one
// head; all lanes read the same query from workgroup memory, where TILE queries at a time are staged.
// Edges: threads beyond the last key repeat it and store nothing; queries beyond the last are not visited.
import package::lib::math::{linear_group};
import package::plan::{D4, TILE, WG};

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

var<workgroup> q_tile: array<vec4<f32>, TILE * D4>; // [TILE][D4]
var<workgroup> dy_tile: array<vec4<f32>, TILE * D4>; // [TILE][D4]
var<workgroup> lse_tile: array<f32, TILE>; // [TILE]
var<workgroup> delta_tile: array<f32, TILE>; // [TILE]

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

    for (var tile = 0u; tile < params.tokens; tile += TILE) {
        for (var i = lane; i < TILE * D4; i += WG) {
            let query = min(tile + i / D4, params.tokens - 1u);
            q_tile[i] = qkv[q_base + query * 3u * d1 + i % D4];
            dy_tile[i] = dy[dy_base + query * d1 + i % D4];
        }
        for (var i = lane; i < TILE; i += WG) {
            let query = min(tile + i, params.tokens - 1u);
            lse_tile[i] = lse[score_base + query];
            delta_tile[i] = delta[score_base + query];
        }
        workgroupBarrier();
        for (var query = tile; query < min(tile + TILE, params.tokens); query++) {
            let at = (query - tile) * D4;
            var s = vec4<f32>(0.0);
            var dp = vec4<f32>(0.0);
            for (var c = 0u; c < D4; c++) {
                s += k[c] * q_tile[at + c];
                dp += v[c] * dy_tile[at + c];
            }
            let row_lse = lse_tile[query - tile];
            let row_delta = delta_tile[query - tile];
            let p = exp((s.x + s.y) + (s.z + s.w) - row_lse);
            let ds = p * ((dp.x + dp.y) + (dp.z + dp.w) - row_delta);
            for (var c = 0u; c < D4; c++) {
                dv[c] += p * dy_tile[at + c];
                dk[c] += ds * q_tile[at + c];
            }
        }
        workgroupBarrier();
    }

    if wanted >= params.tokens { return; }
    for (var c = 0u; c < D4; c++) {
        dqkv[k_at + c] = params.scale * dk[c];
        dqkv[v_at + c] = dv[c];
    }
}
