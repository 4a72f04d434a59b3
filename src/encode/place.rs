//! By how much the crops of an enrolled person sit beside the place where their identity draws the face.
//!
//! Input: crops `[R, R]` of one person, an identity. Output: one similarity for all of them, and how far crops and renders are apart. Numbers and place are
//! solved for together: numbers alone would turn and stretch the face to make up for a wrong place, and then nothing seems to be off.
//! Source: ours, after active appearance models, whose pose is part of what is fitted.

use super::crops::Crops;
use super::loss::Judge;
use super::newton::{Aim, Effort, Newton, SIDE};
use crate::error::Result;
use crate::net::ops::{from_vec, to_vec};
use crate::progress::{check, Progress};
use tch::Tensor;

/// Steps by which the numbers are brought near first.
const STEPS: u64 = 2;

/// What moves crops to where the face is drawn: a crop's point p (its side is 1, its centre 0, y down) lies at `scale * rotate(angle) * p +
/// shift` of the crop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Misplaced {
    /// Shares of the crop's side.
    pub shift: (f64, f64),
    /// Magnification.
    pub scale: f64,
    /// Radians clockwise.
    pub angle: f64,
    /// Mean squared difference of crops and renders as they are, weighed towards the head, of samples in [-1, 1].
    pub error: f64,
}

impl Misplaced {
    /// From shifts, log scale and angle.
    pub(super) fn of([x, y, scale, angle]: [f32; 4], error: f64) -> Self {
        Misplaced { shift: (x.into(), y.into()), scale: f64::from(scale).exp(), angle: angle.into(), error }
    }
}

/// Medians over all crops, and the rows `[frames, 34]` found for them; `table` `[frames, 34]` says where each search may begin. `near`: that is where an earlier look
/// at nearly the same crops ended, so that derivatives measured there will do.
pub(super) fn misplaced(
    newton: &mut Newton,
    judge: &Judge,
    crops: &Crops,
    (table, near): (&Tensor, bool),
    progress: &dyn Progress,
) -> Result<(Misplaced, Tensor)> {
    let effort = Effort { steps: STEPS, columns: 0, gain: 0.0 };
    let mut found: [Vec<f32>; 4] = Default::default();
    let (mut error, mut rows) = (0.0, Vec::new());
    for frame in 0..crops.len() as i64 {
        check(progress)?;
        let image = crops.pick(&[frame])?;
        let aim = Aim::new(&image, &judge.target(&image)?.weights(0)?)?;
        newton.consider(&aim, &table.f_slice(0, frame, frame + 1, 1)?)?;
        newton.measure()?;
        error += newton.approach(&aim, &effort)? / crops.len() as f64;
        rows.push(newton.row().copy());
        if !near {
            newton.measure()?;
        }
        for (list, value) in found.iter_mut().zip(beside(newton, &aim)?) {
            list.push(value);
        }
    }
    let middle = found.map(|mut values| {
        values.sort_by(f32::total_cmp);
        values[values.len() / 2]
    });
    Ok((Misplaced::of(middle, error), Tensor::f_cat(&rows, 0)?))
}

/// By how much one crop seems to sit beside its render, as far as the numbers cannot make up for it: shift along x and y, log scale and angle.
pub(super) fn beside(newton: &Newton, aim: &Aim) -> Result<[f32; 4]> {
    let picture = &aim.picture;
    let place = from_vec(&slopes(&to_vec(picture)?), &[4, picture.size()[1]], picture.device())?;
    let found = newton.others(aim, &place)?;
    Ok([found[0], found[1], found[2], found[3]])
}

/// How much the crop `[3, SIDE, SIDE]` changes back, per unit of shift along x and y, of log scale and of angle: `[4, 3, SIDE, SIDE]`. Where the crop moves
/// by these, the picture has to change by their negative to meet it.
fn slopes(crop: &[f32]) -> Vec<f32> {
    let side = SIDE as usize;
    let mut out = vec![0f32; 4 * crop.len()];
    let at = |i: usize| (i as f32 + 0.5) / side as f32 - 0.5;
    for i in 0..crop.len() {
        let (column, row) = (i % side, i / side % side);
        let step = |low: usize, high: usize, distance: usize| (crop[high] - crop[low]) * side as f32 / distance as f32;
        let (left, right) = (usize::from(column > 0), usize::from(column + 1 < side));
        let (above, below) = (usize::from(row > 0), usize::from(row + 1 < side));
        let gx = step(i - left, i + right, left + right);
        let gy = step(i - above * side, i + below * side, above + below);
        let (x, y) = (at(column), at(row));
        for (k, slope) in [gx, gy, gx * x + gy * y, gy * x - gx * y].into_iter().enumerate() {
            out[k * crop.len() + i] = -slope;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{DecodeOptions, Decoder, DeviceChoice, Precision};
    use crate::encode::{AlignedFrame, EncodeOptions, Searcher};
    use crate::frame::Frame;
    use crate::pack::fixture;
    use crate::params::FrameParams;
    use crate::progress::Silent;

    /// Where the crop's point `(x, y)` comes from after a move by shift, log scale and angle.
    fn moved((x, y): (f32, f32), [dx, dy, scale, angle]: [f32; 4]) -> (f32, f32) {
        let (s, c) = angle.sin_cos();
        let scale = scale.exp();
        (scale * (c * x - s * y) + dx, scale * (s * x + c * y) + dy)
    }

    #[test]
    fn slopes_tell_how_a_crop_changes_when_it_is_moved() {
        let side = SIDE as usize;
        let at = |i: usize| (i as f32 + 0.5) / side as f32 - 0.5;
        let value = |(x, y): (f32, f32)| (7.0 * x + 2.0 * y).sin() + (5.0 * y - 3.0 * x).cos();
        let picture = |by: [f32; 4]| -> Vec<f32> {
            (0..3 * side * side).map(|i| value(moved((at(i % side), at(i / side % side)), by))).collect()
        };
        let still = picture([0.0; 4]);
        let slopes = slopes(&still);
        for k in 0..4 {
            let mut by = [0.0; 4];
            by[k] = 0.002;
            let change: Vec<f32> = picture(by).iter().zip(&still).map(|(a, b)| (a - b) / 0.002).collect();
            let part = &slopes[k * still.len()..(k + 1) * still.len()];
            // Borders have one-sided differences.
            let inner = |i: &usize| (1..side - 1).contains(&(i % side)) && (1..side - 1).contains(&(i / side % side));
            let off = (0..still.len()).filter(inner).map(|i| (change[i] + part[i]).abs()).fold(0.0, f32::max);
            assert!(off < 0.1, "number {k}: off by {off} of up to 7");
        }
    }

    /// A picture moved, by bilinear interpolation; what comes from outside repeats the border.
    fn warped(frame: &Frame, by: [f32; 4]) -> Frame {
        let side = frame.width as usize;
        let mut data = Vec::new();
        for i in 0..side * side {
            let at = |i: usize| (i as f32 + 0.5) / side as f32 - 0.5;
            let (x, y) = moved((at(i % side), at(i / side)), by);
            let place = |v: f32| ((v + 0.5) * side as f32 - 0.5).clamp(0.0, side as f32 - 1.001);
            let (x, y) = (place(x), place(y));
            let pixel =
                |dx: usize, dy: usize, c: usize| f32::from(frame.data[3 * ((y as usize + dy) * side + x as usize + dx) + c]);
            let (u, v) = (x.fract(), y.fract());
            data.extend((0..3).map(|c| {
                let row = |dy: usize| pixel(0, dy, c) * (1.0 - u) + pixel(1, dy, c) * u;
                (row(0) * (1.0 - v) + row(1) * v).round() as u8
            }));
        }
        Frame::new(frame.width, frame.height, data).unwrap()
    }

    #[test]
    fn crops_beside_their_renders_are_found_to_be_although_numbers_could_make_up_for_some_of_it() {
        let pack = fixture::tiny(1).unwrap();
        let identity = fixture::identity(&pack, 1).unwrap();
        let (device, precision) = (DeviceChoice::Cpu, Precision::Single);
        let mut decoder =
            Decoder::new(&pack, &identity, &DecodeOptions { device, precision, ..DecodeOptions::default() }).unwrap();
        let states: Vec<FrameParams> =
            (0..3).map(|t| FrameParams { yaw: 4.0 * t as f32, pitch: 2.0 - t as f32, ..FrameParams::default() }).collect();
        let options = EncodeOptions { device, precision, ..EncodeOptions::default() };
        let mut look = |by: [f32; 4], known: bool| {
            let renders = decoder.render_batch(&states).unwrap();
            let crops: Vec<AlignedFrame> =
                renders.iter().enumerate().map(|(i, f)| AlignedFrame::whole(i as i64, warped(f, by), i == 0)).collect();
            let start: Vec<Option<FrameParams>> = states.iter().map(|state| known.then_some(*state)).collect();
            let mut searcher = Searcher::new(&pack, &identity, &options, 0, &Silent).unwrap();
            searcher.misplaced(&crops, &start, &Silent).unwrap()
        };
        // What brings a crop back is what it was moved by, the other way round.
        let [_, found] = [false, true].map(|known| {
            let (found, rows) = look([0.02, -0.012, 0.0, 0.0], known);
            assert_eq!(rows.len(), 3);
            assert!((found.shift.0 + 0.02).abs() < 0.006 && (found.shift.1 - 0.012).abs() < 0.006, "{known}: {found:?}");
            found
        });
        assert!((found.scale - 1.0).abs() < 0.012 && found.angle.abs() < 0.012, "{found:?}");
        let (none, _) = look([0.0; 4], true);
        assert!(none.shift.0.abs() < 0.002 && none.shift.1.abs() < 0.002 && none.error < 0.1 * found.error, "{none:?} {found:?}");
    }
}
