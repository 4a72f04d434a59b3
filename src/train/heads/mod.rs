//! A parametric 3-D head renderer: pictures of people who do not exist, with exact ground truth.
//!
//! A [`Head`] is numbers only: who it is, how it is turned, what the face does, how it is framed. [`render`] gives the
//! picture, a class per pixel and landmarks. The same head gives the same bytes on every machine: no random state, no
//! functions of the system's mathematics library. The stages follow the file list: [`template`](self) (unit head),
//! `shape` (displacements), `pose` (one head's mesh, with the strands of `strand` and `whisker`), `framing` (camera), `raster`
//! (visibility), `shade` (light and colour; `light`, `shadow`, `occlusion` and `scatter` are its parts, `skin`, `eye`, `mouth`,
//! `cloth` its materials). [`Camera`] makes of a clean picture what a webcam would deliver.
//! Source: own construction, after average adult head measurements in units of the distance of the eyes.

mod backdrop;
mod camera;
mod clip;
mod cloth;
mod cut;
mod eye;
mod folds;
mod follicle;
mod framing;
mod glasses;
mod light;
mod look;
mod math;
mod mesh;
mod mouth;
mod occlusion;
mod parts;
mod pose;
mod raster;
mod sample;
mod scatter;
mod shade;
mod shadow;
mod shape;
mod skin;
mod strand;
mod strand_light;
mod surface;
mod template;
#[cfg(test)]
mod tests;
mod whisker;

pub use camera::Camera;
pub use clip::{head_at, ClipSpec, CLIP_IDENTITY_BASE};
pub(super) use look::slot;
pub use sample::{pair, sample};

use crate::frame::Frame;
pub use crate::random::Rng;

/// How many numbers describe who the head is; each is meant to be drawn from N(0, 1) and is clamped to -2.5..2.5.
pub const IDENTITY: usize = 120;

/// Names of the expression channels. Signed channels (`jaw_side`, `mouth_side`, `gaze_x`, `gaze_y`) run from -1 to 1,
/// the others from 0 (neutral) to 1. Left and right are the viewer's, as in the picture; positive `jaw_side`,
/// `mouth_side` and `gaze_x` go to the right edge of the picture, positive `gaze_y` looks up.
pub const EXPRESSION_NAMES: [&str; 32] = [
    "jaw_open",
    "jaw_side",
    "pucker",
    "funnel",
    "smile_left",
    "smile_right",
    "frown_left",
    "frown_right",
    "lip_press",
    "lip_roll_upper",
    "lip_roll_lower",
    "mouth_side",
    "upper_lip_raise",
    "lower_lip_drop",
    "stretch_left",
    "stretch_right",
    "cheek_puff",
    "chin_raise",
    "brow_inner_up",
    "brow_outer_up_left",
    "brow_outer_up_right",
    "brow_down_left",
    "brow_down_right",
    "squint_left",
    "squint_right",
    "blink_left",
    "blink_right",
    "gaze_x",
    "gaze_y",
    "eye_wide",
    "nose_wrinkle",
    "tongue_out",
];

/// Indices of expression channels that code refers to by name.
pub mod channel {
    /// Jaw opening.
    pub const JAW_OPEN: usize = 0;
    /// Jaw to the side, signed.
    pub const JAW_SIDE: usize = 1;
    /// Lips pushed forward and together.
    pub const PUCKER: usize = 2;
    /// Lips pushed forward and open.
    pub const FUNNEL: usize = 3;
    /// Smile of the viewer's left mouth corner; the right one follows.
    pub const SMILE: usize = 4;
    /// Lips pressed together.
    pub const LIP_PRESS: usize = 8;
    /// Mouth to the side, signed.
    pub const MOUTH_SIDE: usize = 11;
    /// Upper lip raised.
    pub const UPPER_LIP_RAISE: usize = 12;
    /// Lower lip dropped.
    pub const LOWER_LIP_DROP: usize = 13;
    /// Viewer's left mouth corner drawn aside; the right one follows.
    pub const STRETCH: usize = 14;
    /// Chin pushed up.
    pub const CHIN_RAISE: usize = 17;
    /// Inner brows raised.
    pub const BROW_INNER_UP: usize = 18;
    /// Viewer's left outer brow raised; the right one follows.
    pub const BROW_OUTER_UP: usize = 19;
    /// Viewer's left brow lowered; the right one follows.
    pub const BROW_DOWN: usize = 21;
    /// Viewer's left eye narrowed; the right one follows.
    pub const SQUINT: usize = 23;
    /// Viewer's left eye closed; the right one follows.
    pub const BLINK: usize = 25;
    /// Gaze to the side, signed.
    pub const GAZE_X: usize = 27;
    /// Gaze up or down, signed.
    pub const GAZE_Y: usize = 28;
    /// Eyes opened wide.
    pub const EYE_WIDE: usize = 29;
    /// Nose wrinkled.
    pub const NOSE_WRINKLE: usize = 30;
    /// Tongue between the lips.
    pub const TONGUE_OUT: usize = 31;
}

/// How the head lies in the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Framing {
    /// The crop of a face stabiliser: at neutral pose the eyes' middle sits at (0.5, 0.47) of the crop side R and the
    /// eyes are 0.25 R apart; a turned head is brought nearest to that by shift, scale and rotation in the picture.
    Aligned {
        /// Shift to the right, fraction of R.
        dx: f32,
        /// Shift downwards, fraction of R.
        dy: f32,
        /// Size factor, 1 for none.
        scale: f32,
        /// Rotation, degrees, positive clockwise on screen.
        roll_degrees: f32,
    },
    /// A fixed camera: the background stays, the head moves.
    Camera {
        /// Where the centre of the upright crop would be, fraction of the frame's width.
        x: f32,
        /// The same, fraction of the frame's height.
        y: f32,
        /// Crop side, fraction of the frame's height.
        scale: f32,
        /// Rotation of the head in the picture, degrees, positive clockwise on screen.
        roll_degrees: f32,
    },
}

impl Default for Framing {
    fn default() -> Self {
        Framing::Aligned { dx: 0.0, dy: 0.0, scale: 1.0, roll_degrees: 0.0 }
    }
}

/// Everything that determines a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Who: see [`IDENTITY`].
    pub identity: [f32; IDENTITY],
    /// Degrees, positive turns the face towards the right edge of the picture; -35..35.
    pub yaw: f32,
    /// Degrees, positive looks up; -25..25.
    pub pitch: f32,
    /// Channels in the order of [`EXPRESSION_NAMES`].
    pub expression: [f32; 32],
    /// Where in the picture.
    pub framing: Framing,
}

impl Default for Head {
    fn default() -> Self {
        Head { identity: [0.0; IDENTITY], yaw: 0.0, pitch: 0.0, expression: [0.0; 32], framing: Framing::default() }
    }
}

/// Names of the label classes; a label is an index into this list. The matte is every class but 0.
pub const LABEL_NAMES: [&str; 12] =
    ["background", "skin", "forehead", "jaw", "brows", "lids", "iris", "lips", "inner_mouth", "hair", "clothes", "glasses"];

/// Label classes as numbers; "lids" includes the white of the eye, "jaw" the chin, "clothes" the neck.
pub mod label {
    /// Not part of the person.
    pub const BACKGROUND: u8 = 0;
    /// Cheeks, nose, ears, temples.
    pub const SKIN: u8 = 1;
    /// Above the brows.
    pub const FOREHEAD: u8 = 2;
    /// Chin and jaw.
    pub const JAW: u8 = 3;
    /// Eyebrows.
    pub const BROWS: u8 = 4;
    /// Eyelids and the white of the eye.
    pub const LIDS: u8 = 5;
    /// Iris and pupil.
    pub const IRIS: u8 = 6;
    /// Lips.
    pub const LIPS: u8 = 7;
    /// Teeth, tongue and the dark of the open mouth.
    pub const INNER_MOUTH: u8 = 8;
    /// Hair of the head.
    pub const HAIR: u8 = 9;
    /// Clothes and neck.
    pub const CLOTHES: u8 = 10;
    /// Frames of glasses.
    pub const GLASSES: u8 = 11;
    /// How many classes there are.
    pub(super) const COUNT: usize = super::LABEL_NAMES.len();
}

/// Names of the landmarks, in the order of [`HeadImage::landmarks`]; left and right are the viewer's.
pub const LANDMARK_NAMES: [&str; 22] = [
    "eye_left",
    "eye_right",
    "eye_left_outer",
    "eye_left_inner",
    "eye_right_inner",
    "eye_right_outer",
    "lid_left_upper",
    "lid_right_upper",
    "brow_left_outer",
    "brow_left_inner",
    "brow_right_inner",
    "brow_right_outer",
    "nose_bridge",
    "nose_tip",
    "nose_base",
    "mouth_left",
    "mouth_right",
    "lip_upper",
    "lip_lower",
    "chin",
    "cheek_left",
    "cheek_right",
];

/// A rendered head.
#[derive(Clone, Debug)]
pub struct HeadImage {
    /// The picture.
    pub frame: Frame,
    /// One class per pixel, rows from the top: see [`LABEL_NAMES`].
    pub labels: Vec<u8>,
    /// Points named by [`LANDMARK_NAMES`], pixels (x, y) from the top left corner; 0.5 is the middle of the first pixel.
    pub landmarks: Vec<(f32, f32)>,
}

/// Renders a square picture of `size` pixels (at least 8).
pub fn render(head: &Head, size: u32) -> HeadImage {
    render_camera(head, size, size)
}

/// Renders a picture of `width` x `height` pixels (each at least 8). Single-threaded: callers run several at once.
pub fn render_camera(head: &Head, width: u32, height: u32) -> HeadImage {
    let (width, height) = (width.clamp(8, crate::limits::MAX_FRAME_SIDE), height.clamp(8, crate::limits::MAX_FRAME_SIDE));
    let id = look::clamped(head);
    let look = look::Look::new(&id);
    let posed = pose::Posed::new(head, &id, &look, width.min(height));
    let view = framing::View::new(head, &posed, width, height);
    let screen = view.project(&posed);
    let landmarks = posed.landmarks.iter().map(|&i| (screen.points[i][0], screen.points[i][1])).collect();
    let (w, h) = (width as usize, height as usize);
    let seen = raster::rasterise(&posed.mesh, &screen, w, h);
    let picture = shade::shade(&posed, &look, &screen, &seen, w, h);
    let data = picture.light.iter().flat_map(|c| c.map(shade::byte)).collect();
    let frame =
        Frame::new(width, height, data).expect("there are 3 bytes for each of width * height pixels, and the sides are clamped");
    HeadImage { frame, labels: picture.labels, landmarks }
}
