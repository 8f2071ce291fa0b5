// The same sums as pair_product.wgsl without workgroup memory, for software devices: lanes take columns of the result, so
// that loads of x have one address for all lanes. A workgroup makes ROWS rows and WG * COLS columns, a lane COLS columns
// that lie WG apart.
// Edges: rows and columns beyond the last repeat it and are not stored.
import package::lib::math::{linear_group, tile_place};
import package::lib::pair_product::{params, x, g, scale, diagonal, add_sums};
import package::plan::{CHUNK, ROWS, COLS, WG};

// Columns and rows of a workgroup.
const PART: vec2<u32> = vec2<u32>(WG * COLS, ROWS);

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let parts = (vec2<u32>(params.cols, params.rows) + PART - 1u) / PART;
    let part = tile_place(linear_group(group, groups), parts.x, parts.y);
    if part.z > 0u { return; }
    var source: array<u32, ROWS>;
    for (var r = 0u; r < ROWS; r++) {
        source[r] = min(part.y * ROWS + r, params.rows - 1u) * params.m + params.k0;
    }
    var to: array<u32, COLS>;
    var factor: array<f32, COLS>;
    for (var c = 0u; c < COLS; c++) {
        to[c] = min(part.x * PART.x + c * WG + lane, params.cols - 1u);
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

    for (var r = 0u; r < ROWS; r++) {
        for (var c = 0u; c < COLS; c++) {
            add_sums(part.y * ROWS + r, part.x * PART.x + c * WG + lane, first[r][c], second[r][c], third[r][c]);
        }
    }
}
