//! The triangles of one posed head: all parts in one list, with what the shader needs per vertex.

use super::math::{add, cross, normalize, sub, V3};

/// What a triangle is made of; the shader chooses colour and label by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Material {
    Skin,
    LidRim,
    LipRim,
    Eye,
    Cavity,
    Teeth,
    Tongue,
    Ear,
    Neck,
    Cloth,
    Collar,
    Glasses,
    /// Glass of the glasses: seen through, with what it mirrors.
    Lens,
}

/// A hair or a lock of few hairs: consecutive vertices of the mesh.
#[derive(Clone, Copy, Default)]
pub(super) struct Strand {
    pub first: u32,
    pub count: u32,
    /// Width in eye distances.
    pub width: f32,
    pub colour: V3,
    pub label: u8,
    /// Share of light that neighbouring hairs let through at root and tip.
    pub open: [f32; 2],
    /// True if it throws a shadow.
    pub casts: bool,
}

/// Vertices and triangles of a head.
#[derive(Default)]
pub(super) struct Mesh {
    /// Positions: model space while building, after [`super::framing::View`] turned space.
    pub pos: Vec<V3>,
    /// Texture coordinates; their meaning depends on the material.
    pub uv: Vec<[f32; 2]>,
    /// Share of ambient light that reaches the vertex, 0..1.
    pub open: Vec<f32>,
    /// How far the vertex follows the head's turn, 0..1.
    pub sway: Vec<f32>,
    /// Vertex numbers of each triangle.
    pub tris: Vec<[u32; 3]>,
    /// Material of each triangle.
    pub mats: Vec<Material>,
    /// Hairs: their vertices belong to no triangle.
    pub strands: Vec<Strand>,
}

impl Mesh {
    /// Adds a vertex and gives its number.
    pub fn vertex(&mut self, pos: V3, uv: [f32; 2], open: f32, sway: f32) -> u32 {
        self.pos.push(pos);
        self.uv.push(uv);
        self.open.push(open);
        self.sway.push(sway);
        (self.pos.len() - 1) as u32
    }

    /// Adds a triangle.
    pub fn triangle(&mut self, t: [u32; 3], mat: Material) {
        self.tris.push(t);
        self.mats.push(mat);
    }

    /// Adds a grid of `rows * cols` vertices given by `f(row, column)` as (position, uv, openness, sway).
    pub fn grid(&mut self, rows: usize, cols: usize, mat: Material, mut f: impl FnMut(usize, usize) -> (V3, [f32; 2], f32, f32)) {
        let base = self.pos.len() as u32;
        for r in 0..rows {
            for c in 0..cols {
                let (p, uv, open, sway) = f(r, c);
                self.vertex(p, uv, open, sway);
            }
        }
        for r in 0..rows as u32 - 1 {
            for c in 0..cols as u32 - 1 {
                let a = base + r * cols as u32 + c;
                let b = a + cols as u32;
                self.triangle([a, b, b + 1], mat);
                self.triangle([a, b + 1, a + 1], mat);
            }
        }
    }

    /// A tube of radius `r` along `path`.
    pub fn tube(&mut self, path: &[V3], r: f32, closed: bool, mat: Material) {
        let n = path.len();
        let rows = if closed { n + 1 } else { n };
        self.grid(rows, 7, mat, |i, k| {
            let (a, b) = if closed {
                (path[(i + n - 1) % n], path[(i + 1) % n])
            } else {
                (path[i.saturating_sub(1)], path[(i + 1).min(n - 1)])
            };
            let dir = normalize(sub(b, a));
            let side = normalize(cross(dir, [0.3, 0.1, 1.0]));
            let up = cross(dir, side);
            let angle = k as f32 / 6.0 * std::f32::consts::TAU;
            let (s, c) = (super::math::sin(angle) * r, super::math::cos(angle) * r);
            let centre = path[i % n];
            let off = [side[0] * c + up[0] * s, side[1] * c + up[1] * s, side[2] * c + up[2] * s];
            (add(centre, off), [i as f32, k as f32], 1.0, 1.0)
        });
    }

    /// Adds a hair along `path`; `sway` tells how far a point follows the head's turn. First and count are filled in.
    pub fn strand(&mut self, path: &[V3], sway: impl Fn(V3) -> f32, like: Strand) {
        if path.len() < 2 {
            return;
        }
        let first = self.pos.len() as u32;
        for p in path {
            self.vertex(*p, [0.0; 2], 1.0, sway(*p));
        }
        self.strands.push(Strand { first, count: path.len() as u32, ..like });
    }

    /// Vertex normals of the turned positions, weighted by area, unit length.
    pub fn normals(&self, placed: &[V3]) -> Vec<V3> {
        let mut out = vec![[0.0; 3]; placed.len()];
        for t in &self.tris {
            let [a, b, c] = t.map(|i| placed[i as usize]);
            let n = cross(sub(b, a), sub(c, a));
            for &i in t {
                out[i as usize] = add(out[i as usize], n);
            }
        }
        for n in &mut out {
            *n = normalize(*n);
        }
        out
    }
}
