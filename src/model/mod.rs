//! The network: a frozen ViT, noise layers behind its blocks, random features and the analytic head.

pub mod fingerprint;
pub mod fold;
pub mod head;
pub mod network;
pub mod noise;
pub mod optimizer;
pub mod vit;
pub mod weights;
