// The layer of noise_mix.wgsl for software devices: lanes take rows, so that every load of a weight has one address for
// all lanes and costs a scalar load, and only activations are gathered. No lane needs another's values: no barrier.
// A workgroup makes WG * ROWS token rows, a lane ROWS of them, which lie WG apart, 4 * QUADS units at a time. h waits in
// the first e elements of the rows of y, with TWO the mixture in the next e (needs d1 >= 2e).
// Edges: rows and units beyond the last ones repeat them and are not stored.
import package::lib::math::{gelu4, linear_group, multiply_add};
import package::lib::noise_layer::{params, x, proj, phi, omega, KINDS, phi_rows, proj_rows};
import package::lib::noise_mean::{FIRST};
@if(!TWO) import package::lib::noise_mean::{mean, mean_rows};
@if(SAMPLE) import package::lib::noise_layer::noise;
import package::plan::{ROWS, QUADS, WG, UNITS};

@group(0) @binding(5) var<storage, read> residual: array<vec4<f32>>; // [rows, d1]
@group(0) @binding(7) var<storage, read_write> y: array<vec4<f32>>; // [rows, d1]

var<workgroup> g_tile: array<vec4<f32>, WG * ROWS * UNITS>; // [row][e], g with TWO; in the end the mixture

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile0 = linear_group(group, groups) * WG * ROWS;
    if tile0 >= params.rows { return; }
    let row0 = tile0 + lane;
    let inner = params.d1 / 4u;
    var row: array<u32, ROWS>;
    for (var r = 0u; r < ROWS; r++) { row[r] = min(row0 + r * WG, params.rows - 1u); }
    var acc: array<array<vec4<f32>, QUADS>, ROWS>;
    var col: array<u32, QUADS>;

    for (var c = 0u; c < UNITS; c += QUADS) {
        for (var q = 0u; q < QUADS; q++) {
            col[q] = min(c + q, UNITS - 1u);
            for (var r = 0u; r < ROWS; r++) { acc[r][q] = vec4<f32>(0.0); }
        }
        for (var k = 0u; k < inner; k++) {
            var a: array<vec4<f32>, ROWS>;
            for (var r = 0u; r < ROWS; r++) { a[r] = x[row[r] * inner + k]; }
            for (var q = 0u; q < QUADS; q++) {
                let w = proj_rows(4u * k * UNITS + col[q], UNITS);
                for (var r = 0u; r < ROWS; r++) { acc[r][q] = multiply_add(a[r], w, acc[r][q]); }
            }
        }
        for (var q = 0u; q < QUADS; q++) {
            for (var r = 0u; r < ROWS; r++) {
                if c + q < UNITS && row0 + r * WG < params.rows {
                    y[row[r] * inner + c + q] = acc[r][q];
                    @if(TWO) { y[row[r] * inner + UNITS + c + q] = vec4<f32>(0.0); }
                }
            }
        }
    }
    @if(!TWO) for (var c = 0u; c < UNITS; c += QUADS) {
        for (var q = 0u; q < QUADS; q++) {
            col[q] = min(c + q, UNITS - 1u);
            for (var r = 0u; r < ROWS; r++) { acc[r][q] = mean[params.e * UNITS + col[q]]; }
        }
        for (var k = 0u; k < UNITS; k++) {
            var a: array<vec4<f32>, ROWS>;
            for (var r = 0u; r < ROWS; r++) { a[r] = y[row[r] * inner + k]; }
            for (var q = 0u; q < QUADS; q++) {
                let w = mean_rows(4u * k * UNITS + col[q], UNITS);
                for (var r = 0u; r < ROWS; r++) { acc[r][q] = multiply_add(a[r], w, acc[r][q]); }
            }
        }
        for (var q = 0u; q < QUADS; q++) {
            for (var r = 0u; r < ROWS; r++) { g_tile[(lane + r * WG) * UNITS + col[q]] = acc[r][q]; }
        }
    }

    @if(TWO || SAMPLE) for (var i = 0u; i < params.modules; i++) {
        let base = i * params.phi_row / 4u;
        let weight = omega[i];
        @if(TWO) let w2 = base + 8u * UNITS * UNITS + 2u * UNITS;
        @if(!TWO) let w2 = base;
        for (var kind = FIRST; kind < KINDS; kind++) {
            @if(TWO) for (var c = 0u; c < UNITS; c += QUADS) {
                for (var q = 0u; q < QUADS; q++) {
                    col[q] = min(c + q, UNITS - 1u);
                    let b1 = phi[base + (8u * UNITS + kind) * UNITS + col[q]];
                    for (var r = 0u; r < ROWS; r++) { acc[r][q] = b1; }
                }
                for (var k = 0u; k < UNITS; k++) {
                    var a: array<vec4<f32>, ROWS>;
                    for (var r = 0u; r < ROWS; r++) { a[r] = y[row[r] * inner + k]; }
                    for (var q = 0u; q < QUADS; q++) {
                        let w = phi_rows(base + (8u * k + kind) * UNITS + col[q], 2u * UNITS);
                        for (var r = 0u; r < ROWS; r++) { acc[r][q] = multiply_add(a[r], w, acc[r][q]); }
                    }
                }
                for (var q = 0u; q < QUADS; q++) {
                    for (var r = 0u; r < ROWS; r++) { g_tile[(lane + r * WG) * UNITS + col[q]] = acc[r][q]; }
                }
            }
            // In loops of their own, since compilers would unroll them above, at the cost of seconds.
            @if(TWO) for (var j = 0u; j < ROWS * UNITS; j++) {
                let at = (lane + j / UNITS * WG) * UNITS + j % UNITS;
                g_tile[at] = gelu4(g_tile[at]);
            }
            for (var c = 0u; c < UNITS; c += QUADS) {
                for (var q = 0u; q < QUADS; q++) {
                    col[q] = min(c + q, UNITS - 1u);
                    let b2 = phi[w2 + (8u * UNITS + kind) * UNITS + col[q]];
                    for (var r = 0u; r < ROWS; r++) { acc[r][q] = b2; }
                }
                for (var k = 0u; k < UNITS; k++) {
                    var a: array<vec4<f32>, ROWS>;
                    for (var r = 0u; r < ROWS; r++) {
                        @if(TWO) { a[r] = g_tile[(lane + r * WG) * UNITS + k]; }
                        @if(!TWO) { a[r] = y[row[r] * inner + k]; }
                    }
                    for (var q = 0u; q < QUADS; q++) {
                        let w = phi_rows(w2 + 4u * (kind * UNITS + k) * UNITS + col[q], UNITS);
                        for (var r = 0u; r < ROWS; r++) { acc[r][q] = multiply_add(a[r], w, acc[r][q]); }
                    }
                }
                @if(SAMPLE) var eps: array<vec4<f32>, ROWS * QUADS>;
                @if(SAMPLE) if kind == 1u {
                    for (var j = 0u; j < ROWS * QUADS; j++) { eps[j] = noise(row0 + j / QUADS * WG, c + j % QUADS, i); }
                }
                for (var q = 0u; q < QUADS; q++) {
                    for (var r = 0u; r < ROWS; r++) {
                        if c + q < UNITS && row0 + r * WG < params.rows {
                            var scale = vec4<f32>(weight);
                            @if(SAMPLE) if kind == 1u { scale *= eps[r * QUADS + q]; }
                            @if(TWO) {
                                let at = row[r] * inner + UNITS + c + q;
                                y[at] = fma(scale, acc[r][q], y[at]);
                            }
                            @if(!TWO) {
                                let at = (lane + r * WG) * UNITS + c + q;
                                g_tile[at] = fma(scale, acc[r][q], g_tile[at]);
                            }
                        }
                    }
                }
            }
        }
    }

    @if(TWO) for (var r = 0u; r < ROWS; r++) {
        for (var k = 0u; k < UNITS; k++) { g_tile[(lane + r * WG) * UNITS + k] = y[row[r] * inner + UNITS + k]; }
    }
    for (var c = 0u; c < inner; c += QUADS) {
        for (var q = 0u; q < QUADS; q++) {
            col[q] = min(c + q, inner - 1u);
            for (var r = 0u; r < ROWS; r++) { acc[r][q] = residual[row[r] * inner + col[q]]; }
        }
        for (var k = 0u; k < UNITS; k++) {
            var a: array<vec4<f32>, ROWS>;
            for (var r = 0u; r < ROWS; r++) { a[r] = g_tile[(lane + r * WG) * UNITS + k]; }
            for (var q = 0u; q < QUADS; q++) {
                let w = proj_rows((4u * UNITS + 4u * k) * inner + col[q], inner);
                for (var r = 0u; r < ROWS; r++) { acc[r][q] = multiply_add(a[r], w, acc[r][q]); }
            }
        }
        for (var q = 0u; q < QUADS; q++) {
            for (var r = 0u; r < ROWS; r++) {
                if c + q < inner && row0 + r * WG < params.rows { y[row[r] * inner + c + q] = acc[r][q]; }
            }
        }
    }
}
