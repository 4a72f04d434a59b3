//! What cannot be seen from a pack's names and shapes: whether its networks do anything.
//!
//! Input: a loaded pack. Output: findings for people to read, or an error where a network's output is not finite or blank.

use crate::error::{Error, Result};
use crate::net::ops::{from_vec, Calc};
use crate::net::Generator;
use crate::pack::Pack;
use crate::progress::{check, Progress};
use tch::{no_grad, Device, Kind, Tensor};

/// Side at which channels are looked at.
const SIDE: i64 = 128;
/// Mean change of a picture in [-1, 1] under which a channel counts as without effect.
const IDLE: f64 = 1e-5;

/// Renders the mean face, turns it, moves every channel of V, and shows the picture to the networks that analyse. One line per finding.
///
/// # Errors
/// Malformed for a blank picture or numbers that are not finite; cancelled; device.
pub fn verify(pack: &Pack, progress: &dyn Progress) -> Result<Vec<String>> {
    let config = pack.config();
    progress.begin("verify", config.channels.len() as u64);
    let found = no_grad(|| -> Result<Vec<String>> {
        let generator = pack.generator(Device::Cpu)?;
        let mean = from_vec(&config.latent_mean, &[1, config.generator.style_dim], Device::Cpu)?;
        let w = generator.broadcast(&mean, None)?;
        let styles = generator.styles(&w)?;
        let image = generator.synthesis(&styles, Kind::Float)?;
        let spread = finite("the mean face", &image.f_std(true)?)?;
        if spread < 1e-3 {
            return Err(Error::Malformed(format!("pack {}: the mean face is blank (spread {spread})", config.name)));
        }
        let mut out = vec![format!("mean face rendered, {0} x {0}", config.generator.resolution)];
        let angles = from_vec(&[15.0, 0.0, 0.0, 10.0], &[2, 2], Device::Cpu)?;
        let turned = pack.flow(Device::Cpu)?.posed(&w, &angles)?;
        let moved = finite("the posed latent", &turned.minus(&w)?.f_abs()?.f_mean(Kind::Float)?)?;
        out.push(match moved > 0.0 {
            true => format!("yaw and pitch move the latent by {moved:.3} on average"),
            false => "yaw and pitch move nothing".into(),
        });
        out.push(channels(pack, &generator, &styles, progress)?);
        out.extend(analysis(pack, &image)?);
        Ok(out)
    })?;
    progress.end();
    Ok(found.into_iter().chain(config.lacks().into_iter().map(|what| format!("it cannot: {what}"))).collect())
}

fn finite(what: &str, value: &Tensor) -> Result<f64> {
    let value = value.value()?;
    match value.is_finite() {
        true => Ok(value),
        false => Err(Error::Malformed(format!("pack: {what} is not finite"))),
    }
}

/// How much each channel of V changes the picture at alpha = 1.
fn channels(pack: &Pack, generator: &Generator, styles: &[Tensor], progress: &dyn Progress) -> Result<String> {
    let list = &pack.config().channels;
    let side = generator.config().resolution.min(SIDE);
    let before = generator.synthesis_to(side, styles, None, Kind::Float)?;
    let mut idle = Vec::new();
    for (i, channel) in list.iter().enumerate() {
        check(progress)?;
        let mut alpha = vec![0f32; list.len()];
        alpha[i] = 1.0;
        let alpha = from_vec(&alpha, &[1, list.len() as i64], Device::Cpu)?;
        let after = generator.synthesis_to(side, &generator.offset(styles, &alpha, list)?, None, Kind::Float)?;
        let change = finite("a picture with a channel moved", &after.minus(&before)?.f_abs()?.f_mean(Kind::Float)?)?;
        if change < IDLE {
            idle.push(channel.feature.as_str());
        }
        progress.advance(i as u64 + 1, &channel.feature);
    }
    Ok(match idle.is_empty() {
        true => format!("all {} channels change the picture", list.len()),
        false => format!("channels without effect on the mean face: {}", idle.join(", ")),
    })
}

/// The networks that analyse, shown the mean face.
fn analysis(pack: &Pack, image: &Tensor) -> Result<Vec<String>> {
    if pack.config().analysis.is_none() {
        return Ok(Vec::new());
    }
    let net = pack.analysis(Device::Cpu)?;
    let view = net.view(image, Kind::Float)?;
    let grey = net.view(&image.f_zeros_like()?, Kind::Float)?;
    let distance = finite("the perceptual distance", &net.distance(&view, &grey, None)?.f_mean(Kind::Float)?)?;
    let mut out = vec![format!("perceptual distance of the mean face from grey {distance:.3}")];
    for (what, numbers) in [("codes", net.invert(&view)?), ("embedding", net.embed(&view)?), ("regions", net.parse(&view)?)] {
        if let Some(numbers) = numbers {
            finite(what, &numbers.f_abs()?.f_mean(Kind::Float)?)?;
            out.push(format!("{what} are made, {:?}", numbers.size()));
        }
    }
    Ok(out)
}
