//! The 32 reserved StyleSpace channels V of the built-in pack, and their index sensitivities Gamma (paper 3.4, equation 5).

use super::data::{region_weights, HeadSet};
use super::generator::Model;
use super::heads::EXPRESSION_NAMES;
use super::pack::Run;
use crate::error::Result;
use crate::net::ops::Calc;
use crate::net::{Channel, GeneratorConfig};
use crate::progress::check;
use tch::{no_grad, Tensor};

/// What alpha = 1 adds to a reserved style: ordinary styles are about 1, and one channel must stand out among a hundred or more.
const GAIN: f32 = 4.0;

/// Where each expression acts and which style input drives it. Mouth and jaw enter at 16 x 16, where a cell is as large as a lip;
/// lids, brows and gaze one convolution later, because they are smaller.
pub fn reserve(cfg: &GeneratorConfig) -> Vec<Channel> {
    let layers = cfg.layers();
    let find = |side: i64, up: bool| layers.iter().position(|l| l.side == side && l.up == up && !l.to_rgb).unwrap_or(0);
    let (coarse, fine, finest) = (find(16, false), find(32, true), find(32, false));
    let mut next = vec![0i64; layers.len()];
    EXPRESSION_NAMES
        .iter()
        .map(|name| {
            let region = region(name);
            let layer = match region {
                "mouth" | "face" => coarse,
                "brows" => fine,
                _ => finest,
            };
            let channel = next[layer];
            next[layer] += 1;
            Channel { layer, channel, gain: GAIN, feature: name.to_string(), region: region.into(), sensitivity: 0.0 }
        })
        .collect()
}

/// The facial region that an expression changes.
fn region(name: &str) -> &'static str {
    match name {
        n if n.starts_with("brow") => "brows",
        n if n.starts_with("gaze") => "pupils",
        n if n.starts_with("blink") || n.starts_with("squint") || n.starts_with("eye") => "eyes",
        "nose_wrinkle" => "face",
        _ => "mouth",
    }
}

/// Heads that the sensitivities are measured on, unless batches are smaller.
const LOOKED_AT: i64 = 8;

/// Gamma by forward differences: the perceptual change per unit of alpha, averaged over rising offsets, identities and poses.
pub(super) fn measure(channels: &mut [Channel], model: &Model, heads: &HeadSet, run: &Run) -> Result<()> {
    let offsets = [0.0f64, 0.25, 0.5, 0.75, 1.0];
    let count = run.options.batch.min(LOOKED_AT);
    let mut batch = heads.pick(&heads.draw(0, run.options.seed ^ 0x5E45, count)?, run.options.size, run.device)?;
    let w_plus = no_grad(|| model.generator.broadcast(&model.w(&batch.images, run.kind)?, None))?;
    let weights = region_weights(&batch.labels)?;
    run.progress.begin("measure index sensitivity", channels.len() as u64);
    for (i, entry) in channels.iter_mut().enumerate() {
        check(run.progress)?;
        entry.sensitivity = no_grad(|| -> Result<f32> {
            let mut previous = None;
            let mut total = 0.0;
            for offset in offsets {
                batch.expression = Tensor::f_zeros([count, model.channels.len() as i64], (tch::Kind::Float, run.device))?;
                let _ = batch.expression.f_select(1, i as i64)?.f_fill_(offset)?;
                let seen = model.net.features(&model.render(&w_plus, &batch, run.options.size, run.kind)?, run.kind)?;
                if let Some(before) = &previous {
                    total += model.net.distance(&seen, before, Some(&weights))?.average()?.value()?.sqrt();
                }
                previous = Some(seen);
            }
            Ok(total as f32)
        })?;
        run.progress.advance(i as u64 + 1, &entry.feature);
    }
    run.progress.end();
    Ok(())
}
