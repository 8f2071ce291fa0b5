//! Dropout: which elements are kept, by a Philox of its own; parts of a batch; how many are kept.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::dropout::Dropout;
use minoise::kernels::philox_normal::Stream;

use crate::harness::{
    Case, FEW_GROUPS, OWN_AND_GPU, Output, Plans, case, guarded, input, numbers, output, poisoned, run_as,
};

const EPS: f64 = f32::EPSILON as f64;
const STREAM: Stream = Stream { seed: 0x0123_4567_89ab_cdef, layer: 3, task: 0, step: 77, first_row: 0 };

/// The words of a block, as SPEC section 4 has them.
fn philox(block: u32, stream: Stream) -> [u32; 4] {
    let mut c = [block, 0, stream.layer * 65_536 + stream.task, stream.step];
    let mut key = [stream.seed as u32, (stream.seed >> 32) as u32];
    for _ in 0..10 {
        let p = [0xD251_1F53u64 * u64::from(c[0]), 0xCD9E_8D57u64 * u64::from(c[2])];
        let [high, low] = [p.map(|p| (p >> 32) as u32), p.map(|p| p as u32)];
        c = [high[1] ^ c[1] ^ key[0], low[1], high[0] ^ c[3] ^ key[1], low[0]];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    c
}

/// Whether element e of the stream is kept: u = word / 2^32 is below the share in as many cases as the share says.
fn kept(e: usize, share: f64, stream: Stream) -> bool {
    f64::from(philox((e / 4) as u32, stream)[e % 4]) >= (share * 4_294_967_296.0).floor()
}

struct Of {
    size: [usize; 2],
    share: f64,
    first_row: u32,
    accumulate: bool,
}

fn dropped(device: &Device, of: &Of, plans: Plans) -> Result<Vec<Output>> {
    let ([rows, cols], share, accumulate) = (of.size, of.share, of.accumulate);
    let (stream, n) = (Stream { first_row: of.first_row, ..STREAM }, rows * cols);
    let (x, before) = (numbers(1, n), numbers(2, n));
    let (mut naive, mut bound) = (Vec::new(), Vec::new());
    for (i, (x, before)) in x.iter().zip(&before).enumerate() {
        let kept = kept(stream.first_row as usize * cols + i, share, stream);
        let term = if kept { f64::from(*x) / (1.0 - share) } else { 0.0 };
        // The factor rounds, the product, and where it is added the sum.
        let first = if accumulate { f64::from(*before) } else { 0.0 };
        naive.push(first + term);
        bound.push(f64::MIN_POSITIVE + EPS * (term.abs() + (first + term).abs()));
    }
    if n >= 1000 {
        // Six deviations of a binomial share.
        let share_kept = (0..n).filter(|&i| kept(stream.first_row as usize * cols + i, share, stream)).count() as f64;
        let off = (share_kept / n as f64 - (1.0 - share)).abs();
        assert!(off <= 6.0 * (share * (1.0 - share) / n as f64).sqrt(), "{off} off {share}");
    }
    let x = input(device, &x, &[rows, cols])?;
    let y = if accumulate { guarded(device, &before, &[rows, cols])? } else { poisoned(device, &[rows, cols])? };
    run_as(device, Dropout { x: &x, y: &y, share, stream, accumulate }, &plans.1(device))?;
    Ok(vec![output("y", y, bound).naive(|| naive)])
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    // Around a block and the twin's jobs, odd rows that begin inside a block, nothing.
    let sizes = [[1, 1], [1, 3], [1, 4], [3, 5], [4, 64], [1, 257], [5, 51], [197, 6], [0, 4]];
    for (i, size) in sizes.into_iter().enumerate() {
        for first_row in [0, 7] {
            let of = move |share, accumulate| Of { size, share, first_row, accumulate };
            let name = format!("dropout {size:?} from row {first_row}");
            all.push(case(name.clone(), move |d| dropped(d, &of(0.1, false), OWN_AND_GPU[0])));
            let share = [0.0, 0.5, 0.9][i % 3];
            all.push(case(format!("{name}, share {share}, accumulated"), move |d| {
                dropped(d, &of(share, true), OWN_AND_GPU[0])
            }));
        }
    }
    // More groups than are allowed in a dimension.
    let plans = FEW_GROUPS[0];
    let of = || Of { size: [331, 67], share: 0.1, first_row: 1, accumulate: false };
    all.push(case(format!("dropout [331, 67]{}", plans.0), move |d| dropped(d, &of(), plans)));
    all
}

pub fn examples(device: &Device) -> Result<()> {
    dropped(device, &Of { size: [3, 5], share: 0.1, first_row: 1, accumulate: true }, OWN_AND_GPU[0]).map(drop)
}
