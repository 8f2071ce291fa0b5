#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

#[doc(hidden)]
pub mod algorithms;
#[doc(hidden)]
pub mod autograd;
#[doc(hidden)]
pub mod bench;
#[doc(hidden)]
pub mod catalogue;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod config;
#[doc(hidden)]
pub mod cpu;
pub mod data;
pub mod device;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod driver;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod emit;
pub mod error;
mod host;
#[doc(hidden)]
pub mod kernels;
mod linalg;
#[doc(hidden)]
pub mod method;
#[doc(hidden)]
pub mod model;
pub mod protocol;
pub mod report;
pub mod roofline;
#[doc(hidden)]
pub mod store;
#[doc(hidden)]
pub mod tune;
#[doc(hidden)]
pub mod uses;

pub use config::Config;
pub use data::Dataset;
pub use device::Device;
pub use error::{Error, Result};
pub use protocol::{Model, Session};
pub use report::Results;
