//! Parameters to pictures: posed rows and constant rows to styles, alpha added to V, synthesis, 8-bit RGB.
//!
//! Only the styles of the four posed rows are computed per frame; those of the other rows are constants of the identity.

use super::crew::{self, divided};
use super::identity::{latent_tensor, tuned_generator};
use super::posed::{GridOptions, PosedGrid, MOST_DEGREES};
use crate::bitstream::Identity;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::net::detail::Enlarger;
use crate::net::flow::POSED_ROWS;
use crate::net::ops::{from_vec, shared, to_frames, to_tensor, Calc};
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
    posed: PosedGrid,
    /// One for each thread that has been needed so far, at least one; all share their tensors.
    painters: Vec<Painter>,
    /// Threads of libtorch when it was made.
    threads: i32,
    resolution: u32,
}

/// What one thread draws with.
#[derive(Debug)]
struct Painter {
    frozen: Frozen,
    styles: Vec<Style>,
    /// What one unit of each number displaces the nodes by `[34, 2 x 16 x 16]`, if any does.
    warps: Option<Tensor>,
    /// What lies on the enlarged pictures, `[1, 3, 2R, 2R]`, if anything does.
    detail: Option<Tensor>,
    /// Makes pictures of twice the side, where such may be asked for.
    enlarger: Option<Enlarger>,
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
            let painters = vec![Painter { frozen, styles, warps, detail, enlarger }];
            Ok(Renderer { posed, painters, threads: tch::get_num_threads(), resolution: identity.resolution })
        })
    }

    /// The first of those that draw.
    fn painter(&self) -> &Painter {
        &self.painters[0]
    }

    pub(crate) fn device(&self) -> Device {
        self.painter().frozen.device()
    }

    pub(super) fn kind(&self) -> Kind {
        self.painter().frozen.kind()
    }

    pub(crate) fn resolution(&self) -> u32 {
        self.resolution
    }

    /// Frames per batch of one thread beyond which nothing is gained: two pictures of 128 x 128 on the CPU (larger tensors cost fresh memory pages), more on a GPU.
    pub(crate) fn good_batch(&self, side: u32) -> usize {
        let pixels = (side as usize).pow(2);
        let (budget, most) = if self.device() == Device::Cpu { (1 << 15, 8) } else { (1 << 22, 64) };
        (budget / pixels).clamp(1, most)
    }

    /// How many threads draw pictures of `side` pixels, each its own.
    pub(super) fn hands(&self, side: u32) -> usize {
        if self.device() == Device::Cpu {
            crew::hands(self.threads, side)
        } else {
            1
        }
    }

    /// As many as there are hands.
    fn crew(&mut self, side: u32) -> &mut [Painter] {
        let hands = self.hands(side);
        while self.painters.len() < hands {
            let more = self.painter().shared();
            self.painters.push(more);
        }
        &mut self.painters[..hands]
    }

    /// Pictures of as many frames as there are; each thread draws at most `batch` at a time.
    pub(super) fn frames(&mut self, params: &[FrameParams], batch: usize) -> Result<Vec<Frame>> {
        Ok(self.made(params, i64::MAX, batch, |pictures| to_frames(&pictures))?.into_iter().flatten().collect())
    }

    /// What `each` makes of the pictures `[B, 3, R, R]`, in about [-1, 1], as they stand at `side` if the generator passes it; of at most `batch` at a time, since large ones
    /// need not all be held.
    pub(crate) fn made<T: Send>(
        &mut self,
        params: &[FrameParams],
        side: i64,
        batch: usize,
        each: impl Fn(Tensor) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let rows = self.posed.values(params)?;
        let len = rows.len() / params.len().max(1);
        let batch = batch.clamp(1, params.len().max(1));
        let threads = self.threads;
        let crew = self.crew(self.resolution.min(side.clamp(1, i64::from(u32::MAX)) as u32));
        let parts = divided(crew, (params.len(), threads), |painter, part| {
            let (params, rows) = (&params[part.clone()], &rows[part.start * len..part.end * len]);
            let batches = params.chunks(batch).zip(rows.chunks((batch * len).max(1)));
            batches.map(|(params, rows)| each(painter.pictures(params, rows, side)?)).collect::<Result<Vec<_>>>()
        })?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// Pictures of these parameters, R x R, at twice their side, with the identity's detail on them if there is one; each thread draws at most `batch` at a time.
    pub(super) fn detailed(
        &mut self,
        pictures: &[Frame],
        params: &[FrameParams],
        motions: &[Option<Motion>],
        batch: usize,
    ) -> Result<Vec<Frame>> {
        let batch = batch.clamp(1, params.len().max(1));
        let threads = self.threads;
        let parts = divided(self.crew(self.resolution), (params.len(), threads), |painter, part| {
            let (mut at, end) = (part.start, part.end);
            let mut out = Vec::with_capacity(end - at);
            while at < end {
                let next = end.min(at + batch);
                let motions = motions.get(at..next).unwrap_or_default();
                out.extend(painter.detailed(&pictures[at..next], &params[at..next], motions)?);
                at = next;
            }
            Ok(out)
        })?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// By how much the numbers displace the nodes, `[B, 2, 16, 16]`, if they do.
    #[cfg(feature = "analysis")]
    pub(super) fn displacements(&self, params: &[FrameParams]) -> Result<Option<Tensor>> {
        self.painter().displacements(params)
    }
}

impl Painter {
    fn shared(&self) -> Painter {
        let style = |style: &Style| Style { constant: shared(&style.constant), offsets: shared(&style.offsets) };
        Painter {
            frozen: self.frozen.shared(),
            styles: self.styles.iter().map(style).collect(),
            warps: shared(&self.warps),
            detail: shared(&self.detail),
            enlarger: self.enlarger.as_ref().map(Enlarger::shared),
        }
    }

    /// `rows`: what [`PosedGrid`] has for the parameters.
    fn pictures(&self, params: &[FrameParams], rows: &[f32], side: i64) -> Result<Tensor> {
        if params.iter().any(|p| p.alpha.iter().any(|a| !a.is_finite())) {
            return Err(Error::Misuse("expression offsets must be finite".into()));
        }
        no_grad(|| {
            let Moved { styles, warp } = self.moved(params, rows)?;
            self.frozen.synthesis_to(side, &styles, warp.as_ref())
        })
    }

    fn detailed(&self, pictures: &[Frame], params: &[FrameParams], motions: &[Option<Motion>]) -> Result<Vec<Frame>> {
        let Some(enlarger) = &self.enlarger else {
            return Err(Error::Misuse("pictures of this pack are too large for a detail".into()));
        };
        no_grad(|| {
            let pictures = to_tensor(&pictures.iter().collect::<Vec<_>>(), self.frozen.device())?;
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
        let moved = from_vec(&nodes, &[motions.len() as i64, 2, NODES, NODES], self.frozen.device())?;
        Ok(Some(match own {
            Some(own) => own.plus(&moved)?,
            None => moved,
        }))
    }

    fn displacements(&self, params: &[FrameParams]) -> Result<Option<Tensor>> {
        self.warps.as_ref().map(|warps| nodes(&self.numbers(params)?, warps)).transpose()
    }

    /// What directions and displacements are multiplied by, `[B, 34]`.
    fn numbers(&self, params: &[FrameParams]) -> Result<Tensor> {
        let angle = |degrees: f32| degrees.clamp(-MOST_DEGREES, MOST_DEGREES) / DIRECTION_DEGREES as f32;
        let numbers: Vec<f32> = params.iter().flat_map(|p| [angle(p.yaw), angle(p.pitch)].into_iter().chain(p.alpha)).collect();
        from_vec(&numbers, &[params.len() as i64, NUMBERS], self.frozen.device())
    }

    /// A(LH_t) + scatter(alpha_t, V), moved along the directions, and by how much the picture is displaced.
    fn moved(&self, params: &[FrameParams], rows: &[f32]) -> Result<Moved> {
        let batch = params.len() as i64;
        let rows = from_vec(rows, &[batch, POSED_ROWS, rows.len() as i64 / (batch * POSED_ROWS).max(1)], self.frozen.device())?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bitstream::TunedTensor;
    use crate::pack::fixture;

    #[test]
    fn pictures_drawn_side_by_side_are_those_drawn_one_by_one() {
        let pack = fixture::tiny(1).unwrap();
        let mut identity = fixture::identity(&pack, 1).unwrap();
        identity.tuned = ["convs.4.warp", "conv1.map", "convs.4.map", "conv1.directions"]
            .map(|name| fixture::own(&pack, name, 0.02).unwrap())
            .to_vec();
        let values = (0..64 * 64 * 3).map(|i| if i / 3 % 5 == 0 { 9 } else { 0 }).collect();
        identity.tuned.push(TunedTensor { name: "detail".into(), shape: vec![64, 64, 3], steps: vec![0], values });
        let identity = Identity::from_bytes(&identity.to_bytes().unwrap()).unwrap();
        let made = |threads| {
            let kind = (Device::Cpu, Kind::Float);
            Renderer { threads, ..Renderer::new(&pack, &identity, kind.0, kind.1, &GridOptions::default()).unwrap() }
        };
        let params: Vec<FrameParams> =
            (0..7).map(|t| FrameParams { yaw: 4.0 * t as f32, alpha: [0.1 * t as f32; 32], ..FrameParams::default() }).collect();
        let field = |by: f32| Motion::new([vec![by; 64], vec![0.0; 128]].concat(), 8);
        let motions: Vec<Option<Motion>> = (0..7).map(|t| (t % 3 != 1).then(|| field(60.0 * t as f32))).collect();
        let off = |a: &[Frame], b: &[Frame]| {
            let bytes = |frames: &[Frame]| frames.iter().flat_map(|f| f.data.clone()).collect::<Vec<u8>>();
            bytes(a).iter().zip(bytes(b)).map(|(a, b)| a.abs_diff(b)).max()
        };
        let mut alone = made(1);
        let drawn = alone.frames(&params, 2).unwrap();
        let large = alone.detailed(&drawn, &params, &motions, 2).unwrap();
        assert_eq!((drawn.len(), large.len(), alone.painters.len()), (7, 7, 1));
        for (threads, batch) in [(2, 2), (3, usize::MAX), (9, 1)] {
            let mut together = made(threads);
            let same = together.frames(&params, batch).unwrap();
            assert!(off(&same, &drawn) <= Some(1) && same.len() == 7, "{threads} threads");
            let same = together.detailed(&drawn, &params, &motions, batch).unwrap();
            assert!(off(&same, &large) <= Some(1) && same.len() == 7, "{threads} threads");
            let still = together.detailed(&drawn, &params, &[], batch).unwrap();
            assert!(off(&still, &large) > Some(9));
            assert_eq!(together.painters.len(), threads as usize);
        }
        // Neighbours differ, so that another order would be seen.
        assert!(drawn.windows(2).all(|pair| off(&pair[..1], &pair[1..]) > Some(1)));
    }
}
