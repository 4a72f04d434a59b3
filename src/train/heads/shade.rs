//! Colour and class of every pixel.
//!
//! Input: visible triangles and hairs. Output: linear light per pixel and labels. Order: what each sample sees becomes
//! fragments (colour, arriving light, mirrored light); light spreads under the skin; fragments are put together over the
//! background; glass goes before them.

use super::backdrop::Backdrop;
use super::folds::tilt;
use super::framing::Screen;
use super::label;
use super::light::Gloss;
use super::look::Look;
use super::math::{add, cross, dot, mix, mix3, mul, normalize, smooth, sub, tint, V3};
use super::mesh::Material;
use super::occlusion;
use super::pose::Posed;
use super::raster::{Hit, Seen, Setup, SAMPLES};
use super::scatter::{self, Cell};
use super::shadow::ShadowMap;
use super::strand_light;
use super::surface::{Place, Surface};
use super::{cloth, eye, glasses, mouth, skin};

/// A part of a pixel.
struct Fragment {
    pixel: usize,
    share: f32,
    colour: V3,
    light: V3,
    gleam: V3,
    scatter: bool,
}

/// A linear picture and its classes.
pub(super) struct Picture {
    pub light: Vec<V3>,
    pub labels: Vec<u8>,
}

/// Everything the materials look at.
struct Scene<'a> {
    posed: &'a Posed,
    look: &'a Look,
    screen: &'a Screen,
    shadow: ShadowMap,
    backdrop: Backdrop,
    /// Openness per pixel by the depths of the picture.
    open: Vec<f32>,
    width: usize,
}

impl Scene<'_> {
    fn surface(&self, p: &Place) -> Surface {
        let look = self.look;
        match p.mat {
            Material::Skin => skin::surface(p.uv[0], p.uv[1], look, self.posed, p.finest),
            Material::LidRim => Surface {
                colour: tint(look.skin, [0.74, 0.50, 0.47]),
                label: label::LIDS,
                gloss: Gloss { strength: 0.7, rough: 0.25 },
                scatter: true,
                ..Surface::default()
            },
            Material::LipRim => Surface {
                colour: mul(look.lip, mix(0.62, 0.85, p.open)),
                label: label::LIPS,
                gloss: Gloss { strength: 0.6, rough: 0.25 },
                scatter: true,
                ..Surface::default()
            },
            Material::Eye => {
                let k = usize::from(p.uv[0] > 2.0);
                eye::surface(p.uv[0] - 4.0 * k as f32, p.uv[1], [1.0, -1.0][k], &self.posed.eyes[k], look)
            }
            Material::Cavity | Material::Teeth | Material::Tongue => mouth::surface(p, look),
            Material::Ear => Surface {
                colour: tint(look.skin, mix3([0.90, 0.62, 0.60], [1.0, 0.86, 0.84], p.open)),
                gloss: Gloss { strength: 0.35 * look.oil, rough: 0.4 },
                scatter: true,
                ..Surface::default()
            },
            Material::Neck | Material::Cloth | Material::Collar => cloth::surface(p, look),
            Material::Glasses | Material::Lens => Surface {
                colour: look.glasses_colour,
                label: label::GLASSES,
                gloss: Gloss { strength: 0.7, rough: 0.2 },
                ..Surface::default()
            },
        }
    }

    /// How light reaches past the terminator, per colour: most of it is done by scattering in the picture.
    fn wrap(mat: Material) -> V3 {
        match mat {
            Material::Skin | Material::LidRim | Material::LipRim | Material::Neck => [0.24, 0.11, 0.08],
            Material::Ear => [0.62, 0.25, 0.18],
            Material::Eye | Material::Tongue | Material::Teeth => [0.5; 3],
            _ => [0.06; 3],
        }
    }

    /// Values at pixel position `(x, y)` of triangle `n` and the gradients of the texture coordinates.
    fn place(&self, n: usize, x: f32, y: f32) -> Option<(Place, V3, V3)> {
        let mesh = &self.posed.mesh;
        let t = &mesh.tris[n];
        let [b, c] = Setup::new(self.screen, t, 1.0)?.weights(x, y);
        // Pixels at the rim are shaded at the edge of the triangle, not beyond it.
        let (a, b, c) = ((1.0 - b - c).clamp(0.0, 1.0), b.clamp(0.0, 1.0), c.clamp(0.0, 1.0));
        let whole = 1.0 / (a + b + c).max(1e-6);
        let (a, b, c) = (a * whole, b * whole, c * whole);
        let [i, j, k] = t.map(|v| v as usize);
        let blend = |f: &dyn Fn(usize) -> f32| a * f(i) + b * f(j) + c * f(k);
        let blend3 = |v: &[V3]| add(add(mul(v[i], a), mul(v[j], b)), mul(v[k], c));
        let normal = normalize(blend3(&self.screen.normals));
        let (p, uv) = (&self.screen.placed, &mesh.uv);
        let (e1, e2) = (sub(p[j], p[i]), sub(p[k], p[i]));
        let face = cross(e1, e2);
        let inv = 1.0 / dot(face, face).max(1e-12);
        let (g1, g2) = (cross(e2, face), cross(face, e1));
        let gradient = |m: usize| {
            let (d1, d2) = (uv[j][m] - uv[i][m], uv[k][m] - uv[i][m]);
            mul(add(mul(g1, d1), mul(g2, d2)), inv)
        };
        let place = Place {
            mat: mesh.mats[n],
            uv: [blend(&|v| uv[v][0]), blend(&|v| uv[v][1])],
            at: blend3(p),
            normal,
            open: blend(&|v| mesh.open[v]),
            finest: self.screen.unit * 0.75,
        };
        Some((place, gradient(0), gradient(1)))
    }

    /// The part of a pixel that shows triangle `n` around `(x, y)`.
    fn fragment(&self, n: usize, x: f32, y: f32, pixel: usize, share: f32) -> (Fragment, u8) {
        let empty = Fragment { pixel, share, colour: [0.0; 3], light: [0.0; 3], gleam: [0.0; 3], scatter: false };
        let Some((mut p, du, dv)) = self.place(n, x, y) else { return (empty, label::SKIN) };
        if p.normal[2] < 0.0 && p.mat != Material::Skin {
            p.normal = mul(p.normal, -1.0);
        }
        let s = self.surface(&p);
        let bumpy = if s.slope == [0.0; 2] { p.normal } else { tilt(p.normal, s.slope, du, dv) };
        let lights = &self.look.lights;
        let mut sun = self.shadow.lit(p.at, p.normal);
        // Light that comes in between the lips is scattered about: tongue and teeth are never black.
        if matches!(p.mat, Material::Tongue | Material::Teeth) {
            sun = 0.6 + 0.4 * sun;
        }
        // The same for what the lips hide from the surroundings.
        let inside = matches!(p.mat, Material::Tongue | Material::Teeth | Material::Eye);
        let open = p.open * if inside { self.open[pixel].sqrt() } else { self.open[pixel] };
        let wrap = Self::wrap(p.mat);
        let mut light = lights.arriving(bumpy, wrap, sun * mix(0.55, 1.0, p.open), open);
        // Light that has been reflected by skin is redder: hollows of the face are warm, not grey.
        if s.scatter {
            let warm = 1.0 - open;
            light = tint(light, [1.0 + 0.20 * warm, 1.0 + 0.02 * warm, 1.0 - 0.05 * warm]);
        }
        let gleam = if s.gloss.strength > 0.0 { lights.gleam(bumpy, s.gloss, sun, open * open) } else { [0.0; 3] };
        let gleam = add(gleam, [s.glow; 3]);
        (Fragment { pixel, share, colour: s.colour, light, gleam, scatter: s.scatter }, s.label)
    }

    /// True if two triangles may share one shaded sample: same material, nearly the same depth.
    fn alike(&self, a: Hit, b: Hit) -> bool {
        match (a, b) {
            (Hit::Triangle(a), Hit::Triangle(b)) => {
                let mesh = &self.posed.mesh;
                let z = |n: usize| self.screen.points[mesh.tris[n][0] as usize][2];
                mesh.mats[a] == mesh.mats[b] && (z(a) - z(b)).abs() < 0.10
            }
            (Hit::Strand(a, _), Hit::Strand(b, _)) => a == b,
            (Hit::Nothing, Hit::Nothing) => true,
            _ => false,
        }
    }

    /// Adds the fragments of one pixel; gives its class.
    fn pixel(&self, x: usize, y: usize, seen: &Seen, out: &mut Vec<Fragment>) -> u8 {
        let row = self.width * SAMPLES;
        let hits: [Hit; 4] = std::array::from_fn(|k| seen.hit((y * SAMPLES + k / 2) * row + x * SAMPLES + k % 2));
        let (mut votes, mut done) = ([0u8; label::COUNT], [false; 4]);
        let pixel = y * self.width + x;
        for k in 0..4 {
            if done[k] {
                continue;
            }
            let (mut n, mut sx, mut sy) = (0u8, 0.0, 0.0);
            for m in k..4 {
                if !done[m] && (m == k || self.alike(hits[k], hits[m])) {
                    done[m] = true;
                    n += 1;
                    sx += (m % 2) as f32;
                    sy += (m / 2) as f32;
                }
            }
            let count = f32::from(n);
            let (px, py) = (x as f32 + 0.25 + 0.5 * sx / count, y as f32 + 0.25 + 0.5 * sy / count);
            let (fragment, class) = match hits[k] {
                Hit::Nothing => {
                    let gleam = self.backdrop.colour(px, py);
                    let share = 0.25 * count;
                    let f = Fragment { pixel, share, colour: [0.0; 3], light: [0.0; 3], gleam, scatter: false };
                    (f, label::BACKGROUND)
                }
                Hit::Triangle(t) => self.fragment(t, px, py, pixel, 0.25 * count),
                Hit::Strand(strand, vertex) => {
                    let s = &self.posed.mesh.strands[strand];
                    let gleam = strand_light::colour(s, vertex, self.screen, &self.look.lights, &self.shadow, self.open[pixel]);
                    let f = Fragment { pixel, share: 0.25 * count, colour: [0.0; 3], light: [0.0; 3], gleam, scatter: false };
                    (f, s.label)
                }
            };
            out.push(fragment);
            votes[class as usize] += n;
        }
        // The class with most samples; among equals the first of the list that is not background.
        let mut best = label::BACKGROUND;
        for class in 1..label::COUNT {
            if votes[class] > votes[best as usize] || (best == label::BACKGROUND && votes[class] > 1) {
                best = class as u8;
            }
        }
        best
    }

    /// Glass before a pixel: colour and strength of what it mirrors, share of the pixel.
    fn glass(&self, x: usize, y: usize, seen: &Seen) -> Option<(V3, f32)> {
        let row = self.width * SAMPLES;
        let panes = [0, 1, 2, 3].map(|k| seen.glass[(y * SAMPLES + k / 2) * row + x * SAMPLES + k % 2]);
        let n = panes.iter().filter(|p| **p > 0).count();
        let pane = *panes.iter().find(|p| **p > 0)?;
        let (p, _, _) = self.place(pane as usize - 1, x as f32 + 0.5, y as f32 + 0.5)?;
        Some((glasses::mirrored(&p, self.look), n as f32 * 0.25))
    }
}

/// Depth of every pixel: that of its nearest sample.
fn pixel_depth(seen: &Seen, width: usize, height: usize) -> Vec<f32> {
    let row = width * SAMPLES;
    (0..width * height)
        .map(|i| {
            let at = (i / width) * SAMPLES * row + (i % width) * SAMPLES;
            let d = &seen.depth;
            d[at].max(d[at + 1]).max(d[at + row]).max(d[at + row + 1])
        })
        .collect()
}

/// Light under the skin, then all fragments of a pixel summed.
fn put_together(fragments: &[Fragment], depth: &[f32], width: usize, height: usize, unit: f32) -> Vec<V3> {
    let mut cells = vec![Cell::default(); width * height];
    for f in fragments.iter().filter(|f| f.scatter) {
        let cell = &mut cells[f.pixel];
        cell.light = add(cell.light, mul(f.light, f.share));
        cell.cover += f.share;
        cell.depth = depth[f.pixel];
    }
    for cell in cells.iter_mut().filter(|c| c.cover > 0.0) {
        cell.light = mul(cell.light, 1.0 / cell.cover);
    }
    let cells = scatter::spread(&cells, width, height, unit);
    let mut out = vec![[0.0; 3]; width * height];
    for f in fragments {
        let light = if f.scatter { cells[f.pixel].light } else { f.light };
        let c = add(tint(f.colour, light), f.gleam);
        out[f.pixel] = add(out[f.pixel], mul(c, f.share));
    }
    out
}

/// Shades all pixels.
pub(super) fn shade(posed: &Posed, look: &Look, screen: &Screen, seen: &Seen, width: usize, height: usize) -> Picture {
    let depth = pixel_depth(seen, width, height);
    let scene = Scene {
        posed,
        look,
        screen,
        shadow: ShadowMap::new(&posed.mesh, &screen.placed, look.lights.key, look.lights.soft),
        backdrop: Backdrop::new(look, width, height),
        open: occlusion::openness(&depth, width, height, screen.unit),
        width,
    };
    let mut fragments = Vec::with_capacity(width * height * 3 / 2);
    let mut labels = Vec::with_capacity(width * height);
    for y in 0..height {
        for x in 0..width {
            labels.push(scene.pixel(x, y, seen, &mut fragments));
        }
    }
    let mut light = put_together(&fragments, &depth, width, height, screen.unit);
    if look.glasses {
        for (i, c) in light.iter_mut().enumerate() {
            if let Some((mirrored, share)) = scene.glass(i % width, i / width, seen) {
                let through = add(tint(*c, look.lens_tint), mirrored);
                *c = mix3(*c, through, share);
            }
        }
    }
    Picture { light, labels }
}

/// Linear light to a byte: the curve of a camera with a soft shoulder, then the square root.
pub(super) fn byte(v: f32) -> u8 {
    let v = v.max(0.0);
    let v = if v > 0.55 { 0.55 + 0.45 * (v - 0.55) / (v - 0.55 + 0.45) } else { v };
    // Film and cameras darken the shadows a little.
    let v = v * mix(0.92, 1.0, smooth(0.0, 0.12, v));
    (v.sqrt() * 255.0 + 0.5) as u8
}
