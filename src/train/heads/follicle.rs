//! Where hairs grow: places scattered evenly over the unit head, the same for everybody.
//!
//! Output: triangle, weights of its corners and texture coordinates per place. Built once; a head's hair, brows and beard take
//! those places that lie in their areas.

use super::math::{cross, dot, normalize, sub, V3};
use super::template::Grid;
use super::Rng;

/// A place on the skin.
#[derive(Clone, Copy)]
pub(super) struct Follicle {
    tri: [u32; 3],
    weights: [f32; 3],
    /// Texture coordinates of the skin: unrolled x, height.
    pub u: f32,
    pub y: f32,
    /// Random numbers in 0..1 of this place.
    pub dice: [f32; 4],
}

/// A follicle on a posed head.
pub(super) struct Root {
    pub at: V3,
    /// Unit normal, outwards.
    pub out: V3,
    /// Displacements per unit of texture coordinate.
    pub du: V3,
    pub dv: V3,
}

impl Follicle {
    /// Place, normal and tangents on a head whose vertices lie at `pos`.
    pub fn root(&self, pos: &[V3], grid: &Grid) -> Root {
        let [a, b, c] = self.tri.map(|i| pos[i as usize]);
        let [ta, tb, tc] = self.tri.map(|i| &grid.sites[i as usize]);
        let (e1, e2) = (sub(b, a), sub(c, a));
        let (u1, v1, u2, v2) = (tb.u - ta.u, tb.y - ta.y, tc.u - ta.u, tc.y - ta.y);
        let det = u1 * v2 - u2 * v1;
        let inv = if det.abs() > 1e-9 { 1.0 / det } else { 0.0 };
        let w = self.weights;
        // At the crown texture coordinates crowd together: tangents there are cut to a sane length.
        let sane = |v: V3| {
            let l = dot(v, v).sqrt();
            if l > 1.5 {
                v.map(|k| k * 1.5 / l)
            } else {
                v
            }
        };
        Root {
            at: std::array::from_fn(|k| w[0] * a[k] + w[1] * b[k] + w[2] * c[k]),
            out: normalize(cross(e1, e2)),
            du: sane(std::array::from_fn(|k| (e1[k] * v2 - e2[k] * v1) * inv)),
            dv: sane(std::array::from_fn(|k| (e2[k] * u1 - e1[k] * u2) * inv)),
        }
    }
}

/// Scatters `density` places per square eye distance over the triangles whose middle `inside` accepts (u, y).
pub(super) fn scatter(grid: &Grid, density: f32, seed: u64, inside: impl Fn(f32, f32) -> bool) -> Vec<Follicle> {
    let mut rng = Rng::new(seed);
    let mut out = Vec::new();
    for tri in &grid.tris {
        let s = tri.map(|i| &grid.sites[i as usize]);
        let (u, y) = ((s[0].u + s[1].u + s[2].u) / 3.0, (s[0].y + s[1].y + s[2].y) / 3.0);
        if !inside(u, y) {
            continue;
        }
        let face = cross(sub(s[1].pos, s[0].pos), sub(s[2].pos, s[0].pos));
        let expected = 0.5 * dot(face, face).sqrt() * density;
        for _ in 0..(expected + rng.unit()) as usize {
            let (a, b) = (rng.unit(), rng.unit());
            let (a, b) = if a + b > 1.0 { (1.0 - a, 1.0 - b) } else { (a, b) };
            let weights = [1.0 - a - b, a, b];
            let blend = |f: [f32; 3]| weights[0] * f[0] + weights[1] * f[1] + weights[2] * f[2];
            let dice = std::array::from_fn(|_| rng.unit());
            out.push(Follicle { tri: *tri, weights, u: blend(s.map(|s| s.u)), y: blend(s.map(|s| s.y)), dice });
        }
    }
    // In a random order: the first half of them covers the head evenly, too.
    for i in (1..out.len()).rev() {
        out.swap(i, (rng.bits() % (i as u64 + 1)) as usize);
    }
    out
}
