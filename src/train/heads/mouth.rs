//! Teeth, tongue and the dark of the mouth: colours.
//!
//! Input: material and texture coordinates of [`super::parts`]. Output: [`Surface`].

use super::label;
use super::light::Gloss;
use super::look::Look;
use super::math::{mix, mix3, mul, noise, smooth};
use super::mesh::Material;
use super::surface::{Place, Surface};

/// Edges of the teeth from the middle outwards, as shares of the half arch: incisors, canine, premolars.
const UPPER: [f32; 7] = [0.0, 0.25, 0.44, 0.62, 0.78, 0.92, 1.05];
const LOWER: [f32; 7] = [0.0, 0.17, 0.36, 0.56, 0.74, 0.90, 1.05];

fn teeth(u: f32, v: f32, look: &Look) -> Surface {
    let lower = u > 2.0;
    let x = if lower { u - 4.0 } else { u };
    let edges = if lower { LOWER } else { UPPER };
    let ax = x.abs().min(1.0);
    let i = edges.iter().rposition(|e| *e <= ax).unwrap_or(0).min(5);
    let t = (ax - edges[i]) / (edges[i + 1] - edges[i]);
    let side = (t - 0.5).abs() * 2.0;
    let gap = smooth(0.86, 1.0, side);
    // Teeth end at different heights, rounded at their corners.
    let each = noise(i as f32 * 3.7 + look.grain, if i == 0 { 0.0 } else { x.signum() * 2.5 });
    let bite = 0.94 + 0.05 * each - 0.10 * side * side * side - if i == 1 { 0.05 } else { 0.0 };
    let gum_edge = 0.30 + 0.10 * side * side + 0.03 * each;
    let arch = mix(1.0, 0.30, smooth(0.25, 1.0, ax));
    let enamel = mix3([0.66, 0.625, 0.55], [0.58, 0.48, 0.32], look.stained);
    let tone = (1.0 + 0.07 * each - 0.10 * smooth(0.6, 0.2, v)) * (1.0 - 0.40 * gap) * arch * if lower { 0.78 } else { 1.0 };
    let translucent = smooth(bite - 0.16, bite, v);
    let c = mix3(mul(enamel, tone), mul([0.42, 0.42, 0.42], tone), 0.35 * translucent);
    let gum = smooth(gum_edge + 0.04, gum_edge - 0.04, v);
    let c = mix3(c, mul([0.36, 0.13, 0.12], 0.8 + 0.2 * arch), gum);
    let c = if v > bite { mul(c, 0.12) } else { c };
    Surface {
        colour: c,
        label: label::INNER_MOUTH,
        gloss: Gloss { strength: 0.75 * arch, rough: 0.22 },
        slope: [0.10 * (t - 0.5) * x.signum(), 0.0],
        ..Surface::default()
    }
}

/// The inside of the mouth at a place.
pub(super) fn surface(p: &Place, look: &Look) -> Surface {
    let [u, v] = p.uv;
    match p.mat {
        Material::Teeth => teeth(u, v, look),
        Material::Tongue => {
            let groove = 1.0 - 0.30 * smooth(0.16, 0.0, u.abs()) * smooth(1.0, 0.6, v);
            let bumps = if p.finest > 30.0 { noise(u * 22.0, v * 34.0) } else { 0.0 };
            let coat = smooth(0.75, 0.35, v) * 0.4;
            let c = mix3([0.42, 0.135, 0.13], [0.44, 0.26, 0.23], coat);
            Surface {
                colour: mul(c, groove * (1.0 + 0.14 * bumps) * mix(0.25, 1.0, smooth(0.0, 0.6, v))),
                label: label::INNER_MOUTH,
                gloss: Gloss { strength: 0.6, rough: 0.28 },
                slope: [0.03 * bumps, 0.03 * noise(u * 22.0 + 5.0, v * 34.0)],
                ..Surface::default()
            }
        }
        _ => {
            // The palate and the inside of the cheeks: dark red near the lips, black towards the throat.
            let near = smooth(0.15, 0.0, v.min(1.0 - v)).max(smooth(0.55, 1.0, u.abs()));
            Surface {
                colour: mix3([0.012, 0.003, 0.003], [0.12, 0.03, 0.028], near),
                label: label::INNER_MOUTH,
                ..Surface::default()
            }
        }
    }
}
