// What the kernels of the noise layer share: uniforms, inputs, and the normals of a module.
import package::lib::philox::{philox, box_muller, normals_at};
import package::plan::{UNITS};

struct Params {
    rows: u32, d1: u32, e: u32, d2: u32,
    modules: u32,
    phi_row: u32,
    seed_low: u32, seed_high: u32,
    upper: u32,
    step: u32,
    first_row: u32,
    residual: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [rows, d1]
@group(0) @binding(2) var<storage, read> proj: array<vec4<f32>>; // D [d1, e], U [e, d1]
@group(0) @binding(3) var<storage, read> phi: array<vec4<f32>>; // [modules, phi_row]: W1 [e, 2e], b1 [2e], W2 [2][e, e], b2 [2e]
@group(0) @binding(4) var<storage, read> omega: array<f32>; // [modules]

// Number of maps that take part.
@if(MEAN) const KINDS: u32 = 1u;
@if(!MEAN) const KINDS: u32 = 2u;

// Four neighbouring elements of four rows of phi, `step` apart.
fn phi_rows(at: u32, step: u32) -> mat4x4<f32> {
    return mat4x4<f32>(phi[at], phi[at + step], phi[at + 2u * step], phi[at + 3u * step]);
}

// The same of D and U.
fn proj_rows(at: u32, step: u32) -> mat4x4<f32> {
    return mat4x4<f32>(proj[at], proj[at + step], proj[at + 2u * step], proj[at + 3u * step]);
}

// Normals of the `col`-th quad of units in a token row.
@if(SAMPLE)
fn noise(row: u32, col: u32, module_index: u32) -> vec4<f32> {
    let seed = vec2<u32>(params.seed_low, params.seed_high);
    let upper = vec2<u32>(params.upper + module_index, params.step);
    @if(ALIGNED) { return box_muller(philox((params.first_row + row) * UNITS + col, seed, upper)); }
    @else { return normals_at((params.first_row + row) * params.d2 + 4u * col, seed, upper); }
}
