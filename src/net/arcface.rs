//! Identity: crops `[B, 3, R, R]` in [-1, 1] to embeddings `[B, 512]` of unit length, compared by their dot product.
//! Source: Deng et al. 2019 (ArcFace); crop and pooling of the ID loss of pSp and e4e; key layout of the published PyTorch model.

use super::conv::{batch_norm, batch_norm_tensors};
use super::irse::{self, Trunk, TrunkMode};
use super::ops::{resized, Calc};
use super::weights::Weights;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::{no_grad, Kind, Tensor};

/// Channels of the trunk's last map, and width of the embedding.
const DIM: i64 = 512;
/// The ID loss crops pictures of this side ...
const CROP_OF: i64 = 256;
/// ... from this row on ...
const CROP_TOP: i64 = 35;
/// ... and this column on ...
const CROP_LEFT: i64 = 32;
/// ... to this side: the part of an FFHQ crop that ArcFace's own alignment would show.
const CROP_SIDE: i64 = 188;

/// Shape of the identity network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArcFaceConfig {
    /// Side that faces are brought to: 112 or 224.
    pub input_size: i64,
    /// Layers of the trunk: 50, 100 or 152.
    pub num_layers: i64,
    /// Kind of residual unit.
    pub mode: TrunkMode,
}

impl Default for ArcFaceConfig {
    /// The published IR-SE-50 at 112 x 112.
    fn default() -> Self {
        ArcFaceConfig { input_size: 112, num_layers: 50, mode: TrunkMode::IrSe }
    }
}

impl ArcFaceConfig {
    /// Checks ranges before anything is allocated by them.
    ///
    /// # Errors
    /// Unsupported, with what is out of range.
    pub fn check(&self) -> Result<()> {
        if ![112, 224].contains(&self.input_size) {
            return Err(Error::Unsupported(format!("identity network: input side {}, expected 112 or 224", self.input_size)));
        }
        irse::tensors(self.num_layers, self.mode, 3).map(|_| ())
    }

    /// Side of the trunk's last map.
    fn last_side(&self) -> i64 {
        self.input_size / 16
    }

    /// Every tensor that the weights must hold, with its shape.
    pub fn tensors(&self) -> Vec<(String, Vec<i64>)> {
        let mut out = irse::tensors(self.num_layers, self.mode, 3).unwrap_or_default();
        out.extend(batch_norm_tensors("output_layer.0", DIM));
        out.push(("output_layer.3.weight".into(), vec![DIM, DIM * self.last_side() * self.last_side()]));
        out.push(("output_layer.3.bias".into(), vec![DIM]));
        out.extend(batch_norm_tensors("output_layer.4", DIM));
        out
    }
}

/// What the network computes on its way, for comparison with other implementations.
#[doc(hidden)]
#[derive(Debug)]
pub struct ArcFaceTaps {
    /// The face as the trunk sees it.
    pub face: Tensor,
    /// Outputs of the units asked for.
    pub units: Vec<Tensor>,
    /// The trunk's last map.
    pub last: Tensor,
}

/// The identity network with its weights.
#[derive(Debug)]
pub struct ArcFace {
    cfg: ArcFaceConfig,
    trunk: Trunk,
    weight: Tensor,
    bias: Tensor,
}

impl ArcFace {
    /// Takes the weights; missing or misshapen tensors are reported by name, others are left aside.
    ///
    /// # Errors
    /// Malformed, unsupported; device, when libtorch fails.
    pub fn new(cfg: ArcFaceConfig, weights: Weights) -> Result<Self> {
        cfg.check()?;
        for (name, shape) in cfg.tensors() {
            weights.shaped(&name, &shape)?;
        }
        let (weight, bias) = no_grad(|| output_layer(&weights))?;
        Ok(ArcFace { trunk: Trunk::new(cfg.num_layers, cfg.mode, &weights)?, cfg, weight, bias })
    }

    /// Its shape.
    pub fn config(&self) -> &ArcFaceConfig {
        &self.cfg
    }

    /// The embedding `[B, 512]` of unit length of crops of any side; convolutions run in `kind`.
    ///
    /// # Errors
    /// Misuse, for pictures of another shape; device.
    pub fn embed(&self, images: &Tensor, kind: Kind) -> Result<Tensor> {
        let numbers = self.identity(images, kind)?;
        let power = numbers.f_square()?.f_sum_dim_intlist([1i64].as_slice(), true, Kind::Float)?;
        // Far below the squared length of any real embedding (about 2000), and no division by zero.
        numbers.times(&power.shift(1e-12)?.f_rsqrt()?)
    }

    /// The embedding before it is brought to unit length.
    ///
    /// # Errors
    /// As [`ArcFace::embed`].
    pub fn identity(&self, images: &Tensor, kind: Kind) -> Result<Tensor> {
        self.output(&self.taps(images, kind, &[])?.last)
    }

    /// Intermediates: the face, the outputs of the units numbered `units` (rising) and the last map.
    #[doc(hidden)]
    pub fn taps(&self, images: &Tensor, kind: Kind, units: &[usize]) -> Result<ArcFaceTaps> {
        let face = self.face(images)?;
        let (units, last) = self.trunk.body(&self.trunk.stem(&face, kind)?, units)?;
        Ok(ArcFaceTaps { face, units, last })
    }

    /// The face `[B, 3, input_size, input_size]`: the ID loss's crop, pooled.
    fn face(&self, images: &Tensor) -> Result<Tensor> {
        let size = images.size();
        if size.len() != 4 || size[1] != 3 {
            return Err(Error::Misuse(format!("pictures for identity have shape {size:?}, expected [batch, 3, side, side]")));
        }
        let images = resized(images, [CROP_OF; 2])?;
        let face = images.f_narrow(2, CROP_TOP, CROP_SIDE)?.f_narrow(3, CROP_LEFT, CROP_SIDE)?;
        // Adaptive pooling whether it shrinks or grows: the published loss knows nothing else.
        Ok(face.f_adaptive_avg_pool2d([self.cfg.input_size; 2])?)
    }

    fn output(&self, last: &Tensor) -> Result<Tensor> {
        let flat = last.f_to_kind(Kind::Float)?.f_contiguous()?.f_flatten(1, -1)?;
        Ok(flat.f_linear(&self.weight, Some(&self.bias))?)
    }
}

/// Batch norm, linear layer and batch norm as one linear layer: nothing is padded, so both fold exactly.
fn output_layer(weights: &Weights) -> Result<(Tensor, Tensor)> {
    let (before, before_summand) = batch_norm(weights, "output_layer.0")?;
    let (after, after_summand) = batch_norm(weights, "output_layer.4")?;
    let weight = weights.get("output_layer.3.weight")?.f_to_kind(Kind::Double)?.f_view([DIM, DIM, -1])?;
    let bias = weights.get("output_layer.3.bias")?.f_to_kind(Kind::Double)?;
    let bias = bias.plus(&weight.f_sum_dim_intlist([2i64].as_slice(), false, Kind::Double)?.f_mv(&before_summand)?)?;
    let weight = weight.times(&before.f_view([1, -1, 1])?)?.times(&after.f_view([-1, 1, 1])?)?;
    let bias = bias.times(&after)?.plus(&after_summand)?;
    Ok((weight.f_flatten(1, -1)?.f_to_kind(Kind::Float)?, bias.f_to_kind(Kind::Float)?))
}
