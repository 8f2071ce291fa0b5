//! What a run tells: the table of accuracies, `results.json`, and a page of figures; what runs of several methods tell beside each
//! other; profiles; pictures.

mod comparison;
mod metrics;
#[cfg(feature = "cli")]
mod overlay;
#[cfg(feature = "cli")]
mod page;
#[cfg(feature = "cli")]
mod picture;
pub mod profile;
mod results;
mod say;
mod scatter;
mod spread;
mod table;

pub use comparison::{Choice, Comparison, Differences, Figures, Known, Row, Run, Size, Trial};
pub use metrics::Metrics;
#[cfg(feature = "cli")]
pub use overlay::overlays;
#[cfg(feature = "cli")]
pub use page::Page;
#[cfg(feature = "cli")]
pub(crate) use page::quoted;
#[cfg(feature = "cli")]
pub use picture::png;
#[cfg(feature = "cli")]
pub(crate) use results::FILE as RESULTS_FILE;
pub use results::{Measured, Memory, Moved, Noise, Peaks, Results, Seconds, check_writable};
#[cfg(feature = "cli")]
pub(crate) use say::mib;
#[cfg(feature = "cli")]
pub use scatter::scatters;
pub use scatter::{Dot, Dots, Scatter, Shade};
pub use spread::{Difference, Spread, sign_test};
pub use table::{costs, header, row, summary};
