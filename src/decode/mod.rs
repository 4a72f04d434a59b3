//! The decoder: identity and 35 numbers per frame to pictures.
//!
//! Reading order: [`device`] (where and in what precision), [`identity`] (pack and identity to a tuned generator), `posed` (the
//! posed latent LH_t from a grid), `render` (styles, pixels), `crew` (several pictures side by side), [`paste()`] (the crop
//! back into the camera frame), [`retarget()`] (one person's numbers on another's face).
//! Source: equation 13 of the paper, `render_t = G(A(LH_t) + scatter(alpha_t, V))`.

mod crew;
pub mod device;
pub mod identity;
mod paste;
mod posed;
mod render;
pub mod retarget;

pub use device::{DeviceChoice, Precision};
pub use identity::tuned_generator;
#[cfg(feature = "analysis")]
pub(crate) use paste::Square;
pub use paste::{paste, Matte, FEATHER};
pub use posed::{GridOptions, PosedGrid};
pub use retarget::retarget;

use crate::bitstream::Identity;
use crate::error::Result;
use crate::frame::Frame;
use crate::pack::Pack;
use crate::params::FrameParams;
use crate::residual::Motion;
#[cfg(not(feature = "analysis"))]
use render::Renderer;
#[cfg(feature = "analysis")]
pub(crate) use render::Renderer;

/// How to decode.
#[derive(Clone, Debug)]
pub struct DecodeOptions {
    /// Where to render.
    pub device: DeviceChoice,
    /// Number format of the convolutions.
    pub precision: Precision,
    /// Threads of libtorch on the CPU; `None` leaves the setting of the process, which all decoders in it share.
    pub threads: Option<usize>,
    /// Most frames that each thread of [`Decoder::render_batch`] renders at once; 0 lets it choose by the resolution.
    pub batch: usize,
    /// Grid of posed latents.
    pub grid: GridOptions,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        DecodeOptions {
            device: DeviceChoice::Auto,
            precision: Precision::Auto,
            threads: None,
            batch: 0,
            grid: GridOptions::default(),
        }
    }
}

/// Turns parameters into pictures of one identity. It holds what it needs of the pack; one thread at a time.
#[derive(Debug)]
pub struct Decoder {
    options: DecodeOptions,
    renderer: Renderer,
}

impl Decoder {
    /// A decoder for `identity`, which must belong to `pack`.
    ///
    /// # Errors
    /// Misuse for an identity of another pack (both hashes are named); malformed for one that does not fit it; device.
    pub fn new(pack: &Pack, identity: &Identity, options: &DecodeOptions) -> Result<Decoder> {
        if let Some(threads) = options.threads {
            tch::set_num_threads(threads.clamp(1, i32::MAX as usize) as i32);
        }
        let device = options.device.resolve()?;
        let kind = options.precision.resolve(device)?;
        Ok(Decoder { options: options.clone(), renderer: Renderer::new(pack, identity, device, kind, &options.grid)? })
    }

    /// The picture of one frame, `resolution` pixels square. Roll is not part of it: it belongs to the placement.
    ///
    /// # Errors
    /// Misuse for parameters that are not finite; device.
    pub fn render(&mut self, params: &FrameParams) -> Result<Frame> {
        let mut frames = self.render_batch(std::slice::from_ref(params))?;
        frames.pop().ok_or_else(|| crate::Error::Device("libtorch: an empty picture".into()))
    }

    /// The pictures of several frames, in order; faster than one by one.
    ///
    /// # Errors
    /// As [`Decoder::render`].
    pub fn render_batch(&mut self, params: &[FrameParams]) -> Result<Vec<Frame>> {
        let batch = self.per_thread();
        self.renderer.frames(params, batch)
    }

    /// Pictures of which nothing is gained by rendering more at once.
    #[cfg(feature = "capi")]
    pub(crate) fn batch(&self) -> usize {
        self.per_thread() * self.renderer.hands(self.resolution())
    }

    /// Pictures that one thread renders at once.
    fn per_thread(&self) -> usize {
        match self.options.batch {
            0 => self.renderer.good_batch(self.resolution()),
            n => n,
        }
    }

    /// Side of [`Decoder::detailed`], pixels: twice [`Decoder::resolution`]; None for packs whose pictures are too large for it.
    pub fn detailed_side(&self) -> Option<u32> {
        crate::residual::detail_side(self.resolution())
    }

    /// What [`Decoder::render_batch`] gave for these parameters, a residual added since or not, at twice its side, with the identity's detail on it if there is one.
    /// `motions`: what [`Residual::apply`](crate::residual::Residual::apply) told of each picture; empty if nothing displaced any.
    ///
    /// # Errors
    /// Misuse for other pictures, or for another number of them than of parameters or motions, and with packs whose pictures are too large
    /// ([`Decoder::detailed_side`]); device.
    pub fn detailed(&mut self, pictures: &[Frame], params: &[FrameParams], motions: &[Option<Motion>]) -> Result<Vec<Frame>> {
        let side = self.resolution();
        let count = pictures.len();
        if !motions.is_empty() && motions.len() != count {
            return Err(crate::Error::Misuse(format!("{count} pictures and {} motions", motions.len())));
        }
        if count != params.len() || pictures.iter().any(|p| (p.width, p.height) != (side, side)) {
            let params = params.len();
            return Err(crate::Error::Misuse(format!("{count} pictures for {params} parameters, or not of {side} x {side}")));
        }
        let batch = self.per_thread();
        self.renderer.detailed(pictures, params, motions, batch)
    }

    /// By how much the parameters displace the nodes of the pictures, `[B, 2, 16, 16]`, if they do.
    #[cfg(feature = "analysis")]
    pub(crate) fn displacements(&self, params: &[FrameParams]) -> Result<Option<tch::Tensor>> {
        self.renderer.displacements(params)
    }

    /// Goes on with another person: from here the same numbers move another face. On failure the old identity stays.
    ///
    /// # Errors
    /// As [`Decoder::new`].
    pub fn swap_identity(&mut self, pack: &Pack, identity: &Identity) -> Result<()> {
        let (device, kind) = (self.renderer.device(), self.renderer.kind());
        self.renderer = Renderer::new(pack, identity, device, kind, &self.options.grid)?;
        Ok(())
    }

    /// Side of the pictures, pixels.
    pub fn resolution(&self) -> u32 {
        self.renderer.resolution()
    }

    /// What it runs on, for people to read: "Cpu, BFloat16".
    pub fn describe(&self) -> String {
        format!("{:?}, {:?}", self.renderer.device(), self.renderer.kind())
    }
}
