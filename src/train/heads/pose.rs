//! One head's mesh in its own space: unit head + identity + expression + lids + parts. Lengths in eye distances.

use std::sync::OnceLock;

use super::follicle::{self, Follicle};
use super::look::{self, slot, Look};
use super::math::{cos, mix, normalize, sin, smooth, V3};
use super::mesh::{Material, Mesh};
use super::shape::{self, Sparse};
use super::template::{Grid, Side, COLUMNS, EYE_HALF, MOUTH_Y};
use super::{channel, cloth, glasses, parts, strand, whisker, Head, IDENTITY};

/// Radius of the eyeball.
pub(super) const EYE_RADIUS: f32 = 0.24;

/// What does not depend on the head, built once: a table of constants, too large to write out.
struct Model {
    grid: Grid,
    identity: Vec<Sparse>,
    expression: Vec<Sparse>,
    open: Vec<f32>,
    lids: Vec<Lid>,
    named: Vec<usize>,
    rigid: Vec<usize>,
    /// Places of hairs: scalp, brows, beard.
    scalp: Vec<Follicle>,
    brow: Vec<Follicle>,
    jaw: Vec<Follicle>,
}

/// A site near an eye: which eye, place along the slit (-1..1, positive outwards), above it or not, distance to it.
struct Lid {
    site: usize,
    eye: usize,
    along: f32,
    above: bool,
    away: f32,
}

fn model() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| {
        let grid = Grid::new();
        Model {
            identity: shape::identity_tables(&grid),
            expression: shape::expression_tables(&grid),
            open: grid.sites.iter().map(parts::openness).collect(),
            lids: lid_sites(&grid),
            named: named_sites(&grid),
            rigid: rigid_sites(&grid),
            scalp: follicle::scatter(&grid, 850.0, 1, |u, y| y > 0.9 || (u.abs() > 0.8 && y > -1.2)),
            brow: follicle::scatter(&grid, 4200.0, 2, |u, y| u.abs() < 1.0 && (0.08..0.66).contains(&y)),
            jaw: follicle::scatter(&grid, 2400.0, 3, |u, y| u.abs() < 1.35 && (-2.05..-0.1).contains(&y)),
            grid,
        }
    })
}

fn lid_sites(grid: &Grid) -> Vec<Lid> {
    let mut out = Vec::new();
    for (site, s) in grid.sites.iter().enumerate() {
        let along = (s.x.abs() - 0.5) / EYE_HALF;
        if along.abs() < 1.35 && s.y.abs() < 0.5 && s.theta.abs() < 1.4 {
            out.push(Lid { site, eye: usize::from(s.x > 0.0), along, above: s.above_eyes(), away: s.y.abs() });
        }
    }
    out
}

/// Sites of the landmarks that lie on the skin, in the order of the landmark names (pupils are added by the eyes).
fn named_sites(grid: &Grid) -> Vec<usize> {
    let free = |x: f32, y: f32| grid.nearest(x, y, Side::Free);
    let upper = |x: f32, y: f32| grid.nearest(x, y, Side::Upper);
    let (outer, inner) = (0.5 + EYE_HALF, 0.5 - EYE_HALF);
    vec![
        upper(-outer, 0.0),
        upper(-inner, 0.0),
        upper(inner, 0.0),
        upper(outer, 0.0),
        upper(-0.5, 0.0),
        upper(0.5, 0.0),
        free(-0.78, 0.30),
        free(-0.22, 0.26),
        free(0.22, 0.26),
        free(0.78, 0.30),
        free(0.0, 0.02),
        free(0.0, -0.55),
        free(0.0, -0.73),
        upper(-0.40, MOUTH_Y),
        upper(0.40, MOUTH_Y),
        upper(0.0, MOUTH_Y),
        grid.nearest(0.0, MOUTH_Y, Side::Lower),
        free(0.0, -1.72),
        free(-0.62, -0.5),
        free(0.62, -0.5),
    ]
}

/// Points that hardly move with the expression: eye corners, nose, cheekbones.
fn rigid_sites(grid: &Grid) -> Vec<usize> {
    let at = |x: f32, y: f32, side| grid.nearest(x, y, side);
    vec![
        at(-0.5 - EYE_HALF, 0.0, Side::Upper),
        at(-0.5 + EYE_HALF, 0.0, Side::Upper),
        at(0.5 - EYE_HALF, 0.0, Side::Upper),
        at(0.5 + EYE_HALF, 0.0, Side::Upper),
        at(0.0, 0.10, Side::Free),
        at(0.0, -0.75, Side::Free),
        at(-0.62, -0.42, Side::Free),
        at(0.62, -0.42, Side::Free),
        at(-0.35, -0.58, Side::Free),
        at(0.35, -0.58, Side::Free),
    ]
}

/// State of one eye.
#[derive(Clone, Copy)]
pub(super) struct Eye {
    /// Centre of the eyeball.
    pub centre: V3,
    /// Direction of the gaze in the head's space.
    pub gaze: V3,
    /// Height of the upper lid's edge above the eye's middle, in eyeball radii: its shadow falls below.
    pub edge: f32,
    /// The same for the lower lid.
    pub floor: f32,
}

/// A head ready for the camera.
pub(super) struct Posed {
    pub mesh: Mesh,
    /// Vertices of the landmarks.
    pub landmarks: Vec<usize>,
    /// Neutral places of the rigid points and of the two pupils.
    pub rigid: Vec<V3>,
    pub pupils: [V3; 2],
    pub eyes: [Eye; 2],
    /// Expression, clamped to the channels' ranges.
    pub expression: [f32; 32],
}

fn clamp_expression(e: &[f32; 32]) -> [f32; 32] {
    std::array::from_fn(|i| {
        let signed = matches!(i, channel::JAW_SIDE | channel::MOUTH_SIDE | channel::GAZE_X | channel::GAZE_Y);
        let v = if e[i].is_finite() { e[i] } else { 0.0 };
        v.clamp(if signed { -1.0 } else { 0.0 }, 1.0)
    })
}

fn eyes(id_pos: &[V3], model: &Model, e: &[f32; 32]) -> [Eye; 2] {
    [0, 1].map(|k| {
        let p = id_pos[model.named[4 + k]];
        let centre = [p[0], p[1] + 0.02, p[2] - EYE_RADIUS + 0.075];
        let (gx, gy) = (e[channel::GAZE_X] * 0.50, e[channel::GAZE_Y] * 0.36);
        let gaze = normalize([sin(gx) * cos(gy), sin(gy), cos(gx) * cos(gy)]);
        Eye { centre, gaze, edge: 0.5, floor: -0.3 }
    })
}

/// Opens and closes the lids and lays them on the eyeballs.
fn lids(pos: &mut [V3], id: &[f32; IDENTITY], e: &[f32; 32], model: &Model, eyes: &mut [Eye; 2]) {
    let size = (1.0 + 0.13 * id[13]).clamp(0.6, 1.4);
    let wide = e[channel::EYE_WIDE];
    let droop = 0.012 * id[29].max(0.0);
    let mut edges = [[0.0f32; 3]; 2];
    for (k, edge) in edges.iter_mut().enumerate() {
        let (blink, squint) = (e[channel::BLINK + k], e[channel::SQUINT + k]);
        let look = e[channel::GAZE_Y];
        let upper = 0.090 * size - droop + 0.055 * wide + 0.03 * look - 0.035 * squint;
        let lower = -0.066 * size - 0.012 * wide + 0.012 * look + 0.045 * squint;
        let closed = -0.045 * size;
        *edge = [mix(upper, closed - 0.004, blink), mix(lower, closed + 0.004, blink * blink), blink];
        eyes[k].edge = edge[0] / EYE_RADIUS - 0.08;
        eyes[k].floor = edge[1] / EYE_RADIUS - 0.08;
    }
    for lid in &model.lids {
        let edge = edges[lid.eye];
        let t = lid.along.clamp(-1.0, 1.0);
        let arch = (1.0 - t * t).max(0.0);
        // Upper lids peak towards the nose, lower lids towards the temple.
        // Closed lids share one line.
        let lean = 1.0 + if lid.above { -0.12 } else { 0.15 } * t * (1.0 - edge[2]);
        let profile = arch * (1.55 - 0.55 * arch) * lean;
        let fall = super::math::exp(-(lid.away / 0.21) * (lid.away / 0.21));
        let p = &mut pos[lid.site];
        p[1] += profile * fall * if lid.above { edge[0] } else { edge[1] };
        let c = eyes[lid.eye].centre;
        let (dx, dy) = (p[0] - c[0], p[1] - c[1]);
        let r = EYE_RADIUS + 0.022;
        let q = r * r - dx * dx - dy * dy;
        if q > 0.0 {
            p[2] = p[2].max(c[2] + q.sqrt());
        }
    }
}

/// Adds the skin with its slit rims to the mesh.
fn skin(mesh: &mut Mesh, pos: &[V3], model: &Model) {
    for (i, (p, s)) in pos.iter().zip(&model.grid.sites).enumerate() {
        mesh.vertex(*p, [s.u, s.y], model.open[i], s.sway());
    }
    for t in &model.grid.tris {
        mesh.triangle(*t, Material::Skin);
    }
    for &(first, side, eye) in &model.grid.slit_rows {
        let (limit, mat, depth) = if eye { (0.9, Material::LidRim, 0.05) } else { (0.5, Material::LipRim, 0.16) };
        let up = if side == Side::Upper { 1.0 } else { -1.0 };
        let cols: Vec<usize> = (0..COLUMNS).filter(|c| model.grid.sites[first + c].x.abs() < limit).collect();
        // The rim belongs to the front of the head only.
        let cols: Vec<usize> = cols.into_iter().filter(|c| model.grid.sites[first + c].theta.abs() < 1.5).collect();
        mesh.grid(2, cols.len(), mat, |r, c| {
            let i = first + cols[c];
            let mut p = pos[i];
            if r == 1 {
                p[2] -= depth;
                p[1] += up * if eye { 0.0 } else { 0.02 };
            }
            let s = &model.grid.sites[i];
            (p, [s.u, s.y - up * 0.02 * r as f32], if r == 1 { 0.35 } else { 0.8 }, 1.0)
        });
    }
}

impl Posed {
    /// Builds the mesh of a head; `id` are the clamped identity numbers, `side` the smaller side of the picture in pixels.
    pub fn new(head: &Head, id: &[f32; IDENTITY], look: &Look, side: u32) -> Self {
        let model = model();
        let e = clamp_expression(&head.expression);
        let mut id_pos: Vec<V3> = model.grid.sites.iter().map(|s| s.pos).collect();
        let build = 1.0 - 2.0 * look::female(id);
        let years = [(look.age - 0.3) * 1.3, build];
        let mut id_shape = *id;
        shape::temper(&mut id_shape);
        let numbers = id_shape[..shape::SHAPES].iter().chain(&id_shape[slot::SHAPE..]).chain(&years);
        for (table, amount) in model.identity.iter().zip(numbers) {
            shape::apply(&mut id_pos, table, *amount);
        }
        let mut pos = id_pos.clone();
        for (table, amount) in model.expression.iter().zip(e) {
            shape::apply(&mut pos, table, amount);
        }
        let mut eyes = eyes(&id_pos, model, &e);
        lids(&mut pos, id, &e, model, &mut eyes);
        let mut mesh = Mesh::default();
        skin(&mut mesh, &pos, model);
        let mut landmarks = model.named.clone();
        let pupils = parts::eyes(&mut mesh, &eyes);
        landmarks.splice(0..0, pupils);
        parts::mouth(&mut mesh, &id_pos[model.named[15]], [pos[model.named[13]], pos[model.named[14]]], &e);
        parts::ears(&mut mesh, id, &id_pos, &model.grid);
        cloth::build(&mut mesh, id, look);
        if look.glasses {
            glasses::build(&mut mesh, look, &eyes, id_pos[model.named[10]]);
        }
        // Strands come last: their vertices belong to no triangle.
        whisker::build(&mut mesh, look, &pos, &model.grid, &model.brow, &model.jaw);
        strand::build(&mut mesh, look, &id_pos, &model.grid, &model.scalp, (side as f32 / 200.0).clamp(0.45, 1.0));
        let rest = eyes.map(|eye| [eye.centre[0], eye.centre[1], eye.centre[2] + EYE_RADIUS]);
        let rigid = model.rigid.iter().map(|&i| id_pos[i]).collect();
        Posed { mesh, landmarks, rigid, pupils: rest, eyes, expression: e }
    }

    /// Smoothed strength of an expression pair (left, right) for the wrinkles of one side.
    pub fn pair(&self, first: usize, x: f32) -> f32 {
        mix(self.expression[first], self.expression[first + 1], smooth(-0.1, 0.1, x))
    }
}
