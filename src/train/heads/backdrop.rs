//! What is behind the head: walls and rooms out of focus.
//!
//! Input: the look. Output: linear colour at a pixel. All edges are as soft as the blur, drawn analytically.

use super::look::Look;
use super::math::{dice, exp, fractal, mix, mix3, mul, noise, smooth, tint, V3};

/// What stands behind the person.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Wall,
    Studio,
    Shelf,
    Window,
    Curtain,
    Boards,
    Bokeh,
    Garden,
    Room,
}

const KINDS: [Kind; 12] = [
    Kind::Wall,
    Kind::Studio,
    Kind::Room,
    Kind::Shelf,
    Kind::Window,
    Kind::Wall,
    Kind::Curtain,
    Kind::Boards,
    Kind::Room,
    Kind::Bokeh,
    Kind::Garden,
    Kind::Shelf,
];

/// The background of one picture.
pub(super) struct Backdrop {
    kind: Kind,
    colours: [V3; 2],
    direction: [f32; 2],
    /// Place of things, as a shift of the fixed noise.
    place: f32,
    seed: i32,
    /// Width of edges, fraction of the picture.
    blur: f32,
    side: f32,
    /// Light on the wall.
    level: V3,
}

/// 1 between `a` and `b`, with soft edges.
fn band(x: f32, a: f32, b: f32, blur: f32) -> f32 {
    smooth(a - blur, a + blur, x) * smooth(b + blur, b - blur, x)
}

impl Backdrop {
    /// For a picture of `width` x `height` pixels.
    pub fn new(look: &Look, width: usize, height: usize) -> Self {
        let kind = KINDS[((look.back_kind * KINDS.len() as f32) as usize).min(KINDS.len() - 1)];
        let seed = (look.back_place * 1000.0) as i32;
        Backdrop {
            kind,
            colours: look.back,
            direction: look.back_dir,
            place: look.back_place * 3.0,
            seed,
            blur: mix(0.006, 0.05, look.back_blur),
            side: width.min(height) as f32,
            level: [0.95; 3],
        }
    }

    /// Colour at a pixel position.
    pub fn colour(&self, px: f32, py: f32) -> V3 {
        let (x, y) = (px / self.side, py / self.side);
        let t = 0.5 + (x - 0.5) * self.direction[0] + (y - 0.5) * self.direction[1];
        let c = match self.kind {
            Kind::Wall => self.wall(x, y, t),
            Kind::Studio => self.studio(x, y),
            Kind::Shelf => self.shelf(x, y, t),
            Kind::Window => self.window(x, y, t),
            Kind::Curtain => self.curtain(x, y, t),
            Kind::Boards => self.boards(x, y, t),
            Kind::Bokeh => self.bokeh(x, y, t),
            Kind::Garden => self.garden(x, y),
            Kind::Room => self.room(x, y, t),
        };
        tint(c, self.level)
    }

    fn die(&self, a: i32, b: i32) -> f32 {
        dice(a * 7 + self.seed, b * 13 - self.seed)
    }

    fn wall(&self, x: f32, y: f32, t: f32) -> V3 {
        let c = mix3(self.colours[0], mul(self.colours[0], 0.62), smooth(0.0, 1.1, t));
        // A wall is never quite even: soft shadows, sometimes a picture frame.
        let mut c = mul(c, 1.0 + 0.07 * fractal(x * 1.7 + self.place, y * 1.7, 2, 99.0) + 0.015 * noise(x * 60.0, y * 60.0));
        if self.die(1, 1) > 0.45 {
            let (w, h) = (0.12 + 0.1 * self.die(2, 1), 0.12 + 0.12 * self.die(3, 1));
            let left = if self.die(4, 1) > 0.5 { 0.02 - 0.5 * w } else { 0.86 };
            let top = 0.05 + 0.35 * self.die(5, 1);
            let frame = band(x, left, left + w, self.blur) * band(y, top, top + h, self.blur);
            let inner = band(x, left + 0.02, left + w - 0.02, self.blur) * band(y, top + 0.02, top + h - 0.02, self.blur);
            c = mix3(c, mul(self.colours[1], 0.35), frame);
            c = mix3(c, mul(self.colours[1], 1.0 + 0.5 * fractal(x * 14.0, y * 14.0 + self.place, 3, 30.0)), inner);
        }
        c
    }

    fn studio(&self, x: f32, y: f32) -> V3 {
        let (dx, dy) = (x - 0.5 - 0.12 * self.direction[0], y - 0.45);
        let glow = exp(-2.2 * (dx * dx + dy * dy));
        mul(self.colours[0], mix(0.55, 1.15, glow) * (1.0 + 0.05 * fractal(x * 3.0 + self.place, y * 3.0, 3, 99.0)))
    }

    fn shelf(&self, x: f32, y: f32, t: f32) -> V3 {
        let wall = mul(self.colours[0], mix(1.0, 0.7, t));
        let height = 0.20 + 0.08 * self.die(9, 9);
        let fy = (y + 0.1 * self.die(8, 8)) / height;
        let (row, v) = (fy.floor() as i32, fy - fy.floor());
        let wood = mix3(mul(self.colours[1], 0.6), [0.10, 0.06, 0.035], 0.5);
        // Books of different widths stand side by side; some places are empty.
        let fx = x * 19.0 + 2.0 * noise(x * 5.0 + self.place, row as f32 * 3.0) + 5.0 * self.die(row, 2);
        let (book, u) = (fx.floor() as i32, fx - fx.floor());
        let soft = (self.blur * 19.0).min(0.45);
        let top = 0.12 + 0.40 * self.die(book, row + 40) * self.die(book, row + 90);
        let lit = 0.4 + 0.6 * self.die(book, row + 3);
        let hue = [self.die(book, row + 7), self.die(book, row + 11), self.die(book, row + 13)];
        let grey = (hue[0] + hue[1] + hue[2]) / 3.0;
        let cover = hue.map(|h| 0.42 * lit * mix(grey, h, 0.55) * mix(grey, h, 0.55) + 0.02);
        let empty = self.die(book / 4, row + 21) > 0.62;
        let shade = mix(0.35, 0.8, smooth(0.0, 0.6, v));
        let inside = mul(wood, 0.45 * shade);
        let spine = if empty { 0.0 } else { smooth(top - 0.06, top + 0.06, v) * band(u, 0.03, 0.97, soft) };
        let mut c = mix3(inside, mul(cover, 0.6 + 0.4 * shade), spine);
        let edge = self.blur / height;
        c = mix3(c, mul(wood, 1.3), smooth(0.90 - edge, 0.92 + edge, v).max(smooth(0.03 + edge, 0.01 - edge, v)));
        let side = if self.die(3, 3) > 0.5 { x } else { 1.0 - x };
        mix3(c, wall, smooth(0.30 + 0.3 * self.die(5, 5) - self.blur, 0.30 + 0.3 * self.die(5, 5) + self.blur, side) * 0.98)
    }

    fn window(&self, x: f32, y: f32, t: f32) -> V3 {
        let wall = mul(self.colours[0], mix(0.75, 0.4, t));
        let left = -0.15 + 0.75 * self.die(1, 4);
        let (w, top, bottom) = (0.5 + 0.25 * self.die(2, 4), -0.1 + 0.15 * self.die(3, 4), 0.55 + 0.2 * self.die(4, 4));
        let u = (x - left) / w;
        let outside = mix3(
            [0.95, 0.98, 1.05],
            [0.45, 0.52, 0.38],
            smooth(0.35, 0.6, y + 0.12 * fractal(x * 5.0 + self.place, y * 5.0, 3, 20.0)),
        );
        let bar = band((u * 2.0).fract(), 0.06, 0.94, self.blur * 4.0) * band(y, top, bottom, self.blur);
        let pane = band(u, 0.0, 1.0, self.blur / w) * bar;
        let frame = band(u, -0.07, 1.07, self.blur / w) * band(y, top - 0.04, bottom + 0.04, self.blur);
        let c = mix3(wall, mul([0.8, 0.78, 0.75], 0.5), frame);
        let glow = exp(-6.0 * ((u - 0.5).abs() - 0.5).max(0.0)) * 0.12;
        mix3(mul(c, 1.0 + glow), mul(outside, 1.15), pane)
    }

    fn curtain(&self, x: f32, y: f32, t: f32) -> V3 {
        let sway = 0.012 * noise(y * 4.0, self.place);
        let f = fractal((x + sway) * 11.0 + self.place, y * 0.6, 3, mix(60.0, 12.0, smooth(0.0, 0.05, self.blur)));
        let c = mix3(self.colours[0], self.colours[1], 0.3 * smooth(0.2, 0.9, t));
        mul(c, (0.85 + 0.55 * f).max(0.2))
    }

    fn boards(&self, x: f32, y: f32, t: f32) -> V3 {
        let across = self.die(2, 2) > 0.5;
        let (a, b) = if across { (y, x) } else { (x, y) };
        let n = 4.0 + 6.0 * self.die(6, 6);
        let f = a * n + self.place;
        let (i, u) = (f.floor() as i32, f - f.floor());
        let grain = fractal(b * 3.0 + 9.0 * self.die(i, 5), a * 40.0, 2, mix(80.0, 20.0, smooth(0.0, 0.05, self.blur)));
        let wood = mix3(self.colours[0], [0.34, 0.21, 0.11], 0.6);
        let tone = 0.75 + 0.4 * self.die(i, 1) + 0.18 * grain;
        let gap = band(u, 0.02, 0.98, self.blur * n);
        mul(wood, tone * mix(0.45, 1.0, gap) * mix(1.05, 0.7, t))
    }

    fn bokeh(&self, x: f32, y: f32, t: f32) -> V3 {
        let mut c = mul(mix3(self.colours[0], self.colours[1], smooth(0.0, 1.0, t)), 0.35);
        for i in 0..14 {
            let (bx, by) = (self.die(i, 31), self.die(i, 57) * 0.9);
            let r = 0.02 + 0.055 * self.die(i, 5);
            let d = ((x - bx) * (x - bx) + (y - by) * (y - by)).sqrt();
            let disc = smooth(r * 1.15, r * 0.85, d) * (0.7 + 0.3 * smooth(r * 0.6, r, d));
            let warm = self.die(i, 91);
            let lamp = mix3([1.0, 0.62, 0.25], [0.65, 0.80, 1.0], smooth(0.3, 0.9, warm));
            c = super::math::add(c, mul(lamp, disc * 0.5 * (0.3 + self.die(i, 17))));
        }
        c
    }

    fn garden(&self, x: f32, y: f32) -> V3 {
        let finest = mix(18.0, 5.0, smooth(0.0, 0.05, self.blur));
        let leaves = fractal(x * 3.0 + self.place, y * 3.0, 4, finest);
        let green = mix3([0.05, 0.09, 0.03], [0.30, 0.38, 0.16], smooth(-0.5, 0.7, leaves));
        let sky = smooth(0.30, -0.05, y + 0.25 * leaves);
        let ground = smooth(0.65, 0.85, y + 0.1 * leaves);
        mix3(mix3(green, [0.80, 0.88, 0.98], sky), mul(self.colours[1], 0.5), ground)
    }

    fn room(&self, x: f32, y: f32, t: f32) -> V3 {
        let corner = 0.15 + 0.7 * self.die(4, 7);
        let side = smooth(corner - self.blur, corner + self.blur, x);
        let mut c = mul(mix3(self.colours[0], mul(self.colours[0], 0.68), side), mix(1.0, 0.78, t));
        // Furniture: boxes of different height along the wall, a lamp, a door.
        for i in 0..4 {
            let left = -0.1 + 0.32 * i as f32 + 0.2 * self.die(i, 2);
            let (w, top) = (0.12 + 0.22 * self.die(i, 3), 0.35 + 0.45 * self.die(i, 4));
            let on = band(x, left, left + w, self.blur) * smooth(top - self.blur, top + self.blur, y);
            let own = mix3(self.colours[1], [self.die(i, 5), self.die(i, 6), self.die(i, 7)].map(|v| 0.12 + 0.25 * v * v), 0.5);
            c = mix3(c, mul(own, 0.75 + 0.3 * noise(x * 9.0, y * 9.0 + self.place)), 0.92 * on);
        }
        if self.die(9, 2) > 0.5 {
            let (lx, ly) = (self.die(9, 3), 0.05 + 0.3 * self.die(9, 4));
            let q = ((x - lx) * (x - lx) + (y - ly) * (y - ly)) / 0.02;
            c = super::math::add(c, mul([0.60, 0.46, 0.30], exp(-q) * 0.5 + smooth(0.32, 0.20, q) * 0.9));
        }
        c
    }
}
