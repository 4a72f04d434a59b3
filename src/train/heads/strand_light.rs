//! Light on hair: bright across the direction of the strands, with two highlights.
//!
//! Input: one place of a strand. Output: linear colour. Source: Kajiya and Kay 1989 (diffuse and highlight of a thin cylinder);
//! Marschner et al. 2003 (a white highlight shifted to the root, a coloured one shifted to the tip).

use super::framing::Screen;
use super::light::Lights;
use super::math::{add, dice, dot, mix, mul, normalize, pow, sub, tint, V3};
use super::mesh::Strand;
use super::shadow::ShadowMap;

/// Sine of the angle between a strand of direction `t` and a vector `v`.
fn across(t: V3, v: V3) -> f32 {
    let c = dot(t, v);
    (1.0 - c * c).max(0.0).sqrt()
}

/// Colour of strand `s` where its segment begins at `vertex`.
pub(super) fn colour(s: &Strand, vertex: usize, screen: &Screen, lights: &Lights, shadow: &ShadowMap, open: f32) -> V3 {
    let p = screen.placed[vertex];
    let tangent = normalize(sub(screen.placed[vertex + 1], p));
    let way = (vertex - s.first as usize) as f32 / (s.count - 1) as f32;
    // The shape of the whole head of hair, seen from the strand.
    let out = normalize(sub(p, screen.skull));
    let n = normalize(sub(out, mul(tangent, 0.8 * dot(out, tangent))));
    let free = mix(s.open[0], s.open[1], way.sqrt());
    let sun = shadow.lit_once(p, n) * (0.35 + 0.65 * free);
    let light = lights.arriving(n, [0.45; 3], sun * (0.35 + 0.65 * across(tangent, lights.key)), free * open);
    let diffuse = mul(tint(s.colour, light), 0.85);
    // Each strand's scales differ a little: the highlight breaks up.
    let shift = 0.10 * (dice(s.first as i32, 77) - 0.5);
    let lobe = |offset: f32, power: f32| {
        let t = normalize(add(tangent, mul(n, offset + shift)));
        pow(across(t, lights.half), power)
    };
    let facing = dot(n, lights.key).max(0.0) * 0.7 + 0.3;
    let white = 0.030 * lobe(-0.10, 70.0) * sun * facing;
    let tinted = 0.75 * lobe(0.14, 16.0) * sun * facing;
    std::array::from_fn(|i| {
        diffuse[i] + lights.key_colour()[i] * (white + tinted * s.colour[i]) + lights.behind(n)[i] * (0.02 + 0.5 * s.colour[i])
    })
}
