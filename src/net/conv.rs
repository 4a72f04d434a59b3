//! Convolutions of published networks, whose weights stay as they are: kernel, bias and the batch norm that follows, in one.
//! Input `[B, in, H, W]`, output `[B, out, H', W']`, channels last in memory. Source: Ioffe & Szegedy 2015, the inference form.

use super::ops::{channels_last, Calc};
use super::weights::Weights;
use crate::error::Result;
use std::cell::OnceCell;
use tch::{no_grad, Kind, Tensor};

/// PyTorch's default, which the published networks keep.
const BATCH_NORM_EPSILON: f64 = 1e-5;

/// Names and shapes of the tensors of a batch norm over `channels`.
pub(super) fn batch_norm_tensors(name: &str, channels: i64) -> impl Iterator<Item = (String, Vec<i64>)> + '_ {
    ["weight", "bias", "running_mean", "running_var"].into_iter().map(move |part| (format!("{name}.{part}"), vec![channels]))
}

/// A batch norm as a factor and a summand per channel, in double precision: folding must not cost accuracy.
pub(super) fn batch_norm(weights: &Weights, name: &str) -> Result<(Tensor, Tensor)> {
    let get = |part: &str| -> Result<Tensor> { Ok(weights.get(&format!("{name}.{part}"))?.f_to_kind(Kind::Double)?) };
    let factor = get("weight")?.times(&get("running_var")?.shift(BATCH_NORM_EPSILON)?.f_rsqrt()?)?;
    let summand = get("bias")?.minus(&get("running_mean")?.times(&factor)?)?;
    Ok((factor, summand))
}

/// A convolution with constant weights.
#[derive(Debug)]
pub(super) struct Conv {
    kernel: Tensor,
    bias: Option<Tensor>,
    stride: i64,
    padding: i64,
    /// Kernel and bias in the other kind that was asked for: a cast per call would cost as much as a small convolution.
    cast: OnceCell<(Tensor, Option<Tensor>)>,
}

impl Conv {
    /// The convolution `name`, with its bias where the weights hold one, followed by the batch norm `norm`. The kernel must have
    /// been checked to have four dimensions; padding keeps the size up to the stride.
    pub fn new(weights: &Weights, name: &str, norm: Option<&str>, stride: i64) -> Result<Conv> {
        let side = weights.get(&format!("{name}.weight"))?.size()[2];
        Self::padded(weights, name, norm, stride, side / 2)
    }

    /// As [`Conv::new`], with a padding of one's own.
    pub fn padded(weights: &Weights, name: &str, norm: Option<&str>, stride: i64, padding: i64) -> Result<Conv> {
        no_grad(|| {
            let mut kernel = weights.get(&format!("{name}.weight"))?.f_detach()?;
            let bias = format!("{name}.bias");
            let mut bias = if weights.has(&bias) { Some(weights.get(&bias)?.f_detach()?) } else { None };
            if let Some(norm) = norm {
                let (factor, summand) = batch_norm(weights, norm)?;
                kernel = kernel.times(&factor.f_view([-1, 1, 1, 1])?)?.f_to_kind(Kind::Float)?;
                bias = Some(match bias {
                    Some(bias) => bias.times(&factor)?.plus(&summand)?.f_to_kind(Kind::Float)?,
                    None => summand.f_to_kind(Kind::Float)?,
                });
            }
            Ok(Conv { kernel: channels_last(&kernel)?, bias, stride, padding, cast: OnceCell::new() })
        })
    }

    /// The convolution of `x` in the kind of `x`.
    pub fn run(&self, x: &Tensor) -> Result<Tensor> {
        let kind = x.kind();
        if kind == self.kernel.kind() {
            return self.with(x, &self.kernel, self.bias.as_ref());
        }
        if self.cast.get().is_none() {
            let fresh = self.in_kind(kind)?;
            // Nobody else can have set it: a cell is not shared between threads.
            let _ = self.cast.set(fresh);
        }
        match self.cast.get() {
            Some((kernel, bias)) if kernel.kind() == kind => self.with(x, kernel, bias.as_ref()),
            _ => {
                let (kernel, bias) = self.in_kind(kind)?;
                self.with(x, &kernel, bias.as_ref())
            }
        }
    }

    fn in_kind(&self, kind: Kind) -> Result<(Tensor, Option<Tensor>)> {
        no_grad(|| {
            let bias = self.bias.as_ref().map(|b| b.f_to_kind(kind)).transpose()?;
            Ok((channels_last(&self.kernel.f_to_kind(kind)?)?, bias))
        })
    }

    fn with(&self, x: &Tensor, kernel: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        Ok(x.f_conv2d(kernel, bias, self.stride, self.padding, 1, 1)?)
    }
}

/// A batch norm by itself: before a padded convolution its summand cannot be folded, since the padding stays zero.
#[derive(Debug)]
pub(super) struct Norm {
    factor: Tensor,
    summand: Tensor,
}

impl Norm {
    /// The batch norm `name`.
    pub fn new(weights: &Weights, name: &str) -> Result<Norm> {
        no_grad(|| {
            let (factor, summand) = batch_norm(weights, name)?;
            let shape = |x: Tensor| x.f_to_kind(Kind::Float)?.f_view([1, -1, 1, 1]);
            Ok(Norm { factor: shape(factor)?, summand: shape(summand)? })
        })
    }

    /// `x * factor + summand`.
    pub fn run(&self, x: &Tensor) -> Result<Tensor> {
        let kind = x.kind();
        Ok(self.summand.f_to_kind(kind)?.f_addcmul(x, &self.factor.f_to_kind(kind)?)?)
    }
}

/// Mean over all places, `[B, C]` in single precision.
pub(super) fn pooled(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_mean_dim([2i64, 3].as_slice(), false, Kind::Float)?)
}

/// `x` with channel `c` multiplied by `gate[c]`; `gate` `[B, C]`.
pub(super) fn gated(x: &Tensor, gate: &Tensor) -> Result<Tensor> {
    x.times(&gate.f_to_kind(x.kind())?.f_unsqueeze(-1)?.f_unsqueeze(-1)?)
}

/// A 1 x 1 kernel `[out, in, 1, 1]` as the matrix of a linear layer, for inputs without places.
pub(super) fn matrix(weights: &Weights, name: &str) -> Result<Tensor> {
    Ok(weights.get(&format!("{name}.weight"))?.f_detach()?.f_flatten(1, -1)?)
}
