//! A first guess of the 34 numbers that suits one person: the built-in predictor knows parametric heads, this knows the enrolled face.
//!
//! The identity carries a few *anchors*, parameters that were really seen. Mixtures of anchors are rendered with the tuned
//! generator, and a ridge regression from a summary of the picture back to the numbers is solved in closed form. No footage needed. The renders are
//! kept as an album: where a search that is lost may begin anew.

use super::album::Album;
use super::crops::Crops;
use super::loss::Judge;
use super::model::{to_table, Model, COLUMNS};
use crate::bitstream::Identity;
use crate::error::Result;
use crate::net::ops::{from_vec, Calc};
use crate::net::Analysis;
use crate::pack::Pack;
use crate::progress::{check, Progress};
use crate::random::Rng;
use tch::{no_grad, Device, Kind, Tensor};

/// Rendered mixtures.
const SAMPLES: usize = 384;
/// Ridge term, relative to the features' mean square.
const RIDGE: f64 = 0.02;

/// What a person's pictures tell of the numbers: a linear map, learned from renders alone.
#[derive(Debug)]
pub(super) struct Start {
    map: Tensor,
    centre: Tensor,
    /// Bounds of what is read, `[1, 34]`: the anchors' own with some margin.
    low: Tensor,
    high: Tensor,
    /// What it learned from.
    album: Album,
}

impl Start {
    /// Learns the map for the person whom `draw` draws, rows `[n, 34]` as pictures `[n, 3, side, side]`, from anchors `[n, 34]`.
    pub(super) fn learn(
        draw: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
        side: i64,
        (net, kind): (&Analysis, Kind),
        anchors: &Tensor,
        rng: &mut Rng,
        progress: &dyn Progress,
    ) -> Result<Start> {
        progress.begin("learn the start", SAMPLES as u64);
        let rows = mixtures(anchors, rng)?;
        let (mut seen, mut pages) = (Vec::new(), Vec::new());
        let batch = 2 * super::batch(side);
        for first in (0..SAMPLES).step_by(batch) {
            check(progress)?;
            let part = rows.f_slice(0, first as i64, (first + batch) as i64, 1)?;
            let (summary, page) = no_grad(|| -> Result<_> {
                let images = draw(&part)?;
                Ok((hidden(net, kind, &images)?, Album::page(&images)?))
            })?;
            seen.push(summary);
            pages.push(page);
            progress.advance((first + batch) as u64, "");
        }
        progress.end();
        let centre = rows.f_mean_dim([0i64].as_slice(), true, Kind::Float)?;
        let map = ridge(&Tensor::f_cat(&seen, 0)?, &rows.minus(&centre)?)?;
        let (low, _) = anchors.f_min_dim(0, true)?;
        let (high, _) = anchors.f_max_dim(0, true)?;
        let margin = high.minus(&low)?.scale(0.3)?;
        Ok(Start { map, centre, low: low.minus(&margin)?, high: high.plus(&margin)?, album: Album::new(rows, &pages)? })
    }

    /// The same map, which shares its memory.
    pub(super) fn again(&self) -> Start {
        let Start { map, centre, low, high, album } = self;
        Start {
            map: map.shallow_clone(),
            centre: centre.shallow_clone(),
            low: low.shallow_clone(),
            high: high.shallow_clone(),
            album: album.again(),
        }
    }

    /// The renders that it learned from.
    pub(super) fn album(&self) -> &Album {
        &self.album
    }

    /// Mean of what it learned from, `[1, 34]`.
    pub(super) fn centre(&self) -> &Tensor {
        &self.centre
    }

    /// Rows `[1, 34]` between which this person's numbers may be searched: two spans of the anchors' own beyond them, and a little more.
    pub(super) fn bounds(&self) -> Result<(Tensor, Tensor)> {
        // `low` and `high` lie 1.6 spans apart.
        let mut least = vec![0.3f32; COLUMNS as usize];
        least[..2].fill(5.0);
        let more = self.high.minus(&self.low)?.scale(1.7 / 1.6)?.plus(&from_vec(&least, &[1, COLUMNS], self.low.device())?)?;
        Ok((self.low.minus(&more)?, self.high.plus(&more)?))
    }

    /// The numbers `[frames, 34]` of all crops.
    pub(super) fn read_all(&self, judge: &Judge, crops: &Crops) -> Result<Tensor> {
        let parts = crops.chunks(16).into_iter().map(|picks| self.read(judge.net, judge.kind, &crops.pick(&picks)?));
        Ok(Tensor::f_cat(&parts.collect::<Result<Vec<_>>>()?, 0)?)
    }

    /// The numbers `[B, 34]` of crops `[B, 3, R, R]` in [-1, 1].
    pub(super) fn read(&self, net: &Analysis, kind: Kind, images: &Tensor) -> Result<Tensor> {
        let read = no_grad(|| hidden(net, kind, images)?.f_matmul(&self.map)?.plus(&self.centre))?;
        Ok(read.f_maximum(&self.low)?.f_minimum(&self.high)?)
    }
}

/// `[frames, 34]` for crops of the person of `latent`, from anchors `[n, 34]`.
pub(super) fn guess(
    model: &Model,
    judge: &Judge,
    crops: &Crops,
    latent: &Tensor,
    anchors: &Tensor,
    rng: &mut Rng,
    progress: &dyn Progress,
) -> Result<Tensor> {
    let draw = &mut |rows: &Tensor| model.render(latent, rows);
    Start::learn(draw, model.sight, (judge.net, judge.kind), anchors, rng, progress)?.read_all(judge, crops)
}

/// Features with a column of ones.
fn hidden(net: &Analysis, kind: Kind, images: &Tensor) -> Result<Tensor> {
    let h = net.summary(&net.view(images, kind)?)?;
    let ones = Tensor::f_ones([h.size()[0], 1], (Kind::Float, h.device()))?;
    Ok(Tensor::f_cat(&[h, ones], 1)?)
}

/// Anchors mixed in pairs with any weight from -0.2 to 1.2, per group of columns, plus a little noise.
fn mixtures(anchors: &Tensor, rng: &mut Rng) -> Result<Tensor> {
    let (n, device) = (anchors.size()[0], anchors.device());
    let mut mixture = || -> Result<Tensor> {
        let mut draw = || -> Result<Tensor> {
            let index: Vec<i64> = (0..SAMPLES).map(|_| rng.index(n as usize) as i64).collect();
            Ok(anchors.f_index_select(0, &Tensor::f_from_slice(&index)?.f_to_device(device)?)?)
        };
        let (a, b) = (draw()?, draw()?);
        let share = rng.units(&[SAMPLES as i64, 1], device)?.scale(1.4)?.shift(-0.2)?;
        a.plus(&b.minus(&a)?.times(&share)?)
    };
    // Angles of one mixture with the expression of another: a head may nod while it smiles.
    let pose = mixture()?.f_slice(1, 0, 2, 1)?;
    let alpha = mixture()?.f_slice(1, 2, COLUMNS, 1)?;
    let spread = anchors.f_std_dim([0i64].as_slice(), false, true)?.shift(1e-3)?.scale(0.15)?;
    let noise = rng.normals(&[SAMPLES as i64, COLUMNS], device)?.times(&spread)?;
    Tensor::f_cat(&[pose, alpha], 1)?.plus(&noise)
}

/// The anchors `[n, 34]` of an enrolled person; synthetic ones if they have none.
pub(super) fn known(identity: &Identity, pack: &Pack, device: Device, rng: &mut Rng) -> Result<Tensor> {
    match identity.anchors.len() {
        0 | 1 => drawn(&pack.config().ranges, device, rng),
        _ => to_table(&identity.anchors, device),
    }
}

/// Synthetic anchors for a person of whom nothing is known yet: three times as many as there are numbers, spread evenly over the
/// inner two thirds of the pack's ranges.
pub(super) fn drawn(ranges: &[[f32; 2]], device: Device, rng: &mut Rng) -> Result<Tensor> {
    // Roll is not part of the upright picture.
    let kept: Vec<[f32; 2]> = ranges.iter().enumerate().filter(|(i, _)| *i != 2).map(|(_, r)| *r).collect();
    let column = |k: usize| -> Result<Tensor> {
        let values: Vec<f32> = kept.iter().map(|r| r[k]).collect();
        from_vec(&values, &[1, COLUMNS], device)
    };
    let (low, high) = (column(0)?, column(1)?);
    let share = rng.units(&[3 * COLUMNS, COLUMNS], device)?.scale(2.0 / 3.0)?.shift(1.0 / 6.0)?;
    low.plus(&high.minus(&low)?.times(&share)?)
}

/// `(X'X + r I)^-1 X'Y`.
fn ridge(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let (x, y) = (x.f_to_kind(Kind::Double)?, y.f_to_kind(Kind::Double)?);
    let t = x.f_transpose(0, 1)?;
    let gram = t.f_matmul(&x)?;
    let level = gram.f_trace()?.value()? / gram.size()[0] as f64 * RIDGE;
    let eye = Tensor::f_eye(gram.size()[0], (Kind::Double, gram.device()))?.scale(level)?;
    let solution = Tensor::f_linalg_solve(&gram.plus(&eye)?, &t.f_matmul(&y)?, true)?;
    Ok(solution.f_to_kind(Kind::Float)?)
}

/// Up to `count` rows of `table` that lie far from one another: farthest-point selection over spread-normalised columns.
pub(super) fn anchors(table: &Tensor, count: usize) -> Result<Vec<i64>> {
    let spread = table.f_std_dim([0i64].as_slice(), false, true)?.shift(1e-3)?;
    let rows = table.over(&spread)?;
    let mut picks = vec![0i64];
    let mut nearest = distance(&rows, 0)?;
    while picks.len() < count.min(table.size()[0] as usize) {
        let next = nearest.f_argmax(0, false)?.value()? as i64;
        picks.push(next);
        nearest = nearest.f_minimum(&distance(&rows, next)?)?;
    }
    picks.sort_unstable();
    Ok(picks)
}

fn distance(rows: &Tensor, to: i64) -> Result<Tensor> {
    Ok(rows.minus(&rows.f_slice(0, to, to + 1, 1)?)?.f_square()?.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Float)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ops::to_vec;
    use tch::Device;

    fn noise(shape: &[i64], seed: i64) -> Tensor {
        let mut values = crate::pack::fixture::rule(&format!("start {seed}"), shape.iter().product::<i64>() as usize, 1.0, 0.0);
        values.iter_mut().for_each(|v| *v *= 2.0);
        crate::net::ops::from_vec(&values, shape, Device::Cpu).unwrap()
    }

    fn furthest(a: &Tensor, b: &Tensor) -> f32 {
        to_vec(&a.minus(b).unwrap()).unwrap().iter().fold(0.0, |m, v| m.max(v.abs()))
    }

    #[test]
    fn the_ridge_regression_recovers_a_linear_map() {
        let (x, map) = (noise(&[200, 6], 1), noise(&[6, 3], 2));
        let found = ridge(&x, &x.f_matmul(&map).unwrap()).unwrap();
        // The ridge term pulls towards zero by about its share of the mean square, 2 %, of numbers up to 3.5.
        assert!(furthest(&found, &map) < 0.02 * 3.5 * 1.5, "off by {}", furthest(&found, &map));
        assert!(furthest(&found, &map) > 0.0);
    }

    #[test]
    fn anchors_are_distinct_and_take_the_far_rows_first() {
        // Two tight clusters around zero, and five rows far away in directions of their own.
        let table = noise(&[40, COLUMNS], 3).scale(0.01).unwrap();
        let far = [4i64, 11, 17, 29, 36];
        for (column, row) in far.iter().enumerate() {
            let _ = table.f_select(0, *row).unwrap().f_select(0, column as i64).unwrap().f_fill_(5.0).unwrap();
        }
        let picks = anchors(&table, 16).unwrap();
        let distinct: std::collections::BTreeSet<_> = picks.iter().copied().collect();
        assert_eq!(distinct.len(), 16);
        let few = anchors(&noise(&[3, COLUMNS], 4), 16).unwrap();
        assert_eq!(few, [0, 1, 2], "a clip shorter than the number of anchors");
        let near = anchors(&table.f_slice(1, 0, 5, 1).unwrap(), 6).unwrap();
        assert!(far.iter().all(|row| near.contains(row)), "{near:?}");
    }

    #[test]
    fn mixtures_stay_near_the_anchors_and_differ() {
        let anchors = noise(&[5, COLUMNS], 5);
        let rows = mixtures(&anchors, &mut Rng::new(3)).unwrap();
        assert_eq!(rows.size(), [SAMPLES as i64, COLUMNS]);
        // Anchors lie within 2 sqrt(3); weights reach 1.2 and -0.2, noise a few times 0.15.
        let most = to_vec(&rows).unwrap().iter().fold(0f32, |m, v| m.max(v.abs()));
        assert!(most < 2.0 * 1.733 * 1.4 + 3.0, "{most}");
        assert!(to_vec(&rows.f_std_dim([0i64].as_slice(), true, false).unwrap()).unwrap().iter().all(|s| *s > 0.1));
    }
}
