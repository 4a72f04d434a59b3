//! What a good picture is: head-weighed pixel difference plus perceptual distance (paper 3.3 and 3.4, equations 2 and 9 to 12).
//!
//! Input: crops and renders `[B, 3, S, S]` in [-1, 1], S the side that is searched with (`Model::sight`). The weights come from the FFHQ framing, which says where eyes and mouth
//! are to be expected, and from the pack's region parser, which says where they are.

use super::crops::Crops;
use crate::error::Result;
use crate::net::analysis::{Analysis, View};
use crate::net::ops::{from_vec, Calc};
use crate::progress::{check, Progress};
use tch::{no_grad, Device, Kind, Tensor};

/// How much the perceptual distance counts against the pixel difference.
const PERCEPTUAL: f64 = 0.04;
/// What is left of the background's weight where only the head counts.
const BACKGROUND: f64 = 0.05;

/// Judges renders against crops.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    pub net: &'a Analysis,
    pub kind: Kind,
    labels: Vec<String>,
    prior: Prior,
    /// Whether the background hardly counts.
    head_only: bool,
}

/// Crops of some frames with what the losses need of them.
#[derive(Debug)]
pub(super) struct Target {
    pub images: Tensor,
    view: View,
    weights: Tensor,
}

impl Target {
    /// How much each place of crop `index` counts, `[1, 1, S/2, S/2]` of mean 1. Without a parser all crops share one map.
    pub(super) fn weights(&self, index: i64) -> Result<Tensor> {
        let index = if self.weights.size()[0] == 1 { 0 } else { index };
        Ok(self.weights.f_slice(0, index, index + 1, 1)?)
    }
}

/// What crops are compared with, computed once for those that come again and again.
#[derive(Debug)]
pub(super) struct Known {
    /// What the perceptual distance looks at, `[crops, h, w, C]` each.
    compared: Vec<Tensor>,
    /// `[crops, 1, S/2, S/2]`.
    weights: Tensor,
}

/// Bytes that [`Known`] takes at most: with networks of our trainer, at 128 pixels, those of some 280 crops.
pub(super) const KNOWN_BYTES: usize = 256 << 20;

impl Known {
    /// Of all crops; none where they would take more than `most` bytes, or the networks are published ones. In groups that always are the same, so that the numbers are
    /// as well, wherever a tuning is gone on with.
    pub(super) fn new(judge: &Judge<'_>, crops: &Crops, most: usize, progress: &dyn Progress) -> Result<Option<Known>> {
        let mut known: Option<Known> = None;
        for picks in crops.chunks(GROUP) {
            check(progress)?;
            let target = judge.target(&crops.pick(&picks)?)?;
            let Some(compared) = judge.net.compared(&target.view)? else { return Ok(None) };
            let parts = compared.iter().map(|x| Ok(x.f_permute([0, 2, 3, 1])?)).collect::<Result<Vec<_>>>()?;
            let place = |part: &Tensor| -> Result<Tensor> {
                let mut size = part.size();
                size[0] = crops.len() as i64;
                Ok(Tensor::f_zeros(size, (part.kind(), part.device()))?)
            };
            let known = match &mut known {
                Some(known) => known,
                None => {
                    let bytes = |x: &Tensor| x.numel() / picks.len() * crops.len() * x.kind().elt_size_in_bytes();
                    if parts.iter().chain([&target.weights]).map(bytes).sum::<usize>() > most {
                        return Ok(None);
                    }
                    let compared = parts.iter().map(place).collect::<Result<_>>()?;
                    known.insert(Known { compared, weights: place(&target.weights)? })
                }
            };
            let all = known.compared.iter().zip(&parts).chain([(&known.weights, &target.weights)]);
            for (all, part) in all {
                all.f_narrow(0, picks[0], picks.len() as i64)?.f_copy_(part)?;
            }
        }
        Ok(known)
    }

    /// [`Judge::target`] of the crops `picks`, which `images` shows.
    pub(super) fn target(&self, judge: &Judge<'_>, picks: &[i64], images: &Tensor) -> Result<Target> {
        let index = Tensor::f_from_slice(picks)?.f_to_device(images.device())?;
        let compared = self.compared.iter().map(|x| Ok(x.f_index_select(0, &index)?.f_permute([0, 3, 1, 2])?));
        let view = View::recalled(images, compared.collect::<Result<_>>()?, judge.kind);
        Ok(Target { images: images.shallow_clone(), view, weights: self.weights.f_index_select(0, &index)? })
    }
}

/// Crops that are looked at together.
const GROUP: usize = 8;

/// Maps `[1, 1, side, side]` of the FFHQ framing at half the crop's side.
#[derive(Debug)]
pub(super) struct Prior {
    head: Tensor,
    eyes: Tensor,
    mouth: Tensor,
}

/// A soft ellipse: 1 inside, 0 outside, in fractions of the crop.
fn ellipse(side: i64, centre: (f32, f32), radius: (f32, f32), device: Device) -> Result<Tensor> {
    let at = |i: i64| (i as f32 + 0.5) / side as f32;
    let value = |x: i64, y: i64| {
        let d = (((at(x) - centre.0) / radius.0).powi(2) + ((at(y) - centre.1) / radius.1).powi(2)).sqrt();
        ((1.25 - d) / 0.5).clamp(0.0, 1.0)
    };
    let map: Vec<f32> = (0..side * side).map(|i| value(i % side, i / side)).collect();
    from_vec(&map, &[1, 1, side, side], device)
}

impl Prior {
    pub(super) fn new(side: i64, device: Device) -> Result<Self> {
        let left = ellipse(side, (0.375, 0.45), (0.11, 0.09), device)?;
        let right = ellipse(side, (0.625, 0.45), (0.11, 0.09), device)?;
        Ok(Prior {
            head: ellipse(side, (0.5, 0.52), (0.36, 0.5), device)?,
            eyes: left.f_maximum(&right)?,
            mouth: ellipse(side, (0.5, 0.74), (0.17, 0.13), device)?,
        })
    }

    /// How much each place tells of where the face sits, `[1, 1, side, side]` of mean 1: the face alone, without most of the hair.
    pub(super) fn face(side: i64, device: Device) -> Result<Tensor> {
        let map = ellipse(side, (0.5, 0.52), (0.26, 0.36), device)?.shift(0.01)?;
        map.over(&map.average()?)
    }

    /// How much each place counts where no parser was asked, `[1, 1, side, side]` of mean 1: the head, eyes and mouth most.
    pub(super) fn weights(&self) -> Result<Tensor> {
        let map = self.head.scale(0.9)?.shift(0.1)?.plus(&self.eyes.scale(1.8)?)?.plus(&self.mouth.scale(1.5)?)?;
        map.over(&map.average()?)
    }
}

/// Probability `[B, 1, h, w]` that a place belongs to one of the named classes, from all classes' `[B, classes, h, w]`.
fn share(parsed: &Tensor, labels: &[String], names: &[&str]) -> Result<Tensor> {
    let picks: Vec<i64> = labels.iter().enumerate().filter(|(_, l)| names.contains(&l.as_str())).map(|(i, _)| i as i64).collect();
    let index = Tensor::f_from_slice(&picks)?.f_to_device(parsed.device())?;
    Ok(parsed.f_index_select(1, &index)?.f_sum_dim_intlist([1i64].as_slice(), true, Kind::Float)?)
}

/// The matte with a margin of a sixteenth of the crop, so that a head which is drawn too large is seen to be.
fn widened(matte: &Tensor) -> Result<Tensor> {
    let reach = matte.size()[2] / 16;
    Ok(matte.f_max_pool2d([2 * reach + 1; 2], [1, 1], [reach; 2], [1, 1], false)?)
}

impl<'a> Judge<'a> {
    /// `labels` are the parser's class names.
    pub(super) fn new(net: &'a Analysis, labels: &[String], side: i64, kind: Kind, device: Device) -> Result<Self> {
        Ok(Judge { net, kind, labels: labels.to_vec(), prior: Prior::new(side / 2, device)?, head_only: false })
    }

    /// With `head_only` the background hardly counts: the receiver lays the head over one that it has.
    pub(super) fn only_head(mut self, head_only: bool) -> Self {
        self.head_only = head_only;
        self
    }

    /// Weights `[B, 1, S/2, S/2]` of mean 1 from the framing and the parser.
    fn weights(&self, view: &View) -> Result<Tensor> {
        let side = self.prior.head.size()[2];
        let parsed = match self.net.parse(view)? {
            Some(logits) => Some(logits.f_softmax(1, Kind::Float)?.f_upsample_bilinear2d([side; 2], false, None, None)?),
            None => None,
        };
        let share = |names: &[&str]| -> Result<Tensor> {
            // Without a parser no place is known to be background, eye or mouth: the framing decides alone.
            let Some(parsed) = &parsed else { return Ok(self.prior.head.f_zeros_like()?) };
            share(parsed, &self.labels, names)
        };
        let fine = share(&["brows", "eyes", "lids", "iris"])?.times(&self.prior.eyes)?;
        let mouth = share(&["lips", "inner_mouth"])?.times(&self.prior.mouth)?;
        let matte = share(&["background"])?.scale(-1.0)?.shift(1.0)?;
        let p = &self.prior;
        let base = p.head.scale(0.6)?.plus(&matte.scale(0.4)?)?.shift(0.6)?;
        let windows = p.eyes.scale(1.8)?.plus(&p.mouth.scale(1.5)?)?;
        let map = base.plus(&windows)?.plus(&fine.plus(&mouth)?.scale(2.0)?)?;
        let map = match (self.head_only, &parsed) {
            (true, Some(_)) => map.times(&widened(&matte)?.scale(1.0 - BACKGROUND)?.shift(BACKGROUND)?)?,
            _ => map,
        };
        let mean = map.f_mean_dim([1i64, 2, 3].as_slice(), true, Kind::Float)?;
        map.over(&mean)
    }

    /// Per crop, the area of the open eyes and that of the open mouth `[B, 2]`, where the pack's parser knows them.
    pub(super) fn openings(&self, images: &Tensor) -> Result<Option<Tensor>> {
        let Some(logits) = self.net.parse(&self.net.view(images, self.kind)?)? else { return Ok(None) };
        let side = self.prior.head.size()[2];
        let parsed = logits.f_softmax(1, Kind::Float)?.f_upsample_bilinear2d([side; 2], false, None, None)?;
        let area = |names: &[&str], window: &Tensor| -> Result<Tensor> {
            let map = share(&parsed, &self.labels, names)?.times(window)?;
            Ok(map.f_mean_dim([1i64, 2, 3].as_slice(), false, Kind::Float)?)
        };
        let eyes = area(&["eyes", "iris"], &self.prior.eyes)?;
        Ok(Some(Tensor::f_stack(&[eyes, area(&["inner_mouth"], &self.prior.mouth)?], 1)?))
    }

    /// Prepares crops to be compared with.
    pub(super) fn target(&self, images: &Tensor) -> Result<Target> {
        no_grad(|| {
            let view = self.net.view(images, self.kind)?;
            let weights = self.weights(&view)?;
            Ok(Target { images: images.shallow_clone(), view, weights })
        })
    }

    /// Loss per frame `[B]`: weighed absolute and squared difference plus perceptual distance.
    pub(super) fn loss(&self, renders: &Tensor, target: &Target) -> Result<Tensor> {
        let pixels = self.pixels(renders, &target.images, target)?;
        let seen = self.net.view(renders, self.kind)?;
        pixels.plus(&self.net.distance(&seen, &target.view, Some(&target.weights))?.scale(PERCEPTUAL)?)
    }

    /// Its first part `[B]`, for renders of any side against the target's crops at that side.
    pub(super) fn pixels(&self, renders: &Tensor, images: &Tensor, target: &Target) -> Result<Tensor> {
        let side = renders.size()[2];
        let weights = target.weights.f_upsample_bilinear2d([side, side], false, None, None)?;
        let difference = renders.minus(images)?;
        let pixels = difference.f_abs()?.plus(&difference.f_square()?.scale(2.0)?)?.times(&weights)?;
        Ok(pixels.f_mean_dim([1i64, 2, 3].as_slice(), false, Kind::Float)?)
    }

    /// Inter-frame loss (equation 11): the change from frame to frame in the renders against the change in the crops.
    pub(super) fn flicker(&self, renders: &Tensor, target: &Target) -> Result<Tensor> {
        let step = |t: &Tensor| -> Result<Tensor> {
            let n = t.size()[0];
            t.f_slice(0, 1, n, 1)?.minus(&t.f_slice(0, 0, n - 1, 1)?)
        };
        let off = step(renders)?.minus(&step(&target.images)?)?.f_square()?;
        if !self.head_only {
            return off.average();
        }
        let (n, side) = (renders.size()[0], renders.size()[2]);
        let weights = target.weights.f_slice(0, 1, n, 1)?.f_upsample_bilinear2d([side, side], false, None, None)?;
        off.times(&weights)?.average()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::AlignedFrame;
    use crate::frame::Frame;
    use crate::net::ops::to_vec;
    use crate::pack::fixture;
    use crate::progress::Silent;

    fn noise(seed: i64) -> Tensor {
        let values = fixture::rule(&format!("loss {seed}"), 2 * 3 * 32 * 32, 0.4, 0.0);
        from_vec(&values, &[2, 3, 32, 32], Device::Cpu).unwrap().f_clamp(-1.0, 1.0).unwrap()
    }

    #[test]
    fn weights_have_mean_one_and_eyes_and_mouth_count_most() {
        let pack = fixture::tiny(1).unwrap();
        let net = pack.analysis(Device::Cpu).unwrap();
        let judge = Judge::new(&net, &pack.config().labels, 32, Kind::Float, Device::Cpu).unwrap();
        let parsed = judge.target(&noise(1)).unwrap().weights;
        assert_eq!(parsed.size(), [2, 1, 16, 16]);
        for weights in [parsed, Prior::new(16, Device::Cpu).unwrap().weights().unwrap()] {
            for mean in to_vec(&weights.f_mean_dim([1i64, 2, 3].as_slice(), false, Kind::Float).unwrap()).unwrap() {
                assert!((mean - 1.0).abs() < 1e-4, "{mean}");
            }
            // Left eye and mouth of the FFHQ framing against a cheek, cells of 16 x 16.
            let at = |x: usize, y: usize| to_vec(&weights).unwrap()[16 * y + x];
            let (eye, mouth, cheek) = (at(6, 7), at(8, 11), at(5, 9));
            assert!(eye > cheek && mouth > cheek, "{eye} {mouth} {cheek}");
        }
    }

    #[test]
    fn where_only_the_head_counts_a_background_that_moves_is_no_flicker() {
        let pack = fixture::tiny(1).unwrap();
        let net = pack.analysis(Device::Cpu).unwrap();
        let judge = |head| Judge::new(&net, &pack.config().labels, 32, Kind::Float, Device::Cpu).unwrap().only_head(head);
        let rest = noise(1).f_narrow(0, 0, 1).unwrap().f_expand([2, 3, 32, 32], false).unwrap().copy();
        let seen = |head| {
            let judge = judge(head);
            let target = judge.target(&rest).unwrap();
            // The place that counts least changes.
            let weights = to_vec(&target.weights.f_narrow(0, 1, 1).unwrap()).unwrap();
            let least = (0..256).min_by(|a, b| weights[*a].total_cmp(&weights[*b])).unwrap() as i64;
            let moved = rest.copy();
            let (y, x) = (2 * (least / 16), 2 * (least % 16));
            let _ = moved.f_narrow(0, 1, 1).unwrap().f_narrow(2, y, 2).unwrap().f_narrow(3, x, 2).unwrap().f_neg_().unwrap();
            judge.flicker(&moved, &target).unwrap().value().unwrap()
        };
        assert!(seen(true) < seen(false) && seen(true) > 0.0, "{} {}", seen(true), seen(false));
    }

    #[test]
    fn where_only_the_head_counts_the_background_loses_its_weight() {
        let pack = fixture::tiny(1).unwrap();
        let net = pack.analysis(Device::Cpu).unwrap();
        let judge = || Judge::new(&net, &pack.config().labels, 32, Kind::Float, Device::Cpu).unwrap();
        let whole = judge().target(&noise(1)).unwrap().weights;
        let head = judge().only_head(true).target(&noise(1)).unwrap().weights;
        let view = net.view(&noise(1), Kind::Float).unwrap();
        let parsed = net.parse(&view).unwrap().unwrap().f_softmax(1, Kind::Float).unwrap();
        let background = share(&parsed, &pack.config().labels, &["background"]).unwrap();
        let background = background.f_upsample_bilinear2d([16, 16], false, None, None).unwrap();
        // How much weight lies on what is surely background, in shares of all.
        let on = |weights: &Tensor| to_vec(&weights.times(&background).unwrap()).unwrap().iter().sum::<f32>();
        assert!(on(&head) < on(&whole), "{} {}", on(&head), on(&whole));
        let mean = to_vec(&head).unwrap().iter().sum::<f32>() / 512.0;
        assert!((mean - 1.0).abs() < 1e-4, "{mean}");
    }

    #[test]
    fn what_is_known_of_crops_judges_as_what_is_computed_anew() {
        let pack = fixture::tiny(1).unwrap();
        let net = pack.analysis(Device::Cpu).unwrap();
        let judge = Judge::new(&net, &pack.config().labels, 32, Kind::Float, Device::Cpu).unwrap();
        let frame = |i: usize| {
            let values = fixture::rule(&format!("crop {i}"), 3 * 32 * 32, 100.0, 128.0);
            let data = values.iter().map(|v| v.clamp(0.0, 255.0) as u8).collect();
            AlignedFrame::whole(i as i64, Frame { width: 32, height: 32, data }, i == 0)
        };
        let frames: Vec<_> = (0..GROUP + 3).map(frame).collect();
        let crops = Crops::new(&frames, (32, 32), Device::Cpu).unwrap();
        let known = Known::new(&judge, &crops, KNOWN_BYTES, &Silent).unwrap().unwrap();
        let loss = |target: &Target| to_vec(&judge.loss(&noise(3), target).unwrap()).unwrap();
        let picks = [9, 2];
        let images = crops.pick(&picks).unwrap();
        let (again, anew) = (known.target(&judge, &picks, &images).unwrap(), judge.target(&images).unwrap());
        let (again, anew, other) = (loss(&again), loss(&anew), loss(&known.target(&judge, &[2, 9], &images).unwrap()));
        let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(close(&again, &anew) && !close(&other, &anew), "{again:?} {anew:?} {other:?}");
        assert!(Known::new(&judge, &crops, 1000, &Silent).unwrap().is_none(), "there is no room for them");
        struct Stopped;
        impl Progress for Stopped {
            fn cancelled(&self) -> bool {
                true
            }
        }
        assert!(matches!(Known::new(&judge, &crops, KNOWN_BYTES, &Stopped), Err(crate::Error::Cancelled)));
    }

    #[test]
    fn the_loss_is_zero_only_for_the_target_itself() {
        let pack = fixture::tiny(1).unwrap();
        let net = pack.analysis(Device::Cpu).unwrap();
        let judge = Judge::new(&net, &pack.config().labels, 32, Kind::Float, Device::Cpu).unwrap();
        let target = judge.target(&noise(1)).unwrap();
        assert!(to_vec(&judge.loss(&noise(1), &target).unwrap()).unwrap().iter().all(|l| l.abs() < 1e-5));
        assert!(to_vec(&judge.loss(&noise(2), &target).unwrap()).unwrap().iter().all(|l| *l > 0.1));
        assert!(judge.flicker(&noise(1), &target).unwrap().value().unwrap() < 1e-6);
        assert!(judge.flicker(&noise(2), &target).unwrap().value().unwrap() > 0.01);
    }
}
