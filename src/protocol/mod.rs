//! The class-incremental protocol: which classes come when, and how the model is judged.

mod build;
mod golden;
mod metrics;
mod order;
mod run;
mod split;
mod verify;

pub use metrics::Metrics;
pub use order::class_order;
pub use run::{Watch, run};
pub use split::Tasks;
pub use verify::{Check, Outcome, Replay, verify};
