//! Identity selection (paper 3.2, equation 1): the frame whose inversion looks most like the person, among the near-frontal ones.

use super::crops::Crops;
use super::invert::{in_every_row, Inversion};
use super::loss::Judge;
use super::model::Model;
use crate::error::Result;
use crate::net::ops::{to_vec, Calc};
use tch::{no_grad, Kind, Tensor};

/// Most frames that are rendered to be compared.
const CANDIDATES: usize = 32;

/// Index of the identity frame.
pub(super) fn select(crops: &Crops, inversion: &Inversion, model: &Model, judge: &Judge) -> Result<usize> {
    let frontal = by_frontality(&inversion.table)?;
    let half = frontal.len().div_ceil(2);
    let stride = half.div_ceil(CANDIDATES).max(1);
    let picks: Vec<i64> = frontal[..half].iter().step_by(stride).map(|i| *i as i64).collect();
    let mut best = (f32::MIN, picks[0] as usize);
    for rows in picks.chunks(8) {
        let similarity = no_grad(|| similarity(rows, crops, inversion, model, judge))?;
        for (row, s) in rows.iter().zip(similarity) {
            if s > best.0 {
                best = (s, *row as usize);
            }
        }
    }
    Ok(best.1)
}

/// Frame indices by their distance from the median pose: a camera beside the person makes "frontal" relative.
fn by_frontality(table: &Tensor) -> Result<Vec<usize>> {
    let angles = table.f_slice(1, 0, 2, 1)?;
    let (middle, _) = angles.f_median_dim(0, false)?;
    let distance = to_vec(&angles.minus(&middle)?.f_square()?.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Float)?)?;
    let mut order: Vec<usize> = (0..distance.len()).collect();
    order.sort_by(|a, b| distance[*a].total_cmp(&distance[*b]));
    Ok(order)
}

/// Cosines between the embeddings of the crops and of their inversions.
fn similarity(rows: &[i64], crops: &Crops, inversion: &Inversion, model: &Model, judge: &Judge) -> Result<Vec<f32>> {
    let index = Tensor::f_from_slice(rows)?.f_to_device(model.device())?;
    let w = inversion.w.f_index_select(0, &index)?;
    let mut renders = Vec::new();
    for (i, _) in rows.iter().enumerate() {
        let latent = in_every_row(&w.f_select(0, i as i64)?, model.generator.config().rows())?;
        let row = inversion.table.f_index_select(0, &index.f_slice(0, i as i64, i as i64 + 1, 1)?)?;
        renders.push(model.render(&latent, &row)?);
    }
    let seen = judge.net.embed(&judge.net.features(&Tensor::f_cat(&renders, 0)?, judge.kind)?)?;
    let real = judge.net.embed(&judge.net.features(&crops.pick(rows)?, judge.kind)?)?;
    to_vec(&seen.times(&real)?.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Float)?)
}
