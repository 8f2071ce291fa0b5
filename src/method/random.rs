//! Independent streams of random numbers, all from the seed of a run.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a stream is for.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    Frozen,
    Module {
        task: usize,
        layer: usize,
    },
    Schedule {
        task: usize,
    },
    Turns {
        step: u32,
    },
    Held {
        task: usize,
    },
    Projection,
    Buffer,
    /// D of the adapters of a task, block by block.
    Adapter {
        task: usize,
        block: usize,
    },
    /// w of the cosine head of a task.
    CosineHead {
        task: usize,
    },
    /// The head of a task of SLCA.
    SlcaHead {
        task: usize,
    },
    /// The order of the features that an epoch of SLCA's alignment draws.
    DrawnOrder {
        task: usize,
        epoch: usize,
    },
    /// Those of a class.
    Drawn {
        task: usize,
        epoch: usize,
        class: usize,
    },
    /// An entry of a part of what prompts are made of, or of their head.
    Entry {
        part: usize,
        entry: usize,
    },
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
        Purpose::Adapter { task, block } => 7 << 40 | (task as u64) << 16 | block as u64,
        Purpose::CosineHead { task } => 8 << 40 | task as u64,
        Purpose::SlcaHead { task } => 9 << 40 | task as u64,
        Purpose::DrawnOrder { task, epoch } => 10 << 40 | (task as u64) << 16 | epoch as u64,
        // Classes and tasks are below 2^20, epochs below 2^14.
        Purpose::Drawn { task, epoch, class } => 1 << 63 | (task as u64) << 34 | (epoch as u64) << 20 | class as u64,
        Purpose::Entry { part, entry } => 16 << 40 | (part as u64) << 24 | entry as u64,
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
