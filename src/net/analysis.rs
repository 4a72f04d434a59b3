//! What the encoder sees with: perceptual distance, regions, inversion, identity and first guesses, whichever networks a pack has.
//!
//! Input: crops `[B, 3, R, R]` in [-1, 1]. A pack of our own trainer has one network with a head per task
//! ([`FaceNet`]); a pack of published checkpoints has one network per task, some of which may be absent.

use super::arcface::{ArcFace, ArcFaceConfig};
use super::bisenet::{BiSeNet, BiSeNetConfig};
use super::e4e::{E4e, E4eConfig};
use super::facenet::{FaceNet, FaceNetConfig, Features};
use super::lpips::{Lpips, LpipsConfig};
use super::ops::Calc;
use super::weights::Weights;
use crate::error::{Error, Result};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::cell::OnceCell;
use std::cmp::Ordering;
use tch::{Kind, Tensor};

/// Largest side at which LPIPS looks: that of the losses of the published tuning.
const PERCEPTUAL_SIDE: i64 = 256;
/// Side that the published parser was trained at.
const PARSER_SIDE: i64 = 512;
/// Side of the perceptual network's last level when it serves as a summary of the picture.
const SUMMARY_SIDE: i64 = 2;

/// Shapes of the networks that analyse.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum AnalysisConfig {
    /// One network with a head per task.
    Built(FaceNetConfig),
    /// Published networks.
    Published(PublishedConfig),
}

/// Shapes of the published networks that a pack has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedConfig {
    /// LPIPS: needed, since every search is judged by it.
    pub lpips: LpipsConfig,
    /// e4e; without it, inversion starts from the mean latent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e4e: Option<E4eConfig>,
    /// ArcFace; without it, the identity frame is a middle one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arcface: Option<ArcFaceConfig>,
    /// BiSeNet; without it, regions are those of the crop's framing alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bisenet: Option<BiSeNetConfig>,
}

/// Published networks always have LPIPS among them.
impl<'de> Deserialize<'de> for AnalysisConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        let value = Value::deserialize(from)?;
        let named = |e: serde_json::Error| D::Error::custom(format!("analysis: {e}"));
        match value.get("lpips") {
            Some(_) => serde_json::from_value(value).map(AnalysisConfig::Published).map_err(named),
            None => serde_json::from_value(value).map(AnalysisConfig::Built).map_err(named),
        }
    }
}

impl AnalysisConfig {
    /// Checks ranges before anything is allocated by them; `style_dim`, `rows` and `labels` are the generator's and the pack's.
    ///
    /// # Errors
    /// Malformed, with what is out of range or does not fit.
    pub fn check(&self, style_dim: i64, rows: i64, labels: usize) -> Result<()> {
        let fits = |what: &str, found: i64, wanted: i64| match found == wanted {
            true => Ok(()),
            false => Err(Error::Malformed(format!("analysis: {found} {what}, expected {wanted}"))),
        };
        match self {
            AnalysisConfig::Built(net) => {
                net.check()?;
                fits("styles", net.style_dim, style_dim)?;
                fits("region classes", net.classes, labels as i64)
            }
            AnalysisConfig::Published(nets) => {
                if let Some(e4e) = &nets.e4e {
                    e4e.check()?;
                    if e4e.input_channels != 3 {
                        let what = "an encoder that wants its own render beside the crop (ReStyle)";
                        return Err(Error::Unsupported(format!("analysis: {what}")));
                    }
                    fits("rows of the e4e encoder", e4e.rows, rows)?;
                    fits("styles of the e4e encoder", E4E_DIM, style_dim)?;
                }
                if let Some(arcface) = &nets.arcface {
                    arcface.check()?;
                }
                if let Some(bisenet) = &nets.bisenet {
                    bisenet.check()?;
                    fits("classes of the parser", bisenet.n_classes, labels as i64)?;
                }
                Ok(())
            }
        }
    }

    /// Every tensor that the weights must hold, with its shape.
    pub fn tensors(&self) -> Vec<(String, Vec<i64>)> {
        let under = |prefix: &str, list: Vec<(String, Vec<i64>)>| -> Vec<_> {
            list.into_iter().map(|(name, shape)| (format!("{prefix}{name}"), shape)).collect()
        };
        match self {
            AnalysisConfig::Built(net) => net.tensors(),
            AnalysisConfig::Published(nets) => {
                let mut out = under(LPIPS, nets.lpips.tensors());
                if let Some(e4e) = &nets.e4e {
                    out.extend(under(E4E, e4e.tensors()));
                    out.push((LATENT_AVG.into(), vec![e4e.rows, E4E_DIM]));
                }
                if let Some(arcface) = &nets.arcface {
                    out.extend(under(ARCFACE, arcface.tensors()));
                }
                if let Some(bisenet) = &nets.bisenet {
                    out.extend(under(BISENET, bisenet.tensors()));
                }
                out
            }
        }
    }
}

/// Width of the codes that e4e makes.
const E4E_DIM: i64 = 512;
/// Prefixes of the published networks' tensors in a pack.
pub const LPIPS: &str = "lpips.";
/// See [`LPIPS`].
pub const E4E: &str = "e4e.";
/// See [`LPIPS`].
pub const ARCFACE: &str = "arcface.";
/// See [`LPIPS`].
pub const BISENET: &str = "bisenet.";
/// What is added to e4e's codes, `[rows, dim]`.
pub const LATENT_AVG: &str = "latent_avg";

/// The networks that analyse, with their weights.
#[derive(Debug)]
pub enum Analysis {
    /// One network with a head per task.
    Built(FaceNet),
    /// Published networks.
    Published(Box<Published>),
}

/// The published networks of a pack.
#[derive(Debug)]
pub struct Published {
    lpips: Lpips,
    e4e: Option<(E4e, Tensor)>,
    arcface: Option<ArcFace>,
    bisenet: Option<BiSeNet>,
}

/// Crops as the networks see them.
#[derive(Debug)]
pub struct View {
    images: Tensor,
    /// Made when first asked for: inversion and identity need none.
    features: OnceCell<Features>,
    kind: Kind,
}

impl View {
    /// Crops whose [`Analysis::compared`] are known: good for [`Analysis::distance`] alone.
    pub(crate) fn recalled(images: &Tensor, compared: Vec<Tensor>, kind: Kind) -> View {
        View { images: images.shallow_clone(), features: OnceCell::from(Features::recalled(compared)), kind }
    }
}

impl Published {
    fn new(cfg: PublishedConfig, weights: Weights) -> Result<Self> {
        let e4e = match cfg.e4e {
            Some(cfg) => Some((E4e::new(cfg, weights.under(E4E)?)?, weights.get(LATENT_AVG)?.f_unsqueeze(0)?)),
            None => None,
        };
        Ok(Published {
            lpips: Lpips::new(cfg.lpips, weights.under(LPIPS)?)?,
            e4e,
            arcface: cfg.arcface.map(|cfg| ArcFace::new(cfg, weights.under(ARCFACE)?)).transpose()?,
            bisenet: cfg.bisenet.map(|cfg| BiSeNet::new(cfg, weights.under(BISENET)?)).transpose()?,
        })
    }
}

impl Analysis {
    /// Takes the weights; missing or misshapen tensors are reported by name.
    ///
    /// # Errors
    /// Malformed.
    pub fn new(cfg: AnalysisConfig, weights: Weights) -> Result<Self> {
        Ok(match cfg {
            AnalysisConfig::Built(cfg) => Analysis::Built(FaceNet::new(cfg, weights)?),
            AnalysisConfig::Published(cfg) => Analysis::Published(Box::new(Published::new(cfg, weights)?)),
        })
    }

    /// Side of the pictures beyond which most of these networks see nothing more.
    pub fn sight(&self) -> i64 {
        match self {
            Analysis::Built(net) => net.config().input,
            Analysis::Published(_) => PERCEPTUAL_SIDE,
        }
    }

    /// Crops of any side to be looked at; convolutions run in `kind`.
    ///
    /// # Errors
    /// Device, as all methods here.
    pub fn view(&self, images: &Tensor, kind: Kind) -> Result<View> {
        Ok(View { images: images.shallow_clone(), features: OnceCell::new(), kind })
    }

    /// What [`Analysis::distance`] looks at in a view, `[B, C, h, w]` each. None of published networks, which look at too much for it to be kept.
    ///
    /// # Errors
    /// Device.
    pub(crate) fn compared<'v>(&self, view: &'v View) -> Result<Option<&'v [Tensor]>> {
        match self {
            Analysis::Built(_) => Ok(Some(self.features(view)?.compared())),
            Analysis::Published(_) => Ok(None),
        }
    }

    fn features<'v>(&self, view: &'v View) -> Result<&'v Features> {
        if let Some(made) = view.features.get() {
            return Ok(made);
        }
        let made = match self {
            Analysis::Built(net) => net.features(&view.images, view.kind)?,
            Analysis::Published(nets) => {
                let side = view.images.size()[2].min(PERCEPTUAL_SIDE);
                let images = match side < view.images.size()[2] {
                    true => view.images.f_adaptive_avg_pool2d([side; 2])?,
                    false => view.images.shallow_clone(),
                };
                Features::new(nets.lpips.features(&images, view.kind)?, &view.images)?
            }
        };
        Ok(view.features.get_or_init(|| made))
    }

    /// Perceptual distance `[B]`; `weight` `[B or 1, 1, H, W]` of mean 1 says how much each place counts.
    pub fn distance(&self, a: &View, b: &View, weight: Option<&Tensor>) -> Result<Tensor> {
        let (a, b) = (self.features(a)?, self.features(b)?);
        match self {
            Analysis::Built(net) => net.distance(a, b, weight),
            Analysis::Published(nets) => nets.lpips.distance(&a.levels, &b.levels, weight),
        }
    }

    /// Region logits `[B, classes, h, w]`, in the order of the pack's labels.
    pub fn parse(&self, view: &View) -> Result<Option<Tensor>> {
        match self {
            Analysis::Built(net) => Ok(Some(net.parse(self.features(view)?)?)),
            Analysis::Published(nets) => {
                let Some(net) = &nets.bisenet else { return Ok(None) };
                let side = view.images.size()[2];
                let images = match side.cmp(&PARSER_SIDE) {
                    Ordering::Greater => view.images.f_adaptive_avg_pool2d([PARSER_SIDE; 2])?,
                    Ordering::Less => view.images.f_upsample_bilinear2d([PARSER_SIDE; 2], false, None, None)?,
                    Ordering::Equal => view.images.shallow_clone(),
                };
                Ok(Some(net.coarse_logits(&images, view.kind)?.f_to_kind(Kind::Float)?))
            }
        }
    }

    /// Codes in W+ `[B, 1 or rows, dim]`; one row stands for all.
    pub fn invert(&self, view: &View) -> Result<Option<Tensor>> {
        match self {
            Analysis::Built(net) => Ok(Some(net.encode(self.features(view)?)?.f_unsqueeze(1)?)),
            Analysis::Published(nets) => match &nets.e4e {
                Some((net, average)) => Ok(Some(net.encode(&view.images, view.kind)?.plus(average)?)),
                None => Ok(None),
            },
        }
    }

    /// Identity embedding of unit length `[B, n]`: compare by the cosine.
    pub fn embed(&self, view: &View) -> Result<Option<Tensor>> {
        match self {
            Analysis::Built(net) => Ok(Some(net.embed(self.features(view)?)?)),
            Analysis::Published(nets) => nets.arcface.as_ref().map(|net| net.embed(&view.images, view.kind)).transpose(),
        }
    }

    /// Whether [`Analysis::predict`] has something to say.
    pub fn predicts(&self) -> bool {
        matches!(self, Analysis::Built(_))
    }

    /// Yaw and pitch in degrees `[B, 2]` and alpha `[B, 32]`, where the pack has a predictor.
    pub fn predict(&self, view: &View) -> Result<Option<(Tensor, Tensor)>> {
        match self {
            Analysis::Built(net) => Ok(Some(net.predict(self.features(view)?)?)),
            Analysis::Published(_) => Ok(None),
        }
    }

    /// A summary of the picture `[B, n]` from which pose and expression can be regressed.
    pub fn summary(&self, view: &View) -> Result<Tensor> {
        match self {
            Analysis::Built(net) => net.hidden(self.features(view)?),
            Analysis::Published(_) => {
                let levels = &self.features(view)?.levels;
                let last = levels.last().ok_or_else(|| Error::Misuse("features without levels".into()))?;
                let pooled = last.f_to_kind(Kind::Float)?.f_adaptive_avg_pool2d([SUMMARY_SIDE; 2])?;
                Ok(pooled.f_contiguous()?.f_flatten(1, -1)?)
            }
        }
    }
}
