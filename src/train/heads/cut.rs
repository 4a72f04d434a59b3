//! How hair is cut and combed: from the look's style, length, volume and wave to measures and directions.
//!
//! Input: the look. Output: a [`Cut`]; lengths in eye distances, directions in the space of the neutral head.

use super::look::{Look, Style};
use super::math::{add, dot, mix, mul, smooth, sub, V3};
use super::strand::SKULL;

/// From where short hair spreads.
const CROWN: V3 = [0.06, 1.70, -1.75];

/// Which way hair is combed.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Comb {
    /// Away from the crown.
    Crown,
    /// To both sides of a parting.
    Part,
    /// Backwards.
    Back,
    /// Straight away from the scalp.
    Out,
    /// To a knot.
    Knot(V3),
}

/// How the hair of one head is cut and combed; lengths in eye distances.
pub(super) struct Cut {
    pub comb: Comb,
    pub top: f32,
    pub sides: f32,
    /// Hair over the forehead, 0 for none.
    pub fringe: f32,
    /// Share of the first direction that points away from the scalp.
    pub lift: f32,
    /// Thickness of the hair.
    pub layer: f32,
    pub weight: f32,
    /// Radius and length of a curl.
    pub curl: [f32; 2],
    /// Disorder of single strands and of whole locks.
    pub loose: f32,
    pub part: f32,
    pub sweep: f32,
    pub width: f32,
    /// Share of the follicles used.
    pub dense: f32,
}

impl Cut {
    /// What all cuts begin with.
    fn base(look: &Look) -> Self {
        let w = look.wave;
        Cut {
            comb: Comb::Crown,
            top: 0.4,
            sides: 0.2,
            fringe: 0.0,
            lift: 0.35,
            layer: 0.08,
            weight: 0.12,
            curl: [0.075 * smooth(0.35, 1.0, w), mix(0.85, 0.38, w)],
            loose: 0.30,
            part: look.part,
            sweep: look.sweep,
            width: 0.016,
            dense: 1.0,
        }
    }

    /// Hair that hangs down `length` from its parting.
    fn hanging(look: &Look, length: f32) -> Self {
        let (v, w) = (look.volume, look.wave);
        Cut {
            comb: Comb::Part,
            top: length,
            sides: length * 0.92,
            lift: mix(0.15, 0.5, v),
            layer: mix(0.06, 0.20, v) + 0.08 * w,
            weight: 0.55,
            loose: mix(0.10, 0.22, w),
            width: 0.017,
            dense: 0.80,
            ..Cut::base(look)
        }
    }

    fn short(look: &Look) -> Self {
        let (l, v, w, base) = (look.length, look.volume, look.wave, Cut::base(look));
        Cut {
            comb: if look.sweep > 0.9 { Comb::Back } else { Comb::Crown },
            top: mix(0.14, 0.62, l * l),
            sides: mix(0.07, 0.26, l * v),
            lift: mix(0.30, 0.75, v),
            layer: mix(0.03, 0.17, v * l),
            curl: [base.curl[0] * 0.6, 0.30],
            loose: mix(0.25, 0.55, w),
            ..base
        }
    }

    fn parted(look: &Look) -> Self {
        let (l, v) = (look.length, look.volume);
        Cut {
            comb: if look.sweep > 0.3 { Comb::Back } else { Comb::Part },
            top: mix(0.45, 1.0, l),
            sides: mix(0.12, 0.38, l * v),
            lift: mix(0.35, 0.80, v),
            layer: mix(0.07, 0.22, v),
            weight: 0.22,
            loose: 0.22,
            ..Cut::base(look)
        }
    }

    fn curly(look: &Look) -> Self {
        let (l, v, w) = (look.length, look.volume, look.wave);
        Cut {
            comb: if w > 0.6 { Comb::Out } else { Comb::Part },
            top: mix(0.35, 1.5, l),
            sides: mix(0.22, 1.4, l * v),
            lift: 0.8,
            layer: mix(0.10, 0.45, v * l.max(0.4)),
            weight: mix(0.30, 0.06, w),
            curl: [mix(0.055, 0.085, v), mix(0.36, 0.20, w)],
            loose: 0.55,
            width: 0.019,
            dense: 0.75,
            ..Cut::base(look)
        }
    }

    fn tied(look: &Look) -> Self {
        let high = look.wave > 0.62;
        Cut {
            comb: Comb::Knot(if high { [0.0, 1.86, -1.75] } else { [0.0, mix(0.1, 1.1, look.length), -2.85] }),
            top: 2.4,
            sides: 2.2,
            lift: 0.05,
            layer: mix(0.02, 0.09, look.volume),
            weight: 0.0,
            curl: [0.006, 0.5],
            loose: 0.05,
            width: 0.015,
            dense: 0.9,
            ..Cut::base(look)
        }
    }

    /// The cut of a look; none for a bald head.
    pub fn new(look: &Look) -> Option<Self> {
        let l = look.length;
        if look.style == Style::Bald && look.bare_top < 0.25 {
            return None;
        }
        if look.style == Style::Bald || look.bare_top > 0.0 {
            // What is left around a bald top is worn short.
            return Some(Cut { top: 0.16, sides: mix(0.07, 0.22, l), layer: 0.03, width: 0.013, ..Cut::base(look) });
        }
        Some(match look.style {
            Style::Bald | Style::Short => Cut::short(look),
            Style::Parted => Cut::parted(look),
            Style::Long => Cut::hanging(look, mix(2.1, 4.0, l)),
            Style::Bob => Cut { loose: 0.14, ..Cut::hanging(look, mix(1.5, 2.25, l)) },
            Style::Fringe => {
                let fringe = mix(0.62, 0.98, look.volume);
                Cut { fringe, comb: Comb::Crown, ..Cut::hanging(look, mix(0.9, 3.4, l)) }
            }
            Style::Curly => Cut::curly(look),
            Style::Tied => Cut::tied(look),
        })
    }

    /// Direction of combing at `p` for a strand with its root at `root`.
    pub fn direction(&self, p: V3, root: V3) -> V3 {
        match self.comb {
            Comb::Crown => sub(p, CROWN),
            Comb::Out => add(mul(sub(p, SKULL), 0.7), [0.0, 0.15, 0.0]),
            Comb::Knot(at) => sub(at, p),
            Comb::Back => [0.25 * root[0], -0.35 * smooth(1.1, 0.3, root[1]) - 0.1, -1.0],
            Comb::Part => {
                let side = smooth(-0.05, 0.05, root[0] - self.part) * 2.0 - 1.0;
                [side, -0.45, -0.45 + 0.25 * smooth(-0.5, -1.8, root[2])]
            }
        }
    }

    /// True if a strand with its root at `root`, unrolled distance `u` from the middle, falls over the forehead.
    pub fn is_fringe(&self, root: V3, u: f32) -> bool {
        self.fringe > 0.0 && root[1] > 0.95 && root[2] > -0.75 && u.abs() < 0.85
    }

    /// Length of a strand; `rim` is 0 at the edge of the hair and 1 inside, the random numbers are those of the strand and of
    /// its lock.
    pub fn length(&self, root: V3, fringe: bool, rim: f32, own: &[f32; 4], of_lock: f32) -> f32 {
        if fringe {
            return self.fringe + 0.45 * (root[1] - 1.1).max(0.0) - 0.25 * (root[2] + 0.1) + 0.08 * of_lock;
        }
        if let Comb::Knot(at) = self.comb {
            let to = sub(at, root);
            // Some short hairs at the edge escape the knot.
            let loose = rim < 0.6 && own[1] > 0.93;
            return if loose { 0.25 + 0.5 * own[2] } else { dot(to, to).sqrt() * 1.12 };
        }
        let full = mix(self.sides, self.top, smooth(0.55, 1.25, root[1])) * (1.0 - 0.30 * of_lock * of_lock);
        let edge = match self.sides > 0.6 {
            // Short hairs frame the face at the edge of long hair.
            true if own[2] > 0.55 => 0.18,
            true => 0.85,
            false => 0.45,
        };
        full * mix(edge, 1.0, rim)
    }
}
