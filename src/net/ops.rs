//! Tensor arithmetic that returns errors, and the few operations that the networks share.
//!
//! Operators of `tch` panic when libtorch fails (out of memory is the usual reason); the methods here return it.

use crate::error::Result;
use tch::{Device, Kind, Tensor};

/// Arithmetic with errors instead of panics.
pub trait Calc {
    /// `self + other`, broadcasting.
    fn plus(&self, other: &Tensor) -> Result<Tensor>;
    /// `self - other`, broadcasting.
    fn minus(&self, other: &Tensor) -> Result<Tensor>;
    /// `self * other`, broadcasting.
    fn times(&self, other: &Tensor) -> Result<Tensor>;
    /// `self / other`, broadcasting.
    fn over(&self, other: &Tensor) -> Result<Tensor>;
    /// `self * factor`.
    fn scale(&self, factor: f64) -> Result<Tensor>;
    /// `self + offset`.
    fn shift(&self, offset: f64) -> Result<Tensor>;
    /// Mean of all elements, in single precision.
    fn average(&self) -> Result<Tensor>;
    /// The one value of a scalar tensor.
    fn value(&self) -> Result<f64>;
}

impl Calc for Tensor {
    fn plus(&self, other: &Tensor) -> Result<Tensor> {
        Ok(self.f_add(other)?)
    }
    fn minus(&self, other: &Tensor) -> Result<Tensor> {
        Ok(self.f_sub(other)?)
    }
    fn times(&self, other: &Tensor) -> Result<Tensor> {
        Ok(self.f_mul(other)?)
    }
    fn over(&self, other: &Tensor) -> Result<Tensor> {
        Ok(self.f_div(other)?)
    }
    fn scale(&self, factor: f64) -> Result<Tensor> {
        Ok(self.f_mul_scalar(factor)?)
    }
    fn shift(&self, offset: f64) -> Result<Tensor> {
        Ok(self.f_add_scalar(offset)?)
    }
    fn average(&self) -> Result<Tensor> {
        Ok(self.f_mean(Kind::Float)?)
    }
    fn value(&self) -> Result<f64> {
        Ok(f64::try_from(&self.f_to_kind(Kind::Double)?)?)
    }
}

/// `sqrt(2) * leaky_relu(x, 0.2)`, given `x` already multiplied by `0.2 sqrt(2)`: adding `4 relu(x)` costs less than two branches.
pub fn leaky_from_scaled(x: &Tensor) -> Result<Tensor> {
    // A product that is added takes one pass through memory, a product and then a sum take two.
    Ok(x.f_addcmul(&x.f_relu()?, &Tensor::f_full([1], 4.0, (x.kind(), x.device()))?)?)
}

/// The factor that [`leaky_from_scaled`] expects in its input.
pub const LEAKY_SCALE: f64 = 0.2 * std::f64::consts::SQRT_2;

/// StyleGAN2's equalised linear layer: `x W^T lr/sqrt(in) + b lr`, optionally followed by `sqrt(2) leaky_relu(., 0.2)`.
pub fn equal_linear(x: &Tensor, weight: &Tensor, bias: &Tensor, lr: f64, activate: bool) -> Result<Tensor> {
    let gain = if activate { LEAKY_SCALE } else { 1.0 };
    let inputs = weight.size()[1] as f64;
    let y = x.f_linear(&weight.scale(gain * lr / inputs.sqrt())?, Some(&bias.scale(gain * lr)?))?;
    if activate {
        leaky_from_scaled(&y)
    } else {
        Ok(y)
    }
}

/// The same tensor, if there is one, for another thread.
pub(crate) fn shared(x: &Option<Tensor>) -> Option<Tensor> {
    x.as_ref().map(Tensor::shallow_clone)
}

/// The same values stored with the channels last in memory: the layout that CPU convolutions run fastest in.
pub fn channels_last(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])?)
}

/// `x` in the layout of `like`: that of [`channels_last`], or channel by channel.
pub fn laid_out_like(x: &Tensor, like: &Tensor) -> Result<Tensor> {
    match like.is_contiguous() {
        true => Ok(x.f_contiguous()?),
        false => channels_last(x),
    }
}

/// Pictures or maps `[B, C, H, W]` brought to `[height, width]`: by averaging where they shrink, by interpolation where they grow.
pub fn resized(x: &Tensor, [height, width]: [i64; 2]) -> Result<Tensor> {
    let size = x.size();
    let [_, _, h, w] = size[..] else {
        return Err(crate::Error::Misuse(format!("a picture has shape {size:?}, expected [batch, channels, height, width]")));
    };
    if (h, w) == (height, width) {
        Ok(x.shallow_clone())
    } else if h >= height && w >= width {
        Ok(x.f_adaptive_avg_pool2d([height, width])?)
    } else {
        Ok(x.f_upsample_bilinear2d([height, width], false, None, None)?)
    }
}

/// The kernel `outer([1,3,3,1]) / 64 * gain` repeated for `channels` groups: `[channels, 1, 4, 4]`.
pub fn blur_kernel(channels: i64, gain: f64, device: Device) -> Result<Tensor> {
    let row = Tensor::f_from_slice(&[1f32, 3.0, 3.0, 1.0])?;
    let kernel = row.f_outer(&row)?.scale(gain / 64.0)?.f_to_device(device)?;
    Ok(kernel.f_view([1, 1, 4, 4])?.f_repeat([channels, 1, 1, 1])?)
}

/// `[B, 3, R, R]` in [-1, 1] from 8-bit RGB frames of one size.
pub fn to_tensor(frames: &[&crate::frame::Frame], device: Device) -> Result<Tensor> {
    let (w, h) = frames.first().map(|f| (f.width as i64, f.height as i64)).unwrap_or((0, 0));
    let mut batch = Vec::with_capacity(frames.len());
    for frame in frames {
        if (frame.width as i64, frame.height as i64) != (w, h) {
            return Err(crate::Error::Misuse(format!(
                "frames of one batch must have one size: {w} x {h} and {} x {}",
                frame.width, frame.height
            )));
        }
        batch.push(Tensor::f_from_slice(&frame.data)?.f_view([h, w, 3])?);
    }
    if batch.is_empty() {
        return Err(crate::Error::Misuse("a batch needs at least one frame".into()));
    }
    let bytes = Tensor::f_stack(&batch, 0)?.f_to_device(device)?.f_permute([0, 3, 1, 2])?;
    bytes.f_to_kind(Kind::Float)?.scale(1.0 / 127.5)?.shift(-1.0)
}

/// 8-bit RGB frames from `[B, 3, R, R]` in [-1, 1]; values outside are clipped.
pub fn to_frames(images: &Tensor) -> Result<Vec<crate::frame::Frame>> {
    let size = images.size();
    // In place: of large pictures each further copy costs more than the arithmetic.
    let bytes = images
        .f_detach()?
        .f_to_kind(Kind::Float)?
        .shift(1.0)?
        .f_mul_scalar_(127.5)?
        .f_round_()?
        .f_clamp_(0.0, 255.0)?
        .f_to_kind(Kind::Uint8)?
        .f_permute([0, 2, 3, 1])?
        .f_contiguous()?
        .f_to_device(Device::Cpu)?;
    let mut all = vec![0u8; bytes.numel()];
    bytes.f_copy_data_u8(&mut all, bytes.numel())?;
    let each = (3 * size[2] * size[3]) as usize;
    all.chunks_exact(each).map(|c| crate::frame::Frame::new(size[3] as u32, size[2] as u32, c.to_vec())).collect()
}

/// All values of a tensor as `f32`, row-major.
pub fn to_vec(x: &Tensor) -> Result<Vec<f32>> {
    let x = x.f_detach()?.f_to_kind(Kind::Float)?.f_to_device(Device::Cpu)?.f_contiguous()?;
    let mut out = vec![0f32; x.numel()];
    x.f_copy_data(&mut out, x.numel())?;
    Ok(out)
}

/// A tensor of the given shape from row-major values.
pub fn from_vec(values: &[f32], shape: &[i64], device: Device) -> Result<Tensor> {
    Ok(Tensor::f_from_slice(values)?.f_view(shape)?.f_to_device(device)?)
}
