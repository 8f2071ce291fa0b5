// g += x^T x for one tile of a Gram matrix, as pairs; x [samples, m] are rows start .. of p, at most SAMPLES of them.
//   p [.., m]; units [2, m]: powers of two by which columns become numbers up to 512 and back; g [2, rows, cols]: hi, lo.
// In units, x = h + l with an integer |h| <= 512 and |l| <= 1/2, and
//   x y = h h' + (h l' + l y):
// over CHUNK = 64 samples the first sum consists of integers up to 2^24, so it is exact in f32, and over all samples in
// i32. The rest is 2^-10 smaller, and so are its rounding errors.
// One workgroup makes a 64 x 64 part, one thread 4 x 4 of it. Stages of DEPTH samples pass through workgroup memory.
// Edges: samples beyond the last are 0, features beyond the tile repeat its last one and are not stored. In a tile on the
// diagonal, parts above it are skipped, and what is below is stored on both sides.
import package::lib::pair::{pair_add};
import package::plan::{CHUNK};

struct Params {
    m: u32, start: u32, samples: u32,
    row0: u32, col0: u32, rows: u32, cols: u32,
    diagonal: u32,
    zero: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> p: array<f32>; // [.., m]
@group(0) @binding(2) var<storage, read> units: array<f32>; // [2, m]
@group(0) @binding(3) var<storage, read_write> g: array<f32>; // [2, rows, cols]

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
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    if params.diagonal != 0u && group.x > group.y { return; }
    // What this thread loads, then what it makes.
    let load_row = params.row0 + min(group.y * SIDE + local.x * 4u + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.rows - 1u));
    let load_col = params.col0 + min(group.x * SIDE + local.x * 4u + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.cols - 1u));
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

    let low = params.rows * params.cols;
    for (var i = 0u; i < 4u; i++) {
        let row = group.y * SIDE + local.y * 4u + i;
        for (var j = 0u; j < 4u; j++) {
            let col = group.x * SIDE + local.x * 4u + j;
            if row < params.rows && col < params.cols && (params.diagonal == 0u || col <= row) {
                let row_back = units[params.m + params.row0 + row];
                let col_back = units[params.m + params.col0 + col];
                let high = f32(exact_sum[i][j]);
                let rest = f32(exact_sum[i][j] - i32(high)) + rest_sum[i][j];
                let at = row * params.cols + col;
                let add = vec2<f32>(high, rest) * row_back * col_back;
                let sum = pair_add(vec2<f32>(g[at], g[low + at]), add, params.zero);
                g[at] = sum.x;
                g[low + at] = sum.y;
                if params.diagonal != 0u {
                    let mirrored = col * params.cols + row;
                    g[mirrored] = sum.x;
                    g[low + mirrored] = sum.y;
                }
            }
        }
    }
}
