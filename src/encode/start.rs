//! A first guess of the 34 numbers that suits one person: the built-in predictor knows parametric heads, this knows the enrolled face.
//!
//! The identity carries a few *anchors*, parameters that were really seen. Mixtures of anchors are rendered with the tuned
//! generator, and a ridge regression from the analysis network's hidden layer back to the numbers is solved in closed form. No footage needed.

use super::crops::Crops;
use super::loss::Judge;
use super::model::{Model, COLUMNS};
use crate::error::Result;
use crate::net::ops::Calc;
use crate::progress::{check, Progress};
use tch::{no_grad, Kind, Tensor};

/// Rendered mixtures.
const SAMPLES: usize = 384;
/// Ridge term, relative to the features' mean square.
const RIDGE: f64 = 0.02;

/// `[frames, 34]` for crops of the person of `latent`, from anchors `[n, 34]`.
pub(super) fn guess(
    model: &Model,
    judge: &Judge,
    crops: &Crops,
    latent: &Tensor,
    anchors: &Tensor,
    progress: &dyn Progress,
) -> Result<Tensor> {
    progress.begin("learn the start", SAMPLES as u64);
    let rows = mixtures(anchors)?;
    let mut seen = Vec::new();
    for first in (0..SAMPLES as i64).step_by(16) {
        check(progress)?;
        seen.push(no_grad(|| hidden(judge, &model.render(latent, &rows.f_slice(0, first, first + 16, 1)?)?))?);
        progress.advance(first as u64 + 16, "");
    }
    progress.end();
    let seen = Tensor::f_cat(&seen, 0)?;
    let centre = rows.f_mean_dim([0i64].as_slice(), true, Kind::Float)?;
    let map = ridge(&seen, &rows.minus(&centre)?)?;
    let mut out = Vec::new();
    for picks in crops.chunks(16) {
        out.push(no_grad(|| hidden(judge, &crops.pick(&picks)?)?.f_matmul(&map)?.plus(&centre))?);
    }
    let (low, _) = anchors.f_min_dim(0, true)?;
    let (high, _) = anchors.f_max_dim(0, true)?;
    let margin = high.minus(&low)?.scale(0.3)?;
    Ok(Tensor::f_cat(&out, 0)?.f_maximum(&low.minus(&margin)?)?.f_minimum(&high.plus(&margin)?)?)
}

/// Features with a column of ones.
fn hidden(judge: &Judge, images: &Tensor) -> Result<Tensor> {
    let h = judge.net.hidden(&judge.net.features(images, judge.kind)?)?;
    let ones = Tensor::f_ones([h.size()[0], 1], (Kind::Float, h.device()))?;
    Ok(Tensor::f_cat(&[h, ones], 1)?)
}

/// Anchors mixed in pairs with any weight from -0.2 to 1.2, per group of columns, plus a little noise.
fn mixtures(anchors: &Tensor) -> Result<Tensor> {
    let n = anchors.size()[0];
    let options = (Kind::Float, anchors.device());
    let draw = || -> Result<Tensor> {
        let index = Tensor::f_randint(n, [SAMPLES as i64], (Kind::Int64, anchors.device()))?;
        Ok(anchors.f_index_select(0, &index)?)
    };
    let mix = |a: Tensor, b: Tensor| -> Result<Tensor> {
        let share = Tensor::f_rand([SAMPLES as i64, 1], options)?.scale(1.4)?.shift(-0.2)?;
        a.plus(&b.minus(&a)?.times(&share)?)
    };
    // Angles of one mixture with the expression of another: a head may nod while it smiles.
    let pose = mix(draw()?, draw()?)?.f_slice(1, 0, 2, 1)?;
    let alpha = mix(draw()?, draw()?)?.f_slice(1, 2, COLUMNS, 1)?;
    let spread = anchors.f_std_dim([0i64].as_slice(), false, true)?.shift(1e-3)?.scale(0.15)?;
    let noise = Tensor::f_randn([SAMPLES as i64, COLUMNS], options)?.times(&spread)?;
    Tensor::f_cat(&[pose, alpha], 1)?.plus(&noise)
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
