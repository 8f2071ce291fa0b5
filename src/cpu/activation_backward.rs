//! Twin of `activation_backward`.

use rayon::prelude::*;

use super::activation::{gelu_with_slope, quick_gelu_slope};
use super::add::CHUNK;
use crate::device::{Io, Real, Twin};
use crate::kernels::activation_backward::ActivationBackward;
use crate::kernels::gemm::Activation;

impl Twin for ActivationBackward<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let (saved, dy) = (io.real(0), io.real(1));
        let [dx] = io.outs();
        let zero = R::of(0.0);
        dx.par_chunks_mut(CHUNK).zip(saved.par_chunks(CHUNK)).zip(dy.par_chunks(CHUNK)).for_each(
            |((dx, saved), dy)| {
                let all = dx.iter_mut().zip(saved).zip(dy);
                vectorise!(match self.activation {
                    Activation::Gelu => {
                        for ((dx, z), dy) in all {
                            *dx = *dy * gelu_with_slope(*z).1;
                        }
                    }
                    Activation::QuickGelu => {
                        for ((dx, z), dy) in all {
                            *dx = *dy * quick_gelu_slope(*z);
                        }
                    }
                    Activation::Relu | Activation::None => {
                        for ((dx, z), dy) in all {
                            *dx = if *z > zero { *dy } else { zero };
                        }
                    }
                });
            },
        );
    }
}
