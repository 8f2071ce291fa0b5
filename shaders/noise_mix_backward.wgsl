// dx = dh D^T (dy + dh D^T where x is also the residual),  dz = dy U^T,  per module i:
//   TWO:  u = h W1 + b1, g = gelu(u), dg = [dz | dz eps] W2^T, du = omega_i dg gelu'(u), dh += du W1^T
//   else: g = h, dg as above, dh += omega_i dg
//   domega[group][i] = sum over the group's rows of <dg, g> + <dz, b2mu> + <dz eps, b2sigma>
// With NEWEST, the last module's operands: h | g_mu | g_sigma | du_mu | du_sigma | dmu | ds (else h | dmu | ds),
//   dmu = omega dz, ds = omega dz eps; and domega.
// eps: 0 with MEAN, normal numbers with SAMPLE, else 1. Tiles and edges as in noise_mix.wgsl.
import package::lib::math::{gelu_with_slope, linear_group, multiply_add};
import package::lib::noise_layer::{params, x, proj, phi, omega, KINDS, phi_rows, proj_rows};
@if(SAMPLE) import package::lib::noise_layer::noise;
import package::plan::{ROWS, PER_THREAD, UNITS, WG};

@group(0) @binding(5) var<storage, read> dy: array<vec4<f32>>; // [rows, d1]
@group(0) @binding(6) var<storage, read_write> dx: array<vec4<f32>>; // [rows, d1]
@if(NEWEST) @group(0) @binding(7) var<storage, read_write> operands: array<vec4<f32>>; // [rows, 7e] or [rows, 3e]
@if(NEWEST) @group(0) @binding(8) var<storage, read_write> domega: array<f32>; // [groups, modules]

var<workgroup> h_tile: array<vec4<f32>, ROWS * UNITS>; // [ROWS][e]
var<workgroup> grad_tile: array<vec4<f32>, ROWS * UNITS>; // dz, then dz eps [ROWS][e], at the end dh
@if(TWO) var<workgroup> du_tile: array<vec4<f32>, ROWS * UNITS>; // [ROWS][e], of mu, then of sigma
@if(NEWEST) var<workgroup> sums: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let job = linear_group(group, groups);
    let tile0 = job * ROWS;
    if tile0 >= params.rows { return; }
    let last = params.rows - 1u;
    let col = lane % UNITS;
    // With one group of threads this is the same for all lanes, and a compiler sees it.
    let first = select(lane / UNITS * PER_THREAD, 0u, WG == UNITS);
    let row0 = tile0 + first;
    let inner = params.d1 / 4u;
    let units = params.e / 4u;
    @if(TWO) let fields = 7u;
    @if(!TWO) let fields = 3u;
    var dh: array<vec4<f32>, PER_THREAD>;
    var dz: array<vec4<f32>, PER_THREAD>;

    // Here dh holds h.
    for (var r = 0u; r < PER_THREAD; r++) {
        dh[r] = vec4<f32>(0.0);
        dz[r] = vec4<f32>(0.0);
    }
    for (var k = 0u; k < inner; k++) {
        let w = proj_rows(4u * k * units + col, units);
        for (var r = 0u; r < PER_THREAD; r++) { dh[r] = multiply_add(x[min(row0 + r, last) * inner + k], w, dh[r]); }
    }
    for (var k = 0u; k < inner; k++) {
        let w = transpose(proj_rows((4u * units + 4u * col) * inner + k, inner));
        for (var r = 0u; r < PER_THREAD; r++) { dz[r] = multiply_add(dy[min(row0 + r, last) * inner + k], w, dz[r]); }
    }
    for (var r = 0u; r < PER_THREAD; r++) {
        @if(NEWEST) if row0 + r < params.rows { operands[(row0 + r) * fields * units + col] = dh[r]; }
        h_tile[(first + r) * units + col] = dh[r];
        dh[r] = vec4<f32>(0.0);
    }

    for (var i = 0u; i < params.modules; i++) {
        let base = i * params.phi_row / 4u;
        let weight = omega[i];
        @if(NEWEST) var sum = 0.0;
        @if(TWO) let w2 = base + 8u * units * units + 2u * units;
        @if(!TWO) let w2 = base;
        for (var kind = 0u; kind < KINDS; kind++) {
            for (var r = 0u; r < PER_THREAD; r++) {
                var grad = dz[r];
                @if(SAMPLE) if kind == 1u { grad *= noise(row0 + r, col, i); }
                grad_tile[(first + r) * units + col] = grad;
            }
            workgroupBarrier();
            var dg: array<vec4<f32>, PER_THREAD>;
            for (var r = 0u; r < PER_THREAD; r++) { dg[r] = vec4<f32>(0.0); }
            for (var k = 0u; k < units; k++) {
                let w = transpose(phi_rows(w2 + 4u * (kind * units + col) * units + k, units));
                for (var r = 0u; r < PER_THREAD; r++) { dg[r] = multiply_add(grad_tile[(first + r) * units + k], w, dg[r]); }
            }
            @if(TWO) var u: array<vec4<f32>, PER_THREAD>;
            @if(TWO) {
                let b1 = phi[base + (8u * units + kind) * units + col];
                for (var r = 0u; r < PER_THREAD; r++) { u[r] = b1; }
                for (var k = 0u; k < units; k++) {
                    let w = phi_rows(base + (8u * k + kind) * units + col, 2u * units);
                    for (var r = 0u; r < PER_THREAD; r++) { u[r] = multiply_add(h_tile[(first + r) * units + k], w, u[r]); }
                }
            }
            @if(NEWEST) let b2 = phi[w2 + (8u * units + kind) * units + col];
            for (var r = 0u; r < PER_THREAD; r++) {
                let row = row0 + r;
                let at = (first + r) * units + col;
                @if(TWO) let x = gelu_with_slope(u[r].x);
                @if(TWO) let y = gelu_with_slope(u[r].y);
                @if(TWO) let z = gelu_with_slope(u[r].z);
                @if(TWO) let w = gelu_with_slope(u[r].w);
                @if(TWO) let g = vec4<f32>(x.x, y.x, z.x, w.x);
                @if(TWO) let du = weight * dg[r] * vec4<f32>(x.y, y.y, z.y, w.y);
                @if(!TWO) let g = h_tile[at];
                @if(TWO) { du_tile[at] = du; }
                @if(!TWO) { dh[r] += weight * dg[r]; }
                @if(NEWEST) if row < params.rows {
                    let dm = grad_tile[at];
                    sum += dot(g, dg[r]) + dot(dm, b2);
                    if i == params.modules - 1u {
                        let to = row * fields * units + col;
                        @if(TWO) {
                            operands[to + (1u + kind) * units] = g;
                            operands[to + (3u + kind) * units] = du;
                        }
                        operands[to + (fields - 2u + kind) * units] = weight * dm;
                    }
                }
            }
            @if(NEWEST) { sums[lane] = sum; }
            workgroupBarrier();
            @if(TWO) for (var k = 0u; k < units; k++) {
                let w = transpose(phi_rows(base + (8u * col + kind) * units + k, 2u * units));
                for (var r = 0u; r < PER_THREAD; r++) { dh[r] = multiply_add(du_tile[(first + r) * units + k], w, dh[r]); }
            }
        }
        @if(NEWEST) if lane == i % WG {
            var total = 0.0;
            for (var j = 0u; j < WG; j++) { total += sums[j]; }
            domega[job * params.modules + i] = total;
        }
    }

    @if(MEAN && NEWEST) for (var r = 0u; r < PER_THREAD; r++) {
        if row0 + r < params.rows {
            let to = (row0 + r) * fields * units + col;
            @if(TWO) {
                operands[to + 2u * units] = vec4<f32>(0.0);
                operands[to + 4u * units] = vec4<f32>(0.0);
            }
            operands[to + (fields - 1u) * units] = vec4<f32>(0.0);
        }
    }
    workgroupBarrier();
    for (var r = 0u; r < PER_THREAD; r++) {
        grad_tile[(first + r) * units + col] = dh[r];
    }
    workgroupBarrier();
    for (var c = col; c < inner; c += UNITS) {
        var acc: array<vec4<f32>, PER_THREAD>;
        for (var r = 0u; r < PER_THREAD; r++) { acc[r] = vec4<f32>(0.0); }
        if params.residual != 0u {
            for (var r = 0u; r < PER_THREAD; r++) { acc[r] = dy[min(row0 + r, last) * inner + c]; }
        }
        for (var k = 0u; k < units; k++) {
            let w = transpose(proj_rows(4u * c * units + k, units));
            for (var r = 0u; r < PER_THREAD; r++) { acc[r] = multiply_add(grad_tile[(first + r) * units + k], w, acc[r]); }
        }
        for (var r = 0u; r < PER_THREAD; r++) {
            if row0 + r < params.rows { dx[(row0 + r) * inner + c] = acc[r]; }
        }
    }
}
