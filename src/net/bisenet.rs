//! Face parsing: pictures `[B, 3, H, W]` in [-1, 1] to logits `[B, classes, H, W]`, or at an eighth of the side.
//! Source: Yu et al. 2018 (BiSeNet) as published for faces: a ResNet-18 whose map at an eighth stands in for the spatial path.
//! Key layout of the published PyTorch model.

use super::conv::{batch_norm_tensors, gated, matrix, pooled, Conv};
use super::ops::{channels_last, from_vec, Calc};
use super::weights::Weights;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Mean and spread of ImageNet's pictures, per colour, for pictures in [0, 1].
const COLOUR_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const COLOUR_SPREAD: [f32; 3] = [0.229, 0.224, 0.225];
/// Widths of the ResNet's four stages.
const WIDTHS: [i64; 4] = [64, 128, 256, 512];
/// Width of the context path.
const CONTEXT: i64 = 128;
/// Most classes a parser may have.
const MAX_CLASSES: i64 = 1024;
/// Smallest side that leaves a place at a thirty-second.
const MIN_SIDE: i64 = 32;

/// Shape of a face parser.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BiSeNetConfig {
    /// Number of classes.
    pub n_classes: i64,
}

impl BiSeNetConfig {
    /// Checks ranges before anything is allocated by them.
    ///
    /// # Errors
    /// Malformed.
    pub fn check(&self) -> Result<()> {
        if !(1..=MAX_CLASSES).contains(&self.n_classes) {
            return Err(Error::Malformed(format!("face parser: {} classes, expected 1 to {MAX_CLASSES}", self.n_classes)));
        }
        Ok(())
    }

    /// Every tensor that the weights must hold, with its shape.
    pub fn tensors(&self) -> Vec<(String, Vec<i64>)> {
        let mut out = resnet_tensors();
        for (name, inputs) in [("cp.arm16", 256), ("cp.arm32", 512)] {
            out.extend(normed_tensors(&format!("{name}.conv"), inputs, CONTEXT, 3));
            out.push((format!("{name}.conv_atten.weight"), vec![CONTEXT, CONTEXT, 1, 1]));
            out.extend(batch_norm_tensors(&format!("{name}.bn_atten"), CONTEXT));
        }
        out.extend(normed_tensors("cp.conv_head32", CONTEXT, CONTEXT, 3));
        out.extend(normed_tensors("cp.conv_head16", CONTEXT, CONTEXT, 3));
        out.extend(normed_tensors("cp.conv_avg", 512, CONTEXT, 1));
        out.extend(normed_tensors("ffm.convblk", 256, 256, 1));
        out.push(("ffm.conv1.weight".into(), vec![64, 256, 1, 1]));
        out.push(("ffm.conv2.weight".into(), vec![256, 64, 1, 1]));
        out.extend(self.head_tensors("conv_out", 256, 256));
        out
    }

    /// Tensors of the auxiliary heads, which published files hold and parsing does not need.
    pub fn optional_tensors(&self) -> Vec<(String, Vec<i64>)> {
        let mut out = self.head_tensors("conv_out16", CONTEXT, 64);
        out.extend(self.head_tensors("conv_out32", CONTEXT, 64));
        out
    }

    fn head_tensors(&self, name: &str, inputs: i64, width: i64) -> Vec<(String, Vec<i64>)> {
        let mut out = normed_tensors(&format!("{name}.conv"), inputs, width, 3);
        out.push((format!("{name}.conv_out.weight"), vec![self.n_classes, width, 1, 1]));
        out
    }
}

fn normed_tensors(name: &str, inputs: i64, outputs: i64, side: i64) -> Vec<(String, Vec<i64>)> {
    let mut out = vec![(format!("{name}.conv.weight"), vec![outputs, inputs, side, side])];
    out.extend(batch_norm_tensors(&format!("{name}.bn"), outputs));
    out
}

fn resnet_tensors() -> Vec<(String, Vec<i64>)> {
    let mut out = vec![("cp.resnet.conv1.weight".to_string(), vec![WIDTHS[0], 3, 7, 7])];
    out.extend(batch_norm_tensors("cp.resnet.bn1", WIDTHS[0]));
    let mut inputs = WIDTHS[0];
    for (stage, width) in WIDTHS.into_iter().enumerate() {
        for block in 0..2 {
            let name = format!("cp.resnet.layer{}.{block}", stage + 1);
            out.push((format!("{name}.conv1.weight"), vec![width, inputs, 3, 3]));
            out.extend(batch_norm_tensors(&format!("{name}.bn1"), width));
            out.push((format!("{name}.conv2.weight"), vec![width, width, 3, 3]));
            out.extend(batch_norm_tensors(&format!("{name}.bn2"), width));
            if inputs != width {
                out.push((format!("{name}.downsample.0.weight"), vec![width, inputs, 1, 1]));
                out.extend(batch_norm_tensors(&format!("{name}.downsample.1"), width));
            }
            inputs = width;
        }
    }
    out
}

/// What the parser computes on its way, for comparison with other implementations.
#[doc(hidden)]
#[derive(Debug)]
pub struct BiSeNetTaps {
    /// The ResNet's maps at an eighth, a sixteenth and a thirty-second of the side.
    pub resnet: [Tensor; 3],
    /// The context path at an eighth and a sixteenth.
    pub context: [Tensor; 2],
    /// The fused map at an eighth.
    pub fused: Tensor,
}

/// The face parser with its weights.
#[derive(Debug)]
pub struct BiSeNet {
    cfg: BiSeNetConfig,
    colours: (Tensor, Tensor),
    stem: Conv,
    stages: Vec<[Block; 2]>,
    refine16: Refinement,
    refine32: Refinement,
    head16: Conv,
    head32: Conv,
    average: Conv,
    fusion: Conv,
    attention: (Tensor, Tensor),
    out: Head,
    auxiliary: Option<[Head; 2]>,
}

impl BiSeNet {
    /// Takes the weights; missing or misshapen tensors are reported by name, others are left aside.
    ///
    /// # Errors
    /// Malformed; device, when libtorch fails.
    pub fn new(cfg: BiSeNetConfig, weights: Weights) -> Result<Self> {
        cfg.check()?;
        let optional = cfg.optional_tensors();
        let complete = optional.iter().all(|(name, _)| weights.has(name));
        for (name, shape) in cfg.tensors().iter().chain(optional.iter().filter(|_| complete)) {
            weights.shaped(name, shape)?;
        }
        let w = &weights;
        let device = w.get("cp.resnet.conv1.weight")?.device();
        let colours = |values: [f32; 3]| from_vec(&values, &[1, 3, 1, 1], device);
        let auxiliary = match complete {
            true => Some([Head::new(w, "conv_out16")?, Head::new(w, "conv_out32")?]),
            false => None,
        };
        Ok(BiSeNet {
            cfg,
            colours: (colours(COLOUR_MEAN)?, colours(COLOUR_SPREAD)?),
            stem: Conv::new(w, "cp.resnet.conv1", Some("cp.resnet.bn1"), 2)?,
            stages: (1..=WIDTHS.len()).map(|i| Ok([Block::new(w, i, 0)?, Block::new(w, i, 1)?])).collect::<Result<_>>()?,
            refine16: Refinement::new(w, "cp.arm16")?,
            refine32: Refinement::new(w, "cp.arm32")?,
            head16: normed(w, "cp.conv_head16")?,
            head32: normed(w, "cp.conv_head32")?,
            average: normed(w, "cp.conv_avg")?,
            fusion: normed(w, "ffm.convblk")?,
            attention: (matrix(w, "ffm.conv1")?, matrix(w, "ffm.conv2")?),
            out: Head::new(w, "conv_out")?,
            auxiliary,
        })
    }

    /// Its shape.
    pub fn config(&self) -> &BiSeNetConfig {
        &self.cfg
    }

    /// Logits `[B, classes, H, W]` of pictures in [-1, 1]. The published weights were made at 512 x 512; nothing is resized here.
    /// Convolutions run in `kind`.
    ///
    /// # Errors
    /// Misuse, for pictures of another shape or with a side under 32; device.
    pub fn logits(&self, images: &Tensor, kind: Kind) -> Result<Tensor> {
        enlarged(&self.coarse_logits(images, kind)?, images)
    }

    /// Logits as the network makes them, `[B, classes, H/8, W/8]`: enough for loss masks, and free of the cost of enlarging them.
    ///
    /// # Errors
    /// As [`BiSeNet::logits`].
    pub fn coarse_logits(&self, images: &Tensor, kind: Kind) -> Result<Tensor> {
        self.out.run(&self.taps(images, kind)?.fused)
    }

    /// Logits of the auxiliary heads at the full side, where the weights hold them.
    #[doc(hidden)]
    pub fn auxiliary_logits(&self, taps: &BiSeNetTaps, images: &Tensor) -> Result<Option<[Tensor; 2]>> {
        let Some([head16, head32]) = &self.auxiliary else { return Ok(None) };
        let [at8, at16] = &taps.context;
        Ok(Some([enlarged(&head16.run(at8)?, images)?, enlarged(&head32.run(at16)?, images)?]))
    }

    /// Pictures in the units of the ResNet's training.
    #[doc(hidden)]
    pub fn normalised(&self, images: &Tensor) -> Result<Tensor> {
        images.shift(1.0)?.scale(0.5)?.minus(&self.colours.0)?.over(&self.colours.1)
    }

    /// All intermediates.
    #[doc(hidden)]
    pub fn taps(&self, images: &Tensor, kind: Kind) -> Result<BiSeNetTaps> {
        let size = images.size();
        if size.len() != 4 || size[1] != 3 || size[2] < MIN_SIDE || size[3] < MIN_SIDE {
            return Err(Error::Misuse(format!(
                "pictures for parsing have shape {size:?}, expected [batch, 3, {MIN_SIDE} or more, {MIN_SIDE} or more]"
            )));
        }
        let resnet = self.resnet(&channels_last(&self.normalised(images)?.f_to_kind(kind)?)?)?;
        let context = self.context(&resnet)?;
        let both = Tensor::f_cat(&[&resnet[0], &context[0]], 1)?;
        let fused = self.fusion.run(&both)?.f_relu()?;
        let gate = pooled(&fused)?.f_linear(&self.attention.0, None::<&Tensor>)?.f_relu()?;
        let gate = gate.f_linear(&self.attention.1, None::<&Tensor>)?.f_sigmoid()?;
        Ok(BiSeNetTaps { fused: fused.plus(&gated(&fused, &gate)?)?, resnet, context })
    }

    /// Maps at an eighth, a sixteenth and a thirty-second.
    fn resnet(&self, x: &Tensor) -> Result<[Tensor; 3]> {
        let mut x = self.stem.run(x)?.f_relu()?.f_max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false)?;
        let mut maps = Vec::with_capacity(WIDTHS.len());
        for blocks in &self.stages {
            for block in blocks {
                x = block.run(&x)?;
            }
            maps.push(x.shallow_clone());
        }
        Ok([maps[1].shallow_clone(), maps[2].shallow_clone(), maps[3].shallow_clone()])
    }

    /// Context path: from the thirty-second up to a sixteenth and an eighth; finest first.
    fn context(&self, [at8, at16, at32]: &[Tensor; 3]) -> Result<[Tensor; 2]> {
        let average = at32.f_mean_dim([2i64, 3].as_slice(), true, at32.kind())?;
        let average = self.average.run(&average)?.f_relu()?;
        let sum32 = self.refine32.run(at32)?.plus(&average)?;
        let up16 = self.head32.run(&nearest(&sum32, at16)?)?.f_relu()?;
        let sum16 = self.refine16.run(at16)?.plus(&up16)?;
        let up8 = self.head16.run(&nearest(&sum16, at8)?)?.f_relu()?;
        Ok([up8, up16])
    }
}

/// `x` at the size of `like`, by repetition.
fn nearest(x: &Tensor, like: &Tensor) -> Result<Tensor> {
    Ok(x.f_upsample_nearest2d([like.size()[2], like.size()[3]], None, None)?)
}

/// Logits at the size of the pictures, their corners aligned.
fn enlarged(logits: &Tensor, images: &Tensor) -> Result<Tensor> {
    Ok(logits.f_upsample_bilinear2d([images.size()[2], images.size()[3]], true, None, None)?)
}

/// A convolution with its batch norm; ReLU is left to the caller.
fn normed(weights: &Weights, name: &str) -> Result<Conv> {
    Conv::new(weights, &format!("{name}.conv"), Some(&format!("{name}.bn")), 1)
}

/// Residual block of ResNet-18.
#[derive(Debug)]
struct Block {
    first: Conv,
    second: Conv,
    shortcut: Option<Conv>,
}

impl Block {
    fn new(weights: &Weights, stage: usize, block: usize) -> Result<Block> {
        let name = |part: &str| format!("cp.resnet.layer{stage}.{block}.{part}");
        let stride = if stage > 1 && block == 0 { 2 } else { 1 };
        // The first stage keeps side and width, so that its shortcut is the input itself.
        let shortcut = match stride == 2 {
            true => Some(Conv::new(weights, &name("downsample.0"), Some(&name("downsample.1")), stride)?),
            false => None,
        };
        Ok(Block {
            first: Conv::new(weights, &name("conv1"), Some(&name("bn1")), stride)?,
            second: Conv::new(weights, &name("conv2"), Some(&name("bn2")), 1)?,
            shortcut,
        })
    }

    fn run(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.second.run(&self.first.run(x)?.f_relu()?)?;
        let shortcut = match &self.shortcut {
            Some(conv) => conv.run(x)?,
            None => x.shallow_clone(),
        };
        Ok(y.plus(&shortcut)?.f_relu()?)
    }
}

/// Attention refinement: a convolution whose channels are weighed by their own means.
#[derive(Debug)]
struct Refinement {
    conv: Conv,
    attention: Conv,
}

impl Refinement {
    fn new(weights: &Weights, name: &str) -> Result<Refinement> {
        let attention = Conv::new(weights, &format!("{name}.conv_atten"), Some(&format!("{name}.bn_atten")), 1)?;
        Ok(Refinement { conv: normed(weights, &format!("{name}.conv"))?, attention })
    }

    fn run(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.conv.run(x)?.f_relu()?;
        let mean = x.f_mean_dim([2i64, 3].as_slice(), true, x.kind())?;
        x.times(&self.attention.run(&mean)?.f_sigmoid()?)
    }
}

/// Output head: logits in single precision.
#[derive(Debug)]
struct Head {
    conv: Conv,
    out: Conv,
}

impl Head {
    fn new(weights: &Weights, name: &str) -> Result<Head> {
        Ok(Head {
            conv: normed(weights, &format!("{name}.conv"))?,
            out: Conv::new(weights, &format!("{name}.conv_out"), None, 1)?,
        })
    }

    fn run(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.out.run(&self.conv.run(x)?.f_relu()?)?.f_to_kind(Kind::Float)?)
    }
}
