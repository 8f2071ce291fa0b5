// out[row][col] = normal number of element (first_row + row) * d2 + col of one module's stream, 0 in the padding d2 <= col < e.
//   With RAW the random words themselves instead (for tests; needs d2 = e).
// One thread makes four neighbouring columns of a row.
import package::lib::math::{linear_group};
import package::lib::philox::{philox, box_muller, normals_at};
import package::plan::{WG};

struct Params {
    rows: u32, d2: u32, quads: u32,
    seed_low: u32, seed_high: u32,
    upper: u32, step: u32,
    first_row: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@if(RAW) @group(0) @binding(1) var<storage, read_write> out: array<vec4<u32>>; // [rows, e]
@if(!RAW) @group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>; // [rows, e]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WG + lane;
    if i >= params.rows * params.quads { return; }
    let seed = vec2<u32>(params.seed_low, params.seed_high);
    let upper = vec2<u32>(params.upper, params.step);
    let before = params.first_row * params.quads;
    @if(RAW) { out[i] = philox(before + i, seed, upper); }
    @if(!RAW && ALIGNED) { out[i] = box_muller(philox(before + i, seed, upper)); }
    @if(!RAW && !ALIGNED) {
        let col = 4u * (i % params.quads);
        let x = normals_at((params.first_row + i / params.quads) * params.d2 + col, seed, upper);
        let inside = vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.d2);
        out[i] = select(vec4<f32>(0.0), x, inside);
    }
}
