//! Where the weights of a noise module stand in its row of `phi`.

use crate::device::{Tensor, View};
use crate::{Error, Result};

/// Layout of one module's weights, all in one row: W1 [e, 2e] and b1 `[2e]` (columns mu | sigma), W2 [2][e, e] and
/// b2 `[2e]` (mu, then sigma); weights input-major. One-layer maps have W2 and b2 only. Padding is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhiLayout {
    /// Noise width.
    pub d2: usize,
    /// `d2` rounded up to a multiple of 4.
    pub e: usize,
    /// Layers of each map, 1 or 2.
    pub layers: usize,
}

impl PhiLayout {
    /// # Errors
    /// [`Error::Config`] for a width of 0 or layers other than 1 and 2.
    pub fn new(d2: usize, layers: usize) -> Result<Self> {
        if d2 == 0 || !(1..=2).contains(&layers) {
            return Err(Error::Config(format!("noise_hidden = {d2}, phi_layers = {layers}: at least 1, and 1 or 2")));
        }
        Ok(Self { d2, e: d2.next_multiple_of(4), layers })
    }

    /// Elements of a row, `P`.
    pub fn len(&self) -> usize {
        self.b2() + 2 * self.e
    }

    /// Never: a module has weights.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Start of b1 (W1 starts at 0). Two layers only.
    pub fn b1(&self) -> usize {
        2 * self.e * self.e
    }

    /// Start of W2.
    pub fn w2(&self) -> usize {
        if self.layers == 2 { self.b1() + 2 * self.e } else { 0 }
    }

    /// Start of b2.
    pub fn b2(&self) -> usize {
        self.w2() + 2 * self.e * self.e
    }

    /// The shape [rows, d1] of tokens.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where d1 is not a multiple of 4.
    pub(crate) fn tokens(&self, op: &'static str, x: &Tensor) -> Result<[usize; 2]> {
        if !x.cols().is_multiple_of(4) {
            return Err(Error::Unsupported(format!("{op}: embed_dim {} is not a multiple of 4", x.cols())));
        }
        Ok([x.rows(), x.cols()])
    }

    /// D [d1, e], then U [e, d1].
    pub(crate) fn projections<'a>(&self, proj: &'a Tensor, d1: usize) -> View<'a> {
        View::shaped(proj, [2 * d1 * self.e])
    }

    /// The first `modules` rows of phi.
    pub(crate) fn modules<'a>(&self, phi: &'a Tensor, modules: usize) -> View<'a> {
        View::part(phi, 0, [modules, self.len()], self.len())
    }

    /// (M | b) [e + 1, e] of one-layer maps.
    pub(crate) fn mean<'a>(&self, mean: &'a Tensor) -> View<'a> {
        View::shaped(mean, [self.e + 1, self.e])
    }

    /// Names of a module's parameters in weight files, e.g. `mu.fc1.weight`.
    pub fn names(&self) -> Vec<String> {
        let layers = if self.layers == 2 { &["fc1", "fc2"][..] } else { &["fc2"] };
        let parts = |kind: &str| {
            layers.iter().flat_map(|l| ["weight", "bias"].map(|p| format!("{kind}.{l}.{p}"))).collect::<Vec<_>>()
        };
        ["mu", "sigma"].iter().flat_map(|kind| parts(kind)).collect()
    }

    /// Shape of a parameter in weight files: weights [out, in], biases `[out]`.
    pub fn shape(&self, name: &str) -> Vec<usize> {
        if name.ends_with("weight") { vec![self.d2; 2] } else { vec![self.d2] }
    }

    /// Writes the parameter `name`, laid out as in weight files, into a row.
    ///
    /// # Errors
    /// [`Error::Shape`] where `data` has not the length of its shape; [`Error::Config`] for an unknown name.
    pub fn pack(&self, name: &str, data: &[f64], row: &mut [f64]) -> Result<()> {
        let expected = self.shape(name);
        if data.len() != expected.iter().product::<usize>() {
            return Err(Error::shape("pack", "data", expected, data.len()));
        }
        self.each(name, |from, to| row[to] = data[from])
    }

    /// Reads the parameter `name` from a row, laid out as in weight files.
    ///
    /// # Errors
    /// [`Error::Config`] for an unknown name.
    pub fn unpack(&self, name: &str, row: &[f64]) -> Result<Vec<f64>> {
        let mut data = vec![0.0; self.shape(name).iter().product()];
        self.each(name, |to, from| data[to] = row[from])?;
        Ok(data)
    }

    /// Calls `visit(index in the weight file's tensor, index in the row)` for every element of `name`.
    fn each(&self, name: &str, mut visit: impl FnMut(usize, usize)) -> Result<()> {
        if !self.names().iter().any(|n| n == name) {
            return Err(Error::Config(format!("noise parameter `{name}` is not one of {:?}", self.names())));
        }
        let (d2, e, sigma) = (self.d2, self.e, usize::from(name.starts_with("sigma")));
        // Start, elements from one input to the next.
        let (at, step) = match (name.contains("fc1"), name.ends_with("weight")) {
            (true, true) => (sigma * e, 2 * e),
            (true, false) => (self.b1() + sigma * e, 0),
            (false, true) => (self.w2() + sigma * e * e, e),
            (false, false) => (self.b2() + sigma * e, 0),
        };
        let inputs = if name.ends_with("weight") { d2 } else { 1 };
        for out in 0..d2 {
            for input in 0..inputs {
                visit(out * inputs + input, at + input * step + out);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_round_trips_and_leaves_padding_alone() {
        for (d2, layers) in [(5, 1), (5, 2), (8, 2)] {
            let layout = PhiLayout::new(d2, layers).unwrap();
            let mut row = vec![0.0; layout.len()];
            let mut count = 0;
            for name in layout.names() {
                let n: usize = layout.shape(&name).iter().product();
                let data: Vec<f64> = (0..n).map(|i| (count + i + 1) as f64).collect();
                count += n;
                layout.pack(&name, &data, &mut row).unwrap();
                assert_eq!(layout.unpack(&name, &row).unwrap(), data);
            }
            assert_eq!(row.iter().filter(|&&x| x != 0.0).count(), count);
            assert_eq!(layout.len(), if layers == 2 { 4 } else { 2 } * layout.e * (layout.e + 1));
        }
        assert!(PhiLayout::new(8, 1).unwrap().pack("mu.fc1.bias", &[0.0; 8], &mut [0.0; 144]).is_err());
    }
}
