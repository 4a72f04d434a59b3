//! Identity selection (paper 3.2, equation 1): the frame whose inversion looks most like the person, among the near-frontal ones.

use super::crops::Crops;
use super::invert::{codes, in_every_row};
use super::loss::Judge;
use super::model::Model;
use crate::error::{Error, Result};
use crate::net::ops::{to_vec, Calc};
use crate::progress::{check, Progress};
use tch::{no_grad, Kind, Tensor};

/// Most frames that are rendered to be compared.
const CANDIDATES: usize = 32;

/// The identity frame.
#[derive(Debug)]
pub(super) struct Chosen {
    /// Its index.
    pub frame: usize,
    /// Its codes `[1 or rows, dim]`.
    pub codes: Tensor,
}

/// Chooses among all crops by their first guesses `table` `[frames, 34]`; `mean` `[dim]` is the pack's mean latent.
pub(super) fn select(
    crops: &Crops,
    table: &Tensor,
    mean: &Tensor,
    model: &Model,
    judge: &Judge,
    progress: &dyn Progress,
) -> Result<Chosen> {
    let frontal = by_frontality(table)?;
    // Equal guesses are no guesses: then any frame may be frontal, and candidates come from the whole clip.
    let unknown = table.f_std_dim([0i64].as_slice(), false, true)?.f_max()?.value()? == 0.0;
    let half = if unknown { frontal.len() } else { frontal.len().div_ceil(2) };
    let stride = half.div_ceil(CANDIDATES).max(1);
    let picks: Vec<i64> = frontal[..half].iter().step_by(stride).map(|i| *i as i64).collect();
    let mut best: Option<(f32, Chosen)> = None;
    progress.begin("invert", picks.len() as u64);
    for (n, rows) in picks.chunks(4).enumerate() {
        check(progress)?;
        progress.advance(4 * n as u64, "");
        let codes = codes(crops, rows, judge, mean)?;
        let Some(similarity) = no_grad(|| similarity(rows, crops, table, &codes, model, judge))? else {
            // Without an embedding nothing is more alike than anything else: the most frontal frame it is, or one in the middle.
            progress.end();
            let pick = if unknown { picks[picks.len() / 2] } else { rows[0] };
            return Ok(Chosen {
                frame: pick as usize,
                codes: super::invert::codes(crops, &[pick], judge, mean)?.f_select(0, 0)?,
            });
        };
        for (i, s) in similarity.into_iter().enumerate() {
            if best.as_ref().is_none_or(|(most, _)| s > *most) {
                best = Some((s, Chosen { frame: rows[i] as usize, codes: codes.f_select(0, i as i64)? }));
            }
        }
    }
    progress.end();
    best.map(|(_, chosen)| chosen).ok_or_else(|| Error::NoContent("no frames to choose an identity from".into()))
}

/// Index of the calm frame: eyes open, mouth closed, head near its middle pose. It becomes the rest state (`method.md`: puppeteering moves a face
/// by the driver's distance from the driver's rest). `table` `[frames, 34]` are the fitted numbers.
pub(super) fn calm(crops: &Crops, table: &Tensor, judge: &Judge, progress: &dyn Progress) -> Result<usize> {
    let order = by_frontality(table)?;
    // Half of the frames, or a hundred of them: the head must be near its middle anyway.
    let half = order.len().div_ceil(2);
    let picks: Vec<i64> = order[..half].iter().step_by(half.div_ceil(100)).map(|i| *i as i64).collect();
    let mut openings = Vec::new();
    for rows in picks.chunks(16) {
        check(progress)?;
        match no_grad(|| judge.openings(&crops.pick(rows)?))? {
            Some(found) => openings.extend(to_vec(&found)?),
            // Nothing is known of eyes and mouth: the middle pose decides.
            None => return Ok(order[0]),
        }
    }
    Ok(picks[calmest(&openings)] as usize)
}

/// The place, among pairs of eye and mouth opening in order of frontality, that is calmest.
fn calmest(openings: &[f32]) -> usize {
    let most = |k: usize| openings.iter().skip(k).step_by(2).fold(f32::MIN_POSITIVE, |m, v| m.max(*v));
    let (eyes, mouth, count) = (most(0), most(1), openings.len() as f32 / 2.0);
    // Eyes as open as they get matter little, closed ones much; a mouth counts as closed once it is nearly so.
    let unrest = |i: usize, pair: &[f32]| {
        let (open, gape) = (pair[0] / eyes, pair[1] / mouth);
        2.0 * (0.8 - open).max(0.0) + (gape - 0.1).max(0.0) + 0.3 * i as f32 / count
    };
    let scores = openings.chunks_exact(2).enumerate().map(|(i, pair)| unrest(i, pair));
    scores.enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(i, _)| i)
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

/// Cosines between the embeddings of the crops and of their inversions, if the pack has an embedding.
fn similarity(
    rows: &[i64],
    crops: &Crops,
    table: &Tensor,
    codes: &Tensor,
    model: &Model,
    judge: &Judge,
) -> Result<Option<Vec<f32>>> {
    let Some(real) = judge.net.embed(&judge.net.view(&crops.pick(rows)?, judge.kind)?)? else { return Ok(None) };
    let index = Tensor::f_from_slice(rows)?.f_to_device(model.device())?;
    let mut renders = Vec::new();
    for (i, _) in rows.iter().enumerate() {
        let latent = in_every_row(&codes.f_select(0, i as i64)?, model.generator.config().rows())?;
        let row = table.f_index_select(0, &index.f_slice(0, i as i64, i as i64 + 1, 1)?)?;
        renders.push(model.render(&latent, &row)?);
    }
    let Some(seen) = judge.net.embed(&judge.net.view(&Tensor::f_cat(&renders, 0)?, judge.kind)?)? else { return Ok(None) };
    Ok(Some(to_vec(&seen.times(&real)?.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Float)?)?))
}

#[cfg(test)]
mod tests {
    use super::calmest;

    #[test]
    fn the_calm_frame_has_open_eyes_and_a_closed_mouth() {
        // Eyes and mouth of five frames, the most frontal first: blinking, talking, half asleep, calm, calm but turned away.
        let openings = [0.1, 0.0, 1.0, 0.9, 0.4, 0.05, 0.9, 0.05, 1.0, 0.05];
        assert_eq!(calmest(&openings), 3);
        assert_eq!(calmest(&[0.5, 0.5]), 0);
        assert_eq!(calmest(&[0.0, 0.0, 0.0, 0.0]), 0, "no eyes and no mouth found anywhere");
    }
}
