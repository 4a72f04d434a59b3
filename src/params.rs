//! What is sent: the 35 numbers of a frame, where the crop sits, and the latent they are relative to.

/// Expression channels per frame: |V| of the paper.
pub const EXPRESSIONS: usize = 32;
/// Numbers per frame: yaw, pitch, roll and the expression offsets.
pub const PARAMS: usize = 3 + EXPRESSIONS;

/// The parameters of one frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrameParams {
    /// Y_t: head turned left/right, degrees; positive turns the face towards the right edge of the picture.
    pub yaw: f32,
    /// P_t: head nodding, degrees; positive looks up.
    pub pitch: f32,
    /// R_t: rotation of the crop in the camera frame, degrees; positive is clockwise as seen on screen. Not part of the upright render.
    pub roll: f32,
    /// alpha_t: offsets added to the 32 StyleSpace channels V.
    pub alpha: [f32; EXPRESSIONS],
}

impl Default for FrameParams {
    fn default() -> Self {
        FrameParams { yaw: 0.0, pitch: 0.0, roll: 0.0, alpha: [0.0; EXPRESSIONS] }
    }
}

impl FrameParams {
    /// The numbers in the order of the stream: yaw, pitch, roll, alpha.
    pub fn to_array(&self) -> [f32; PARAMS] {
        let mut out = [0.0; PARAMS];
        out[..3].copy_from_slice(&[self.yaw, self.pitch, self.roll]);
        out[3..].copy_from_slice(&self.alpha);
        out
    }

    /// Inverse of [`FrameParams::to_array`].
    pub fn from_array(values: &[f32; PARAMS]) -> Self {
        let mut alpha = [0.0; EXPRESSIONS];
        alpha.copy_from_slice(&values[3..]);
        FrameParams { yaw: values[0], pitch: values[1], roll: values[2], alpha }
    }
}

/// Where the upright crop sits in the camera frame (its rotation is [`FrameParams::roll`]).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    /// Centre of the crop, camera pixels from the left edge (0.5 is the middle of the first pixel).
    pub x: f32,
    /// Centre of the crop, camera pixels from the top edge.
    pub y: f32,
    /// Side of the crop in camera pixels.
    pub side: f32,
}

/// A W+ latent: one row of `dim` numbers per style input of the generator, `rows = 2 log2(R) - 2`.
#[derive(Clone, Debug, PartialEq)]
pub struct WPlus {
    /// Number of rows.
    pub rows: usize,
    /// Numbers per row.
    pub dim: usize,
    /// Row-major values.
    pub data: Vec<f32>,
}
