//! The share of multiply-adds in the hot loop of a pipeline, read from the instructions that a driver prints.

use std::collections::BTreeMap;

use crate::flow::loops;
use crate::listing::read;

/// How often a loop is taken to turn: sets a product's loop inside another above long straight code beside it, such as
/// random numbers.
const TURNS: u64 = 16;

/// Multiply-adds per instruction of the loop that runs most of them, loops inside it left out; of several that run as
/// many, the worst counts. None: no loop multiplies, or the driver lists no instructions. An instruction that does
/// several multiply-adds for each of the `subgroup` threads counts as many.
pub fn share(listing: &str, subgroup: u32) -> Option<f64> {
    let code = read(listing, subgroup);
    let loops = loops(&code);
    let mut totals: BTreeMap<usize, (u64, u32, u32)> = BTreeMap::new();
    for (at, instruction) in code.iter().enumerate() {
        let around = loops.iter().filter(|(_, body)| body.contains(&at));
        let depth = around.clone().count() as u32;
        if let Some((&header, _)) = around.min_by_key(|(_, body)| body.len()) {
            let total = totals.entry(header).or_default();
            total.0 += u64::from(instruction.multiply_adds) * TURNS.pow(depth);
            total.1 += instruction.issued;
            total.2 += instruction.multiply_adds;
        }
    }
    let (_, issued, multiply_adds) = totals.into_values().max()?;
    (multiply_adds > 0).then(|| f64::from(multiply_adds) / f64::from(issued))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A loop with `outer` multiply-adds of its own around one with `inner`, each with another instruction or two.
    fn nested(outer: usize, inner: usize) -> String {
        let outer = "\tv_fma_f32 v0, v1\n".repeat(outer);
        let inner = "\tv_fmac_f32_e32 v0, v1 ; 00\n".repeat(inner);
        let ends = ["\ts_cbranch_scc1 BB2\n\ts_nop 0\n", "\ts_branch BB1\n", "\ts_endpgm\n"];
        format!("BB0:\n\tv_fma_f32 v0, v1\nBB1:\n{outer}BB2:\n{inner}{}", ends.concat())
    }

    #[test]
    fn the_loop_that_runs_most_multiply_adds_counts_alone() {
        assert_eq!(share(&nested(2, 0), 64), Some(2.0 / 4.0));
        assert_eq!(share(&nested(20, 3), 64), Some(3.0 / 4.0));
    }

    #[test]
    fn no_loop_or_no_listing_has_no_share() {
        assert_eq!(share("BB0:\n\tv_fma_f32 v0, v1\n\ts_endpgm\n", 64), None);
        assert_eq!(share("", 64), None);
    }
}
