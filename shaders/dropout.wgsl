// y[i] (+)= factor x[i], or 0 where the random word of element first + i is below `threshold`
// One thread makes the elements of one block of four words, as far as they are among the n; threads beyond do nothing.
import package::lib::math::{linear_group};
import package::lib::philox::{philox};
import package::plan::{WG};

struct Params {
    n: u32,
    first: u32,
    threshold: u32,
    factor: f32,
    accumulate: u32,
    seed_low: u32, seed_high: u32,
    upper: u32,
    step: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [n]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [n]

// Element `at` behind the beginning of the first block.
fn put(at: u32, kept: bool) {
    let skip = params.first % 4u;
    if at < skip || at - skip >= params.n { return; }
    let i = at - skip;
    var value = select(0.0, params.factor * x[i], kept);
    if params.accumulate != 0u { value += y[i]; }
    y[i] = value;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = linear_group(group, groups) * WG + lane;
    if 4u * i >= params.first % 4u + params.n { return; }
    let seed = vec2<u32>(params.seed_low, params.seed_high);
    let words = philox(params.first / 4u + i, seed, vec2<u32>(params.upper, params.step));
    let kept = words >= vec4<u32>(params.threshold);
    put(4u * i, kept.x);
    put(4u * i + 1u, kept.y);
    put(4u * i + 2u, kept.z);
    put(4u * i + 3u, kept.w);
}
