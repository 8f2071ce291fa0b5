//! Files that keep what was learned: one format of named tensors and fields, whole or absent, checked when read.

mod file;
mod replace;
mod tree;

pub use file::{File, write};
pub use replace::{check_replaceable, replace};
pub use tree::{Element, Tree};
