//! From the head's space to pixels: turn the head, project with a perspective camera, place the crop.
//!
//! Input: a posed head and its framing. Output: pixel position, depth and normal of every vertex.

use super::math::{cos, mix, mix3, sin, V3};
use super::mesh::Mesh;
use super::pose::Posed;
use super::{Framing, Head};

/// Distance of the camera in eye distances: about 90 cm.
const DISTANCE: f32 = 14.0;
/// The head turns about the top of the neck.
const PIVOT: V3 = [0.0, -0.85, -1.20];
/// Where the eyes' middle sits in the crop, and the eyes' distance, as fractions of the crop side.
const EYES_AT: [f32; 2] = [0.5, 0.47];
const EYES_APART: f32 = 0.25;

/// `p -> (a x - b y + x0, b x + a y + y0)`: shift, scale and rotation in the picture.
#[derive(Clone, Copy, Debug)]
struct Similarity {
    a: f32,
    b: f32,
    x: f32,
    y: f32,
}

impl Similarity {
    fn apply(&self, p: [f32; 2]) -> [f32; 2] {
        [self.a * p[0] - self.b * p[1] + self.x, self.b * p[0] + self.a * p[1] + self.y]
    }

    /// Scale and clockwise rotation about a point, then a shift.
    fn about(centre: [f32; 2], scale: f32, degrees: f32, shift: [f32; 2]) -> Self {
        let r = degrees.to_radians();
        let (a, b) = (scale * cos(r), scale * sin(r));
        let x = centre[0] - a * centre[0] + b * centre[1] + shift[0];
        let y = centre[1] - b * centre[0] - a * centre[1] + shift[1];
        Similarity { a, b, x, y }
    }

    /// The similarity that brings `from` nearest to `to` (least squares).
    fn fit(from: &[[f32; 2]], to: &[[f32; 2]]) -> Self {
        let n = from.len() as f32;
        let mean = |p: &[[f32; 2]], k: usize| p.iter().map(|v| v[k]).sum::<f32>() / n;
        let (fx, fy, tx, ty) = (mean(from, 0), mean(from, 1), mean(to, 0), mean(to, 1));
        let (mut dot, mut cross, mut power) = (0.0, 0.0, 1e-9);
        for (f, t) in from.iter().zip(to) {
            let (u, v, p, q) = (f[0] - fx, f[1] - fy, t[0] - tx, t[1] - ty);
            dot += u * p + v * q;
            cross += u * q - v * p;
            power += u * u + v * v;
        }
        let (a, b) = (dot / power, cross / power);
        Similarity { a, b, x: tx - a * fx + b * fy, y: ty - b * fx - a * fy }
    }
}

fn perspective(p: V3) -> [f32; 2] {
    let f = DISTANCE / (DISTANCE - p[2]);
    [p[0] * f, -p[1] * f]
}

/// The camera of one picture.
pub(super) struct View {
    turn: [[f32; 2]; 2],
    /// From the image plane to crop fractions, neutral framing.
    neutral: Similarity,
    /// Face stabilisation and jitter, in crop fractions; for a camera the roll of the head.
    fitted: Similarity,
    /// From crop fractions to pixels.
    scale: f32,
    origin: [f32; 2],
    /// True if `fitted` moves the whole body, false if only what follows the head.
    whole: bool,
}

/// Vertices in the picture.
pub(super) struct Screen {
    /// Pixel x, pixel y, depth (larger is nearer).
    pub points: Vec<V3>,
    /// Unit normals in camera space.
    pub normals: Vec<V3>,
    /// Positions in camera space.
    pub placed: Vec<V3>,
    /// Pixels per eye distance on the face.
    pub unit: f32,
    /// Middle of the skull in camera space.
    pub skull: V3,
}

impl View {
    /// The camera for a head and a picture size in pixels.
    pub fn new(head: &Head, posed: &Posed, width: u32, height: u32) -> Self {
        let angle = |v: f32, limit: f32| if v.is_finite() { v.clamp(-limit, limit).to_radians() } else { 0.0 };
        let (yaw, pitch) = (angle(head.yaw, 60.0), angle(head.pitch, 45.0));
        let [l, r] = posed.pupils.map(perspective);
        let k = EYES_APART / (r[0] - l[0]).max(0.2);
        let neutral =
            Similarity { a: k, b: 0.0, x: EYES_AT[0] - k * 0.5 * (l[0] + r[0]), y: EYES_AT[1] - k * 0.5 * (l[1] + r[1]) };
        let side = width.min(height) as f32;
        let mut view = View {
            turn: [[sin(yaw), cos(yaw)], [sin(pitch), cos(pitch)]],
            neutral,
            fitted: Similarity { a: 1.0, b: 0.0, x: 0.0, y: 0.0 },
            scale: side,
            origin: [0.5 * (width as f32 - side), 0.5 * (height as f32 - side)],
            whole: true,
        };
        match head.framing {
            Framing::Aligned { dx, dy, scale, roll_degrees } => {
                let to: Vec<_> = posed.rigid.iter().map(|p| neutral.apply(perspective(*p))).collect();
                let from: Vec<_> = posed.rigid.iter().map(|p| neutral.apply(perspective(view.turned(*p)))).collect();
                let fit = Similarity::fit(&from, &to);
                let jitter = Similarity::about([0.5, 0.5], scale, roll_degrees, [dx, dy]);
                let o = jitter.apply([fit.x, fit.y]);
                let (a, b) = (jitter.a * fit.a - jitter.b * fit.b, jitter.b * fit.a + jitter.a * fit.b);
                view.fitted = Similarity { a, b, x: o[0], y: o[1] };
            }
            Framing::Camera { x, y, scale, roll_degrees } => {
                view.fitted = Similarity::about([0.5, 0.55], 1.0, roll_degrees, [0.0, 0.0]);
                view.scale = scale * height as f32;
                view.origin = [x * width as f32 - 0.5 * view.scale, y * height as f32 - 0.5 * view.scale];
                view.whole = false;
            }
        }
        view
    }

    fn turned(&self, p: V3) -> V3 {
        let [[sy, cy], [sp, cp]] = self.turn;
        let [x, y, z] = [p[0] - PIVOT[0], p[1] - PIVOT[1], p[2] - PIVOT[2]];
        let (y, z) = (y * cp + z * sp, z * cp - y * sp);
        let (x, z) = (x * cy + z * sy, z * cy - x * sy);
        [x + PIVOT[0], y + PIVOT[1], z + PIVOT[2]]
    }

    fn pixel(&self, p: V3, sway: f32) -> [f32; 2] {
        let crop = self.neutral.apply(perspective(p));
        let moved = self.fitted.apply(crop);
        let w = if self.whole { 1.0 } else { sway };
        let c = [mix(crop[0], moved[0], w), mix(crop[1], moved[1], w)];
        [self.origin[0] + c[0] * self.scale, self.origin[1] + c[1] * self.scale]
    }

    /// Turns and projects all vertices.
    pub fn project(&self, posed: &Posed) -> Screen {
        let mesh: &Mesh = &posed.mesh;
        let placed: Vec<V3> = mesh.pos.iter().zip(&mesh.sway).map(|(p, w)| mix3(*p, self.turned(*p), *w)).collect();
        let points = placed
            .iter()
            .zip(&mesh.sway)
            .map(|(p, w)| {
                let q = self.pixel(*p, *w);
                [q[0], q[1], p[2]]
            })
            .collect();
        let size = (self.fitted.a * self.fitted.a + self.fitted.b * self.fitted.b).sqrt();
        Screen {
            points,
            normals: mesh.normals(&placed),
            placed,
            unit: self.neutral.a * size * self.scale,
            skull: self.turned(super::strand::SKULL),
        }
    }
}
