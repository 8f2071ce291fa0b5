//! The lower triangle of a symmetric matrix as square tiles in tensors of their own, so that no binding is large.

use std::ops::Range;

use crate::Result;
use crate::device::{Device, Tensor};

/// Rows and columns of a tile at most: few dispatches make a large matrix, and a tile of pairs is 32 MiB.
const SIDE: usize = 2048;

/// Tiles (0, 0), (1, 0), (1, 1), (2, 0), ... of a symmetric matrix [m, m]; the last row of tiles may be lower than the
/// others.
#[derive(Clone, Debug)]
pub struct Tiles {
    m: usize,
    side: usize,
    tiles: Vec<Tensor>,
}

/// Side of the tiles of a matrix [m, m]: equal shares, so that no sliver is left at the end.
pub fn side(m: usize) -> usize {
    if m <= SIDE { m.max(1) } else { m.div_ceil(m.div_ceil(SIDE)).next_multiple_of(64) }
}

impl Tiles {
    /// Tiles [layers, rows, cols] with arbitrary contents; two layers hold pairs.
    ///
    /// # Errors
    /// Allocation failures.
    pub fn new(device: &Device, m: usize, side: usize, layers: usize) -> Result<Self> {
        let mut new = Self { m, side, tiles: Vec::new() };
        for (i, j) in new.places() {
            let shape = [layers, new.range(i).len(), new.range(j).len()];
            new.tiles.push(device.reals(&shape)?);
        }
        Ok(new)
    }

    /// Tiles of the same shapes of which equal ones share a tensor: for plans.
    ///
    /// # Errors
    /// Allocation failures.
    pub fn stand_in(device: &Device, m: usize, side: usize, layers: usize) -> Result<Self> {
        let mut new = Self { m, side, tiles: Vec::new() };
        for (i, j) in new.places() {
            let shape = [layers, new.range(i).len(), new.range(j).len()];
            let like = new.tiles.iter().find(|tile| tile.shape() == shape).cloned();
            new.tiles.push(match like {
                Some(tile) => tile,
                None => device.reals(&shape)?,
            });
        }
        Ok(new)
    }

    /// Rows and columns of the whole matrix.
    pub fn size(&self) -> usize {
        self.m
    }

    pub fn side(&self) -> usize {
        self.side
    }

    /// Rows of tiles.
    pub fn count(&self) -> usize {
        self.m.div_ceil(self.side)
    }

    /// Rows of the whole matrix in row `i` of tiles.
    pub fn range(&self, i: usize) -> Range<usize> {
        i * self.side..self.m.min((i + 1) * self.side)
    }

    /// Row and column of every tile, in order.
    pub fn places(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        (0..self.count()).flat_map(|i| (0..=i).map(move |j| (i, j)))
    }

    /// The tile in row `i` and column `j <= i`.
    pub fn tile(&self, i: usize, j: usize) -> &Tensor {
        &self.tiles[i * (i + 1) / 2 + j]
    }

    /// Puts another tile of the same shape in its place.
    pub fn set(&mut self, i: usize, j: usize, tile: Tensor) {
        self.tiles[i * (i + 1) / 2 + j] = tile;
    }

    /// All tiles in order.
    pub fn all(&self) -> &[Tensor] {
        &self.tiles
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Caps;

    #[test]
    fn tiles_share_the_matrix_evenly() {
        assert_eq!(
            [1, 384, 2048, 2049, 4096, 5000, 16384, 32768].map(side),
            [1, 384, 2048, 1088, 2048, 1728, 2048, 2048]
        );
        let device = Device::planner(Caps::floor());
        let tiles = Tiles::new(&device, 200, 96, 2).unwrap();
        assert_eq!(tiles.all().len(), 6);
        assert_eq!(tiles.tile(2, 1).shape(), [2, 8, 96]);
        assert_eq!(tiles.tile(2, 2).shape(), [2, 8, 8]);
        assert_eq!(tiles.places().last(), Some((2, 2)));
    }
}
