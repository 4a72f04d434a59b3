//! What the identity numbers mean for colours, hair, glasses, light and background. Shape numbers: [`super::shape`].
//!
//! Colours are linear RGB. The first 32 identity numbers shape the head; the rest are named in [`slot`].

use super::math::{mix, mix3, mul, smooth, V3};
use super::{Head, IDENTITY};

/// Positions of the identity numbers that are not shape.
pub(super) mod slot {
    pub const SKIN: usize = 32;
    pub const SKIN_HUE: usize = 33;
    pub const BLUSH: usize = 34;
    pub const FRECKLES: usize = 35;
    pub const EYE: usize = 36;
    pub const EYE_DARK: usize = 37;
    /// Eight numbers: the largest chooses the hair style.
    pub const STYLE: usize = 38;
    pub const HAIR_TONE: usize = 46;
    pub const HAIR_RED: usize = 47;
    pub const HAIR_GREY: usize = 48;
    pub const HAIR_LENGTH: usize = 49;
    pub const HAIR_VOLUME: usize = 50;
    pub const HAIR_WAVE: usize = 51;
    pub const PART: usize = 52;
    pub const BEARD: usize = 53;
    pub const MOUSTACHE: usize = 54;
    pub const STUBBLE: usize = 55;
    pub const GENDER: usize = 56;
    pub const LIP: usize = 57;
    pub const BROW_DARK: usize = 58;
    pub const GLASSES: usize = 59;
    pub const GLASSES_SHAPE: usize = 60;
    pub const GLASSES_SIZE: usize = 61;
    pub const GLASSES_TONE: usize = 62;
    pub const AGE: usize = 63;
    pub const LIGHT_X: usize = 64;
    pub const LIGHT_Y: usize = 65;
    pub const AMBIENT: usize = 66;
    pub const WARMTH: usize = 67;
    pub const KEY: usize = 68;
    /// Six numbers: two background colours.
    pub const BACK: usize = 69;
    pub const BACK_TURN: usize = 75;
    pub const BLOBS: usize = 76;
    pub const BLOB_PLACE: usize = 77;
    /// Three numbers: clothes colour.
    pub const CLOTH: usize = 78;
    pub const COLLAR: usize = 81;
    pub const PATTERN: usize = 82;
    pub const RIM: usize = 83;
    pub const RECESS: usize = 84;
    pub const EXPOSURE: usize = 85;
}

/// Hair styles, in the order of the style numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Bald,
    Short,
    Parted,
    Long,
    Curly,
    Fringe,
    Tied,
    Bob,
}

/// Everything the renderer derives from the identity besides shape.
pub(super) struct Look {
    pub skin: V3,
    pub lip: V3,
    pub blush: f32,
    pub freckles: f32,
    pub iris: V3,
    pub style: Style,
    pub hair: V3,
    pub brow: V3,
    pub brow_thick: f32,
    pub length: f32,
    pub volume: f32,
    pub wave: f32,
    pub part: f32,
    pub recess: f32,
    pub beard: f32,
    pub moustache: f32,
    pub stubble: f32,
    pub makeup: f32,
    pub glasses: bool,
    pub glasses_shape: f32,
    pub glasses_size: f32,
    pub glasses_colour: V3,
    pub age: f32,
    pub light: V3,
    pub key: V3,
    pub ambient: V3,
    pub rim: f32,
    pub back: [V3; 2],
    pub back_dir: [f32; 2],
    pub blobs: f32,
    pub blob_place: f32,
    pub cloth: V3,
    pub collar: f32,
    pub pattern: f32,
}

/// Square of a display colour: the linear value (gamma 2).
fn linear(c: V3) -> V3 {
    [c[0] * c[0], c[1] * c[1], c[2] * c[2]]
}

/// Smooth approximation of the normal distribution function: a normal number becomes uniform in 0..1.
pub(super) fn uniform(n: f32) -> f32 {
    1.0 / (1.0 + super::math::exp(-1.702 * n))
}

/// Interpolates a list of colours at `t` in 0..1.
fn ramp(list: &[V3], t: f32) -> V3 {
    let f = t.clamp(0.0, 1.0) * (list.len() - 1) as f32;
    let i = (f as usize).min(list.len() - 2);
    mix3(list[i], list[i + 1], f - i as f32)
}

const SKINS: [V3; 7] = [
    [0.97, 0.83, 0.76],
    [0.93, 0.76, 0.66],
    [0.87, 0.68, 0.56],
    [0.78, 0.57, 0.44],
    [0.65, 0.45, 0.33],
    [0.50, 0.33, 0.24],
    [0.34, 0.22, 0.165],
];
const HAIRS: [V3; 6] =
    [[0.10, 0.085, 0.08], [0.17, 0.125, 0.10], [0.30, 0.20, 0.14], [0.44, 0.31, 0.20], [0.66, 0.50, 0.32], [0.84, 0.72, 0.52]];
const IRISES: [V3; 6] =
    [[0.20, 0.12, 0.08], [0.32, 0.20, 0.11], [0.44, 0.30, 0.15], [0.40, 0.42, 0.25], [0.36, 0.48, 0.50], [0.40, 0.56, 0.72]];
const STYLES: [Style; 8] =
    [Style::Bald, Style::Short, Style::Parted, Style::Long, Style::Curly, Style::Fringe, Style::Tied, Style::Bob];

/// Identity numbers, clamped to the range in which the head stays human.
pub(super) fn clamped(head: &Head) -> [f32; IDENTITY] {
    head.identity.map(|v| if v.is_finite() { v.clamp(-2.5, 2.5) } else { 0.0 })
}

fn pick_style(id: &[f32; IDENTITY], female: f32) -> Style {
    // Preferences shift with the second-to-none visible trait, so that styles and beards combine as people wear them.
    let bias = [
        mix(0.9, -1.6, female),
        mix(1.2, -0.9, female),
        mix(0.7, 0.0, female),
        mix(-1.0, 0.9, female),
        0.0,
        mix(-0.4, 0.4, female),
        mix(-1.0, 0.5, female),
        mix(-1.2, 0.6, female),
    ];
    let mut best = (f32::MIN, Style::Short);
    for (i, style) in STYLES.into_iter().enumerate() {
        let score = id[slot::STYLE + i] + bias[i];
        if score > best.0 {
            best = (score, style);
        }
    }
    best.1
}

fn hair_colour(id: &[f32; IDENTITY], skin: f32, age: f32) -> V3 {
    let tone = uniform(id[slot::HAIR_TONE]) * mix(1.0, 0.25, smooth(0.35, 0.75, skin));
    let base = ramp(&HAIRS, tone);
    let red = smooth(1.1, 2.0, id[slot::HAIR_RED]) * smooth(0.6, 0.3, skin);
    let grey = smooth(0.9, 2.2, id[slot::HAIR_GREY] + 1.1 * age);
    let c = mix3(base, [0.52, 0.24, 0.11], red * 0.85);
    linear(mix3(c, [0.68, 0.67, 0.66], grey))
}

fn light(id: &[f32; IDENTITY]) -> (V3, V3, V3) {
    let az = id[slot::LIGHT_X] * 0.55;
    let el = 0.45 + id[slot::LIGHT_Y] * 0.22;
    let (s, c) = (super::math::sin(az), super::math::cos(az));
    let (se, ce) = (super::math::sin(el), super::math::cos(el));
    let warm = id[slot::WARMTH] * 0.045;
    let gain = 1.0 + 0.10 * id[slot::EXPOSURE];
    let key = mul([1.0 + warm, 1.0, 1.0 - 1.3 * warm], gain * (0.86 + 0.10 * id[slot::KEY]));
    let amb = mul([1.0 - 0.4 * warm, 1.0, 1.02 + 0.6 * warm], gain * (0.27 + 0.06 * id[slot::AMBIENT]));
    ([s * ce, se, c * ce], key, amb)
}

impl Look {
    /// Derives the look of a head.
    pub fn new(id: &[f32; IDENTITY]) -> Self {
        let skin_tone = uniform(id[slot::SKIN] * 1.15 - 0.25);
        let female = smooth(-0.5, 0.5, id[slot::GENDER]);
        let age = smooth(-0.4, 2.2, id[slot::AGE]);
        let hue = id[slot::SKIN_HUE] * 0.012;
        let s = ramp(&SKINS, skin_tone);
        let skin = linear([s[0] - hue * 0.4, s[1], s[2] - hue * 1.2]);
        let lip_tint = 0.30 + 0.08 * id[slot::LIP] + 0.22 * female * smooth(0.2, 1.6, id[slot::LIP]);
        let lip = mix3(tint_lip(skin), [0.38, 0.04, 0.06], lip_tint.clamp(0.05, 0.7));
        let hair = hair_colour(id, skin_tone, age);
        let beard_base = (1.0 - female) * 1.0;
        let (light, key, ambient) = light(id);
        let back = [0, 3].map(|k| {
            let lum = uniform(id[slot::BACK + k] * 1.1 - 0.1);
            let warm = id[slot::BACK + k + 1] * 0.09;
            let green = id[slot::BACK + k + 2] * 0.05;
            let sat = 0.4 + lum;
            linear([lum + warm * sat, lum + green * sat, lum - warm * sat].map(|v| (v * 0.85 + 0.07).clamp(0.03, 0.97)))
        });
        let turn = id[slot::BACK_TURN] * 1.6;
        Look {
            skin,
            lip,
            blush: (0.5 + 0.3 * id[slot::BLUSH]).clamp(0.0, 1.3),
            freckles: smooth(0.9, 2.2, id[slot::FRECKLES]) * smooth(0.6, 0.3, skin_tone),
            iris: mul(
                linear(ramp(&IRISES, uniform(id[slot::EYE]) * mix(1.0, 0.25, smooth(0.4, 0.7, skin_tone)))),
                1.0 - 0.12 * id[slot::EYE_DARK],
            ),
            style: pick_style(id, female),
            hair,
            brow: mix3(mul(hair, 0.6), [0.02, 0.014, 0.01], (0.45 + 0.2 * id[slot::BROW_DARK]).clamp(0.0, 0.9)),
            brow_thick: (1.0 + 0.16 * id[21] + mix(0.18, -0.15, female)).clamp(0.55, 1.6),
            length: uniform(id[slot::HAIR_LENGTH]),
            volume: uniform(id[slot::HAIR_VOLUME]),
            wave: uniform(id[slot::HAIR_WAVE]),
            part: (id[slot::PART] * 0.3).clamp(-0.6, 0.6),
            recess: smooth(0.3, 2.0, id[slot::RECESS]) * (1.0 - 0.8 * female),
            beard: beard_base * smooth(0.3, 1.0, id[slot::BEARD]),
            moustache: beard_base * smooth(0.4, 1.1, id[slot::MOUSTACHE] + 0.6 * id[slot::BEARD]),
            stubble: beard_base * smooth(-0.8, 1.5, id[slot::STUBBLE]),
            makeup: female * smooth(-0.3, 1.5, id[slot::LIP]),
            glasses: id[slot::GLASSES] > 0.95,
            glasses_shape: uniform(id[slot::GLASSES_SHAPE]),
            glasses_size: 1.0 + 0.07 * id[slot::GLASSES_SIZE],
            glasses_colour: linear(ramp(
                &[[0.06, 0.06, 0.07], [0.10, 0.08, 0.07], [0.30, 0.17, 0.09], [0.50, 0.42, 0.25], [0.62, 0.62, 0.64]],
                uniform(id[slot::GLASSES_TONE] * 1.2),
            )),
            age,
            light,
            key,
            ambient,
            rim: 0.5 + 0.2 * id[slot::RIM],
            back,
            back_dir: [super::math::sin(turn), super::math::cos(turn)],
            blobs: smooth(-0.3, 1.5, id[slot::BLOBS]),
            blob_place: id[slot::BLOB_PLACE],
            cloth: linear([0, 1, 2].map(|k| {
                let lum = uniform(id[slot::CLOTH] * 1.2 - 0.3);
                (0.06 + 0.8 * lum + 0.10 * id[slot::CLOTH + k] * if k == 0 { 0.0 } else { 1.0 }).clamp(0.03, 0.95)
            })),
            collar: id[slot::COLLAR],
            pattern: id[slot::PATTERN],
        }
    }
}

/// Bare lips: the skin with more blood in it.
fn tint_lip(skin: V3) -> V3 {
    [skin[0] * 0.80, skin[1] * 0.50, skin[2] * 0.52]
}
