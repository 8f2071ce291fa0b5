//! What does one step of noise training cost? A batch forward and backward through a frozen ViT with T noise modules
//! behind every block, cross-entropy of analytic plus auxiliary logits, and SGD on the newest modules and the auxiliary
//! head, upload of the batch included. Profile `paper` samples, has two-layer maps and learns the mixture weights;
//! `official` (its tasks after the first) has one-layer maps and linear branches. Before anything is timed, two steps of a
//! tiny network must agree with the f64 twins.
//!
//! `MINOISE_DEVICE=cpu|auto|WORDS cargo bench --bench train_step -- [FILTER]`; a filter is a part of an id, e.g. `ViT-B`.

mod common;

use common::Bench;
use minoise::bench::network::{SMALL, Sizes, VIT_B, VIT_TI};
use minoise::bench::training::Profile::{self, Official, Paper};
use minoise::bench::training::{Training, verify, work};
use minoise::device::Device;

/// A small backbone on 32 x 32 images in patches of 4, and the usual ones with reduced batches.
const SIZES: [(Sizes, Profile, usize); 7] = [
    (SMALL, Paper, 1),
    (SMALL, Paper, 10),
    (VIT_TI, Paper, 10),
    (VIT_B, Paper, 10),
    (SMALL, Official, 1),
    (SMALL, Official, 10),
    (SMALL, Official, 50),
];

fn main() {
    let mut bench = Bench::new("train_step");
    for (sizes, profile, modules) in SIZES {
        let id = format!("{}xB{}/{}", sizes.name, sizes.batch, profile.name());
        bench.time(&id, &format!("T{modules}"), work(&sizes, profile, modules), |device| {
            verify(device, profile)?;
            let mut training = Training::new(device, sizes, profile, modules)?;
            let before = device.stats().dispatches;
            training.step(device)?;
            println!("{id}: {} dispatches a step", device.stats().dispatches - before);
            Ok(move |device: &Device| training.step(device))
        });
    }
    bench.finish();
}
