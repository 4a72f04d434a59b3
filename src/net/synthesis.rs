//! StyleGAN2 generator: W+ `[B, rows, dim]` to StyleSpace vectors to an image `[B, 3, R, R]` in about [-1, 1].
//! Source: Karras et al. 2020, section 2 and appendix B; StyleSpace: Wu et al. 2021. Key layout of the published PyTorch port.
//!
//! The modulation is applied to the input of each convolution and the demodulation to its output. That equals scaling the kernel
//! per sample, but lets one convolution serve the whole batch.

use super::mapping::mapping;
use super::ops::{blur_kernel, channels_last, equal_linear, laid_out_like, leaky_from_scaled, Calc, LEAKY_SCALE};
use super::warp::{Places, NODES};
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::params::EXPRESSIONS;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// Degrees of yaw or pitch that are one unit of its direction, as 1 is of alpha's.
pub const DIRECTION_DEGREES: f64 = 20.0;
/// What the tensors that [`Generator::with_own`] adds are called, after their layer and a dot.
const DIRECTIONS: &str = "directions";
const MAP: &str = "map";
const WARP: &str = "warp";
/// Largest side of a convolution with a map, and of one that is displaced before.
const OWN_SIDE: i64 = 128;
/// Numbers with a direction: yaw, pitch and the alphas. Roll turns the finished picture.
pub const NUMBERS: i64 = 2 + EXPRESSIONS as i64;

/// Shape of a generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratorConfig {
    /// Side of the image: a power of two, 32 to 1024.
    pub resolution: i64,
    /// Width of z, w and of each W+ row.
    pub style_dim: i64,
    /// Layers of the mapping network.
    pub mapping_layers: i64,
    /// Feature channels at 4, 8, 16, ... up to `resolution`.
    pub channels: Vec<i64>,
}

impl GeneratorConfig {
    /// The published plan: 512 channels up to 32 x 32, then `multiplier` times 256, 128, 64, 32, 16.
    pub fn published(resolution: i64, style_dim: i64, mapping_layers: i64, multiplier: i64) -> Self {
        let channels = (2..=resolution.max(4).ilog2()).map(|b| match b {
            0..=5 => 512,
            _ => multiplier * (256 >> (b - 6)),
        });
        GeneratorConfig { resolution, style_dim, mapping_layers, channels: channels.collect() }
    }

    /// Rows of W+: `2 log2(R) - 2`.
    pub fn rows(&self) -> i64 {
        2 * self.channels.len() as i64
    }

    /// Checks ranges before anything is allocated by them.
    pub fn check(&self) -> Result<()> {
        let r = self.resolution;
        let fail = |what: String| Err(Error::Malformed(format!("generator configuration: {what}")));
        if !(32..=crate::limits::MAX_RESOLUTION as i64).contains(&r) || r & (r - 1) != 0 {
            return fail(format!("resolution {r} is not a power of two from 32 to {}", crate::limits::MAX_RESOLUTION));
        }
        if self.channels.len() as u32 != r.ilog2() - 1 || self.channels.iter().any(|c| !(1..=1024).contains(c)) {
            return fail(format!("{} channel counts for resolution {r}, each must be 1 to 1024", self.channels.len()));
        }
        if !(1..=crate::limits::MAX_LATENT_DIM as i64).contains(&self.style_dim) || !(1..=16).contains(&self.mapping_layers) {
            return fail(format!("style width {} or {} mapping layers out of range", self.style_dim, self.mapping_layers));
        }
        Ok(())
    }

    /// All style inputs in execution order.
    pub fn layers(&self) -> Vec<Layer> {
        let mut out = vec![Layer::conv("conv1".into(), 0, self.channels[0], self.channels[0], 4, false)];
        out.push(Layer::rgb("to_rgb1".into(), 1, self.channels[0], 4));
        for (b, pair) in self.channels.windows(2).enumerate() {
            let (row, side) = (2 * b as i64 + 1, 8i64 << b);
            out.push(Layer::conv(format!("convs.{}", 2 * b), row, pair[0], pair[1], side, true));
            out.push(Layer::conv(format!("convs.{}", 2 * b + 1), row + 1, pair[1], pair[1], side, false));
            out.push(Layer::rgb(format!("to_rgbs.{b}"), row + 2, pair[1], side));
        }
        out
    }

    /// Every tensor that the weights must hold, with its shape.
    pub fn tensors(&self) -> Vec<(String, Vec<i64>)> {
        let dim = self.style_dim;
        let mut out: Vec<(String, Vec<i64>)> = Vec::new();
        for i in 1..=self.mapping_layers {
            out.push((format!("style.{i}.weight"), vec![dim, dim]));
            out.push((format!("style.{i}.bias"), vec![dim]));
        }
        out.push(("input.input".into(), vec![1, self.channels[0], 4, 4]));
        for layer in self.layers() {
            let name = &layer.name;
            let k = layer.kernel();
            out.push((format!("{name}.conv.weight"), vec![1, layer.outputs, layer.inputs, k, k]));
            out.push((format!("{name}.conv.modulation.weight"), vec![layer.inputs, dim]));
            out.push((format!("{name}.conv.modulation.bias"), vec![layer.inputs]));
            if layer.to_rgb {
                out.push((format!("{name}.bias"), vec![1, 3, 1, 1]));
            } else {
                out.push((format!("{name}.activate.bias"), vec![layer.outputs]));
            }
        }
        out
    }
}

/// One convolution with a style input.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Prefix of its tensors.
    pub name: String,
    /// The W+ row that its style comes from.
    pub row: i64,
    /// Input channels: the width of its StyleSpace vector.
    pub inputs: i64,
    /// Output channels.
    pub outputs: i64,
    /// Side of its output.
    pub side: i64,
    /// Whether it doubles the side.
    pub up: bool,
    /// Whether it makes colours (1 x 1, no demodulation).
    pub to_rgb: bool,
}

impl Layer {
    fn conv(name: String, row: i64, inputs: i64, outputs: i64, side: i64, up: bool) -> Self {
        Layer { name, row, inputs, outputs, side, up, to_rgb: false }
    }
    fn rgb(name: String, row: i64, inputs: i64, side: i64) -> Self {
        Layer { name, row, inputs, outputs: 3, side, up: false, to_rgb: true }
    }

    fn kernel(&self) -> i64 {
        if self.to_rgb {
            1
        } else {
            3
        }
    }
}

/// A StyleSpace channel of V, the expression channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Index into [`GeneratorConfig::layers`].
    pub layer: usize,
    /// Channel of that layer's style vector.
    pub channel: i64,
    /// What is added to the style per unit of alpha.
    pub gain: f32,
    /// Name of what it moves ("jaw_open").
    pub feature: String,
    /// Facial region it acts on: `mouth`, `eyes`, `brows`, `pupils` or `face`.
    pub region: String,
    /// Gamma: perceptual change of the region per unit of alpha.
    pub sensitivity: f32,
}

/// What the numbers of some frames make of their styles.
#[derive(Debug)]
pub struct Moved {
    /// StyleSpace vectors `[B, inputs]`, one per layer.
    pub styles: Vec<Tensor>,
    /// Displacements of the nodes `[B, 2, 16, 16]`, if there are any.
    pub warp: Option<Tensor>,
}

/// Displacements of the nodes `[B, 2, 16, 16]` by `numbers` `[B, 34]`, from what one unit of each displaces them by `[34, 2 x 16 x 16]`.
pub(crate) fn nodes(numbers: &Tensor, warps: &Tensor) -> Result<Tensor> {
    Ok(numbers.f_matmul(warps)?.f_view([-1, 2, NODES, NODES])?)
}

/// Synthesis on its way through the layers.
#[derive(Debug)]
pub struct Run {
    x: Tensor,
    image: Option<Tensor>,
    warp: Option<Tensor>,
    /// Where the displaced places of pictures of one side are taken from.
    places: Option<(i64, Places)>,
    layer: usize,
    noise: usize,
}

impl Run {
    /// The picture so far, if a colour layer was passed.
    pub fn image(&self) -> Option<&Tensor> {
        self.image.as_ref()
    }

    /// Index of the next layer.
    pub fn layer(&self) -> usize {
        self.layer
    }

    /// Pictures or a map of any side, displaced if there is something to displace them by.
    fn displaced(&mut self, pictures: &Tensor) -> Result<Tensor> {
        let Some(warp) = &self.warp else { return Ok(pictures.shallow_clone()) };
        let side = pictures.size()[2];
        let places = match self.places.take() {
            Some((of, places)) if of == side => places,
            _ => Places::new(warp, side)?,
        };
        let out = places.of(pictures);
        self.places = Some((side, places));
        out
    }

    /// The same state repeated `n` times along the batch.
    ///
    /// # Errors
    /// Device.
    pub fn repeated(&self, n: i64) -> Result<Run> {
        let image = self.image.as_ref().map(|image| image.f_repeat([n, 1, 1, 1])).transpose()?;
        let warp = self.warp.as_ref().map(|warp| warp.f_repeat([n, 1, 1, 1])).transpose()?;
        let x = laid_out_like(&self.x.f_repeat([n, 1, 1, 1])?, &self.x)?;
        Ok(Run { x, image, warp, places: None, layer: self.layer, noise: self.noise })
    }
}

/// The generator with its weights.
#[derive(Debug)]
pub struct Generator {
    cfg: GeneratorConfig,
    layers: Vec<Layer>,
    weights: Weights,
    device: Device,
}

impl Generator {
    /// Takes weights in the published key layout; missing or misshapen tensors are reported by name.
    pub fn new(cfg: GeneratorConfig, weights: Weights) -> Result<Self> {
        cfg.check()?;
        for (name, shape) in cfg.tensors() {
            weights.shaped(&name, &shape)?;
        }
        let layers = cfg.layers();
        let device = weights.get("input.input")?.device();
        Ok(Generator { cfg, layers, weights, device })
    }

    /// Its shape.
    pub fn config(&self) -> &GeneratorConfig {
        &self.cfg
    }

    /// Its style inputs in execution order.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Its tensors.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Where its tensors live.
    pub fn device(&self) -> Device {
        self.device
    }

    /// A generator with its own copy of the weights, to be tuned.
    pub fn duplicate(&self, device: Device) -> Result<Generator> {
        Generator::new(self.cfg.clone(), self.weights.copy_to(device)?)
    }

    /// w `[B, dim]` from z `[B, dim]`.
    pub fn map(&self, z: &Tensor) -> Result<Tensor> {
        mapping(&self.cfg, &self.weights, z)
    }

    /// W+ `[B, rows, dim]` with `w` `[B, dim]` in every row, drawn towards `mean` `[dim]`: `mean + psi (w - mean)`.
    pub fn broadcast(&self, w: &Tensor, truncation: Option<(f64, &Tensor)>) -> Result<Tensor> {
        let w = match truncation {
            Some((psi, mean)) if psi < 1.0 => mean.plus(&w.minus(mean)?.scale(psi)?)?,
            _ => w.shallow_clone(),
        };
        Ok(w.f_unsqueeze(1)?.f_repeat([1, self.cfg.rows(), 1])?)
    }

    /// StyleSpace vectors s = A(w), one `[B, inputs]` per layer, from W+ `[B, rows, dim]`.
    pub fn styles(&self, w_plus: &Tensor) -> Result<Vec<Tensor>> {
        let want = [self.cfg.rows(), self.cfg.style_dim];
        if w_plus.size().get(1..) != Some(&want) {
            return Err(Error::Misuse(format!("W+ has shape {:?}, expected [batch, {}, {}]", w_plus.size(), want[0], want[1])));
        }
        let mut out = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let weight = self.weights.get(&format!("{}.conv.modulation.weight", layer.name))?;
            let bias = self.weights.get(&format!("{}.conv.modulation.bias", layer.name))?;
            out.push(equal_linear(&w_plus.f_select(1, layer.row)?, weight, bias, 1.0, false)?);
        }
        Ok(out)
    }

    /// Adds `alpha` `[B, channels.len()]` to the chosen StyleSpace channels: scatter(alpha, V) of the paper's equation 13.
    pub fn offset(&self, styles: &[Tensor], alpha: &Tensor, channels: &[Channel]) -> Result<Vec<Tensor>> {
        if let Some(c) = channels.iter().find(|c| !self.layers.get(c.layer).is_some_and(|l| (0..l.inputs).contains(&c.channel))) {
            return Err(Error::Misuse(format!("the generator has no style channel {} in layer {}", c.channel, c.layer)));
        }
        let mut out: Vec<Tensor> = styles.iter().map(Tensor::shallow_clone).collect();
        for (index, style) in out.iter_mut().enumerate() {
            let width = self.layers[index].inputs;
            let mut scatter = vec![0f32; channels.len() * width as usize];
            let mut used = false;
            for (i, c) in channels.iter().enumerate().filter(|(_, c)| c.layer == index) {
                scatter[i * width as usize + c.channel as usize] = c.gain;
                used = true;
            }
            if used {
                let scatter = super::ops::from_vec(&scatter, &[channels.len() as i64, width], self.device)?;
                *style = style.plus(&alpha.f_matmul(&scatter)?)?;
            }
        }
        Ok(out)
    }

    /// The same with what a person may have of their own, all of which begins by adding nothing; what is there already stays.
    ///
    /// - `NAME.directions` `[34, inputs]` of each layer: [`Generator::directions`].
    ///
    /// And if `maps` are asked for:
    ///
    /// - `NAME.map` `[1, 1, side, side]` of each convolution up to 128 x 128: added to all of its outputs, as the noise of Karras et al. 2020.
    /// - `NAME.warp` `[34, 2, 16, 16]` of one layer ([`Generator::warped_before`]): what one unit of each number displaces the picture by.
    ///
    /// # Errors
    /// Device.
    pub fn with_own(&self, maps: bool) -> Result<Generator> {
        let mut weights = Weights::new();
        weights.merge("", &self.weights)?;
        let mut add = |layer: &Layer, part: &str, shape: &[i64]| -> Result<()> {
            let name = format!("{}.{part}", layer.name);
            if !weights.has(&name) {
                weights.insert(name, Tensor::f_zeros(shape, (Kind::Float, self.device))?);
            }
            Ok(())
        };
        for (index, layer) in self.layers.iter().enumerate() {
            add(layer, DIRECTIONS, &[NUMBERS, layer.inputs])?;
            if maps && !layer.to_rgb && layer.side <= OWN_SIDE {
                add(layer, MAP, &[1, 1, layer.side, layer.side])?;
            }
            if maps && index == self.warped_before() {
                add(layer, WARP, &[NUMBERS, 2, NODES, NODES])?;
            }
        }
        Generator::new(self.cfg.clone(), weights)
    }

    /// What one unit of each number adds to the StyleSpace vector of layer `index`, `[34, inputs]`: a unit is [`DIRECTION_DEGREES`] degrees of yaw and of pitch, then
    /// 1 of each alpha.
    pub fn directions(&self, index: usize) -> Option<&Tensor> {
        self.own(index, DIRECTIONS)
    }

    /// Index of the layer before which features and picture are displaced: the last one that doubles the side to 128 at most.
    pub fn warped_before(&self) -> usize {
        self.layers.iter().rposition(|layer| layer.up && layer.side <= OWN_SIDE).unwrap_or(0)
    }

    /// What one unit of each number, as for [`Generator::directions`], displaces the nodes by, `[34, 2 x 16 x 16]`.
    ///
    /// # Errors
    /// Device.
    pub fn warps(&self) -> Result<Option<Tensor>> {
        self.own(self.warped_before(), WARP).map(|warps| Ok(warps.f_flatten(1, -1)?)).transpose()
    }

    fn own(&self, index: usize, name: &str) -> Option<&Tensor> {
        self.layers.get(index).and_then(|layer| self.weights.get(&format!("{}.{name}", layer.name)).ok())
    }

    /// Moves the styles along [`Generator::directions`] by yaw and pitch `[B, 2]` in degrees and `alpha` `[B, 32]`, and tells by how much the picture is displaced, where
    /// there are [`Generator::warps`].
    ///
    /// # Errors
    /// Device.
    pub fn directed(&self, styles: &[Tensor], angles: &Tensor, alpha: &Tensor) -> Result<Moved> {
        let numbers = Tensor::f_cat(&[angles.scale(1.0 / DIRECTION_DEGREES)?, alpha.shallow_clone()], 1)?;
        let along = |(index, style): (usize, &Tensor)| match self.directions(index) {
            Some(directions) => style.plus(&numbers.f_matmul(directions)?),
            None => Ok(style.shallow_clone()),
        };
        let styles = styles.iter().enumerate().map(along).collect::<Result<_>>()?;
        let warp = self.warps()?.map(|warps| nodes(&numbers, &warps)).transpose()?;
        Ok(Moved { styles, warp })
    }

    /// The image `[B, 3, R, R]` from styles. Convolutions run in `kind`; styles, demodulation and colours stay in single precision.
    pub fn synthesis(&self, styles: &[Tensor], kind: Kind) -> Result<Tensor> {
        let mut run = self.start(styles, kind)?;
        for style in styles {
            self.advance(&mut run, style)?;
        }
        run.image.ok_or_else(|| Error::Misuse("a generator without colour layers".into()))
    }

    /// The picture `[B, 3, side, side]` as it stands when `side` is reached: what a generator of that resolution would draw.
    ///
    /// # Errors
    /// Misuse for a side that the generator does not pass; device.
    pub fn synthesis_to(&self, side: i64, styles: &[Tensor], warp: Option<&Tensor>, kind: Kind) -> Result<Tensor> {
        let mut run = self.start(styles, kind)?;
        run.warp = warp.map(Tensor::shallow_clone);
        for (_, style) in self.layers.iter().zip(styles).take_while(|(layer, _)| layer.side <= side) {
            self.advance(&mut run, style)?;
        }
        match run.image {
            Some(image) if image.size()[2] == side => Ok(image),
            _ => Err(Error::Misuse(format!("a generator of {} pixels does not pass {side}", self.cfg.resolution))),
        }
    }

    /// The pictures as they stand at `side` and at the end, `[B, 3, side, side]` and `[B, 3, R, R]`. Gradients of the latter reach only weights and styles of
    /// layers beyond `side`.
    ///
    /// # Errors
    /// As [`Generator::synthesis_to`].
    pub fn synthesis_by(&self, side: i64, moved: &Moved, kind: Kind) -> Result<(Tensor, Tensor)> {
        let styles = &moved.styles;
        let mut run = self.start(styles, kind)?;
        run.warp = moved.warp.as_ref().map(Tensor::shallow_clone);
        let mut early = None;
        for (layer, style) in self.layers.iter().zip(styles) {
            if layer.side <= side {
                self.advance(&mut run, style)?;
                continue;
            }
            if early.is_none() {
                early = run.image.take();
                run.x = run.x.f_detach()?;
                run.image = early.as_ref().map(Tensor::f_detach).transpose()?;
            }
            self.advance(&mut run, style)?;
        }
        let image = run.image.ok_or_else(|| Error::Misuse("a generator without colour layers".into()))?;
        let early = early.unwrap_or_else(|| image.shallow_clone());
        match early.size()[2] == side {
            true => Ok((early, image)),
            false => Err(Error::Misuse(format!("a generator of {} pixels does not pass {side}", self.cfg.resolution))),
        }
    }

    /// Synthesis before its first layer, for a batch of `styles`.
    ///
    /// # Errors
    /// Misuse for a wrong number of style vectors; device.
    pub fn start(&self, styles: &[Tensor], kind: Kind) -> Result<Run> {
        if styles.len() != self.layers.len() {
            return Err(Error::Misuse(format!("{} style vectors, expected {}", styles.len(), self.layers.len())));
        }
        let batch = styles[0].size()[0];
        let input = self.weights.get("input.input")?;
        let x = input.f_to_kind(kind)?.f_repeat([batch, 1, 1, 1])?;
        // Pictures are drawn fastest with the channels last; the gradients of kernels take less time with them first, a third of it at 128 x 128.
        let x = if input.requires_grad() { x } else { channels_last(&x)? };
        Ok(Run { x, image: None, warp: None, places: None, layer: 0, noise: 0 })
    }

    /// Computes one more layer. The picture so far is that of [`Run::image`], at the side reached.
    ///
    /// # Errors
    /// Misuse past the last layer; device.
    pub fn advance(&self, run: &mut Run, style: &Tensor) -> Result<()> {
        let Some(layer) = self.layers.get(run.layer) else {
            return Err(Error::Misuse(format!("a generator of {} layers has no more", self.layers.len())));
        };
        if run.layer == self.warped_before() {
            run.x = run.displaced(&run.x.shallow_clone())?;
            run.image = run.image.take().map(|image| run.displaced(&image)).transpose()?;
        }
        if layer.to_rgb {
            let rgb = self.colours(layer, &run.x, style)?;
            run.image = Some(match &run.image {
                Some(previous) if previous.size()[2] < layer.side => self.grow(previous)?.plus(&rgb)?,
                Some(previous) => previous.plus(&rgb)?,
                None => rgb,
            });
        } else {
            let map = match self.map_of(layer) {
                Some(map) if run.layer >= self.warped_before() => Some(run.displaced(map)?),
                map => map.map(Tensor::shallow_clone),
            };
            let added = match (self.noise(layer, run.noise)?, map) {
                (Some(noise), Some(map)) => Some(noise.plus(&map)?),
                (noise, map) => noise.or(map),
            };
            run.x = self.styled(layer, &run.x, style, added.as_ref())?;
            run.noise += 1;
        }
        run.layer += 1;
        Ok(())
    }

    /// Modulated 3 x 3 convolution, demodulation, what is added to all outputs, bias, activation.
    fn styled(&self, layer: &Layer, x: &Tensor, style: &Tensor, added: Option<&Tensor>) -> Result<Tensor> {
        let kind = x.kind();
        let weight = self.weights.get(&format!("{}.conv.weight", layer.name))?.f_select(0, 0)?;
        let weight = weight.scale(1.0 / ((layer.inputs * 9) as f64).sqrt())?;
        // Half precision overflows where styles are large; demodulation makes their common size irrelevant.
        let style = if kind == Kind::Half {
            style.over(&style.f_abs()?.f_amax([1i64].as_slice(), true)?.shift(1e-8)?)?
        } else {
            style.shallow_clone()
        };
        let power = weight.f_square()?.f_sum_dim_intlist([2i64, 3].as_slice(), false, Kind::Float)?;
        let demodulation = style.f_square()?.f_matmul(&power.f_transpose(0, 1)?)?.shift(1e-8)?.f_rsqrt()?;
        let x = x.times(&style.f_to_kind(kind)?.f_unsqueeze(-1)?.f_unsqueeze(-1)?)?;
        let weight = weight.f_to_kind(kind)?;
        let y = if layer.up {
            let wide = x.f_conv_transpose2d(&weight.f_transpose(0, 1)?, None::<&Tensor>, 2, 0, 0, 1, 1)?;
            let blur = blur_kernel(layer.outputs, 4.0, self.device)?.f_to_kind(kind)?;
            wide.f_conv2d(&blur, None::<&Tensor>, 1, 1, 1, layer.outputs)?
        } else {
            x.f_conv2d(&weight, None::<&Tensor>, 1, 1, 1, 1)?
        };
        let bias = self.weights.get(&format!("{}.activate.bias", layer.name))?.f_view([1, -1, 1, 1])?.scale(LEAKY_SCALE)?;
        let demodulation = demodulation.scale(LEAKY_SCALE)?.f_to_kind(kind)?.f_unsqueeze(-1)?.f_unsqueeze(-1)?;
        let added = added.map(|added| added.scale(LEAKY_SCALE)).transpose()?;
        let (first, last) = match added {
            // One for all pictures: its sum with the bias is a single picture of all channels.
            Some(added) if added.size()[0] == 1 => (laid_out_like(&bias.plus(&added)?, &y)?, None),
            Some(added) => (added, Some(bias.f_to_kind(kind)?)),
            None => (bias, None),
        };
        let y = first.f_to_kind(kind)?.f_addcmul(&y, &demodulation)?;
        leaky_from_scaled(&match last {
            Some(bias) => y.plus(&bias)?,
            None => y,
        })
    }

    /// The fixed noise `index` times its strength, `[1, 1, side, side]`.
    pub(super) fn noise(&self, layer: &Layer, index: usize) -> Result<Option<Tensor>> {
        let strength = format!("{}.noise.weight", layer.name);
        if !self.weights.has(&strength) {
            return Ok(None);
        }
        let map = self.weights.shaped(&format!("noises.noise_{index}"), &[1, 1, layer.side, layer.side])?;
        Ok(Some(map.times(self.weights.shaped(&strength, &[1])?)?))
    }

    /// The person's map of a layer, `[1, 1, side, side]`.
    pub(super) fn map_of(&self, layer: &Layer) -> Option<&Tensor> {
        self.weights.get(&format!("{}.{MAP}", layer.name)).ok()
    }

    /// Modulated 1 x 1 convolution to colours, without demodulation.
    fn colours(&self, layer: &Layer, x: &Tensor, style: &Tensor) -> Result<Tensor> {
        let weight = self.weights.get(&format!("{}.conv.weight", layer.name))?.f_select(0, 0)?;
        let weight = weight.scale(1.0 / (layer.inputs as f64).sqrt())?.f_to_kind(x.kind())?;
        let modulated = x.times(&style.f_to_kind(x.kind())?.f_unsqueeze(-1)?.f_unsqueeze(-1)?)?;
        let rgb = modulated.f_conv2d(&weight, None::<&Tensor>, 1, 0, 1, 1)?;
        rgb.f_to_kind(Kind::Float)?.plus(self.weights.get(&format!("{}.bias", layer.name))?)
    }

    /// Doubles the side of the colour image with the blur kernel.
    fn grow(&self, image: &Tensor) -> Result<Tensor> {
        let kernel = blur_kernel(3, 4.0, self.device)?;
        // Zero insertion, padding (2, 1) and a symmetric 4-tap kernel are a transposed convolution with stride 2 and padding 1.
        Ok(image.f_conv_transpose2d(&kernel, None::<&Tensor>, 2, 1, 0, 3, 1)?)
    }
}
