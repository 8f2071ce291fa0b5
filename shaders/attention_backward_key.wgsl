// dv_j = sum_i p_ij dy_i; dk_j = scale sum_i ds_ij q_i, ds_ij = p_ij (dy_i . v_j - delta_i),
// p_ij = exp(scale q_i . k_j - lse_i), scale = 1 / sqrt(head dim), for every head of every image.
//   qkv, dqkv [batch * tokens, 3 * d1], columns q | k | v, heads one after the other inside each; dy
//   [batch * tokens, d1], d1 = heads * 4 * D4; lse, delta [batch * heads * tokens]. Only the k and v columns of dqkv
//   are written. With a PREFIX the keys are its rows alone: prefix, dprefix [batch, 2, prefix, d1].
// A workgroup makes dk or dv of HEIGHT keys of one head and meets 4 COLS queries at a time; a thread makes OWN x 4 of p
// and ds, and OWN x DN quads of the gradient. p or ds of COLS queries at a time passes through workgroup memory (see
// lib/score_tile.wgsl). Both gradients in one workgroup would spare it p once, a fifth of the work, for twice the sums
// in registers, which then spill.
// Edges: rows beyond the last repeat it, or are those of tokens behind a prefix; as keys they are not stored, as queries
// they have weight 0.
import package::lib::attention::{block_of, params, qkv_at, score_at};
@if(PREFIX) import package::lib::attention::{prefix_at};
import package::lib::attention_backward::{WG, combine, lse, multiply, owned};
import package::lib::math::{linear_group};
import package::lib::score_tile::{HEIGHT, OWN};
import package::plan::{COLS, D4, DN, ROWS};

@group(0) @binding(5) var<storage, read> delta: array<f32>; // [batch * heads * tokens]
@if(!PREFIX) @group(0) @binding(6) var<storage, read_write> dqkv: array<vec4<f32>>; // [batch * tokens, 3 * d1]
@if(PREFIX) @group(0) @binding(6) var<storage, read_write> dprefix: array<vec4<f32>>; // [batch, 2, prefix, d1]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let linear = linear_group(group, groups);
    let block = block_of(linear / 2u, HEIGHT, owned());
    if block.image >= params.batch { return; }
    // Products of rows that a gradient needs: dk those for p and ds, dv those for p.
    let parts = 2u - linear % 2u;
    let row = lane / COLS;
    let col = lane % COLS;

    var acc: array<vec4<f32>, OWN * DN>;
    for (var i = 0u; i < OWN * DN; i++) { acc[i] = vec4<f32>(0.0); }

    for (var tile = 0u; tile < params.tokens; tile += 4u * COLS) {
        let query = vec4<u32>(tile + col) + COLS * vec4<u32>(0u, 1u, 2u, 3u);
        let valid = query < vec4<u32>(params.tokens);
        let at = score_at(block, 0u) + min(query, vec4<u32>(params.tokens - 1u));
        var ds: array<vec4<f32>, OWN>;
        // First p from k and q, then ds from v and dy.
        for (var part = 0u; part < parts; part++) {
            var s: array<vec4<f32>, OWN>;
            multiply(&s, true, part, block, tile, lane);
            if part == 0u {
                let col_lse = vec4<f32>(lse[at.x], lse[at.y], lse[at.z], lse[at.w]);
                for (var i = 0u; i < OWN; i++) {
                    ds[i] = select(vec4<f32>(0.0), exp(params.scale * s[i] - col_lse), valid);
                }
            } else {
                let col_delta = vec4<f32>(delta[at.x], delta[at.y], delta[at.z], delta[at.w]);
                for (var i = 0u; i < OWN; i++) { ds[i] *= s[i] - col_delta; }
            }
        }

        combine(&acc, &ds, true, 2u - parts, block, tile, lane);
    }

    let scale = select(1.0, params.scale, parts == 2u);
    for (var i = 0u; i < OWN; i++) {
        let key = block.first + row + ROWS * i;
        if key >= owned() { return; }
        for (var n = 0u; n < DN; n++) {
            let c = col + COLS * n;
            @if(!PREFIX) if c < D4 { dqkv[qkv_at(block, key, 3u - parts) + c] = scale * acc[i * DN + n]; }
            @if(PREFIX) if c < D4 { dprefix[prefix_at(block, key, 2u - parts) + c] = scale * acc[i * DN + n]; }
        }
    }
}
