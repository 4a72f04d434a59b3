//! The plate: what the camera sees where the person is not, from some frames of a clip.
//!
//! In: camera frames with the place of the crop and its matte. Out: one camera frame. Per pixel the median of the frames in which the
//! person did not stand there; where somebody always did, what the crop's soft edge will let through, else the surroundings drawn in.

use super::still::{by_colour, check_pixels};
use crate::decode::{Matte, Square, FEATHER};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::net::ops::{from_vec, Calc};
use crate::params::Placement;
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

/// Most frames that are looked at: medians of more change little.
const MAX_SAMPLES: usize = 48;
/// Most memory for them, bytes, as long as [`ENOUGH`] of them fit.
const MAX_BYTES: usize = 256 << 20;
/// From this probability on a place may be the person's.
const PERSON: f32 = 0.15;
/// How far around the person nothing is trusted, share of the crop's side: shadows, hair.
const MARGIN: f32 = 0.03;
/// Fewest frames to tell by how much a pixel changes, and by how many levels it may.
const ENOUGH: usize = 4;
const CALM: u8 = 8;

/// Gathers frames.
pub struct PlateMaker {
    width: u32,
    height: u32,
    samples: Vec<Sample>,
}

struct Sample {
    frame: Frame,
    cover: Vec<Cover>,
}

/// What a frame shows at a pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cover {
    /// The background.
    None,
    /// The person, where the crop fades out and the plate shows through.
    Fading,
    /// The person, where the crop hides the plate.
    Full,
}

/// A plate and how far it can be trusted.
#[derive(Debug)]
pub struct Estimate {
    /// As large as the camera's frames.
    pub plate: Frame,
    /// Share of the pixels that were seen without the person, or under the crop's edge, 0 to 1.
    pub seen: f64,
    /// Of the pixels that were seen often enough to tell, the share whose colour changes by more than a camera's noise: a camera that moves, or
    /// something behind the person. `None` where no pixel was.
    pub unrest: Option<f64>,
}

impl std::fmt::Debug for PlateMaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PlateMaker({} x {}, {} frames)", self.width, self.height, self.samples.len())
    }
}

impl PlateMaker {
    /// For camera frames of this size.
    pub fn new(width: u32, height: u32) -> Self {
        PlateMaker { width, height, samples: Vec::new() }
    }

    /// How many frames of this size it takes, 4 to 48.
    pub fn capacity(width: u32, height: u32) -> usize {
        (MAX_BYTES / (4 * width as usize * height as usize).max(1)).clamp(ENOUGH, MAX_SAMPLES)
    }

    /// One more camera frame. Without a matte the whole crop is taken for the person.
    ///
    /// # Errors
    /// Misuse for a frame of another size, or more frames than fit; limit for frames of more than [`MAX_CAMERA_PIXELS`](crate::limits::MAX_CAMERA_PIXELS).
    pub fn add(&mut self, frame: Frame, matte: Option<&Matte>, roll: f32, placement: &Placement) -> Result<()> {
        if (frame.width, frame.height) != (self.width, self.height) {
            let (w, h) = (self.width, self.height);
            return Err(Error::Misuse(format!("plate: frame of {} x {}, not {w} x {h}", frame.width, frame.height)));
        }
        if self.samples.len() >= Self::capacity(self.width, self.height) {
            return Err(Error::Misuse(format!("plate: more than {} frames", self.samples.len())));
        }
        check_pixels(self.width, self.height)?;
        let square = Square::new(*placement, roll, 1);
        let (columns, rows) = square.extent(self.width, self.height);
        let around = [(0.0, 0.0), (MARGIN, 0.0), (-MARGIN, 0.0), (0.0, MARGIN), (0.0, -MARGIN)];
        let mut cover = vec![Cover::None; frame.data.len() / 3];
        for y in rows {
            for x in columns.clone() {
                let (u, v) = square.to_crop(x, y);
                let inside = |u: f32, v: f32| (0.0..1.0).contains(&u) && (0.0..1.0).contains(&v);
                let near = |(du, dv): &(f32, f32)| {
                    let (u, v) = (u + du, v + dv);
                    inside(u, v) && matte.is_none_or(|matte| matte.at(u, v) > PERSON)
                };
                if around.iter().any(near) {
                    let edge = u.min(1.0 - u).min(v).min(1.0 - v);
                    cover[(y * self.width + x) as usize] = if edge < FEATHER { Cover::Fading } else { Cover::Full };
                }
            }
        }
        self.samples.push(Sample { frame, cover });
        Ok(())
    }

    /// The plate.
    ///
    /// # Errors
    /// No content without a frame; device.
    pub fn finish(&self) -> Result<Estimate> {
        if self.samples.is_empty() {
            return Err(Error::NoContent("plate: no frame to make it of".into()));
        }
        let pixels = self.width as usize * self.height as usize;
        let rows: Vec<Pixel> = (0..pixels).into_par_iter().map(|at| self.pixel(at)).collect();
        let count = |what: fn(&Pixel) -> bool| rows.iter().filter(|p| what(p)).count();
        let (known, judged, restless) =
            (count(|p| p.known), count(|p| p.restless.is_some()), count(|p| p.restless == Some(true)));
        let seen = Frame::new(self.width, self.height, rows.iter().flat_map(|p| p.colour).collect())?;
        let plate = if known == pixels { seen } else { self.filled(&seen, &rows)? };
        let unrest = (judged > 0).then(|| restless as f64 / judged as f64);
        Ok(Estimate { plate, seen: known as f64 / pixels as f64, unrest })
    }

    fn pixel(&self, at: usize) -> Pixel {
        let mut seen = [[0u8; MAX_SAMPLES]; 3];
        let mut count = 0;
        // Rather the person's own hair and shoulders than a guess, where they show through.
        for wanted in [Cover::None, Cover::Fading] {
            for sample in self.samples.iter().filter(|sample| sample.cover[at] == wanted) {
                for (c, seen) in seen.iter_mut().enumerate() {
                    seen[count] = sample.frame.data[3 * at + c];
                }
                count += 1;
            }
            if count > 0 {
                break;
            }
        }
        if count == 0 {
            return Pixel { colour: [0; 3], known: false, restless: None };
        }
        let mut restless = false;
        let colour = [0, 1, 2].map(|c| {
            let values = &mut seen[c][..count];
            values.sort_unstable();
            let middle = values[count / 2];
            // Three in four are near the middle one.
            let (low, high) = (values[count / 8], values[count - 1 - count / 8]);
            restless |= middle - low > CALM || high - middle > CALM;
            middle
        });
        Pixel { colour, known: true, restless: (count >= ENOUGH).then_some(restless) }
    }

    /// The surroundings drawn into what was never seen: from coarse to fine, each level fills what the finer one does not know.
    fn filled(&self, seen: &Frame, rows: &[Pixel]) -> Result<Frame> {
        let known: Vec<f32> = rows.iter().map(|p| f32::from(u8::from(p.known))).collect();
        let known = from_vec(&known, &[1, 1, i64::from(self.height), i64::from(self.width)], Device::Cpu)?;
        by_colour(seen, self.width, self.height, |colour| fill(colour, &known))
    }
}

/// What is known of a pixel of the plate.
struct Pixel {
    colour: [u8; 3],
    known: bool,
    /// Whether its colour changes, where it was seen often enough.
    restless: Option<bool>,
}

/// `colours` `[1, 1, h, w]`, zero where `known` `[1, 1, h, w]` is, with the gaps filled.
fn fill(colours: &Tensor, known: &Tensor) -> Result<Tensor> {
    let (h, w) = (known.size()[2], known.size()[3]);
    if h == 1 && w == 1 {
        return Ok(colours.shallow_clone());
    }
    let half = [(h + 1) / 2, (w + 1) / 2];
    let share = known.f_adaptive_avg_pool2d(half)?;
    let coarse = colours.f_adaptive_avg_pool2d(half)?.over(&share.f_clamp_min(1e-6)?)?;
    let coarse = fill(&coarse, &share.f_gt(0.0)?.f_to_kind(Kind::Float)?)?;
    let fine = coarse.f_upsample_bilinear2d([h, w], false, None, None)?;
    colours.plus(&fine.times(&known.scale(-1.0)?.shift(1.0)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: u32 = 24;

    fn scene() -> Frame {
        let data = (0..48 * 36).flat_map(|i| [(4 * (i % 48)) as u8, (5 * (i / 48)) as u8, 90]).collect();
        Frame::new(48, 36, data).unwrap()
    }

    /// The scene with somebody in the middle of a crop at `x`.
    fn shown(x: u32) -> (Frame, Placement) {
        let mut frame = scene();
        for (px, py) in (0..12).flat_map(|i| (0..12).map(move |j| (x - 6 + i, 12 + j))) {
            let at = 3 * (py * 48 + px) as usize;
            frame.data[at..at + 3].fill(255);
        }
        (frame, Placement { x: x as f32, y: 18.0, side: SIDE as f32 })
    }

    fn matte() -> Matte {
        let person = |i: u32| (6..18).contains(&(i % SIDE)) && (6..18).contains(&(i / SIDE));
        Matte::new(SIDE, (0..SIDE * SIDE).map(|i| if person(i) { 255 } else { 0 }).collect()).unwrap()
    }

    #[test]
    fn what_somebody_hid_for_a_while_is_found() {
        let mut maker = PlateMaker::new(48, 36);
        for x in [12, 14, 30, 34] {
            let (frame, placement) = shown(x);
            maker.add(frame, Some(&matte()), 0.0, &placement).unwrap();
        }
        let found = maker.finish().unwrap();
        assert_eq!((found.plate, found.seen, found.unrest), (scene(), 1.0, Some(0.0)));
    }

    #[test]
    fn what_was_never_seen_takes_the_colours_around_it() {
        let mut maker = PlateMaker::new(48, 36);
        let (frame, placement) = shown(24);
        maker.add(frame, Some(&matte()), 0.0, &placement).unwrap();
        let found = maker.finish().unwrap();
        assert!((0.8..0.95).contains(&found.seen), "{}", found.seen);
        let (hidden, there) = (found.plate.pixel(24, 18), scene().pixel(24, 18));
        for (a, b) in hidden.iter().zip(there) {
            assert!(a.abs_diff(b) < 25, "{hidden:?} {there:?}");
        }
        assert_eq!(found.plate.pixel(3, 3), scene().pixel(3, 3));
    }

    #[test]
    fn a_background_that_moves_is_noticed() {
        let mut maker = PlateMaker::new(48, 36);
        for step in 0..8u8 {
            let mut frame = scene();
            // The left half flickers.
            let left = (0..frame.data.len()).filter(|i| i / 3 % 48 < 24).collect::<Vec<_>>();
            left.iter().for_each(|&i| frame.data[i] = frame.data[i].saturating_add(20 * (step % 2) + 5 * step));
            maker.add(frame, Some(&matte()), 0.0, &Placement { x: 24.0, y: 18.0, side: SIDE as f32 }).unwrap();
        }
        let unrest = maker.finish().unwrap().unrest.unwrap();
        assert!((0.4..0.6).contains(&unrest), "{unrest}");
    }

    #[test]
    fn without_a_matte_the_whole_crop_is_somebody() {
        let mut maker = PlateMaker::new(48, 36);
        let (frame, placement) = shown(24);
        maker.add(frame, None, 0.0, &placement).unwrap();
        let Estimate { seen, unrest, .. } = maker.finish().unwrap();
        assert_eq!(unrest, None, "one frame tells nothing");
        // All but the crop within its soft edge.
        let hidden = f64::from(SIDE) * (1.0 - 2.0 * f64::from(FEATHER));
        let outside = 1.0 - hidden * hidden / (48.0 * 36.0);
        assert!((seen - outside).abs() < 0.02, "{seen} {outside}");
        assert!(matches!(PlateMaker::new(9, 9).finish(), Err(Error::NoContent(_))));
        assert!(PlateMaker::new(9, 9).add(scene(), None, 0.0, &placement).is_err());
    }
}
