// Scalar functions that several kernels share.

// Gauss error function, absolute error below 6e-7: 1.5e-7 of the formula (Abramowitz and Stegun 7.1.26), the rest
// rounding, where 1 - p cancels.
fn erf(x: f32) -> f32 {
    let a = abs(x);
    let t = 1.0 / (1.0 + 0.3275911 * a);
    let p = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
    return sign(x) * (1.0 - p * exp(-a * a));
}

// gelu(x) = x Phi(x), Phi the normal distribution function (the exact form, not the tanh one).
fn gelu(x: f32) -> f32 {
    return 0.5 * x * (1.0 + erf(0.70710678 * x));
}

// d gelu / dx = Phi(x) + x phi(x).
fn gelu_grad(x: f32) -> f32 {
    return 0.5 * (1.0 + erf(0.70710678 * x)) + 0.39894228 * x * exp(-0.5 * x * x);
}

// (gelu(x), d gelu / dx) from one exponential; the polynomial is that of erf.
fn gelu_with_slope(x: f32) -> vec2<f32> {
    let bell = exp(-0.5 * x * x);
    let t = 1.0 / (1.0 + 0.23164190 * abs(x));
    let p = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
    let cdf = 0.5 + 0.5 * sign(x) * (1.0 - p * bell);
    return vec2<f32>(x * cdf, cdf + 0.39894228 * x * bell);
}

fn gelu4(x: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(gelu(x.x), gelu(x.y), gelu(x.z), gelu(x.w));
}

// 1 / (1 + exp(-x)), from an exponential that cannot overflow.
fn sigmoid(x: f32) -> f32 {
    let e = exp(-abs(x));
    return select(1.0, e, x < 0.0) / (1.0 + e);
}

// x sigmoid(1.702 x), the approximation of GELU that CLIP was trained with.
fn quick_gelu(x: f32) -> f32 {
    return x * sigmoid(1.702 * x);
}

// d quick_gelu / dx.
fn quick_gelu_grad(x: f32) -> f32 {
    let s = sigmoid(1.702 * x);
    return s + 1.702 * x * s * sigmoid(-1.702 * x);
}

fn quick_gelu4(x: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(quick_gelu(x.x), quick_gelu(x.y), quick_gelu(x.z), quick_gelu(x.w));
}

// acc + a W for four rows of W.
fn multiply_add(a: vec4<f32>, w: mat4x4<f32>, acc: vec4<f32>) -> vec4<f32> {
    return fma(vec4<f32>(a.w), w[3], fma(vec4<f32>(a.z), w[2], fma(vec4<f32>(a.y), w[1], fma(vec4<f32>(a.x), w[0], acc))));
}

// acc + x * w, element by element, for four rows of W.
fn add_products(x: vec4<f32>, w: mat4x4<f32>, acc: mat4x4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(fma(x, w[0], acc[0]), fma(x, w[1], acc[1]), fma(x, w[2], acc[2]), fma(x, w[3], acc[3]));
}

// The sum of the elements of each column.
fn columns_sum(a: mat4x4<f32>) -> vec4<f32> {
    let t = transpose(a);
    return (t[0] + t[1]) + (t[2] + t[3]);
}

// Linear index of this workgroup when a one-dimensional grid was spread over x and y.
fn linear_group(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.y * groups.x + group.x;
}

// Column, row and matrix of the linear index of a tile: neighbouring columns first.
fn tile_place(index: u32, cols: u32, rows: u32) -> vec3<u32> {
    return vec3<u32>(index % cols, index / cols % rows, index / cols / rows);
}
