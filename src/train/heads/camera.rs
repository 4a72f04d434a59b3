//! What a webcam does to a picture: exposure, white balance, blur, vignette, noise, sharpening, tone and block compression.
//!
//! Input: a clean picture and a [`Camera`]. Output: the same picture as such a camera would deliver it; nothing moves, so labels
//! and landmarks stay true. An augmentation: [`super::render`] itself gives clean pictures. Deterministic: the noise comes from
//! the camera's seed. Compression is that of baseline JPEG (ITU-T T.81): 8 x 8 cosine transform, tables of its annex K, colour
//! at half resolution.

use super::math::{cos, mix, pow, smooth, V3};
use super::Rng;
use crate::frame::Frame;

/// One camera and its settings. The default changes nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Camera {
    /// Factor of the light, 1 for none.
    pub exposure: f32,
    /// Factor of red and of blue light against green, 1 for none.
    pub balance: [f32; 2],
    /// Exponent of a tone curve about mid grey; above 1 adds contrast.
    pub contrast: f32,
    /// Saturation, 1 unchanged, 0 grey.
    pub saturation: f32,
    /// Radius of the blur of defocus, fraction of the picture's smaller side.
    pub defocus: f32,
    /// Length of the blur of motion, fraction of the smaller side, and its direction in radians.
    pub motion: [f32; 2],
    /// Share of light lost in the corners.
    pub vignette: f32,
    /// Standard deviation of the noise at mid grey, of a range of 1.
    pub noise: f32,
    /// Strength of the sharpening that cameras apply afterwards.
    pub sharpen: f32,
    /// Quality of the compression: 100 none visible, 10 blocks.
    pub quality: f32,
    /// Seed of the noise.
    pub seed: u64,
}

impl Default for Camera {
    fn default() -> Self {
        Camera {
            exposure: 1.0,
            balance: [1.0; 2],
            contrast: 1.0,
            saturation: 1.0,
            defocus: 0.0,
            motion: [0.0; 2],
            vignette: 0.0,
            noise: 0.0,
            sharpen: 0.0,
            quality: 100.0,
            seed: 0,
        }
    }
}

impl Camera {
    /// A camera drawn at random; `strength` 0 gives one that changes nothing, 1 the whole range from studio to poor webcam.
    pub fn sample(seed: u64, strength: f32) -> Self {
        let mut rng = Rng::new(seed ^ 0x6CA3_E2A5_11D0_77C3);
        let k = strength.clamp(0.0, 1.0);
        // Most cameras are decent: faults are rare and seldom together.
        let mut rare = |chance: f32| if rng.unit() < chance { rng.unit() } else { 0.0 };
        let (defocus, motion, noise, sharpen, bad) = (rare(0.4), rare(0.25), rare(0.7), rare(0.5), rare(0.6));
        Camera {
            exposure: 1.0 + k * 0.14 * rng.normal().clamp(-2.0, 2.0),
            balance: [1.0 + k * 0.05 * rng.normal(), 1.0 + k * 0.06 * rng.normal()],
            contrast: 1.0 + k * 0.12 * rng.normal().clamp(-2.0, 2.0),
            saturation: 1.0 + k * 0.14 * rng.normal().clamp(-2.5, 2.5),
            defocus: k * 0.006 * defocus,
            motion: [k * 0.016 * motion, rng.range(0.0, std::f32::consts::PI)],
            vignette: k * 0.22 * rng.unit() * rng.unit(),
            noise: k * 0.022 * noise * noise,
            sharpen: k * 0.9 * sharpen,
            quality: mix(100.0, 22.0, k * bad.sqrt()),
            seed,
        }
    }

    /// The picture as this camera delivers it.
    pub fn film(&self, frame: &Frame) -> Frame {
        let (w, h) = (frame.width as usize, frame.height as usize);
        let side = w.min(h) as f32;
        let mut light: Vec<V3> = frame.data.chunks_exact(3).map(|p| [p[0], p[1], p[2]].map(linear)).collect();
        let radius = self.defocus * side;
        if radius > 0.15 {
            blur(&mut light, w, h, radius, [1.0, 0.0]);
            blur(&mut light, w, h, radius, [0.0, 1.0]);
        }
        let length = 0.5 * self.motion[0] * side;
        if length > 0.3 {
            blur(&mut light, w, h, length, [cos(self.motion[1]), super::math::sin(self.motion[1])]);
        }
        let mut picture: Vec<V3> = light.iter().enumerate().map(|(i, c)| self.sensor(*c, i % w, i / w, w, h)).collect();
        if self.sharpen > 0.02 {
            sharpen(&mut picture, w, h, self.sharpen);
        }
        self.grain(&mut picture, w, h);
        if self.quality < 99.0 {
            compress(&mut picture, w, h, self.quality);
        }
        let data = picture.iter().flat_map(|c| c.map(|v| (v.clamp(0.0, 1.0) * 255.0 + 0.5) as u8)).collect();
        Frame::new(frame.width, frame.height, data).expect("a picture of the same size as a valid one")
    }

    /// Light of one pixel to display values: exposure, balance, vignette, tone.
    fn sensor(&self, c: V3, x: usize, y: usize, w: usize, h: usize) -> V3 {
        let (u, v) = ((x as f32 + 0.5) / w as f32 - 0.5, (y as f32 + 0.5) / h as f32 - 0.5);
        let gain = self.exposure * (1.0 - self.vignette * smooth(0.1, 0.62, u * u + v * v));
        let c = [c[0] * gain * self.balance[0], c[1] * gain, c[2] * gain * self.balance[1]];
        let d = c.map(|v| {
            let d = v.max(0.0).sqrt().min(1.0);
            let t = if d < 0.5 { 0.5 * pow(2.0 * d, self.contrast) } else { 1.0 - 0.5 * pow(2.0 - 2.0 * d, self.contrast) };
            if self.contrast == 1.0 {
                d
            } else {
                t
            }
        });
        let grey = 0.299 * d[0] + 0.587 * d[1] + 0.114 * d[2];
        d.map(|v| mix(grey, v, self.saturation))
    }

    /// Noise of the sensor: more in the dark, partly in patches of two pixels as cameras leave it after their own filter.
    fn grain(&self, picture: &mut [V3], w: usize, h: usize) {
        if self.noise <= 0.0005 {
            return;
        }
        let mut rng = Rng::new(self.seed);
        let mut normal = move || {
            let bits = rng.bits();
            let part = |k: u32| ((bits >> (16 * k)) & 0xffff) as f32 / 65_536.0;
            (part(0) + part(1) + part(2) + part(3) - 2.0) * 1.732
        };
        let coarse_w = w / 2 + 1;
        let coarse: Vec<V3> = (0..coarse_w * (h / 2 + 1)).map(|_| [normal(), normal(), normal()]).collect();
        for (i, c) in picture.iter_mut().enumerate() {
            let patch = coarse[(i / w / 2) * coarse_w + (i % w) / 2];
            let luma = normal();
            for k in 0..3 {
                let level = self.noise * mix(1.25, 0.75, c[k].clamp(0.0, 1.0));
                c[k] += level * (0.75 * luma + 0.5 * patch[k]);
            }
        }
    }
}

fn linear(v: u8) -> f32 {
    let d = f32::from(v) / 255.0;
    d * d
}

/// Mean of the picture along a line of half length `radius` pixels in a direction, with soft ends.
fn blur(light: &mut Vec<V3>, w: usize, h: usize, radius: f32, along: [f32; 2]) {
    let reach = radius.ceil().min(24.0) as i32;
    let taps: Vec<(f32, f32, f32)> = (-reach..=reach)
        .map(|k| (k as f32 * along[0], k as f32 * along[1], (radius + 0.5 - k.abs() as f32).clamp(0.0, 1.0)))
        .collect();
    let whole: f32 = taps.iter().map(|t| t.2).sum();
    let at = |x: f32, y: f32| {
        let (x, y) = (x.clamp(0.0, w as f32 - 1.0), y.clamp(0.0, h as f32 - 1.0));
        light[(y + 0.5) as usize * w + (x + 0.5) as usize]
    };
    let out = (0..w * h)
        .map(|i| {
            let (x, y) = ((i % w) as f32, (i / w) as f32);
            let mut sum = [0.0; 3];
            for (dx, dy, weight) in &taps {
                let c = at(x + dx, y + dy);
                for k in 0..3 {
                    sum[k] += weight * c[k];
                }
            }
            sum.map(|v| v / whole)
        })
        .collect();
    *light = out;
}

/// Adds the difference to the mean of the four neighbours.
fn sharpen(picture: &mut Vec<V3>, w: usize, h: usize, strength: f32) {
    let at = |x: usize, y: usize| picture[y.min(h - 1) * w + x.min(w - 1)];
    let out = (0..w * h)
        .map(|i| {
            let (x, y) = (i % w, i / w);
            let around = [at(x + 1, y), at(x.saturating_sub(1), y), at(x, y + 1), at(x, y.saturating_sub(1))];
            std::array::from_fn(|k| {
                let mean = around.iter().map(|c| c[k]).sum::<f32>() / 4.0;
                let own = picture[i][k];
                own + strength * (own - mean).clamp(-0.12, 0.12)
            })
        })
        .collect();
    *picture = out;
}

/// Quantiser steps at quality 50: ITU-T T.81, tables K.1 and K.2.
const LUMA: [u8; 64] = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80,
    62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98,
    112, 100, 103, 99,
];
const CHROMA: [u8; 64] = [
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99,
];

/// One plane through transform and quantiser, in steps of 1/255.
fn blocks(plane: &mut [f32], w: usize, h: usize, table: &[u8; 64], scale: f32, basis: &[[f32; 8]; 8]) {
    for by in (0..h).step_by(8) {
        for bx in (0..w).step_by(8) {
            let at = |x: usize, y: usize| (by + y).min(h - 1) * w + (bx + x).min(w - 1);
            let block: [[f32; 8]; 8] = std::array::from_fn(|y| std::array::from_fn(|x| plane[at(x, y)]));
            let rows: [[f32; 8]; 8] = block.map(|r| std::array::from_fn(|u| (0..8).map(|x| basis[u][x] * r[x]).sum()));
            let mut c: [[f32; 8]; 8] =
                std::array::from_fn(|v| std::array::from_fn(|u| (0..8).map(|y| basis[v][y] * rows[y][u]).sum()));
            for (v, row) in c.iter_mut().enumerate() {
                for (u, value) in row.iter_mut().enumerate() {
                    let step = (f32::from(table[8 * v + u]) * scale).clamp(1.0, 255.0);
                    *value = (*value / step + 0.5).floor() * step;
                }
            }
            let rows: [[f32; 8]; 8] = c.map(|r| std::array::from_fn(|x| (0..8).map(|u| basis[u][x] * r[u]).sum()));
            for y in 0..8.min(h - by) {
                for x in 0..8.min(w - bx) {
                    plane[at(x, y)] = (0..8).map(|v| basis[v][y] * rows[v][x]).sum();
                }
            }
        }
    }
}

/// Brightness and, at half resolution, colour through [`blocks`].
fn compress(picture: &mut [V3], w: usize, h: usize, quality: f32) {
    let q = quality.clamp(1.0, 100.0);
    let scale = if q < 50.0 { 0.5 * 100.0 / q } else { 2.0 - 0.02 * q };
    let basis: [[f32; 8]; 8] = std::array::from_fn(|u| {
        std::array::from_fn(|x| {
            let k = if u == 0 { 0.353_553_4 } else { 0.5 };
            k * cos((2 * x + 1) as f32 * u as f32 * std::f32::consts::PI / 16.0)
        })
    });
    let luma = |c: &V3| 255.0 * (0.299 * c[0] + 0.587 * c[1] + 0.114 * c[2]);
    let mut bright: Vec<f32> = picture.iter().map(|c| luma(c) - 128.0).collect();
    let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
    let means = (0..cw * ch).map(|i| {
        let (x, y) = (2 * (i % cw), 2 * (i / cw));
        let mut sum = [0.0f32; 2];
        for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let c = &picture[(y + dy).min(h - 1) * w + (x + dx).min(w - 1)];
            let l = luma(c);
            sum[0] += 0.25 * (255.0 * c[2] - l);
            sum[1] += 0.25 * (255.0 * c[0] - l);
        }
        (0.564 * sum[0], 0.713 * sum[1])
    });
    let (blue, red): (Vec<f32>, Vec<f32>) = means.unzip();
    let mut colour = [blue, red];
    blocks(&mut bright, w, h, &LUMA, scale, &basis);
    for plane in &mut colour {
        blocks(plane, cw, ch, &CHROMA, scale, &basis);
    }
    for (i, c) in picture.iter_mut().enumerate() {
        let at = (i / w / 2) * cw + (i % w) / 2;
        let (l, b, r) = (bright[i] + 128.0, colour[0][at], colour[1][at]);
        *c = [l + 1.402 * r, l - 0.344 * b - 0.714 * r, l + 1.772 * b].map(|v| v / 255.0);
    }
}
