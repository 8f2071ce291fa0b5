//! Reverse-mode differentiation: a tape of the operations that MiN trains through, scheduled on a device.

mod backward;
mod ops;
mod tape;

pub use backward::Gradients;
pub use ops::{Laid, Linear, Loss, NoiseOp, PatchOp, Weights};
pub use tape::{Segment, Tape, Var};
