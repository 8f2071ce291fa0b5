//! The class-incremental protocol: which classes come when, and how the model is judged.

mod archive;
mod build;
mod feed;
mod gather;
mod golden;
mod inspect;
mod metrics;
mod order;
mod run;
mod split;
mod verify;

pub use crate::report::Metrics;
pub use archive::Archive;
pub use gather::{Judged, gather, judge, save_classifier};
pub use inspect::{Inspection, inspect};
pub use order::class_order;
pub use run::{Watch, run};
pub use split::Tasks;
pub use verify::{Check, Outcome, Replay, verify};
