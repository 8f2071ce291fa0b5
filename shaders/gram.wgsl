// g += x^T x for one tile of a Gram matrix, as pairs; x [samples, m] are rows start .. of p, at most SAMPLES of them.
//   p [.., m]; units [2, m]: powers of two by which columns become numbers up to 512 and back; g [2, rows, cols]: hi, lo.
// In units, x = h + l with an integer |h| <= 512 and |l| <= 1/2, and
//   x y = h h' + (h l' + l y):
// over CHUNK = 64 samples the first sum consists of integers up to 2^24, so it is exact in f32, and over all samples in
// i32. The rest is 2^-10 smaller, and so are its rounding errors.
// One workgroup makes a 64 x 64 part, one thread 4 x 4 of it. Stages of DEPTH samples pass through workgroup memory.
// Edges: samples beyond the last are 0, features beyond the tile repeat its last one and are not stored. In a tile on the
// diagonal, parts above it are skipped, and what is below is stored on both sides.
import package::lib::gram::{params, add_sums};
import package::lib::math::{linear_group, tile_place};
import package::plan::{CHUNK};

@group(0) @binding(1) var<storage, read> p: array<f32>; // [.., m]
@group(0) @binding(2) var<storage, read> units: array<f32>; // [2, m]

const DEPTH: u32 = 16u;
const SIDE: u32 = 64u;
const QUADS: u32 = SIDE / 4u;

var<workgroup> a_high: array<vec4<f32>, DEPTH * QUADS>; // [DEPTH][SIDE]
var<workgroup> a_low: array<vec4<f32>, DEPTH * QUADS>; // [DEPTH][SIDE]
var<workgroup> b_high: array<vec4<f32>, DEPTH * QUADS>; // [DEPTH][SIDE]
var<workgroup> b_low: array<vec4<f32>, DEPTH * QUADS>; // [DEPTH][SIDE]

fn load(sample: u32, feature: vec4<u32>, unit: vec4<f32>) -> vec4<f32> {
    let at = (params.start + min(sample, params.samples - 1u)) * params.m + feature;
    let x = vec4<f32>(p[at.x], p[at.y], p[at.z], p[at.w]);
    return select(vec4<f32>(0.0), x * unit, sample < params.samples);
}

fn unit(row: u32, feature: vec4<u32>) -> vec4<f32> {
    let at = row * params.m + feature;
    return vec4<f32>(units[at.x], units[at.y], units[at.z], units[at.w]);
}

@compute @workgroup_size(16, 16)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let parts = (vec2<u32>(params.cols, params.rows) + SIDE - 1u) / SIDE;
    let part = tile_place(linear_group(group, groups), parts.x, parts.y);
    if part.z > 0u || (params.diagonal != 0u && part.x > part.y) { return; }
    // What this thread loads, then what it makes.
    let load_row = params.row0 + min(part.y * SIDE + local.x * 4u + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.rows - 1u));
    let load_col = params.col0 + min(part.x * SIDE + local.x * 4u + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.cols - 1u));
    let row_unit = unit(0u, load_row);
    let col_unit = unit(0u, load_col);
    var exact: array<vec4<f32>, 4>;
    var rest: array<vec4<f32>, 4>;
    var exact_sum: array<vec4<i32>, 4>;
    var rest_sum: array<vec4<f32>, 4>;
    for (var i = 0u; i < 4u; i++) {
        exact[i] = vec4<f32>(0.0);
        rest[i] = vec4<f32>(0.0);
        exact_sum[i] = vec4<i32>(0);
        rest_sum[i] = vec4<f32>(0.0);
    }
    for (var chunk = 0u; chunk < params.samples; chunk += CHUNK) {
        for (var stage = chunk; stage < min(chunk + CHUNK, params.samples); stage += DEPTH) {
            let a = load(stage + local.y, load_row, row_unit);
            let b = load(stage + local.y, load_col, col_unit);
            workgroupBarrier();
            a_high[lane] = round(a);
            a_low[lane] = a - round(a);
            b_high[lane] = round(b);
            b_low[lane] = b - round(b);
            workgroupBarrier();
            for (var d = 0u; d < DEPTH; d++) {
                let ah = a_high[d * QUADS + local.y];
                let al = a_low[d * QUADS + local.y];
                let bh = b_high[d * QUADS + local.x];
                let bl = b_low[d * QUADS + local.x];
                let b = bh + bl;
                for (var i = 0u; i < 4u; i++) {
                    exact[i] = fma(vec4<f32>(ah[i]), bh, exact[i]);
                    rest[i] = fma(vec4<f32>(ah[i]), bl, fma(vec4<f32>(al[i]), b, rest[i]));
                }
            }
        }
        for (var i = 0u; i < 4u; i++) {
            exact_sum[i] += vec4<i32>(exact[i]);
            rest_sum[i] += rest[i];
            exact[i] = vec4<f32>(0.0);
            rest[i] = vec4<f32>(0.0);
        }
    }

    for (var i = 0u; i < 4u; i++) {
        let row = part.y * SIDE + local.y * 4u + i;
        for (var j = 0u; j < 4u; j++) {
            let col = part.x * SIDE + local.x * 4u + j;
            let row_back = units[params.m + params.row0 + min(row, params.rows - 1u)];
            let col_back = units[params.m + params.col0 + min(col, params.cols - 1u)];
            add_sums(row, col, exact_sum[i][j], rest_sum[i][j], vec2<f32>(row_back, col_back));
        }
    }
}
