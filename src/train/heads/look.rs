//! What the identity numbers mean for colours, age, hair, glasses, clothes and background. Shape: [`super::shape`]; light:
//! [`super::light`].
//!
//! Colours are linear RGB. The first 32 identity numbers and those from [`slot::SHAPE`] on shape the head; the rest are named
//! in [`slot`]. Each number is normal; traits are spread evenly by its distribution function where people are.

use super::light::Lights;
use super::math::{mix, mix3, mul, smooth, V3};
use super::{Head, IDENTITY};

/// Positions of the identity numbers that are not shape.
pub(in crate::train) mod slot {
    pub const SKIN: usize = 32;
    pub const SKIN_HUE: usize = 33;
    pub const BLUSH: usize = 34;
    pub const FRECKLES: usize = 35;
    pub const EYE: usize = 36;
    pub const EYE_DARK: usize = 37;
    /// Eight numbers: the largest chooses the hair style.
    pub const STYLE: usize = 38;
    pub const HAIR_TONE: usize = 46;
    pub const HAIR_RED: usize = 47;
    pub const HAIR_GREY: usize = 48;
    pub const HAIR_LENGTH: usize = 49;
    pub const HAIR_VOLUME: usize = 50;
    pub const HAIR_WAVE: usize = 51;
    pub const PART: usize = 52;
    pub const BEARD: usize = 53;
    pub const MOUSTACHE: usize = 54;
    pub const STUBBLE: usize = 55;
    pub const GENDER: usize = 56;
    pub const LIP: usize = 57;
    pub const BROW_DARK: usize = 58;
    pub const GLASSES: usize = 59;
    pub const GLASSES_SHAPE: usize = 60;
    pub const GLASSES_SIZE: usize = 61;
    pub const GLASSES_TONE: usize = 62;
    pub const AGE: usize = 63;
    pub const LIGHT_X: usize = 64;
    pub const LIGHT_Y: usize = 65;
    pub const AMBIENT: usize = 66;
    pub const WARMTH: usize = 67;
    pub const KEY: usize = 68;
    /// Six numbers: two background colours.
    pub const BACK: usize = 69;
    pub const BACK_TURN: usize = 75;
    pub const BACK_KIND: usize = 76;
    pub const BACK_PLACE: usize = 77;
    /// Three numbers: clothes colour.
    pub const CLOTH: usize = 78;
    pub const COLLAR: usize = 81;
    pub const PATTERN: usize = 82;
    pub const RIM: usize = 83;
    pub const RECESS: usize = 84;
    pub const EXPOSURE: usize = 85;
    pub const SOFT: usize = 86;
    pub const FILL: usize = 87;
    pub const FILL_HUE: usize = 88;
    pub const OIL: usize = 89;
    pub const PORES: usize = 90;
    pub const MOLES: usize = 91;
    pub const BAGS: usize = 92;
    /// Shifts all fixed noise: where moles and strands lie.
    pub const GRAIN: usize = 93;
    pub const CREASE: usize = 94;
    pub const LINES: usize = 95;
    pub const BLOTCH: usize = 96;
    pub const DIMPLE: usize = 97;
    pub const BEARD_LENGTH: usize = 98;
    pub const BROW_ARCH: usize = 99;
    pub const LASH: usize = 100;
    pub const TEETH: usize = 101;
    pub const BLUR: usize = 102;
    pub const SWEEP: usize = 103;
    /// Sixteen further numbers of shape.
    pub const SHAPE: usize = 104;
}

/// Hair styles, in the order of the style numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Bald,
    Short,
    Parted,
    Long,
    Curly,
    Fringe,
    Tied,
    Bob,
}

/// Everything the renderer derives from the identity besides shape.
pub(super) struct Look {
    pub lights: Lights,
    /// Shift of the fixed noise.
    pub grain: f32,
    /// 0 about twenty years old, 1 about eighty.
    pub age: f32,
    pub skin: V3,
    pub lip: V3,
    pub lip_gloss: f32,
    pub blush: f32,
    pub blotch: f32,
    pub freckles: f32,
    /// Share of cells that hold a mole.
    pub moles: f32,
    pub oil: f32,
    pub pores: f32,
    /// Readiness to wrinkle, eye bags, fold beside the nose, cheek dimples, cleft of the chin.
    pub lines: f32,
    pub bags: f32,
    pub fold: f32,
    pub dimple: f32,
    pub cleft: f32,
    /// Height and depth of the lid crease.
    pub crease: f32,
    pub crease_depth: f32,
    pub iris: V3,
    pub limbal: f32,
    /// Radius of the pupil as share of the iris.
    pub pupil: f32,
    pub veins: f32,
    pub yellowed: f32,
    pub stained: f32,
    pub makeup: f32,
    /// Colour of painted lids.
    pub shadow: V3,
    pub lash: f32,
    pub style: Style,
    pub hair: V3,
    pub grey: f32,
    pub brow: V3,
    pub brow_thick: f32,
    pub brow_dense: f32,
    pub brow_arch: f32,
    pub length: f32,
    pub volume: f32,
    pub wave: f32,
    pub sweep: f32,
    pub part: f32,
    pub hairline: f32,
    pub recess: f32,
    pub bare_top: f32,
    /// Cover of a shaven scalp by short stubs.
    pub shaven: f32,
    pub beard: f32,
    pub moustache: f32,
    pub stubble: f32,
    pub beard_colour: V3,
    pub beard_line: f32,
    pub beard_length: f32,
    pub glasses: bool,
    pub glasses_shape: f32,
    pub glasses_size: f32,
    pub glasses_colour: V3,
    /// Rimless above 0.8, heavy below 0.3.
    pub glasses_rim: f32,
    pub lens_tint: V3,
    pub back: [V3; 2],
    pub back_dir: [f32; 2],
    pub back_kind: f32,
    pub back_place: f32,
    pub back_blur: f32,
    pub cloth: V3,
    pub cloth_second: V3,
    pub collar: f32,
    pub pattern: f32,
}

/// Square of a display colour: the linear value (gamma 2).
pub(super) fn linear(c: V3) -> V3 {
    [c[0] * c[0], c[1] * c[1], c[2] * c[2]]
}

/// Smooth approximation of the normal distribution function: a normal number becomes uniform in 0..1.
pub(super) fn uniform(n: f32) -> f32 {
    1.0 / (1.0 + super::math::exp(-1.702 * n))
}

/// Interpolates a list of colours at `t` in 0..1.
fn ramp(list: &[V3], t: f32) -> V3 {
    let f = t.clamp(0.0, 1.0) * (list.len() - 1) as f32;
    let i = (f as usize).min(list.len() - 2);
    mix3(list[i], list[i + 1], f - i as f32)
}

const SKINS: [V3; 8] = [
    [0.890, 0.750, 0.685],
    [0.860, 0.700, 0.618],
    [0.820, 0.645, 0.550],
    [0.750, 0.570, 0.468],
    [0.655, 0.478, 0.380],
    [0.545, 0.382, 0.295],
    [0.420, 0.280, 0.205],
    [0.305, 0.205, 0.160],
];
const HAIRS: [V3; 6] =
    [[0.10, 0.085, 0.08], [0.17, 0.125, 0.10], [0.30, 0.20, 0.14], [0.44, 0.32, 0.21], [0.64, 0.49, 0.32], [0.80, 0.67, 0.47]];
const IRISES: [V3; 7] = [
    [0.17, 0.10, 0.07],
    [0.26, 0.16, 0.09],
    [0.36, 0.24, 0.13],
    [0.40, 0.33, 0.19],
    [0.38, 0.40, 0.29],
    [0.38, 0.46, 0.48],
    [0.42, 0.53, 0.64],
];
const STYLES: [Style; 8] =
    [Style::Bald, Style::Short, Style::Parted, Style::Long, Style::Curly, Style::Fringe, Style::Tied, Style::Bob];

/// Identity numbers, clamped to the range in which the head stays human.
pub(super) fn clamped(head: &Head) -> [f32; IDENTITY] {
    head.identity.map(|v| if v.is_finite() { v.clamp(-2.5, 2.5) } else { 0.0 })
}

/// Share of womanly traits, 0..1.
pub(super) fn female(id: &[f32; IDENTITY]) -> f32 {
    smooth(-0.5, 0.5, id[slot::GENDER])
}

fn pick_style(id: &[f32; IDENTITY], female: f32, age: f32) -> Style {
    // Preferences shift with the second-to-none visible trait, so that styles and beards combine as people wear them.
    let bias = [
        mix(0.1 + 0.7 * age, -2.6, female),
        mix(1.2, -0.9, female),
        mix(0.8, -0.2, female),
        mix(-1.1, 0.9, female),
        0.0,
        mix(-0.6, 0.4, female),
        mix(-1.3, 0.5, female),
        mix(-1.5, 0.6, female),
    ];
    let mut best = (f32::MIN, Style::Short);
    for (i, style) in STYLES.into_iter().enumerate() {
        let score = id[slot::STYLE + i] + bias[i];
        if score > best.0 {
            best = (score, style);
        }
    }
    best.1
}

fn hair_colour(id: &[f32; IDENTITY], skin: f32) -> V3 {
    let tone = uniform(id[slot::HAIR_TONE]) * mix(1.0, 0.22, smooth(0.30, 0.65, skin));
    let base = ramp(&HAIRS, tone);
    let red = smooth(1.0, 2.0, id[slot::HAIR_RED]) * smooth(0.5, 0.25, skin);
    linear(mix3(base, [0.50, 0.25, 0.12], red * 0.85))
}

fn background(id: &[f32; IDENTITY]) -> [V3; 2] {
    [0, 3].map(|k| {
        let lum = uniform(id[slot::BACK + k] * 1.0 - 0.15);
        let warm = id[slot::BACK + k + 1] * 0.055;
        let green = id[slot::BACK + k + 2] * 0.025;
        let sat = 0.4 + lum;
        linear([lum + warm * sat, lum + green * sat, lum - warm * sat].map(|v| (v * 0.82 + 0.07).clamp(0.03, 0.95)))
    })
}

fn cloth(id: &[f32; IDENTITY], second: bool) -> V3 {
    let lum = uniform(id[slot::CLOTH] * if second { -0.9 } else { 1.1 } - 0.25);
    let (a, b) = if second { (id[slot::CLOTH + 2], -id[slot::CLOTH + 1]) } else { (id[slot::CLOTH + 1], id[slot::CLOTH + 2]) };
    let sat = 0.085 * (0.4 + 1.2 * lum * (1.6 - lum));
    linear(
        [0.07 + 0.78 * lum + sat * a, 0.07 + 0.78 * lum - 0.35 * sat * a + 0.2 * sat * b, 0.07 + 0.78 * lum - sat * b]
            .map(|v| v.clamp(0.03, 0.92)),
    )
}

impl Look {
    /// Derives the look of a head.
    pub fn new(id: &[f32; IDENTITY]) -> Self {
        let female = female(id);
        let age = uniform(id[slot::AGE]);
        let tone = uniform(id[slot::SKIN]);
        let hue = id[slot::SKIN_HUE] * 0.011;
        let s = ramp(&SKINS, tone);
        let skin = linear([s[0] - hue * 0.3, s[1], s[2] - hue * 1.3]);
        let skin = mix3(skin, [0.3 * skin[0] + 0.6 * skin[1] + 0.1 * skin[2]; 3], 0.07 + 0.10 * tone);
        let back = background(id);
        let mut look = Look::plain(id, skin, Lights::new(id, skin, mix3(back[0], back[1], 0.5)));
        (look.age, look.back) = (age, back);
        look.face(id, female, tone);
        look.hair(id, female, tone);
        look.dress(id, female);
        look
    }

    /// Everything at rest; the other functions fill it in.
    fn plain(id: &[f32; IDENTITY], skin: V3, lights: Lights) -> Self {
        let turn = id[slot::BACK_TURN] * 1.6;
        Look {
            lights,
            grain: 7.0 + 3.1 * id[slot::GRAIN],
            age: 0.0,
            skin,
            lip: skin,
            lip_gloss: 0.3,
            blush: 0.0,
            blotch: 0.0,
            freckles: 0.0,
            moles: 0.0,
            oil: (0.42 + 0.20 * id[slot::OIL]).clamp(0.12, 1.1),
            pores: (0.75 + 0.30 * id[slot::PORES]).clamp(0.15, 1.5),
            lines: (0.75 + 0.3 * id[slot::LINES]).clamp(0.1, 1.4),
            bags: 0.0,
            fold: 0.0,
            dimple: smooth(0.2, 1.6, id[slot::DIMPLE]),
            cleft: smooth(0.6, 2.0, -id[slot::DIMPLE]),
            crease: 0.06,
            crease_depth: 0.6,
            iris: skin,
            limbal: (0.72 + 0.15 * id[slot::EYE_DARK]).clamp(0.3, 1.0),
            pupil: (0.38 - 0.04 * id[slot::AMBIENT]).clamp(0.28, 0.48),
            veins: 0.0,
            yellowed: 0.0,
            stained: 0.0,
            makeup: 0.0,
            shadow: skin,
            lash: 0.5,
            style: Style::Short,
            hair: skin,
            grey: 0.0,
            brow: skin,
            brow_thick: 1.0,
            brow_dense: 1.0,
            brow_arch: 0.5 * id[slot::BROW_ARCH],
            length: uniform(id[slot::HAIR_LENGTH]),
            volume: uniform(id[slot::HAIR_VOLUME]),
            wave: uniform(id[slot::HAIR_WAVE]),
            sweep: id[slot::SWEEP],
            part: (id[slot::PART] * 0.32).clamp(-0.6, 0.6),
            hairline: 0.0,
            recess: 0.0,
            bare_top: 0.0,
            shaven: 0.0,
            beard: 0.0,
            moustache: 0.0,
            stubble: 0.0,
            beard_colour: skin,
            beard_line: 0.05 * id[slot::STUBBLE],
            beard_length: uniform(id[slot::BEARD_LENGTH]),
            glasses: id[slot::GLASSES] > 0.90,
            glasses_shape: uniform(id[slot::GLASSES_SHAPE]),
            glasses_size: 1.0 + 0.08 * id[slot::GLASSES_SIZE],
            glasses_colour: [0.0; 3],
            glasses_rim: uniform(id[slot::GLASSES_SIZE] * 0.5 - 0.8 * id[slot::GLASSES_TONE]),
            lens_tint: [0.95, 0.96, 0.955],
            back: [skin; 2],
            back_dir: [super::math::sin(turn), super::math::cos(turn)],
            back_kind: uniform(id[slot::BACK_KIND]),
            back_place: id[slot::BACK_PLACE],
            back_blur: uniform(id[slot::BLUR]),
            cloth: skin,
            cloth_second: skin,
            collar: uniform(id[slot::COLLAR]),
            pattern: id[slot::PATTERN],
        }
    }

    fn face(&mut self, id: &[f32; IDENTITY], female: f32, tone: f32) {
        let (age, skin) = (self.age, self.skin);
        let pale = smooth(0.6, 0.25, tone);
        self.makeup = female * smooth(-0.2, 1.5, id[slot::LIP]);
        let tint = 0.10 + 0.05 * id[slot::LIP] + 0.42 * self.makeup * smooth(0.4, 1.6, id[slot::LIP]);
        let painted = mix3([0.36, 0.05, 0.07], [0.42, 0.14, 0.12], uniform(2.0 * id[slot::BLUSH]));
        self.lip = mix3(bare_lip(skin, tone), painted, tint.clamp(0.0, 0.7));
        self.lip_gloss = 0.45 + 0.5 * self.makeup;
        self.blush = (0.65 + 0.35 * id[slot::BLUSH]).clamp(0.05, 1.5) * mix(0.6, 1.15, pale);
        self.blotch = (0.55 + 0.25 * id[slot::BLOTCH] + 0.35 * age).clamp(0.2, 1.5) * (1.0 - 0.4 * self.makeup);
        self.freckles = smooth(0.7, 2.1, id[slot::FRECKLES]) * smooth(0.6, 0.3, tone);
        self.moles = 0.06 + 0.10 * smooth(-0.5, 2.0, id[slot::MOLES]);
        self.bags = (0.25 + 0.22 * id[slot::BAGS] + 0.45 * age).clamp(0.0, 1.3);
        self.fold = (0.10 + 0.05 * id[slot::LINES] + 0.50 * age).clamp(0.03, 0.8);
        self.crease = (0.052 + 0.020 * id[slot::CREASE]).clamp(0.005, 0.10);
        self.crease_depth = (0.75 + 0.22 * id[slot::CREASE]).clamp(0.15, 1.2);
        let light_eyes = mix(1.0, 0.22, smooth(0.35, 0.6, tone));
        self.iris = mul(linear(ramp(&IRISES, uniform(id[slot::EYE]) * light_eyes)), 1.25 - 0.12 * id[slot::EYE_DARK]);
        self.veins = (0.35 + 0.3 * id[slot::BLOTCH] + 0.25 * age).clamp(0.0, 1.2);
        self.yellowed = (0.15 + 0.30 * age + 0.15 * id[slot::TEETH] + 0.25 * tone).clamp(0.0, 0.9);
        self.stained = (0.30 + 0.25 * id[slot::TEETH] + 0.35 * age).clamp(0.0, 1.0);
        self.shadow = mix3(mul(skin, 0.45), linear([0.35, 0.25, 0.28]), 0.4 + 0.15 * id[slot::LIP]);
        self.lash = (mix(0.50, 0.78, female) + 0.14 * id[slot::LASH] + 0.25 * self.makeup).clamp(0.2, 1.2);
    }

    fn hair(&mut self, id: &[f32; IDENTITY], female: f32, tone: f32) {
        let age = self.age;
        let dyed = female * smooth(0.0, 0.8, id[slot::HAIR_RED]) * 0.8;
        self.style = pick_style(id, female, age);
        self.hair = hair_colour(id, tone);
        self.grey = smooth(0.45, 1.25, age + 0.22 * id[slot::HAIR_GREY]) * (1.0 - dyed);
        self.hairline = 0.05 * id[slot::RECESS] * (1.0 - 0.5 * female);
        self.recess = smooth(-0.2, 2.0, id[slot::RECESS] + 1.4 * (age - 0.45)) * (1.0 - 0.85 * female);
        let bald = self.style == Style::Bald;
        self.bare_top = if bald || female < 0.5 { smooth(1.2, 2.2, id[slot::RECESS] + 2.0 * (age - 0.5)) } else { 0.0 };
        self.shaven = if bald { smooth(-1.2, 1.4, id[slot::HAIR_LENGTH]) * 0.85 } else { 0.0 };
        let own = mix3(self.hair, linear([0.62, 0.61, 0.60]), self.grey);
        self.brow =
            mix3(mul(mix3(self.hair, own, 0.6), 0.6), [0.02, 0.014, 0.010], (0.35 + 0.2 * id[slot::BROW_DARK]).clamp(0.0, 0.85));
        self.brow_thick = (1.0 + 0.16 * id[21] + mix(0.20, -0.18, female)).clamp(0.5, 1.6);
        self.brow_dense = (0.85 + 0.15 * id[slot::BROW_DARK] - 0.2 * age * female).clamp(0.35, 1.1);
        // Beards are grown or not: nothing between.
        let man = smooth(0.55, 0.85, 1.0 - female);
        self.beard = man * smooth(0.3, 0.75, id[slot::BEARD]);
        self.moustache = man * smooth(0.45, 0.75, id[slot::MOUSTACHE] + 0.7 * id[slot::BEARD]);
        self.stubble = man * smooth(-0.9, 1.6, id[slot::STUBBLE]) * mix(1.0, 0.55, self.grey) * mix(0.75, 1.0, tone);
        let bearded = mix3(mul(self.hair, 0.9), linear([0.60, 0.585, 0.57]), (1.25 * self.grey).min(1.0));
        self.beard_colour = bearded;
    }

    fn dress(&mut self, id: &[f32; IDENTITY], female: f32) {
        self.cloth = cloth(id, false);
        self.cloth_second = cloth(id, true);
        self.glasses_colour = linear(ramp(
            &[
                [0.06, 0.06, 0.07],
                [0.10, 0.08, 0.07],
                [0.30, 0.17, 0.09],
                [0.50, 0.42, 0.25],
                [0.55, 0.55, 0.57],
                [0.62, 0.60, 0.58],
            ],
            uniform(id[slot::GLASSES_TONE] * 1.1 - 0.5),
        ));
        if id[slot::GLASSES] > 2.2 {
            self.lens_tint = mix3([0.30, 0.27, 0.24], [0.42, 0.36, 0.30], female);
        }
    }
}

/// Bare lips: the skin with more blood in it; dark skins have darker, less red lips.
fn bare_lip(skin: V3, tone: f32) -> V3 {
    let factor = mix3([0.72, 0.42, 0.43], [0.80, 0.58, 0.60], smooth(0.3, 0.9, tone));
    [skin[0] * factor[0], skin[1] * factor[1], skin[2] * factor[2]]
}
