//! The residual trunk that e4e and ArcFace share: images `[B, 3, H, W]` to feature maps of 64, 128, 256 and 512 channels at a half,
//! a quarter, an eighth and a sixteenth of the side. Source: Deng et al. 2019 (improved residual units), Hu et al. 2018
//! (squeeze and excitation); key layout of the published PyTorch models.

use super::conv::{batch_norm_tensors, gated, matrix, pooled, Conv, Norm};
use super::ops::{channels_last, Calc};
use super::weights::Weights;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Channels after the first convolution.
const STEM: i64 = 64;
/// Channels of the four stages.
const DEPTHS: [i64; 4] = [64, 128, 256, 512];
/// Factor by which the excitation narrows.
const REDUCTION: i64 = 16;

/// Kind of residual unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrunkMode {
    /// Plain units.
    Ir,
    /// Units with squeeze and excitation.
    IrSe,
}

/// Shape of one residual unit.
#[derive(Clone, Copy, Debug)]
struct UnitShape {
    inputs: i64,
    depth: i64,
    stride: i64,
}

/// The units of a trunk of 50, 100 or 152 layers.
fn units(layers: i64) -> Result<Vec<UnitShape>> {
    let counts = match layers {
        50 => [3, 4, 14, 3],
        100 => [3, 13, 30, 3],
        152 => [3, 8, 36, 3],
        _ => return Err(Error::Unsupported(format!("a trunk of {layers} layers; expected 50, 100 or 152"))),
    };
    let mut out = Vec::new();
    let mut inputs = STEM;
    for (depth, count) in DEPTHS.into_iter().zip(counts) {
        for i in 0..count {
            // The first stage halves the side as well, though its width stays.
            out.push(UnitShape { inputs, depth, stride: if i == 0 { 2 } else { 1 } });
            inputs = depth;
        }
    }
    Ok(out)
}

/// Every tensor of a trunk, with its shape.
pub(super) fn tensors(layers: i64, mode: TrunkMode, input_channels: i64) -> Result<Vec<(String, Vec<i64>)>> {
    let mut out = vec![("input_layer.0.weight".to_string(), vec![STEM, input_channels, 3, 3])];
    out.extend(batch_norm_tensors("input_layer.1", STEM));
    out.push(("input_layer.2.weight".into(), vec![STEM]));
    for (i, UnitShape { inputs, depth, .. }) in units(layers)?.into_iter().enumerate() {
        if inputs != depth {
            out.push((format!("body.{i}.shortcut_layer.0.weight"), vec![depth, inputs, 1, 1]));
            out.extend(batch_norm_tensors(&format!("body.{i}.shortcut_layer.1"), depth));
        }
        let name = format!("body.{i}.res_layer");
        out.extend(batch_norm_tensors(&format!("{name}.0"), inputs));
        out.push((format!("{name}.1.weight"), vec![depth, inputs, 3, 3]));
        out.push((format!("{name}.2.weight"), vec![depth]));
        out.push((format!("{name}.3.weight"), vec![depth, depth, 3, 3]));
        out.extend(batch_norm_tensors(&format!("{name}.4"), depth));
        if mode == TrunkMode::IrSe {
            out.push((format!("{name}.5.fc1.weight"), vec![depth / REDUCTION, depth, 1, 1]));
            out.push((format!("{name}.5.fc2.weight"), vec![depth, depth / REDUCTION, 1, 1]));
        }
    }
    Ok(out)
}

/// The trunk with its weights.
#[derive(Debug)]
pub(super) struct Trunk {
    stem: Conv,
    slopes: Tensor,
    units: Vec<Unit>,
}

impl Trunk {
    /// Takes weights that were checked against [`tensors`].
    pub fn new(layers: i64, mode: TrunkMode, weights: &Weights) -> Result<Trunk> {
        let shapes = units(layers)?.into_iter().enumerate();
        Ok(Trunk {
            stem: Conv::new(weights, "input_layer.0", Some("input_layer.1"), 1)?,
            slopes: weights.get("input_layer.2.weight")?.f_detach()?,
            units: shapes.map(|(i, shape)| Unit::new(weights, i, shape, mode)).collect::<Result<_>>()?,
        })
    }

    /// The first convolution, 64 channels at the full side; everything runs in `kind`.
    pub fn stem(&self, images: &Tensor, kind: Kind) -> Result<Tensor> {
        let x = self.stem.run(&channels_last(&images.f_to_kind(kind)?)?)?;
        Ok(x.f_prelu(&self.slopes.f_to_kind(kind)?)?)
    }

    /// The outputs of the units numbered `taps` (rising) and of the last one, from the stem's output.
    pub fn body(&self, stem: &Tensor, taps: &[usize]) -> Result<(Vec<Tensor>, Tensor)> {
        let mut x = stem.shallow_clone();
        let mut out = Vec::with_capacity(taps.len());
        for (i, unit) in self.units.iter().enumerate() {
            x = unit.run(&x)?;
            if taps.contains(&i) {
                out.push(x.shallow_clone());
            }
        }
        Ok((out, x))
    }
}

#[derive(Debug)]
struct Unit {
    norm: Norm,
    first: Conv,
    slopes: Tensor,
    second: Conv,
    excitation: Option<(Tensor, Tensor)>,
    shortcut: Option<Conv>,
    stride: i64,
}

impl Unit {
    fn new(weights: &Weights, index: usize, shape: UnitShape, mode: TrunkMode) -> Result<Unit> {
        let name = |part: &str| format!("body.{index}.{part}");
        let excitation = match mode {
            TrunkMode::Ir => None,
            TrunkMode::IrSe => Some((matrix(weights, &name("res_layer.5.fc1"))?, matrix(weights, &name("res_layer.5.fc2"))?)),
        };
        let shortcut = match shape.inputs == shape.depth {
            true => None,
            false => Some(Conv::new(weights, &name("shortcut_layer.0"), Some(&name("shortcut_layer.1")), shape.stride)?),
        };
        Ok(Unit {
            norm: Norm::new(weights, &name("res_layer.0"))?,
            first: Conv::new(weights, &name("res_layer.1"), None, 1)?,
            slopes: weights.get(&name("res_layer.2.weight"))?.f_detach()?,
            second: Conv::new(weights, &name("res_layer.3"), Some(&name("res_layer.4")), shape.stride)?,
            excitation,
            shortcut,
            stride: shape.stride,
        })
    }

    fn run(&self, x: &Tensor) -> Result<Tensor> {
        let kind = x.kind();
        let y = self.first.run(&self.norm.run(x)?)?.f_prelu(&self.slopes.f_to_kind(kind)?)?;
        let y = self.second.run(&y)?;
        let shortcut = match &self.shortcut {
            Some(conv) => conv.run(x)?,
            None if self.stride == 1 => x.shallow_clone(),
            // The published max pooling of one place with a stride picks every other place.
            None => x.f_slice(2, 0, None, self.stride)?.f_slice(3, 0, None, self.stride)?,
        };
        match &self.excitation {
            Some((narrow, widen)) => {
                let gate = pooled(&y)?.f_linear(narrow, None::<&Tensor>)?.f_relu()?;
                let gate = gate.f_linear(widen, None::<&Tensor>)?.f_sigmoid()?;
                shortcut.plus(&gated(&y, &gate)?)
            }
            None => shortcut.plus(&y),
        }
    }
}
