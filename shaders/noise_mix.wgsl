// y = residual + (sum_i omega_i z_i) U,  z_i = mu_i + eps_i s_i,  h = x D;  residual may be x itself.
//   TWO:  mu_i = gelu(h W1mu + b1mu) W2mu + b2mu, s_i likewise;  else s_i = h W2sigma + b2sigma with SAMPLE, and all that
//   no random number multiplies comes as one map, sum_i omega_i mu_i = h M + b.
//   eps_i: 0 with MEAN, normal numbers with SAMPLE, else 1.
// A workgroup makes ROWS token rows, a thread four neighbouring units (of e, later of d1) of PER_THREAD of them. h waits
// in workgroup memory, the mixture in registers.
// Edges: rows behind the last repeat it and are not stored.
import package::lib::math::{gelu4, linear_group, multiply_add};
import package::lib::noise_layer::{params, x, proj, phi, omega, KINDS, phi_rows, proj_rows};
import package::lib::noise_mean::{FIRST};
@if(!TWO) import package::lib::noise_mean::{mean, mean_rows};
@if(SAMPLE) import package::lib::noise_layer::noise;
import package::plan::{ROWS, PER_THREAD, UNITS, WG};

@group(0) @binding(5) var<storage, read> residual: array<vec4<f32>>; // [rows, d1]
@group(0) @binding(7) var<storage, read_write> y: array<vec4<f32>>; // [rows, d1]

var<workgroup> h_tile: array<vec4<f32>, ROWS * UNITS>; // [ROWS][e]
@if(TWO) var<workgroup> g_tile: array<vec4<f32>, ROWS * UNITS>; // [ROWS][e], of mu, then of sigma, at the end the mixture

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile0 = linear_group(group, groups) * ROWS;
    if tile0 >= params.rows { return; }
    let last = params.rows - 1u;
    let col = lane % UNITS;
    // With one group of threads this is the same for all lanes, and a compiler sees it.
    let first = select(lane / UNITS * PER_THREAD, 0u, WG == UNITS);
    let row0 = tile0 + first;
    let inner = params.d1 / 4u;
    let units = params.e / 4u;
    var z: array<vec4<f32>, PER_THREAD>;

    for (var r = 0u; r < PER_THREAD; r++) { z[r] = vec4<f32>(0.0); }
    for (var k = 0u; k < inner; k++) {
        let w = proj_rows(4u * k * units + col, units);
        for (var r = 0u; r < PER_THREAD; r++) { z[r] = multiply_add(x[min(row0 + r, last) * inner + k], w, z[r]); }
    }
    for (var r = 0u; r < PER_THREAD; r++) {
        h_tile[(first + r) * units + col] = z[r];
        @if(TWO) { z[r] = vec4<f32>(0.0); }
        @if(!TWO) { z[r] = mean[params.e * units + col]; }
    }
    workgroupBarrier();
    @if(!TWO) for (var k = 0u; k < units; k++) {
        let w = mean_rows(4u * k * units + col, units);
        for (var r = 0u; r < PER_THREAD; r++) { z[r] = multiply_add(h_tile[(first + r) * units + k], w, z[r]); }
    }

    @if(TWO || SAMPLE) for (var i = 0u; i < params.modules; i++) {
        let base = i * params.phi_row / 4u;
        let weight = omega[i];
        @if(TWO) let w2 = base + 8u * units * units + 2u * units;
        @if(!TWO) let w2 = base;
        for (var kind = FIRST; kind < KINDS; kind++) {
            var acc: array<vec4<f32>, PER_THREAD>;
            @if(TWO) {
                let b1 = phi[base + (8u * units + kind) * units + col];
                for (var r = 0u; r < PER_THREAD; r++) { acc[r] = b1; }
                for (var k = 0u; k < units; k++) {
                    let w = phi_rows(base + (8u * k + kind) * units + col, 2u * units);
                    for (var r = 0u; r < PER_THREAD; r++) { acc[r] = multiply_add(h_tile[(first + r) * units + k], w, acc[r]); }
                }
                for (var r = 0u; r < PER_THREAD; r++) { g_tile[(first + r) * units + col] = gelu4(acc[r]); }
                workgroupBarrier();
            }
            let b2 = phi[w2 + (8u * units + kind) * units + col];
            for (var r = 0u; r < PER_THREAD; r++) { acc[r] = b2; }
            for (var k = 0u; k < units; k++) {
                let w = phi_rows(w2 + 4u * (kind * units + k) * units + col, units);
                for (var r = 0u; r < PER_THREAD; r++) {
                    @if(TWO) let g = g_tile[(first + r) * units + k];
                    @if(!TWO) let g = h_tile[(first + r) * units + k];
                    acc[r] = multiply_add(g, w, acc[r]);
                }
            }
            for (var r = 0u; r < PER_THREAD; r++) {
                var scale = vec4<f32>(weight);
                @if(SAMPLE) if kind == 1u { scale *= noise(row0 + r, col, i); }
                z[r] = fma(scale, acc[r], z[r]);
            }
            @if(TWO) { workgroupBarrier(); }
        }
    }

    workgroupBarrier();
    for (var r = 0u; r < PER_THREAD; r++) {
        @if(TWO) { g_tile[(first + r) * units + col] = z[r]; }
        @if(!TWO) { h_tile[(first + r) * units + col] = z[r]; }
    }
    workgroupBarrier();
    for (var c = col; c < inner; c += UNITS) {
        var acc: array<vec4<f32>, PER_THREAD>;
        for (var r = 0u; r < PER_THREAD; r++) { acc[r] = residual[min(row0 + r, last) * inner + c]; }
        for (var k = 0u; k < units; k++) {
            let w = proj_rows((4u * units + 4u * k) * inner + c, inner);
            for (var r = 0u; r < PER_THREAD; r++) {
                @if(TWO) let mixed = g_tile[(first + r) * units + k];
                @if(!TWO) let mixed = h_tile[(first + r) * units + k];
                acc[r] = multiply_add(mixed, w, acc[r]);
            }
        }
        for (var r = 0u; r < PER_THREAD; r++) {
            if row0 + r < params.rows { y[(row0 + r) * inner + c] = acc[r]; }
        }
    }
}
