//! Numbers of frames by Gauss-Newton: how the picture answers to each number is measured by rendering, and the numbers that explain the
//! difference to the crop are solved for. Source: active appearance models (Cootes et al. 2001), with rank-one corrections of the
//! derivatives (Broyden 1965) and damping (Marquardt 1963); the paper descends along gradients instead.
//!
//! Input: crops `[1, 3, R, R]` in [-1, 1] with weights by place. Output: rows `[1, 34]`. Pictures are compared at [`SIDE`]. The
//! derivatives are kept from frame to frame, since neighbours are alike, and measured anew as far as the time allows.

use super::album::{coarse, Album};
use super::model::{from_table, COLUMNS};
use crate::decode::Renderer;
use crate::error::{Error, Result};
use crate::net::ops::{from_vec, to_vec, Calc};
use tch::{Device, Kind, Tensor};

/// Side at which pictures are compared: finer detail tells little about where 34 numbers should go, and makes the valley narrow.
pub(super) const SIDE: i64 = 64;
/// Offsets by which derivatives are measured, degrees and alpha.
const ANGLE_OFFSET: f32 = 2.0;
const ALPHA_OFFSET: f32 = 0.1;
/// What counts as a large distance from the centre, degrees and alpha, and how much such a distance costs in mean squared difference.
const ANGLE_UNIT: f32 = 15.0;
const PRIOR: f64 = 8e-5;
/// The same for what is solved for beside the numbers, in shares of the crop: hardly anything, but a flat crop must have an answer.
const OTHERS_PRIOR: f64 = 1e-3;
/// Share of the curvature that is added to each number's own, at first and after a step that did not help.
const DAMPING: f64 = 0.01;
const MORE_DAMPING: f64 = 10.0;

/// How much may be rendered for a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Effort {
    /// Most steps.
    pub steps: u64,
    /// Derivatives that are measured anew in each step, in turn.
    pub columns: i64,
    /// Share of the error that a step must take away for another to be made; one that is not taken takes away nothing. 0: all steps are made.
    pub gain: f64,
}

/// What a frame's picture is compared with.
#[derive(Debug)]
pub(super) struct Aim {
    /// `[1, P]`.
    pub picture: Tensor,
    /// `[1, P]`, mean 1.
    pub weights: Tensor,
}

impl Aim {
    /// For a crop `[1, 3, R, R]`; `weights` `[1, 1, h, w]` of mean 1 say how much each place counts.
    pub(super) fn new(image: &Tensor, weights: &Tensor) -> Result<Aim> {
        let weights = weights.f_adaptive_avg_pool2d([SIDE; 2])?.f_expand([1, 3, SIDE, SIDE], false)?;
        Ok(Aim { picture: small(image)?, weights: weights.f_reshape([1, -1])? })
    }

    /// Weighed mean squared difference of a picture `[1, P]`.
    pub(super) fn error(&self, seen: &Tensor) -> Result<f64> {
        self.picture.minus(seen)?.f_square()?.times(&self.weights)?.average()?.value()
    }
}

/// Pictures `[B, 3, R, R]` as rows `[B, P]` of [`SIDE`].
pub(super) fn small(images: &Tensor) -> Result<Tensor> {
    let images = images.f_clamp(-1.0, 1.0)?;
    let images = match images.size()[2] > SIDE {
        true => images.f_adaptive_avg_pool2d([SIDE; 2])?,
        false => images.f_upsample_bilinear2d([SIDE; 2], false, None, None)?,
    };
    Ok(images.f_contiguous()?.f_flatten(1, -1)?)
}

/// Follows one person from frame to frame.
#[derive(Debug)]
pub(super) struct Newton {
    renderer: Renderer,
    /// Side at which it draws.
    sight: i64,
    /// Row `[1, 34]` that counts as no distance.
    centre: Tensor,
    /// `[34]`.
    offsets: Tensor,
    units: Tensor,
    /// The search stays between these rows `[1, 34]`.
    bounds: Option<(Tensor, Tensor)>,
    state: State,
    /// Where it began.
    home: State,
}

/// Where the search stands.
#[derive(Debug)]
struct State {
    row: Tensor,
    /// The picture there.
    seen: Tensor,
    /// Derivatives of the picture `[34, P]`, never changed in place.
    slopes: Tensor,
    /// The next derivative to be measured in turn.
    next: i64,
}

impl State {
    fn again(&self) -> State {
        let State { row, seen, slopes, next } = self;
        State { row: row.shallow_clone(), seen: seen.shallow_clone(), slopes: slopes.shallow_clone(), next: *next }
    }
}

/// A number for the angles and one for alpha, `[34]`.
fn columns(angle: f32, alpha: f32, device: Device) -> Result<Tensor> {
    let mut values = vec![alpha; COLUMNS as usize];
    values[..2].fill(angle);
    from_vec(&values, &[COLUMNS], device)
}

impl Newton {
    /// Stands at `centre` `[1, 34]` and knows the derivatives there; draws at the side `sight`.
    pub(super) fn new(mut renderer: Renderer, sight: i64, centre: &Tensor) -> Result<Newton> {
        let device = renderer.device();
        let seen = pictures(&mut renderer, sight, centre)?;
        let state = State {
            row: centre.copy(),
            slopes: Tensor::f_zeros([COLUMNS, seen.size()[1]], (Kind::Float, device))?,
            seen,
            next: 0,
        };
        let mut newton = Newton {
            renderer,
            sight,
            centre: centre.copy(),
            offsets: columns(ANGLE_OFFSET, ALPHA_OFFSET, device)?,
            units: columns(ANGLE_UNIT, 1.0, device)?,
            bounds: None,
            home: state.again(),
            state,
        };
        newton.measure()?;
        newton.home = newton.state.again();
        Ok(newton)
    }

    /// Never goes beyond the rows `low` and `high` `[1, 34]`.
    pub(super) fn bounded(mut self, low: &Tensor, high: &Tensor) -> Self {
        self.bounds = Some((low.shallow_clone(), high.shallow_clone()));
        self
    }

    /// Pictures `[n, 3, R, R]` of rows `[n, 34]`, R the side at which it draws.
    pub(super) fn draw(&mut self, rows: &Tensor) -> Result<Tensor> {
        drawn(&mut self.renderer, self.sight, rows)
    }

    #[cfg(test)]
    pub(super) fn slopes(&self) -> Tensor {
        self.state.slopes.copy()
    }

    /// Goes back to where it began, with the derivatives known there.
    pub(super) fn restart(&mut self) {
        self.state = self.home.again();
    }

    /// Goes to `row` `[1, 34]`; the derivatives are those of where it was.
    pub(super) fn stand_at(&mut self, row: &Tensor) -> Result<()> {
        (self.state.row, self.state.seen) = (row.copy(), pictures(&mut self.renderer, self.sight, row)?);
        Ok(())
    }

    /// How unlike the picture there and the crop are: 1 less their weighed correlation, the mean of the three colours. Neither another light nor
    /// another exposure changes it; the aim's weights should leave the background out.
    pub(super) fn unlike(&self, aim: &Aim) -> Result<f64> {
        let rows = |picture: &Tensor| -> Result<Tensor> { Ok(picture.f_view([3, SIDE * SIDE])?) };
        let weights = rows(&aim.weights)?;
        let mean = |t: &Tensor| -> Result<Tensor> { Ok(t.times(&weights)?.f_mean_dim([1i64].as_slice(), true, Kind::Float)?) };
        let (a, b) = (rows(&aim.picture)?, rows(&self.state.seen)?);
        let (a, b) = (a.minus(&mean(&a)?)?, b.minus(&mean(&b)?)?);
        let both = mean(&a.times(&b)?)?;
        let each = mean(&a.f_square()?)?.times(&mean(&b.f_square()?)?)?.f_sqrt()?.shift(1e-6)?;
        Ok(1.0 - both.over(&each)?.average()?.value()?)
    }

    /// The row `[1, 34]` reached.
    pub(super) fn row(&self) -> &Tensor {
        &self.state.row
    }

    /// How far the picture there is from the aim: weighed mean squared difference.
    pub(super) fn error(&self, aim: &Aim) -> Result<f64> {
        aim.error(&self.state.seen)
    }

    /// Rows `[n, 34]` around `row`, each with one number moved by its offset.
    fn moved(&self, row: &Tensor, picks: &Tensor) -> Result<Tensor> {
        row.plus(&self.offsets.f_diag(0)?.f_index_select(0, picks)?)
    }

    /// Measures all derivatives where the search stands.
    pub(super) fn measure(&mut self) -> Result<()> {
        let picks = Tensor::f_arange(COLUMNS, (Kind::Int64, self.renderer.device()))?;
        let rows = self.moved(&self.state.row, &picks)?;
        let around = pictures(&mut self.renderer, self.sight, &rows)?;
        self.state.slopes = around.minus(&self.state.seen)?.over(&self.offsets.f_unsqueeze(1)?)?;
        self.state.next = 0;
        Ok(())
    }

    /// Goes to `row` `[1, 34]` if its picture is no farther from the aim. Returns whether it is so.
    pub(super) fn consider(&mut self, aim: &Aim, row: &Tensor) -> Result<bool> {
        let seen = pictures(&mut self.renderer, self.sight, row)?;
        let nearer = aim.error(&seen)? <= aim.error(&self.state.seen)?;
        if nearer {
            (self.state.row, self.state.seen) = (row.copy(), seen);
        }
        Ok(nearer)
    }

    /// Goes to the album's row whose picture is nearest to the aim, if it is nearer than the one there. Returns whether it is so.
    pub(super) fn recall(&mut self, aim: &Aim, album: &Album) -> Result<bool> {
        let aim_there = Aim { picture: coarse(&aim.picture)?, weights: coarse(&aim.weights)? };
        let (least, pick) = album.errors(&aim_there)?.f_min_dim(0, false)?;
        if least.value()? >= aim_there.error(&coarse(&self.state.seen)?)? {
            return Ok(false);
        }
        self.consider(aim, &album.rows.f_index_select(0, &pick.f_view([1])?)?)
    }

    /// At most so many steps towards the aim from where the search stands, none after one that gains too little. Returns the error that is left.
    pub(super) fn approach(&mut self, aim: &Aim, effort: &Effort) -> Result<f64> {
        let mut before = 0.0;
        let more = |done, error| {
            let worthwhile = done == 0 || error <= before * (1.0 - effort.gain);
            before = error;
            done < effort.steps && worthwhile
        };
        self.approach_while(aim, effort.columns, more)
    }

    /// Steps towards the aim, in each of which so many derivatives are measured anew, while `more` wants one: it is told how many were made and the error that is left.
    pub(super) fn approach_while(&mut self, aim: &Aim, columns: i64, mut more: impl FnMut(u64, f64) -> bool) -> Result<f64> {
        let mut error = aim.error(&self.state.seen)?;
        let mut damping = DAMPING;
        let mut done = 0;
        while more(done, error) {
            done += 1;
            let mut row = self.state.row.plus(&self.solve(aim, damping)?)?;
            if let Some((low, high)) = &self.bounds {
                row = row.f_maximum(low)?.f_minimum(high)?;
            }
            let change = row.minus(&self.state.row)?;
            // The picture there, and with it the derivatives whose turn it is.
            let picks: Vec<i64> = (0..columns).map(|k| (self.state.next + k) % COLUMNS).collect();
            self.state.next = (self.state.next + columns) % COLUMNS;
            let picks = Tensor::f_from_slice(&picks)?.f_to_device(self.renderer.device())?;
            let rows = Tensor::f_cat(&[&row, &self.moved(&row, &picks)?], 0)?;
            let seen = pictures(&mut self.renderer, self.sight, &rows)?;
            let (there, around) = (seen.f_slice(0, 0, 1, 1)?, seen.f_slice(0, 1, 1 + columns, 1)?);
            let left = aim.error(&there)?;
            if !left.is_finite() {
                // What such a picture says of the derivatives would stay in them.
                damping *= MORE_DAMPING;
                continue;
            }
            self.correct(&change, &there)?;
            if columns > 0 {
                let offsets = self.offsets.f_index_select(0, &picks)?.f_unsqueeze(1)?;
                self.state.slopes = self.state.slopes.f_index_copy(0, &picks, &around.minus(&there)?.over(&offsets)?)?;
            }
            if left < error {
                (self.state.row, self.state.seen, error) = (row, there, left);
            } else {
                damping *= MORE_DAMPING;
            }
        }
        Ok(error)
    }

    /// The change `[1, 34]` that should bring the picture nearest to the aim.
    fn solve(&self, aim: &Aim, damping: f64) -> Result<Tensor> {
        let away = self.centre.minus(&self.state.row)?.f_to_kind(Kind::Double)?;
        let prior = self.units.f_to_kind(Kind::Double)?.f_square()?.f_reciprocal()?.scale(PRIOR)?;
        // A number that changes nothing stays what it is.
        let pull = away.times(&prior)?.times(&self.alive()?.f_to_kind(Kind::Double)?)?.f_transpose(0, 1)?;
        self.least(aim, &self.state.slopes, damping, (&prior, &pull))?.f_transpose(0, 1).map_err(Into::into)
    }

    /// 1 for numbers that change the picture, else 0, `[34]`.
    fn alive(&self) -> Result<Tensor> {
        Ok(self.state.slopes.f_abs()?.f_amax([1i64].as_slice(), false)?.f_gt(0.0)?.f_to_kind(Kind::Float)?)
    }

    /// Solves for what else has moved in the picture along with the numbers: `others` `[n, P]` are its derivatives. Returns `n` numbers.
    pub(super) fn others(&self, aim: &Aim, others: &Tensor) -> Result<Vec<f32>> {
        let slopes = Tensor::f_cat(&[&self.state.slopes, others], 0)?;
        // The numbers are where they belong as far as they alone can tell: only how firmly they stand there matters.
        let own = self.units.f_to_kind(Kind::Double)?.f_square()?.f_reciprocal()?.scale(PRIOR)?;
        let free = Tensor::f_full([others.size()[0]], OTHERS_PRIOR, (Kind::Double, others.device()))?;
        let prior = Tensor::f_cat(&[own, free], 0)?;
        let pull = prior.f_zeros_like()?.f_unsqueeze(1)?;
        let found = self.least(aim, &slopes, 0.0, (&prior, &pull))?;
        to_vec(&found.f_slice(0, COLUMNS, None, 1)?.f_flatten(0, -1)?)
    }

    /// Weighed least squares `[n, 1]` over `slopes` `[n, P]` with a prior `[n]` that pulls by `[n, 1]`.
    fn least(&self, aim: &Aim, slopes: &Tensor, damping: f64, (prior, pull): (&Tensor, &Tensor)) -> Result<Tensor> {
        let count = aim.picture.size()[1] as f64;
        let weighed = slopes.times(&aim.weights)?.scale(1.0 / count)?;
        let curvature = weighed.f_matmul(&slopes.f_transpose(0, 1)?)?.f_to_kind(Kind::Double)?;
        let left = aim.picture.minus(&self.state.seen)?.f_transpose(0, 1)?;
        let pull = weighed.f_matmul(&left)?.f_to_kind(Kind::Double)?.plus(pull)?;
        let own = curvature.f_diagonal(0, 0, 1)?.scale(damping)?.plus(prior)?;
        let change = Tensor::f_linalg_solve(&curvature.plus(&own.f_diag(0)?)?, &pull, true)?.f_to_kind(Kind::Float)?;
        match change.f_isfinite()?.f_all()?.value()? > 0.0 {
            true => Ok(change),
            false => Err(Error::Device("the search diverged: a step is not finite".into())),
        }
    }

    /// Corrects the derivatives so that they explain the picture `there` `[1, P]` after `change` `[1, 34]`.
    fn correct(&mut self, change: &Tensor, there: &Tensor) -> Result<()> {
        let wrong = there.minus(&self.state.seen)?.minus(&change.f_matmul(&self.state.slopes)?)?;
        // Degrees and alphas are told apart by their units, so that neither takes all the blame.
        let share = change.over(&self.units)?.times(&self.alive()?)?;
        let size = share.f_square()?.f_sum(Kind::Float)?.shift(1e-4)?;
        let share = share.over(&self.units)?.over(&size)?;
        self.state.slopes = self.state.slopes.plus(&share.f_transpose(0, 1)?.f_matmul(&wrong)?)?;
        Ok(())
    }
}

/// Pictures of rows `[n, 34]`, as many at a time as suit the renderer, as `each` makes them of `[m, 3, sight, sight]`: large ones need not all be held.
fn drawn_as(renderer: &mut Renderer, sight: i64, rows: &Tensor, each: fn(Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let params = from_table(rows, std::iter::repeat(0.0))?;
    let most = renderer.good_batch(renderer.resolution().min(sight as u32));
    Ok(Tensor::f_cat(&renderer.made(&params, sight, most, each)?, 0)?)
}

/// Pictures `[n, 3, sight, sight]` of rows `[n, 34]`.
pub(super) fn drawn(renderer: &mut Renderer, sight: i64, rows: &Tensor) -> Result<Tensor> {
    drawn_as(renderer, sight, rows, Ok)
}

/// Pictures of rows `[n, 34]`, drawn at `sight`, as `[n, P]`.
fn pictures(renderer: &mut Renderer, sight: i64, rows: &Tensor) -> Result<Tensor> {
    drawn_as(renderer, sight, rows, |images| small(&images))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::album::ALBUM_SIDE;
    use super::*;
    use crate::decode::GridOptions;
    use crate::pack::fixture;

    /// A search on the tiny rule-made face from calm numbers, and one that stands where the numbers follow a rule.
    pub(in super::super) fn bench() -> (Newton, Newton) {
        let pack = fixture::tiny(1).unwrap();
        let identity = fixture::identity(&pack, 1).unwrap();
        let renderer = || Renderer::new(&pack, &identity, Device::Cpu, Kind::Float, &GridOptions::default()).unwrap();
        let mut values = fixture::rule("newton", COLUMNS as usize, 0.3, 0.0);
        values[..2].copy_from_slice(&[6.0, -4.0]);
        let goal = from_vec(&values, &[1, COLUMNS], Device::Cpu).unwrap();
        (Newton::new(renderer(), 32, &goal.zeros_like()).unwrap(), Newton::new(renderer(), 32, &goal).unwrap())
    }

    pub(in super::super) fn aim(at: &Newton) -> Aim {
        Aim { picture: at.state.seen.copy(), weights: at.state.seen.ones_like() }
    }

    #[test]
    fn steps_with_fresh_derivatives_find_the_numbers_behind_a_picture() {
        let (mut newton, goal) = bench();
        let aim = aim(&goal);
        let before = newton.error(&aim).unwrap();
        let mut left = before;
        for _ in 0..6 {
            newton.measure().unwrap();
            left = newton.approach(&aim, &Effort { steps: 1, columns: 0, gain: 0.0 }).unwrap();
        }
        assert!(left < 0.01 * before, "{left} of {before}");
        assert_eq!(left, newton.error(&aim).unwrap());
    }

    #[test]
    fn derivatives_carried_along_with_a_few_measured_anew_do_nearly_as_well() {
        let (mut newton, goal) = bench();
        let aim = aim(&goal);
        let before = newton.error(&aim).unwrap();
        let left = newton.approach(&aim, &Effort { steps: 12, columns: 3, gain: 0.0 }).unwrap();
        assert!(left < 0.03 * before, "{left} of {before}");
        newton.restart();
        assert_eq!(newton.error(&aim).unwrap(), before);
    }

    #[test]
    fn the_nearest_picture_of_the_album_is_gone_to_if_it_is_nearer() {
        let (mut newton, goal) = bench();
        let aim = aim(&goal);
        let rows = Tensor::cat(&[goal.row() * -1.0, goal.row().copy(), goal.row() * 0.5], 0);
        let images = drawn(&mut newton.renderer, 32, &rows).unwrap();
        let album = Album::new(rows, &[Album::page(&images).unwrap()]).unwrap();
        let weights = fixture::rule("weights", (3 * ALBUM_SIDE * ALBUM_SIDE) as usize, 0.3, 1.0);
        let weights = from_vec(&weights, &[1, 3 * ALBUM_SIDE * ALBUM_SIDE], Device::Cpu).unwrap();
        let there = Aim { picture: coarse(&aim.picture).unwrap(), weights };
        let errors = to_vec(&album.errors(&there).unwrap()).unwrap();
        for (i, error) in errors.iter().enumerate() {
            let plain = there.error(&album.pictures.get(i as i64).unsqueeze(0)).unwrap();
            assert!((f64::from(*error) - plain).abs() < 1e-6, "{error}, {plain}");
        }
        assert!(errors[0] > 1e-3 && errors[2] > 1e-4, "{errors:?}");
        assert!(newton.recall(&aim, &album).unwrap());
        assert!(newton.row().equal(goal.row()));
        assert!(!newton.recall(&aim, &album).unwrap(), "nothing is nearer than the goal");
    }

    #[test]
    fn numbers_without_effect_stay_and_bounds_are_kept() {
        let (newton, goal) = bench();
        let (low, high) = (newton.row() - 0.05, newton.row() + 0.05);
        let mut newton = newton.bounded(&low, &high);
        let aim = aim(&goal);
        // The fourth number is made to have no effect, and stands off the centre.
        let slope = newton.state.slopes.copy();
        let _ = slope.get(3).zero_();
        newton.state.slopes = slope;
        newton.state.row = newton.state.row.copy();
        let _ = newton.state.row.get(0).get(3).fill_(0.04);
        newton.approach(&aim, &Effort { steps: 3, columns: 0, gain: 0.0 }).unwrap();
        let found = to_vec(newton.row()).unwrap();
        assert_eq!(found[3], 0.04);
        assert!(found.iter().all(|v| v.abs() <= 0.05 + 1e-6) && found.iter().any(|v| v.abs() > 0.049), "{found:?}");
    }

    #[test]
    fn a_flat_crop_has_no_place_and_is_no_failure() {
        let (newton, _) = bench();
        let flat = Aim { picture: newton.state.seen.zeros_like(), weights: newton.state.seen.ones_like() };
        let others = newton.others(&flat, &Tensor::zeros([4, flat.picture.size()[1]], (Kind::Float, Device::Cpu))).unwrap();
        assert_eq!(others, [0.0; 4]);
    }

    #[test]
    fn a_search_stops_after_a_step_that_gains_too_little() {
        let (_, goal) = bench();
        let aim = aim(&goal);
        // Error left and steps made, by how many derivatives were measured.
        let approached = |newton: &mut Newton, steps, gain| {
            let error = newton.approach(&aim, &Effort { steps, columns: 2, gain }).unwrap();
            (error, newton.state.next / 2)
        };
        let errors: Vec<f64> = (0..=3).map(|steps| approached(&mut bench().0, steps, 0.0).0).collect();
        let share = |step: usize| 1.0 - errors[step] / errors[step - 1];
        assert!(share(1) > share(2) && share(2) > 2.0 * share(3), "{errors:?}");
        let made = |gain| approached(&mut bench().0, 9, gain).1;
        assert_eq!(made((1.0 + share(1)) / 2.0), 1);
        assert_eq!(made((share(1) + share(2)) / 2.0), 2);
        assert_eq!(made(share(2) / 2.0), 3);
        assert_eq!(made(0.0), 9, "whatever they gain");
    }

    #[test]
    fn a_search_never_leaves_for_worse() {
        let (mut newton, goal) = bench();
        let aim = aim(&goal);
        newton.approach(&aim, &Effort { steps: 1, columns: 2, gain: 0.0 }).unwrap();
        let row = newton.row().copy();
        newton.consider(&aim, &(&row * 40.0)).unwrap();
        assert_eq!(to_vec(newton.row()).unwrap(), to_vec(&row).unwrap(), "a row that is farther is not taken");
        newton.consider(&aim, goal.row()).unwrap();
        assert_eq!(newton.error(&aim).unwrap(), 0.0);
    }
}
