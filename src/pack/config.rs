//! What a pack says of itself: shapes of the networks, channel table V, ranges, labels, origin. Checked before anything is
//! allocated by it.

use crate::error::{Error, Result};
use crate::net::{Channel, FlowConfig, GeneratorConfig};
use crate::params::{EXPRESSIONS, PARAMS};
use serde::{Deserialize, Serialize};

/// Version of the pack format that this build reads and writes.
pub const FORMAT: u32 = 1;
/// Most region classes: labels are bytes.
const MAX_LABELS: usize = 256;

#[cfg(feature = "analysis")]
pub use crate::net::AnalysisConfig;
/// Shapes of the networks that analyse; only carried along in builds without the feature `analysis`.
#[cfg(not(feature = "analysis"))]
pub type AnalysisConfig = serde_json::Value;

/// Where an upright frontal face lies in the crop that the pack was trained on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Framing {
    /// Middle between the eye centres, fractions of the crop side from the left and from the top.
    pub eye_middle: [f32; 2],
    /// Distance of the eye centres, fraction of the crop side.
    pub eye_distance: f32,
}

impl Default for Framing {
    /// The framing of the FFHQ photographs and of the parametric heads.
    fn default() -> Self {
        Framing { eye_middle: [0.5, 0.47], eye_distance: 0.25 }
    }
}

/// Configuration of a pack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackConfig {
    /// Format version: [`FORMAT`].
    pub format: u32,
    /// Name for people to read.
    pub name: String,
    /// Shape of the generator.
    pub generator: GeneratorConfig,
    /// Shape of the pose flow.
    pub flow: FlowConfig,
    /// Shapes of the networks that analyse; absent in packs that only decode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<AnalysisConfig>,
    /// V: the 32 expression channels, in the order of alpha.
    pub channels: Vec<Channel>,
    /// Plausible smallest and largest value of the 35 parameters, in the order of the stream; degrees for the first three.
    pub ranges: Vec<[f32; 2]>,
    /// Mean of w over the domain, `style_dim` numbers.
    pub latent_mean: Vec<f32>,
    /// Names of the region classes, by class number.
    pub labels: Vec<String>,
    /// Where the face lies in the crop.
    #[serde(default)]
    pub framing: Framing,
    /// Adam's rate for the generator's weights when it is tuned to a person.
    #[serde(default = "tuning_rate", skip_serializing_if = "is_tuning_rate")]
    pub tuning_rate: f64,
    /// Whether tuning also learns, for each person, what yaw, pitch and the alphas add to every style (directions) and, where it is asked for, also
    /// what is added place by place (maps) and by how much they displace it, and not the channels V alone.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub directions: bool,
    /// What the pack was made from.
    pub provenance: String,
    /// Licence of the weights.
    pub licence: String,
    /// The command that made it.
    pub command: String,
}

/// [`PackConfig::tuning_rate`] of packs that do not say: what suits the generators of our own trainer.
pub const TUNING_RATE: f64 = 5.4e-3;

fn tuning_rate() -> f64 {
    TUNING_RATE
}

fn yes() -> bool {
    true
}

fn is_yes(answer: &bool) -> bool {
    *answer
}

fn is_tuning_rate(rate: &f64) -> bool {
    *rate == TUNING_RATE
}

impl PackConfig {
    /// Checks every number against its range.
    ///
    /// # Errors
    /// Unsupported for another format version; malformed names the field, what was expected and what was found.
    pub fn check(&self) -> Result<()> {
        if self.format != FORMAT {
            return Err(Error::Unsupported(format!("pack of format {}, this build reads format {FORMAT}", self.format)));
        }
        self.generator.check()?;
        let dim = self.generator.style_dim;
        self.flow.check()?;
        if self.flow.style_dim() != dim {
            return fail(format!("pose flow of {} styles, expected {dim}", self.flow.style_dim()));
        }
        #[cfg(feature = "analysis")]
        if let Some(analysis) = &self.analysis {
            analysis.check(dim, self.generator.rows(), self.labels.len())?;
        }
        self.check_channels()?;
        if self.ranges.len() != PARAMS {
            return fail(format!("{} parameter ranges, expected {PARAMS}", self.ranges.len()));
        }
        if let Some(i) = self.ranges.iter().position(|r| !(r[0].is_finite() && r[1].is_finite() && r[0] < r[1])) {
            return fail(format!("range {i} is {:?}, expected a smaller and a larger number", self.ranges[i]));
        }
        if self.latent_mean.len() as i64 != dim || self.latent_mean.iter().any(|v| !v.is_finite()) {
            return fail(format!("latent mean of {} numbers, expected {dim} finite ones", self.latent_mean.len()));
        }
        if self.labels.len() > MAX_LABELS {
            return fail(format!("{} region labels, at most {MAX_LABELS}", self.labels.len()));
        }
        let [x, y] = self.framing.eye_middle;
        if ![x, y, self.framing.eye_distance].iter().all(|v| (0.0..=1.0).contains(v)) {
            return fail(format!("framing {:?} lies outside the crop", self.framing));
        }
        if !(self.tuning_rate > 0.0 && self.tuning_rate <= 1.0) {
            return fail(format!("tuning rate {}, expected more than 0, at most 1", self.tuning_rate));
        }
        Ok(())
    }

    /// What the pack cannot do for want of a network, for people to read.
    pub fn lacks(&self) -> Vec<&'static str> {
        let mut out = Vec::new();
        if matches!(self.flow, FlowConfig::Still { .. }) {
            out.push("turn the head (no pose flow)");
        }
        if self.analysis.is_none() {
            out.push("encode (no networks to analyse pictures with)");
        }
        #[cfg(feature = "analysis")]
        if let Some(AnalysisConfig::Published(nets)) = &self.analysis {
            let absent = [
                (nets.e4e.is_none(), "invert (no encoder): tuning starts from the mean face"),
                (nets.arcface.is_none(), "choose the identity frame by likeness (no identity embedding)"),
                (nets.bisenet.is_none(), "see where eyes and mouth are (no parser): losses use fixed windows"),
            ];
            out.extend(absent.into_iter().filter(|(is, _)| *is).map(|(_, what)| what));
        }
        out
    }

    fn check_channels(&self) -> Result<()> {
        if self.channels.len() != EXPRESSIONS {
            return fail(format!("{} expression channels, expected {EXPRESSIONS}", self.channels.len()));
        }
        let layers = self.generator.layers();
        for (i, c) in self.channels.iter().enumerate() {
            let inside = layers.get(c.layer).is_some_and(|l| (0..l.inputs).contains(&c.channel));
            if !inside || !c.gain.is_finite() || !c.sensitivity.is_finite() || c.sensitivity < 0.0 {
                return fail(format!("expression channel {i} is {c:?}: no such style, or its gain or sensitivity is unusable"));
            }
            if let Some(k) = self.channels[..i].iter().position(|other| (other.layer, other.channel) == (c.layer, c.channel)) {
                return fail(format!("expression channels {k} and {i} are the same style"));
            }
        }
        Ok(())
    }
}

fn fail(what: String) -> Result<()> {
    Err(Error::Malformed(format!("pack configuration: {what}")))
}
