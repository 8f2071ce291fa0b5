//! The one error type of the crate: every variant names the thing at fault and the way out.

use std::path::PathBuf;

use crate::device::DType;

/// Everything that can go wrong on user input, files, devices and numerics.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operand does not have the shape that an operation needs.
    #[error("{op}: `{arg}` must have shape {expected}, got {got}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// The operand at fault.
        arg: &'static str,
        /// The shape that it needs.
        expected: String,
        /// The shape that it has.
        got: String,
    },
    /// An operand holds elements of another type than an operation needs.
    #[error("{op}: `{arg}` must hold {expected:?}, got {got:?}")]
    DType {
        /// The operation.
        op: &'static str,
        /// The operand at fault.
        arg: &'static str,
        /// The element type that it needs.
        expected: DType,
        /// The element type that it has.
        got: DType,
    },
    /// One tensor is to be written and used otherwise at once.
    #[error(
        "{op}: `{a}` and `{b}` are the same tensor, which cannot be written beside another use; use one of its own"
    )]
    Aliasing {
        /// The operation.
        op: &'static str,
        /// One of the operands.
        a: &'static str,
        /// The other.
        b: &'static str,
    },
    /// A request exceeds what the device (or the method) can hold.
    #[error("{what} needs {needed}, but the limit of {subject} is {limit}; {way_out}")]
    Limit {
        /// What is too large.
        what: String,
        /// What has the limit: a device, a setting, a part of the method.
        subject: String,
        /// What the request takes, in the unit of the limit.
        needed: u64,
        /// The most that there may be: bytes, threads, workgroups or features.
        limit: u64,
        /// What to change.
        way_out: &'static str,
    },
    /// The request is valid but not offered by this build or device.
    #[error("{0}")]
    Unsupported(String),
    /// A shader did not assemble, validate or compile.
    #[error("shader `{kernel}`: {message}")]
    Shader {
        /// The file in `shaders/`, without ending.
        kernel: String,
        /// What the tool that refused it says.
        message: String,
    },
    /// The device stopped answering.
    #[error("the device was lost while running `{during}` ({reason}); restart, or choose another with --device")]
    DeviceLost {
        /// What was under way.
        during: String,
        /// Why, as far as it is known.
        reason: String,
    },
    /// The device could not allocate.
    #[error(
        "out of device memory while running `{during}`; use a smaller batch or buffer_size, --memory (more of it, if it is given), or --device cpu"
    )]
    OutOfMemory {
        /// What was under way, or what there was no room for.
        during: String,
    },
    /// The driver reported a misuse: a bug of this crate, reported with the kernel's name.
    #[error("the device refused `{during}`: {reason}")]
    Validation {
        /// What was under way.
        during: String,
        /// What the driver says.
        reason: String,
    },
    /// No adapter matches the request.
    #[error("no device matches `{wanted}`; available: {available}")]
    UnknownDevice {
        /// What was asked for.
        wanted: String,
        /// What there is, separated by semicolons.
        available: String,
    },
    /// A Cholesky factorisation met a pivot that is not positive.
    #[error("the Gram matrix is not positive definite: pivot {pivot:e} at column {column}; use a larger gamma")]
    NotPositiveDefinite {
        /// The column of the pivot.
        column: usize,
        /// Its value, not above 0.
        pivot: f64,
    },
    /// A linear system was solved, but the solution does not satisfy it.
    #[error(
        "the classifier misses its equations by {residual:.1e}: the Gram matrix is ill-conditioned; use a larger gamma"
    )]
    IllConditioned {
        /// What the equations miss, as a share of their right-hand side.
        residual: f64,
    },
    /// Training, or what it left behind, went beyond the numbers that a float can hold.
    #[error("{what} are not finite: lower {rate}, or check the weights")]
    Diverged {
        /// What is NaN or infinite.
        what: String,
        /// The setting of the learning rate.
        rate: &'static str,
    },
    /// Model weights are missing, extra, misshapen or unreadable.
    #[error("weights {file}: {message}")]
    Weights {
        /// The file.
        file: String,
        /// What is wrong with it.
        message: String,
    },
    /// A golden file is damaged or none, or what it holds cannot be replayed.
    #[error("golden file {file}: {message}")]
    Golden {
        /// The file.
        file: String,
        /// What is wrong with it.
        message: String,
    },
    /// A file of statistics, a classifier, a model or a checkpoint is damaged or none.
    #[error("file {file}: {message}")]
    Store {
        /// The file.
        file: String,
        /// What is wrong with it.
        message: String,
    },
    /// Statistics of features that were made by different networks.
    #[error("these statistics cannot be joined: their {part} differ; gather all of them with {same}")]
    Mismatch {
        /// What differs.
        part: &'static str,
        /// What must agree for it not to.
        same: &'static str,
    },
    /// A data set is missing, truncated or inconsistent.
    #[error("data {file}: {message}")]
    Data {
        /// The file, folder or data set.
        file: String,
        /// What is wrong with it.
        message: String,
    },
    /// A setting has no meaning or an impossible value.
    #[error("setting {0}")]
    Config(String),
    /// The operating system refused.
    #[error("{action} {path}: {reason}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
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
