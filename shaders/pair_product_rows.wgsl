// The same sums as pair_product.wgsl without workgroup memory, for software devices: lanes take columns of the result, so
// that loads of x have one address for all lanes. A workgroup makes ROWS rows and WG * COLS columns, a lane COLS columns
// that lie WG apart.
// Edges: rows and columns beyond the last repeat it and are not stored.
import package::lib::pair::{two_sum, pair_add};
import package::plan::{CHUNK, ROWS, COLS, WG};

struct Params {
    m: u32, rows: u32, cols: u32, depth: u32,
    i0: u32, k0: u32, ld: u32, low: u32,
    zero: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, m]
@group(0) @binding(2) var<storage, read> g: array<f32>; // [2, depth, cols] or [2, cols, depth]
@group(0) @binding(3) var<storage, read> scale: array<f32>; // [m]
@group(0) @binding(4) var<storage, read> diagonal: array<f32>; // [2, m]
@group(0) @binding(5) var<storage, read_write> y: array<f32>; // [2, rows, m]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var source: array<u32, ROWS>;
    for (var r = 0u; r < ROWS; r++) {
        source[r] = min(group.y * ROWS + r, params.rows - 1u) * params.m + params.k0;
    }
    var to: array<u32, COLS>;
    var factor: array<f32, COLS>;
    for (var c = 0u; c < COLS; c++) {
        to[c] = min(group.x * WG * COLS + c * WG + lane, params.cols - 1u);
        factor[c] = 256.0 * scale[params.i0 + to[c]];
    }
    var first: array<array<i32, COLS>, ROWS>;
    var second: array<array<i32, COLS>, ROWS>;
    var third: array<array<f32, COLS>, ROWS>;
    for (var r = 0u; r < ROWS; r++) {
        for (var c = 0u; c < COLS; c++) {
            first[r][c] = 0;
            second[r][c] = 0;
            third[r][c] = 0.0;
        }
    }
    for (var chunk = 0u; chunk < params.depth; chunk += CHUNK) {
        var sum: array<array<vec3<f32>, COLS>, ROWS>;
        for (var r = 0u; r < ROWS; r++) {
            for (var c = 0u; c < COLS; c++) { sum[r][c] = vec3<f32>(0.0); }
        }
        for (var k = chunk; k < min(chunk + CHUNK, params.depth); k++) {
            let term = params.k0 + k;
            let row_scale = scale[term];
            let corner = 256.0 * vec2<f32>(diagonal[term], diagonal[params.m + term]);
            var a1: array<f32, COLS>;
            var a2: array<f32, COLS>;
            var a3: array<f32, COLS>;
            for (var c = 0u; c < COLS; c++) {
                @if(TRANSPOSED) let at = to[c] * params.ld + k;
                @if(!TRANSPOSED) let at = k * params.ld + to[c];
                let entry = vec2<f32>(g[at], g[params.low + at]) * (row_scale * factor[c]);
                let value = select(entry, corner, term == params.i0 + to[c]);
                a1[c] = round(value.x);
                let rest = (value.x - a1[c]) * 512.0;
                a2[c] = round(rest);
                a3[c] = fma(rest - a2[c], 512.0, value.y * 262144.0);
            }
            for (var r = 0u; r < ROWS; r++) {
                let value = x[source[r] + k];
                let x1 = round(value);
                let x2 = (value - x1) * 512.0;
                for (var c = 0u; c < COLS; c++) {
                    sum[r][c] = vec3<f32>(
                        fma(x1, a1[c], sum[r][c].x),
                        fma(x1, a2[c], fma(x2, a1[c], sum[r][c].y)),
                        fma(x2, a2[c], fma(value, a3[c], sum[r][c].z)));
                }
            }
        }
        for (var r = 0u; r < ROWS; r++) {
            for (var c = 0u; c < COLS; c++) {
                first[r][c] += i32(sum[r][c].x);
                second[r][c] += i32(sum[r][c].y);
                third[r][c] += sum[r][c].z;
            }
        }
    }

    let y_low = params.rows * params.m;
    for (var r = 0u; r < ROWS; r++) {
        let row = group.y * ROWS + r;
        for (var c = 0u; c < COLS; c++) {
            let col = group.x * WG * COLS + c * WG + lane;
            if row < params.rows && col < params.cols {
                let at = row * params.m + params.i0 + col;
                let high = vec2<f32>(f32(first[r][c]), f32(second[r][c]));
                let left = vec2<f32>(f32(first[r][c] - i32(high.x)), f32(second[r][c] - i32(high.y)));
                var add = two_sum(high.x, high.y * 0.001953125, params.zero);
                add.y += left.x + 0.001953125 * (left.y + 0.001953125 * third[r][c]);
                let total = pair_add(vec2<f32>(y[at], y[y_low + at]), add * 0.00390625, params.zero);
                y[at] = total.x;
                y[y_low + at] = total.y;
            }
        }
    }
}
