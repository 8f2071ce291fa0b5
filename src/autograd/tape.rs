//! The tape: an owned arena of the operations that touch something tracked.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use crate::Result;
use crate::algorithms::noise::Path;
use crate::device::{DType, Device, Part, Tensor};
use crate::kernels::gemm::Activation;
use crate::kernels::glu::Gate;
use crate::kernels::noise_mix::{Noise, PhiLayout};
use crate::kernels::pack_halves::PackHalves;
use crate::kernels::philox_normal::Stream;
use crate::kernels::unpack_halves::UnpackHalves;

/// A value of the computation; `node` is set where a gradient must flow back through it.
#[derive(Clone, Debug)]
pub struct Var {
    pub(super) value: Tensor,
    pub(super) node: Option<usize>,
}

impl Var {
    pub fn value(&self) -> &Tensor {
        &self.value
    }

    /// The same value, through which no gradient flows.
    pub fn detach(&self) -> Self {
        Self { node: None, ..self.clone() }
    }
}

/// A part of the computation that can be done once more: what it makes of its operand.
#[derive(Clone)]
pub struct Segment(Rc<dyn Fn(&mut Tape, &Var) -> Result<Var>>);

impl Segment {
    pub fn new(work: impl Fn(&mut Tape, &Var) -> Result<Var> + 'static) -> Self {
        Self(Rc::new(work))
    }

    pub(super) fn run(&self, tape: &mut Tape, x: &Var) -> Result<Var> {
        (self.0)(tape, x)
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Segment")
    }
}

/// The place of an operand's gradient, where the rule needs no more of it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub node: Option<usize>,
    pub shape: Vec<usize>,
}

impl From<&Var> for Place {
    fn from(var: &Var) -> Self {
        Self { node: var.node, shape: var.value.shape().to_vec() }
    }
}

/// A value that the backward pass needs.
#[derive(Debug)]
pub(super) enum Kept {
    Whole(Tensor),
    /// Rounded to halves, two in a word.
    Halves {
        words: Tensor,
        shape: Vec<usize>,
    },
}

impl Kept {
    pub fn value(&self, device: &Device) -> Result<Tensor> {
        match self {
            Self::Whole(x) => Ok(x.clone()),
            Self::Halves { words, shape } => {
                let x = device.reals(shape)?;
                device.run(&UnpackHalves { words, x: &x })?;
                Ok(x)
            }
        }
    }
}

/// One recorded operation with what its backward rule needs.
#[derive(Debug)]
pub(super) enum Node {
    Leaf,
    Linear {
        x: Place,
        /// What x is, where the weight is tracked.
        input: Option<Kept>,
        weight: Var,
        transposed: bool,
        bias: Option<Place>,
        residual: Option<Place>,
        activation: Activation,
        saved: Option<Kept>,
    },
    PatchEmbed {
        images: Tensor,
        weight: Place,
        front: Option<Place>,
        pos: Place,
        patch: usize,
    },
    Overlay {
        /// The operand, its first row, the rows that it lies on, and whether it is one row for all of them.
        parts: Vec<(Place, usize, Range<usize>, bool)>,
    },
    ScaleColumns {
        x: Var,
        scale: Var,
    },
    /// Nothing of it is saved but its operand.
    Recomputed {
        x: Place,
        input: Kept,
        segment: Segment,
    },
    LayerNorm {
        x: Place,
        input: Kept,
        gamma: Var,
        beta: Var,
        stats: Tensor,
    },
    Attention {
        qkv: Place,
        prefix: Option<Var>,
        inputs: Kept,
        out: Kept,
        lse: Tensor,
        batch: usize,
        tokens: usize,
        heads: usize,
    },
    Noise(Box<NoiseNode>),
    TokenMean {
        x: Place,
        range: Range<usize>,
    },
    Concat {
        parts: Vec<Place>,
    },
    Rotary {
        qkv: Place,
        table: Tensor,
        batch: usize,
        tokens: usize,
        heads: usize,
    },
    Glu {
        gate: Gate,
        u: Place,
        input: Kept,
    },
    Reshaped {
        x: Place,
    },
    Scaled {
        x: Place,
        factor: f64,
    },
    Unit {
        x: Place,
        y: Tensor,
        norms: Tensor,
    },
    Dropout {
        x: Place,
        share: f64,
        stream: Stream,
    },
    Repeat {
        x: Place,
    },
    Columns {
        x: Place,
        start: usize,
    },
    Multiply {
        a: Var,
        b: Var,
    },
    RootRatio {
        x: Place,
        s: Var,
        y: Tensor,
    },
    InnerLoss {
        x: Var,
        y: Var,
        weight: f64,
    },
    CrossEntropy {
        logits: Place,
        dlogits: Tensor,
    },
}

#[derive(Debug)]
pub(super) struct NoiseNode {
    pub x: Place,
    /// What x is, where the mixture is tracked.
    pub input: Option<Kept>,
    /// What the mixture is added to, if not x itself.
    pub residual: Option<Place>,
    pub phi: Var,
    /// Logits of the mixture weights, where these are learned.
    pub logits: Option<Var>,
    pub proj: Tensor,
    pub omega: Tensor,
    pub layout: PhiLayout,
    pub modules: usize,
    pub noise: Noise,
    pub path: Option<Path>,
}

/// Records operations in order; [`Tape::backward`] consumes it and gives all buffers back to the pool.
#[derive(Debug)]
pub struct Tape {
    pub(super) device: Device,
    pub(super) nodes: Vec<Node>,
    /// For which part of the network each was recorded, while the device is profiled.
    pub(super) parts: HashMap<usize, Part>,
    /// Leaf node of every tracked tensor.
    pub(super) leaves: HashMap<usize, usize>,
    halves: bool,
}

impl Tape {
    /// A tape that differentiates with respect to `tracked`; with none it only computes.
    pub fn new<'a>(device: &Device, tracked: impl IntoIterator<Item = &'a Tensor>) -> Self {
        let mut tape = Self::empty(device, false);
        for tensor in tracked {
            let node = tape.push(Node::Leaf);
            tape.leaves.insert(tensor.id(), node);
        }
        tape
    }

    fn empty(device: &Device, halves: bool) -> Self {
        let (nodes, parts, leaves) = (Vec::new(), HashMap::new(), HashMap::new());
        Self { device: device.clone(), nodes, parts, leaves, halves }
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The same, which keeps values of tokens as halves, in half the room.
    pub fn with_halves(self, halves: bool) -> Self {
        Self { halves, ..self }
    }

    /// Keeps a value for the backward pass.
    pub(super) fn keep(&self, x: &Tensor) -> Result<Kept> {
        if !self.halves {
            return Ok(Kept::Whole(x.clone()));
        }
        let words = self.device.empty(&[x.len().div_ceil(2)], DType::U32)?;
        self.device.run(&PackHalves { x, words: &words })?;
        Ok(Kept::Halves { words, shape: x.shape().to_vec() })
    }

    /// A tape that differentiates with respect to the same tensors, and to `x`.
    pub(super) fn inner(&self, x: &Var) -> (Self, Var) {
        let mut tape = Self::empty(&self.device, self.halves);
        let own = x.node.map(|_| x.value.id());
        for id in self.leaves.keys().copied().chain(own) {
            let node = tape.push(Node::Leaf);
            tape.leaves.insert(id, node);
        }
        let x = tape.var(&x.value);
        (tape, x)
    }

    /// A parameter or input: tracked if the tape was made with it, else a constant.
    pub fn var(&self, tensor: &Tensor) -> Var {
        Var { value: tensor.clone(), node: self.leaves.get(&tensor.id()).copied() }
    }

    pub(super) fn push(&mut self, node: Node) -> usize {
        self.parts.extend(self.device.current_part().map(|part| (self.nodes.len(), part)));
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Wraps a result: recorded if any operand is tracked.
    pub(super) fn result(&mut self, value: Tensor, tracked: bool, node: impl FnOnce() -> Node) -> Var {
        let node = tracked.then(|| self.push(node()));
        Var { value, node }
    }
}
