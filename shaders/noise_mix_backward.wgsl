// dx = dy + dh D^T,  dz = dy U^T,  per module i:
//   TWO:  u = h W1 + b1, g = gelu(u), dg = [dz | dz eps] W2^T, du = omega_i dg gelu'(u), dh += du W1^T
//   else: g = h, dg as above, dh += omega_i dg
//   domega[group][i] = sum over the group's rows of <dg, g> + <dz, b2mu> + <dz eps, b2sigma>
// With NEWEST, the last module's operands: h | g_mu | g_sigma | du_mu | du_sigma | dmu | ds (else h | dmu | ds),
//   dmu = omega dz, ds = omega dz eps; and domega.
// eps: 0 with MEAN, normal numbers with SAMPLE, else 1. Tiles and edges as in noise_mix.wgsl.
import package::lib::math::{gelu_with_slope, linear_group, multiply_add};
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
@group(0) @binding(5) var<storage, read> dy: array<vec4<f32>>; // [rows, d1]
@group(0) @binding(6) var<storage, read_write> dx: array<vec4<f32>>; // [rows, d1]
@if(NEWEST) @group(0) @binding(7) var<storage, read_write> operands: array<vec4<f32>>; // [rows, 7e] or [rows, 3e]
@if(NEWEST) @group(0) @binding(8) var<storage, read_write> domega: array<f32>; // [groups, modules]

// Number of maps that take part.
@if(MEAN) const KINDS: u32 = 1u;
@if(!MEAN) const KINDS: u32 = 2u;

var<workgroup> h_tile: array<vec4<f32>, ROWS * COLS>; // [ROWS][e]
var<workgroup> grad_tile: array<vec4<f32>, ROWS * COLS>; // dz, then dz eps [ROWS][e], at the end dh
@if(TWO) var<workgroup> du_tile: array<vec4<f32>, ROWS * COLS>; // [ROWS][e], of mu, then of sigma
@if(NEWEST) var<workgroup> sums: array<f32, WG>;

// Four neighbouring elements of four rows, `step` apart.
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
    let job = linear_group(group, groups);
    let tile0 = job * ROWS;
    if tile0 >= params.rows { return; }
    let last = params.rows - 1u;
    let col = lane % COLS;
    // With one group of threads this is the same for all lanes, and a compiler sees it.
    let first = select(lane / COLS * PER_THREAD, 0u, WG == COLS);
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
    for (var c = col; c < inner; c += COLS) {
        var acc: array<vec4<f32>, PER_THREAD>;
        for (var r = 0u; r < PER_THREAD; r++) { acc[r] = dy[min(row0 + r, last) * inner + c]; }
        for (var k = 0u; k < units; k++) {
            let w = transpose(proj_rows(4u * c * units + k, units));
            for (var r = 0u; r < PER_THREAD; r++) { acc[r] = multiply_add(grad_tile[(first + r) * units + k], w, acc[r]); }
        }
        for (var r = 0u; r < PER_THREAD; r++) {
            if row0 + r < params.rows { dx[(row0 + r) * inner + c] = acc[r]; }
        }
    }
}
