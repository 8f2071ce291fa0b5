//! Independent streams of random numbers, all from the seed of a run.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a stream is for.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    Frozen,
    Module { task: usize, layer: usize },
    Schedule { task: usize },
    Turns { step: u32 },
    Held { task: usize },
    /// R of RanPAC.
    Projection,
    /// B of ACIL and DS-AL.
    Buffer,
}

/// The stream for a purpose.
pub fn rng(seed: u64, purpose: Purpose) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(match purpose {
        Purpose::Frozen => 0,
        Purpose::Module { task, layer } => 1 << 40 | (task as u64) << 16 | layer as u64,
        Purpose::Schedule { task } => 2 << 40 | task as u64,
        Purpose::Turns { step } => 3 << 40 | u64::from(step),
        Purpose::Held { task } => 4 << 40 | task as u64,
        Purpose::Projection => 5 << 40,
        Purpose::Buffer => 6 << 40,
    });
    rng
}

/// Quarter turns for the `n` images of a training step, 0 to 3 each.
pub fn turns(seed: u64, step: u32, n: usize) -> Vec<u32> {
    let mut rng = rng(seed, Purpose::Turns { step });
    (0..n).map(|_| rng.random_range(0..4)).collect()
}

/// A quarter of the `n` images of a task, and the rest, each in ascending order.
pub fn held_out(seed: u64, task: usize, n: usize) -> (Vec<usize>, Vec<usize>) {
    let mut order: Vec<usize> = (0..n).collect();
    order.shuffle(&mut rng(seed, Purpose::Held { task }));
    let mut rest = order.split_off(n / 4);
    order.sort_unstable();
    rest.sort_unstable();
    (order, rest)
}
