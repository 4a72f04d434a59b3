//! Clothes and bare neck: geometry of shoulders and collars, and their colours.
//!
//! Input: identity and look. Output: triangles; [`Surface`] at texture coordinates (angle around the neck, way down in body
//! rings; for collars way up, 0 to 1).

use super::label;
use super::light::Gloss;
use super::look::{slot, Look};
use super::math::{bell, cos, fractal, mix, mix3, mul, noise, sin, smooth, V3};
use super::mesh::{Material, Mesh};
use super::surface::{Place, Surface};
use super::template::{ring, ring_point};
use super::IDENTITY;

/// What is worn.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Garment {
    Crew,
    VNeck,
    Shirt,
    Hood,
    HighNeck,
    Jacket,
    Scarf,
    Bare,
}

fn garment(look: &Look) -> Garment {
    const LIST: [Garment; 12] = [
        Garment::Bare,
        Garment::VNeck,
        Garment::Crew,
        Garment::Crew,
        Garment::Crew,
        Garment::Hood,
        Garment::VNeck,
        Garment::Shirt,
        Garment::Shirt,
        Garment::Jacket,
        Garment::HighNeck,
        Garment::Scarf,
    ];
    LIST[((look.collar * LIST.len() as f32) as usize).min(LIST.len() - 1)]
}

const BODY: [[f32; 7]; 8] = [
    [-1.96, -0.55, 0.79, -1.78, -1.26, -1.95, -2.06],
    [-2.12, -0.48, 0.92, -1.92, -1.26, -2.12, -2.12],
    [-2.34, -0.38, 1.24, -2.08, -1.28, -2.25, -2.28],
    [-2.55, -0.25, 1.68, -2.26, -1.30, -2.35, -2.38],
    [-2.85, -0.12, 2.15, -2.50, -1.30, -2.50, -2.44],
    [-3.30, 0.00, 2.48, -2.90, -1.30, -2.80, -2.48],
    [-4.30, 0.15, 2.70, -4.10, -1.20, -4.00, -2.40],
    [-7.50, 0.25, 2.75, -7.50, -1.10, -7.50, -2.40],
];

/// Adds shoulders, chest and what is around the neck.
pub(super) fn build(mesh: &mut Mesh, id: &[f32; IDENTITY], look: &Look) {
    let broad = 1.0 + 0.045 * id[28] + 0.02 * id[2] - 0.06 * super::look::female(id);
    let worn = garment(look);
    let drop = 0.05 + 0.04 * id[slot::SHAPE + 15];
    mesh.grid(22, 61, Material::Cloth, |r, c| {
        let k = r as f32 / 3.0;
        let theta = (c as f32 / 30.0 - 1.0) * std::f32::consts::PI;
        let mut p = ring_point(&ring(&BODY, k), theta);
        p[0] *= mix(1.0, broad, smooth(0.0, 2.0, k));
        p[1] -= drop;
        // Cloth stands off the skin below its neckline.
        let off = 0.05 * smooth(0.1, 0.4, k - neckline(worn, theta.abs()));
        p[0] += off * sin(theta);
        p[2] += off * cos(theta);
        p[1] += 0.5 * off;
        let fold = 0.05 * fractal(theta * 3.0 + look.grain, k * 0.9, 2, 99.0) * smooth(1.0, 3.0, k);
        p[2] += fold;
        (p, [theta, k], mix(0.6, 1.0, smooth(0.0, 2.0, k)), 0.0)
    });
    collar(mesh, worn, look);
}

/// Way down in body rings at which cloth begins.
fn neckline(worn: Garment, a: f32) -> f32 {
    match worn {
        Garment::Crew | Garment::Hood => 0.85 + 0.12 * (1.0 - a / 0.7).max(0.0),
        Garment::VNeck => 0.75 + 2.2 * (1.0 - a / 0.62).max(0.0),
        Garment::Shirt => 0.20 + 1.9 * (1.0 - a / 0.26).max(0.0),
        Garment::Jacket => 0.25 + 0.5 * (1.0 - a / 0.20).max(0.0),
        Garment::HighNeck | Garment::Scarf => 0.0,
        Garment::Bare => 2.9,
    }
}

/// A point of a collar's profile at `v` (0 at the base, 1 at its end): (distance from the neck, height over the base).
fn profile(worn: Garment, v: f32) -> (f32, f32) {
    let bow = sin(v * std::f32::consts::PI);
    match worn {
        // Stands up and folds over.
        Garment::Shirt | Garment::Jacket => {
            let (up, over) = (smooth(0.0, 0.45, v), smooth(0.45, 1.0, v));
            (0.07 + 0.02 * up + 0.17 * over, -0.04 + 0.24 * up - 0.27 * over)
        }
        Garment::HighNeck => (0.05 + 0.035 * bow, -0.08 + 0.36 * v),
        Garment::Hood => (0.07 + 0.15 * bow + 0.10 * v, -0.12 + 0.30 * v),
        _ => (0.03 + 0.20 * bow, -0.24 + 0.50 * v),
    }
}

fn collar(mesh: &mut Mesh, worn: Garment, look: &Look) {
    let open = match worn {
        Garment::Shirt => 0.22,
        Garment::Jacket => 0.16,
        Garment::Hood | Garment::HighNeck | Garment::Scarf => 0.0,
        _ => return,
    };
    let n = 49;
    mesh.grid(10, n, Material::Collar, |r, c| {
        let v = r as f32 / 9.0;
        let t = c as f32 / (n - 1) as f32 * 2.0 - 1.0;
        let theta = t * (std::f32::consts::PI - open) + std::f32::consts::PI;
        let (s, co) = (sin(theta), cos(theta));
        let (out, up) = profile(worn, v);
        let soft = if matches!(worn, Garment::Hood | Garment::Scarf) { 0.07 } else { 0.008 };
        let lump = soft * fractal(theta * 2.2 + look.grain, v * 3.0, 2, 99.0);
        let base = -1.97 - 0.15 * smooth(-0.1, 1.0, co) + 0.09 * (1.0 - co.abs());
        // Points of a shirt's collar hang down in front.
        let point = if open > 0.0 { -0.15 * smooth(0.82, 1.0, t.abs()) * smooth(0.5, 1.0, v) } else { 0.0 };
        let off = out + lump;
        let p = [(0.76 + off) * s, base + up + point, -1.30 + (0.74 + off) * co];
        (p, [theta, v], mix(0.65, 1.0, v), 0.0)
    });
}

/// Weave, knit or jersey: tone and slope.
fn weave(u: f32, v: f32, look: &Look, finest: f32) -> f32 {
    let fold = 0.13 * fractal(u * 3.0 + look.grain, v * 1.3, 3, finest);
    let knit = if look.pattern < -0.9 && finest > 26.0 {
        0.10 * sin(u * 105.0) * sin(v * 42.0 + 1.5 * sin(u * 52.0))
    } else if finest > 40.0 {
        0.05 * noise(u * 85.0, v * 50.0)
    } else {
        0.0
    };
    1.0 + fold + knit
}

fn printed(c: V3, u: f32, v: f32, look: &Look) -> V3 {
    let stripe = |x: f32| smooth(0.20, 0.28, (x - x.floor() - 0.5).abs());
    if look.pattern > 1.6 {
        mix3(c, look.cloth_second, 0.5 * stripe(u * 6.0) + 0.5 * stripe(v * 3.0))
    } else if look.pattern > 1.0 {
        mix3(c, look.cloth_second, 0.8 * stripe(v * 4.0))
    } else {
        c
    }
}

/// Bare skin of neck and chest at camera-independent coordinates.
fn bare(u: f32, k: f32, look: &Look, finest: f32) -> Surface {
    let mottle = 1.0 + 0.05 * fractal(u * 5.0, k * 4.0 + look.grain, 3, finest);
    let collarbone = bell(u.abs(), k, 0.55, 1.95 - 0.25 * u.abs(), 0.5, 0.10);
    Surface {
        colour: mul(look.skin, 0.97 * mottle),
        label: label::CLOTHES,
        gloss: Gloss { strength: 0.35 * look.oil, rough: 0.45 },
        slope: [0.0, -0.25 * collarbone * (k - 1.95 + 0.25 * u.abs()) / 0.1],
        scatter: true,
        ..Surface::default()
    }
}

/// Cloth or skin at a place of the body.
pub(super) fn surface(p: &Place, look: &Look) -> Surface {
    let [u, v] = p.uv;
    let worn = garment(look);
    if p.mat == Material::Collar {
        let base = match worn {
            Garment::Jacket => [0.70, 0.70, 0.72],
            Garment::Scarf => look.cloth_second,
            _ => look.cloth,
        };
        let rib = if worn == Garment::HighNeck { 1.0 + 0.12 * sin(u * 60.0) } else { 1.0 };
        let seam = mix(0.78, 1.0, smooth(0.0, 0.06, (v - 0.12).abs()));
        let c = printed(mul(base, weave(u, v * 2.0, look, p.finest) * rib * seam), u, v * 0.4, look);
        return Surface { colour: c, label: label::CLOTHES, gloss: Gloss { strength: 0.08, rough: 0.9 }, ..Surface::default() };
    }
    let a = u.abs();
    let line = neckline(worn, a);
    if p.mat == Material::Neck || v < line {
        return bare(u, v, look, p.finest);
    }
    let mut c = printed(look.cloth, u * 2.0, v, look);
    let lapel = 0.9 + 2.6 * a;
    if worn == Garment::Jacket {
        let shirt = a < 0.30 * (1.0 - v / 4.4).max(0.0);
        c = if shirt { [0.70, 0.70, 0.72] } else { c };
        if !shirt && v < lapel + 1.2 {
            c = mul(c, mix(0.55, 1.0, smooth(0.0, 0.10, (v - lapel).abs())));
        }
    }
    let mut tone = weave(u * 2.0, v, look, p.finest);
    if matches!(worn, Garment::Crew | Garment::VNeck | Garment::Hood) {
        // The hem is sewn double.
        tone *= mix(0.66, 1.0, smooth(0.012, 0.05, (v - line - 0.17).abs())) * mix(0.80, 1.0, smooth(0.0, 0.06, v - line));
    }
    if matches!(worn, Garment::Shirt | Garment::Jacket) && a < 0.10 {
        tone *= mix(0.72, 1.0, smooth(0.0, 0.012, (u - 0.045).abs()));
    }
    let h = |u: f32, v: f32| 0.05 * fractal(u * 4.0 + look.grain, v * 1.5, 3, p.finest);
    let e = 0.02;
    let slope = [(h(u + e, v) - h(u, v)) / e, (h(u, v + e) - h(u, v)) / e];
    Surface {
        colour: mul(c, tone),
        label: label::CLOTHES,
        gloss: Gloss { strength: 0.10, rough: 0.85 },
        slope,
        ..Surface::default()
    }
}
