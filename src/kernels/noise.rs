//! The noise layer: parameters, and its two equal paths (one fused kernel, or a chain of products).

mod layout;

pub use layout::PhiLayout;

use super::philox_normal::Stream;

/// What multiplies sigma.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// eps = 0: the mean, for evaluation; sigma is not computed.
    Mean,
    /// eps = 1 (profile `official`).
    Plain,
    /// eps ~ N(0, 1), independent per module, token and unit.
    Sample { seed: u64, layer: u32, step: u32 },
}

impl Noise {
    /// The random numbers of module `task`; all zero where none are drawn.
    pub(crate) fn stream(self, task: usize) -> Stream {
        match self {
            Self::Sample { seed, layer, step } => Stream { seed, layer, task: task as u32, step },
            _ => Stream { seed: 0, layer: 0, task: 0, step: 0 },
        }
    }
}
