//! One quality knob for the coded mode: quantiser steps, and what to expect of a clip in them.
//!
//! In: quality 0 to 100, the identity's index sensitivities and rest state, the frames if they are known. Out: the step and the
//! start of each track, in the stream's header. Only encoders run this; the floats here decide nothing a decoder computes.
//! Source: equal visible error per step, from the index sensitivities Gamma (equation 5 of the paper); constants below.

use super::container::{PacketOptions, StreamWriter};
use super::header::{Coding, StreamHeader, StreamIdentity, TrackStart, CODED_STEPS};
use super::packet::FrameRecord;
use super::range::scale_class;
use super::track::MAX_CODED_LEVEL;
use super::Identity;
use crate::error::{Error, Result};
use crate::params::{EXPRESSIONS, PARAMS};

/// Quality of encoders that are not told another one.
pub const DEFAULT_QUALITY: f32 = 75.0;
/// Visible change of one step at [`DEFAULT_QUALITY`], in the units of Gamma: the root of a perceptual distance. With the built-in pack a
/// change of 1 is 8.8 grey levels RMS, and the steps of all parameters together then add 0.2 squared grey levels: 0.04 dB at 35 dB.
const DEFAULT_CHANGE: f32 = 0.03;
/// Quality points that halve the steps.
const HALVING: f32 = 12.5;
/// Gamma of yaw and pitch per degree: renders of the built-in pack change as much (2.45 grey levels RMS) as by 0.28 of a channel with Gamma 1.
const TURN: f32 = 0.28;
/// Gamma of roll per degree. It acts when the face is pasted back: at 0.3 of the side from the middle, a degree is 1/190 of the side.
const ROLL: f32 = 0.4;
/// Gamma of a shift by the whole side: 1/128 of it is a pixel of the built-in pack, as visible as two degrees of yaw.
const SHIFT: f32 = 77.0;
/// The side's change moves edges by a quarter to a half of it.
const GROWTH: f32 = SHIFT / 3.0;
/// Sensitivities count as within this factor of their median: a channel without effect must not become infinitely coarse.
const SPAN: f32 = 16.0;
/// Finest step of the placement, pixels: its levels then reach over the largest camera picture.
const FINEST_PLACE: f32 = 1.0 / 16.0;
/// Classes of live streams, whose frames are not known yet: 4 steps from rest, 1 from frame to frame.
const LIVE: (u8, u8) = (22, 18);

/// Prepares `header` for the coded mode at `quality` (0 to 100).
///
/// `frames` are what will be sent, as far as it is known: they tell the size of the crop, where it starts and how lively the clip
/// is. An empty slice is fine and costs some bytes.
///
/// # Errors
/// Misuse for a quality outside 0 to 100.
pub fn set_quality(header: &mut StreamHeader, quality: f32, identity: &Identity, frames: &[FrameRecord]) -> Result<()> {
    if !(0.0..=100.0).contains(&quality) {
        return Err(Error::Misuse(format!("quality {quality}: 0 to 100 allowed")));
    }
    let change = DEFAULT_CHANGE * ((DEFAULT_QUALITY - quality) / HALVING).exp2();
    header.coding = Coding::Coded;
    header.quantiser = gammas(identity).iter().map(|gamma| change / gamma).collect();
    let mut rest = identity.rest.to_array().to_vec();
    if header.placement {
        let (middle, side) = usual_place(header, frames);
        let place = [SHIFT, SHIFT, GROWTH].map(|gamma| (change * side / gamma).max(FINEST_PLACE));
        header.quantiser.extend(place);
        rest.extend(middle);
    }
    header.quantiser.iter_mut().for_each(|step| *step = step.clamp(*CODED_STEPS.start(), *CODED_STEPS.end()));
    header.starts = starts(&header.quantiser, &rest, frames);
    Ok(())
}

/// The best quality at which `frames` take at most `bits_per_second`, everything but header, identity and sound counted; `header` is then
/// prepared for it. Qualities are tried in steps of a half. If even quality 0 takes more, it is 0.
///
/// # Errors
/// As [`set_quality`] and [`StreamWriter::write_frame`]; misuse without frames.
pub fn fit_bitrate(
    header: &mut StreamHeader,
    bits_per_second: f64,
    identity: &Identity,
    frames: &[FrameRecord],
    options: PacketOptions,
) -> Result<f32> {
    let (Some(first), Some(last)) = (frames.first(), frames.last()) else {
        return Err(Error::Misuse("a bit rate needs frames to be fitted to".into()));
    };
    let ticks = last.pts.saturating_sub(first.pts).saturating_add(i64::from(header.frame_ticks).max(1));
    let seconds = ticks as f64 * f64::from(header.time_base.num) / f64::from(header.time_base.den);
    // Doubled quality: the largest that fits lies from `low` on and below `high`.
    let (mut low, mut high) = (0u32, 201);
    while high - low > 1 {
        let middle = (low + high) / 2;
        set_quality(header, middle as f32 / 2.0, identity, frames)?;
        let reference = StreamIdentity::by_hash([0; 32]);
        let mut writer = StreamWriter::with_options(std::io::sink(), header.clone(), &reference, options)?;
        frames.iter().try_for_each(|frame| writer.write_frame(frame))?;
        let bits = 8.0 * writer.finish()?.1.parameter_bytes as f64;
        if bits <= bits_per_second * seconds {
            low = middle;
        } else {
            high = middle;
        }
    }
    set_quality(header, low as f32 / 2.0, identity, frames)?;
    Ok(low as f32 / 2.0)
}

/// Gamma of the 35 parameters.
fn gammas(identity: &Identity) -> [f32; PARAMS] {
    let mut sorted = identity.sensitivity;
    sorted.sort_by(f32::total_cmp);
    let median = match sorted[EXPRESSIONS / 2] {
        m if m.is_finite() && m > 0.0 => m,
        // Nothing was measured: half a unit is what identities of the built-in pack have.
        _ => 0.5,
    };
    let mut out = [ROLL; PARAMS];
    (out[0], out[1]) = (TURN, TURN);
    for (out, gamma) in out[3..].iter_mut().zip(identity.sensitivity) {
        *out = if gamma.is_finite() { gamma.clamp(median / SPAN, median * SPAN) } else { median };
    }
    out
}

/// First placement and mean side of a clip, pixels.
fn usual_place(header: &StreamHeader, frames: &[FrameRecord]) -> ([f32; 3], f32) {
    let places: Vec<_> = frames.iter().filter_map(|frame| frame.placement).collect();
    match places.first() {
        Some(first) => {
            let side = places.iter().map(|place| place.side).sum::<f32>() / places.len() as f32;
            ([first.x, first.y, first.side], side)
        }
        None => {
            let (width, height) = (header.camera_width as f32, header.camera_height as f32);
            let side = width.min(height) / 2.0;
            ([width / 2.0, height / 2.0, side], side)
        }
    }
}

fn starts(steps: &[f32], rest: &[f32], frames: &[FrameRecord]) -> Vec<TrackStart> {
    let (mut away, mut moved) = (vec![0f64; steps.len()], vec![0f64; steps.len()]);
    let mut last: Option<Vec<f32>> = None;
    for frame in frames {
        let values = numbers(frame);
        for (i, value) in values.iter().enumerate().take(steps.len()) {
            away[i] += f64::from((value - rest[i]).abs() / steps[i]);
            moved[i] += last.as_ref().map_or(0.0, |last| f64::from((value - last[i]).abs() / steps[i]));
        }
        last = Some(values);
    }
    let class = |sum: f64, count: usize| scale_class((256.0 * sum / count as f64).min(f64::from(1 << 22)) as u32) as u8;
    let level = |i: usize| (rest[i] / steps[i]).round().clamp(-(MAX_CODED_LEVEL as f32), MAX_CODED_LEVEL as f32) as i32;
    (0..steps.len())
        .map(|i| match frames.len() {
            0 | 1 => TrackStart { rest: level(i), spread: LIVE.0, motion: LIVE.1 },
            n => TrackStart { rest: level(i), spread: class(away[i], n), motion: class(moved[i], n - 1) },
        })
        .collect()
}

fn numbers(frame: &FrameRecord) -> Vec<f32> {
    let mut values = frame.params.to_array().to_vec();
    values.extend(frame.placement.iter().flat_map(|p| [p.x, p.y, p.side]));
    values
}
