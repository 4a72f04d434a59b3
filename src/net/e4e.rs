//! Inversion: aligned crops `[B, 3, 256, 256]` in [-1, 1] to W+ codes `[B, rows, 512]`, relative to the generator's mean latent.
//! Source: Tov et al. 2021 (encoder for editing) and Alaluf et al. 2021 (ReStyle: the same trunk sees the crop beside the last
//! render and every head reads the last feature map); key layout of the published PyTorch models.

use super::conv::Conv;
use super::irse::{self, Trunk, TrunkMode};
use super::ops::{resized, Calc};
use super::weights::Weights;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::{no_grad, Kind, Tensor};

/// Side of the pictures that the heads are made for.
pub const E4E_SIDE: i64 = 256;
/// Width of a W+ row.
const DIM: i64 = 512;
/// Units of the 50-layer trunk after which the maps of 128, 256 and 512 channels are read.
const TAPS: [usize; 3] = [6, 20, 23];
/// Rows below this one come from the coarsest map ...
const COARSE_ROWS: i64 = 3;
/// ... and rows from there up to this one from the middle one.
const MIDDLE_ROWS: i64 = 7;

/// Which maps the heads read and how their outputs make up the codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Heads {
    /// e4e: three levels of a pyramid; row 0 is head 0, row i is head 0 plus head i.
    Pyramid,
    /// ReStyle over e4e: the last map alone; rows as in e4e.
    LastOffsets,
    /// ReStyle over pSp: the last map alone; row i is head i.
    Last,
}

/// Shape of an inversion encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct E4eConfig {
    /// Rows of W+.
    pub rows: i64,
    /// Layers of the trunk; the published taps fit 50.
    pub layers: i64,
    /// Kind of residual unit.
    pub mode: TrunkMode,
    /// 3, or 6 where the encoder sees the crop beside the last render (ReStyle).
    pub input_channels: i64,
    /// What the heads read.
    pub heads: Heads,
}

impl E4eConfig {
    /// e4e for a generator of side `resolution` (a power of two): `2 log2(resolution) - 2` rows.
    pub fn published(resolution: i64) -> Self {
        let rows = 2 * i64::from(resolution.max(4).ilog2()) - 2;
        E4eConfig { rows, layers: 50, mode: TrunkMode::IrSe, input_channels: 3, heads: Heads::Pyramid }
    }

    /// Checks ranges before anything is allocated by them.
    ///
    /// # Errors
    /// Malformed or unsupported, with what is out of range.
    pub fn check(&self) -> Result<()> {
        if !(1..=crate::limits::MAX_LATENT_ROWS as i64).contains(&self.rows) || ![3, 6].contains(&self.input_channels) {
            let (rows, inputs) = (self.rows, self.input_channels);
            return Err(Error::Malformed(format!("inversion encoder: {rows} rows from {inputs} channels is out of range")));
        }
        if self.layers != 50 && self.heads == Heads::Pyramid {
            return Err(Error::Unsupported(format!("inversion encoder: trunk of {} layers, expected 50", self.layers)));
        }
        irse::tensors(self.layers, self.mode, self.input_channels).map(|_| ())
    }

    /// Every tensor that the weights must hold, with its shape; names as in the published files after `encoder.`.
    pub fn tensors(&self) -> Vec<(String, Vec<i64>)> {
        let mut out = irse::tensors(self.layers, self.mode, self.input_channels).unwrap_or_default();
        for head in 0..self.rows {
            for conv in 0..self.depth(head) {
                out.push((format!("styles.{head}.convs.{}.weight", 2 * conv), vec![DIM, DIM, 3, 3]));
                out.push((format!("styles.{head}.convs.{}.bias", 2 * conv), vec![DIM]));
            }
            out.push((format!("styles.{head}.linear.weight"), vec![DIM, DIM]));
            out.push((format!("styles.{head}.linear.bias"), vec![DIM]));
        }
        if self.heads == Heads::Pyramid {
            for (name, channels) in [("latlayer1", 256), ("latlayer2", 128)] {
                out.push((format!("{name}.weight"), vec![DIM, channels, 1, 1]));
                out.push((format!("{name}.bias"), vec![DIM]));
            }
        }
        out
    }

    /// Level of the pyramid that a head reads: 0 is the coarsest.
    fn level(&self, head: i64) -> usize {
        match self.heads {
            Heads::Pyramid if head >= MIDDLE_ROWS => 2,
            Heads::Pyramid if head >= COARSE_ROWS => 1,
            _ => 0,
        }
    }

    /// Convolutions of a head: each halves the side, 16 at the coarsest level, until one place is left.
    fn depth(&self, head: i64) -> usize {
        4 + self.level(head)
    }
}

/// What the encoder computes on its way, for comparison with other implementations.
#[doc(hidden)]
#[derive(Debug)]
pub struct E4eTaps {
    /// Output of the first convolution and of the first unit.
    pub stem: (Tensor, Tensor),
    /// Maps of 128, 256 and 512 channels.
    pub trunk: Vec<Tensor>,
    /// The pyramid, coarsest first.
    pub pyramid: Vec<Tensor>,
    /// Raw outputs of the heads `[B, rows, 512]`.
    pub heads: Tensor,
}

/// The encoder with its weights.
#[derive(Debug)]
pub struct E4e {
    cfg: E4eConfig,
    trunk: Trunk,
    laterals: Vec<Conv>,
    heads: Vec<Head>,
}

impl E4e {
    /// Takes the weights; missing or misshapen tensors are reported by name, others are left aside.
    ///
    /// # Errors
    /// Malformed, unsupported; device, when libtorch fails.
    pub fn new(cfg: E4eConfig, weights: Weights) -> Result<Self> {
        cfg.check()?;
        for (name, shape) in cfg.tensors() {
            weights.shaped(&name, &shape)?;
        }
        let laterals = match cfg.heads {
            Heads::Pyramid => vec![Conv::new(&weights, "latlayer1", None, 1)?, Conv::new(&weights, "latlayer2", None, 1)?],
            _ => Vec::new(),
        };
        let heads = (0..cfg.rows).map(|i| Head::new(&weights, i, cfg.depth(i))).collect::<Result<_>>()?;
        Ok(E4e { trunk: Trunk::new(cfg.layers, cfg.mode, &weights)?, cfg, laterals, heads })
    }

    /// Its shape.
    pub fn config(&self) -> &E4eConfig {
        &self.cfg
    }

    /// Codes `[B, rows, 512]`, to which the mean latent has yet to be added, from crops of any side in [-1, 1], which are brought to
    /// 256. Convolutions run in `kind`.
    ///
    /// # Errors
    /// Misuse, when the encoder wants a render beside the crop; device.
    pub fn encode(&self, images: &Tensor, kind: Kind) -> Result<Tensor> {
        self.codes(&resized(images, [E4E_SIDE; 2])?, kind)
    }

    /// One round of ReStyle: what has to be added to the codes whose render is `renders`, given the crops `images`, both of any side.
    ///
    /// # Errors
    /// Misuse, when the encoder sees the crop alone; device.
    pub fn refine(&self, images: &Tensor, renders: &Tensor, kind: Kind) -> Result<Tensor> {
        let pair = [resized(images, [E4E_SIDE; 2])?, resized(renders, [E4E_SIDE; 2])?];
        self.codes(&Tensor::f_cat(&pair, 1)?, kind)
    }

    /// Codes `[B, rows, 512]` from pictures `[B, 3 or 6, 256, 256]`.
    ///
    /// # Errors
    /// Misuse, for another shape; device.
    pub fn codes(&self, images: &Tensor, kind: Kind) -> Result<Tensor> {
        self.combine(&self.taps(images, kind)?.heads)
    }

    /// All intermediates.
    #[doc(hidden)]
    pub fn taps(&self, images: &Tensor, kind: Kind) -> Result<E4eTaps> {
        let want = [self.cfg.input_channels, E4E_SIDE, E4E_SIDE];
        if images.size().get(1..) != Some(&want) {
            let found = images.size();
            return Err(Error::Misuse(format!("pictures for inversion have shape {found:?}, expected [batch, {want:?}]")));
        }
        let stem = self.trunk.stem(images, kind)?;
        let (mut maps, last) = self.trunk.body(&stem, &[0, TAPS[0], TAPS[1]])?;
        let first = maps.remove(0);
        let pyramid = self.pyramid(&maps, &last)?;
        let heads = self.heads.iter().zip(0..).map(|(head, i)| head.run(&pyramid[self.cfg.level(i)]));
        let heads = Tensor::f_stack(&heads.collect::<Result<Vec<_>>>()?, 1)?;
        maps.push(last);
        Ok(E4eTaps { stem: (stem, first), trunk: maps, pyramid, heads })
    }

    /// Head outputs to codes.
    fn combine(&self, heads: &Tensor) -> Result<Tensor> {
        if self.cfg.heads == Heads::Last || self.cfg.rows == 1 {
            return Ok(heads.shallow_clone());
        }
        let base = heads.f_slice(1, 0, 1, 1)?;
        Ok(Tensor::f_cat(&[base.shallow_clone(), heads.f_slice(1, 1, None, 1)?.plus(&base)?], 1)?)
    }

    /// The maps that the heads read, coarsest first.
    fn pyramid(&self, maps: &[Tensor], last: &Tensor) -> Result<Vec<Tensor>> {
        let mut out = vec![last.shallow_clone()];
        for (lateral, map) in self.laterals.iter().zip(maps.iter().rev()) {
            let size = [map.size()[2], map.size()[3]];
            let wide = out[out.len() - 1].f_upsample_bilinear2d(size, true, None, None)?;
            out.push(wide.plus(&lateral.run(map)?)?);
        }
        Ok(out)
    }
}

/// One style head: convolutions down to one place, then a linear layer.
#[derive(Debug)]
struct Head {
    convs: Vec<Conv>,
    weight: Tensor,
    bias: Tensor,
}

impl Head {
    fn new(weights: &Weights, index: i64, depth: usize) -> Result<Head> {
        let name = format!("styles.{index}");
        let convs = (0..depth).map(|i| Conv::new(weights, &format!("{name}.convs.{}", 2 * i), None, 2));
        let weight = weights.get(&format!("{name}.linear.weight"))?;
        Ok(Head {
            convs: convs.collect::<Result<_>>()?,
            // StyleGAN2's equalised learning rate.
            weight: no_grad(|| weight.scale(1.0 / (DIM as f64).sqrt()))?,
            bias: weights.get(&format!("{name}.linear.bias"))?.f_detach()?,
        })
    }

    fn run(&self, map: &Tensor) -> Result<Tensor> {
        let mut x = map.shallow_clone();
        for conv in &self.convs {
            // Slope 0.01, libtorch's default.
            x = conv.run(&x)?.f_leaky_relu()?;
        }
        Ok(x.f_flatten(1, -1)?.f_to_kind(Kind::Float)?.f_linear(&self.weight, Some(&self.bias))?)
    }
}
