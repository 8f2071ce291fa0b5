//! Gradients under way. The first contribution writes, later ones add.

use crate::Result;
use crate::autograd::tape::Place;
use crate::device::{Device, Tensor};
use crate::kernels::add::Add;
use crate::kernels::column_sum::ColumnSum;

/// Gradients of nodes not yet visited.
pub(super) struct Pending {
    pub device: Device,
    pub grads: Vec<Option<Tensor>>,
}

impl Pending {
    /// Where to write a contribution to the gradient of an operand, and whether to add to what stands there.
    pub fn sink(&mut self, of: impl Into<Place>) -> Result<Option<(Tensor, bool)>> {
        let Place { node, shape } = of.into();
        let Some(node) = node else { return Ok(None) };
        if let Some(there) = &self.grads[node] {
            return Ok(Some((there.clone(), true)));
        }
        let new = self.device.reals(&shape)?;
        self.grads[node] = Some(new.clone());
        Ok(Some((new, false)))
    }

    /// Where to add a contribution that touches only parts of the gradient of an operand.
    pub fn cleared(&mut self, of: impl Into<Place>) -> Result<Option<Tensor>> {
        let Some((sink, there)) = self.sink(of)? else { return Ok(None) };
        if !there {
            self.device.clear(&sink)?;
        }
        Ok(Some(sink))
    }

    /// Contributes a finished tensor, which the gradient of the node takes over.
    pub fn give(&mut self, node: Option<usize>, grad: &Tensor) -> Result<()> {
        let Some(node) = node else { return Ok(()) };
        match &self.grads[node] {
            Some(there) => self.device.run(&Add { x: grad, y: there }),
            None => {
                self.grads[node] = Some(grad.clone());
                Ok(())
            }
        }
    }
}

/// Adds the sum over rows of `dy` (times the normalised input, for a LayerNorm's scale) to the gradient of an operand.
pub(super) fn column_sum(
    pending: &mut Pending,
    of: impl Into<Place>,
    dy: &Tensor,
    normalised: Option<(&Tensor, &Tensor)>,
) -> Result<()> {
    let device = pending.device.clone();
    if let Some((out, accumulate)) = pending.sink(of)? {
        device.run(&ColumnSum {
            x: dy,
            out: &out,
            out_offset: 0,
            cols: dy.cols(),
            x_offset: 0,
            x_ld: dy.cols(),
            rows: dy.rows(),
            normalised,
            scale: 1.0,
            accumulate,
        })?;
    }
    Ok(())
}
