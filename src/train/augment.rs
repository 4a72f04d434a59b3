//! What real footage does to a picture and rendered heads do not know: other colours, blur, noise, crops that sit askew, other
//! rooms, hands before the face, and people seen in a mirror.
//!
//! Input and output: a [`Batch`] or its pictures `[B, 3, S, S]` in [-1, 1]; the ground truth moves along. All randomness is that
//! of libtorch's generator, which the caller seeds per step.

use super::data::Batch;
use super::heads::{label, EXPRESSION_NAMES};
use crate::error::Result;
use crate::net::ops::{channels_last, from_vec, to_vec, Calc};
use tch::{Kind, Tensor};

/// Largest turn of a badly placed crop, radians: the aligner is right to a few degrees.
const TURN: f64 = 0.09;
/// Spread of its shift, fraction of half the side, and of its size.
const SHIFT: f64 = 0.05;
const SIZE: f64 = 0.06;
/// Share of pictures that get another background.
const ELSEWHERE: f64 = 0.4;

/// Colour of light and camera per picture: gain and offset per channel, contrast, brightness; `[B, 3, 1, 1]` each.
#[derive(Debug)]
pub(super) struct Tint {
    gain: Tensor,
    offset: Tensor,
}

impl Tint {
    /// Tints for `count` pictures, `strength` 1 as far as poor webcams go.
    pub(super) fn draw(like: &Tensor, strength: f64) -> Result<Tint> {
        let (b, options) = (like.size()[0], (Kind::Float, like.device()));
        let random = |channels: i64, spread: f64| -> Result<Tensor> {
            Tensor::f_randn([b, channels, 1, 1], options)?.scale(spread * strength)
        };
        let contrast = random(1, 0.2)?.shift(1.0)?;
        let gain = random(3, 0.08)?.shift(1.0)?.times(&contrast)?;
        let offset = random(3, 0.06)?.times(&contrast)?.plus(&random(1, 0.15)?)?;
        Ok(Tint { gain, offset })
    }

    /// The pictures under these colours, clipped.
    pub(super) fn apply(&self, images: &Tensor) -> Result<Tensor> {
        Ok(images.times(&self.gain)?.plus(&self.offset)?.f_clamp(-1.0, 1.0)?)
    }
}

/// Blur and noise per picture, and one grey rectangle in half of them.
pub(super) fn blemish(images: &Tensor) -> Result<Tensor> {
    let size = images.size();
    let (b, side) = (size[0], size[2]);
    let options = (Kind::Float, images.device());
    let soft = images.f_avg_pool2d([3, 3], [1, 1], [1, 1], false, false, None)?;
    let soft = soft.f_avg_pool2d([3, 3], [1, 1], [1, 1], false, false, None)?;
    let share = Tensor::f_rand([b, 1, 1, 1], options)?.scale(1.6)?.f_clamp(0.0, 1.0)?;
    let mut x = images.plus(&soft.minus(images)?.times(&share)?)?;
    let level = Tensor::f_rand([b, 1, 1, 1], options)?.scale(0.08)?;
    x = x.plus(&Tensor::f_randn([b, 3, side, side], options)?.times(&level)?)?;
    for i in (0..b).step_by(2) {
        let pick = to_vec(&Tensor::f_rand([5], options)?)?;
        let at = |v: f32| (v * 0.85 * side as f32) as i64;
        let (h, w) = (side / 12 + at(pick[2]) / 5, side / 12 + at(pick[3]) / 5);
        let mut hole = x.f_select(0, i)?.f_slice(1, at(pick[0]), (at(pick[0]) + h).min(side), 1)?;
        hole = hole.f_slice(2, at(pick[1]), (at(pick[1]) + w).min(side), 1)?;
        let _ = hole.f_fill_(f64::from(pick[4]) * 2.0 - 1.0)?;
    }
    channels_last(&x.f_clamp(-1.0, 1.0)?)
}

/// Colours and blemishes together.
pub(super) fn disturb(images: &Tensor) -> Result<Tensor> {
    blemish(&Tint::draw(images, 1.0)?.apply(images)?)
}

/// The batch in a mirror: left and right change places in pictures, labels, angles and expression. The numbers of the person stay
/// as they are and are no longer true.
pub(super) fn mirrored(batch: Batch) -> Result<Batch> {
    let device = batch.images.device();
    let (order, signs) = mirror_table();
    let order = Tensor::f_from_slice(&order)?.f_to_device(device)?;
    let signs = from_vec(&signs, &[1, signs.len() as i64], device)?;
    Ok(Batch {
        images: channels_last(&batch.images.f_flip([3])?)?,
        labels: batch.labels.f_flip([2])?,
        condition: batch.condition,
        angles: batch.angles.times(&from_vec(&[-1.0, 1.0], &[1, 2], device)?)?,
        expression: batch.expression.f_index_select(1, &order)?.times(&signs)?,
    })
}

/// For each expression, the one that it is in a mirror, and the sign with which.
fn mirror_table() -> (Vec<i64>, Vec<f32>) {
    let other = |name: &str| match (name.strip_suffix("_left"), name.strip_suffix("_right")) {
        (Some(stem), _) => format!("{stem}_right"),
        (_, Some(stem)) => format!("{stem}_left"),
        _ => name.to_string(),
    };
    let place = |name: &str| EXPRESSION_NAMES.iter().position(|n| *n == other(name)).unwrap_or(0) as i64;
    let sideways = |name: &str| matches!(name, "jaw_side" | "mouth_side" | "gaze_x");
    let signs = EXPRESSION_NAMES.iter().map(|n| if sideways(n) { -1.0 } else { 1.0 });
    (EXPRESSION_NAMES.iter().map(|n| place(n)).collect(), signs.collect())
}

/// The batch as crops that sit a little askew: turned, shifted, larger or smaller. Expression and angles stay true; the framing in the
/// condition does not.
pub(super) fn shaken(batch: Batch) -> Result<Batch> {
    let size = batch.images.size();
    let (b, side, device) = (size[0], size[2], batch.images.device());
    let options = (Kind::Float, device);
    let turn = Tensor::f_randn([b, 1], options)?.scale(TURN / 2.0)?.f_clamp(-TURN, TURN)?;
    let zoom = Tensor::f_randn([b, 1], options)?.scale(SIZE)?.f_exp()?;
    let (cos, sin) = (turn.f_cos()?.times(&zoom)?, turn.f_sin()?.times(&zoom)?);
    let shift = Tensor::f_randn([b, 2], options)?.scale(SHIFT)?;
    let (dx, dy) = (shift.f_slice(1, 0, 1, 1)?, shift.f_slice(1, 1, 2, 1)?);
    let rows = Tensor::f_cat(&[&cos, &sin.f_neg()?, &dx, &sin, &cos, &dy], 1)?.f_view([b, 2, 3])?;
    // Modes of libtorch: 0 bilinear, 1 nearest; padding 1 repeats the border.
    let grid = Tensor::f_affine_grid_generator(&rows, [b, 3, side, side], false)?;
    let images = batch.images.f_contiguous()?.f_grid_sampler(&grid, 0, 1, false)?;
    let cells = batch.labels.size()[1];
    let grid = Tensor::f_affine_grid_generator(&rows, [b, 1, cells, cells], false)?;
    let labels = batch.labels.f_to_kind(Kind::Float)?.f_unsqueeze(1)?.f_grid_sampler(&grid, 1, 1, false)?;
    Ok(Batch { images: channels_last(&images)?, labels: labels.f_squeeze_dim(1)?.f_to_kind(Kind::Int64)?, ..batch })
}

/// Some pictures before another background: what lies behind becomes a piece of their neighbour's picture, upside down and
/// enlarged, so that it is clutter and no second face.
pub(super) fn elsewhere(batch: Batch) -> Result<Batch> {
    let size = batch.images.size();
    let (b, side, device) = (size[0], size[2], batch.images.device());
    let behind = batch.labels.f_eq(i64::from(label::BACKGROUND))?.f_to_kind(Kind::Float)?.f_unsqueeze(1)?;
    let soft = behind.f_upsample_bilinear2d([side, side], false, None, None)?;
    let chosen = Tensor::f_rand([b, 1, 1, 1], (Kind::Float, device))?.f_lt(ELSEWHERE)?.f_to_kind(Kind::Float)?;
    let piece = batch.images.f_roll([1], [0])?.f_flip([2])?.f_slice(2, 0, side / 2, 1)?.f_slice(3, side / 4, 3 * side / 4, 1)?;
    let piece = piece.f_contiguous()?.f_upsample_bilinear2d([side, side], false, None, None)?;
    let images = batch.images.plus(&piece.minus(&batch.images)?.times(&soft.times(&chosen)?)?)?;
    Ok(Batch { images: channels_last(&images)?, ..batch })
}

#[cfg(test)]
mod tests {
    use super::super::data::HeadSet;
    use super::*;
    use crate::progress::Silent;
    use tch::Device;

    fn batch() -> Batch {
        HeadSet::render(4, 32, 21, None, &Silent).unwrap().pick(&[0, 1, 2, 3], 32, Device::Cpu).unwrap()
    }

    fn values(t: &Tensor) -> Vec<f32> {
        to_vec(t).unwrap()
    }

    #[test]
    fn a_mirror_twice_is_no_mirror_and_once_swaps_the_smiles() {
        let (once, plain) = (mirrored(batch()).unwrap(), batch());
        let column = |b: &Batch, i: i64| values(&b.expression.f_select(1, i).unwrap());
        assert_eq!(column(&once, 4), column(&plain, 5), "smile_left is smile_right");
        let negative: Vec<f32> = column(&plain, 27).iter().map(|v| -v).collect();
        assert_eq!(column(&once, 27), negative, "gaze_x");
        assert_eq!(column(&once, 28), column(&plain, 28), "gaze_y");
        let twice = mirrored(once).unwrap();
        for (a, b) in [(&twice.images, &plain.images), (&twice.expression, &plain.expression), (&twice.angles, &plain.angles)] {
            assert_eq!(values(a), values(b));
        }
        assert_eq!(values(&twice.labels), values(&plain.labels));
    }

    #[test]
    fn shaken_labels_follow_their_pictures() {
        // A picture that is white where the label says hair: after any move it must still be.
        let mut plain = batch();
        let hair = plain.labels.f_eq(i64::from(label::HAIR)).unwrap().f_to_kind(Kind::Float).unwrap().f_unsqueeze(1).unwrap();
        plain.images = hair.f_upsample_nearest2d([32, 32], None, None).unwrap().f_repeat([1, 3, 1, 1]).unwrap();
        let before = values(&plain.labels);
        let moved = shaken(plain).unwrap();
        assert_ne!(values(&moved.labels), before);
        let white =
            values(&moved.images.f_slice(1, 0, 1, 1).unwrap().f_avg_pool2d([2, 2], [2, 2], [0, 0], false, false, None).unwrap());
        let labels = values(&moved.labels);
        let wrong = labels.iter().zip(&white).filter(|(l, w)| (**l == f32::from(label::HAIR)) != (**w > 0.5)).count();
        assert!(wrong * 20 < labels.len(), "{wrong} of {} cells disagree", labels.len());
    }

    #[test]
    fn another_room_leaves_the_person_alone() {
        let plain = batch();
        let person =
            plain.labels.f_ne(i64::from(label::BACKGROUND)).unwrap().f_to_kind(Kind::Float).unwrap().f_unsqueeze(1).unwrap();
        // One cell away from every edge of the matte, where the blend is all person.
        let inside = person.f_neg().unwrap().f_max_pool2d([3, 3], [1, 1], [1, 1], [1, 1], false).unwrap().f_neg().unwrap();
        let inside = values(&inside.f_upsample_nearest2d([32, 32], None, None).unwrap().f_repeat([1, 3, 1, 1]).unwrap());
        let before = values(&plain.images);
        let mut changed = 0;
        // Other tests draw from the same generator of libtorch, so that no seed holds: twenty times four rooms cannot all stay.
        for _ in 0..20 {
            let after = values(&elsewhere(batch()).unwrap().images);
            assert!(before.iter().zip(&after).zip(&inside).all(|((a, b), i)| *i < 0.5 || (a - b).abs() < 1e-6));
            changed += usize::from(before != after);
        }
        assert!(changed > 0);
    }

    #[test]
    fn disturbed_pictures_stay_in_range_and_differ_from_draw_to_draw() {
        let images = batch().images;
        let (first, second) = (disturb(&images).unwrap(), disturb(&images).unwrap());
        assert!(values(&first).iter().chain(&values(&second)).all(|v| (-1.0..=1.0).contains(v)));
        assert_ne!(values(&first), values(&second));
        assert_eq!(first.size(), images.size());
    }
}
