//! Visibility: which triangle each sample of the picture sees.
//!
//! Input: projected vertices. Output: for a grid of 2 x 2 samples per pixel the triangle number + 1, or 0.

use super::framing::Screen;
use super::hair::Comb;
use super::mesh::{Material, Mesh};

/// Samples per pixel along each side.
pub(super) const SAMPLES: usize = 2;

/// A triangle set up for stepping: sample coordinates and the inverse of twice its area.
pub(super) struct Setup {
    a: [f32; 2],
    ab: [f32; 2],
    ac: [f32; 2],
    inv: f32,
}

impl Setup {
    /// Of triangle corners in pixels, at `scale` samples per pixel. None if it has no area.
    pub fn new(screen: &Screen, t: &[u32; 3], scale: f32) -> Option<Self> {
        let p = t.map(|i| screen.points[i as usize]);
        let at = |i: usize| [p[i][0] * scale, p[i][1] * scale];
        let (a, b, c) = (at(0), at(1), at(2));
        let ab = [b[0] - a[0], b[1] - a[1]];
        let ac = [c[0] - a[0], c[1] - a[1]];
        let area = ab[0] * ac[1] - ab[1] * ac[0];
        if area.abs() < 1e-6 || !area.is_finite() {
            return None;
        }
        Some(Setup { a, ab, ac, inv: 1.0 / area })
    }

    /// Weights of the second and third corner at a sample position.
    pub fn weights(&self, x: f32, y: f32) -> [f32; 2] {
        let (dx, dy) = (x - self.a[0], y - self.a[1]);
        [(dx * self.ac[1] - dy * self.ac[0]) * self.inv, (self.ab[0] * dy - self.ab[1] * dx) * self.inv]
    }

    /// True if the triangle shows its front: counterclockwise with y up.
    fn faces(&self) -> bool {
        self.inv < 0.0
    }
}

/// Smallest and largest sample index covered along one axis, if any.
fn span(v: [f32; 3], limit: usize) -> Option<(usize, usize)> {
    let low = v[0].min(v[1]).min(v[2]) - 0.5;
    let high = v[0].max(v[1]).max(v[2]) - 0.5;
    if high < 0.0 || low >= limit as f32 {
        return None;
    }
    Some((low.max(0.0).ceil() as usize, (high.floor() as usize).min(limit - 1)))
}

/// Rasterises the mesh with a depth buffer.
pub(super) fn rasterise(mesh: &Mesh, screen: &Screen, comb: &Comb, width: usize, height: usize) -> Vec<u32> {
    let (w, h) = (width * SAMPLES, height * SAMPLES);
    let mut depth = vec![f32::MIN; w * h];
    let mut seen = vec![0u32; w * h];
    for (n, (t, mat)) in mesh.tris.iter().zip(&mesh.mats).enumerate() {
        let Some(s) = Setup::new(screen, t, SAMPLES as f32) else { continue };
        if *mat == Material::Skin && !s.faces() {
            continue;
        }
        let p = t.map(|i| screen.points[i as usize]);
        let k = SAMPLES as f32;
        let Some((x0, x1)) = span(p.map(|v| v[0] * k), w) else { continue };
        let Some((y0, y1)) = span(p.map(|v| v[1] * k), h) else { continue };
        let uv = t.map(|i| mesh.uv[i as usize]);
        for y in y0..=y1 {
            for x in x0..=x1 {
                let [b, c] = s.weights(x as f32 + 0.5, y as f32 + 0.5);
                let a = 1.0 - b - c;
                if a < 0.0 || b < 0.0 || c < 0.0 {
                    continue;
                }
                let z = a * p[0][2] + b * p[1][2] + c * p[2][2];
                let at = y * w + x;
                if z <= depth[at] {
                    continue;
                }
                if matches!(mat, Material::Hair | Material::Shell) {
                    let theta = a * uv[0][0] + b * uv[1][0] + c * uv[2][0];
                    let along = a * uv[0][1] + b * uv[1][1] + c * uv[2][1];
                    if !comb.keeps(theta, along, *mat == Material::Shell) {
                        continue;
                    }
                }
                depth[at] = z;
                seen[at] = n as u32 + 1;
            }
        }
    }
    seen
}
