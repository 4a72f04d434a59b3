//! Numbers of all frames of a clip in their order and back again, by Gauss-Newton (`newton`).
//!
//! In: crops, and where each may begin, `[frames, 34]`. Out: rows `[frames, 34]`, and which frames show the person. Source: ours.

use super::crops::Crops;
use super::loss::Judge;
use super::newton::{Aim, Effort, Newton};
use super::strange::Recognition;
use crate::error::Result;
use crate::progress::{check, Progress};
use tch::Tensor;

/// Frames that are looked at together by the parser.
const BATCH: usize = 8;

/// Share of a frame's own error under which the numbers of the next one are worth a new search.
const MUCH_BETTER: f64 = 0.95;

/// Searches all frames in their order and back again; `table` `[frames, 34]` is where each may begin, if its predecessor's end is no better. All
/// derivatives are measured anew at each frame; with [`Effort::columns`] but some in each step, where the frame before showed the person. On the
/// way back a frame is searched again if the end of the next one explains it much better than its own, or if it did not show the person: a search
/// that was lost stays lost until a frame finds the way out, which then leads backwards, too. No way leads back beyond these frames. Returns the rows, and which frames show the person and nobody else, where there is a way to tell.
pub(super) fn search(
    newton: &mut Newton,
    judge: &Judge,
    (crops, recognition): (&Crops, Option<Recognition>),
    table: &Tensor,
    effort: &Effort,
    progress: &dyn Progress,
) -> Result<(Tensor, Vec<bool>)> {
    let (mut aims, mut faces) = (Vec::with_capacity(crops.len()), Vec::new());
    for picks in crops.chunks(BATCH) {
        check(progress)?;
        let images = crops.pick(&picks)?;
        let target = judge.target(&images)?;
        for i in 0..picks.len() as i64 {
            let image = images.f_slice(0, i, i + 1, 1)?;
            aims.push(Aim::new(&image, &target.weights(i)?)?);
            if let Some(recognition) = &recognition {
                faces.push(Aim::new(&image, recognition.face)?);
            }
        }
    }
    let knows = |newton: &Newton, frame: usize, error: f64| match &recognition {
        Some(recognition) => Ok(recognition.knows(frame, error, newton.unlike(&faces[frame])?)),
        None => Ok(true),
    };
    there_and_back(newton, &aims, table, effort, &knows, progress)
}

/// [`search`] for these aims; `knows` tells whether where the search of a frame ended, with an error, is the person.
fn there_and_back(
    newton: &mut Newton,
    aims: &[Aim],
    table: &Tensor,
    effort: &Effort,
    knows: &dyn Fn(&Newton, usize, f64) -> Result<bool>,
    progress: &dyn Progress,
) -> Result<(Tensor, Vec<bool>)> {
    let frames = aims.len();
    let mut rows = table.f_split(1, 0)?;
    let (mut shown, mut left) = (vec![false; frames], vec![f64::INFINITY; frames]);
    let back = (0..frames.saturating_sub(1)).rev();
    for (turn, frame) in (0..frames).chain(back).enumerate() {
        check(progress)?;
        let aim = &aims[frame];
        let before = newton.row().copy();
        let again = turn >= frames;
        if !again || newton.error(aim)? <= MUCH_BETTER * left[frame] {
            if !shown[frame] {
                newton.consider(aim, &rows[frame])?;
            }
            let carried = effort.columns > 0 && !again && frame > 0 && shown[frame - 1];
            if !carried {
                newton.measure()?;
            }
            let error = newton.approach(aim, effort)?;
            if knows(newton, frame, error)? {
                (rows[frame], shown[frame], left[frame]) = (newton.row().copy(), true, error);
            }
        }
        // Nobody is to become somebody else bit by bit.
        let ends = if shown[frame] { &rows[frame] } else { &before };
        if !newton.row().f_equal(ends)? {
            newton.stand_at(&ends.copy())?;
        }
        // Each way counts half.
        progress.advance((turn as u64 + 2) / 2, "");
    }
    Ok((Tensor::f_cat(&rows, 0)?, shown))
}

#[cfg(test)]
mod tests {
    use super::super::newton::tests::{aim, bench};
    use super::*;
    use crate::progress::Silent;

    /// Without steps a frame can but take what its neighbours or the table offer.
    fn taken(newton: &mut Newton, goal: &Newton, table: [&Tensor; 4], stranger: Option<usize>) -> (Vec<Tensor>, Vec<bool>) {
        let aims: Vec<Aim> = (0..4).map(|_| aim(goal)).collect();
        let knows = |_: &Newton, frame: usize, _: f64| Ok(Some(frame) != stranger);
        let table = Tensor::cat(&table, 0);
        let effort = Effort { steps: 0, columns: 0, gain: 0.0 };
        let (rows, shown) = there_and_back(newton, &aims, &table, &effort, &knows, &Silent).unwrap();
        (rows.split(1, 0), shown)
    }

    #[test]
    fn a_way_out_that_a_frame_finds_leads_backwards() {
        let (mut newton, goal) = bench();
        let far = goal.row() * -1.0;
        let (rows, shown) = taken(&mut newton, &goal, [&far, &far, &far, goal.row()], None);
        assert!(rows.iter().all(|row| row.equal(goal.row())) && shown == [true; 4]);
    }

    #[test]
    fn what_a_stranger_was_taken_for_leads_nowhere() {
        let (mut newton, goal) = bench();
        let (start, far, near) = (newton.row().copy(), goal.row() * -1.0, goal.row() * 0.5);
        let (rows, shown) = taken(&mut newton, &goal, [&far, &near, &far, &far], Some(1));
        assert_eq!(shown, [true, false, true, true]);
        assert!([0, 2, 3].iter().all(|frame| rows[*frame].equal(&start)));
        // Were it the person, all others would go there.
        let (rows, _) = taken(&mut newton, &goal, [&far, &near, &far, &far], None);
        assert!(rows.iter().all(|row| row.equal(&near)));
    }

    #[test]
    fn a_frame_is_searched_again_only_where_the_next_one_ends_much_nearer() {
        for (share, leads) in [(0.505, false), (0.7, true)] {
            let (mut newton, goal) = bench();
            let (own, next) = (goal.row() * 0.5, goal.row() * share);
            let far = goal.row() * -1.0;
            let (rows, _) = taken(&mut newton, &goal, [&far, &own, &next, &far], None);
            assert!(rows[1].equal(if leads { &next } else { &own }), "{share}");
        }
    }

    #[test]
    fn frames_are_followed_with_derivatives_carried_along() {
        let (mut newton, mut goal) = bench();
        let end = goal.row().copy();
        let mut aims = Vec::new();
        for n in 1..=6 {
            goal.stand_at(&(&end * (f64::from(n) / 6.0))).unwrap();
            aims.push(aim(&goal));
        }
        let table = newton.row().repeat([6, 1]);
        let before = newton.error(&aims[5]).unwrap();
        let effort = Effort { steps: 3, columns: 6, gain: 0.0 };
        let silent = Silent;
        let (rows, _) = there_and_back(&mut newton, &aims, &table, &effort, &|_, _, _| Ok(true), &silent).unwrap();
        newton.stand_at(&rows.get(5).unsqueeze(0)).unwrap();
        let left = newton.error(&aims[5]).unwrap();
        assert!(left < 0.03 * before, "{left} of {before}");
        // Without steps none is measured but at the first frame, wherever the search goes.
        let table = Tensor::cat(&(1..=6).map(|n| &end * (f64::from(n) / 6.0)).collect::<Vec<_>>(), 0);
        let still = Effort { steps: 0, ..effort };
        let mut slopes = |frames: usize| {
            newton.restart();
            let _ = there_and_back(&mut newton, &aims[..frames], &table, &still, &|_, _, _| Ok(true), &silent).unwrap();
            newton.slopes()
        };
        assert!(slopes(1).equal(&slopes(6)));
    }

    #[test]
    fn a_frame_that_showed_nobody_gets_a_second_chance() {
        let (mut newton, goal) = bench();
        let aims: Vec<Aim> = (0..3).map(|_| aim(&goal)).collect();
        let table = newton.row().repeat([3, 1]);
        let asked = std::cell::Cell::new(0);
        let knows = |_: &Newton, frame: usize, _: f64| {
            asked.set(asked.get() + u64::from(frame == 1));
            Ok(frame != 1 || asked.get() > 1)
        };
        let effort = Effort { steps: 2, columns: 0, gain: 0.0 };
        let (rows, shown) = there_and_back(&mut newton, &aims, &table, &effort, &knows, &Silent).unwrap();
        assert_eq!((asked.get(), shown), (2, vec![true; 3]));
        newton.stand_at(&rows.get(1).unsqueeze(0)).unwrap();
        let left = newton.error(&aims[1]).unwrap();
        newton.restart();
        assert!(left < 0.1 * newton.error(&aims[1]).unwrap());
    }
}
