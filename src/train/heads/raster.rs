//! Visibility: which triangle or hair each sample of the picture sees.
//!
//! Input: projected vertices. Output: for a grid of 2 x 2 samples per pixel what is seen and how near, and glass before it.

use super::framing::Screen;
use super::mesh::{Material, Mesh};

/// Samples per pixel along each side.
pub(super) const SAMPLES: usize = 2;
/// Set in the number of a hair's segment.
const HAIR: u32 = 1 << 31;

/// What one sample sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hit {
    Nothing,
    Triangle(usize),
    /// The strand's number and the vertex at which the segment begins.
    Strand(usize, usize),
}

/// Samples of a picture.
pub(super) struct Seen {
    /// Triangle + 1, or [`HAIR`] + vertex at which a hair's segment begins, or 0.
    ids: Vec<u32>,
    /// Depth, larger is nearer; [`super::occlusion::FAR`] where nothing is seen.
    pub depth: Vec<f32>,
    /// Triangle + 1 of the glass before the sample, or 0.
    pub glass: Vec<u32>,
    /// Strand of every vertex, by number from the first strand's first vertex.
    owner: Vec<u32>,
    first: usize,
}

impl Seen {
    /// What sample `at` sees.
    pub fn hit(&self, at: usize) -> Hit {
        match self.ids[at] {
            0 => Hit::Nothing,
            n if n & HAIR != 0 => {
                let vertex = (n & !HAIR) as usize;
                Hit::Strand(self.owner[vertex - self.first] as usize, vertex)
            }
            n => Hit::Triangle(n as usize - 1),
        }
    }
}

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
fn span(low: f32, high: f32, limit: usize) -> Option<(usize, usize)> {
    let (low, high) = (low - 0.5, high - 0.5);
    if high < 0.0 || low >= limit as f32 || !low.is_finite() || !high.is_finite() {
        return None;
    }
    Some((low.max(0.0).ceil() as usize, (high.floor() as usize).min(limit - 1)))
}

/// The sample grid while it is drawn.
struct Canvas {
    width: usize,
    height: usize,
    depth: Vec<f32>,
    ids: Vec<u32>,
}

impl Canvas {
    /// Calls `f(sample, depth)` for all samples inside a triangle.
    fn triangle(&self, screen: &Screen, t: &[u32; 3], s: &Setup, mut f: impl FnMut(usize, f32)) {
        let p = t.map(|i| screen.points[i as usize]);
        let k = SAMPLES as f32;
        let low = |n: usize| p[0][n].min(p[1][n]).min(p[2][n]) * k;
        let high = |n: usize| p[0][n].max(p[1][n]).max(p[2][n]) * k;
        let Some((x0, x1)) = span(low(0), high(0), self.width) else { return };
        let Some((y0, y1)) = span(low(1), high(1), self.height) else { return };
        for y in y0..=y1 {
            for x in x0..=x1 {
                let [b, c] = s.weights(x as f32 + 0.5, y as f32 + 0.5);
                let a = 1.0 - b - c;
                if a >= 0.0 && b >= 0.0 && c >= 0.0 {
                    f(y * self.width + x, a * p[0][2] + b * p[1][2] + c * p[2][2]);
                }
            }
        }
    }

    fn put(&mut self, at: usize, z: f32, id: u32) {
        if z > self.depth[at] {
            self.depth[at] = z;
            self.ids[at] = id;
        }
    }

    /// One segment of a hair from `a` to `b`, `half` samples wide to either side: a short run of samples for each step along
    /// its longer axis.
    fn segment(&mut self, a: [f32; 3], b: [f32; 3], half: f32, id: u32) {
        let k = SAMPLES as f32;
        let (dx, dy) = ((b[0] - a[0]) * k, (b[1] - a[1]) * k);
        let steep = dy.abs() > dx.abs();
        // Main axis first.
        let (m, n) = if steep { (1, 0) } else { (0, 1) };
        let (long, limits) = if steep { (dy, [self.height, self.width]) } else { (dx, [self.width, self.height]) };
        let (start, end) = (a[m] * k, b[m] * k);
        let Some((from, to)) = span(start.min(end) - 0.25, start.max(end) + 0.25, limits[0]) else { return };
        let reach = half * (dx * dx + dy * dy).sqrt() / long.abs().max(1e-3);
        let inv = if long.abs() > 1e-3 { 1.0 / long } else { 0.0 };
        for i in from..=to {
            let t = ((i as f32 + 0.5 - start) * inv).clamp(0.0, 1.0);
            let centre = (a[n] + t * (b[n] - a[n])) * k;
            let Some((low, high)) = span(centre - reach, centre + reach, limits[1]) else { continue };
            let z = a[2] + t * (b[2] - a[2]);
            for j in low..=high {
                let (x, y) = if steep { (j, i) } else { (i, j) };
                self.put(y * self.width + x, z, id);
            }
        }
    }
}

/// Draws mesh and hairs with a depth buffer.
pub(super) fn rasterise(mesh: &Mesh, screen: &Screen, width: usize, height: usize) -> Seen {
    let (w, h) = (width * SAMPLES, height * SAMPLES);
    let mut canvas = Canvas { width: w, height: h, depth: vec![super::occlusion::FAR; w * h], ids: vec![0; w * h] };
    let (mut panes, mut hits) = (Vec::new(), Vec::new());
    for (n, (t, mat)) in mesh.tris.iter().zip(&mesh.mats).enumerate() {
        let Some(s) = Setup::new(screen, t, SAMPLES as f32) else { continue };
        if *mat == Material::Skin && !s.faces() {
            continue;
        }
        if *mat == Material::Lens {
            panes.push((n, s));
            continue;
        }
        hits.clear();
        canvas.triangle(screen, t, &s, |at, z| hits.push((at, z)));
        for &(at, z) in &hits {
            canvas.put(at, z, n as u32 + 1);
        }
    }
    let first = mesh.strands.first().map_or(0, |s| s.first as usize);
    let mut owner = vec![0u32; mesh.pos.len() - first];
    for (n, s) in mesh.strands.iter().enumerate() {
        for i in 0..s.count {
            owner[(s.first + i) as usize - first] = n as u32;
        }
        for i in 0..s.count - 1 {
            let vertex = s.first + i;
            let taper = 1.0 - 0.75 * (i as f32 / (s.count - 1) as f32) * (i as f32 / (s.count - 1) as f32);
            // A line thinner than a sample would break into dots.
            let half = (0.5 * s.width * taper * screen.unit * SAMPLES as f32).max(0.52);
            canvas.segment(screen.points[vertex as usize], screen.points[vertex as usize + 1], half, HAIR | vertex);
        }
    }
    let mut glass = vec![0u32; w * h];
    for (n, s) in panes {
        canvas.triangle(screen, &mesh.tris[n], &s, |at, z| {
            if z > canvas.depth[at] {
                glass[at] = n as u32 + 1;
            }
        });
    }
    Seen { ids: canvas.ids, depth: canvas.depth, glass, owner, first }
}
