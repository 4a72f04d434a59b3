//! Pose flow: the identity latent W+ `[1 or B, rows, dim]` and head angles `[B, 2]` (yaw, pitch in degrees) to posed latents
//! LH_t `[B, rows, dim]`. The interface is StyleFlow's: only rows 0 to 3 move, and zero angles give the identity latent back.

use super::rowflow::{RowFlow, RowFlowConfig};
use super::styleflow::{StyleFlow, StyleFlowConfig};
use super::weights::Weights;
use crate::error::{Error, Result};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use tch::Tensor;

/// Rows of W+ that yaw and pitch move (StyleFlow's rule).
pub const POSED_ROWS: i64 = 4;
/// Degrees that the networks see as 1.
pub const YAW_UNIT: f64 = 35.0;
/// Degrees that the networks see as 1.
pub const PITCH_UNIT: f64 = 25.0;
/// Widest hidden layer of a row flow.
const MAX_HIDDEN: i64 = 4096;

/// Shape of a pose flow.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum FlowConfig {
    /// One small network per posed row: packs of our own trainer.
    Rows(RowFlowConfig),
    /// The published flow, an ODE.
    Style(StyleFlowConfig),
    /// No flow: yaw and pitch change nothing.
    Still {
        /// Width of a W+ row.
        still: i64,
    },
}

/// The form is told by the field that only it has, so that what is wrong with the others is said in its words.
impl<'de> Deserialize<'de> for FlowConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        let value = Value::deserialize(from)?;
        let named = |e: serde_json::Error| D::Error::custom(format!("flow: {e}"));
        if let Some(still) = value.get("still") {
            return match (still.as_i64(), value.as_object().map_or(0, |o| o.len())) {
                (Some(still), 1) => Ok(FlowConfig::Still { still }),
                _ => Err(D::Error::custom("flow: still must be a number and stand alone")),
            };
        }
        if value.get("dims").is_some() {
            return serde_json::from_value(value).map(FlowConfig::Style).map_err(named);
        }
        serde_json::from_value(value).map(FlowConfig::Rows).map_err(named)
    }
}

impl FlowConfig {
    /// Checks ranges before anything is allocated by them.
    ///
    /// # Errors
    /// Malformed, with what is out of range.
    pub fn check(&self) -> Result<()> {
        match self {
            FlowConfig::Rows(rows) if !(1..=MAX_HIDDEN).contains(&rows.hidden) => {
                Err(Error::Malformed(format!("pose flow: {} hidden units, expected 1 to {MAX_HIDDEN}", rows.hidden)))
            }
            FlowConfig::Style(style) if style.zdim != StyleFlowConfig::default().zdim => {
                let known = StyleFlowConfig::default().zdim;
                Err(Error::Unsupported(format!(
                    "pose flow with {} attributes: which are yaw and pitch is known for {known}",
                    style.zdim
                )))
            }
            FlowConfig::Style(style) => style.check(),
            _ => Ok(()),
        }
    }

    /// Width of a W+ row.
    pub fn style_dim(&self) -> i64 {
        match self {
            FlowConfig::Rows(rows) => rows.style_dim,
            FlowConfig::Style(style) => style.input_dim,
            FlowConfig::Still { still } => *still,
        }
    }

    /// Every tensor that the weights must hold, with its shape.
    pub fn tensors(&self) -> Vec<(String, Vec<i64>)> {
        match self {
            FlowConfig::Rows(rows) => rows.tensors(),
            FlowConfig::Style(style) => style.tensors(),
            FlowConfig::Still { .. } => Vec::new(),
        }
    }
}

/// A pose flow with its weights.
#[derive(Debug)]
pub enum PoseFlow {
    /// One small network per posed row.
    Rows(RowFlow),
    /// The published flow.
    Style(StyleFlow),
    /// No flow.
    Still,
}

impl PoseFlow {
    /// Takes the weights; missing or misshapen tensors are reported by name.
    ///
    /// # Errors
    /// Malformed.
    pub fn new(cfg: FlowConfig, weights: Weights) -> Result<Self> {
        cfg.check()?;
        Ok(match cfg {
            FlowConfig::Rows(rows) => PoseFlow::Rows(RowFlow::new(rows, weights)?),
            FlowConfig::Style(style) => PoseFlow::Style(StyleFlow::new(style, weights)?),
            FlowConfig::Still { .. } => PoseFlow::Still,
        })
    }

    /// LH_t: `w_plus` `[B or 1, rows, dim]` turned to `angles` `[B, 2]` (yaw, pitch in degrees).
    ///
    /// # Errors
    /// Device.
    pub fn posed(&self, w_plus: &Tensor, angles: &Tensor) -> Result<Tensor> {
        match self {
            PoseFlow::Rows(rows) => rows.posed(w_plus, angles),
            PoseFlow::Style(style) => style.posed(w_plus, angles),
            PoseFlow::Still => {
                let size = w_plus.size();
                Ok(w_plus.f_expand([angles.size()[0], size[1], size[2]], false)?)
            }
        }
    }
}
