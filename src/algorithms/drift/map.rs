//! What the map of a drift does to statistics in pairs.

use super::parts::Part;
use crate::Result;
use crate::algorithms::products::{Place, Transpose, add_products};
use crate::algorithms::tiles::Tiles;
use crate::device::{Device, Tensor};
use crate::kernels::copy_block::CopyBlock;
use crate::kernels::gemm::{Gemm, Layout, Mat};

/// The linear map `A = I + M` [m, m] from random features before a task was learned to those after it.
#[derive(Debug)]
pub struct Map {
    device: Device,
    transpose: Transpose,
    features: usize,
    parts: Vec<Part>,
    /// M in blocks [features of a part, features of a part that moves], for every part those of all that move.
    blocks: Vec<Vec<Tensor>>,
    /// How much of the change of samples that are held out, every fourth and where n >= m at most 512, the map of all others
    /// explains: `1 - |P_n - P_o A|_F^2 / |P_n - P_o|_F^2`. 0 where they did not move, negative where no map is better than
    /// this.
    pub explained: f64,
}

/// A block of a matrix in pairs: the first parts, and elements from there to the second parts as those of a batch.
type Pair<'a> = Mat<'a>;

/// The whole of [2, rows, cols].
fn whole(x: &Tensor) -> Pair<'_> {
    Mat::of(x).every(x.len() / 2)
}

/// The same from row `row` and column `col` on.
fn from(x: &Tensor, row: usize, col: usize) -> Pair<'_> {
    let all = whole(x);
    Mat { offset: row * all.ld + col, ..all }
}

fn layers(x: Pair<'_>) -> [Mat<'_>; 2] {
    [Mat { batch: 0, ..x }, Mat { offset: x.offset + x.batch, batch: 0, ..x }]
}

impl Map {
    /// With arbitrary M.
    pub(super) fn new(device: &Device, features: usize, parts: Vec<Part>) -> Result<Self> {
        let moving = || parts.iter().filter(|part| part.moves);
        let row = |part: &Part| {
            moving().map(|other| device.reals(&[part.features.len(), other.features.len()])).collect::<Result<_>>()
        };
        let blocks = parts.iter().map(row).collect::<Result<_>>()?;
        let transpose = Transpose::new(device)?;
        Ok(Self { device: device.clone(), transpose, features, parts, blocks, explained: 0.0 })
    }

    /// The number of random features, m.
    pub fn features(&self) -> usize {
        self.features
    }

    /// The device that it is on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The block of M for two parts, of which the second moves.
    pub(super) fn block(&self, row: usize, col: usize) -> &Tensor {
        let still = self.parts.iter().filter(|part| !part.moves).count();
        &self.blocks[row][col - still]
    }

    fn size(&self, part: usize) -> usize {
        self.parts[part].features.len()
    }

    /// Parts that move; they are the last ones.
    fn moving(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.parts.len()).filter(|&part| self.parts[part].moves)
    }

    /// `A^T G A` for G in tiles [2, rows, cols], which stays as it is; tiles whose features do not move are shared. With
    /// `T = G + G M` it is T^T in columns that do not move, and `T^T + T^T M` in the others.
    ///
    /// # Errors
    /// Device errors.
    pub fn carry(&self, gram: &Tiles) -> Result<Tiles> {
        let (device, mut carried) = (&self.device, gram.clone());
        for i in self.moving() {
            let columns: Vec<Tensor> =
                (0..self.parts.len()).map(|k| self.columns(gram, k, i)).collect::<Result<_>>()?;
            let (row, first) = (self.parts[i].tile, self.parts[i].first);
            for col in 0..=row {
                let tile = device.reals(gram.tile(row, col).shape())?;
                device.copy(gram.tile(row, col), 0, &tile, 0, tile.len())?;
                carried.set(row, col, tile);
            }
            for j in 0..=i {
                let out = device.reals(&[2, self.size(i), self.size(j)])?;
                self.transposed(whole(&columns[j]), [self.size(j), self.size(i)], whole(&out))?;
                if self.parts[j].moves {
                    for (k, x) in columns.iter().enumerate() {
                        self.add(&out, x, self.block(k, j))?;
                    }
                }
                let tile = carried.tile(row, self.parts[j].tile);
                self.copied(whole(&out), from(tile, first, self.parts[j].first), [self.size(i), self.size(j)])?;
            }
            self.mirror(carried.tile(row, row))?;
            device.flush()?;
        }
        Ok(carried)
    }

    /// `Q^T A` for Q^T [2, C, m], which stays as it is.
    ///
    /// # Errors
    /// Device errors.
    pub fn carry_sums(&self, sums: &Tensor) -> Result<Tensor> {
        let (device, classes) = (&self.device, sums.shape()[1]);
        let carried = device.reals(sums.shape())?;
        device.copy(sums, 0, &carried, 0, sums.len())?;
        for i in self.moving().filter(|_| classes > 0) {
            let (first, shape) = (self.parts[i].features.start, [classes, self.size(i)]);
            let out = device.reals(&[2, classes, self.size(i)])?;
            self.copied(from(sums, 0, first), whole(&out), shape)?;
            for (k, part) in self.parts.iter().enumerate() {
                let x = device.reals(&[2, self.size(k), classes])?;
                self.transposed(from(sums, 0, part.features.start), [classes, self.size(k)], whole(&x))?;
                self.add(&out, &x, self.block(k, i))?;
            }
            self.copied(whole(&out), from(&carried, 0, first), shape)?;
        }
        device.flush()?;
        Ok(carried)
    }

    /// `T = G + G M` in the rows of part `k` and the columns of part `i`.
    fn columns(&self, gram: &Tiles, k: usize, i: usize) -> Result<Tensor> {
        let out = self.entries(gram, k, i)?;
        for d in 0..self.parts.len() {
            self.add(&out, &self.entries(gram, d, k)?, self.block(d, i))?;
        }
        Ok(out)
    }

    /// The rows of part `row` and the columns of part `col` of G.
    fn entries(&self, gram: &Tiles, row: usize, col: usize) -> Result<Tensor> {
        let shape = [self.size(row), self.size(col)];
        let out = self.device.reals(&[2, shape[0], shape[1]])?;
        let [a, b] = [row, col].map(|part| &self.parts[part]);
        // Tiles on the diagonal are stored in full.
        if a.tile >= b.tile {
            self.copied(from(gram.tile(a.tile, b.tile), a.first, b.first), whole(&out), shape)?;
        } else {
            self.transposed(from(gram.tile(b.tile, a.tile), b.first, a.first), [shape[1], shape[0]], whole(&out))?;
        }
        Ok(out)
    }

    /// `out += x^T y` for pairs out [2, a, b] and x [2, k, a], and y [k, b].
    fn add(&self, out: &Tensor, x: &Tensor, y: &Tensor) -> Result<()> {
        let (device, [depth, a, b]) = (&self.device, [y.rows(), x.cols(), y.cols()]);
        let [[x_high, x_low], [_, out_low]] = [x, out].map(|of| layers(whole(of)));
        // To second parts, which the sums of first parts then take in.
        let small = Gemm::of(Layout::TN, [a, b, depth], x_low, Mat::of(y), out_low);
        device.run(&Gemm { accumulate: true, ..small })?;
        let p = device.reals(&[depth, a + b])?;
        for (x, first, cols) in [(x_high, 0, a), (Mat::of(y), a, b)] {
            self.copy(x, Mat::at(&p, first, a + b), [depth, cols])?;
        }
        add_products(device, &p, 0..depth, &[Place { tile: out, row0: 0, col0: a }])
    }

    /// Copies what is below the diagonal of a tile [2, n, n] to the other side, as sums of products do on the way: of a
    /// sample that is 0.
    fn mirror(&self, tile: &Tensor) -> Result<()> {
        let zero = self.device.zeros(&[1, tile.cols()])?;
        add_products(&self.device, &zero, 0..1, &[Place { tile, row0: 0, col0: 0 }])
    }

    fn copy(&self, x: Mat<'_>, out: Mat<'_>, [rows, cols]: [usize; 2]) -> Result<()> {
        self.device.run(&CopyBlock { x, out, rows, cols, factor: 1.0, accumulate: false })
    }

    fn copied(&self, x: Pair<'_>, out: Pair<'_>, shape: [usize; 2]) -> Result<()> {
        layers(x).into_iter().zip(layers(out)).try_for_each(|(x, out)| self.copy(x, out, shape))
    }

    /// out [cols, rows] for x [rows, cols].
    fn transposed(&self, x: Pair<'_>, shape: [usize; 2], out: Pair<'_>) -> Result<()> {
        layers(x).into_iter().zip(layers(out)).try_for_each(|(x, out)| self.transpose.run(x, shape, out))
    }
}
