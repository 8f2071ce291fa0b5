// y[c][i] += sum_k x[c][k] a[k][i] for one tile a of a symmetric matrix A = D (G + gamma I) D, as pairs.
//   x [rows, m]: numbers of 18 bits, integers below 2^9 and 9 bits behind the point; columns k0 .. k0 + depth count.
//   a[k][i] = scale[k0 + k] scale[i0 + i] g[k][i] (g[i][k] if TRANSPOSED), below 2 in size; where k0 + k = i0 + i it is
//   diagonal[k0 + k] instead. g [2, ..]: hi, lo, scale [m], diagonal [2, m]. y [2, rows, m]: columns i0 .. i0 + cols.
// With x = x1 + 2^-9 x2 and 2^8 a = a1 + 2^-9 a2 + 2^-18 a3, integers below 2^9 but for a3,
//   2^8 x a = x1 a1 + 2^-9 (x1 a2 + x2 a1) + 2^-18 (x2 a2 + x a3):
// over CHUNK = 64 terms the first two sums are integers up to 2^24, exact in f32, and over all terms of a tile exact in
// i32; the last is 2^-18 smaller, and so are its rounding errors. After a chunk its whole multiples of 2^9 go to the second,
// so that it stays small.
// One workgroup makes 32 rows of 64 columns, one thread 4 x 4. Stages of DEPTH terms pass through workgroup memory.
// Edges: terms beyond the last are 0; rows and columns beyond the last repeat it and are not stored.
import package::lib::math::{linear_group, tile_place};
import package::lib::pair_product::{params, x, g, scale, diagonal, add_sums};
import package::plan::{CHUNK};

const DEPTH: u32 = 16u;
const ROWS: u32 = 32u;
const COLS: u32 = 64u;
const WG: u32 = 128u;
const NEXT: vec4<u32> = vec4<u32>(0u, 1u, 2u, 3u);

var<workgroup> x_first: array<vec4<f32>, DEPTH * ROWS / 4u>; // [DEPTH][ROWS]
var<workgroup> x_second: array<vec4<f32>, DEPTH * ROWS / 4u>; // [DEPTH][ROWS]
var<workgroup> a_first: array<vec4<f32>, DEPTH * COLS / 4u>; // [DEPTH][COLS]
var<workgroup> a_second: array<vec4<f32>, DEPTH * COLS / 4u>; // [DEPTH][COLS]
var<workgroup> a_third: array<vec4<f32>, DEPTH * COLS / 4u>; // [DEPTH][COLS]

fn put_x(k0: u32, row0: u32, lane: u32) {
    for (var i = lane; i < DEPTH * ROWS / 4u; i += WG) {
        let k = i % DEPTH;
        let row = min(vec4<u32>(row0 + i / DEPTH * 4u) + NEXT, vec4<u32>(params.rows - 1u));
        let at = row * params.m + params.k0 + min(k0 + k, params.depth - 1u);
        let value = select(vec4<f32>(0.0), vec4<f32>(x[at.x], x[at.y], x[at.z], x[at.w]), k0 + k < params.depth);
        let first = round(value);
        let to = k * (ROWS / 4u) + i / DEPTH;
        x_first[to] = first;
        x_second[to] = (value - first) * 512.0;
    }
}

fn put_a(k0: u32, col0: u32, lane: u32) {
    for (var n = lane; n < DEPTH * COLS / 4u; n += WG) {
        @if(TRANSPOSED) let k = n % DEPTH;
        @if(TRANSPOSED) let quad = n / DEPTH;
        @if(!TRANSPOSED) let k = n / (COLS / 4u);
        @if(!TRANSPOSED) let quad = n % (COLS / 4u);
        let term = min(k0 + k, params.depth - 1u);
        let col = min(vec4<u32>(col0 + quad * 4u) + NEXT, vec4<u32>(params.cols - 1u));
        @if(TRANSPOSED) let at = col * params.ld + term;
        @if(!TRANSPOSED) let at = term * params.ld + col;
        let low = params.low + at;
        let i = params.i0 + col;
        let factor = 256.0 * scale[params.k0 + term] * vec4<f32>(scale[i.x], scale[i.y], scale[i.z], scale[i.w]);
        let corner = 256.0 * vec2<f32>(diagonal[params.k0 + term], diagonal[params.m + params.k0 + term]);
        let on_diagonal = i == vec4<u32>(params.k0 + term);
        let high_part = select(vec4<f32>(g[at.x], g[at.y], g[at.z], g[at.w]) * factor, vec4<f32>(corner.x), on_diagonal);
        let low_part = select(vec4<f32>(g[low.x], g[low.y], g[low.z], g[low.w]) * factor, vec4<f32>(corner.y), on_diagonal);
        let first = round(high_part);
        let rest = (high_part - first) * 512.0;
        let second = round(rest);
        let to = k * (COLS / 4u) + quad;
        a_first[to] = first;
        a_second[to] = second;
        a_third[to] = (rest - second) * 512.0 + low_part * 262144.0;
    }
}

@compute @workgroup_size(16, 8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let part = tile_place(linear_group(group, groups), (params.cols + COLS - 1u) / COLS, (params.rows + ROWS - 1u) / ROWS);
    if part.z > 0u { return; }
    let row0 = part.y * ROWS;
    let col0 = part.x * COLS;
    var sum: array<array<vec4<f32>, 3>, 4>;
    var first: array<vec4<i32>, 4>;
    var second: array<vec4<i32>, 4>;
    for (var i = 0u; i < 4u; i++) {
        first[i] = vec4<i32>(0);
        second[i] = vec4<i32>(0);
        sum[i][2] = vec4<f32>(0.0);
    }
    for (var chunk = 0u; chunk < params.depth; chunk += CHUNK) {
        for (var i = 0u; i < 4u; i++) {
            sum[i][0] = vec4<f32>(0.0);
            sum[i][1] = vec4<f32>(0.0);
        }
        for (var stage = chunk; stage < min(chunk + CHUNK, params.depth); stage += DEPTH) {
            workgroupBarrier();
            put_x(stage, row0, lane);
            put_a(stage, col0, lane);
            workgroupBarrier();
            for (var d = 0u; d < DEPTH; d++) {
                let x1 = x_first[d * (ROWS / 4u) + local.y];
                let x2 = x_second[d * (ROWS / 4u) + local.y];
                let a1 = a_first[d * (COLS / 4u) + local.x];
                let a2 = a_second[d * (COLS / 4u) + local.x];
                let a3 = a_third[d * (COLS / 4u) + local.x];
                for (var i = 0u; i < 4u; i++) {
                    let x = fma(x2[i], 0.001953125, x1[i]);
                    sum[i][0] = fma(vec4<f32>(x1[i]), a1, sum[i][0]);
                    sum[i][1] = fma(vec4<f32>(x1[i]), a2, fma(vec4<f32>(x2[i]), a1, sum[i][1]));
                    sum[i][2] = fma(vec4<f32>(x2[i]), a2, fma(vec4<f32>(x), a3, sum[i][2]));
                }
            }
        }
        for (var i = 0u; i < 4u; i++) {
            first[i] += vec4<i32>(sum[i][0]);
            let carry = round(sum[i][2] * 0.001953125);
            second[i] += vec4<i32>(sum[i][1]) + vec4<i32>(carry);
            sum[i][2] = fma(carry, vec4<f32>(-512.0), sum[i][2]);
        }
    }

    for (var i = 0u; i < 4u; i++) {
        for (var j = 0u; j < 4u; j++) {
            add_sums(row0 + local.y * 4u + i, col0 + local.x * 4u + j, first[i][j], second[i][j], sum[i][2][j]);
        }
    }
}
