//! Does inference slow down as tasks come? Images a second of ViT-Ti with folded noise layers, over the number of modules
//! T: profile `paper` (two-layer maps, which fold into one wide MLP) and `official` (one-layer maps and a linear branch,
//! which fold into one affine map whatever T is). Before anything is timed, folded and unfolded logits must agree.
//!
//! `MINOISE_DEVICE=cpu|auto|WORDS cargo bench --bench inference -- [FILTER]`; a filter is a part of an id, e.g. `official`.

mod common;

use common::Bench;
use minoise::bench::inference::{inference, work};
use minoise::bench::network::{Sizes, VIT_TI};

const MODULES: [usize; 5] = [1, 5, 10, 20, 50];
/// Name, and whether it is profile `official`.
const PROFILES: [(&str, bool); 2] = [("paper", false), ("official", true)];
fn main() {
    let mut bench = Bench::new("inference");
    for (profile, official) in PROFILES {
        for modules in MODULES {
            let sizes = Sizes { batch: 8, ..VIT_TI };
            let id = format!("{}xB{}/{profile}", sizes.name, sizes.batch);
            bench.time(&id, &format!("T{modules}"), work(&sizes, modules, official), |device| {
                inference(device, sizes, modules, official)
            });
        }
    }
    bench.finish();
}
