// y = x + (sum_i omega_i z_i) U,  z_i = mu_i + eps_i s_i,  h = x D
//   TWO:  mu_i = gelu(h W1mu + b1mu) W2mu + b2mu, s_i likewise;  else mu_i = h W2mu + b2mu, s_i likewise.
//   eps_i: 0 with MEAN, normal numbers with SAMPLE, else 1.
// A workgroup makes ROWS token rows, a thread four neighbouring units (of e, later of d1) of PER_THREAD of them.
// Edges: rows behind the last repeat it and are not stored.
import package::lib::math::{gelu, linear_group};
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

var<workgroup> h_tile: array<vec4<f32>, ROWS * COLS>; // [ROWS][e], at the end the mixture
@if(TWO) var<workgroup> g_tile: array<vec4<f32>, ROWS * COLS * 2u>; // [ROWS][2e]

// acc + a W for four rows of W.
fn multiply_add(a: vec4<f32>, w: array<vec4<f32>, 4>, acc: vec4<f32>) -> vec4<f32> {
    return fma(vec4<f32>(a.w), w[3], fma(vec4<f32>(a.z), w[2], fma(vec4<f32>(a.y), w[1], fma(vec4<f32>(a.x), w[0], acc))));
}

// Four neighbouring elements of four rows of phi, `step` apart.
fn phi_rows(at: u32, step: u32) -> array<vec4<f32>, 4> {
    return array<vec4<f32>, 4>(phi[at], phi[at + step], phi[at + 2u * step], phi[at + 3u * step]);
}

fn proj_rows(at: u32, step: u32) -> array<vec4<f32>, 4> {
    return array<vec4<f32>, 4>(proj[at], proj[at + step], proj[at + 2u * step], proj[at + 3u * step]);
}

fn gelu4(u: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(gelu(u.x), gelu(u.y), gelu(u.z), gelu(u.w));
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
    let row0 = linear_group(group, groups) * ROWS;
    if row0 >= params.rows { return; }
    let last = params.rows - 1u;
    let col = lane % COLS;
    // With one group of threads this is the same for all lanes, and a compiler sees it.
    let first = select(lane / COLS * PER_THREAD, 0u, WG == COLS);
    let inner = params.d1 / 4u;
    let units = params.e / 4u;

    var z: array<vec4<f32>, PER_THREAD>;
    for (var r = 0u; r < PER_THREAD; r++) { z[r] = vec4<f32>(0.0); }
    for (var k = 0u; k < inner; k++) {
        let w = proj_rows(4u * k * units + col, units);
        for (var r = 0u; r < PER_THREAD; r++) { z[r] = multiply_add(x[min(row0 + first + r, last) * inner + k], w, z[r]); }
    }
    for (var r = 0u; r < PER_THREAD; r++) {
        h_tile[(first + r) * units + col] = z[r];
        z[r] = vec4<f32>(0.0);
    }
    workgroupBarrier();

    for (var i = 0u; i < params.modules; i++) {
        let base = i * params.phi_row / 4u;
        let weight = omega[i];
        var mu: array<vec4<f32>, PER_THREAD>;
        @if(!MEAN) var sigma: array<vec4<f32>, PER_THREAD>;
        @if(TWO) {
            let b1 = base + 8u * units * units + col;
            for (var r = 0u; r < PER_THREAD; r++) {
                mu[r] = phi[b1];
                @if(!MEAN) { sigma[r] = phi[b1 + units]; }
            }
            for (var k = 0u; k < units; k++) {
                let at = base + 8u * k * units + col;
                let w_mu = phi_rows(at, 2u * units);
                @if(!MEAN) let w_sigma = phi_rows(at + units, 2u * units);
                for (var r = 0u; r < PER_THREAD; r++) {
                    let h = h_tile[(first + r) * units + k];
                    mu[r] = multiply_add(h, w_mu, mu[r]);
                    @if(!MEAN) { sigma[r] = multiply_add(h, w_sigma, sigma[r]); }
                }
            }
            for (var r = 0u; r < PER_THREAD; r++) {
                let at = (first + r) * 2u * units + col;
                g_tile[at] = gelu4(mu[r]);
                @if(!MEAN) { g_tile[at + units] = gelu4(sigma[r]); }
            }
            workgroupBarrier();
        }
        @if(TWO) let w2 = base + 8u * units * units + 2u * units + col;
        @if(!TWO) let w2 = base + col;
        let b2 = w2 + 8u * units * units;
        for (var r = 0u; r < PER_THREAD; r++) {
            mu[r] = phi[b2];
            @if(!MEAN) { sigma[r] = phi[b2 + units]; }
        }
        for (var k = 0u; k < units; k++) {
            let w_mu = phi_rows(w2 + 4u * k * units, units);
            @if(!MEAN) let w_sigma = phi_rows(w2 + 4u * (units + k) * units, units);
            for (var r = 0u; r < PER_THREAD; r++) {
                @if(TWO) {
                    let at = (first + r) * 2u * units + k;
                    mu[r] = multiply_add(g_tile[at], w_mu, mu[r]);
                    @if(!MEAN) { sigma[r] = multiply_add(g_tile[at + units], w_sigma, sigma[r]); }
                }
                @if(!TWO) {
                    let h = h_tile[(first + r) * units + k];
                    mu[r] = multiply_add(h, w_mu, mu[r]);
                    @if(!MEAN) { sigma[r] = multiply_add(h, w_sigma, sigma[r]); }
                }
            }
        }
        for (var r = 0u; r < PER_THREAD; r++) {
            @if(MEAN) let sampled = mu[r];
            @if(SAMPLE) let sampled = fma(noise(row0 + first + r, col, i), sigma[r], mu[r]);
            @if(!MEAN && !SAMPLE) let sampled = mu[r] + sigma[r];
            z[r] = fma(vec4<f32>(weight), sampled, z[r]);
        }
        @if(TWO) { workgroupBarrier(); }
    }

    workgroupBarrier();
    for (var r = 0u; r < PER_THREAD; r++) { h_tile[(first + r) * units + col] = z[r]; }
    workgroupBarrier();
    for (var c = col; c < inner; c += COLS) {
        var acc: array<vec4<f32>, PER_THREAD>;
        for (var r = 0u; r < PER_THREAD; r++) { acc[r] = x[min(row0 + first + r, last) * inner + c]; }
        for (var k = 0u; k < units; k++) {
            let w = proj_rows((4u * units + 4u * k) * inner + c, inner);
            for (var r = 0u; r < PER_THREAD; r++) { acc[r] = multiply_add(h_tile[(first + r) * units + k], w, acc[r]); }
        }
        for (var r = 0u; r < PER_THREAD; r++) {
            if row0 + first + r < params.rows { y[(row0 + first + r) * inner + c] = acc[r]; }
        }
    }
}
