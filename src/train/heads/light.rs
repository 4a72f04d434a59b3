//! The light of a scene: a main lamp or window, a fill, a rim light behind, and what walls and ceiling send back.
//!
//! Input: identity numbers and the colour of the skin (the camera exposes for the face). Output: directions in camera space
//! and linear colours; [`Lights::arriving`] gives irradiance, [`Lights::gleam`] the mirror-like part.

use super::look::{slot, uniform};
use super::math::{add, cos, dot, mix, mix3, mul, normalize, pow, sin, smooth, V3};
use super::IDENTITY;

/// Lamps and surroundings of one picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lights {
    /// Direction towards the main light, its colour, and how wide it is: 0 a bare bulb, 1 a large window.
    pub key: V3,
    key_colour: V3,
    pub soft: f32,
    /// Direction and colour of the second light.
    fill: V3,
    fill_colour: V3,
    /// Direction and colour of the light behind the head.
    rim: V3,
    rim_colour: V3,
    /// Light from above, from below and from the viewer's side.
    sky: V3,
    ground: V3,
    front: V3,
    /// Half-way between main light and viewer: where highlights sit.
    pub half: V3,
}

/// How a surface answers light.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gloss {
    /// Strength of the highlight, about 0..1.
    pub strength: f32,
    /// Width: 0 a mirror, 1 matt.
    pub rough: f32,
}

fn direction(azimuth: f32, elevation: f32) -> V3 {
    let (s, c) = (sin(azimuth), cos(azimuth));
    let (se, ce) = (sin(elevation), cos(elevation));
    [s * ce, se, c * ce]
}

/// Colour of a lamp from cool (-1) to warm (1), luminance about 1.
fn warmth(t: f32) -> V3 {
    [1.0 + 0.16 * t, 1.0 - 0.01 * t.abs(), 1.0 - 0.26 * t]
}

fn luminance(c: V3) -> f32 {
    0.25 * c[0] + 0.62 * c[1] + 0.13 * c[2]
}

impl Lights {
    /// Lights of an identity; `skin` is its mean colour, `room` that of the background.
    pub fn new(id: &[f32; IDENTITY], skin: V3, room: V3) -> Self {
        let azimuth = id[slot::LIGHT_X] * 0.62;
        let key = direction(azimuth, 0.48 + id[slot::LIGHT_Y] * 0.26);
        let warm = id[slot::WARMTH] * 0.30;
        // From flat light, as before a screen or a large window, to one hard lamp.
        let contrast = smooth(-1.5, 2.8, id[slot::KEY] - 0.5 * id[slot::AMBIENT]);
        let key_colour = mul(warmth(warm), mix(0.75, 1.5, contrast));
        let side = if azimuth > 0.0 { -1.0 } else { 1.0 };
        let fill = direction(side * (0.75 + 0.25 * id[slot::FILL]), 0.15);
        let fill_colour = mul(warmth(-0.5 * warm + 0.3 * id[slot::FILL_HUE]), mix(0.32, 0.07, contrast));
        let rim = direction(side * (2.35 + 0.2 * id[slot::FILL]), 0.5);
        let rim_colour = mul(warmth(0.5 * id[slot::FILL_HUE]), 1.3 * smooth(0.1, 1.9, id[slot::RIM]));
        let around = mix(0.34, 0.11, contrast);
        let room = mix3([1.0; 3], mul(room, 1.0 / luminance(room).max(0.05)), 0.35);
        let tone = warmth(-0.35 * warm);
        let sky = mul([tone[0] * room[0], tone[1] * room[1], tone[2] * room[2]], around * 1.25);
        let ground = mul([room[0] * 1.08, room[1], room[2] * 0.90], around * 0.55);
        let front = mul(tone, around * (0.65 + 0.25 * id[slot::AMBIENT]).max(0.2));
        let soft = uniform(id[slot::SOFT]);
        let half = normalize(add(key, [0.0, 0.0, 1.0]));
        let mut lights = Lights { key, key_colour, soft, fill, fill_colour, rim, rim_colour, sky, ground, front, half };
        lights.expose(id, skin);
        lights
    }

    /// Scales all lights so that the face comes out well exposed, dark skins a little darker than light ones.
    fn expose(&mut self, id: &[f32; IDENTITY], skin: V3) {
        let views: [V3; 4] = [[0.0, 0.0, 1.0], [0.5, 0.0, 0.87], [-0.5, 0.0, 0.87], [0.0, 0.4, 0.92]];
        let mean = views.iter().map(|n| luminance(self.arriving(*n, [0.2; 3], 0.9, 0.85))).sum::<f32>() / 4.0;
        let adapted = pow(luminance(skin) / 0.42, -0.38);
        let gain = 0.92 * adapted * (1.0 + 0.13 * id[slot::EXPOSURE]) / mean.max(0.05);
        for c in
            [&mut self.key_colour, &mut self.fill_colour, &mut self.rim_colour, &mut self.sky, &mut self.ground, &mut self.front]
        {
            *c = mul(*c, gain);
        }
    }

    /// Colour of the main light.
    pub fn key_colour(&self) -> V3 {
        self.key_colour
    }

    /// Light from behind that shines through the edge of the hair.
    pub fn behind(&self, n: V3) -> V3 {
        let edge = 1.0 - n[2].clamp(0.0, 1.0);
        mul(self.rim_colour, edge * edge * dot(n, self.rim).max(0.0))
    }

    /// Light on a surface of normal `n`: `wrap` how far it reaches past the terminator per colour, `sun` the share of the
    /// main light that is not in shadow, `open` the share of the surroundings that is not hidden.
    pub fn arriving(&self, n: V3, wrap: V3, sun: f32, open: f32) -> V3 {
        let diffuse = |d: f32, w: f32| {
            let v = ((d + w) / (1.0 + w)).max(0.0);
            v * mix(1.0, v, 0.25 * w)
        };
        let (k, f, r) = (dot(n, self.key), dot(n, self.fill), dot(n, self.rim));
        let up = n[1] * 0.5 + 0.5;
        let toward = (n[2] * 0.5 + 0.5) * open;
        std::array::from_fn(|i| {
            // A wide light reaches further round.
            let w = wrap[i] + 0.22 * self.soft;
            self.key_colour[i] * diffuse(k, w) * sun
                + self.fill_colour[i] * diffuse(f, 0.35 + wrap[i]) * (0.3 + 0.7 * open)
                + self.rim_colour[i] * diffuse(r, 0.1) * open
                + open * mix(self.ground[i], self.sky[i], up)
                + self.front[i] * toward
        })
    }

    /// Mirror-like light towards the viewer.
    pub fn gleam(&self, n: V3, gloss: Gloss, sun: f32, open: f32) -> V3 {
        let edge = 1.0 - n[2].clamp(0.0, 1.0);
        let edge = edge * edge * edge * edge;
        // Schlick's approximation with 4 % at normal incidence, widened lobes stand for a rough surface.
        let fresnel = 0.05 + 0.55 * edge * (1.0 - 0.6 * gloss.rough);
        let power = mix(140.0, 9.0, gloss.rough.sqrt());
        let lobe = |l: V3| {
            let h = normalize(add(l, [0.0, 0.0, 1.0]));
            pow(dot(n, h).max(0.0), power) * (power + 8.0) * 0.040
        };
        let level = gloss.strength * fresnel;
        let (k, f) = (lobe(self.key) * sun * 2.2, lobe(self.fill) * open);
        let back = dot(n, self.rim).max(0.0) * edge * open;
        std::array::from_fn(|i| {
            level
                * (self.key_colour[i] * k
                    + self.fill_colour[i] * f
                    + 4.0 * self.rim_colour[i] * back
                    + 1.6 * self.sky[i] * open * edge)
        })
    }
}
