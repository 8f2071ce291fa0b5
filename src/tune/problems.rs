//! What is tuned: the kernels with variants at the sizes of three networks.

use super::Problem;
use super::kernels::{Forward, Heads, Key, Norm, NormBackward, Product, Query, Scaled, Statistics};
use super::layer::Layer;
use crate::kernels::gemm::Layout;

/// A network's batch: images, tokens of one, heads, embedding, noise width.
#[derive(Clone, Copy)]
struct Network {
    batch: usize,
    tokens: usize,
    heads: usize,
    d1: usize,
    d2: usize,
}

/// The embedded network with 64 images; ViT-Ti with 16 and ViT-B with 8.
const NETWORKS: [Network; 3] = [
    Network { batch: 64, tokens: 17, heads: 3, d1: 96, d2: 48 },
    Network { batch: 16, tokens: 197, heads: 3, d1: 192, d2: 96 },
    Network { batch: 8, tokens: 197, heads: 12, d1: 768, d2: 192 },
];
/// Every number of modules up to 128 is within twice one of these.
const MODULES: [usize; 4] = [1, 4, 16, 64];
/// Random features and classes of the heads.
const HEADS: [[usize; 2]; 2] = [[512, 10], [2048, 100]];

pub(super) fn all() -> Vec<Box<dyn Problem>> {
    let mut all: Vec<Box<dyn Problem>> = Vec::new();
    for network in NETWORKS {
        products(network, &mut all);
        let Network { batch, tokens, heads, d1, d2 } = network;
        let rows = batch * tokens;
        let heads = Heads { batch, tokens, heads, dim: d1 / heads };
        for training in [false, true] {
            all.push(Box::new(Norm { rows, cols: d1, stats: training }));
            all.push(Box::new(Forward { heads, lse: training }));
        }
        all.push(Box::new(NormBackward { rows, cols: d1 }));
        all.push(Box::new(Query(heads)));
        all.push(Box::new(Key(heads)));
        for modules in MODULES {
            for backward in [false, true] {
                all.push(Box::new(Layer { rows, d1, d2, modules, backward }));
            }
        }
    }
    for [features, classes] in HEADS {
        // Random features and logits; the statistics and the solver's products with them.
        all.push(product(Layout::NN, [256, features, 192], false));
        all.push(product(Layout::NT, [256, classes, features], false));
        all.push(Box::new(Statistics { features }));
        for transposed in [false, true] {
            all.push(Box::new(Scaled { features, classes, transposed }));
        }
    }
    all
}

fn product(layout: Layout, mnk: [usize; 3], halves: bool) -> Box<dyn Problem> {
    Box::new(Product { layout, mnk, halves })
}

fn products(Network { batch, tokens, d1, d2, .. }: Network, all: &mut Vec<Box<dyn Problem>>) {
    let rows = batch * tokens;
    // m, n, k of qkv, projection and both layers of the MLP; the same backward, with the layout turned.
    let backbone = [[rows, 3 * d1, d1], [rows, d1, d1], [rows, 4 * d1, d1], [rows, d1, 4 * d1]];
    let backward = [[rows, d1, 3 * d1], backbone[1], backbone[3], backbone[2]];
    for halves in [false, true] {
        all.extend(backbone.map(|mnk| product(Layout::NT, mnk, halves)));
        all.extend(backward.map(|mnk| product(Layout::NN, mnk, halves)));
    }
    // The noise layer's, weights' gradients among them.
    all.extend([[rows, d2, d1], [rows, 2 * d2, d2]].map(|mnk| product(Layout::NN, mnk, false)));
    all.push(product(Layout::TN, [d2, 2 * d2, rows], false));
}
