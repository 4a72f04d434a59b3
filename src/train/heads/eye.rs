//! The visible part of the eyeball: white, veins, iris, pupil, what the cornea mirrors, the corner near the nose.
//!
//! Input: direction of a place from the eyeball's centre, gaze, lids, lights. Output: [`Surface`].

use super::label;
use super::light::Gloss;
use super::look::Look;
use super::math::{bell, dot, mix, mix3, mul, noise, smooth, tint, V3};
use super::pose::Eye;
use super::surface::Surface;

/// Sine of the angle under which iris and pupil appear from the eyeball's centre.
const IRIS: f32 = 0.425;

/// Colour of the iris at `(a, b)`: place in the disc, 1 at its edge.
fn iris(a: f32, b: f32, look: &Look) -> V3 {
    let r = (a * a + b * b).sqrt();
    let (ca, sa) = (a / r.max(1e-4), b / r.max(1e-4));
    // Fibres run from the pupil outwards: the noise changes quickly around the disc and slowly along the radius.
    let fibres = noise(ca * 9.0 + look.grain, sa * 9.0 + 1.7 * r) * 0.6 + noise(ca * 19.0, sa * 19.0 + 2.5 * r) * 0.4;
    let crypts = noise(ca * 5.0 + 31.0, sa * 5.0 + 4.0 * r);
    let mut c = mul(look.iris, 1.0 + 0.50 * fibres + 0.22 * crypts);
    // Around the pupil most eyes are warmer.
    let inner = smooth(0.68, 0.40, r + 0.08 * fibres);
    c = mix3(c, tint(mul(look.iris, 1.25), [1.35, 0.95, 0.55]), 0.55 * inner);
    // Light falls through the cornea onto the side away from the lamp; the upper half lies under the lid.
    c = mul(c, 1.05 - 0.40 * b);
    let ring = smooth(0.76, 0.98, r + 0.03 * fibres);
    c = mul(c, mix(1.0, 0.22, ring * look.limbal));
    mix3([0.004, 0.004, 0.005], c, smooth(look.pupil, look.pupil + 0.09, r))
}

/// What the cornea mirrors: a window or lamp towards the light and a weaker one.
fn mirrored(x: f32, y: f32, eye: &Eye, look: &Look, half: V3) -> f32 {
    let (cx, cy) = (eye.gaze[0] * 0.62 + 0.50 * half[0], eye.gaze[1] * 0.62 + 0.40 * half[1].max(0.12) + 0.03);
    let (dx, dy) = (x - cx, y - cy);
    let size = mix(0.050, 0.085, look.lights.soft);
    let window = smooth(size * 1.25, size * 0.75, dx.abs()) * smooth(size * 1.45, size * 0.95, dy.abs());
    let bulb = smooth(size * 1.2, size * 0.6, (dx * dx + dy * dy).sqrt());
    let spark = mix(bulb, window * (1.0 - 0.35 * bell(dx, 0.0, 0.0, 0.0, 0.012, 1.0)), look.lights.soft);
    let (ex, ey) = (x - eye.gaze[0] * 0.62 + 0.42 * half[0] + 0.10, y - eye.gaze[1] * 0.62 + 0.14);
    spark * 0.95 + 0.14 * smooth(0.10, 0.04, (ex * ex + 0.6 * ey * ey).sqrt())
}

/// The eye at direction `(x, y)`; `inward` is -1 where smaller x is nearer to the nose, else 1.
pub(super) fn surface(x: f32, y: f32, inward: f32, eye: &Eye, look: &Look) -> Surface {
    let z = (1.0 - x * x - y * y).max(0.0).sqrt();
    let g = eye.gaze;
    let c = dot([x, y, z], g);
    // Coordinates on the iris: right and up of the gaze.
    let right = super::math::normalize([g[2], 0.0, -g[0]]);
    let up = super::math::cross(g, right);
    let (a, b) = (dot([x, y, z], right), dot([x, y, z], up));
    let r = (a * a + b * b).sqrt();
    let upper = smooth(eye.edge + 0.10, eye.edge - 0.42, y);
    let lower = smooth(eye.floor - 0.04, eye.floor + 0.14, y);
    let aside = smooth(1.02, 0.45, x.abs());
    // The lids' shadow and their lashes darken the eye from above.
    let shade = mix(0.28, 1.0, upper) * mix(0.72, 1.0, lower) * mix(0.62, 1.0, aside);
    let veins = smooth(0.15, 0.02, noise(x * 13.0 + look.grain, y * 17.0).abs()) * smooth(0.35, 0.9, x.abs());
    let pink = (0.05 + 0.20 * smooth(0.35, 0.95, x.abs())) * (0.5 + 0.6 * look.veins) + 0.22 * veins * look.veins;
    let white = tint(mix3([0.53, 0.51, 0.49], [0.60, 0.52, 0.40], look.yellowed), [1.0, 1.0 - 0.5 * pink, 1.0 - 0.55 * pink]);
    let nose = x * inward;
    let corner = smooth(0.70, 0.86, nose);
    let flesh = tint(look.skin, [0.80, 0.46, 0.44]);
    let white = mix3(white, mix3(flesh, [0.45, 0.20, 0.18], 0.5), corner * 0.9);
    let inside = c > 0.0 && r < IRIS * 1.06;
    let edge = smooth(IRIS * 1.06, IRIS * 0.93, r);
    let colour = if inside { mix3(white, iris(a / IRIS, b / IRIS, look), edge) } else { white };
    let spark = if c > 0.0 { mirrored(x, y, eye, look, look.lights.half) * smooth(0.80, 0.50, r) } else { 0.0 };
    // The wet edge of the lower lid.
    let wet = 0.20 * bell(y, 0.0, eye.floor + 0.055, 0.0, 0.022, 1.0) * smooth(0.8, 0.4, x.abs());
    Surface {
        colour: mul(colour, shade),
        label: if inside && r < IRIS { label::IRIS } else { label::LIDS },
        gloss: Gloss { strength: 0.7 * shade, rough: 0.08 },
        glow: (spark * smooth(0.05, -0.12, y - eye.edge) + wet) * shade,
        ..Surface::default()
    }
}
