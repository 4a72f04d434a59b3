//! Parameters to pictures: posed rows and constant rows to styles, alpha added to V, synthesis, 8-bit RGB.
//!
//! Only the styles of the four posed rows are computed per frame; those of the other rows are constants of the identity.

use super::identity::{latent_tensor, tuned_generator};
use super::posed::{GridOptions, PosedGrid, MOST_DEGREES};
use crate::bitstream::Identity;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::net::detail::Enlarger;
use crate::net::flow::POSED_ROWS;
use crate::net::ops::{from_vec, to_frames, to_tensor, Calc};
use crate::net::synthesis::nodes;
use crate::net::warp::{NODES, SIDES_PER_UNIT};
use crate::net::{Frozen, Generator, Moved, DIRECTION_DEGREES, NUMBERS};
use crate::pack::Pack;
use crate::params::FrameParams;
use crate::residual::{detail_picture, detail_side, Motion};
use tch::{no_grad, Device, Kind, Tensor};

/// Everything that turns one identity's parameters into pictures.
#[derive(Debug)]
pub(crate) struct Renderer {
    frozen: Frozen,
    posed: PosedGrid,
    styles: Vec<Style>,
    /// What one unit of each number displaces the nodes by `[34, 2 x 16 x 16]`, if any does.
    warps: Option<Tensor>,
    /// What lies on the enlarged pictures, `[1, 3, 2R, 2R]`, if anything does.
    detail: Option<Tensor>,
    /// Makes pictures of twice the side, where such may be asked for.
    enlarger: Option<Enlarger>,
    resolution: u32,
}

/// How one StyleSpace vector comes about.
#[derive(Debug)]
struct Style {
    /// The vector of a row that the pose leaves alone `[1, inputs]`.
    constant: Option<Tensor>,
    /// What one unit of each number adds `[34, inputs]`, if any does: channels V and directions.
    offsets: Option<Tensor>,
}

impl Renderer {
    pub(crate) fn new(pack: &Pack, identity: &Identity, device: Device, kind: Kind, grid: &GridOptions) -> Result<Renderer> {
        no_grad(|| {
            let generator = tuned_generator(pack, identity, device)?;
            let latent = latent_tensor(pack, identity, device)?;
            let frozen = Frozen::new(&generator, kind)?;
            let mut styles = Vec::with_capacity(frozen.style_count());
            for (index, layer) in generator.layers().iter().enumerate() {
                let constant = match layer.row < POSED_ROWS {
                    true => None,
                    false => Some(frozen.style(index, &latent.f_select(1, layer.row)?)?),
                };
                styles.push(Style { constant, offsets: offsets(pack, &generator, index, layer.inputs)? });
            }
            let posed = PosedGrid::new(pack.flow(device)?, latent, grid)?;
            let (warps, detail) = (generator.warps()?, detail(identity, device)?);
            let enlarge = if detail.is_some() { Enlarger::bicubic } else { Enlarger::sharp };
            let side = detail_side(identity.resolution).map(|_| i64::from(identity.resolution));
            let enlarger = side.map(|side| enlarge(side, device)).transpose()?;
            Ok(Renderer { frozen, posed, styles, warps, detail, enlarger, resolution: identity.resolution })
        })
    }

    pub(crate) fn device(&self) -> Device {
        self.frozen.device()
    }

    pub(super) fn kind(&self) -> Kind {
        self.frozen.kind()
    }

    pub(crate) fn resolution(&self) -> u32 {
        self.resolution
    }

    /// Frames per batch beyond which nothing is gained: four pictures of 128 x 128 on the CPU (larger tensors cost fresh memory pages), more on a GPU.
    pub(crate) fn good_batch(&self, side: u32) -> usize {
        let pixels = (side as usize).pow(2);
        let (budget, most) = if self.device() == Device::Cpu { (1 << 16, 8) } else { (1 << 22, 64) };
        (budget / pixels).clamp(1, most)
    }

    pub(super) fn frames(&mut self, params: &[FrameParams]) -> Result<Vec<Frame>> {
        to_frames(&self.pictures(params, i64::MAX)?)
    }

    /// The pictures `[B, 3, R, R]` in about [-1, 1]; as they stand at `side`, if the generator passes it.
    pub(crate) fn pictures(&mut self, params: &[FrameParams], side: i64) -> Result<Tensor> {
        if params.iter().any(|p| p.alpha.iter().any(|a| !a.is_finite())) {
            return Err(Error::Misuse("expression offsets must be finite".into()));
        }
        no_grad(|| {
            let Moved { styles, warp } = self.moved(params)?;
            self.frozen.synthesis_to(side, &styles, warp.as_ref())
        })
    }

    /// Pictures of these parameters, R x R, at twice their side, with the identity's detail on them if there is one.
    pub(super) fn detailed(&self, pictures: &[Frame], params: &[FrameParams], motions: &[Option<Motion>]) -> Result<Vec<Frame>> {
        let Some(enlarger) = &self.enlarger else {
            return Err(Error::Misuse(format!("pictures of {side} x {side} have no detail", side = self.resolution)));
        };
        no_grad(|| {
            let pictures = to_tensor(&pictures.iter().collect::<Vec<_>>(), self.device())?;
            to_frames(&match &self.detail {
                Some(detail) => {
                    let moved = self.moved_detail(params, motions)?;
                    enlarger.detailed(&pictures, detail, moved.as_ref())?
                }
                None => enlarger.enlarged(&pictures)?,
            })
        })
    }

    /// By how much the detail is displaced: by the numbers, and with the picture by its motion.
    fn moved_detail(&self, params: &[FrameParams], motions: &[Option<Motion>]) -> Result<Option<Tensor>> {
        let own = self.displacements(params)?;
        if motions.iter().all(Option::is_none) {
            return Ok(own);
        }
        let still = || vec![0.0; (2 * NODES * NODES) as usize];
        let nodes = |motion: &Option<Motion>| motion.as_ref().map_or_else(still, |motion| motion.on_nodes(NODES as usize));
        let nodes: Vec<f32> = motions.iter().flat_map(nodes).map(|by| by / SIDES_PER_UNIT).collect();
        let moved = from_vec(&nodes, &[motions.len() as i64, 2, NODES, NODES], self.device())?;
        Ok(Some(match own {
            Some(own) => own.plus(&moved)?,
            None => moved,
        }))
    }

    /// By how much the numbers displace the nodes, `[B, 2, 16, 16]`, if they do.
    pub(super) fn displacements(&self, params: &[FrameParams]) -> Result<Option<Tensor>> {
        self.warps.as_ref().map(|warps| nodes(&self.numbers(params)?, warps)).transpose()
    }

    /// What directions and displacements are multiplied by, `[B, 34]`.
    fn numbers(&self, params: &[FrameParams]) -> Result<Tensor> {
        let angle = |degrees: f32| degrees.clamp(-MOST_DEGREES, MOST_DEGREES) / DIRECTION_DEGREES as f32;
        let numbers: Vec<f32> = params.iter().flat_map(|p| [angle(p.yaw), angle(p.pitch)].into_iter().chain(p.alpha)).collect();
        from_vec(&numbers, &[params.len() as i64, NUMBERS], self.device())
    }

    /// A(LH_t) + scatter(alpha_t, V), moved along the directions, and by how much the picture is displaced.
    fn moved(&mut self, params: &[FrameParams]) -> Result<Moved> {
        let rows = self.posed.rows(params)?;
        let batch = params.len() as i64;
        let numbers = self.numbers(params)?;
        let mut out = Vec::with_capacity(self.styles.len());
        for (index, style) in self.styles.iter().enumerate() {
            let base = match &style.constant {
                Some(constant) => constant.f_expand([batch, -1], false)?,
                None => self.frozen.style(index, &rows.f_select(1, self.frozen.row(index))?)?,
            };
            out.push(match &style.offsets {
                Some(offsets) => base.plus(&numbers.f_matmul(offsets)?)?,
                None => base,
            });
        }
        Ok(Moved { styles: out, warp: self.displacements(params)? })
    }
}

/// The identity's detail as a tensor in units of the pictures.
fn detail(identity: &Identity, device: Device) -> Result<Option<Tensor>> {
    let Some((picture, side)) = detail_picture(identity)? else { return Ok(None) };
    let picture = from_vec(&picture, &[1, side as i64, side as i64, 3], device)?.f_permute([0, 3, 1, 2])?;
    Ok(Some(picture.f_contiguous()?.scale(1.0 / 127.5)?))
}

/// What one unit of each number adds to one layer's style: the rows of V that belong to it, and its directions.
fn offsets(pack: &Pack, generator: &Generator, layer: usize, width: i64) -> Result<Option<Tensor>> {
    let mut matrix = vec![0f32; (NUMBERS * width) as usize];
    for (i, c) in pack.config().channels.iter().enumerate().filter(|(_, c)| c.layer == layer) {
        matrix[(2 + i) * width as usize + c.channel as usize] = c.gain;
    }
    let mut matrix = from_vec(&matrix, &[NUMBERS, width], generator.device())?;
    if let Some(directions) = generator.directions(layer) {
        matrix = matrix.plus(directions)?;
    }
    used(matrix)
}

/// The tensor, unless it is all zero.
fn used(tensor: Tensor) -> Result<Option<Tensor>> {
    let some = tensor.f_abs()?.f_max()?.value()? > 0.0;
    Ok(some.then_some(tensor))
}
