// The maps that the forward kernels of the noise layer go through, and the mixture of one-layer maps.

// The first map that modules have of their own.
@if(TWO) const FIRST: u32 = 0u;
@if(!TWO) const FIRST: u32 = 1u;

@if(!TWO) @group(0) @binding(6) var<storage, read> mean: array<vec4<f32>>; // [e + 1, e]: M, then b

// Four neighbouring elements of four rows of M, `step` apart.
@if(!TWO)
fn mean_rows(at: u32, step: u32) -> mat4x4<f32> {
    return mat4x4<f32>(mean[at], mean[at + step], mean[at + 2u * step], mean[at + 3u * step]);
}
