//! Images turned by quarters: exact, also by more than three of them.

use minoise::device::Device;
use minoise::kernels::quarter_turn::QuarterTurn;
use minoise::{Error, Result};

use crate::harness::{Case, Output, case, input, input_u32, numbers, output, poisoned, wide};

/// Images, channels, side. The last one needs more than 65,535 workgroups of 256 threads.
const SIZES: [[usize; 3]; 9] =
    [[1, 1, 1], [4, 1, 2], [5, 3, 7], [1, 1, 16], [4, 2, 15], [5, 1, 17], [6, 3, 31], [0, 3, 4], [4, 1, 2049]];

/// A plane after one quarter turn: the last column becomes the first row.
fn once(plane: &[f64], side: usize) -> Vec<f64> {
    (0..side * side).map(|i| plane[i % side * side + side - 1 - i / side]).collect()
}

fn turned(device: &Device, [b, c, side]: [usize; 3]) -> Result<Vec<Output>> {
    let data = numbers(1, b * c * side * side);
    let turns: Vec<u32> = (0..b).map(|image| [1, 6, 3, 4, u32::MAX][image % 5]).collect();
    let x = input(device, &data, &[b, c, side, side])?;
    let (turns_of, out) = (input_u32(device, &turns, &[b])?, poisoned(device, &[b, c, side, side])?);
    device.run(&QuarterTurn { x: &x, turns: &turns_of, out: &out })?;
    let naive = move || {
        let data = wide(&data);
        let planes = data.chunks_exact(side * side).enumerate();
        planes
            .flat_map(|(i, plane)| (0..turns[i / c] % 4).fold(plane.to_vec(), |plane, _| once(&plane, side)))
            .collect()
    };
    Ok(vec![output("out", out, vec![f64::MIN_POSITIVE]).naive(naive)])
}

/// What PyTorch's `rot90` makes of one image.
fn example(device: &Device) -> Result<Vec<Output>> {
    let image = [1.0f32, 2.0, 3.0, 4.0];
    let x = input(device, &image.repeat(4), &[4, 1, 2, 2])?;
    let turns = input_u32(device, &[0, 1, 2, 3], &[4])?;
    let out = poisoned(device, &[4, 1, 2, 2])?;
    device.run(&QuarterTurn { x: &x, turns: &turns, out: &out })?;
    let naive = vec![1.0, 2.0, 3.0, 4.0, 2.0, 4.0, 1.0, 3.0, 4.0, 3.0, 2.0, 1.0, 3.0, 1.0, 4.0, 2.0];
    Ok(vec![output("out", out, vec![f64::MIN_POSITIVE]).naive(|| naive)])
}

fn refuses(device: &Device) -> Result<Vec<Output>> {
    let (turns, out) = (input_u32(device, &[1, 2], &[2])?, device.reals(&[2, 3, 4, 4])?);
    for shape in [vec![2, 3, 4, 5], vec![2, 3, 16], vec![1, 2, 3, 4, 4]] {
        let refused = device.run(&QuarterTurn { x: &device.reals(&shape)?, turns: &turns, out: &out });
        assert!(matches!(refused, Err(Error::Shape { arg: "x", .. })), "{shape:?}");
    }
    let refused = device.run(&QuarterTurn { x: &device.reals(&[3, 2, 4, 4])?, turns: &turns, out: &out });
    assert!(matches!(refused, Err(Error::Shape { arg: "turns", .. })));
    let refused = device.run(&QuarterTurn { x: &device.reals(&[2, 3, 5, 5])?, turns: &turns, out: &out });
    assert!(matches!(refused, Err(Error::Shape { arg: "out", .. })));
    Ok(Vec::new())
}

pub fn cases() -> Vec<Case> {
    let mut all = vec![
        case("quarter_turn as PyTorch turns".into(), example),
        case("quarter_turn refuses what is not square, and other shapes".into(), refuses),
    ];
    all.extend(SIZES.map(|size| case(format!("quarter_turn {size:?}"), move |d| turned(d, size))));
    all
}

pub fn examples(device: &Device) -> Result<()> {
    turned(device, SIZES[2]).map(drop)
}
