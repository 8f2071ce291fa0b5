// Numbers of twice the precision: a pair (x, y) stands for x + y, |y| <= ulp(x) / 2.
// `zero` is a uniform that holds 0: it keeps compilers that reorder sums (Metal's fast math) from simplifying them.

// x, as nobody can simplify it.
fn kept(x: f32, zero: u32) -> f32 {
    return bitcast<f32>(bitcast<u32>(x) ^ zero);
}

// (s, e): s = fl(a + b), s + e = a + b exactly (Knuth, The Art of Computer Programming 2, 4.2.2).
fn two_sum(a: f32, b: f32, zero: u32) -> vec2<f32> {
    let s = kept(a + b, zero);
    let t = kept(s - a, zero);
    let u = kept(s - t, zero);
    return vec2<f32>(s, kept(a - u, zero) + kept(b - t, zero));
}

// The same where |a| >= |b|.
fn fast_two_sum(a: f32, b: f32, zero: u32) -> vec2<f32> {
    let s = kept(a + b, zero);
    return vec2<f32>(s, b - kept(s - a, zero));
}

// (p, e): p = fl(a b), p + e = a b exactly (Dekker 1971), with 12-bit halves cut by their bits: no fused operation needed.
fn two_product(a: f32, b: f32, zero: u32) -> vec2<f32> {
    let ah = bitcast<f32>(bitcast<u32>(a) & 0xfffff000u);
    let bh = bitcast<f32>(bitcast<u32>(b) & 0xfffff000u);
    let al = kept(a - ah, zero);
    let bl = kept(b - bh, zero);
    let p = kept(a * b, zero);
    let e0 = kept(ah * bh - p, zero);
    let e1 = kept(e0 + ah * bl, zero);
    let e2 = kept(e1 + al * bh, zero);
    return vec2<f32>(p, e2 + al * bl);
}

// a + b of pairs, relative error 2^-44 unless they cancel.
fn pair_add(a: vec2<f32>, b: vec2<f32>, zero: u32) -> vec2<f32> {
    let s = two_sum(a.x, b.x, zero);
    return fast_two_sum(s.x, s.y + (a.y + b.y), zero);
}

// a b of a pair and a number.
fn pair_scale(a: vec2<f32>, b: f32, zero: u32) -> vec2<f32> {
    let p = two_product(a.x, b, zero);
    return fast_two_sum(p.x, p.y + a.y * b, zero);
}
