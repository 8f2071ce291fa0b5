//! Parts of a host slice that several threads write side by side: rows, columns and batches of matrices, disjoint by
//! construction. All unsafe code of the twins stands here.

use std::marker::PhantomData;
use std::ops::Range;

use faer::MatMut;

/// A matrix whose elements nobody else can reach. Its rows need not be contiguous, so that columns of one matrix can be
/// written by different threads: slices are handed out for single rows only.
#[derive(Debug)]
pub struct BlockMut<'a, R> {
    start: *mut R,
    rows: usize,
    cols: usize,
    /// Elements from one row to the next.
    ld: usize,
    owned: PhantomData<&'a mut [R]>,
}

// SAFETY: a block is a `&mut` to its own elements, which no other block holds.
unsafe impl<R: Send> Send for BlockMut<'_, R> {}

impl<'a, R> BlockMut<'a, R> {
    /// The matrix [rows, cols] at the start of a slice, one row every `ld` elements.
    ///
    /// # Panics
    /// Where the matrix is not inside the slice, or its rows overlap.
    pub fn new(slice: &'a mut [R], shape: [usize; 2], ld: usize) -> Self {
        Self::batch(slice, shape, ld, [1, 0]).pop().expect("one matrix")
    }

    /// `count` such matrices, one every `stride` elements: one behind the other, or side by side in the same rows.
    ///
    /// # Panics
    /// Where one is not inside the slice, or any two elements are the same.
    pub fn batch(slice: &'a mut [R], [rows, cols]: [usize; 2], ld: usize, [count, stride]: [usize; 2]) -> Vec<Self> {
        let size = if rows == 0 || cols == 0 { 0 } else { (rows - 1) * ld + cols };
        assert!(rows <= 1 || ld >= cols, "rows of {cols} elements overlap: one every {ld}");
        let last = count.saturating_sub(1) * stride;
        let apart = stride >= size || (stride >= cols && last + cols <= ld);
        assert!(count <= 1 || size == 0 || apart, "matrices of a batch overlap: one every {stride}");
        assert!(size == 0 || count == 0 || last + size <= slice.len(), "{} elements of {}", last + size, slice.len());
        let start = slice.as_mut_ptr();
        (0..count)
            .map(|i| {
                // Empty matrices hold no element, wherever they would stand.
                let at = if size == 0 { 0 } else { i * stride };
                // SAFETY: inside the slice, which is borrowed for 'a, and disjoint from the others, by the assertions.
                Self { start: unsafe { start.add(at) }, rows, cols, ld, owned: PhantomData }
            })
            .collect()
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Row `i`.
    pub fn row(&mut self, i: usize) -> &mut [R] {
        assert!(i < self.rows, "row {i} of {}", self.rows);
        // SAFETY: row i lies inside the block, which is borrowed as a whole.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(i * self.ld), self.cols) }
    }

    /// Some columns of all rows.
    pub fn cols(&mut self, range: Range<usize>) -> BlockMut<'_, R> {
        assert!(range.start <= range.end && range.end <= self.cols, "columns {range:?} of {}", self.cols);
        // SAFETY: inside the block, or empty; the block is borrowed for as long as these columns.
        let start = unsafe { self.start.add(if self.rows == 0 { 0 } else { range.start }) };
        BlockMut { start, cols: range.len(), ..*self }
    }

    /// Blocks of `size` rows, the last one perhaps of fewer.
    pub fn split_rows(self, size: usize) -> impl Iterator<Item = Self> {
        (0..self.rows).step_by(size.max(1)).map(move |first| {
            let rows = size.max(1).min(self.rows - first);
            // SAFETY: rows of different blocks are disjoint, and `self` is gone.
            Self { start: unsafe { self.start.add(first * self.ld) }, rows, ..self }
        })
    }

    /// Blocks of `size` columns, the last one perhaps of fewer.
    pub fn split_cols(self, size: usize) -> impl Iterator<Item = Self> {
        let filled = if self.rows == 0 { 0 } else { self.cols };
        (0..filled).step_by(size.max(1)).map(move |first| {
            let cols = size.max(1).min(self.cols - first);
            // SAFETY: columns of different blocks are disjoint, and `self` is gone.
            Self { start: unsafe { self.start.add(first) }, cols, ..self }
        })
    }

    pub fn matrix(&mut self) -> MatMut<'_, R> {
        // SAFETY: the block's own elements, borrowed as a whole.
        unsafe { MatMut::from_raw_parts_mut(self.start, self.rows, self.cols, self.ld as isize, 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;

    /// Writes the number of its block into every element.
    fn number<'a>(blocks: impl Iterator<Item = BlockMut<'a, u32>>) {
        let blocks: Vec<_> = blocks.enumerate().collect();
        blocks.into_par_iter().for_each(|(i, mut block)| {
            (0..block.rows()).for_each(|row| block.row(row).fill(i as u32 + 1));
        });
    }

    #[test]
    fn blocks_cover_their_own_elements() {
        let mut x = [0; 24];
        number(BlockMut::new(&mut x, [4, 6], 6).split_rows(3));
        assert_eq!(x, std::array::from_fn(|i| if i < 18 { 1 } else { 2 }));
        number(BlockMut::new(&mut x, [4, 6], 6).split_cols(4));
        assert_eq!(x, std::array::from_fn(|i| if i % 6 < 4 { 1 } else { 2 }));
        x.fill(0);
        number(BlockMut::batch(&mut x, [3, 2], 8, [3, 3]).into_iter());
        assert_eq!(x, std::array::from_fn(|i| if i % 8 % 3 < 2 { i as u32 % 8 / 3 + 1 } else { 0 }));
        x.fill(0);
        number(BlockMut::batch(&mut x[2..], [2, 3], 5, [2, 11]).into_iter());
        assert_eq!(x[..10], [0, 0, 1, 1, 1, 0, 0, 1, 1, 1]);
        BlockMut::new(&mut x, [4, 6], 6).cols(2..5).row(1)[2] = 9;
        assert_eq!(x[10], 9);
        assert_eq!(BlockMut::new(&mut x[..0], [0, 6], 6).split_rows(2).count(), 0);
        assert_eq!(BlockMut::batch(&mut x[..0], [0, 6], 6, [3, 100]).len(), 3);
    }

    #[test]
    fn overlaps_and_ends_are_found() {
        let made = |shape, ld, batch| {
            std::panic::catch_unwind(|| BlockMut::batch(&mut [0u8; 24], shape, ld, batch).len()).is_ok()
        };
        assert!(made([4, 6], 6, [1, 0]) && !made([4, 7], 7, [1, 0]), "behind the end");
        assert!(!made([3, 6], 5, [1, 0]), "rows that overlap");
        assert!(made([3, 2], 8, [4, 2]) && !made([3, 2], 8, [4, 1]), "columns that overlap");
        assert!(!made([3, 2], 7, [4, 2]), "a last matrix that reaches the next row");
        assert!(made([2, 3], 3, [4, 6]) && !made([2, 3], 3, [4, 5]), "one behind the other");
    }
}
