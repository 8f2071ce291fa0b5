//! Operations on matrices, whatever they stand for: rows and columns are laid out anew, entries scaled, multiplied, dropped.

use std::ops::Range;

use crate::autograd::tape::{Node, Place, Tape, Var};
use crate::kernels::copy_block::CopyBlock;
use crate::kernels::dropout::Dropout;
use crate::kernels::gemm::Mat;
use crate::kernels::multiply::Multiply;
use crate::kernels::philox_normal::Stream;
use crate::kernels::root_ratio::RootRatio;
use crate::kernels::row_unit::RowUnit;
use crate::kernels::scale_columns::ScaleColumns;
use crate::kernels::token_mean::TokenMean;
use crate::kernels::top_k::TopK;
use crate::{Error, Result};

/// A part of what [`Tape::overlay`] makes: rows of `x` from `first` on, for the rows `to` of the result.
#[derive(Clone, Debug)]
pub struct Laid<'a> {
    pub x: &'a Var,
    pub first: usize,
    pub to: Range<usize>,
    /// Whether `x` is one row, for each of them.
    pub repeated: bool,
}

impl Tape {
    /// A matrix [rows, cols] of zeros, and on it the sum of all `parts`.
    pub fn overlay(&mut self, [rows, cols]: [usize; 2], parts: &[Laid<'_>]) -> Result<Var> {
        let out = self.device.zeros(&[rows, cols])?;
        for Laid { x, first, to, repeated } in parts {
            let (x, ld) = (&x.value, if *repeated { 0 } else { cols });
            if x.cols() != cols || to.end > rows {
                return Err(Error::shape("overlay", "parts", [rows, cols], [to.end, x.cols()]));
            }
            let (x, out) = (Mat::at(x, first * cols, ld), Mat::at(&out, to.start * cols, cols));
            self.device.run(&CopyBlock { x, out, rows: to.len(), cols, factor: 1.0, accumulate: true })?;
        }
        let tracked = parts.iter().any(|part| part.x.node.is_some());
        let place = |part: &Laid<'_>| (Place::from(part.x), part.first, part.to.clone(), part.repeated);
        Ok(self.result(out, tracked, || Node::Overlay { parts: parts.iter().map(place).collect() }))
    }

    /// `[x_0 | x_1 | ..]`, matrices [rows, cols_i] side by side.
    pub fn concat(&mut self, parts: &[&Var]) -> Result<Var> {
        let rows = parts.first().map_or(0, |part| part.value.rows());
        let cols: usize = parts.iter().map(|part| part.value.cols()).sum();
        let out = self.device.reals(&[rows, cols])?;
        let mut at = 0;
        for part in parts {
            if part.value.rows() != rows {
                return Err(Error::shape("concat", "parts", rows, part.value.rows()));
            }
            let width = part.value.cols();
            let (x, to) = (Mat::of(&part.value), Mat::at(&out, at, cols));
            self.device.run(&CopyBlock { x, out: to, rows, cols: width, factor: 1.0, accumulate: false })?;
            at += width;
        }
        let tracked = parts.iter().any(|part| part.node.is_some());
        let node = || Node::Concat { parts: parts.iter().map(|&part| part.into()).collect() };
        Ok(self.result(out, tracked, node))
    }

    /// The same numbers in another shape of equal size.
    pub fn reshape(&mut self, x: &Var, shape: &[usize]) -> Var {
        self.result(x.value.reshape(shape), x.node.is_some(), || Node::Reshaped { x: x.into() })
    }

    /// All of `x` as one row, so many times: [times, numbers of x].
    pub fn repeat(&mut self, x: &Var, times: usize) -> Result<Var> {
        let cols = x.value.len();
        let out = self.device.reals(&[times, cols])?;
        let (from, to) = (Mat::at(&x.value, 0, 0), Mat::of(&out));
        self.device.run(&CopyBlock { x: from, out: to, rows: times, cols, factor: 1.0, accumulate: false })?;
        Ok(self.result(out, x.node.is_some(), || Node::Repeat { x: x.into() }))
    }

    /// The columns `range` of `x`.
    pub fn columns(&mut self, x: &Var, range: Range<usize>) -> Result<Var> {
        let (rows, cols) = (x.value.rows(), range.len());
        if range.end > x.value.cols() {
            return Err(Error::shape("columns", "x", format!("at least {} columns", range.end), x.value.shape()));
        }
        let out = self.device.reals(&[rows, cols])?;
        let (from, to) = (Mat::at(&x.value, range.start, x.value.cols()), Mat::of(&out));
        self.device.run(&CopyBlock { x: from, out: to, rows, cols, factor: 1.0, accumulate: false })?;
        Ok(self.result(out, x.node.is_some(), || Node::Columns { x: x.into(), start: range.start }))
    }

    /// The class token (token 0) of `x` [batch, tokens, d1] -> [batch, d1].
    pub fn class_token(&mut self, x: &Var, batch: usize, tokens: usize) -> Result<Var> {
        self.token_mean(x, batch, tokens, 0..1)
    }

    /// The mean of the tokens `range` of `x` [batch, tokens, d1] -> [batch, d1].
    pub fn token_mean(&mut self, x: &Var, batch: usize, tokens: usize, range: Range<usize>) -> Result<Var> {
        let d1 = x.value.cols();
        let whole = x.value.reshape(&[batch, tokens, d1]);
        let out = self.device.reals(&[batch, d1])?;
        self.device.run(&TokenMean { x: &whole, range: range.clone(), out: &out })?;
        Ok(self.result(out, x.node.is_some(), || Node::TokenMean {
            x: Place { node: x.node, shape: vec![batch, tokens, d1] },
            range,
        }))
    }

    /// `factor x`.
    pub fn scale(&mut self, x: &Var, factor: f64) -> Result<Var> {
        let out = self.device.reals(x.value.shape())?;
        let (rows, cols) = (out.rows(), out.cols());
        let (from, to) = (Mat::of(&x.value), Mat::of(&out));
        self.device.run(&CopyBlock { x: from, out: to, rows, cols, factor, accumulate: false })?;
        Ok(self.result(out, x.node.is_some(), || Node::Scaled { x: x.into(), factor }))
    }

    /// `x` with each column times its number in `scale` `[cols]`.
    pub fn scale_columns(&mut self, x: &Var, scale: &Var) -> Result<Var> {
        let out = self.device.reals(x.value.shape())?;
        self.device.run(&ScaleColumns { x: &x.value, scale: &scale.value, y: &out })?;
        let tracked = x.node.is_some() || scale.node.is_some();
        Ok(self.result(out, tracked, || Node::ScaleColumns { x: x.clone(), scale: scale.clone() }))
    }

    /// `a b`, element by element.
    pub fn multiply(&mut self, a: &Var, b: &Var) -> Result<Var> {
        let out = self.device.reals(a.value.shape())?;
        self.device.run(&Multiply { a: &a.value, b: &b.value, y: &out, accumulate: false })?;
        let tracked = a.node.is_some() || b.node.is_some();
        Ok(self.result(out, tracked, || Node::Multiply { a: a.clone(), b: b.clone() }))
    }

    /// `x / max(sqrt(s), 1e-12)`, element by element.
    pub fn root_ratio(&mut self, x: &Var, s: &Var) -> Result<Var> {
        let out = self.device.reals(x.value.shape())?;
        self.device.run(&RootRatio { x: &x.value, s: &s.value, y: &out })?;
        let (tracked, y) = (x.node.is_some() || s.node.is_some(), out.clone());
        Ok(self.result(out, tracked, || Node::RootRatio { x: x.into(), s: s.clone(), y }))
    }

    /// Rows of length one: `x / max(|x|, 1e-12)`.
    pub fn unit(&mut self, x: &Var) -> Result<Var> {
        let out = self.device.reals(x.value.shape())?;
        let norms = if x.node.is_some() { Some(self.device.reals(&[x.value.rows()])?) } else { None };
        self.device.run(&RowUnit { x: &x.value, y: &out, norms: norms.as_ref() })?;
        let y = out.clone();
        let node = || Node::Unit { x: x.into(), y, norms: norms.expect("saved for a tracked branch") };
        Ok(self.result(out, x.node.is_some(), node))
    }

    /// `x / (1 - share)`, of which a random share becomes zero; `stream` says which.
    pub fn dropout(&mut self, x: &Var, share: f64, stream: Stream) -> Result<Var> {
        let out = self.device.reals(x.value.shape())?;
        self.device.run(&Dropout { x: &x.value, y: &out, share, stream, accumulate: false })?;
        Ok(self.result(out, x.node.is_some(), || Node::Dropout { x: x.into(), share, stream }))
    }

    /// Where the k largest entries of each row of `x` [rows, n] are, as ones in [rows, k, n], the largest first. No gradient
    /// flows through a choice.
    pub fn largest(&self, x: &Var, k: usize) -> Result<Var> {
        let hot = self.device.reals(&[x.value.rows(), k, x.value.cols()])?;
        self.device.run(&TopK { x: &x.value, hot: &hot })?;
        Ok(Var { value: hot, node: None })
    }
}
