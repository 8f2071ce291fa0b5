// Philox4x32-10 and the Box-Muller transform (SPEC section 4). Logarithm, sine and cosine are polynomials, since the
// built-in ones are too inexact on some devices.

// 64-bit product of two words, (low, high), from 16-bit halves.
fn wide_product(a: u32, b: u32) -> vec2<u32> {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let middle = a1 * b0 + ((a0 * b0) >> 16u);
    let carry = a0 * b1 + (middle & 0xffffu);
    return vec2<u32>(a * b, a1 * b1 + (middle >> 16u) + (carry >> 16u));
}

// Block `block` of the stream with key (seed words) and upper counter words (layer * 65536 + task, step).
fn philox(block: u32, seed: vec2<u32>, upper: vec2<u32>) -> vec4<u32> {
    var c = vec4<u32>(block, 0u, upper.x, upper.y);
    var key = seed;
    for (var round = 0u; round < 10u; round++) {
        let p0 = wide_product(c.x, 0xD2511F53u);
        let p1 = wide_product(c.z, 0xCD9E8D57u);
        c = vec4<u32>(p1.y ^ c.y ^ key.x, p1.x, p0.y ^ c.w ^ key.y, p0.x);
        key += vec2<u32>(0x9E3779B9u, 0xBB67AE85u);
    }
    return c;
}

// u - [u >= 1/2] for u = ((x >> 8) + 0.5) 2^-24: exact, and the same angle as u.
fn centred(x: vec4<u32>) -> vec4<f32> {
    return (vec4<f32>(bitcast<vec4<i32>>(x) >> vec4<u32>(8u)) + 0.5) * 5.9604644775390625e-8;
}

// ln u, u = m 2^e with m in [sqrt(1/2), sqrt(2)), from 2 atanh((m - 1) / (m + 1)); near u = 1 the difference m - 1 is
// taken before u is rounded.
fn ln_uniform(x: vec2<u32>) -> vec2<f32> {
    let t = centred(x.xyxy).xy;
    let upper = x >= vec2<u32>(0x80000000u);
    let u = t + select(vec2<f32>(0.0), vec2<f32>(1.0), upper);
    let bits = bitcast<vec2<u32>>(u);
    let e = bitcast<vec2<i32>>(bits - vec2<u32>(0x3f3504f3u)) >> vec2<u32>(23u);
    let m = bitcast<vec2<f32>>(bits - (bitcast<vec2<u32>>(e) << vec2<u32>(23u)));
    let f = select(m - 1.0, t, upper & (e == vec2<i32>(0)));
    let s = f / (f + 2.0);
    let q = s * s;
    let p = ((0.22222222 * q + 0.28571429) * q + 0.4) * q + 0.66666667;
    return (2.0 * s + s * q * p) + vec2<f32>(e) * 0.69314718;
}

// Normals of the four elements of one block.
fn box_muller(x: vec4<u32>) -> vec4<f32> {
    let radius = sqrt(-2.0 * ln_uniform(x.xz));
    let turns = centred(x).yw;
    let quadrant = round(turns * 4.0);
    let r = (turns * 4.0 - quadrant) * 1.5707963267948966;
    let t = r * r;
    let sine = r + r * t * (((2.7557319e-6 * t - 1.984127e-4) * t + 8.333333e-3) * t - 0.16666667);
    let cosine = 1.0 + t * ((((-2.7557319e-7 * t + 2.4801587e-5) * t - 1.3888889e-3) * t + 4.1666667e-2) * t - 0.5);
    let n = vec2<i32>(quadrant);
    let odd = (n & vec2<i32>(1)) != vec2<i32>(0);
    let flip_sine = (n & vec2<i32>(2)) != vec2<i32>(0);
    let flip_cosine = ((n + 1) & vec2<i32>(2)) != vec2<i32>(0);
    let a = select(sine, cosine, odd);
    let b = select(cosine, sine, odd);
    let s = radius * select(a, -a, flip_sine);
    let c = radius * select(b, -b, flip_cosine);
    return vec4<f32>(c.x, s.x, c.y, s.y);
}

// Four neighbouring values from the middle of two blocks.
fn straddle(low: vec4<f32>, high: vec4<f32>, skip: u32) -> vec4<f32> {
    var x = low;
    x = select(x, vec4<f32>(low.yzw, high.x), skip == 1u);
    x = select(x, vec4<f32>(low.zw, high.xy), skip == 2u);
    return select(x, vec4<f32>(low.w, high.xyz), skip == 3u);
}

// Normals of elements `first .. first + 4`.
fn normals_at(first: u32, seed: vec2<u32>, upper: vec2<u32>) -> vec4<f32> {
    let low = box_muller(philox(first / 4u, seed, upper));
    return straddle(low, box_muller(philox(first / 4u + 1u, seed, upper)), first % 4u);
}
