//! Concealment: what is shown while frames are missing, and how it returns to what is received.
//!
//! In: frames that arrived, in order, and the numbers of those that did not. Out: a frame for each, with its origin. Short gaps whose
//! far end is known are bridged straight; in long ones the face comes to rest. The way into and out of a gap moves no faster than
//! the face has lately moved by itself. Source: ours; docs/bitstream.md, "Concealment" (advice to decoders, not part of the format).

use std::collections::VecDeque;

use super::header::StreamHeader;
use super::packet::{FrameRecord, Packet};
use crate::params::{FrameParams, Placement, PARAMS};

/// Longest gap that is filled with frames: ten seconds at 25 frames per second. Behind a longer one time jumps.
pub const MAX_CONCEALED: u32 = 250;
/// Changes that are remembered to know how fast the face moves.
const MEMORY: usize = 256;
/// Fewer changes than this say nothing about how fast it moves.
const ENOUGH: usize = 8;
/// Then it may move as calm clips do, steps per frame: the root mean square over all numbers, and one of them.
const CALM_TOGETHER: f32 = 2.5;
const CALM_ALONE: f32 = 6.0;
/// Share of them that is slower than the speed limit.
const USUAL: f64 = 0.99;
/// Leave to be faster than that.
const LEAVE: f32 = 1.1;
/// Share of the way to rest per frame: half of it in 11 frames.
const FADE: f32 = 0.06;
/// Frames over which a gap is bridged straight.
const BRIDGE: u32 = 12;
/// Frames of catching up after which the limit is raised, and by how much per frame: a limit that a calm face has set must not hold for ever.
const PATIENCE: (u32, f32) = (25, 1.1);
/// A number that has never moved may still move so far, in steps.
const LEAST: f32 = 0.5;

/// Where a frame that is shown comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From its own packet.
    Received,
    /// Its packet is lost; a later one repeats it coarsely.
    Repeated,
    /// Made up.
    Concealed,
}

/// A frame to show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShownFrame {
    /// The frame.
    pub frame: FrameRecord,
    /// Where it comes from.
    pub origin: Origin,
}

/// Fills gaps between frames.
pub struct Concealer {
    rest: [f32; PARAMS],
    /// A visible step of each number: changes are compared in them.
    steps: [f32; PARAMS],
    frame_ticks: i64,
    /// What was shown last.
    last: Option<FrameRecord>,
    /// What was received last, if it was just before.
    received: Option<[f32; PARAMS]>,
    changes: VecDeque<[f32; PARAMS]>,
    /// Frames since it began to return to what is received; none if what is shown is what is received.
    returning: Option<u32>,
}

impl Concealer {
    /// For a stream with this header; `rest` is the identity's calm face.
    pub fn new(header: &StreamHeader, rest: &FrameParams) -> Self {
        let steps = std::array::from_fn(|i| match header.quantiser.get(i) {
            Some(step) => *step,
            None if i < 3 => 0.1,
            None => 0.05,
        });
        Concealer {
            rest: rest.to_array(),
            steps,
            frame_ticks: i64::from(header.frame_ticks).max(1),
            last: None,
            received: None,
            changes: VecDeque::new(),
            returning: None,
        }
    }

    /// The frames of a packet and of the gap before it, in order. Gaps of more than [`MAX_CONCEALED`] frames, and one before the first
    /// frame of all, are left open but for what the packet repeats.
    pub fn fill(&mut self, packet: &Packet) -> Vec<ShownFrame> {
        let lost = packet.lost_before as usize;
        let repeated = &packet.repeated[packet.repeated.len().saturating_sub(lost)..];
        let open = packet.lost_before - repeated.len() as u32;
        let mut out = Vec::new();
        if let (Some(next), Some(last)) = (repeated.first().or(packet.frames.first()), self.last) {
            let span = i128::from(next.pts) - i128::from(last.pts);
            for k in (1..=open).filter(|_| open <= MAX_CONCEALED) {
                let pts = (i128::from(last.pts) + span * i128::from(k) / i128::from(open + 1)) as i64;
                // Where the clock has no room for so many frames some of them have no place.
                if self.last.is_some_and(|shown| shown.pts < pts) && pts < next.pts {
                    out.push(self.missing(Some(pts), Some((next, open + 1 - k))));
                }
            }
        }
        out.extend(repeated.iter().map(|frame| self.arrived(frame, Origin::Repeated)));
        out.extend(packet.frames.iter().map(|frame| self.arrived(frame, Origin::Received)));
        out
    }

    /// What to show for a frame that arrived: itself, or on the way back from a gap something that leads to it.
    pub fn arrived(&mut self, frame: &FrameRecord, origin: Origin) -> ShownFrame {
        let wanted = frame.params.to_array();
        let mut shown = *frame;
        if let (Some(count), Some(last)) = (self.returning, self.last) {
            let patience = PATIENCE.1.powi(count.saturating_sub(PATIENCE.0).min(100) as i32);
            let next = self.towards(&last.params.to_array(), &wanted, patience);
            shown.params = FrameParams::from_array(&next);
            self.returning = (next != wanted).then_some(count + 1);
        }
        if let (Some(before), Origin::Received) = (self.received, origin) {
            self.changes.push_back(std::array::from_fn(|i| wanted[i] - before[i]));
            self.changes.drain(..self.changes.len().saturating_sub(MEMORY));
        }
        // Repeated frames are coarse: their steps are not the face's.
        self.received = (origin == Origin::Received).then_some(wanted);
        shown.pts = self.last.map_or(shown.pts, |last| shown.pts.max(last.pts.saturating_add(1)));
        self.last = Some(shown);
        ShownFrame { frame: shown, origin }
    }

    /// What to show for a frame that is missing. `next` is the next one known and its distance in frames. Before anything has arrived it
    /// is the face at rest.
    pub fn missing(&mut self, pts: Option<i64>, next: Option<(&FrameRecord, u32)>) -> ShownFrame {
        let last = self.last.unwrap_or(FrameRecord { pts: 0, params: FrameParams::from_array(&self.rest), placement: None });
        let now = last.params.to_array();
        let mut placement = last.placement;
        let (goal, share) = match next {
            Some((frame, distance)) if distance <= BRIDGE => {
                let share = 1.0 / (distance as f32 + 1.0);
                placement = between(placement, frame.placement, share);
                (frame.params.to_array(), share)
            }
            _ => (self.rest, FADE),
        };
        let wanted = std::array::from_fn(|i| now[i] + (goal[i] - now[i]) * share);
        let params = FrameParams::from_array(&self.towards(&now, &wanted, 1.0));
        let shown = FrameRecord { pts: pts.unwrap_or(last.pts.saturating_add(self.frame_ticks)), params, placement };
        (self.last, self.received, self.returning) = (Some(shown), None, Some(0));
        ShownFrame { frame: shown, origin: Origin::Concealed }
    }

    /// From `now` towards `wanted`, at most as far as the face moves by itself: each number, and all together.
    fn towards(&self, now: &[f32; PARAMS], wanted: &[f32; PARAMS], patience: f32) -> [f32; PARAMS] {
        let fast = |size: &dyn Fn(&[f32; PARAMS]) -> f32, calm: f32| {
            if self.changes.len() < ENOUGH {
                return calm * patience;
            }
            let mut sizes: Vec<f32> = self.changes.iter().map(size).collect();
            let at = ((sizes.len() - 1) as f64 * USUAL) as usize;
            *sizes.select_nth_unstable_by(at, f32::total_cmp).1 * LEAVE * patience
        };
        let mut change: [f32; PARAMS] = std::array::from_fn(|i| {
            let most = fast(&|change| change[i].abs(), CALM_ALONE * self.steps[i]).max(LEAST * self.steps[i]);
            (wanted[i] - now[i]).clamp(-most, most)
        });
        let together = self.size(&change);
        let all = (PARAMS as f32).sqrt();
        let most = fast(&|change| self.size(change), CALM_TOGETHER * all).max(LEAST * all);
        if together > most {
            change.iter_mut().for_each(|v| *v *= most / together);
        }
        // Whatever can be reached is reached exactly.
        std::array::from_fn(|i| if change[i] == wanted[i] - now[i] { wanted[i] } else { now[i] + change[i] })
    }

    /// Size of a change of all numbers, in steps.
    fn size(&self, change: &[f32; PARAMS]) -> f32 {
        change.iter().zip(self.steps).map(|(v, step)| (v / step) * (v / step)).sum::<f32>().sqrt()
    }
}

fn between(a: Option<Placement>, b: Option<Placement>, share: f32) -> Option<Placement> {
    let (a, b) = (a?, b?);
    let mix = |a: f32, b: f32| a + (b - a) * share;
    Some(Placement { x: mix(a.x, b.x), y: mix(a.y, b.y), side: mix(a.side, b.side) })
}
