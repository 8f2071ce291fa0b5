//! Reverse-mode differentiation: a tape of the operations that MiN trains through, scheduled on a device.

mod backward;
mod ops;
mod tape;

pub use backward::Gradients;
pub use ops::{Linear, Loss, NoiseOp, Weights};
pub use tape::{Segment, Tape, Var};
