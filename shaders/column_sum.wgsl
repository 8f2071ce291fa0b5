// out[out_offset + j] (+)= scale sum_r x[x_offset + r x_ld + j] (xhat[r][j] if NORMALISED), xhat = (z - mean_r) rstd_r
// One workgroup makes COLS neighbouring sums; lanes of one column take every (WG / COLS)-th row and are added in a
// tree. Columns beyond the last sum nothing and are not stored.
import package::lib::math::{linear_group};
import package::plan::{COLS, WG};

struct Params {
    rows: u32, cols: u32,
    x_offset: u32, x_ld: u32,
    out_offset: u32,
    accumulate: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, cols] with stride x_ld
@if(NORMALISED) @group(0) @binding(2) var<storage, read> z: array<f32>; // [rows, cols]
@if(NORMALISED) @group(0) @binding(3) var<storage, read> stats: array<f32>; // [rows, 2]
@group(0) @binding(4) var<storage, read_write> out: array<f32>; // [out_offset + cols ..]

const LANES: u32 = WG / COLS;

var<workgroup> partial: array<f32, WG>; // [LANES][COLS]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let col = linear_group(group, groups) * COLS + lane % COLS;
    var sum = 0.0;
    if col < params.cols {
        for (var row = lane / COLS; row < params.rows; row += LANES) {
            @if(NORMALISED) {
                let xhat = (z[row * params.cols + col] - stats[2u * row]) * stats[2u * row + 1u];
                sum += x[params.x_offset + row * params.x_ld + col] * xhat;
            }
            @else { sum += x[params.x_offset + row * params.x_ld + col]; }
        }
    }
    partial[lane] = sum;
    for (var step = LANES / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if lane < step * COLS { partial[lane] += partial[lane + step * COLS]; }
    }
    if lane < COLS && col < params.cols {
        var total = params.scale * partial[lane];
        if params.accumulate != 0u { total += out[params.out_offset + col]; }
        out[params.out_offset + col] = total;
    }
}
