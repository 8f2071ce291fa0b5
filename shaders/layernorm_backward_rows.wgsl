// dx[r] (+)= rstd (g - mean(g) - xhat mean(g xhat)),  g = dy[r] gamma,  xhat = (x[r] - mean_r) rstd_r
// The kernel of layernorm_backward.wgsl for software devices: a lane makes one row; see layernorm_rows.wgsl.
import package::lib::math::{linear_group};
import package::plan::{QUADS, WG};

struct Params {
    rows: u32,
    cols: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [rows, cols]
@group(0) @binding(2) var<storage, read> gamma: array<vec4<f32>>; // [cols]
@group(0) @binding(3) var<storage, read> stats: array<vec2<f32>>; // [rows, 2]
@group(0) @binding(4) var<storage, read> dy: array<vec4<f32>>; // [rows, cols]
@group(0) @binding(5) var<storage, read_write> dx: array<vec4<f32>>; // [rows, cols]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let row = linear_group(group, groups) * WG + lane;
    if row >= params.rows { return; }
    let quads = params.cols / 4u;
    let base = row * quads;
    let mean = stats[row].x;
    let rstd = stats[row].y;
    var g_sums = vec4<f32>(0.0);
    var product_sums = vec4<f32>(0.0);
    for (var c = 0u; c < quads; c += QUADS) {
        for (var q = 0u; q < QUADS; q++) {
            let g = dy[base + c + q] * gamma[c + q];
            g_sums += g;
            product_sums += g * ((x[base + c + q] - mean) * rstd);
        }
    }
    let g_mean = dot(g_sums, vec4<f32>(1.0)) / f32(params.cols);
    let product_mean = dot(product_sums, vec4<f32>(1.0)) / f32(params.cols);
    for (var c = 0u; c < quads; c += QUADS) {
        for (var q = 0u; q < QUADS; q++) {
            let at = base + c + q;
            let xhat = (x[at] - mean) * rstd;
            var d = rstd * (dy[at] * gamma[c + q] - g_mean - xhat * product_mean);
            if params.accumulate != 0u { d += dx[at]; }
            dx[at] = d;
        }
    }
}
