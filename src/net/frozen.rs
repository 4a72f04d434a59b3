//! The generator prepared for rendering: posed rows and StyleSpace vectors to images `[B, 3, R, R]`, without gradients.
//!
//! It computes what [`Generator::synthesis`] computes, with all that does not change from frame to frame done once: equalised,
//! cast and transposed kernels, the kernels' power for the demodulation, blur kernels, bias with its noise.

use super::ops::{blur_kernel, channels_last, shared, Calc};
use super::synthesis::{Generator, Layer};
use super::warp::Places;
use crate::error::{Error, Result};
use std::f64::consts::SQRT_2;
use tch::{no_grad, Device, Kind, Tensor};

/// How the side is doubled. Both forms compute the same picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upsampling {
    /// A transposed convolution with stride 2, then the blur: fewest multiplications.
    #[default]
    Transposed,
    /// One dense 3 x 3 convolution to four times the channels, the blur folded in; each output pixel of a 2 x 2 cell has its own.
    Dense,
}

/// A generator whose weights stay as they are.
#[derive(Debug)]
pub struct Frozen {
    layers: Vec<Prepared>,
    /// The learned constant, in the kind of the convolutions.
    start: Tensor,
    /// Slope of the activation below zero, for `prelu`.
    slope: Tensor,
    /// Kernel that doubles the side of the three colour planes.
    grow: Tensor,
    /// Index of the layer before which features and picture are displaced, if there is anything to displace them by.
    warped_before: Option<usize>,
    kind: Kind,
}

#[derive(Debug)]
struct Prepared {
    layer: Layer,
    /// A of the paper for this layer: `[inputs, dim]` and `[inputs]`.
    affine: (Tensor, Tensor),
    /// Kernel in the kind of the convolutions; `[inputs, outputs, 3, 3]` when it doubles the side.
    kernel: Tensor,
    /// Sums of squares of the kernel `[inputs, outputs]`; colours are not demodulated.
    power: Option<Tensor>,
    blur: Option<Tensor>,
    upsampling: Upsampling,
    /// Bias, noise and map, the activation's gain included.
    bias: Tensor,
    /// The map `[1, 1, side, side]`, the gain included, where it is displaced before it is added.
    map: Option<Tensor>,
}

impl Frozen {
    /// Prepares a generator; convolutions will run in `kind`.
    ///
    /// # Errors
    /// Device, when libtorch fails.
    pub fn new(generator: &Generator, kind: Kind) -> Result<Frozen> {
        Frozen::with(generator, kind, Upsampling::default())
    }

    /// As [`Frozen::new`], in the given form of upsampling.
    ///
    /// # Errors
    /// Device, when libtorch fails.
    pub fn with(generator: &Generator, kind: Kind, upsampling: Upsampling) -> Result<Frozen> {
        no_grad(|| {
            let device = generator.device();
            let mut layers = Vec::with_capacity(generator.layers().len());
            let mut noise = 0;
            // A person without displacements need not pay for them.
            let warped_before = generator.warps()?.map(|_| generator.warped_before());
            for (index, layer) in generator.layers().iter().enumerate() {
                layers.push(Prepared::new(
                    generator,
                    layer,
                    noise,
                    (kind, upsampling),
                    warped_before.is_some_and(|first| index >= first),
                )?);
                noise += usize::from(!layer.to_rgb);
            }
            let start = channels_last(&generator.weights().get("input.input")?.f_to_kind(kind)?)?;
            let slope = Tensor::f_from_slice(&[0.2f32])?.f_to_kind(kind)?.f_to_device(device)?;
            Ok(Frozen { layers, start, slope, grow: blur_kernel(3, 4.0, device)?, warped_before, kind })
        })
    }

    /// The same weights, for another thread.
    pub(crate) fn shared(&self) -> Frozen {
        Frozen {
            layers: self.layers.iter().map(Prepared::shared).collect(),
            start: self.start.shallow_clone(),
            slope: self.slope.shallow_clone(),
            grow: self.grow.shallow_clone(),
            ..*self
        }
    }

    /// Where it renders.
    pub fn device(&self) -> Device {
        self.start.device()
    }

    /// The kind its convolutions run in.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Number of StyleSpace vectors.
    pub fn style_count(&self) -> usize {
        self.layers.len()
    }

    /// The W+ row that StyleSpace vector `index` comes from.
    pub fn row(&self, index: usize) -> i64 {
        self.layers[index].layer.row
    }

    /// StyleSpace vector `index` `[B, inputs]` from its W+ row `[B, dim]`.
    ///
    /// # Errors
    /// Device, when libtorch fails.
    pub fn style(&self, index: usize, w: &Tensor) -> Result<Tensor> {
        let (weight, bias) = &self.layers[index].affine;
        Ok(w.f_linear(weight, Some(bias))?)
    }

    /// The image `[B, 3, R, R]` in about [-1, 1], from all StyleSpace vectors in execution order, in single precision.
    ///
    /// # Errors
    /// Misuse for another number of vectors; device.
    pub fn synthesis(&self, styles: &[Tensor]) -> Result<Tensor> {
        self.synthesis_to(i64::MAX, styles, None)
    }

    /// The picture as it stands when it is `side` pixels large, `[B, 3, side, side]`; the whole one if it never is that large. `warp`: displacements of
    /// [`Generator::directed`].
    ///
    /// # Errors
    /// As [`Frozen::synthesis`]; misuse for displacements where the generator has none.
    pub fn synthesis_to(&self, side: i64, styles: &[Tensor], warp: Option<&Tensor>) -> Result<Tensor> {
        if styles.len() != self.layers.len() {
            return Err(Error::Misuse(format!("{} style vectors, expected {}", styles.len(), self.layers.len())));
        }
        if warp.is_some() && self.warped_before.is_none() {
            return Err(Error::Misuse("a generator without displacements was given some".into()));
        }
        no_grad(|| {
            let mut places: Option<(i64, Places)> = None;
            let mut x = self.start.shallow_clone();
            let mut image: Option<Tensor> = None;
            let reached = self.layers.iter().zip(styles).take_while(|(prepared, _)| prepared.layer.side <= side);
            for (index, (prepared, style)) in reached.enumerate() {
                if let Some(warp) = warp.filter(|_| self.warped_before == Some(index)) {
                    let places = Places::new(warp, x.size()[2])?;
                    x = places.of(&x)?;
                    image = image.map(|image| places.of(&image)).transpose()?;
                }
                if prepared.layer.to_rgb {
                    let rgb = prepared.colours(&x, style)?;
                    image = Some(match image {
                        Some(previous) => self.grown(&previous)?.plus(&rgb)?,
                        None => rgb,
                    });
                } else {
                    let side = prepared.layer.side;
                    if let Some(warp) =
                        warp.filter(|_| prepared.map.is_some() && places.as_ref().is_none_or(|(of, _)| *of != side))
                    {
                        places = Some((side, Places::new(warp, side)?));
                    }
                    let map = match (&prepared.map, &places) {
                        (Some(map), Some((_, places))) => Some(places.of(map)?),
                        (map, _) => map.as_ref().map(Tensor::shallow_clone),
                    };
                    x = prepared.styled(&x, style, map.as_ref(), &self.slope)?;
                }
            }
            image.ok_or_else(|| Error::Misuse("a generator without colour layers".into()))
        })
    }

    /// Doubles the side: zero insertion, padding and blur are a transposed convolution, one group per colour.
    fn grown(&self, image: &Tensor) -> Result<Tensor> {
        Ok(image.f_conv_transpose2d(&self.grow, None::<&Tensor>, 2, 1, 0, 3, 1)?)
    }
}

impl Prepared {
    /// `moved`: whether its map is displaced.
    fn new(
        generator: &Generator,
        layer: &Layer,
        noise: usize,
        (kind, upsampling): (Kind, Upsampling),
        moved: bool,
    ) -> Result<Prepared> {
        let get = |part: &str| generator.weights().get(&format!("{}.{part}", layer.name));
        let weight = get("conv.weight")?.f_select(0, 0)?;
        let size = weight.size();
        let weight = weight.scale(1.0 / ((size[1] * size[2] * size[3]) as f64).sqrt())?;
        let dim = generator.config().style_dim as f64;
        let affine = (get("conv.modulation.weight")?.scale(1.0 / dim.sqrt())?, get("conv.modulation.bias")?.copy());
        let (mut power, mut blur, mut moving) = (None, None, None);
        let bias = if layer.to_rgb {
            get("bias")?.copy()
        } else {
            let sums = weight.f_square()?.f_sum_dim_intlist([2i64, 3].as_slice(), false, Kind::Float)?;
            power = Some(sums.f_transpose(0, 1)?.f_contiguous()?);
            if layer.up {
                blur = Some(blur_kernel(layer.outputs, 4.0, generator.device())?.f_to_kind(kind)?);
            }
            let bias = get("activate.bias")?.f_view([1, -1, 1, 1])?;
            let bias = match generator.noise(layer, noise)? {
                Some(noise) => channels_last(&bias.plus(&noise)?)?,
                None => bias,
            };
            let bias = match generator.map_of(layer) {
                Some(map) if moved => {
                    moving = Some(map.scale(SQRT_2)?.f_to_kind(kind)?);
                    bias
                }
                Some(map) => channels_last(&bias.plus(map)?)?,
                None => bias,
            };
            bias.scale(SQRT_2)?.f_to_kind(kind)?
        };
        let kernel = match (layer.up, upsampling) {
            (true, Upsampling::Transposed) => weight.f_transpose(0, 1)?,
            (true, Upsampling::Dense) => dense(&weight)?,
            (false, _) => weight,
        };
        let kernel = kernel.f_to_kind(kind)?.f_contiguous()?;
        Ok(Prepared { layer: layer.clone(), affine, kernel, power, blur, upsampling, bias, map: moving })
    }

    fn shared(&self) -> Prepared {
        Prepared {
            layer: self.layer.clone(),
            affine: (self.affine.0.shallow_clone(), self.affine.1.shallow_clone()),
            kernel: self.kernel.shallow_clone(),
            power: shared(&self.power),
            blur: shared(&self.blur),
            upsampling: self.upsampling,
            bias: self.bias.shallow_clone(),
            map: shared(&self.map),
        }
    }

    /// Modulated convolution, demodulation, map, bias, activation.
    fn styled(&self, x: &Tensor, style: &Tensor, map: Option<&Tensor>, slope: &Tensor) -> Result<Tensor> {
        let kind = self.kernel.kind();
        // Half precision overflows where styles are large; demodulation makes their common size irrelevant.
        let style = if kind == Kind::Half {
            style.over(&style.f_abs()?.f_amax([1i64].as_slice(), true)?.shift(1e-8)?)?
        } else {
            style.shallow_clone()
        };
        let power = self.power.as_ref().ok_or_else(|| Error::Misuse("a colour layer is not demodulated".into()))?;
        let demodulation = style.f_square()?.f_matmul(power)?.shift(1e-8)?.f_rsqrt()?.scale(SQRT_2)?;
        let x = x.times(&spread(&style, kind)?)?;
        let y = match &self.blur {
            Some(_) if self.upsampling == Upsampling::Dense => {
                let cells = x.f_conv2d(&self.kernel, None::<&Tensor>, 1, 1, 1, 1)?;
                channels_last(&cells.f_pixel_shuffle(2)?)?
            }
            Some(blur) => {
                let wide = x.f_conv_transpose2d(&self.kernel, None::<&Tensor>, 2, 0, 0, 1, 1)?;
                wide.f_conv2d(blur, None::<&Tensor>, 1, 1, 1, self.layer.outputs)?
            }
            None => x.f_conv2d(&self.kernel, None::<&Tensor>, 1, 1, 1, 1)?,
        };
        let demodulation = spread(&demodulation, kind)?;
        let y = match map {
            // Both at once would be a picture of all channels of its own.
            Some(map) => map.f_addcmul(&y, &demodulation)?.f_add_(&self.bias)?,
            None => self.bias.f_addcmul(&y, &demodulation)?,
        };
        Ok(y.f_prelu(slope)?)
    }

    /// Modulated 1 x 1 convolution to colours, in single precision from here on.
    fn colours(&self, x: &Tensor, style: &Tensor) -> Result<Tensor> {
        let rgb = x.times(&spread(style, self.kernel.kind())?)?.f_conv2d(&self.kernel, None::<&Tensor>, 1, 0, 1, 1)?;
        rgb.f_to_kind(Kind::Float)?.plus(&self.bias)
    }
}

/// The kernel `[outputs, inputs, 3, 3]` of a transposed convolution and the blur behind it as one `[4 outputs, inputs, 3, 3]`.
///
/// In one dimension, with blur b of 4 taps, `y[m] = sum_jk b[j] w[k] x[(m - 1 + j - k) / 2]` over integer places only. For `m = 2 p + a`
/// these are `x[p + d]` with `j - k = 2 d + 1 - a` and d from -1 to 1: three taps for each of the two phases a.
fn dense(weight: &Tensor) -> Result<Tensor> {
    // The blur's gain is 4 over both dimensions, so 2 over one.
    let blur = [1.0f32, 3.0, 3.0, 1.0].map(|v| v / 8.0 * 2.0);
    let mut taps = [0f32; 2 * 3 * 3];
    for a in 0..2i32 {
        for d in -1..=1i32 {
            for k in 0..3i32 {
                let j = 2 * d + 1 - a + k;
                if (0..4).contains(&j) {
                    taps[(9 * a + 3 * (d + 1) + k) as usize] = blur[j as usize];
                }
            }
        }
    }
    let taps = Tensor::f_from_slice(&taps)?.f_view([2, 3, 3])?.f_to_device(weight.device())?;
    let size = weight.size();
    let all = Tensor::f_einsum("adk,bel,oikl->oabide", &[taps.shallow_clone(), taps, weight.shallow_clone()], None::<i64>)?;
    Ok(all.f_reshape([4 * size[0], size[1], 3, 3])?)
}

/// `[B, C]` as `[B, C, 1, 1]` in `kind`.
fn spread(x: &Tensor, kind: Kind) -> Result<Tensor> {
    Ok(x.f_to_kind(kind)?.f_unsqueeze(-1)?.f_unsqueeze(-1)?)
}
