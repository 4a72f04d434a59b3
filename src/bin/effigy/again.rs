//! Where a known face sits, looked at a second time: its renders of some frames tell by how much the crops are off.

use std::collections::BTreeSet;

use effigy::encode::align::Shift;
use effigy::encode::{AlignedFrame, LiveReader, Searcher, Track};
use effigy::params::FrameParams;
use effigy::progress::{check, Progress};
use effigy::Result;

use crate::clip::{self, Aligned};
use crate::progress::{Muted, Reporter};

/// Frames whose renders are compared, how often at most, and the movement at which the crops sit well enough (0.3 pixels at 128).
const LOOKS: usize = 12;
const ROUNDS: u64 = 5;
const ENOUGH: f64 = 0.0025;

/// Moves the crops, `side` pixels square, to where the identity draws the face: all crops of a shot alike, then each by itself.
pub fn place(searcher: &mut Searcher, clip: &mut Aligned, side: u32, reporter: &Reporter) -> Result<()> {
    look(searcher, clip, side, reporter)?;
    refine(searcher.reader(reporter)?.placing(), clip, side, reporter)
}

/// Moves the crops, `side` pixels square, to where the identity draws the face: its renders of some frames tell by how much they are off.
/// Each shot by itself.
fn look(searcher: &mut Searcher, clip: &mut Aligned, side: u32, reporter: &Reporter) -> Result<()> {
    for shot in 0..=clip.tracks.last().map_or(0, |track| track.shot) {
        let sure: Vec<usize> = clip.sure().into_iter().filter(|i| clip.tracks[*i].shot == shot).collect();
        let looks: Vec<usize> = sure.iter().step_by(sure.len().div_ceil(LOOKS).max(1)).copied().collect();
        if !looks.is_empty() {
            let shift = compare(searcher, clip, &looks, side, reporter)?;
            clip.move_by(shot, &shift);
        }
    }
    Ok(())
}

/// Frames over which the movements of single crops are smoothed, on either side, and the share of what a crop is off that the next one
/// begins with.
const REACH: usize = 3;
const GAIN: f64 = 0.5;

/// Moves each crop to where the identity draws the face in that frame, smoothly: a reader goes through the clip as on a call and tells by how much
/// each is off.
fn refine(mut reader: LiveReader, clip: &mut Aligned, side: u32, reporter: &Reporter) -> Result<()> {
    let mut found: Vec<Option<Shift>> = Vec::with_capacity(clip.tracks.len());
    let (mut shift, mut shot) = (Shift::default(), 0);
    reporter.begin("place the crops", clip.tracks.len() as u64);
    for pair in clip.frames()? {
        check(reporter)?;
        let (i, timed, track) = pair?;
        if track.shot != shot {
            (shift, shot) = (Shift::default(), track.shot);
        }
        let crop = clip::cut_crop(&timed, &track, side, &shift)?;
        reader.read(&crop)?;
        let off = reader.beside().filter(|_| track.confidence > 0.5).and_then(|off| Shift::new(&off));
        found.push(off.map(|off| shift.then(&off)));
        if let Some(off) = off {
            shift = shift.then(&off.part(GAIN));
        }
        reporter.advance(i as u64 + 1, "");
    }
    reporter.end();
    let seen: BTreeSet<u32> = found.iter().zip(&clip.tracks).filter(|(f, _)| f.is_some()).map(|(_, track)| track.shot).collect();
    let moves: Vec<Shift> = (0..found.len())
        .map(|i| if seen.contains(&clip.tracks[i].shot) { smoothed(&found, &clip.tracks, i) } else { Shift::default() })
        .collect();
    for (track, shift) in clip.tracks.iter_mut().zip(&moves) {
        *track = shift.moved(track);
    }
    Ok(())
}

/// The movement of crop `i`: the mean of those around it in the same shot, the near ones counting most.
fn smoothed(found: &[Option<Shift>], tracks: &[Track], i: usize) -> Shift {
    let mut reach = REACH;
    loop {
        let around = i.saturating_sub(reach)..(i + reach + 1).min(found.len());
        let near: Vec<(Shift, f64)> = around
            .clone()
            .filter(|n| tracks[*n].shot == tracks[i].shot)
            .filter_map(|n| found[n].map(|shift| (shift, (reach + 1 - n.abs_diff(i)) as f64)))
            .collect();
        if !near.is_empty() {
            return Shift::mean(&near);
        }
        if around.len() == found.len() {
            return Shift::default();
        }
        // The face was lost for a while.
        reach *= 2;
    }
}

/// By how much all crops of a shot are off, as `looks` tell, at least one frame in which the face was surely followed.
fn compare(searcher: &mut Searcher, clip: &Aligned, looks: &[usize], side: u32, reporter: &Reporter) -> Result<Shift> {
    let cameras = clip.cameras(looks, reporter)?;
    let (mut total, mut found) = (Shift::default(), Vec::<Option<FrameParams>>::new());
    let (mut before, mut error) = (total, f64::INFINITY);
    reporter.begin("compare with the enrolled face", ROUNDS);
    for round in 0..ROUNDS {
        let pairs = cameras.iter().zip(looks);
        let cut = pairs.map(|(timed, i)| clip::cut_crop(timed, &clip.tracks[*i], side, &total));
        let crops: Vec<AlignedFrame> = cut.collect::<Result<_>>()?;
        // What was found for a crop is a good start for the same crop a little to the side.
        let (off, params) = searcher.misplaced(&crops, &found, &Muted(reporter))?;
        found = params.into_iter().map(Some).collect();
        // A move that does not bring crops and renders together was none for the better.
        if off.error > error {
            total = before;
            break;
        }
        (before, error) = (total, off.error);
        let Some(step) = Shift::new(&off) else {
            log::info!("the face seems to be far beside its renders: it is moved no farther");
            break;
        };
        if round + 1 == ROUNDS || step.size() < ENOUGH {
            break;
        }
        total = total.then(&step);
        reporter.advance(round + 1, &format!("moved by {:.1} % of the crop", 100.0 * step.size()));
    }
    reporter.end();
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use effigy::encode::Misplaced;
    use effigy::params::Placement;

    fn track(shot: u32) -> Track {
        let placement = Placement { x: 50.0, y: 50.0, side: 100.0 };
        Track { pts: 0, roll: 0.0, placement, key: false, shot, confidence: 1.0 }
    }

    #[test]
    fn a_crop_moves_with_those_around_it_and_never_with_another_shot() {
        let to = |x: f64| Shift::new(&Misplaced { shift: (x, 0.0), scale: 1.0, angle: 0.0, error: 0.0 });
        let tracks: Vec<Track> = (0..40).map(|i| track(u32::from(i >= 20))).collect();
        let mut found: Vec<Option<Shift>> = (0..40).map(|i| to(if i < 20 { 0.01 } else { 0.05 })).collect();
        // One frame is off, and some were lost.
        found[10] = to(0.05);
        found[24..36].fill(None);
        let x = |i: usize| smoothed(&found, &tracks, i).moved(&track(0)).placement.x - 50.0;
        let moves: Vec<f32> = (0..40).map(x).collect();
        assert!((moves[0] - 1.0).abs() < 1e-3 && (moves[19] - 1.0).abs() < 1e-3 && (moves[20] - 5.0).abs() < 1e-3);
        assert!((1.5..2.5).contains(&moves[10]), "{}", moves[10]);
        assert!((moves[29] - 5.0).abs() < 1e-3, "{}", moves[29]);
        assert_eq!(smoothed(&[None, None], &[track(0), track(0)], 1), Shift::default());
    }
}
