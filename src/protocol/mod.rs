//! The class-incremental protocol: which classes come when, and how the model is judged.

mod archive;
mod build;
mod checkpoint;
mod compare;
mod excerpt;
mod explain;
mod feed;
mod gather;
mod golden;
mod inspect;
mod metrics;
mod model;
mod order;
mod session;
mod split;
mod verify;
mod watch;

pub use crate::report::Metrics;
pub use archive::Archive;
pub use checkpoint::{is_unfinished, saved_settings};
pub use compare::{FLOOR, Found, Plan, Planned, Row, ablation, found, methods, setting};
pub use excerpt::{Excerpt, Excerpted};
pub use explain::{Explainer, Explanation, Near, Scored, Share, Sight};
pub use gather::{gather, save_classifier};
pub use inspect::{Inspection, inspect};
pub use model::{Answer, Judged, Model};
pub use order::class_order;
pub use session::{Progress, Session, run};
pub use split::Tasks;
pub use verify::{Check, Outcome, Replay, verify};
pub use watch::{Pass, Unwatched, Watch};
