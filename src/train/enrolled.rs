//! Figures of a pack with people enrolled: parametric heads that no training draws, tuned on some frames of a clip of each, with maps as `encode` does, and decoded.
//!
//! In: a pack of our own trainer, steps of tuning. Out: how near tuned and other frames come, and whether each face is still told from those of a crowd
//! by the pack's identity embedding. The frames also at twice the side, with a detail.

use super::card::is_nearest;
use super::heads::{self, head_at, ClipSpec};
use crate::decode::{DecodeOptions, Decoder, DeviceChoice, Precision};
use crate::encode::{enroll, learn_detail, AlignedFrame, EncodeOptions, Preset, Searcher};
use crate::error::{Error, Result};
use crate::evaluate::metrics::psnr;
use crate::frame::Frame;
use crate::limits::MAX_FRAMES_TRAINED;
use crate::net::ops::{to_tensor, to_vec, Calc};
use crate::net::Analysis;
use crate::pack::Pack;
use crate::params::FrameParams;
use crate::progress::{check, Progress};
use crate::scene::cover;
use std::ops::Range;
use tch::{no_grad, Device, Kind};

/// Seeds of the clips: their people are in no training.
const FIRST: u64 = 7_000;
/// Frames of each clip, a fifth of a second apart; every fourth is not tuned on.
const FRAMES: u64 = 16;
const RATE: (u32, u32) = (5, 1);
const HELD_OUT: usize = 4;
/// People among whom a decoded face is looked for, at least.
const CROWD: usize = 50;

/// What was measured.
#[derive(Clone, Debug)]
pub struct Enrolled {
    /// People who were enrolled.
    pub persons: usize,
    /// People among whom they were looked for.
    pub crowd: usize,
    /// Sides at which the heads were drawn and compared, pixels: the pack's, and twice that, where there is a detail, else the same once more.
    pub sides: [u32; 2],
    /// Mean PSNR of the frames that were tuned on, dB, at both.
    pub tuned: [f64; 2],
    /// Mean PSNR of the frames in between, whose numbers were searched, dB.
    pub others: [f64; 2],
    /// Least PSNR of a person's tuned frames, dB.
    pub worst: [f64; 2],
    /// Share of the enrolled people whose decoded other frames are nearer to their own source than to anybody else's of the crowd.
    pub found: f64,
}

/// Hears whether to stop, and tells nothing of what is done within a person.
struct Quiet<'a>(&'a dyn Progress);

impl Progress for Quiet<'_> {
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}

/// Enrolls the people of these numbers, which begin with 0, in `steps` steps each, on the processor. Who they are does not depend on where the range begins: a
/// long measurement can be made in parts.
///
/// # Errors
/// `Unsupported` for packs without an identity embedding; `Misuse` for nobody or too many; cancelled; device.
pub fn measure_enrolled(pack: &Pack, people: Range<usize>, steps: u64, progress: &dyn Progress) -> Result<Enrolled> {
    let crowd = people.end.max(CROWD);
    measure(pack, (people, crowd), (steps, FRAMES), progress)
}

fn measure(
    pack: &Pack,
    (people, crowd): (Range<usize>, usize),
    (steps, count): (u64, u64),
    progress: &dyn Progress,
) -> Result<Enrolled> {
    let most = MAX_FRAMES_TRAINED / FRAMES as usize;
    if people.is_empty() || people.end > most {
        return Err(Error::Misuse(format!("people {} to {}: one or more of the first {most}", people.start, people.end)));
    }
    let net = pack.analysis(Device::Cpu)?;
    let options = EncodeOptions {
        preset: Preset::Fast,
        tune_steps: Some(steps),
        device: DeviceChoice::Cpu,
        precision: Precision::Auto,
        maps: true,
        ..EncodeOptions::default()
    };
    let (mut tuned, mut others, mut worst) = ([0.0; 2], [0.0; 2], [f64::MAX; 2]);
    // Before the work: whether there is an embedding.
    embedding(&net, std::iter::once(&Frame::filled(64, 64, [128; 3])?))?;
    let side = pack.config().generator.resolution as u32;
    let detail = options.detail_side(pack);
    let sides = [side, detail.unwrap_or(side)];
    let frame = |person: u64, i: u64, side: u32| {
        let spec = ClipSpec { seed: FIRST + person, frames: count, fps: RATE, camera: None };
        AlignedFrame::whole(i as i64, heads::render(&head_at(&spec, i), side).frame, i == 0)
    };
    let held_out = |i: &u64| *i as usize % HELD_OUT == HELD_OUT - 1;
    let mut sources = Vec::with_capacity(crowd);
    progress.begin("draw the crowd", crowd as u64);
    for person in 0..crowd as u64 {
        check(progress)?;
        let frames: Vec<_> = (0..count).filter(held_out).map(|i| frame(person, i, side).frame).collect();
        sources.push(embedding(&net, frames.iter())?);
        progress.advance(person + 1, "");
    }
    progress.end();
    progress.begin("enroll people", people.len() as u64);
    let (mut found, mut done) = (0, 0u64);
    for own in people.clone() {
        check(progress)?;
        let person = own as u64;
        let frames = |of: &[u64], side: u32| of.iter().map(|i| frame(person, *i, side)).collect::<Vec<_>>();
        let (held, seen): (Vec<u64>, Vec<u64>) = (0..count).partition(held_out);
        let (held, seen) = (sides.map(|side| frames(&held, side)), sides.map(|side| frames(&seen, side)));
        let quiet = Quiet(progress);
        let leaving = if detail.is_some() { options.leaving_detail()? } else { options.clone() };
        let enrolled = enroll(pack, &seen[0], &leaving, &quiet)?;
        let known: Vec<FrameParams> = enrolled.params.iter().flatten().copied().collect();
        let identity = match detail {
            Some(_) => learn_detail(pack, enrolled.identity, (&seen[1], &known), &options, &quiet)?,
            None => enrolled.identity,
        };
        let mut searcher = Searcher::new(pack, &identity, &options, 0, &quiet)?;
        let decoding = DecodeOptions { device: DeviceChoice::Cpu, ..DecodeOptions::default() };
        let mut decoder = Decoder::new(pack, &identity, &decoding)?;
        let mut come = |frames: &[Vec<AlignedFrame>; 2], start: &[_]| -> Result<([f64; 2], Vec<Frame>)> {
            let params = searcher.search(&frames[0], start, &quiet)?;
            let renders = decoder.render_batch(&params)?;
            let large = if detail.is_some() { decoder.detailed(&renders, &params, &[])? } else { renders.clone() };
            let large = large.iter().map(|frame| cover(frame, sides[1], sides[1])).collect::<Result<Vec<_>>>()?;
            let mean = |frames: &[AlignedFrame], renders: &[Frame]| -> Result<f64> {
                let sum: f64 = frames.iter().zip(renders).map(|(f, r)| psnr(&f.frame, r)).sum::<Result<f64>>()?;
                Ok(sum / frames.len() as f64)
            };
            Ok(([mean(&frames[0], &renders)?, mean(&frames[1], &large)?], renders))
        };
        let near = come(&seen, &enrolled.params)?.0;
        let (other, renders) = come(&held, &[])?;
        for (k, (near, other)) in near.into_iter().zip(other).enumerate() {
            (tuned[k], others[k], worst[k]) = (tuned[k] + near, others[k] + other, worst[k].min(near));
        }
        found += usize::from(is_nearest(&embedding(&net, renders.iter())?, own, &sources));
        done += 1;
        let mean = |sums: [f64; 2]| sums.map(|sum| format!("{:.2}", sum / done as f64)).join(" and ");
        progress.advance(done, &format!("{} dB, other frames {} dB, {found} told apart", mean(tuned), mean(others)));
    }
    progress.end();
    let (persons, all) = (people.len(), people.len() as f64);
    let mean = |sums: [f64; 2]| sums.map(|sum| sum / all);
    Ok(Enrolled { persons, crowd, sides, tuned: mean(tuned), others: mean(others), worst, found: found as f64 / all })
}

/// The mean embedding of pictures of one person.
fn embedding<'a>(net: &Analysis, frames: impl Iterator<Item = &'a Frame>) -> Result<Vec<f32>> {
    let images = to_tensor(&frames.collect::<Vec<_>>(), Device::Cpu)?;
    let found = no_grad(|| net.embed(&net.view(&images, Kind::Float)?))?
        .ok_or_else(|| Error::Unsupported("this pack cannot tell people apart: it has no identity embedding".into()))?;
    let mean = found.f_mean_dim([0i64].as_slice(), false, Kind::Float)?;
    to_vec(&mean.over(&mean.f_norm()?.shift(1e-12)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::fixture;
    use crate::progress::Silent;

    #[test]
    fn enrolled_people_are_decoded_and_compared() {
        let pack = fixture::tiny(1).unwrap();
        let e = measure(&pack, (0..2, 5), (40, 4), &Silent).unwrap();
        let grey = Frame::filled(32, 32, [128; 3]).unwrap();
        let spec = ClipSpec { seed: FIRST, frames: 4, fps: RATE, camera: None };
        let flat = psnr(&heads::render(&head_at(&spec, 0), 32).frame, &grey).unwrap();
        assert_eq!(e.sides, [32, 64]);
        for k in 0..2 {
            assert!(e.tuned[k] > flat && e.worst[k] <= e.tuned[k] && (e.others[k] - e.tuned[k]).abs() < 3.0, "{e:?}");
        }
        assert!([0.0, 0.5, 1.0].contains(&e.found) && (e.persons, e.crowd) == (2, 5));
        let second = measure(&pack, (1..2, 5), (40, 4), &Silent).unwrap();
        let first = measure(&pack, (0..1, 5), (40, 4), &Silent).unwrap();
        for k in 0..2 {
            assert!(((first.tuned[k] + second.tuned[k]) / 2.0 - e.tuned[k]).abs() < 1e-9, "parts make the whole");
        }
        assert!(matches!(measure_enrolled(&pack, 3..3, 1, &Silent), Err(Error::Misuse(_))));
    }
}
