//! Colour and class of the skin at a place of the unit head: brows, lips, lids, beard, wrinkles, blemishes.
//!
//! Input: texture coordinates of [`super::template`] (unrolled x, height). Output: linear colour, class, gloss.

use super::look::{Look, Style};
use super::math::{bell, mix, mix3, mul, noise, smooth, tint, V3};
use super::pose::Posed;
use super::template::{mouth_line, EYE_HALF, MOUTH_Y};
use super::{channel, label};

/// What the light falls on.
pub(super) struct Surface {
    pub colour: V3,
    pub label: u8,
    /// Strength of the highlight.
    pub gloss: f32,
}

/// Height of the brow's middle at distance `ax` from the middle of the face.
fn brow_line(ax: f32) -> f32 {
    let t = (ax - 0.18) / 0.70;
    0.268 + 0.26 * t - 0.205 * t * t
}

/// Cover of the brow hair, 0..1.
fn brow(x: f32, y: f32, thick: f32) -> f32 {
    let ax = x.abs();
    let t = (ax - 0.16) / 0.72;
    if !(-0.1..1.1).contains(&t) || !(0.1..0.6).contains(&y) {
        return 0.0;
    }
    let half = 0.068 * thick * (1.0 - 0.70 * t * t);
    let d = (y - brow_line(ax)).abs() / half;
    let hairs = 0.78 + 0.24 * noise(ax * 30.0 - y * 38.0, y * 7.0 + 3.0 * x.signum());
    (smooth(1.2, 0.3, d) * smooth(-0.03, 0.16, t) * smooth(1.05, 0.85, t) * hairs * 1.15).clamp(0.0, 1.0)
}

/// Signed depth inside the lips: positive inside, in eye distances.
fn lips(x: f32, y: f32) -> f32 {
    let ax = x.abs();
    let q = 1.0 - (ax / 0.425) * (ax / 0.425);
    if q <= 0.0 {
        return -0.1;
    }
    let line = mouth_line(ax);
    let upper = line + 0.105 * q * (1.35 - 0.35 * q) - 0.016 * bell(x, 0.0, 0.0, 0.0, 0.055, 1.0);
    let lower = line - 0.135 * q.sqrt() * (0.45 + 0.55 * q);
    (upper - y).min(y - lower)
}

/// Darkening by folds that come with expression and age: 0 none.
fn wrinkles(x: f32, y: f32, look: &Look, posed: &Posed) -> f32 {
    let e = &posed.expression;
    let ax = x.abs();
    let age = look.age;
    let mut dark = 0.0;
    let line = |d: f32, w: f32| smooth(w, 0.0, d.abs());
    let brow_up = 0.9 * e[channel::BROW_INNER_UP].max(posed.pair(channel::BROW_OUTER_UP, x)) + 0.45 * age;
    if brow_up > 0.03 && y > 0.5 && ax < 0.8 {
        let wave = y * 6.4 + 0.35 * noise(x * 2.0, 1.5);
        dark += brow_up
            * 0.30
            * line(wave - wave.floor() - 0.5, 0.28)
            * smooth(0.48, 0.6, y)
            * smooth(1.0, 0.85, y)
            * smooth(0.8, 0.45, ax);
    }
    let frown = posed.pair(channel::BROW_DOWN, x) + 0.25 * age;
    if ax < 0.25 && y > 0.1 {
        dark += frown * 0.40 * line(ax - 0.095 - 0.1 * (y - 0.3).max(0.0), 0.03) * smooth(0.14, 0.24, y) * smooth(0.48, 0.34, y);
        let nose = e[channel::NOSE_WRINKLE];
        let w = y * 17.0 + ax * 9.0;
        dark += nose * 0.35 * line(w - w.floor() - 0.5, 0.3) * bell(x, y, 0.0, 0.12, 0.15, 0.12);
    }
    if ax > 0.74 && ax < 1.05 && y.abs() < 0.3 {
        let feet = posed.pair(channel::SQUINT, x).max(0.7 * posed.pair(channel::SMILE, x)) + 0.5 * age;
        let w = (y + 0.04) / (ax - 0.6) * 4.2;
        dark += feet
            * 0.24
            * line(w - w.floor() - 0.5, 0.3)
            * smooth(0.76, 0.82, ax)
            * smooth(1.03, 0.9, ax)
            * smooth(0.22, 0.08, y.abs());
    }
    if y < -0.55 && y > -1.45 && ax > 0.2 && ax < 0.75 {
        let fold = 0.10 + 0.55 * posed.pair(channel::SMILE, x) + 0.4 * e[channel::NOSE_WRINKLE] + 0.4 * age;
        let t = (-0.62 - y) / 0.6;
        let curve = 0.30 + 0.26 * t - 0.03 * t * t;
        dark += fold * 0.34 * smooth(0.06, 0.0, (ax - curve).abs()) * smooth(-0.05, 0.15, t) * smooth(1.15, 0.75, t);
        let corner = posed.pair(6, x) + 0.3 * age;
        dark += corner * 0.3 * line(ax - 0.46 - 0.3 * (-1.14 - y), 0.035) * smooth(-1.12, -1.18, y) * smooth(-1.4, -1.25, y);
    }
    if y < -1.3 && ax < 0.4 {
        dark += e[channel::CHIN_RAISE] * 0.28 * (noise(x * 16.0, y * 16.0) * 0.5 + 0.5) * bell(x, y, 0.0, -1.54, 0.3, 0.16);
    }
    dark
}

/// Marks around the eye: crease, lashes, make-up, tired skin. Gives (darkening, lash cover).
fn eye_marks(x: f32, y: f32, look: &Look) -> (f32, f32) {
    let ax = x.abs();
    let t = (ax - 0.5) / EYE_HALF;
    if t.abs() > 1.3 || y.abs() > 0.35 {
        return (0.0, 0.0);
    }
    let arch = (1.0 - t * t).max(0.0);
    let crease = 0.045 + 0.055 * arch;
    let mut dark = 0.34 * smooth(0.022, 0.0, (y - crease).abs()) * smooth(1.2, 0.85, t.abs());
    dark += (0.10 + 0.25 * look.age) * bell(ax, y, 0.47, -0.16, 0.2, 0.05);
    let lash = if y >= 0.0 { smooth(0.026 + 0.012 * look.makeup, 0.008, y) } else { 0.55 * smooth(-0.016, -0.002, y) };
    (dark, lash * smooth(1.08, 0.95, t.abs()) * (0.75 + 0.25 * look.makeup))
}

/// Cover of beard and stubble.
fn beard(x: f32, y: f32, lip: f32, look: &Look) -> f32 {
    if y > -0.2 || look.stubble + look.beard + look.moustache <= 0.0 {
        return 0.0;
    }
    let ax = x.abs();
    let edge = -1.0 + 0.16 * smooth(0.3, 0.5, ax) + 0.75 * smooth(0.72, 1.05, ax) - y + 0.05 * noise(x * 11.0, y * 11.0);
    let jaw =
        smooth(-0.03, 0.13, edge) * smooth(-0.02, -0.10, lip + if y > MOUTH_Y { 0.0 } else { -0.02 }).max(smooth(0.3, 0.5, ax));
    let lip_hair = smooth(-0.86, -0.93, y) * smooth(-0.012, -0.03, lip) * smooth(0.52, 0.40, ax) * smooth(-1.3, -1.2, y);
    let neck = smooth(-1.95, -1.78, y);
    let grain = 0.75 + 0.35 * noise(x * 42.0, y * 21.0);
    let full = (jaw * look.beard).max(lip_hair * look.moustache) * grain;
    let shade = 0.34 * look.stubble * jaw.max(lip_hair) * (0.8 + 0.4 * noise(x * 60.0, y * 60.0));
    full.max(shade).clamp(0.0, 0.96) * neck
}

fn class(x: f32, y: f32) -> u8 {
    let ax = x.abs();
    let q = 1.0 - (ax / 0.83) * (ax / 0.83);
    if y < -1.36 - 0.42 * q.max(0.0).sqrt() {
        return label::CLOTHES;
    }
    let (a, b) = ((ax - 0.5) / 0.30, (y - 0.025) / 0.145);
    if a * a + b * b < 1.0 {
        label::LIDS
    } else if ax < 1.1 && y > brow_line(ax.min(0.9)) + 0.05 {
        label::FOREHEAD
    } else if y < -1.28 + 0.36 * smooth(0.4, 0.9, ax) {
        label::JAW
    } else {
        label::SKIN
    }
}

/// Colour of bare skin with its blood, spots and pores.
fn complexion(x: f32, y: f32, look: &Look) -> V3 {
    let ax = x.abs();
    let mottle = 1.0 + 0.045 * noise(x * 5.0 + 9.0, y * 5.0) + 0.03 * noise(x * 37.0, y * 37.0);
    let mut c = mul(look.skin, mottle);
    let red = look.blush * (0.8 * bell(ax, y, 0.66, -0.48, 0.3, 0.26) + 0.7 * bell(x, y, 0.0, -0.64, 0.24, 0.12))
        + 0.25 * bell(ax, y, 0.26, 0.0, 0.06, 0.08)
        + 0.3 * bell(ax, y, 0.2, -0.74, 0.12, 0.08);
    c = tint(c, [1.0 + 0.03 * red, 1.0 - 0.22 * red, 1.0 - 0.20 * red]);
    if look.freckles > 0.0 {
        let spots = smooth(0.40, 0.75, noise(x * 24.0, y * 24.0)) * bell(ax, y, 0.38, -0.38, 0.5, 0.35);
        c = tint(c, mix3([1.0; 3], [0.72, 0.56, 0.45], spots * look.freckles));
    }
    c
}

/// The skin at texture coordinates `(x, y)`.
pub(super) fn skin(x: f32, y: f32, look: &Look, posed: &Posed) -> Surface {
    let mut c = complexion(x, y, look);
    let mut label = class(x, y);
    let mut gloss = 0.16 + 0.22 * bell(x, y, 0.0, -0.62, 0.12, 0.1) + 0.10 * bell(x, y, 0.0, 0.75, 0.5, 0.25);
    let ax = x.abs();
    if ax > 1.15 && y < 1.2 && label != label::CLOTHES {
        label = label::SKIN;
    }
    let dark = wrinkles(x, y, look, posed);
    let (eye_dark, lash) = eye_marks(x, y, look);
    let shade = (1.0 - dark - eye_dark).clamp(0.25, 1.0);
    c = tint(c, [shade, shade * mix(1.0, shade, 0.35), shade * mix(1.0, shade, 0.35)]);
    let nostril = bell(ax, y, 0.105, -0.795, 0.062, 0.030);
    c = mix3(c, mul(look.skin, 0.06), smooth(0.35, 0.85, nostril));
    let lip = lips(x, y);
    if lip > -0.02 {
        let cover = smooth(-0.016, 0.014, lip);
        let lines = 1.0 + 0.10 * noise(x * 30.0, y * 5.0);
        let seam = 1.0 - 0.55 * smooth(0.016, 0.0, (y - mouth_line(ax)).abs());
        c = mix3(c, mul(look.lip, lines * seam), cover);
        gloss = mix(gloss, 0.34 + 0.3 * look.makeup, cover);
        if lip > 0.0 {
            label = label::LIPS;
        }
    }
    let hair = beard(x, y, lip, look);
    c = mix3(c, mul(look.hair, 0.75), hair);
    let brow = brow(x, y, look.brow_thick);
    if brow > 0.0 {
        c = mix3(c, look.brow, brow);
        if brow > 0.35 {
            label = label::BROWS;
        }
    }
    c = mix3(c, [0.012, 0.009, 0.008], lash);
    if look.style != Style::Bald {
        // Roots: skin seen between strands is not bright.
        let roots = smooth(1.02, 1.15, y).max(smooth(1.15, 1.3, ax) * smooth(-1.0, -0.7, y));
        c = mix3(c, mul(look.hair, 0.7), 0.8 * roots);
    }
    Surface { colour: c, label, gloss: gloss * (1.0 - hair) * (1.0 - brow) }
}
