// out[b][c] = x[b][c] turned by turns[b] quarter turns counter-clockwise, of which the two low bits count:
//   1: out[i][j] = x[j][s - 1 - i];  2: out[i][j] = x[s - 1 - i][s - 1 - j];  3: out[i][j] = x[s - 1 - j][i]
// One thread makes one element; threads beyond the end do nothing.
import package::lib::math::{linear_group};
import package::plan::{WG};

struct Params {
    n: u32,
    channels: u32,
    side: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [b, channels, side, side]
@group(0) @binding(2) var<storage, read> turns: array<u32>; // [b]
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // [b, channels, side, side], n elements

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = linear_group(group, groups) * WG + lane;
    if i >= params.n { return; }
    let side = params.side;
    let plane = i / (side * side);
    let row = i / side % side;
    let col = i % side;
    let turn = turns[plane / params.channels] & 3u;
    var place = vec2<u32>(row, col);
    if turn == 1u { place = vec2<u32>(col, side - 1u - row); }
    if turn == 2u { place = vec2<u32>(side - 1u - row, side - 1u - col); }
    if turn == 3u { place = vec2<u32>(side - 1u - col, row); }
    out[i] = x[(plane * side + place.x) * side + place.y];
}
