//! What a run tells: the table of accuracies, and `results.json`; and what runs of several methods tell beside each other.

mod comparison;
mod metrics;
mod results;
mod spread;
mod table;

pub use comparison::{Choice, Comparison, Differences, Known, Row, Run, Size, Trial};
pub use metrics::Metrics;
pub use results::{Measured, Memory, Moved, Results, Seconds, check_writable};
pub use spread::{Difference, Spread, sign_test};
pub use table::{costs, header, row, summary};
