// The same sums as gram.wgsl without workgroup memory, for software devices: lanes take rows of the tile, so that loads for
// its columns have one address for all lanes. A workgroup makes WG * ROWS rows and 4 * QUADS columns, a lane ROWS rows that
// lie WG apart.
// Needs features and the tile's first and last columns divisible by 4. Edges: rows and columns beyond the tile repeat its
// last ones and are not stored; a tile on the diagonal is treated as in gram.wgsl.
import package::lib::gram::{params, add_sums};
import package::lib::math::{linear_group, tile_place};
import package::plan::{CHUNK, ROWS, QUADS, WG};

@group(0) @binding(1) var<storage, read> p: array<vec4<f32>>; // [.., m]
@group(0) @binding(2) var<storage, read> units: array<vec4<f32>>; // [2, m]

// Columns and rows of a workgroup.
const PART: vec2<u32> = vec2<u32>(4u * QUADS, ROWS * WG);

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let parts = (vec2<u32>(params.cols, params.rows) + PART - 1u) / PART;
    let part = tile_place(linear_group(group, groups), parts.x, parts.y);
    let first_row = part.y * PART.y;
    let first_col = part.x * PART.x;
    if part.z > 0u || (params.diagonal != 0u && first_col > first_row + PART.y - 1u) { return; }
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

    for (var r = 0u; r < ROWS; r++) {
        let row_back = units[(params.m + feature[r]) / 4u][feature[r] % 4u];
        for (var q = 0u; q < QUADS; q++) {
            let col_back = units[params.m / 4u + quad[q]];
            for (var j = 0u; j < 4u; j++) {
                let back = vec2<f32>(row_back, col_back[j]);
                add_sums(first_row + lane + r * WG, first_col + 4u * q + j, exact_sum[r][q][j], rest_sum[r][q][j], back);
            }
        }
    }
}
