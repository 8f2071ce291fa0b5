//! The contract of a kernel: what the queue needs to know to run it, and nothing of what it computes.

use super::{Caps, Operand, Real};
use crate::Result;

/// How a dispatch touches a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Only read.
    Read,
    /// Written in full, or read and updated.
    Write,
}

/// Scalar type of a params field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// An unsigned integer of 32 bits.
    U32,
    /// A float of 32 bits.
    F32,
}

/// Rust type of a params field.
pub trait ParamScalar {
    /// The scalar type that it has in the shader.
    const KIND: Scalar;
}
impl ParamScalar for u32 {
    const KIND: Scalar = Scalar::U32;
}
impl ParamScalar for f32 {
    const KIND: Scalar = Scalar::F32;
}

/// The uniform struct of a kernel. A test compares `FIELDS` with the struct that naga finds in the shader.
pub trait Params: bytemuck::Pod {
    /// Name, byte offset and type of every field, in order.
    const FIELDS: &'static [(&'static str, usize, Scalar)];
}

/// Declares a `#[repr(C)]` params struct whose fields are known at run time.
#[macro_export]
macro_rules! params {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$doc:meta])* $field:ident : $ty:ty),* $(,)? }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
        pub struct $name { $($(#[$doc])* pub $field: $ty),* }
        impl $crate::device::Params for $name {
            const FIELDS: &'static [(&'static str, usize, $crate::device::Scalar)] =
                &[$((stringify!($field), std::mem::offset_of!($name, $field),
                     <$ty as $crate::device::ParamScalar>::KIND)),*];
        }
    };
}

/// A value that the shader sees as `package::plan::NAME` (numbers) or as a feature of `@if(...)` (flags).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Constant {
    /// A number.
    U32(u32),
    /// A flag.
    Flag(bool),
}

/// How a kernel runs on a device with given caps: a pure function of shapes and caps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// File in `shaders/`, without ending.
    pub shader: &'static str,
    /// Names and values of what the shader is assembled with.
    pub constants: Vec<(&'static str, Constant)>,
    /// Invocations of one workgroup.
    pub workgroup: u32,
    /// Bytes of workgroup memory.
    pub shared_bytes: u32,
    /// Workgroups in x, y, z. A zero means that there is nothing to do.
    pub groups: [u32; 3],
}

impl Plan {
    /// Its constants in words: flags that are on, and numbers, as in `BIAS BM=64`.
    pub fn describe(&self) -> String {
        let words = self.constants.iter().filter_map(|(name, value)| match value {
            Constant::Flag(on) => on.then(|| (*name).to_string()),
            Constant::U32(x) => Some(format!("{name}={x}")),
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

/// Shapes and flags of a plan, in a kernel's own order.
pub type PlanKey = [usize; 6];

/// Spreads `n` workgroups over x and y, near-square once x alone does not suffice. The kernel rebuilds
/// `wid.y * num_workgroups.x + wid.x` and compares it with `n`.
pub fn grid(n: usize, caps: &Caps) -> [u32; 3] {
    let max = caps.max_groups as usize;
    if n <= max {
        return [n as u32, 1, 1];
    }
    let x = n.isqrt().clamp(1, max);
    [x as u32, n.div_ceil(x) as u32, 1]
}

/// A kernel with its operands: one dispatch.
pub trait Kernel {
    /// The kernel's name: its shader, twin and test carry the same.
    const NAME: &'static str;
    /// The kernel's uniform struct.
    type Params: Params;
    /// Sizes and scalars; all indices follow from them, and [`Kernel::operands`] from the same numbers.
    fn params(&self) -> Self::Params;
    /// What is touched, inputs in formula order, outputs last; their order is the twin's. Called first: what shapes do not
    /// allow is refused here, and no other method needs to look again.
    ///
    /// # Errors
    /// What a view cannot state, as [`crate::Error::Shape`] or [`crate::Error::Unsupported`].
    fn operands(&self) -> Result<Vec<Operand<'_>>>;
    /// What the plan depends on beside the device, where making it costs more than looking it up.
    fn key(&self) -> Option<PlanKey> {
        None
    }
    /// Multiplications and additions, roughly, where they may take longer than reading and writing the operands: the time
    /// of a submission is bounded by them.
    fn flops(&self) -> f64 {
        0.0
    }
    /// Chooses tile constants and dispatch size.
    ///
    /// # Errors
    /// [`crate::Error::Limit`] or [`crate::Error::Unsupported`] where the device cannot run these shapes.
    fn plan(&self, caps: &Caps) -> Result<Plan>;
}

/// The same computation on the CPU: the device where there is no GPU, and in f64 the oracle.
pub trait Twin: Kernel {
    /// Does on the host what the kernel does on a GPU; the operands are in the order of [`Kernel::operands`].
    fn twin<R: Real>(&self, io: Io<'_, R>);
}

/// A kernel with another plan than its own, to test and to measure every variant.
pub struct WithPlan<K>(pub K, pub Plan);

impl<K: Kernel> Kernel for WithPlan<K> {
    const NAME: &'static str = K::NAME;
    type Params = K::Params;

    fn params(&self) -> K::Params {
        self.0.params()
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        self.0.operands()
    }

    fn flops(&self) -> f64 {
        self.0.flops()
    }

    fn plan(&self, _: &Caps) -> Result<Plan> {
        Ok(self.1.clone())
    }
}

impl<K: Twin> Twin for WithPlan<K> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        self.0.twin(io);
    }
}

/// One host slice that a twin reads.
#[derive(Clone, Copy)]
pub enum In<'a, R> {
    /// Numbers, halves among them.
    Real(&'a [R]),
    /// Integers.
    U32(&'a [u32]),
}

/// One host slice that a twin writes.
pub enum Out<'a, R> {
    /// Numbers.
    Real(&'a mut [R]),
    /// Integers.
    U32(&'a mut [u32]),
}

/// The operands of a twin, in the order of [`Kernel::operands`].
pub struct Io<'a, R> {
    /// What is only read.
    pub ins: Vec<In<'a, R>>,
    /// What is written or updated.
    pub outs: Vec<Out<'a, R>>,
}

impl<'a, R: Real> Io<'a, R> {
    /// The `i`-th input as numbers.
    pub fn real(&self, i: usize) -> &'a [R] {
        match self.ins[i] {
            In::Real(x) => x,
            In::U32(_) => unreachable!("input {i} holds integers"),
        }
    }

    /// The `i`-th input as integers.
    pub fn ints(&self, i: usize) -> &'a [u32] {
        match self.ins[i] {
            In::U32(x) => x,
            In::Real(_) => unreachable!("input {i} holds reals"),
        }
    }

    /// All outputs as numbers.
    pub fn outs<const N: usize>(self) -> [&'a mut [R]; N] {
        let outs: Vec<_> = self
            .outs
            .into_iter()
            .map(|o| match o {
                Out::Real(x) => x,
                Out::U32(_) => unreachable!("an output holds integers"),
            })
            .collect();
        outs.try_into().unwrap_or_else(|o: Vec<_>| unreachable!("{} outputs, {N} wanted", o.len()))
    }

    /// The only output, as integers.
    pub fn out_ints(mut self) -> &'a mut [u32] {
        match self.outs.pop() {
            Some(Out::U32(x)) => x,
            _ => unreachable!("the output holds reals"),
        }
    }
}
