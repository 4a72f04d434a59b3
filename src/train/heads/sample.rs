//! Heads drawn at random: who, pose, expression, jitter of the crop.

use super::Rng;
use super::{channel, Framing, Head, IDENTITY};

/// An identity of independent normal numbers.
pub(super) fn identity(rng: &mut Rng) -> [f32; IDENTITY] {
    std::array::from_fn(|_| rng.normal().clamp(-2.5, 2.5))
}

/// Yaw and pitch, degrees: mostly within 20 degrees, sometimes up to the limits.
fn pose(rng: &mut Rng) -> (f32, f32) {
    if rng.unit() < 0.25 {
        return (rng.range(-35.0, 35.0), rng.range(-25.0, 25.0));
    }
    if rng.unit() < 0.15 {
        return (rng.normal() * 3.0, rng.normal() * 3.0);
    }
    let (yaw, pitch) = (rng.range(-22.0, 22.0), rng.normal() * 7.0);
    (yaw, pitch.clamp(-25.0, 25.0))
}

fn signed(i: usize) -> bool {
    matches!(i, channel::JAW_SIDE | channel::MOUTH_SIDE | channel::GAZE_X | channel::GAZE_Y)
}

/// A value of channel `i`, `strength` times its range at most.
fn value(rng: &mut Rng, i: usize, strength: f32) -> f32 {
    let v = strength * rng.unit().sqrt();
    if signed(i) && rng.unit() < 0.5 {
        -v
    } else {
        v
    }
}

fn expression(rng: &mut Rng) -> [f32; 32] {
    let mut e = [0.0; 32];
    let kind = rng.unit();
    if kind < 0.12 {
        return e;
    }
    if kind < 0.30 {
        let i = (rng.bits() % 32) as usize;
        e[i] = if signed(i) && rng.unit() < 0.5 { -1.0 } else { 1.0 };
        if i == channel::TONGUE_OUT {
            e[channel::JAW_OPEN] = rng.range(0.3, 0.8);
        }
        return e;
    }
    for _ in 0..2 + rng.bits() % 5 {
        let i = (rng.bits() % 32) as usize;
        e[i] = value(rng, i, 0.9);
    }
    if rng.unit() < 0.5 {
        e[channel::JAW_OPEN] = rng.unit() * rng.unit();
    }
    // Sides of the face move together more often than apart.
    for first in [channel::SMILE, 6, channel::STRETCH, channel::BROW_OUTER_UP, channel::BROW_DOWN, channel::SQUINT] {
        if rng.unit() < 0.55 {
            let v = e[first].max(e[first + 1]) * if rng.unit() < 0.3 { 1.0 } else { rng.range(0.7, 1.0) };
            (e[first], e[first + 1]) = (v, v * rng.range(0.85, 1.0));
        }
    }
    if rng.unit() < 0.18 {
        let v = rng.unit().sqrt();
        (e[channel::SMILE], e[channel::SMILE + 1]) = (v, v * rng.range(0.8, 1.0));
    }
    blink_and_gaze(rng, &mut e);
    if e[channel::TONGUE_OUT] > 0.0 {
        e[channel::JAW_OPEN] = e[channel::JAW_OPEN].max(0.25);
    }
    e
}

fn blink_and_gaze(rng: &mut Rng, e: &mut [f32; 32]) {
    if rng.unit() < 0.85 {
        let v = if rng.unit() < 0.22 { rng.unit() } else { 0.0 };
        (e[channel::BLINK], e[channel::BLINK + 1]) = (v, v);
    }
    if rng.unit() < 0.6 {
        e[channel::GAZE_X] = (rng.normal() * 0.4).clamp(-1.0, 1.0);
        e[channel::GAZE_Y] = (rng.normal() * 0.35).clamp(-1.0, 1.0);
    }
}

/// A training head: identity from N(0, 1), broad pose, plausible expression, small jitter of the aligned crop.
/// Seeds from [`super::CLIP_IDENTITY_BASE`] on are reserved for clips.
pub fn sample(seed: u64) -> Head {
    let mut rng = Rng::new(seed);
    let identity = identity(&mut rng);
    let (yaw, pitch) = pose(&mut rng);
    let expression = expression(&mut rng);
    let framing = Framing::Aligned {
        dx: 0.01 * rng.normal(),
        dy: 0.01 * rng.normal(),
        scale: 1.0 + 0.02 * rng.normal(),
        roll_degrees: 1.5 * rng.normal(),
    };
    Head { identity, yaw, pitch, expression, framing }
}

/// Two heads of one person, in one framing, that differ only in yaw, pitch and expression.
pub fn pair(seed: u64) -> (Head, Head) {
    let first = sample(seed);
    let mut rng = Rng::new(seed ^ 0x5DEE_CE66_D1CE_4E5B);
    let mut second = first.clone();
    (second.yaw, second.pitch) = pose(&mut rng);
    second.expression = expression(&mut rng);
    (first, second)
}
