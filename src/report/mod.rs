//! What a run tells: the table of accuracies, and `results.json`.

mod metrics;
mod results;
mod table;

pub use metrics::Metrics;
pub use results::{Measured, Memory, Results, Seconds, check_writable};
pub use table::{header, row, summary};
