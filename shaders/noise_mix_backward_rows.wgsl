// The gradients of noise_mix_backward.wgsl (with NEWEST) for software devices: lanes take rows, as in noise_mix_rows.wgsl.
// No lane needs another's values: no barrier, and every lane writes its own row of domega.
// Until the end dh waits in dx, and dz, dz eps and du where the operands of the last module will stand.
import package::lib::math::{gelu_with_slope, linear_group, multiply_add};
import package::lib::noise_layer::{params, x, proj, phi, omega, KINDS, phi_rows, proj_rows};
@if(SAMPLE) import package::lib::noise_layer::noise;
import package::plan::{ROWS, QUADS, WG, UNITS};

@group(0) @binding(5) var<storage, read> dy: array<vec4<f32>>; // [rows, d1]
@group(0) @binding(6) var<storage, read_write> dx: array<vec4<f32>>; // [rows, d1]
@group(0) @binding(7) var<storage, read_write> operands: array<vec4<f32>>; // [rows, FIELDS e]
@group(0) @binding(8) var<storage, read_write> domega: array<f32>; // [groups * WG, modules]

// Columns of operands, in units of e: h | g_mu | g_sigma | du_mu | du_sigma | dmu | ds, or h | dmu | ds.
@if(TWO) const FIELDS: u32 = 7u;
@if(!TWO) const FIELDS: u32 = 3u;
const G: u32 = 1u;
const DU: u32 = 3u;
const DZ: u32 = FIELDS - 2u;
const DZ_EPS: u32 = FIELDS - 1u;

// Element `k` of a field in a row of operands.
fn field(row: u32, which: u32, k: u32) -> u32 {
    return (row * FIELDS + which) * UNITS + k;
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let job = linear_group(group, groups);
    let row0 = job * WG * ROWS + lane;
    if job * WG * ROWS >= params.rows { return; }
    let inner = params.d1 / 4u;
    var row: array<u32, ROWS>;
    for (var r = 0u; r < ROWS; r++) { row[r] = min(row0 + r * WG, params.rows - 1u); }
    // Rows of this lane that exist.
    let mine = select(0u, min((params.rows - row0 + WG - 1u) / WG, ROWS), row0 < params.rows);
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
                if c + q < UNITS && row0 + r * WG < params.rows { operands[field(row[r], 0u, c + q)] = acc[r][q]; }
            }
        }
    }
    for (var c = 0u; c < UNITS; c += QUADS) {
        for (var q = 0u; q < QUADS; q++) {
            col[q] = min(c + q, UNITS - 1u);
            for (var r = 0u; r < ROWS; r++) { acc[r][q] = vec4<f32>(0.0); }
        }
        for (var k = 0u; k < inner; k++) {
            var a: array<vec4<f32>, ROWS>;
            for (var r = 0u; r < ROWS; r++) { a[r] = dy[row[r] * inner + k]; }
            for (var q = 0u; q < QUADS; q++) {
                let w = transpose(proj_rows(4u * (UNITS + col[q]) * inner + k, inner));
                for (var r = 0u; r < ROWS; r++) { acc[r][q] = multiply_add(a[r], w, acc[r][q]); }
            }
        }
        for (var q = 0u; q < QUADS; q++) {
            for (var r = 0u; r < ROWS; r++) {
                if c + q < UNITS && row0 + r * WG < params.rows {
                    operands[field(row[r], DZ, c + q)] = acc[r][q];
                    dx[row[r] * inner + c + q] = vec4<f32>(0.0);
                }
            }
        }
    }

    for (var i = 0u; i < params.modules; i++) {
        let base = i * params.phi_row / 4u;
        let weight = omega[i];
        var sum = 0.0;
        @if(TWO) let w2 = base + 8u * UNITS * UNITS + 2u * UNITS;
        @if(!TWO) let w2 = base;
        for (var kind = 0u; kind < KINDS; kind++) {
            var source = DZ;
            @if(SAMPLE) if kind == 1u {
                source = DZ_EPS;
                for (var j = 0u; j < mine * UNITS; j++) {
                    let at = row0 + j / UNITS * WG;
                    let k = j % UNITS;
                    operands[field(at, DZ_EPS, k)] = operands[field(at, DZ, k)] * noise(at, k, i);
                }
            }
            // dg, at first where du will stand.
            for (var c = 0u; c < UNITS; c += QUADS) {
                for (var q = 0u; q < QUADS; q++) {
                    col[q] = min(c + q, UNITS - 1u);
                    for (var r = 0u; r < ROWS; r++) { acc[r][q] = vec4<f32>(0.0); }
                }
                for (var k = 0u; k < UNITS; k++) {
                    var a: array<vec4<f32>, ROWS>;
                    for (var r = 0u; r < ROWS; r++) { a[r] = operands[field(row[r], source, k)]; }
                    for (var q = 0u; q < QUADS; q++) {
                        let w = transpose(phi_rows(w2 + 4u * (kind * UNITS + col[q]) * UNITS + k, UNITS));
                        for (var r = 0u; r < ROWS; r++) { acc[r][q] = multiply_add(a[r], w, acc[r][q]); }
                    }
                }
                for (var q = 0u; q < QUADS; q++) {
                    for (var r = 0u; r < ROWS; r++) {
                        if c + q < UNITS && row0 + r * WG < params.rows {
                            @if(TWO) { operands[field(row[r], DU + kind, c + q)] = acc[r][q]; }
                            @if(!TWO) {
                                sum += dot(operands[field(row[r], 0u, c + q)], acc[r][q]);
                                dx[row[r] * inner + c + q] += weight * acc[r][q];
                            }
                        }
                    }
                }
            }
            // u, at first where g will stand.
            @if(TWO) for (var c = 0u; c < UNITS; c += QUADS) {
                for (var q = 0u; q < QUADS; q++) {
                    col[q] = min(c + q, UNITS - 1u);
                    let b1 = phi[base + (8u * UNITS + kind) * UNITS + col[q]];
                    for (var r = 0u; r < ROWS; r++) { acc[r][q] = b1; }
                }
                for (var k = 0u; k < UNITS; k++) {
                    var a: array<vec4<f32>, ROWS>;
                    for (var r = 0u; r < ROWS; r++) { a[r] = operands[field(row[r], 0u, k)]; }
                    for (var q = 0u; q < QUADS; q++) {
                        let w = phi_rows(base + (8u * k + kind) * UNITS + col[q], 2u * UNITS);
                        for (var r = 0u; r < ROWS; r++) { acc[r][q] = multiply_add(a[r], w, acc[r][q]); }
                    }
                }
                for (var q = 0u; q < QUADS; q++) {
                    for (var r = 0u; r < ROWS; r++) {
                        if c + q < UNITS && row0 + r * WG < params.rows { operands[field(row[r], G + kind, c + q)] = acc[r][q]; }
                    }
                }
            }
            // In a loop of its own, since compilers would unroll it above, at the cost of seconds.
            for (var j = 0u; j < mine * UNITS; j++) {
                let at = row0 + j / UNITS * WG;
                let k = j % UNITS;
                let b2 = phi[w2 + (8u * UNITS + kind) * UNITS + k];
                sum += dot(operands[field(at, source, k)], b2);
                @if(TWO) {
                    let u = operands[field(at, G + kind, k)];
                    let dg = operands[field(at, DU + kind, k)];
                    let s = gelu_with_slope(u.x);
                    let t = gelu_with_slope(u.y);
                    let v = gelu_with_slope(u.z);
                    let w = gelu_with_slope(u.w);
                    let g = vec4<f32>(s.x, t.x, v.x, w.x);
                    sum += dot(g, dg);
                    operands[field(at, G + kind, k)] = g;
                    operands[field(at, DU + kind, k)] = weight * dg * vec4<f32>(s.y, t.y, v.y, w.y);
                }
            }
            @if(TWO) for (var c = 0u; c < UNITS; c += QUADS) {
                for (var q = 0u; q < QUADS; q++) {
                    col[q] = min(c + q, UNITS - 1u);
                    for (var r = 0u; r < ROWS; r++) { acc[r][q] = dx[row[r] * inner + col[q]]; }
                }
                for (var k = 0u; k < UNITS; k++) {
                    var a: array<vec4<f32>, ROWS>;
                    for (var r = 0u; r < ROWS; r++) { a[r] = operands[field(row[r], DU + kind, k)]; }
                    for (var q = 0u; q < QUADS; q++) {
                        let w = transpose(phi_rows(base + (8u * col[q] + kind) * UNITS + k, 2u * UNITS));
                        for (var r = 0u; r < ROWS; r++) { acc[r][q] = multiply_add(a[r], w, acc[r][q]); }
                    }
                }
                for (var q = 0u; q < QUADS; q++) {
                    for (var r = 0u; r < ROWS; r++) {
                        if c + q < UNITS && row0 + r * WG < params.rows { dx[row[r] * inner + c + q] = acc[r][q]; }
                    }
                }
            }
        }
        domega[(job * WG + lane) * params.modules + i] = sum;
    }

    for (var j = 0u; j < mine * UNITS; j++) {
        let at = row0 + j / UNITS * WG;
        operands[field(at, DZ_EPS, j % UNITS)] = dx[at * inner + j % UNITS];
    }
    for (var c = 0u; c < inner; c += QUADS) {
        for (var q = 0u; q < QUADS; q++) {
            col[q] = min(c + q, inner - 1u);
            for (var r = 0u; r < ROWS; r++) { acc[r][q] = vec4<f32>(0.0); }
        }
        if params.residual != 0u {
            for (var q = 0u; q < QUADS; q++) {
                for (var r = 0u; r < ROWS; r++) { acc[r][q] = dy[row[r] * inner + col[q]]; }
            }
        }
        for (var k = 0u; k < UNITS; k++) {
            var a: array<vec4<f32>, ROWS>;
            for (var r = 0u; r < ROWS; r++) { a[r] = operands[field(row[r], DZ_EPS, k)]; }
            for (var q = 0u; q < QUADS; q++) {
                let w = transpose(proj_rows(4u * col[q] * UNITS + k, UNITS));
                for (var r = 0u; r < ROWS; r++) { acc[r][q] = multiply_add(a[r], w, acc[r][q]); }
            }
        }
        for (var q = 0u; q < QUADS; q++) {
            for (var r = 0u; r < ROWS; r++) {
                if c + q < inner && row0 + r * WG < params.rows { dx[row[r] * inner + c + q] = acc[r][q]; }
            }
        }
    }

    // What stands in the fields of dmu and ds in the end.
    let newest = params.modules - 1u;
    for (var j = 0u; j < mine * UNITS; j++) {
        let at = row0 + j / UNITS * WG;
        let k = j % UNITS;
        let dmu = omega[newest] * operands[field(at, DZ, k)];
        operands[field(at, DZ, k)] = dmu;
        var eps = vec4<f32>(1.0);
        @if(SAMPLE) { eps = noise(at, k, newest); }
        @if(MEAN) {
            eps = vec4<f32>(0.0);
            @if(TWO) { operands[field(at, G + 1u, k)] = eps; }
            @if(TWO) { operands[field(at, DU + 1u, k)] = eps; }
        }
        operands[field(at, DZ_EPS, k)] = dmu * eps;
    }
}
