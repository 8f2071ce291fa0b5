//! Rows times one tile of a scaled Gram matrix, in pairs.

use super::column_unit::BITS;
use crate::device::{Caps, Constant, Form, Kernel, Operand, Plan, PlanKey, Tensor, Varied, View, grid, read, write};
use crate::{Error, Result, params};

/// Terms whose products of integers below `2^BITS` sum to at most 2^24, which f32 holds exactly.
const CHUNK: u32 = 1 << (24 - 2 * BITS);

params! {
    /// Uniforms of `pair_product.wgsl`.
    pub struct PairProductParams {
        m: u32, rows: u32, cols: u32, depth: u32,
        i0: u32, k0: u32, ld: u32, low: u32,
        zero: u32,
    }
}

/// `y[c][col0 + i] += sum_k x[c][row0 + k] A[row0 + k][col0 + i]` for one tile of `A = D (G + gamma I) D`, or, transposed,
/// `y[c][row0 + k] += sum_i x[c][col0 + i] A[row0 + k][col0 + i]`: a symmetric matrix is made of tiles of its lower triangle
/// in both roles.
///
/// x consists of integers below 2^9 with 9 bits behind the point; A, below 2 in size, is split into two such halves and a
/// rest. Products of first halves, and of first with second ones, are summed without error; all others are 2^-17 of the
/// largest product, and a chunk of 64 terms rounds 128 such numbers, partial sums of 8 of them, at 2^-25: about 2^-39 of the
/// largest product, and `sqrt(K / 64)` times as much over K terms, which is some 1e-14 of `|A| |x|` for thousands of them.
///
/// # Shapes
/// x [c, m], y [2, c, m]: pairs, the first parts before the second, as in tile [2, rows, cols] of G and diagonal [2, m] of A;
/// scale `[m]`, the diagonal of D. Rows and columns of a tile are at most 4096.
#[derive(Clone, Copy, Debug)]
pub struct PairProduct<'a> {
    pub x: &'a Tensor,
    pub tile: &'a Tensor,
    pub row0: usize,
    pub col0: usize,
    pub scale: &'a Tensor,
    pub diagonal: &'a Tensor,
    pub transposed: bool,
    pub y: &'a Tensor,
}

impl PairProduct<'_> {
    /// First column of the result, first term, how many columns, how many terms.
    pub(crate) fn places(&self) -> [usize; 4] {
        let (rows, cols) = (self.tile.shape()[1], self.tile.shape()[2]);
        if self.transposed { [self.row0, self.col0, rows, cols] } else { [self.col0, self.row0, cols, rows] }
    }
}

impl Kernel for PairProduct<'_> {
    const NAME: &'static str = "pair_product";
    type Params = PairProductParams;

    fn params(&self) -> PairProductParams {
        let [i0, k0, cols, depth] = self.places().map(|x| x as u32);
        PairProductParams {
            m: self.x.cols() as u32,
            rows: self.x.rows() as u32,
            cols,
            depth,
            i0,
            k0,
            ld: self.tile.cols() as u32,
            low: cols * depth,
            zero: 0,
        }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let (c, m) = (self.x.rows(), self.x.cols());
        let fits = matches!(self.tile.shape(), [2, rows, cols] if self.row0 + rows <= m && self.col0 + cols <= m
            && *rows.max(cols) <= 4096);
        if !fits {
            return Err(Error::shape(
                Self::NAME,
                "g",
                format!("a tile [2, rows, cols] inside [{m}, {m}]"),
                self.tile.shape(),
            ));
        }
        Ok(vec![
            read(1, "x", View::all(self.x)),
            read(2, "g", View::all(self.tile)),
            read(3, "scale", View::shaped(self.scale, [m])),
            read(4, "diagonal", View::shaped(self.diagonal, [2, m])),
            write(5, "y", View::shaped(self.y, [2, c, m])),
        ])
    }

    fn key(&self) -> Option<PlanKey> {
        let [_, _, cols, depth] = self.places();
        Some([self.x.rows(), cols, depth, self.transposed.into(), 0, 0])
    }

    fn flops(&self) -> f64 {
        2.0 * (self.tile.len() * self.y.cols()) as f64
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        self.chosen(caps)
    }
}

impl Varied for PairProduct<'_> {
    varied_by_form!();

    fn planned(&self, form: Form, caps: &Caps) -> Option<Plan> {
        let number = |(name, x): (&'static str, usize)| (name, Constant::U32(x as u32));
        let constants = vec![("CHUNK", Constant::U32(CHUNK)), ("TRANSPOSED", Constant::Flag(self.transposed))];
        let [_, _, cols, _] = self.places();
        let groups = |width: usize, height: usize| grid(cols.div_ceil(width) * self.x.rows().div_ceil(height), caps);
        Some(match form {
            Form::Rows => {
                let (rows, width, wg) = (16, 2, 8);
                let own = [("ROWS", rows), ("COLS", width), ("WG", wg)].map(number);
                Plan {
                    shader: "pair_product_rows",
                    constants: constants.into_iter().chain(own).collect(),
                    workgroup: wg as u32,
                    shared_bytes: 0,
                    groups: groups(width * wg, rows),
                }
            }
            Form::Tiles => Plan {
                shader: "pair_product",
                constants,
                workgroup: 128,
                shared_bytes: 16 * (2 * 32 + 3 * 64) * 4,
                groups: groups(64, 32),
            },
        })
    }

    fn class(&self) -> &'static str {
        if self.transposed { "transposed" } else { "" }
    }

    fn size(&self) -> Vec<usize> {
        let [_, _, cols, depth] = self.places();
        vec![self.x.rows(), cols, depth]
    }
}
