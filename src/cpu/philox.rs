//! Philox4x32-10 and the Box-Muller transform: the random numbers of the noise layer, in lanes of blocks so that the
//! compiler vectorises them.

use crate::device::{Real, fastmath};
use crate::kernels::philox_normal::Stream;

const MULTIPLIER: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const LOWER: u64 = 0xFFFF_FFFF;
/// Blocks that are computed together: enough for several chains of rounds at a time.
pub const LANES: usize = 64;

/// The words of `LANES` neighbouring blocks from `block` on: `[word][lane]`.
#[inline(always)]
pub fn words(stream: Stream, block: u32) -> [[u32; LANES]; 4] {
    let [high, step] = stream.counter().map(u64::from);
    // Words live in the lower halves of u64, the width of their products; upper halves are left as they fall.
    let mut c = [[0; LANES], [0; LANES], [high; LANES], [step; LANES]];
    for (lane, x) in c[0].iter_mut().enumerate() {
        *x = u64::from(block.wrapping_add(lane as u32));
    }
    let mut key = [stream.seed as u32, (stream.seed >> 32) as u32];
    for _ in 0..10 {
        #[expect(clippy::needless_range_loop, reason = "four arrays in step")]
        for lane in 0..LANES {
            let p0 = (c[0][lane] & LOWER) * u64::from(MULTIPLIER[0]);
            let p1 = (c[2][lane] & LOWER) * u64::from(MULTIPLIER[1]);
            c[0][lane] = (p1 >> 32) ^ c[1][lane] ^ u64::from(key[0]);
            c[1][lane] = p1;
            c[2][lane] = (p0 >> 32) ^ c[3][lane] ^ u64::from(key[1]);
            c[3][lane] = p0;
        }
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    let mut words = [[0; LANES]; 4];
    for (word, c) in words.iter_mut().zip(&c) {
        for (x, c) in word.iter_mut().zip(c) {
            *x = *c as u32;
        }
    }
    words
}

/// `u - [upper half]` for `u = ((x >> 8) + 0.5) 2^-24`: exact in f32, and the same angle as `u`.
#[inline(always)]
fn centred(x: u32) -> f32 {
    ((x as i32 >> 8) as f32 + 0.5) * (1.0 / 16_777_216.0)
}

/// `ln u` with a small relative error also where `u`, rounded to f32, would be 1.
#[inline(always)]
fn ln_uniform(x: u32) -> f32 {
    let t = centred(x);
    let upper = (x as i32) < 0;
    let u = if upper { t + 1.0 } else { t };
    let bits = u.to_bits();
    let e = (bits.wrapping_sub(0x3f35_04f3) as i32) >> 23;
    let m = f32::from_bits(bits.wrapping_sub((e as u32) << 23));
    let f = if upper & (e == 0) { t } else { m - 1.0 };
    (e as f32).mul_add(std::f32::consts::LN_2, fastmath::ln_1p(f))
}

/// Two normals from two words, in f32 steps or, where `R` is wider, in full precision.
#[inline(always)]
fn box_muller<R: Real>(x: u32, y: u32) -> (R, R) {
    let (radius, turns) = if R::EPSILON > 1e-10 {
        let radius = Real::sqrt(-2.0 * ln_uniform(x));
        (R::of(radius.into()), R::of(centred(y).into()))
    } else {
        let u = |x: u32| R::of((f64::from(x >> 8) + 0.5) / 16_777_216.0);
        (Real::sqrt(R::of(-2.0) * Real::ln(u(x))), u(y))
    };
    let (sin, cos) = R::sin_cos_turns(turns);
    (radius * cos, radius * sin)
}

/// The normals of elements `4 block .. 4 block + out.len()` of `stream`.
pub fn normals<R: Real>(stream: Stream, block: u32, out: &mut [R]) {
    vectorise!({
        let (full, rest) = out.as_chunks_mut::<{ 4 * LANES }>();
        let mut at = block;
        for out in full {
            *out = *normals_of_blocks(stream, at).as_flattened().as_array().expect("four words a block");
            at = at.wrapping_add(LANES as u32);
        }
        rest.copy_from_slice(&normals_of_blocks(stream, at).as_flattened()[..rest.len()]);
    });
}

/// The four normals of each of `LANES` neighbouring blocks.
#[inline(always)]
fn normals_of_blocks<R: Real>(stream: Stream, block: u32) -> [[R; 4]; LANES] {
    let x = words(stream, block);
    let mut z = [[R::of(0.0); LANES]; 4];
    for lane in 0..LANES {
        (z[0][lane], z[1][lane]) = box_muller(x[0][lane], x[1][lane]);
    }
    for lane in 0..LANES {
        (z[2][lane], z[3][lane]) = box_muller(x[2][lane], x[3][lane]);
    }
    R::columns(z)
}

/// The normals of `rows` rows of `d2` elements from row `row` of the stream's on, each row padded with zeros to `e` elements.
pub fn rows<R: Real>(stream: Stream, row: usize, [rows, d2, e]: [usize; 3], scratch: &mut Vec<R>, out: &mut [R]) {
    let first = (stream.first_row as usize + row) * d2;
    if d2 == e {
        // Rows are whole blocks.
        return normals(stream, (first / 4) as u32, &mut out[..rows * e]);
    }
    let skip = first % 4;
    scratch.resize(skip + rows * d2, R::of(0.0));
    normals(stream, (first / 4) as u32, scratch);
    for (from, to) in scratch[skip..].chunks(d2).zip(out.chunks_mut(e)).take(rows) {
        to[..d2].copy_from_slice(from);
        to[d2..].fill(R::of(0.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answer() {
        let x = words(Stream { seed: 0, layer: 0, task: 0, step: 0, first_row: 0 }, 0);
        assert_eq!([x[0][0], x[1][0], x[2][0], x[3][0]], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
    }

    #[test]
    fn both_precisions_agree_also_at_the_ends() {
        for x in [0, 1, 255, 256, u32::MAX, u32::MAX - 256, 0x7fff_ffff, 0x8000_0000, 0xb504_f333, 0xb504_f200] {
            for y in [0, 0x4000_0000, 0x8000_0000, 0xffff_ffff, 0x1234_5678] {
                let ((a, b), (c, d)) = (box_muller::<f32>(x, y), box_muller::<f64>(x, y));
                let scale = (c * c + d * d).sqrt();
                assert!((f64::from(a) - c).abs() < 1e-6 * scale, "{x:x} {y:x}: {a} for {c}");
                assert!((f64::from(b) - d).abs() < 1e-6 * scale, "{x:x} {y:x}: {b} for {d}");
            }
        }
    }
}
