//! The one error type of the crate: every variant names the thing at fault and the way out.

use std::path::PathBuf;

use crate::device::DType;

/// Everything that can go wrong on user input, files, devices and numerics.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operand does not have the shape that an operation needs.
    #[error("{op}: `{arg}` must have shape {expected}, got {got}")]
    Shape { op: &'static str, arg: &'static str, expected: String, got: String },
    /// An operand holds elements of another type than an operation needs.
    #[error("{op}: `{arg}` must hold {expected:?}, got {got:?}")]
    DType { op: &'static str, arg: &'static str, expected: DType, got: DType },
    /// One tensor is to be written and used otherwise at once.
    #[error(
        "{op}: `{a}` and `{b}` are the same tensor, which cannot be written beside another use; use one of its own"
    )]
    Aliasing { op: &'static str, a: &'static str, b: &'static str },
    /// A request exceeds what the device (or the method) can hold.
    #[error("{what} needs {needed}, but the limit of {subject} is {limit}; {way_out}")]
    Limit { what: String, subject: String, needed: u64, limit: u64, way_out: &'static str },
    /// The request is valid but not offered by this build or device.
    #[error("{0}")]
    Unsupported(String),
    /// A shader did not assemble, validate or compile.
    #[error("shader `{kernel}`: {message}")]
    Shader { kernel: String, message: String },
    /// The device stopped answering.
    #[error("the device was lost while running `{during}` ({reason}); restart, or choose another with --device")]
    DeviceLost { during: String, reason: String },
    /// The device could not allocate.
    #[error("out of device memory while running `{during}`; use a smaller batch or buffer_size, or --device cpu")]
    OutOfMemory { during: String },
    /// The driver reported a misuse: a bug of this crate, reported with the kernel's name.
    #[error("the device refused `{during}`: {reason}")]
    Validation { during: String, reason: String },
    /// No adapter matches the request.
    #[error("no device matches `{wanted}`; available: {available}")]
    UnknownDevice { wanted: String, available: String },
    /// A Cholesky factorisation met a pivot that is not positive.
    #[error("the Gram matrix is not positive definite: pivot {pivot:e} at column {column}; use a larger gamma")]
    NotPositiveDefinite { column: usize, pivot: f64 },
    /// A linear system was solved, but the solution does not satisfy it.
    #[error(
        "the classifier misses its equations by {residual:.1e}: the Gram matrix is ill-conditioned; use a larger gamma"
    )]
    IllConditioned { residual: f64 },
    /// Model weights are missing, extra, misshapen or unreadable.
    #[error("weights {file}: {message}")]
    Weights { file: String, message: String },
    /// A golden file is damaged or none, or what it holds cannot be replayed.
    #[error("golden file {file}: {message}")]
    Golden { file: String, message: String },
    /// A file of statistics, a classifier, a model or a checkpoint is damaged or none.
    #[error("file {file}: {message}")]
    Store { file: String, message: String },
    /// Statistics of features that were made by different networks.
    #[error("these statistics cannot be joined: their {part} differ; gather all of them with {same}")]
    Mismatch { part: &'static str, same: &'static str },
    /// A data set is missing, truncated or inconsistent.
    #[error("data {file}: {message}")]
    Data { file: String, message: String },
    /// A setting has no meaning or an impossible value.
    #[error("setting {0}")]
    Config(String),
    /// The operating system refused.
    #[error("{action} {path}: {reason}")]
    Io { action: &'static str, path: PathBuf, reason: String },
}

/// The crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Wraps an I/O failure with what was attempted and on which path.
    pub fn io(action: &'static str, path: impl Into<PathBuf>, source: &std::io::Error) -> Self {
        Self::Io { action, path: path.into(), reason: source.to_string() }
    }

    /// A shape mismatch of operand `arg` of operation `op`.
    pub fn shape(
        op: &'static str,
        arg: &'static str,
        expected: impl std::fmt::Debug,
        got: impl std::fmt::Debug,
    ) -> Self {
        Self::Shape { op, arg, expected: format!("{expected:?}"), got: format!("{got:?}") }
    }
}
