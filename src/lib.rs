//! MiN (mixture of noise) for class-incremental learning, on hand-written WGSL kernels.

pub mod algorithms;
pub mod autograd;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
pub mod cpu;
pub mod data;
pub mod device;
pub mod error;
mod host;
pub mod kernels;
mod linalg;
pub mod method;
pub mod model;
pub mod protocol;
pub mod report;
pub mod roofline;
pub mod store;
pub mod tune;

pub use error::{Error, Result};

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
