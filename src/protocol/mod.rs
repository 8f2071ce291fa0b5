//! The class-incremental protocol: which classes come when, and how the model is judged.

mod metrics;
mod order;
mod split;

pub use metrics::Metrics;
pub use order::class_order;
pub use split::Tasks;
