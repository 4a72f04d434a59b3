//! Colour of every pixel: materials, light and background.
//!
//! Input: visible triangles. Output: RGB bytes and labels. Light is computed linearly; the picture is its square root.

use super::framing::Screen;
use super::hair::Comb;
use super::label;
use super::look::{Look, Style};
use super::math::{add, dot, exp, mix, mix3, mul, noise, normalize, smooth, tint, V3};
use super::mesh::Material;
use super::pose::Posed;
use super::raster::{Setup, SAMPLES};
use super::skin::{skin, Surface};

/// Interpolated vertex values at one place of the picture.
struct Point {
    mat: Material,
    uv: [f32; 2],
    normal: V3,
    open: f32,
    /// Share of the main light that is not in shadow.
    sun: f32,
}

/// Everything the materials look at.
struct Scene<'a> {
    posed: &'a Posed,
    look: &'a Look,
    screen: &'a Screen,
    /// Per vertex: see [`super::shadow`].
    sun: Vec<f32>,
    /// Half-way between light and viewer: where highlights sit.
    half: V3,
}

fn hair_surface(p: &Point, look: &Look, comb: &Comb) -> Surface {
    let [theta, along] = p.uv;
    let across = match comb.style {
        Style::Curly => noise(theta * 9.0, along * 4.5) * 0.9 + 0.4 * noise(theta * 21.0, along * 9.0),
        Style::Parted | Style::Bob if theta.abs() < 1.1 && along < 4.5 => {
            0.5 * noise(along * 11.0 + theta, theta * 2.0) + 0.35 * noise(along * 23.0 + theta, theta * 3.0)
        }
        _ => {
            let w = comb.wave * 0.10 * super::math::sin(along * 1.6 + theta);
            0.55 * noise((theta + w) * 17.0, along * 0.4) + 0.5 * noise((theta + w) * 43.0, along * 0.7)
        }
    };
    let part = if matches!(comb.style, Style::Parted | Style::Long | Style::Bob) && along < 3.3 && along > 0.8 {
        let at = if comb.style == Style::Parted { comb.part } else { comb.part * 0.5 };
        smooth(0.05, 0.0, (theta - at).abs())
    } else {
        0.0
    };
    let tone = (0.78 + 0.42 * across).max(0.15);
    let colour = mix3(mul(look.hair, tone), mul(look.skin, 0.55), part * 0.6);
    Surface { colour, label: label::HAIR, gloss: 0.22 + 0.25 * across.max(0.0) }
}

fn eye_surface(p: &Point, s: &Scene) -> (Surface, f32) {
    let k = usize::from(p.uv[0] > 2.0);
    let (x, y) = (p.uv[0] - 4.0 * k as f32, p.uv[1]);
    let eye = &s.posed.eyes[k];
    let z = (1.0 - x * x - y * y).max(0.0).sqrt();
    let c = dot([x, y, z], eye.gaze);
    let r = (1.0 - c * c).max(0.0).sqrt();
    let shade = mix(0.50, 1.0, smooth(eye.edge + 0.10, eye.edge - 0.32, y)) * mix(0.72, 1.0, smooth(1.0, 0.7, x.abs()));
    let white = [0.66, 0.61, 0.58];
    if r >= 0.455 || c < 0.0 {
        let veins = 1.0 - 0.12 * smooth(0.55, 0.9, x.abs());
        return (
            Surface { colour: mul([white[0], white[1] * veins, white[2] * veins], shade), label: label::LIDS, gloss: 0.3 },
            0.0,
        );
    }
    let fibre = 0.85 + 0.45 * noise(x * 26.0, y * 26.0) + 0.7 * smooth(0.30, 0.20, r);
    let mut colour = mul(s.look.iris, fibre);
    colour = mix3(colour, mul(s.look.iris, 0.25), smooth(0.35, 0.43, r));
    colour = mix3([0.006, 0.005, 0.005], colour, smooth(0.165, 0.205, r));
    colour = mix3(colour, white, smooth(0.425, 0.455, r));
    // The catchlight sits where the cornea mirrors the light, on the upper half.
    let h = s.half;
    let (dx, dy) = (x - eye.gaze[0] * 0.75 - 0.55 * h[0], y - eye.gaze[1] * 0.75 - 0.42 * h[1].max(0.1));
    let spark = smooth(0.105, 0.05, (dx * dx + dy * dy).sqrt());
    (Surface { colour: mul(colour, shade), label: label::IRIS, gloss: 0.3 }, 0.85 * spark)
}

fn cloth_surface(p: &Point, look: &Look) -> Surface {
    let [theta, k] = p.uv;
    let a = theta.abs();
    let neckline = match look.collar {
        c if c < -0.3 => 0.75,
        c if c < 0.8 => 0.55 + 1.5 * (1.0 - a / 0.55).max(0.0),
        _ => 0.1 + 1.9 * (1.0 - a / 0.30).max(0.0),
    };
    if k < neckline {
        return Surface { colour: mul(look.skin, 0.92), label: label::CLOTHES, gloss: 0.1 };
    }
    let fold = 1.0 + 0.16 * noise(theta * 5.0, k * 1.6) + 0.05 * noise(theta * 70.0, k * 40.0);
    let mut c = mul(look.cloth, fold);
    if look.collar >= 0.8 && k < 1.55 - 0.5 * a {
        c = mix3(c, [0.72, 0.72, 0.74], 0.55);
        c = mul(c, mix(0.6, 1.0, smooth(0.0, 0.12, 1.55 - 0.5 * a - k)));
    } else if look.collar < 0.8 {
        c = mul(c, mix(0.62, 1.0, smooth(0.02, 0.16, (k - neckline - 0.14).abs())));
    }
    if look.pattern > 1.0 {
        let stripe = k * 5.0 * (look.pattern - 0.4);
        c = mul(c, mix(0.6, 1.0, smooth(0.2, 0.3, (stripe - stripe.floor() - 0.5).abs())));
    }
    Surface { colour: c, label: label::CLOTHES, gloss: 0.03 }
}

fn mouth_surface(p: &Point) -> Surface {
    let [u, v] = p.uv;
    let inner = label::INNER_MOUTH;
    match p.mat {
        Material::Teeth => {
            let lower = u > 2.0;
            let x = if lower { u - 4.0 } else { u };
            let tooth = x * if lower { 6.0 } else { 4.5 } + if lower { 0.5 } else { 0.0 };
            let gap = smooth(0.42, 0.5, (tooth - tooth.floor() - 0.5).abs());
            let depth = mix(1.0, 0.22, x * x);
            let enamel = mul([0.72, 0.68, 0.58], depth * (1.0 - 0.45 * gap) * if lower { 0.72 } else { 1.0 });
            let gum = smooth(0.40, 0.28, v + 0.06 * gap);
            Surface { colour: mix3(enamel, [0.30, 0.09, 0.09], gum), label: inner, gloss: 0.25 }
        }
        Material::Tongue => {
            let groove = 1.0 - 0.3 * smooth(0.12, 0.0, u.abs());
            let bumps = 1.0 + 0.12 * noise(u * 14.0, v * 22.0);
            Surface {
                colour: mul([0.46, 0.15, 0.15], groove * bumps * mix(0.35, 1.0, smooth(0.0, 0.6, v))),
                label: inner,
                gloss: 0.25,
            }
        }
        _ => Surface { colour: [0.035, 0.010, 0.010], label: inner, gloss: 0.0 },
    }
}

impl Scene<'_> {
    fn surface(&self, p: &Point) -> (Surface, f32) {
        let look = self.look;
        let plain = match p.mat {
            Material::Skin => skin(p.uv[0], p.uv[1], look, self.posed),
            Material::LidRim => Surface { colour: tint(look.skin, [0.62, 0.40, 0.38]), label: label::LIDS, gloss: 0.3 },
            Material::LipRim => Surface { colour: mul(look.lip, 0.62), label: label::LIPS, gloss: 0.2 },
            Material::Eye => return eye_surface(p, self),
            Material::Cavity | Material::Teeth | Material::Tongue => mouth_surface(p),
            Material::Ear => Surface { colour: tint(look.skin, [0.96, 0.80, 0.78]), label: label::SKIN, gloss: 0.12 },
            Material::Hair | Material::Shell => hair_surface(p, look, &self.posed.comb),
            Material::Cloth => cloth_surface(p, look),
            Material::Glasses => Surface { colour: look.glasses_colour, label: label::GLASSES, gloss: 0.9 },
        };
        (plain, 0.0)
    }

    /// Light that leaves a surface towards the viewer.
    fn lit(&self, p: &Point, s: &Surface, spark: f32) -> V3 {
        let look = self.look;
        let mut n = p.normal;
        if n[2] < 0.0 && !matches!(p.mat, Material::Skin) {
            n = mul(n, -1.0);
        }
        let d = dot(n, look.light);
        // Blood scatters red light past the terminator.
        let wrap: V3 = match p.mat {
            Material::Skin | Material::Ear | Material::LidRim | Material::LipRim => [0.42, 0.24, 0.18],
            Material::Hair | Material::Shell => [0.35; 3],
            _ => [0.2; 3],
        };
        // Light that comes in between the lips is scattered about: tongue and teeth are never black.
        let sun = if matches!(p.mat, Material::Tongue | Material::Teeth) { 0.55 + 0.45 * p.sun } else { p.sun };
        let shadow = mix(0.35, 1.0, p.open) * mix(0.22, 1.0, sun);
        let direct: V3 = std::array::from_fn(|k| {
            let v = ((d + wrap[k]) / (1.0 + wrap[k])).max(0.0);
            look.key[k] * v * shadow
        });
        let sky = p.open * (0.78 + 0.30 * n[1] + 0.12 * n[2]);
        let edge = 1.0 - n[2].clamp(0.0, 1.0);
        let rim = look.rim * 0.30 * edge * edge * edge * p.open;
        let light = add(direct, mul(look.ambient, sky + rim));
        let mut c = tint(s.colour, light);
        if s.gloss > 0.0 {
            let g = dot(n, self.half).max(0.0);
            let g4 = g * g * g * g;
            let g16 = g4 * g4 * g4 * g4;
            let shine = s.gloss * shadow * (0.30 * g16 + 0.25 * g16 * g16);
            let through = if matches!(p.mat, Material::Hair | Material::Shell) { 0.35 } else { 1.0 };
            c = add(c, mul(mix3(s.colour, look.key, through * 0.6), shine));
        }
        add(c, [spark; 3])
    }

    fn background(&self, x: f32, y: f32) -> V3 {
        let look = self.look;
        let t = 0.5 + (x - 0.5) * look.back_dir[0] + (y - 0.5) * look.back_dir[1];
        let mut c = mix3(look.back[0], look.back[1], smooth(0.0, 1.0, t));
        if look.blobs > 0.0 {
            for i in 0..5 {
                let f = i as f32;
                let (bx, by) =
                    (0.5 + 0.6 * noise(f * 3.3 + look.blob_place, 0.5), 0.4 + 0.6 * noise(f * 2.7 - look.blob_place, 7.5));
                let r = 0.10 + 0.05 * f;
                let q = ((x - bx) * (x - bx) + (y - by) * (y - by)) / (r * r);
                if q < 6.0 {
                    let gain = if i % 2 == 0 { 0.55 } else { -0.35 };
                    c = mul(c, 1.0 + look.blobs * gain * exp(-q));
                }
            }
        }
        c
    }

    /// Values at pixel position `(x, y)` of triangle `n`.
    fn point(&self, n: usize, x: f32, y: f32) -> Option<Point> {
        let mesh = &self.posed.mesh;
        let t = &mesh.tris[n];
        let [b, c] = Setup::new(self.screen, t, 1.0)?.weights(x, y);
        // Pixels at the rim are shaded at the edge of the triangle, not beyond it.
        let (a, b, c) = ((1.0 - b - c).clamp(0.0, 1.0), b.clamp(0.0, 1.0), c.clamp(0.0, 1.0));
        let whole = 1.0 / (a + b + c).max(1e-6);
        let (a, b, c) = (a * whole, b * whole, c * whole);
        let [i, j, k] = t.map(|v| v as usize);
        let blend = |f: &dyn Fn(usize) -> f32| a * f(i) + b * f(j) + c * f(k);
        Some(Point {
            mat: mesh.mats[n],
            uv: [blend(&|v| mesh.uv[v][0]), blend(&|v| mesh.uv[v][1])],
            normal: normalize(add(
                add(mul(self.screen.normals[i], a), mul(self.screen.normals[j], b)),
                mul(self.screen.normals[k], c),
            )),
            open: blend(&|v| mesh.open[v]),
            sun: blend(&|v| self.sun[v]),
        })
    }

    /// Colour and label of triangle `n` at a pixel position.
    fn seen(&self, n: usize, x: f32, y: f32) -> (V3, u8) {
        match self.point(n, x, y) {
            Some(p) => {
                let (s, spark) = self.surface(&p);
                (self.lit(&p, &s, spark), s.label)
            }
            None => ([0.0; 3], label::SKIN),
        }
    }

    /// True if two triangles may share one shaded sample: same material, nearly the same depth.
    fn alike(&self, a: usize, b: usize) -> bool {
        let mesh = &self.posed.mesh;
        let z = |n: usize| self.screen.points[mesh.tris[n][0] as usize][2];
        mesh.mats[a] == mesh.mats[b] && (z(a) - z(b)).abs() < 0.12
    }
}

/// Linear light to a byte: soft shoulder, then the square root.
fn byte(v: f32) -> u8 {
    let v = v.max(0.0);
    let v = if v > 0.6 { 0.6 + 0.4 * (v - 0.6) / (v - 0.6 + 0.4) } else { v };
    (v.sqrt() * 255.0 + 0.5) as u8
}

/// Shades all pixels; gives RGB bytes and labels.
pub(super) fn shade(
    posed: &Posed,
    look: &Look,
    screen: &Screen,
    seen: &[u32],
    width: usize,
    height: usize,
) -> (Vec<u8>, Vec<u8>) {
    let sun = super::shadow::lit_share(&screen.placed, &screen.normals, look.light);
    let scene = Scene { posed, look, screen, sun, half: normalize(add(look.light, [0.0, 0.0, 1.0])) };
    let mut data = Vec::with_capacity(3 * width * height);
    let mut labels = Vec::with_capacity(width * height);
    let side = width.min(height) as f32;
    for y in 0..height {
        for x in 0..width {
            let at = |k: usize| seen[(y * SAMPLES + k / 2) * width * SAMPLES + x * SAMPLES + k % 2];
            let ids = [at(0), at(1), at(2), at(3)];
            let (mut colour, mut best, mut done) = ([0.0f32; 3], (0usize, label::BACKGROUND), [false; 4]);
            for k in 0..4 {
                if done[k] {
                    continue;
                }
                let (mut n, mut sx, mut sy) = (0usize, 0.0, 0.0);
                for m in k..4 {
                    let same =
                        ids[m] == ids[k] || (ids[m] > 0 && ids[k] > 0 && scene.alike(ids[k] as usize - 1, ids[m] as usize - 1));
                    if !done[m] && same {
                        done[m] = true;
                        n += 1;
                        sx += (m % 2) as f32;
                        sy += (m / 2) as f32;
                    }
                }
                let (px, py) = (x as f32 + 0.25 + 0.5 * sx / n as f32, y as f32 + 0.25 + 0.5 * sy / n as f32);
                let (c, l) = if ids[k] == 0 {
                    (scene.background(px / side, py / side), label::BACKGROUND)
                } else {
                    scene.seen(ids[k] as usize - 1, px, py)
                };
                colour = add(colour, mul(c, n as f32 * 0.25));
                if n > best.0 {
                    best = (n, l);
                }
            }
            data.extend(colour.map(byte));
            labels.push(best.1);
        }
    }
    (data, labels)
}
