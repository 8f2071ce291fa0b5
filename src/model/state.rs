//! Device tensors in a state, bit for bit.

use crate::device::{Device, Tensor};
use crate::store::{Element, Tree};
use crate::{Error, Result};

/// Adds a tensor of reals, in the precision of the device. What [`take`] would refuse is never there.
///
/// # Errors
/// [`Error::Diverged`] where they are not finite; device errors.
pub async fn put(tree: &mut Tree, name: &str, device: &Device, tensor: &Tensor) -> Result<()> {
    match device.is_double() {
        true => put_finite(tree, name, tensor.shape(), &device.read::<f64>(tensor).await?),
        false => put_finite(tree, name, tensor.shape(), &device.read::<f32>(tensor).await?),
    }
}

fn put_finite<T: Element>(tree: &mut Tree, name: &str, shape: &[usize], data: &[T]) -> Result<()> {
    if data.iter().any(|x| !x.is_finite()) {
        return Err(Error::Diverged { what: format!("numbers of `{name}`"), rate: "lr" });
    }
    tree.put(name, shape, data);
    Ok(())
}

/// Takes out reals of known shape, of whatever precision they were saved in.
///
/// # Errors
/// [`Error::Store`] where they are missing, misshapen or not finite.
pub fn take(tree: &mut Tree, name: &str, shape: &[usize]) -> Result<Vec<f64>> {
    if tree.holds::<f64>(name) {
        return tree.take_shaped::<f64>(name, shape);
    }
    Ok(tree.take_shaped::<f32>(name, shape)?.into_iter().map(f64::from).collect())
}

/// The same on a device.
///
/// # Errors
/// See [`take`]; allocation failures.
pub fn upload(tree: &mut Tree, name: &str, device: &Device, shape: &[usize]) -> Result<Tensor> {
    device.upload(&take(tree, name, shape)?, shape)
}

/// The same into a tensor that is there.
///
/// # Errors
/// See [`take`].
pub fn overwrite(tree: &mut Tree, name: &str, device: &Device, tensor: &Tensor) -> Result<()> {
    device.write(tensor, &take(tree, name, tensor.shape())?)
}
