//! Cast shadows: how much of the main light reaches a place.
//!
//! Input: what stands in camera space and the direction of the light. Output: a depth map seen from the light, asked for the
//! share of light at any place: 1 lit, 0 in shadow, with a half-shadow as wide as the light is soft.

use super::math::{cross, dot, mix, normalize, smooth, V3};
use super::mesh::{Material, Mesh};

/// Cells along each side of the map, and the map's half width in eye distances.
const CELLS: usize = 208;
const REACH: f32 = 2.7;
const SCALE: f32 = CELLS as f32 / (2.0 * REACH);
/// Middle of the map: inside the head.
const MIDDLE: V3 = [0.0, -0.5, -1.0];
/// How much nearer to the light an occluder must be: smaller differences are the surface itself.
const BIAS: f32 = 0.055;
/// Places looked at, in units of the half-shadow: a spiral over the disc.
const TAPS: [[f32; 2]; 13] = [
    [0.0, 0.0],
    [0.39, 0.06],
    [-0.20, 0.40],
    [-0.25, -0.44],
    [0.48, -0.40],
    [0.36, 0.58],
    [-0.69, 0.08],
    [0.10, -0.74],
    [0.80, 0.16],
    [-0.52, 0.68],
    [-0.60, -0.66],
    [0.14, 0.95],
    [0.86, -0.48],
];

/// Depths seen from the light.
pub(super) struct ShadowMap {
    light: V3,
    right: V3,
    up: V3,
    depth: Vec<f32>,
    /// Radius of the half-shadow in cells.
    radius: f32,
}

impl ShadowMap {
    /// Draws all parts of the mesh and its strands that cast shadows.
    pub fn new(mesh: &Mesh, placed: &[V3], light: V3, soft: f32) -> Self {
        let right = normalize(cross([0.0, 1.0, 0.0], light));
        let up = cross(light, right);
        let mut map = ShadowMap { light, right, up, depth: vec![f32::MIN; CELLS * CELLS], radius: mix(1.1, 5.5, soft) };
        for (t, mat) in mesh.tris.iter().zip(&mesh.mats) {
            // Eyeballs and the inside of the mouth lie in the shadow of lids and lips, not of themselves.
            if !matches!(mat, Material::Eye | Material::Lens | Material::Cavity | Material::Teeth | Material::Tongue) {
                map.draw(t.map(|i| map.cell(placed[i as usize])));
            }
        }
        for s in mesh.strands.iter().filter(|s| s.casts) {
            for p in &placed[s.first as usize..(s.first + s.count) as usize] {
                let c = map.cell(*p);
                // Hair is not solid: what it hides lies a little deeper.
                map.mark(c[0] as i32, c[1] as i32, c[2] - 0.05);
            }
        }
        map
    }

    fn cell(&self, p: V3) -> V3 {
        let q = [p[0] - MIDDLE[0], p[1] - MIDDLE[1], p[2] - MIDDLE[2]];
        [(dot(q, self.right) + REACH) * SCALE, (dot(q, self.up) + REACH) * SCALE, dot(q, self.light)]
    }

    fn mark(&mut self, x: i32, y: i32, z: f32) {
        if (0..CELLS as i32).contains(&x) && (0..CELLS as i32).contains(&y) {
            let at = y as usize * CELLS + x as usize;
            self.depth[at] = self.depth[at].max(z);
        }
    }

    fn draw(&mut self, [a, b, c]: [V3; 3]) {
        let area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
        let low = |k: usize| a[k].min(b[k]).min(c[k]).clamp(0.0, CELLS as f32) as i32;
        let high = |k: usize| a[k].max(b[k]).max(c[k]).clamp(-1.0, CELLS as f32 - 1.0) as i32;
        if area.abs() < 1e-5 {
            return;
        }
        let inv = 1.0 / area;
        for y in low(1)..=high(1) {
            for x in low(0)..=high(0) {
                let (px, py) = (x as f32 + 0.5 - a[0], y as f32 + 0.5 - a[1]);
                let u = (px * (c[1] - a[1]) - py * (c[0] - a[0])) * inv;
                let v = ((b[0] - a[0]) * py - (b[1] - a[1]) * px) * inv;
                // A little over the edge, so that no cell between two triangles stays empty.
                if u > -0.02 && v > -0.02 && u + v < 1.04 {
                    self.mark(x, y, a[2] + u * (b[2] - a[2]) + v * (c[2] - a[2]));
                }
            }
        }
    }

    /// As [`ShadowMap::lit`] from four neighbours only, for hair: deep enough under other hair to be in shadow.
    pub fn lit_once(&self, p: V3, n: V3) -> f32 {
        let c = self.cell(p);
        let slope = 1.0 - dot(n, self.light).clamp(0.0, 1.0);
        let (x, y) = ((c[0] - 0.5) as i32, (c[1] - 0.5) as i32);
        if !(0..CELLS as i32 - 1).contains(&x) || !(0..CELLS as i32 - 1).contains(&y) {
            return 1.0;
        }
        let at = y as usize * CELLS + x as usize;
        let mut lit = 0.0;
        for i in [at, at + 1, at + CELLS, at + CELLS + 1] {
            lit += 0.25 * (1.0 - smooth(0.02, 0.30 + 0.2 * slope, self.depth[i] - c[2]));
        }
        lit
    }

    /// Share of the main light that arrives at `p`, a place on a surface of normal `n`.
    pub fn lit(&self, p: V3, n: V3) -> f32 {
        let slope = 1.0 - dot(n, self.light).clamp(0.0, 1.0);
        let c = self.cell(p);
        let bias = BIAS + 0.03 * self.radius * (0.3 + slope);
        let mut lit = 0.0;
        for t in TAPS {
            let (x, y) = ((c[0] + t[0] * self.radius) as i32, (c[1] + t[1] * self.radius) as i32);
            if !(0..CELLS as i32).contains(&x) || !(0..CELLS as i32).contains(&y) {
                lit += 1.0;
                continue;
            }
            let d = self.depth[y as usize * CELLS + x as usize] - c[2];
            lit += 1.0 - smooth(bias, bias + 0.10, d);
        }
        lit / TAPS.len() as f32
    }
}
