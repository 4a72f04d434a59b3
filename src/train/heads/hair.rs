//! Hair: sheets combed from the crown over the scalp, hanging freely past the temples, with ragged tips.
//!
//! Input: the neutral head and its look. Output: triangles with texture coordinates (angle around the head, way along the
//! strand in ring keys), and the [`Comb`] that decides which points of a sheet are hair.

use super::look::{Look, Style};
use super::math::{add, bell, cos, mix, mul, noise, normalize, sin, smooth, V3};
use super::mesh::{Material, Mesh};
use super::template::{column_angle, Grid, COLUMNS};

/// Length of one ring key along a hanging strand.
const KEY_LENGTH: f32 = 0.35;
/// Rows of a sheet.
const ROWS: usize = 30;
/// Steps of the table of strand ends over half the head.
const TIP_STEPS: usize = 256;

/// How the hair of one head is cut and combed.
pub(super) struct Comb {
    pub style: Style,
    length: f32,
    volume: f32,
    pub wave: f32,
    pub part: f32,
    recess: f32,
    /// [`Comb::tip`] at 0 to pi in equal steps for the left and the right half of the head.
    tips: [Vec<f32>; 2],
}

/// Ring key of the natural edge of the hair at an angle from the front.
fn hairline(a: f32, recess: f32) -> f32 {
    let front = 3.2 + 0.9 * smooth(0.45, 0.95, a) + 1.0 * smooth(0.85, 1.2, a) + 1.8 * smooth(1.12, 1.4, a);
    let back = front + 1.6 * smooth(1.7, 2.3, a) - 0.5 * bell(a, 0.0, 1.62, 0.0, 0.14, 1.0);
    back - recess * (0.9 * bell(a, 0.0, 0.65, 0.0, 0.32, 1.0) + 0.25)
}

impl Comb {
    fn new(look: &Look) -> Self {
        let mut comb = Comb {
            tips: [Vec::new(), Vec::new()],
            style: look.style,
            length: look.length,
            volume: look.volume,
            wave: look.wave,
            part: look.part,
            recess: look.recess,
        };
        comb.tips = [-1.0f32, 1.0]
            .map(|s| (0..=TIP_STEPS).map(|i| comb.tip(s * std::f32::consts::PI * i as f32 / TIP_STEPS as f32)).collect());
        comb
    }

    /// [`Comb::tip`] from the table: asked for at every sample.
    fn tip_at(&self, theta: f32) -> f32 {
        let f = (theta.abs() * (TIP_STEPS as f32 / std::f32::consts::PI)).min(TIP_STEPS as f32 - 1e-3);
        let i = f as usize;
        let t = &self.tips[usize::from(theta > 0.0)];
        mix(t[i], t[i + 1], f - i as f32)
    }

    /// Length of the hanging part at an angle, in eye distances.
    fn hang(&self, a: f32) -> f32 {
        let sides = smooth(1.0, 1.22, a);
        match self.style {
            Style::Long => sides * mix(1.9, 3.4, self.length),
            Style::Bob => sides * mix(0.9, 1.6, self.length),
            Style::Fringe => sides * if self.length > 0.4 { mix(0.9, 3.2, self.length) } else { 0.0 },
            Style::Curly => smooth(1.1, 1.3, a) * mix(0.0, 1.5, smooth(0.35, 1.0, self.length)),
            _ => 0.0,
        }
    }

    /// Ring key at which strands leave the head.
    fn leave(&self, theta: f32) -> f32 {
        let a = theta.abs();
        if self.hang(a) <= 0.0 {
            return 20.0;
        }
        mix(5.0, 7.2, smooth(1.5, 2.4, a))
    }

    /// Where strands end, in ring keys along the strand, without raggedness.
    fn tip(&self, theta: f32) -> f32 {
        let a = theta.abs();
        let line = hairline(a, if self.style == Style::Fringe { 0.0 } else { self.recess });
        let natural = match self.style {
            Style::Fringe => line.max(mix(4.35, 4.9, self.volume) * smooth(1.1, 0.9, a) + 0.35 * smooth(0.2, 0.8, a)),
            Style::Parted => {
                line + 0.55
                    * smooth(0.0, 0.7, (theta - self.part) * if self.part > 0.0 { -1.0 } else { 1.0 })
                    * smooth(1.1, 0.7, a)
            }
            Style::Long | Style::Bob => line + 0.45 * smooth(0.1, 0.8, (theta - self.part * 0.5).abs()) * smooth(1.2, 0.9, a),
            _ => line,
        };
        let hang = self.hang(a);
        if hang > 0.0 {
            natural.max(mix(natural, self.leave(theta) + hang / KEY_LENGTH, smooth(0.0, 0.4, hang)))
        } else {
            natural
        }
    }

    fn rag(&self) -> f32 {
        match self.style {
            Style::Curly => 0.5,
            Style::Fringe => 0.4,
            Style::Long | Style::Bob => 0.45,
            Style::Tied => 0.12,
            _ => 0.28,
        }
    }

    /// True if the sheet is hair at angle `theta` and `along` the strand; `shell`: the thin outer sheet of loose strands.
    pub fn keeps(&self, theta: f32, along: f32, shell: bool) -> bool {
        let near = self.tip_at(theta) - along;
        if near > 1.2 && !shell {
            return true;
        }
        let strands = noise(theta * 70.0, along * 0.5) * 0.6 + noise(theta * 17.0, 3.0) * 0.4;
        let rag = self.rag() * if along > 8.0 { 2.0 } else { 1.0 };
        if shell {
            return near > 0.2 + rag * strands && noise(theta * 55.0, along * 0.9) > 0.30;
        }
        near > rag * (0.5 + strands) * 0.8
    }

    /// Thickness of the hair over the scalp.
    fn thickness(&self, theta: f32, along: f32, p: V3) -> f32 {
        let top = smooth(0.2, 1.3, p[1]);
        let edge = smooth(0.0, 1.1, self.tip(theta) - along);
        let v = self.volume;
        let (sides, crown, rim) = match self.style {
            Style::Bald => (0.0, 0.0, 0.0),
            Style::Short => (mix(0.05, 0.10, v), mix(0.09, 0.26, v), 0.025),
            Style::Parted => (mix(0.07, 0.13, v), mix(0.16, 0.34, v), 0.07),
            Style::Long => (mix(0.10, 0.20, v), mix(0.12, 0.24, v), 0.05),
            Style::Bob => (mix(0.14, 0.28, v), mix(0.14, 0.26, v), 0.06),
            Style::Fringe => (mix(0.10, 0.20, v), mix(0.14, 0.25, v), 0.075),
            Style::Curly => (mix(0.20, 0.50, v), mix(0.28, 0.62, v), 0.10),
            Style::Tied => (0.045, mix(0.06, 0.12, v), 0.02),
        };
        let lift = if self.style == Style::Short && v > 0.45 { 0.10 * bell(theta, along, 0.0, 2.5, 0.8, 0.8) } else { 0.0 };
        mix(rim, mix(sides, crown, top), edge) + lift * edge
    }

    /// Bumps of the surface: locks, curls.
    fn bump(&self, theta: f32, along: f32) -> f32 {
        // The sheet closes at the back of the head: no bumps there, so that its edges meet.
        let seam = smooth(std::f32::consts::PI, 2.7, theta.abs());
        let height = match self.style {
            Style::Curly => 0.11 * noise(theta * 5.0, along * 1.9) + 0.05 * noise(theta * 11.0 + 7.0, along * 4.1),
            Style::Short => 0.03 * noise(theta * 9.0, along * 1.5),
            Style::Tied => 0.006 * noise(theta * 12.0, 0.0),
            _ => 0.03 * noise(theta * 6.0, along * 0.35) + 0.03 * self.wave * noise(theta * 3.0, along * 1.1),
        };
        height * seam
    }
}

/// Point of the neutral head at a column and a ring key.
fn on_head(pos: &[V3], grid: &Grid, c: usize, key: f32) -> V3 {
    let r = grid.keys.partition_point(|k| *k < key).clamp(1, grid.keys.len() - 1);
    let (k0, k1) = (grid.keys[r - 1], grid.keys[r]);
    let t = if k1 > k0 { ((key - k0) / (k1 - k0)).clamp(0.0, 1.0) } else { 0.0 };
    super::math::mix3(pos[(r - 1) * COLUMNS + c], pos[r * COLUMNS + c], t)
}

/// One point of a sheet.
fn strand(comb: &Comb, pos: &[V3], grid: &Grid, c: usize, along: f32, extra: f32) -> (V3, f32) {
    let theta = column_angle(c);
    let leave = comb.leave(theta);
    let p = on_head(pos, grid, c, along.min(leave));
    let out = normalize([p[0], (p[1] - 0.2) * smooth(-0.2, 0.9, p[1]), (p[2] + 1.15) * 0.9]);
    let full = comb.thickness(theta, along, p) + comb.bump(theta, along) * smooth(0.1, 0.8, comb.tip(theta) - along) + extra;
    let mut q = add(p, mul(out, full));
    let drop = (along - leave).max(0.0) * KEY_LENGTH;
    if drop > 0.0 {
        q[1] -= drop;
        let swing = comb.wave * 0.09 * sin(drop * 4.5 + theta * 2.0) * smooth(0.2, 0.8, drop);
        q[0] += theta.signum() * (swing + 0.05 * sin((drop * 1.6).min(3.1)) - 0.10 * smooth(1.2, 2.2, drop));
        q[2] += 0.25 * smooth(1.0, 2.2, drop) * smooth(2.2, 1.2, theta.abs());
    }
    (q, drop)
}

fn sheet(mesh: &mut Mesh, comb: &Comb, pos: &[V3], grid: &Grid, mat: Material, extra: f32) {
    mesh.grid(ROWS, COLUMNS, mat, |r, c| {
        let theta = column_angle(c);
        let end = comb.tip(theta) + comb.rag() * 1.2;
        let along = end * r as f32 / (ROWS - 1) as f32;
        let (p, drop) = strand(comb, pos, grid, c, along, extra * smooth(0.0, 1.0, along));
        let open = mix(1.0, 0.55, smooth(1.0, 2.2, drop)) * mix(0.75, 1.0, smooth(0.0, 0.5, p[1]));
        (p, [theta, along], open, 1.0 - 0.7 * smooth(0.7, 2.2, drop))
    });
}

/// A knot of hair: `uv` continue the strands around it.
fn bun(mesh: &mut Mesh, centre: V3, radius: f32) {
    mesh.grid(13, 19, Material::Hair, |r, c| {
        let (a, b) = (c as f32 / 18.0 * std::f32::consts::TAU, r as f32 / 12.0 * std::f32::consts::PI);
        let lump = radius * (1.0 + 0.08 * noise(3.0 * cos(a) + 9.0, b * 3.0));
        let dir = [sin(b) * cos(a), cos(b), sin(b) * sin(a)];
        (add(centre, mul(dir, lump)), [a * 0.5 + b, 0.6 + 0.2 * b], mix(1.0, 0.6, smooth(1.2, 2.8, b)), 1.0)
    });
}

/// Adds the hair of a look to the mesh; `pos` is the neutral head.
pub(super) fn build(mesh: &mut Mesh, look: &Look, pos: &[V3], grid: &Grid) -> Comb {
    let comb = Comb::new(look);
    if comb.style == Style::Bald {
        return comb;
    }
    sheet(mesh, &comb, pos, grid, Material::Hair, 0.0);
    if comb.style == Style::Curly {
        sheet(mesh, &comb, pos, grid, Material::Shell, 0.07);
    } else if comb.style == Style::Tied {
        let top = on_head(pos, grid, COLUMNS / 2, 0.0);
        let r = mix(0.28, 0.48, comb.volume);
        if comb.wave > 0.6 {
            for s in [-1.0, 1.0] {
                bun(mesh, [s * 0.72, top[1] + 0.05, -1.25], r * 0.85);
            }
        } else {
            bun(mesh, [0.0, top[1] + 0.2 * r, mix(-1.3, -2.0, comb.length)], r * 1.1);
        }
    }
    comb
}
