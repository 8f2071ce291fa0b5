// y = x + (sum_i omega_i z_i) U,  z_i = mu_i + eps_i s_i,  h = x D
//   TWO:  mu_i = gelu(h W1mu + b1mu) W2mu + b2mu, s_i likewise;  else mu_i = h W2mu + b2mu, s_i likewise.
//   eps_i: 0 with MEAN, normal numbers with SAMPLE, else 1.
// A workgroup makes ROWS token rows, a thread four neighbouring units (of e, later of d1) of PER_THREAD of them. h waits
// in workgroup memory, the mixture in registers.
// Edges: rows behind the last repeat it and are not stored.
import package::lib::math::{gelu4, linear_group, multiply_add};
import package::lib::philox::{philox, box_muller, normals_at};
import package::plan::{ROWS, PER_THREAD, COLS, WG};

struct Params {
    rows: u32, d1: u32, e: u32, d2: u32,
    modules: u32,
    phi_row: u32,
    seed_low: u32, seed_high: u32,
    upper: u32,
    step: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [rows, d1]
@group(0) @binding(2) var<storage, read> proj: array<vec4<f32>>; // D [d1, e], U [e, d1]
@group(0) @binding(3) var<storage, read> phi: array<vec4<f32>>; // [modules, phi_row]: W1 [e, 2e], b1 [2e], W2 [2][e, e], b2 [2e]
@group(0) @binding(4) var<storage, read> omega: array<f32>; // [modules]
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>; // [rows, d1]

// Number of maps that take part.
@if(MEAN) const KINDS: u32 = 1u;
@if(!MEAN) const KINDS: u32 = 2u;

var<workgroup> h_tile: array<vec4<f32>, ROWS * COLS>; // [ROWS][e]
@if(TWO) var<workgroup> g_tile: array<vec4<f32>, ROWS * COLS>; // [ROWS][e], of mu, then of sigma, at the end the mixture

// Four neighbouring elements of four rows of phi, `step` apart.
fn phi_rows(at: u32, step: u32) -> mat4x4<f32> {
    return mat4x4<f32>(phi[at], phi[at + step], phi[at + 2u * step], phi[at + 3u * step]);
}

fn proj_rows(at: u32, step: u32) -> mat4x4<f32> {
    return mat4x4<f32>(proj[at], proj[at + step], proj[at + 2u * step], proj[at + 3u * step]);
}

@if(SAMPLE)
fn noise(row: u32, col: u32, module_index: u32) -> vec4<f32> {
    let seed = vec2<u32>(params.seed_low, params.seed_high);
    let upper = vec2<u32>(params.upper + module_index, params.step);
    @if(ALIGNED) { return box_muller(philox(row * COLS + col, seed, upper)); }
    @else { return normals_at(row * params.d2 + 4u * col, seed, upper); }
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile0 = linear_group(group, groups) * ROWS;
    if tile0 >= params.rows { return; }
    let last = params.rows - 1u;
    let col = lane % COLS;
    // With one group of threads this is the same for all lanes, and a compiler sees it.
    let first = select(lane / COLS * PER_THREAD, 0u, WG == COLS);
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
        z[r] = vec4<f32>(0.0);
    }
    workgroupBarrier();

    for (var i = 0u; i < params.modules; i++) {
        let base = i * params.phi_row / 4u;
        let weight = omega[i];
        @if(TWO) let w2 = base + 8u * units * units + 2u * units;
        @if(!TWO) let w2 = base;
        for (var kind = 0u; kind < KINDS; kind++) {
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
    for (var c = col; c < inner; c += COLS) {
        var acc: array<vec4<f32>, PER_THREAD>;
        for (var r = 0u; r < PER_THREAD; r++) { acc[r] = x[min(row0 + r, last) * inner + c]; }
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
