//! Gram matrix of a batch, added to one tile of pairs.

use super::column_unit::BITS;
use crate::device::{Caps, Constant, Form, Kernel, Operand, Plan, PlanKey, Tensor, Varied, View, grid, read, write};
use crate::{Error, Result, params};

/// Samples of one dispatch: their integers sum to at most `2^(2 BITS + 9)`, far inside i32.
pub const SAMPLES: usize = 512;
/// Samples whose products of integers below `2^BITS` sum to at most 2^24, which f32 holds exactly.
const CHUNK: u32 = 1 << (24 - 2 * BITS);

params! {
    /// Uniforms of `gram.wgsl` and `gram_rows.wgsl`.
    pub struct GramParams {
        m: u32, start: u32, samples: u32,
        row0: u32, col0: u32, rows: u32, cols: u32,
        diagonal: u32,
        zero: u32,
    }
}

/// `g += x^T x` for one tile of a Gram matrix that is kept as pairs of f32, the first parts before the second.
///
/// Every column is split into integers h below `2^BITS` in its own unit and a rest l. Sums of products of the integers
/// are exact; those of the rest are rounded at 2^-24 of `|h l' + l y|`, which is at most 2^-9 of the largest product of
/// the two columns. Over a chunk of K = 64 samples these roundings behave like a random walk of 2 K steps with partial sums
/// like those of a walk, so that the error is about `2 K 2^-25 2^-11 = 2^-29` of that product, and over n samples about
/// `sqrt(n / K)` times as much. `sqrt(G_ii G_jj)` is at least that product and grows with n: the error is below 2e-9 of it
/// where a single outlier makes G, about 1e-10 for the first chunk of even features, and 1e-11 after a hundred chunks.
/// Adding to the pair costs 2^-44.
///
/// # Shapes
/// p [.., m], of which `samples` <= [`SAMPLES`] rows from row `start` count; units [2, m] of these rows, from
/// [`super::column_unit::ColumnUnit`]; tile [2, rows, cols], features `row0..` by `col0..` of G. A tile on the diagonal
/// (`row0 = col0`) is square and stored in full.
#[derive(Clone, Copy, Debug)]
pub struct Gram<'a> {
    pub p: &'a Tensor,
    pub start: usize,
    pub samples: usize,
    pub units: &'a Tensor,
    pub tile: &'a Tensor,
    pub row0: usize,
    pub col0: usize,
}

impl Gram<'_> {
    /// Rows and columns of the tile.
    pub(crate) fn size(&self) -> [usize; 2] {
        [self.tile.shape()[1], self.tile.shape()[2]]
    }

    pub(crate) fn diagonal(&self) -> bool {
        self.row0 == self.col0
    }

    /// Whether `gram_rows.wgsl` can serve.
    fn rows_apply(&self) -> bool {
        (self.p.cols() | self.col0 | self.size()[1]).is_multiple_of(4)
    }

    fn by_tiles(&self, caps: &Caps) -> Plan {
        const SIDE: usize = 64;
        Plan { shared_bytes: 4 * 16 * SIDE as u32 * 4, ..self.plan_parts("gram", [SIDE; 2], 256, caps) }
    }

    fn by_rows(&self, caps: &Caps) -> Plan {
        let (rows, quads, wg) = (4, 2, 8);
        let mut plan = self.plan_parts("gram_rows", [rows * wg, 4 * quads], wg, caps);
        plan.constants
            .extend([("ROWS", rows), ("QUADS", quads), ("WG", wg)].map(|(n, x)| (n, Constant::U32(x as u32))));
        plan
    }

    /// A workgroup for each `part` [rows, cols] of the tile.
    fn plan_parts(&self, shader: &'static str, part: [usize; 2], workgroup: usize, caps: &Caps) -> Plan {
        let [rows, cols] = self.size();
        let parts = cols.div_ceil(part[1]) * rows.div_ceil(part[0]);
        Plan {
            shader,
            constants: vec![("CHUNK", Constant::U32(CHUNK))],
            workgroup: workgroup as u32,
            shared_bytes: 0,
            groups: grid(if self.samples > 0 { parts } else { 0 }, caps),
        }
    }
}

impl Kernel for Gram<'_> {
    const NAME: &'static str = "gram";
    type Params = GramParams;

    fn params(&self) -> GramParams {
        let [rows, cols] = self.size().map(|x| x as u32);
        GramParams {
            m: self.p.cols() as u32,
            start: self.start as u32,
            samples: self.samples as u32,
            row0: self.row0 as u32,
            col0: self.col0 as u32,
            rows,
            cols,
            diagonal: self.diagonal().into(),
            zero: 0,
        }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let m = self.p.cols();
        let &[2, rows, cols] = self.tile.shape() else {
            return Err(Error::shape(Self::NAME, "g", "[2, rows, cols]", self.tile.shape()));
        };
        if self.row0 + rows > m || self.col0 + cols > m || (self.diagonal() && rows != cols) {
            return Err(Error::shape(Self::NAME, "g", format!("a tile inside [{m}, {m}]"), self.tile.shape()));
        }
        if self.samples > SAMPLES {
            return Err(Error::shape(Self::NAME, "p", format!("at most {SAMPLES} samples"), self.samples));
        }
        Ok(vec![
            read(1, "p", View::part(self.p, self.start * m, [self.samples, m], m)),
            read(2, "units", View::shaped(self.units, [2, m])),
            write(3, "g", View::all(self.tile)),
        ])
    }

    fn key(&self) -> Option<PlanKey> {
        let [rows, cols] = self.size();
        Some([rows, cols, self.samples, self.rows_apply().into(), 0, 0])
    }

    fn flops(&self) -> f64 {
        let [rows, cols] = self.size();
        // The parts of every product are multiplied separately.
        6.0 * (self.samples * rows * cols) as f64
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        self.chosen(caps)
    }
}

impl Varied for Gram<'_> {
    varied_by_form!();

    fn planned(&self, form: Form, caps: &Caps) -> Option<Plan> {
        match form {
            Form::Rows => self.rows_apply().then(|| self.by_rows(caps)),
            Form::Tiles => Some(self.by_tiles(caps)),
        }
    }

    fn class(&self) -> &'static str {
        ""
    }

    fn size(&self) -> Vec<usize> {
        let [rows, cols] = self.size();
        vec![rows, cols, self.samples]
    }
}
