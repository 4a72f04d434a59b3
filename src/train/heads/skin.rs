//! Colour and class of the skin at a place of the unit head: complexion, blemishes, lips, lids, roots of brows, hair and beard.
//!
//! Input: texture coordinates of [`super::template`] (unrolled x, height). Output: [`Surface`]. Relief: [`super::folds`].

use super::folds;
use super::label;
use super::light::Gloss;
use super::look::{Look, Style};
use super::math::{bell, fractal, mix, mix3, mul, nearest_spot, noise, smooth, tint, V3};
use super::pose::Posed;
use super::surface::Surface;
use super::template::{mouth_line, spread, EYE_HALF, MOUTH_Y};

/// Height of the brow's middle at distance `ax` from the middle of the face; `arch` bends it.
pub(super) fn brow_line(ax: f32, arch: f32) -> f32 {
    let t = (ax - 0.18) / 0.70;
    0.250 + (0.27 + 0.08 * arch) * t - (0.225 + 0.08 * arch) * t * t
}

/// Cover of the brow without its single hairs, 0..1.
pub(super) fn brow(x: f32, y: f32, look: &Look) -> f32 {
    let ax = x.abs();
    let t = (ax - 0.155) / 0.74;
    if !(-0.1..1.1).contains(&t) || !(0.1..0.65).contains(&y) {
        return 0.0;
    }
    let half = 0.054 * look.brow_thick * (1.0 - 0.72 * t * t) * (0.8 + 0.35 * smooth(0.0, 0.25, t));
    let d = (y - brow_line(ax, look.brow_arch)).abs() / half;
    smooth(1.25, 0.35, d) * smooth(-0.05, 0.16, t) * smooth(1.06, 0.80, t)
}

/// Signed depth inside the lips: positive inside, in eye distances.
pub(super) fn lips(x: f32, y: f32) -> f32 {
    let ax = x.abs();
    if ax > 0.43 || !(-1.45..-0.7).contains(&y) {
        return -0.1;
    }
    let q = 1.0 - (ax / 0.415) * (ax / 0.415);
    if q <= 0.0 {
        return -0.1;
    }
    let line = mouth_line(ax);
    // The bow: two peaks beside a dip under the nose.
    let bow = 0.018 * bell(ax, 0.0, 0.10, 0.0, 0.09, 1.0) - 0.020 * bell(x, 0.0, 0.0, 0.0, 0.055, 1.0);
    let upper = line + 0.088 * q * (1.30 - 0.30 * q) + bow * q;
    let lower = line - 0.128 * q.sqrt() * (0.42 + 0.58 * q);
    (upper - y).min(y - lower)
}

/// Edge of the hair: height of the hairline at unrolled distance from the middle.
const HAIRLINE: [[f32; 2]; 12] = [
    [0.0, 1.08],
    [0.40, 1.07],
    [0.70, 0.99],
    [0.86, 0.86],
    [0.93, 0.66],
    [0.97, 0.42],
    [1.04, 0.10],
    [1.085, -0.22],
    [1.19, -0.24],
    [1.25, 0.02],
    [1.62, -0.10],
    [1.90, -1.00],
];

/// Depth inside the hair of the scalp, eye distances: positive where hair grows.
pub(super) fn scalp(u: f32, y: f32, look: &Look) -> f32 {
    let a = u.abs();
    let i = HAIRLINE.iter().rposition(|p| p[0] <= a).unwrap_or(0);
    let (p, q) = (HAIRLINE[i], HAIRLINE[(i + 1).min(HAIRLINE.len() - 1)]);
    let t = if q[0] > p[0] { (a - p[0]) / (q[0] - p[0]) } else { 0.0 };
    let mut line = mix(p[1], q[1], smooth(0.0, 1.0, t));
    line += 0.05 * noise(u * 5.0 + look.grain, 2.5) + look.hairline * smooth(0.9, 0.6, a);
    // Hair leaves from the temples first, then from the whole top.
    line += look.recess * (0.42 * bell(a, 0.0, 0.56, 0.0, 0.28, 1.0) + 0.06);
    let grown = y - line;
    if look.bare_top > 0.0 {
        let side = (a - mix(0.55, 1.02, look.bare_top)).min(1.2 - y + 0.25 * (a - 1.0));
        return grown.min(side + 0.03 * noise(u * 9.0, y * 9.0));
    }
    grown
}

/// Where the beard grows: (jaw and cheeks, upper lip), 0..1 each.
pub(super) fn beard_area(x: f32, y: f32, look: &Look) -> (f32, f32) {
    if !(-2.05..-0.1).contains(&y) || x.abs() > 1.35 {
        return (0.0, 0.0);
    }
    let ax = x.abs();
    let lip = lips(x, y);
    let edge = -1.02 + 0.16 * smooth(0.3, 0.5, ax) + 0.80 * smooth(0.72, 1.05, ax) - y
        + 0.05 * noise(x * 7.0 + look.grain, y * 7.0)
        + look.beard_line;
    let around = smooth(-0.02, -0.07, lip + if y > MOUTH_Y { 0.0 } else { -0.015 }).max(smooth(0.36, 0.50, ax));
    let soul = 1.0 - 0.55 * bell(ax, y, 0.20, -1.34, 0.12, 0.10);
    // On the neck it grows in front only.
    let wide = mix(1.15, 0.50, smooth(-1.66, -1.80, y));
    let neck = smooth(-1.92, -1.74, y) * smooth(wide + 0.17, wide, ax);
    let jaw = smooth(-0.03, 0.14, edge) * around * soul * neck;
    let top = -0.80 - 0.10 * smooth(0.10, 0.45, ax) + 0.02 * noise(x * 9.0, look.grain);
    let lip_hair =
        smooth(top + 0.03, top - 0.05, y) * smooth(-0.006, -0.035, lip) * smooth(0.50, 0.36, ax) * smooth(-1.22, -1.13, y);
    (jaw, lip_hair * (1.0 - 0.4 * bell(x, y, 0.0, -0.88, 0.05, 0.07)))
}

/// Class of bare skin.
pub(super) fn class(x: f32, y: f32, look: &Look) -> u8 {
    let ax = x.abs();
    let q = 1.0 - (ax / 0.83) * (ax / 0.83);
    if y < -1.36 - 0.42 * q.max(0.0).sqrt() {
        return label::CLOTHES;
    }
    let (a, b) = ((ax - 0.5) / 0.30, (y - 0.025) / 0.145);
    if a * a + b * b < 1.0 {
        label::LIDS
    } else if ax < 1.1 && y > brow_line(ax.min(0.9), look.brow_arch) + 0.05 {
        label::FOREHEAD
    } else if y < -1.28 + 0.36 * smooth(0.4, 0.9, ax) {
        label::JAW
    } else {
        label::SKIN
    }
}

/// Blood under the skin: more on cheeks, nose, ears and chin; 0 is the mean.
fn blood(x: f32, y: f32, look: &Look, finest: f32) -> f32 {
    let (ax, w) = (x.abs(), spread(x, y));
    let places = 0.75 * bell(ax, y, 0.64, -0.50, 0.34, 0.30)
        + 0.80 * bell(x, y, 0.0, -0.57, 0.25, 0.15)
        + 0.35 * bell(ax, y, 0.26, 0.0, 0.08, 0.09)
        + 0.40 * bell(ax, y, 0.22, -0.66, 0.12, 0.09)
        + 0.30 * bell(x, y, 0.0, -1.52, 0.30, 0.16)
        - 0.35 * bell(x, y, 0.0, 0.75, 0.7, 0.3)
        - 0.25 * bell(ax, y, 0.45, -1.05, 0.12, 0.2);
    let blotches = fractal(w * 3.1 + look.grain, y * 3.1, 3, finest) + 0.5 * fractal(w * 17.0, y * 17.0 + look.grain, 2, finest);
    look.blush * places + look.blotch * blotches
}

/// Spots: freckles, moles and sun spots; colour factor.
fn spots(x: f32, y: f32, look: &Look, finest: f32) -> V3 {
    let w = spread(x, y);
    let mut c = [1.0f32; 3];
    if look.freckles > 0.02 {
        for (k, cells) in [(0.0, 17.0), (5.0, 27.0)] {
            if cells > finest {
                continue;
            }
            let (d, which) = nearest_spot(w * cells + look.grain + k, y * cells - k);
            let area = bell(x.abs(), y, 0.34, -0.36, 0.62, 0.40) + 0.25 * bell(x, y, 0.0, 0.6, 0.7, 0.4);
            let here = smooth(0.34, 0.14, d) * smooth(1.0 - area * 0.9, 1.15 - area * 0.9, which + 0.15);
            c = tint(c, mix3([1.0; 3], [0.76, 0.62, 0.50], 0.75 * here * look.freckles));
        }
    }
    // Moles lie apart and differ in size.
    let (d, which) = nearest_spot(w * 2.6 + 3.0 * look.grain, y * 2.6 + look.grain);
    if which < look.moles {
        let size = 0.035 + 0.11 * which;
        c = tint(c, mix3([1.0; 3], [0.34, 0.22, 0.17], 0.85 * smooth(size, size * 0.45, d)));
    }
    if look.age > 0.45 {
        let (d, which) = nearest_spot(w * 4.5 - look.grain, y * 4.5 + 9.0);
        let here = smooth(0.40, 0.18, d + 0.12 * noise(w * 21.0, y * 21.0)) * smooth(0.62, 0.9, which);
        c = tint(c, mix3([1.0; 3], [0.78, 0.66, 0.55], here * (look.age - 0.45)));
    }
    c
}

/// Colour of bare skin.
fn complexion(x: f32, y: f32, look: &Look, finest: f32) -> V3 {
    let (ax, w) = (x.abs(), spread(x, y));
    let melanin = 0.055 * fractal(w * 2.2 - look.grain, y * 2.2, 3, finest) + 0.05 * noise(w * 41.0, y * 41.0 + look.grain);
    let mut c = mul(look.skin, 1.0 + melanin * look.blotch.max(0.6));
    let red = blood(x, y, look, finest);
    c = tint(c, [1.0 + 0.045 * red, 1.0 - 0.17 * red, 1.0 - 0.14 * red]);
    // Thin skin around the eyes lets the dark through.
    let socket = (0.08 + 0.36 * look.bags) * bell(ax, y, 0.44, -0.13, 0.24, 0.10)
        + 0.07 * bell(ax, y, 0.46, 0.10, 0.30, 0.09)
        + 0.10 * bell(ax, y, 0.24, 0.04, 0.08, 0.12);
    c = tint(c, mix3([1.0; 3], [0.70, 0.58, 0.60], socket.min(1.0)));
    tint(c, spots(x, y, look, finest))
}

/// Marks of the eye: painted lids and the dark of the lashes' roots.
fn eye_marks(c: V3, x: f32, y: f32, look: &Look) -> V3 {
    let ax = x.abs();
    let t = (ax - 0.5) / EYE_HALF;
    if t.abs() > 1.35 || y.abs() > 0.35 {
        return c;
    }
    let ends = smooth(1.15, 0.92, t.abs());
    let lid = look.makeup * smooth(0.20, 0.06, y) * smooth(-0.01, 0.02, y) * smooth(1.3, 0.6, t.abs());
    let mut c = mix3(c, look.shadow, 0.45 * lid);
    // The moist red edge of the lower lid, the dark of dense lashes on the upper one.
    c = mix3(c, tint(look.skin, [0.80, 0.50, 0.48]), 0.55 * ends * smooth(-0.028, -0.008, y) * smooth(0.01, 0.0, y));
    let root = smooth(0.030, 0.010, y) * smooth(-0.004, 0.004, y) * (0.55 + 0.45 * look.makeup);
    mix3(c, [0.020, 0.014, 0.012], ends * root * look.lash)
}

/// Lips over the skin.
fn paint_lips(s: &mut Surface, x: f32, y: f32, look: &Look) {
    let lip = lips(x, y);
    if lip <= -0.03 {
        return;
    }
    let border = 0.010 + 0.006 * (1.0 - look.makeup);
    let cover = smooth(-border, border, lip + 0.004 * noise(x * 23.0, y * 23.0));
    let lines = 1.0 + 0.09 * noise(x * 30.0 + look.grain, y * 5.0) + 0.06 * noise(x * 9.0, y * 9.0);
    let seam = 1.0 - 0.62 * smooth(0.022, 0.0, (y - mouth_line(x.abs())).abs());
    let rosy = mix3(mul(look.lip, lines * seam), s.colour, 0.22 * (1.0 - look.makeup) * smooth(0.06, 0.0, lip));
    s.colour = mix3(s.colour, rosy, cover);
    s.gloss.strength = mix(s.gloss.strength, look.lip_gloss, cover);
    s.gloss.rough = mix(s.gloss.rough, 0.30, cover);
    if lip > 0.0 {
        s.label = label::LIPS;
    }
}

/// What lies under the single hairs of beard and brows.
fn paint_whiskers(s: &mut Surface, x: f32, y: f32, look: &Look, finest: f32) {
    let (jaw, moustache) = beard_area(x, y, look);
    let dots = 0.75 + 0.5 * if finest > 40.0 { noise(x * 62.0, y * 62.0) } else { 0.0 };
    let shade = look.stubble * jaw.max(moustache) * dots;
    let full = (look.beard * jaw).max(look.moustache * moustache);
    // Shaved skin looks bluish grey, a beard hides the skin.
    s.colour = mix3(s.colour, tint(s.colour, [0.52, 0.56, 0.60]), 0.75 * shade.clamp(0.0, 1.0));
    let under = mix3(mul(look.beard_colour, 0.7), mul(s.colour, 0.6), 0.3);
    s.colour = mix3(s.colour, under, 0.72 * smooth(0.1, 0.8, full));
    let brow = brow(x, y, look);
    s.colour = mix3(s.colour, mix3(look.brow, s.colour, 0.25), 0.34 * brow * look.brow_dense);
    if brow > 0.45 {
        s.label = label::BROWS;
    }
    s.gloss.strength *= 1.0 - 0.8 * brow.max(full);
}

/// Roots of the hair, or the stubs of a shaven head.
fn paint_scalp(s: &mut Surface, x: f32, y: f32, look: &Look, finest: f32) {
    let roots = scalp(x, y, look);
    if roots <= -0.06 {
        return;
    }
    let grows = smooth(-0.03, 0.15, roots + 0.05 * noise(x * 23.0, y * 23.0));
    let stubs = 0.75 + 0.25 * if finest > 40.0 { noise(x * 70.0, y * 70.0) } else { 0.0 };
    let cover = grows * if look.style == Style::Bald { look.shaven * stubs } else { 0.93 };
    s.colour = mix3(s.colour, mul(look.hair, 0.45), cover);
    s.gloss.strength *= 1.0 - 0.9 * cover;
    if cover > 0.5 {
        s.label = label::HAIR;
    }
}

/// Shine of the skin's oil: on nose, forehead, cheekbones and chin.
fn oil(x: f32, y: f32, look: &Look, finest: f32) -> Gloss {
    let places = 0.45
        + 0.55 * bell(x, y, 0.0, -0.45, 0.20, 0.40)
        + 0.35 * bell(x, y, 0.0, 0.70, 0.7, 0.35)
        + 0.30 * bell(x.abs(), y, 0.62, -0.35, 0.25, 0.18)
        + 0.2 * bell(x, y, 0.0, -1.55, 0.2, 0.15);
    let uneven = 1.0 + 0.25 * fractal(x * 19.0, y * 19.0 + look.grain, 2, finest);
    Gloss { strength: look.oil * places * uneven, rough: 0.54 - 0.12 * look.oil }
}

/// The skin at texture coordinates `(x, y)`.
pub(super) fn surface(x: f32, y: f32, look: &Look, posed: &Posed, finest: f32) -> Surface {
    let ax = x.abs();
    let mut label = class(x, y, look);
    if ax > 1.15 && y < 1.2 && label != label::CLOTHES {
        label = label::SKIN;
    }
    let (slope, dark) = folds::slope(x, y, look, posed, finest);
    let c = tint(complexion(x, y, look, finest), [1.0 - 0.45 * dark, 1.0 - 0.62 * dark, 1.0 - 0.62 * dark]);
    let nostril = bell(ax - 0.105, y + 0.712 + 0.25 * (ax - 0.105), 0.0, 0.0, 0.060, 0.026);
    let colour = mix3(c, tint(look.skin, [0.10, 0.045, 0.04]), smooth(0.30, 0.80, nostril));
    let mut s = Surface { colour, label, gloss: oil(x, y, look, finest), slope, glow: 0.0, scatter: true };
    paint_lips(&mut s, x, y, look);
    s.colour = eye_marks(s.colour, x, y, look);
    paint_whiskers(&mut s, x, y, look, finest);
    paint_scalp(&mut s, x, y, look, finest);
    s
}
