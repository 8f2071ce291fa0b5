//! MiN (mixture of noise) for class-incremental learning, on hand-written WGSL kernels.

pub mod config;
pub mod data;
pub mod error;
pub mod protocol;
pub mod report;

pub use error::{Error, Result};
