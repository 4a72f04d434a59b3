//! Perceptual distance: two batches of pictures `[B, 3, H, W]` in [-1, 1] to one number each, 0 for equal pictures.
//! Source: Zhang et al. 2018 (LPIPS, version 0.1, linear heads) over the VGG-16, AlexNet or SqueezeNet 1.1 of torchvision, whose
//! key layout the backbone keeps; heads are `linK.model.1.weight`.

use super::conv::Conv;
use super::ops::{from_vec, resized, Calc};
use super::weights::Weights;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Mean and spread of the backbones' training pictures, per colour, for pictures in [-1, 1].
const COLOUR_SHIFT: [f32; 3] = [-0.030, -0.088, -0.188];
const COLOUR_SCALE: [f32; 3] = [0.458, 0.448, 0.450];
/// Added to the length of a feature vector before dividing by it.
const EPSILON: f64 = 1e-10;
/// Smallest side whose maps have at least one place in every backbone.
const MIN_SIDE: i64 = 32;

/// Backbones with published heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LpipsNet {
    /// VGG-16: what is optimised against.
    Vgg,
    /// AlexNet: what is reported.
    Alex,
    /// SqueezeNet 1.1.
    Squeeze,
}

/// Shape of a perceptual distance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LpipsConfig {
    /// Its backbone.
    pub net: LpipsNet,
}

/// One step of a backbone; numbers are torchvision's indices into `features`.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Convolution with bias and ReLU.
    Conv { index: usize, inputs: i64, outputs: i64, side: i64, stride: i64, padding: i64 },
    /// SqueezeNet's unit: a narrow layer, then 1 x 1 and 3 x 3 layers side by side.
    Fire { index: usize, inputs: i64, narrow: i64, wide: i64 },
    /// Max pooling with stride 2.
    Pool { side: i64, ceil: bool },
    /// The map of this many channels is compared.
    Tap(i64),
}

fn vgg() -> Vec<Step> {
    let conv = |index, inputs, outputs| Step::Conv { index, inputs, outputs, side: 3, stride: 1, padding: 1 };
    let mut out = Vec::new();
    let (mut index, mut inputs) = (0, 3);
    for (outputs, count) in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)] {
        if index > 0 {
            out.push(Step::Pool { side: 2, ceil: false });
            index += 1;
        }
        for _ in 0..count {
            out.push(conv(index, inputs, outputs));
            (index, inputs) = (index + 2, outputs);
        }
        out.push(Step::Tap(outputs));
    }
    out
}

fn alex() -> Vec<Step> {
    let conv =
        |index, inputs, outputs, side, stride| Step::Conv { index, inputs, outputs, side, stride, padding: 2.min(side / 2) };
    let pool = Step::Pool { side: 3, ceil: false };
    let (tap, mut out) = (Step::Tap, vec![conv(0, 3, 64, 11, 4)]);
    out.extend([tap(64), pool, conv(3, 64, 192, 5, 1), tap(192), pool, conv(6, 192, 384, 3, 1), tap(384)]);
    out.extend([conv(8, 384, 256, 3, 1), tap(256), conv(10, 256, 256, 3, 1), tap(256)]);
    out
}

fn squeeze() -> Vec<Step> {
    let fire = |index, inputs, narrow| Step::Fire { index, inputs, narrow, wide: 4 * narrow };
    let pool = Step::Pool { side: 3, ceil: true };
    let (tap, first) = (Step::Tap, Step::Conv { index: 0, inputs: 3, outputs: 64, side: 3, stride: 2, padding: 0 });
    let mut out = vec![first, tap(64), pool, fire(3, 64, 16), fire(4, 128, 16), tap(128), pool];
    out.extend([fire(6, 128, 32), fire(7, 256, 32), tap(256), pool, fire(9, 256, 48), tap(384)]);
    out.extend([fire(10, 384, 48), tap(384), fire(11, 384, 64), tap(512), fire(12, 512, 64), tap(512)]);
    out
}

impl LpipsConfig {
    fn steps(&self) -> Vec<Step> {
        match self.net {
            LpipsNet::Vgg => vgg(),
            LpipsNet::Alex => alex(),
            LpipsNet::Squeeze => squeeze(),
        }
    }

    /// Every tensor that the weights must hold, with its shape: backbone and heads.
    pub fn tensors(&self) -> Vec<(String, Vec<i64>)> {
        let mut out = Vec::new();
        let mut add = |name: String, outputs: i64, inputs: i64, side: i64| {
            out.push((format!("{name}.weight"), vec![outputs, inputs, side, side]));
            out.push((format!("{name}.bias"), vec![outputs]));
        };
        let mut heads = Vec::new();
        for step in self.steps() {
            match step {
                Step::Conv { index, inputs, outputs, side, .. } => add(format!("features.{index}"), outputs, inputs, side),
                Step::Fire { index, inputs, narrow, wide } => {
                    add(format!("features.{index}.squeeze"), narrow, inputs, 1);
                    add(format!("features.{index}.expand1x1"), wide, narrow, 1);
                    add(format!("features.{index}.expand3x3"), wide, narrow, 3);
                }
                Step::Tap(channels) => heads.push((format!("lin{}.model.1.weight", heads.len()), vec![1, channels, 1, 1])),
                Step::Pool { .. } => {}
            }
        }
        out.extend(heads);
        out
    }
}

/// A step with its weights.
#[derive(Debug)]
enum Stage {
    Conv(Conv),
    Fire(Box<[Conv; 3]>),
    Pool { side: i64, ceil: bool },
    Tap,
}

/// The perceptual distance with its weights.
#[derive(Debug)]
pub struct Lpips {
    cfg: LpipsConfig,
    stages: Vec<Stage>,
    /// One `[channels, 1]` per compared map.
    heads: Vec<Tensor>,
    colours: (Tensor, Tensor),
}

impl Lpips {
    /// Takes the weights; missing or misshapen tensors are reported by name, others are left aside.
    ///
    /// # Errors
    /// Malformed; device, when libtorch fails.
    pub fn new(cfg: LpipsConfig, weights: Weights) -> Result<Self> {
        for (name, shape) in cfg.tensors() {
            weights.shaped(&name, &shape)?;
        }
        let (mut stages, mut heads) = (Vec::new(), Vec::new());
        for step in cfg.steps() {
            stages.push(match step {
                Step::Conv { index, stride, padding, .. } => {
                    Stage::Conv(Conv::padded(&weights, &format!("features.{index}"), None, stride, padding)?)
                }
                Step::Fire { index, .. } => {
                    let conv = |part: &str| Conv::new(&weights, &format!("features.{index}.{part}"), None, 1);
                    Stage::Fire(Box::new([conv("squeeze")?, conv("expand1x1")?, conv("expand3x3")?]))
                }
                Step::Pool { side, ceil } => Stage::Pool { side, ceil },
                Step::Tap(channels) => {
                    let head = weights.get(&format!("lin{}.model.1.weight", heads.len()))?;
                    heads.push(head.f_detach()?.f_reshape([channels, 1])?);
                    Stage::Tap
                }
            });
        }
        let device = weights.get("features.0.weight")?.device();
        let colours = |values: [f32; 3]| from_vec(&values, &[1, 3, 1, 1], device);
        Ok(Lpips { colours: (colours(COLOUR_SHIFT)?, colours(COLOUR_SCALE)?), cfg, stages, heads })
    }

    /// Its shape.
    pub fn config(&self) -> &LpipsConfig {
        &self.cfg
    }

    /// What [`Lpips::distance`] compares: one map `[B, channels, h, w]` per layer, of unit length over the channels, in single
    /// precision. Convolutions run in `kind`.
    ///
    /// # Errors
    /// Misuse, for pictures of another shape or with a side under 32; device.
    pub fn features(&self, images: &Tensor, kind: Kind) -> Result<Vec<Tensor>> {
        self.taps(images, kind)?.iter().map(unit_length).collect()
    }

    /// The distance `[B]` between pictures with these features; either batch may be 1. `weight` `[B or 1, 1, H, W]`, of any size and
    /// mean 1, says how much the places count.
    ///
    /// # Errors
    /// Misuse, for features of another network; device.
    pub fn distance(&self, a: &[Tensor], b: &[Tensor], weight: Option<&Tensor>) -> Result<Tensor> {
        let layers = self.contributions(a, b, weight)?;
        Ok(layers.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Float)?)
    }

    /// The distance layer by layer, `[B, layers]`.
    ///
    /// # Errors
    /// As [`Lpips::distance`].
    pub fn contributions(&self, a: &[Tensor], b: &[Tensor], weight: Option<&Tensor>) -> Result<Tensor> {
        if a.len() != self.heads.len() || b.len() != self.heads.len() {
            let (want, a, b) = (self.heads.len(), a.len(), b.len());
            return Err(Error::Misuse(format!("{a} and {b} maps of features, expected {want}")));
        }
        let mut out = Vec::with_capacity(self.heads.len());
        for ((a, b), head) in a.iter().zip(b).zip(&self.heads) {
            let power = a.minus(b)?.f_square()?;
            // Channels last in memory: this product reads the map once.
            let mut map = power.f_permute([0, 2, 3, 1])?.f_matmul(head)?.f_squeeze_dim(-1)?;
            if let Some(weight) = weight {
                let size = map.size();
                map = map.times(&resized(weight, [size[1], size[2]])?.f_squeeze_dim(1)?)?;
            }
            out.push(map.f_mean_dim([1i64, 2].as_slice(), false, Kind::Float)?);
        }
        Ok(Tensor::f_stack(&out, 1)?)
    }

    /// The backbone's maps before they are brought to unit length.
    #[doc(hidden)]
    pub fn taps(&self, images: &Tensor, kind: Kind) -> Result<Vec<Tensor>> {
        let size = images.size();
        if size.len() != 4 || size[1] != 3 || size[2] < MIN_SIDE || size[3] < MIN_SIDE {
            return Err(Error::Misuse(format!(
                "pictures for the perceptual distance have shape {size:?}, expected [batch, 3, {MIN_SIDE} or more, {MIN_SIDE} or more]"
            )));
        }
        let mut x = super::ops::channels_last(&self.scaled(images)?.f_to_kind(kind)?)?;
        let mut out = Vec::with_capacity(self.heads.len());
        for stage in &self.stages {
            x = match stage {
                Stage::Conv(conv) => conv.run(&x)?.f_relu()?,
                Stage::Fire(convs) => {
                    let narrow = convs[0].run(&x)?.f_relu()?;
                    Tensor::f_cat(&[convs[1].run(&narrow)?, convs[2].run(&narrow)?], 1)?.f_relu()?
                }
                Stage::Pool { side, ceil } => x.f_max_pool2d([*side; 2], [2, 2], [0, 0], [1, 1], *ceil)?,
                Stage::Tap => {
                    out.push(x.shallow_clone());
                    x
                }
            };
        }
        Ok(out)
    }

    /// Pictures in the units of the backbone's training.
    #[doc(hidden)]
    pub fn scaled(&self, images: &Tensor) -> Result<Tensor> {
        images.minus(&self.colours.0)?.over(&self.colours.1)
    }
}

/// Features scaled to unit length over the channels at each place.
fn unit_length(x: &Tensor) -> Result<Tensor> {
    let x = x.f_to_kind(Kind::Float)?;
    let power = x.f_square()?.f_sum_dim_intlist([1i64].as_slice(), true, Kind::Float)?;
    // The summand under the root changes nothing that single precision shows, but where no channel is active the root's slope
    // would be infinite and its gradient undefined.
    x.over(&power.shift(EPSILON * EPSILON)?.f_sqrt()?.shift(EPSILON)?)
}
