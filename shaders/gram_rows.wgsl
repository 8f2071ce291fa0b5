// The same sums as gram.wgsl without workgroup memory, for software devices: lanes take rows of the tile, so that loads for
// its columns have one address for all lanes. A workgroup makes WG * ROWS rows and 4 * QUADS columns, a lane ROWS rows that
// lie WG apart.
// Needs features and the tile's first and last columns divisible by 4. Edges: rows and columns beyond the tile repeat its
// last ones and are not stored; a tile on the diagonal is treated as in gram.wgsl.
import package::lib::pair::{pair_add};
import package::plan::{CHUNK, ROWS, QUADS, WG};

struct Params {
    m: u32, start: u32, samples: u32,
    row0: u32, col0: u32, rows: u32, cols: u32,
    diagonal: u32,
    zero: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> p: array<vec4<f32>>; // [.., m]
@group(0) @binding(2) var<storage, read> units: array<vec4<f32>>; // [2, m]
@group(0) @binding(3) var<storage, read_write> g: array<f32>; // [2, rows, cols]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first_row = group.y * ROWS * WG;
    let first_col = group.x * 4u * QUADS;
    if params.diagonal != 0u && first_col > first_row + ROWS * WG - 1u { return; }
    var feature: array<u32, ROWS>;
    var row_unit: array<f32, ROWS>;
    for (var r = 0u; r < ROWS; r++) {
        feature[r] = params.row0 + min(first_row + lane + r * WG, params.rows - 1u);
        row_unit[r] = units[feature[r] / 4u][feature[r] % 4u];
    }
    var quad: array<u32, QUADS>;
    var col_unit: array<vec4<f32>, QUADS>;
    for (var q = 0u; q < QUADS; q++) {
        quad[q] = (params.col0 + min(first_col + 4u * q, params.cols - 4u)) / 4u;
        col_unit[q] = units[quad[q]];
    }
    var exact_sum: array<array<vec4<i32>, QUADS>, ROWS>;
    var rest_sum: array<array<vec4<f32>, QUADS>, ROWS>;
    for (var r = 0u; r < ROWS; r++) {
        for (var q = 0u; q < QUADS; q++) {
            exact_sum[r][q] = vec4<i32>(0);
            rest_sum[r][q] = vec4<f32>(0.0);
        }
    }
    for (var chunk = 0u; chunk < params.samples; chunk += CHUNK) {
        var exact: array<array<vec4<f32>, QUADS>, ROWS>;
        var rest: array<array<vec4<f32>, QUADS>, ROWS>;
        for (var r = 0u; r < ROWS; r++) {
            for (var q = 0u; q < QUADS; q++) {
                exact[r][q] = vec4<f32>(0.0);
                rest[r][q] = vec4<f32>(0.0);
            }
        }
        for (var sample = chunk; sample < min(chunk + CHUNK, params.samples); sample++) {
            let base = (params.start + sample) * params.m;
            var high: array<f32, ROWS>;
            var low: array<f32, ROWS>;
            for (var r = 0u; r < ROWS; r++) {
                let x = p[(base + feature[r]) / 4u][feature[r] % 4u] * row_unit[r];
                high[r] = round(x);
                low[r] = x - high[r];
            }
            for (var q = 0u; q < QUADS; q++) {
                let y = p[base / 4u + quad[q]] * col_unit[q];
                let y_high = round(y);
                let y_low = y - y_high;
                for (var r = 0u; r < ROWS; r++) {
                    exact[r][q] = fma(vec4<f32>(high[r]), y_high, exact[r][q]);
                    rest[r][q] = fma(vec4<f32>(high[r]), y_low, fma(vec4<f32>(low[r]), y, rest[r][q]));
                }
            }
        }
        for (var r = 0u; r < ROWS; r++) {
            for (var q = 0u; q < QUADS; q++) {
                exact_sum[r][q] += vec4<i32>(exact[r][q]);
                rest_sum[r][q] += rest[r][q];
            }
        }
    }

    let low = params.rows * params.cols;
    for (var r = 0u; r < ROWS; r++) {
        let row = first_row + lane + r * WG;
        let row_back = units[(params.m + feature[r]) / 4u][feature[r] % 4u];
        for (var q = 0u; q < QUADS; q++) {
            let col_back = units[params.m / 4u + quad[q]];
            for (var j = 0u; j < 4u; j++) {
                let col = first_col + 4u * q + j;
                if row < params.rows && col < params.cols && (params.diagonal == 0u || col <= row) {
                    let high = f32(exact_sum[r][q][j]);
                    let rest = f32(exact_sum[r][q][j] - i32(high)) + rest_sum[r][q][j];
                    let at = row * params.cols + col;
                    let add = vec2<f32>(high, rest) * row_back * col_back[j];
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
}
