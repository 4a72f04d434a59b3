//! The built-in analysis network: one convolutional trunk over the crop `[B, 3, R, R]` in [-1, 1] and a head per task.
//!
//! Tasks: encoder (w of the mapping network), predictor (yaw, pitch, expression), identity embedding, region parser, and the
//! trunk's own features as a perceptual distance in the manner of LPIPS (Zhang et al. 2018). All learn from the parametric
//! heads' ground truth, so that the pack needs no outside weights.

use super::flow::{PITCH_UNIT, YAW_UNIT};
use super::ops::{channels_last, leaky_from_scaled, Calc, LEAKY_SCALE};
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::params::EXPRESSIONS;
use serde::{Deserialize, Serialize};
use std::cell::OnceCell;
use tch::{Kind, Tensor};

/// Shape of the analysis network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaceNetConfig {
    /// Side that crops are brought to before the trunk.
    pub input: i64,
    /// Channels at `input`, `input/2`, ...; the last level's side is `input >> (len - 1)`.
    pub widths: Vec<i64>,
    /// Units of the shared hidden layer.
    pub hidden: i64,
    /// Width of w.
    pub style_dim: i64,
    /// Width of the identity embedding.
    pub identity_dim: i64,
    /// Region classes of the parser.
    pub classes: i64,
    /// Channels of the parser's top-down path where `top_down` is empty.
    #[serde(default)]
    pub parser_width: i64,
    /// Channels of the top-down path at `input`, `input/2`, ..., one per level of the trunk: it carries what the coarse levels know back
    /// to the fine ones. The parser reads its finest level, the predictor its level of 32 x 32. Empty in older packs, whose
    /// parser has a plainer path and whose predictor reads the trunk's last level: that one hardly sees lips and lids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top_down: Vec<i64>,
    /// Channels of a second such path, as many numbers, which the parser then reads in place of the first; of that one the levels below the predictor's are
    /// left out. Empty: there is but one path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parser_down: Vec<i64>,
    /// Whether the encoder reads the trunk's last level and the picture's colours, 8 x 8, instead of the shared hidden layer: that one
    /// keeps little but what the predictor and the identity embedding need, and colours are what both learn to disregard.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub encoder_sees_trunk: bool,
}

impl FaceNetConfig {
    fn last_side(&self) -> i64 {
        self.input >> (self.widths.len() - 1)
    }

    /// Checks ranges before anything is allocated by them.
    pub fn check(&self) -> Result<()> {
        let small = |v: i64| (1..=1024).contains(&v);
        let fine = small(self.input)
            && (2..=8).contains(&self.widths.len())
            && self.widths.iter().all(|w| small(*w))
            && [self.hidden, self.style_dim, self.identity_dim, self.classes].into_iter().all(small)
            && match self.top_down.is_empty() {
                true => small(self.parser_width),
                false => self.top_down.len() == self.widths.len() && self.top_down.iter().all(|w| small(*w)),
            }
            && (self.parser_down.is_empty()
                || self.parser_down.len() == self.top_down.len() && self.parser_down.iter().all(|w| small(*w)))
            && self.last_side() >= 1
            // Levels are joined by doubling: every one must halve exactly.
            && self.last_side() << (self.widths.len() - 1) == self.input;
        if !fine {
            return Err(Error::Malformed(format!("analysis network configuration out of range: {self:?}")));
        }
        Ok(())
    }

    /// Every tensor that the weights must hold, with its shape.
    pub fn tensors(&self) -> Vec<(String, Vec<i64>)> {
        let mut out = Vec::new();
        let mut add = |name: String, shape: Vec<i64>| {
            out.push((format!("{name}.bias"), vec![shape[0]]));
            out.push((format!("{name}.weight"), shape));
        };
        add("trunk.0".into(), vec![self.widths[0], 3, 3, 3]);
        for (i, pair) in self.widths.windows(2).enumerate() {
            add(format!("trunk.{}.down", i + 1), vec![pair[1], pair[0], 3, 3]);
            add(format!("trunk.{}.same", i + 1), vec![pair[1], pair[1], 3, 3]);
        }
        let top = self.widths[self.widths.len() - 1] * self.last_side() * self.last_side();
        add("hidden".into(), vec![self.hidden, top]);
        if let Some(level) = self.numbers_level() {
            let side = self.input >> (level + 1);
            add("numbers.conv".into(), vec![NUMBERS_WIDTH, self.top_down[level], 3, 3]);
            add("numbers.hidden".into(), vec![self.hidden, NUMBERS_WIDTH * side * side]);
        }
        add("pose".into(), vec![2, self.hidden]);
        add("expression".into(), vec![EXPRESSIONS as i64, self.hidden]);
        add("identity".into(), vec![self.identity_dim, self.hidden]);
        add(
            "encoder.0".into(),
            vec![self.hidden, if self.encoder_sees_trunk { top + 3 * COLOUR_SIDE * COLOUR_SIDE } else { self.hidden }],
        );
        add("encoder.1".into(), vec![self.style_dim, self.hidden]);
        let Some(finest) = self.top_down.first() else {
            for level in 1..self.widths.len() {
                add(format!("parser.{level}"), vec![self.parser_width, self.widths[level], 1, 1]);
            }
            add("parser.mix".into(), vec![self.parser_width, self.parser_width, 3, 3]);
            add("parser.out".into(), vec![self.classes, self.parser_width, 1, 1]);
            return out;
        };
        // With a path for the parser the other one is needed no further down than the predictor looks.
        let end = if self.parser_down.is_empty() { 0 } else { self.numbers_level().unwrap_or(0) };
        for (path, widths, end) in [(SHARED, &self.top_down, end), (OWN, &self.parser_down, 0)] {
            for (level, width) in widths.iter().enumerate().skip(end) {
                add(format!("{path}.{level}.side"), vec![*width, self.widths[level], 1, 1]);
                if let Some(above) = widths.get(level + 1) {
                    add(format!("{path}.{level}.up"), vec![*width, *above, 1, 1]);
                    add(format!("{path}.{level}.mix"), vec![*width, *width, 3, 3]);
                }
            }
        }
        add("regions".into(), vec![self.classes, *self.parser_down.first().unwrap_or(finest), 1, 1]);
        out
    }

    /// The level of the top-down path that the predictor reads, if there is such a path.
    fn numbers_level(&self) -> Option<usize> {
        let levels = self.top_down.len().checked_sub(1)?;
        Some((0..levels).rev().find(|level| self.input >> level >= NUMBERS_SIDE).unwrap_or(0))
    }
}

/// Name of the top-down path that the predictor reads.
pub(crate) const SHARED: &str = "top_down";
/// Name of that of the parser alone.
pub(crate) const OWN: &str = "parser_down";

/// Side of the small picture that the encoder takes colours from.
const COLOUR_SIDE: i64 = 8;
/// What its values are multiplied by: they are a tenth of the encoder's inputs and must be heard.
const COLOUR_GAIN: f64 = 4.0;

/// Side of the level of the top-down path from which yaw, pitch and expression are read.
const NUMBERS_SIDE: i64 = 32;
/// Channels that are read there, at half that side.
const NUMBERS_WIDTH: i64 = 32;

/// First level that is compared. The one before sees little more than colours and edges, which pixels judge better, and would cost half the time.
const COMPARED: usize = 1;

/// What the trunk computed for a batch.
#[derive(Debug)]
pub struct Features {
    /// One `[B, width, side, side]` per level, finest first.
    pub levels: Vec<Tensor>,
    /// The pictures at 8 x 8, `[B, 3, 8, 8]`.
    pub colours: Tensor,
    /// The top-down path down to the predictor's level, made when first asked for.
    upper: OnceCell<Tensor>,
}

impl Features {
    /// The trunk's levels with the colours of the pictures `[B, 3, R, R]` that they were computed from.
    pub(super) fn new(levels: Vec<Tensor>, images: &Tensor) -> Result<Self> {
        Ok(Features { levels, colours: super::ops::resized(images, [COLOUR_SIDE; 2])?, upper: OnceCell::new() })
    }

    /// Of these levels, those that [`FaceNet::distance`] looks at.
    pub(super) fn compared(&self) -> &[Tensor] {
        &self.levels[COMPARED.min(self.levels.len())..]
    }

    /// Of which only [`Features::compared`] are known: good for [`FaceNet::distance`] alone.
    pub(super) fn recalled(compared: Vec<Tensor>) -> Self {
        let levels = (0..COMPARED).map(|_| Tensor::new()).chain(compared).collect();
        Features { levels, colours: Tensor::new(), upper: OnceCell::new() }
    }
}

/// The analysis network with its weights.
#[derive(Debug)]
pub struct FaceNet {
    cfg: FaceNetConfig,
    weights: Weights,
}

impl FaceNet {
    /// Takes the weights; missing or misshapen tensors are reported by name.
    pub fn new(cfg: FaceNetConfig, weights: Weights) -> Result<Self> {
        cfg.check()?;
        for (name, shape) in cfg.tensors() {
            weights.shaped(&name, &shape)?;
        }
        Ok(FaceNet { cfg, weights })
    }

    /// Its shape.
    pub fn config(&self) -> &FaceNetConfig {
        &self.cfg
    }

    /// Its tensors.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Trunk features of crops of any size; convolutions run in `kind`.
    pub fn features(&self, images: &Tensor, kind: Kind) -> Result<Features> {
        let mut x = images.shallow_clone();
        let side = images.size()[2];
        if side > self.cfg.input {
            x = x.f_adaptive_avg_pool2d([self.cfg.input; 2])?;
        } else if side < self.cfg.input {
            x = x.f_upsample_bilinear2d([self.cfg.input; 2], false, None, None)?;
        }
        let mut x = self.conv("trunk.0", &channels_last(&x.f_to_kind(kind)?)?, 1, true)?;
        let mut levels = vec![x.shallow_clone()];
        for level in 1..self.cfg.widths.len() {
            x = self.conv(&format!("trunk.{level}.down"), &x, 2, true)?;
            // The sum of two unit-variance signals is brought back to unit variance.
            x = x.plus(&self.conv(&format!("trunk.{level}.same"), &x, 1, true)?)?.scale(std::f64::consts::FRAC_1_SQRT_2)?;
            levels.push(x.shallow_clone());
        }
        Features::new(levels, images)
    }

    /// The trunk's last level in one row per picture.
    fn top(features: &Features) -> Result<Tensor> {
        let top = &features.levels[features.levels.len() - 1];
        Ok(top.f_to_kind(Kind::Float)?.f_contiguous()?.f_flatten(1, -1)?)
    }

    /// The hidden layer `[B, hidden]` behind the trunk's last level.
    fn trunk_hidden(&self, features: &Features) -> Result<Tensor> {
        leaky_from_scaled(&self.linear("hidden", &Self::top(features)?)?.scale(LEAKY_SCALE)?)
    }

    /// The predictor's hidden layer `[B, hidden]`: what the network knows of pose and expression.
    pub fn hidden(&self, features: &Features) -> Result<Tensor> {
        let Some(level) = self.cfg.numbers_level() else { return self.trunk_hidden(features) };
        let x = self.conv("numbers.conv", self.upper(features, level)?, 2, true)?;
        let x = x.f_to_kind(Kind::Float)?.f_contiguous()?.f_flatten(1, -1)?;
        leaky_from_scaled(&self.linear("numbers.hidden", &x)?.scale(LEAKY_SCALE)?)
    }

    /// The top-down path at `level`, computed once per batch.
    fn upper<'f>(&self, features: &'f Features, level: usize) -> Result<&'f Tensor> {
        if let Some(made) = features.upper.get() {
            return Ok(made);
        }
        let made = self.descend(features, SHARED, level)?;
        Ok(features.upper.get_or_init(|| made))
    }

    /// A path from the coarsest level down to `level`.
    fn descend(&self, features: &Features, path: &str, level: usize) -> Result<Tensor> {
        let last = self.cfg.widths.len() - 1;
        let top = self.conv(&format!("{path}.{last}.side"), &features.levels[last], 1, true)?;
        (level..last).rev().try_fold(top, |x, level| self.step_down(features, path, x, level))
    }

    /// One level down: what comes from above, doubled, plus what the trunk sees here, mixed with its neighbours.
    fn step_down(&self, features: &Features, path: &str, above: Tensor, level: usize) -> Result<Tensor> {
        let side = self.cfg.input >> level;
        let above = self.conv(&format!("{path}.{level}.up"), &above, 1, false)?;
        let here = self.conv(&format!("{path}.{level}.side"), &features.levels[level], 1, false)?;
        let x = leaky_from_scaled(&above.f_upsample_nearest2d([side, side], None, None)?.plus(&here)?.scale(LEAKY_SCALE)?)?;
        self.conv(&format!("{path}.{level}.mix"), &x, 1, true)
    }

    /// Yaw and pitch in degrees `[B, 2]` and expression `[B, 32]` in the units of the parametric heads.
    pub fn predict(&self, features: &Features) -> Result<(Tensor, Tensor)> {
        let hidden = self.hidden(features)?;
        let units = super::ops::from_vec(&[YAW_UNIT as f32, PITCH_UNIT as f32], &[1, 2], hidden.device())?;
        Ok((self.linear("pose", &hidden)?.times(&units)?, self.linear("expression", &hidden)?))
    }

    /// w `[B, dim]`: the encoder's inversion, the same in every W+ row.
    pub fn encode(&self, features: &Features) -> Result<Tensor> {
        let seen = if self.cfg.encoder_sees_trunk {
            let colours = features.colours.f_contiguous()?.f_flatten(1, -1)?.scale(COLOUR_GAIN)?;
            Tensor::f_cat(&[Self::top(features)?, colours], 1)?
        } else {
            self.trunk_hidden(features)?
        };
        let hidden = self.linear("encoder.0", &seen)?;
        self.linear("encoder.1", &leaky_from_scaled(&hidden.scale(LEAKY_SCALE)?)?)
    }

    /// Identity numbers `[B, identity_dim]` before normalisation.
    pub fn identity(&self, features: &Features) -> Result<Tensor> {
        self.linear("identity", &self.trunk_hidden(features)?)
    }

    /// Identity embedding `[B, identity_dim]` of unit length: compare by the cosine.
    pub fn embed(&self, features: &Features) -> Result<Tensor> {
        let e = self.identity(features)?;
        let norm = e.f_square()?.f_sum_dim_intlist([1i64].as_slice(), true, Kind::Float)?.shift(1e-8)?.f_rsqrt()?;
        e.times(&norm)
    }

    /// Region logits `[B, classes, input, input]`; half that side in older packs.
    pub fn parse(&self, features: &Features) -> Result<Tensor> {
        if let Some(level) = self.cfg.numbers_level() {
            let x = match self.cfg.parser_down.is_empty() {
                true => {
                    let upper = self.upper(features, level)?.shallow_clone();
                    (0..level).rev().try_fold(upper, |x, level| self.step_down(features, SHARED, x, level))?
                }
                false => self.descend(features, OWN, 0)?,
            };
            return Ok(self.conv("regions", &x, 1, false)?.f_to_kind(Kind::Float)?);
        }
        let last = self.cfg.widths.len() - 1;
        let mut x = self.conv(&format!("parser.{last}"), &features.levels[last], 1, false)?;
        for level in (1..last).rev() {
            let side = self.cfg.input >> level;
            let lateral = self.conv(&format!("parser.{level}"), &features.levels[level], 1, false)?;
            x = leaky_from_scaled(&x.f_upsample_nearest2d([side, side], None, None)?.plus(&lateral)?.scale(LEAKY_SCALE)?)?;
        }
        let x = self.conv("parser.mix", &x, 1, true)?;
        Ok(self.conv("parser.out", &x, 1, false)?.f_to_kind(Kind::Float)?)
    }

    /// Perceptual distance `[B]`: per level, features normalised over channels, squared difference averaged over places where
    /// `weight` `[B or 1, 1, H, H]` (any side, mean 1) says how much they count.
    pub fn distance(&self, a: &Features, b: &Features, weight: Option<&Tensor>) -> Result<Tensor> {
        let mut total: Option<Tensor> = None;
        for (x, y) in a.levels.iter().zip(&b.levels).skip(COMPARED) {
            let difference = normalised(x)?.minus(&normalised(y)?)?;
            let mut map = difference.f_square()?.f_sum_dim_intlist([1i64].as_slice(), true, Kind::Float)?;
            if let Some(weight) = weight {
                map = map.times(&resize_weight(weight, x.size()[2])?)?;
            }
            let mean = map.f_mean_dim([1i64, 2, 3].as_slice(), false, Kind::Float)?;
            total = Some(match total {
                Some(sum) => sum.plus(&mean)?,
                None => mean,
            });
        }
        total.ok_or_else(|| Error::Misuse("features without levels".into()))
    }

    fn conv(&self, name: &str, x: &Tensor, stride: i64, activate: bool) -> Result<Tensor> {
        let weight = self.weights.get(&format!("{name}.weight"))?;
        let bias = self.weights.get(&format!("{name}.bias"))?;
        let gain = if activate { LEAKY_SCALE } else { 1.0 };
        let padding = weight.size()[2] / 2;
        let weight = weight.scale(gain)?.f_to_kind(x.kind())?;
        let y = x.f_conv2d(&weight, Some(&bias.scale(gain)?.f_to_kind(x.kind())?), stride, padding, 1, 1)?;
        if activate {
            leaky_from_scaled(&y)
        } else {
            Ok(y)
        }
    }

    fn linear(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let weight = self.weights.get(&format!("{name}.weight"))?;
        Ok(x.f_linear(weight, Some(self.weights.get(&format!("{name}.bias"))?))?)
    }
}

/// A weight map brought to another side by averaging or interpolation.
fn resize_weight(weight: &Tensor, side: i64) -> Result<Tensor> {
    if weight.size()[2] > side {
        Ok(weight.f_adaptive_avg_pool2d([side, side])?)
    } else if weight.size()[2] < side {
        Ok(weight.f_upsample_bilinear2d([side, side], false, None, None)?)
    } else {
        Ok(weight.shallow_clone())
    }
}

/// Features scaled to unit length over the channels at each place.
fn normalised(x: &Tensor) -> Result<Tensor> {
    let x = x.f_to_kind(Kind::Float)?;
    let norm = x.f_square()?.f_sum_dim_intlist([1i64].as_slice(), true, Kind::Float)?.shift(1e-6)?.f_rsqrt()?;
    x.times(&norm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn config() -> FaceNetConfig {
        FaceNetConfig {
            input: 128,
            widths: vec![2, 3, 4, 5, 6, 7],
            hidden: 8,
            style_dim: 4,
            identity_dim: 4,
            classes: 5,
            parser_width: 0,
            top_down: vec![2, 3, 4, 5, 6, 7],
            parser_down: vec![6, 3, 4, 5, 6, 7],
            encoder_sees_trunk: false,
        }
    }

    #[test]
    fn with_a_path_for_the_parser_the_other_ends_where_the_predictor_reads() {
        let random = |shape: &[i64]| Tensor::f_randn(shape, (Kind::Float, Device::Cpu)).unwrap();
        let tensors: Vec<_> = config().tensors().into_iter().map(|(name, shape)| (name, random(&shape))).collect();
        // 32 x 32 is level 2 of 128.
        let has = |path: &str| tensors.iter().any(|(name, _)| *name == format!("{path}.side.weight"));
        assert!(has("top_down.2") && !has("top_down.1") && !has("top_down.0") && has("parser_down.0"));
        let images = random(&[2, 3, 128, 128]);
        let see = |doubled: &str| {
            let mut weights = Weights::new();
            for (name, tensor) in &tensors {
                weights.insert(name.clone(), tensor.scale(if name == doubled { 0.6 } else { 0.3 }).unwrap());
            }
            let net = FaceNet::new(config(), weights).unwrap();
            let features = net.features(&images, Kind::Float).unwrap();
            (net.predict(&features).unwrap().0, net.parse(&features).unwrap())
        };
        let (angles, regions) = see("");
        assert_eq!((angles.size(), regions.size()), (vec![2, 2], vec![2, 5, 128, 128]));
        // Each path moves what reads it, and nothing else.
        for (name, predictor) in [("top_down.3.mix.weight", true), ("parser_down.3.mix.weight", false)] {
            let (a, r) = see(name);
            assert_eq!((a != angles, r != regions), (predictor, !predictor), "{name}");
        }
    }

    #[test]
    fn paths_that_do_not_fit_are_refused() {
        assert!(config().check().is_ok());
        let bad = |parser_down: &[i64]| FaceNetConfig { parser_down: parser_down.into(), ..config() }.check().is_err();
        assert!(bad(&[2; 5]) && bad(&[2; 7]) && bad(&[2, 3, 0, 5, 6, 7]) && bad(&[2, 3, 5000, 5, 6, 7]));
        let alone = FaceNetConfig { top_down: Vec::new(), parser_width: 4, ..config() };
        assert!(alone.check().is_err(), "without the path of the predictor");
    }
}
