//! The network: a frozen ViT, noise layers behind its blocks, random features and the analytic head.

pub mod adapter;
pub mod architecture;
mod checkpoint;
pub mod explain;
pub mod facts;
pub mod fingerprint;
pub mod fold;
pub mod head;
mod hub;
mod load;
pub mod manifest;
pub mod network;
pub mod noise;
pub mod optimizer;
pub mod pca;
pub mod pixels;
pub mod position;
pub mod state;
pub mod vit;
pub mod weights;
