//! How the features of a drift are divided.

use std::ops::Range;

use crate::Result;
use crate::device::{Device, Tensor};

/// Features of one row of tiles that all move, or all stay where they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    pub features: Range<usize>,
    /// The row of tiles, and the part's first row there.
    pub tile: usize,
    pub first: usize,
    pub moves: bool,
}

/// All parts of `features` in tiles of this side; the first `still` do not move. Those that move are the last ones.
pub fn parts(features: usize, still: usize, side: usize) -> Vec<Part> {
    let mut parts = Vec::new();
    for (tile, start) in (0..features).step_by(side).enumerate() {
        let end = features.min(start + side);
        let middle = still.clamp(start, end);
        for (features, moves) in [(start..middle, false), (middle..end, true)] {
            if !features.is_empty() {
                parts.push(Part { first: features.start - start, features, tile, moves });
            }
        }
    }
    parts
}

/// Some features of a part, and a matrix that has a row for each.
#[derive(Debug)]
pub struct Strip {
    pub part: usize,
    pub features: Range<usize>,
    pub data: Tensor,
}

impl Strip {
    /// The number of features.
    pub fn len(&self) -> usize {
        self.features.len()
    }
}

/// Numbers of a strip at most: 32 MiB.
const NUMBERS: usize = 1 << 23;

/// How many rows of `numbers` numbers a strip has at most.
pub fn height(numbers: usize) -> usize {
    (NUMBERS / numbers).max(1)
}

/// Strips [.., features, cols] of the parts that are `chosen`, of one layer or of two for pairs, filled with zeros.
///
/// # Errors
/// Allocation failures.
pub fn strips(
    device: &Device,
    parts: &[Part],
    chosen: impl Fn(&Part) -> bool,
    layers: usize,
    cols: usize,
) -> Result<Vec<Strip>> {
    let mut strips = Vec::new();
    for (part, of) in parts.iter().enumerate().filter(|(_, part)| chosen(part)) {
        let Range { start, end } = of.features;
        for start in (start..end).step_by(height(2 * cols)) {
            let features = start..end.min(start + height(2 * cols));
            let shape = [layers, features.len(), cols];
            let shape = if layers == 1 { &shape[1..] } else { &shape };
            strips.push(Strip { part, data: device.zeros(shape)?, features });
        }
    }
    Ok(strips)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_end_with_tiles_and_where_features_begin_to_move() {
        let part = |features: Range<usize>, tile, first, moves| Part { features, tile, first, moves };
        let wanted = [
            part(0..1728, 0, 0, false),
            part(1728..2500, 1, 0, false),
            part(2500..3456, 1, 772, true),
            part(3456..5000, 2, 0, true),
        ];
        assert_eq!(parts(5000, 2500, 1728), wanted);
        assert_eq!(parts(4096, 2048, 2048), [part(0..2048, 0, 0, false), part(2048..4096, 1, 0, true)]);
        assert_eq!(parts(7, 0, 7), [part(0..7, 0, 0, true)]);
    }
}
