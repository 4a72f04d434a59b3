//! Deterministic clips: a head that turns, speaks, blinks and looks around.
//!
//! Output: the head of any frame, computed from the seed and the time alone, so that frames can be made in any order.

use super::math::{noise, sin, smooth};
use super::Rng;
use super::{channel, sample, Framing, Head};

/// Clip identities are `sample(CLIP_IDENTITY_BASE + seed)`; training uses seeds below it, so no clip shows a person
/// of the training set.
pub const CLIP_IDENTITY_BASE: u64 = 1 << 48;

/// What to film.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClipSpec {
    /// Chooses the person and the movements; below 2^47.
    pub seed: u64,
    /// Number of frames.
    pub frames: u64,
    /// Frames per second as a fraction.
    pub fps: (u32, u32),
    /// Width and height of a fixed camera, pixels; none for the aligned crop.
    pub camera: Option<(u32, u32)>,
}

/// A slow movement in -1..1: three sinusoids with periods between `period` and `period / 3` seconds.
fn drift(seed: u64, line: u64, t: f32, period: f32) -> f32 {
    let mut rng = Rng::new(seed ^ line.wrapping_mul(0xA24B_AED4_963E_E407));
    let mut sum = 0.0;
    for k in 0..3 {
        let rate = (1.0 + k as f32 * rng.range(0.7, 1.1)) / period;
        let phase = rng.unit();
        sum += [0.55, 0.3, 0.15][k] * sin(std::f32::consts::TAU * (rate * t + phase));
    }
    sum
}

/// A number in 0..1 for event `n` of line `line`.
fn dice(seed: u64, line: u64, n: i64) -> f32 {
    Rng::new(seed ^ line.wrapping_mul(0x9FB2_1C65_1E98_DF25) ^ (n as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93)).unit()
}

/// Strength of the blink at time `t`: one in every slot of 3 seconds, jittered so that gaps are 2 to 4 seconds.
fn blink(seed: u64, t: f32) -> f32 {
    let slot = (t / 3.0).floor() as i64;
    let mut v: f32 = 0.0;
    for n in slot - 1..=slot + 1 {
        let at = 3.0 * n as f32 + 1.0 + dice(seed, 11, n);
        let d = t - at;
        v = v.max(smooth(-0.09, 0.0, d) * smooth(0.20, 0.05, d));
    }
    v
}

/// Gaze jumps to a new target about every second and holds it.
fn gaze(seed: u64, t: f32) -> (f32, f32) {
    let n = (t / 1.1).floor() as i64;
    let target = |n: i64, line: u64, reach: f32| {
        if dice(seed, 21, n) < 0.45 {
            0.0
        } else {
            (dice(seed, line, n) * 2.0 - 1.0) * reach
        }
    };
    let start = n as f32 * 1.1 + 0.5 * dice(seed, 24, n);
    let k = smooth(0.0, 0.05, t - start);
    let at = |line: u64, reach: f32| target(n - 1, line, reach) * (1.0 - k) + target(n, line, reach) * k;
    (at(22, 0.75), at(23, 0.5))
}

/// Lips and jaw of speech: syllables at 4 to 5 per second, pauses between phrases.
fn speech(seed: u64, t: f32, e: &mut [f32; 32]) {
    let talk = smooth(-0.25, 0.05, noise(t * 0.45 + (seed % 997) as f32 * 3.7, 5.5) + 0.12);
    let beat = t * 4.5 + 0.4 * noise(t * 0.7, 9.5) + (seed % 31) as f32;
    let n = beat.floor() as i64;
    let x = beat - n as f32;
    // Each syllable opens and closes once; its vowel decides jaw and lips.
    let open = (smooth(0.0, 0.4, x) * smooth(1.0, 0.55, x)) * talk;
    let (vowel, next) = (dice(seed, 31, n), dice(seed, 31, n + 1));
    let v = vowel + (next - vowel) * smooth(0.6, 1.0, x);
    e[channel::JAW_OPEN] += open * (0.18 + 0.42 * dice(seed, 32, n));
    e[channel::PUCKER] += talk * 0.6 * smooth(0.62, 0.95, v);
    e[channel::FUNNEL] += open * 0.5 * smooth(0.45, 0.7, v) * smooth(0.85, 0.7, v);
    let wide = talk * 0.4 * smooth(0.4, 0.1, v);
    e[channel::STRETCH] += wide;
    e[channel::STRETCH + 1] += wide;
    e[channel::LOWER_LIP_DROP] += open * 0.35 * dice(seed, 33, n);
    e[channel::UPPER_LIP_RAISE] += open * 0.3 * dice(seed, 34, n);
    // Some syllables begin with closed lips.
    if dice(seed, 35, n) < 0.3 {
        e[channel::LIP_PRESS] += talk * 0.7 * smooth(0.16, 0.0, x);
    }
}

/// Smiles, brows, squints: slow moods.
fn mood(seed: u64, t: f32, e: &mut [f32; 32]) {
    let rise = |line: u64, period: f32, from: f32| smooth(from, 0.85, drift(seed, line, t, period));
    let smile = rise(41, 9.0, 0.05);
    e[channel::SMILE] += 0.85 * smile;
    e[channel::SMILE + 1] += 0.85 * smile * (0.9 + 0.1 * drift(seed, 42, t, 5.0));
    let squint = 0.45 * smile + 0.3 * rise(43, 7.0, 0.4);
    e[channel::SQUINT] += squint;
    e[channel::SQUINT + 1] += squint;
    let up = rise(44, 4.0, 0.15);
    e[channel::BROW_INNER_UP] += 0.7 * up;
    e[channel::BROW_OUTER_UP] += 0.6 * up;
    e[channel::BROW_OUTER_UP + 1] += 0.6 * up * (0.7 + 0.3 * drift(seed, 45, t, 6.0));
    let down = rise(46, 5.5, 0.3) * (1.0 - up);
    e[channel::BROW_DOWN] += 0.7 * down;
    e[channel::BROW_DOWN + 1] += 0.7 * down;
    e[channel::MOUTH_SIDE] += 0.2 * drift(seed, 47, t, 4.0);
}

/// The head of frame `i` of a clip. Frames beyond `spec.frames` continue the movement.
pub fn head_at(spec: &ClipSpec, i: u64) -> Head {
    let seed = spec.seed;
    let t = (i as f64 * f64::from(spec.fps.1.max(1)) / f64::from(spec.fps.0.max(1))) as f32;
    let mut head = sample::sample(CLIP_IDENTITY_BASE + seed);
    let roll = 4.5 * drift(seed, 3, t, 6.0) + 3.5 * drift(seed, 4, t, 2.3);
    head.yaw = 14.0 * drift(seed, 1, t, 7.0) + 6.0 * drift(seed, 6, t, 2.1);
    head.pitch = 8.0 * drift(seed, 2, t, 5.0) + 4.0 * drift(seed, 5, t, 1.7);
    head.framing = if spec.camera.is_some() {
        let scale = 0.72 + 0.04 * drift(seed, 7, t, 9.0);
        let (x, y) = (0.5 + 0.05 * drift(seed, 8, t, 8.0), 0.5 + 0.03 * drift(seed, 9, t, 6.0));
        Framing::Camera { x, y, scale, roll_degrees: roll }
    } else {
        Framing::default()
    };
    let mut e = [0.0f32; 32];
    speech(seed, t, &mut e);
    mood(seed, t, &mut e);
    let b = blink(seed, t);
    (e[channel::BLINK], e[channel::BLINK + 1]) = (b, b);
    (e[channel::GAZE_X], e[channel::GAZE_Y]) = gaze(seed, t);
    // The eyes hold their target while the head turns.
    e[channel::GAZE_X] -= head.yaw / 60.0;
    e[channel::GAZE_Y] -= head.pitch / 60.0;
    head.expression = e.map(|v| v.clamp(-1.0, 1.0));
    head
}
