//! Images on their way to a device.

use crate::Result;
use crate::device::{DType, Device, Tensor};
use crate::kernels::normalise::Normalise;
use crate::kernels::quarter_turn::QuarterTurn;

/// Images [n, C, H, W] from bytes, of which `table` says what becomes of each in each channel.
///
/// # Errors
/// [`crate::Error::Shape`] where they do not fit together; device errors.
pub fn normalised(device: &Device, bytes: &[u8], shape: [usize; 4], table: &[[f32; 256]]) -> Result<Tensor> {
    let words: Vec<u32> = bytes
        .chunks(4)
        .map(|word| {
            let mut four = [0; 4];
            four[..word.len()].copy_from_slice(word);
            u32::from_le_bytes(four)
        })
        .collect();
    lookup(device, &device.upload_u32(&words, &[words.len()])?, shape, table)
}

/// The same of nothing in particular, to plan with.
///
/// # Errors
/// Allocation failures.
pub fn stand_in(device: &Device, shape: [usize; 4], table: &[[f32; 256]]) -> Result<Tensor> {
    let bytes: usize = shape.iter().product();
    lookup(device, &device.empty(&[bytes.div_ceil(4)], DType::U32)?, shape, table)
}

fn lookup(device: &Device, bytes: &Tensor, shape: [usize; 4], table: &[[f32; 256]]) -> Result<Tensor> {
    let (table, out) = (device.upload(table.as_flattened(), &[table.len(), 256])?, device.reals(&shape)?);
    device.run(&Normalise { bytes, table: &table, out: &out })?;
    Ok(out)
}

/// Images [n, C, S, S], each turned by as many quarters as `turns` says `[n]`.
///
/// # Errors
/// [`crate::Error::Shape`] where they do not fit together, or images are not square; device errors.
pub fn turned(device: &Device, images: &Tensor, turns: &Tensor) -> Result<Tensor> {
    let out = device.reals(images.shape())?;
    device.run(&QuarterTurn { x: images, turns, out: &out })?;
    Ok(out)
}
