//! Initial value problems: a state (one tensor or several) carried from one time to another along dx/dt = f(t, x).
//! Sources: the classical Runge-Kutta method with fixed steps; Dormand & Prince 1980 with step control after Hairer, Norsett &
//! Wanner, "Solving Ordinary Differential Equations I", II.4. Gradients pass through both; step sizes carry none.

use super::ops::Calc;
use crate::error::{Error, Result};
use tch::{no_grad, Kind, Tensor};

/// State and slope: as many tensors as the problem has parts.
pub(super) type State = Vec<Tensor>;

/// Most attempted steps: a network that needs more is not a trained one.
const MAX_STEPS: usize = 10_000;

/// Dormand-Prince stages: times and weights of the earlier slopes. The last row is the fifth-order result.
const STAGES: [(f64, &[f64]); 6] = [
    (1.0 / 5.0, &[1.0 / 5.0]),
    (3.0 / 10.0, &[3.0 / 40.0, 9.0 / 40.0]),
    (4.0 / 5.0, &[44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0]),
    (8.0 / 9.0, &[19372.0 / 6561.0, -25360.0 / 2187.0, 64448.0 / 6561.0, -212.0 / 729.0]),
    (1.0, &[9017.0 / 3168.0, -355.0 / 33.0, 46732.0 / 5247.0, 49.0 / 176.0, -5103.0 / 18656.0]),
    (1.0, &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0]),
];

/// Fifth-order minus fourth-order weights of the seven slopes.
const ERROR: [f64; 7] = [71.0 / 57600.0, 0.0, -71.0 / 16695.0, 71.0 / 1920.0, -17253.0 / 339200.0, 22.0 / 525.0, -1.0 / 40.0];

/// `x + sum of weights[i] slopes[i]`, part by part.
fn along(x: &State, slopes: &[State], weights: &[f64]) -> Result<State> {
    let mut out = Vec::with_capacity(x.len());
    for (part, start) in x.iter().enumerate() {
        let mut sum = start.shallow_clone();
        for (slope, weight) in slopes.iter().zip(weights).filter(|(_, w)| **w != 0.0) {
            sum = sum.plus(&slope[part].scale(*weight)?)?;
        }
        out.push(sum);
    }
    Ok(out)
}

/// The state at time `to`, in `steps` equal steps of the classical fourth-order method: four slopes each.
pub(super) fn rk4(
    mut f: impl FnMut(f64, &State) -> Result<State>,
    start: State,
    [from, to]: [f64; 2],
    steps: u32,
) -> Result<State> {
    let h = (to - from) / f64::from(steps.max(1));
    let mut x = start;
    for step in 0..steps.max(1) {
        let at = |offset: f64| from + (f64::from(step) + offset) * h;
        let k1 = f(at(0.0), &x)?;
        let k2 = f(at(0.5), &along(&x, std::slice::from_ref(&k1), &[h / 2.0])?)?;
        let k3 = f(at(0.5), &along(&x, std::slice::from_ref(&k2), &[h / 2.0])?)?;
        let k4 = f(at(1.0), &along(&x, std::slice::from_ref(&k3), &[h])?)?;
        x = along(&x, &[k1, k2, k3, k4], &[h / 6.0, h / 3.0, h / 3.0, h / 6.0])?;
    }
    Ok(x)
}

/// The state at time `to` with steps chosen so that each part's error per step, root mean square, stays under
/// `tolerance (1 + |x|)`.
///
/// # Errors
/// Limit, when that takes too many steps or the state leaves the finite numbers; what `f` returns.
pub(super) fn dopri5(
    mut f: impl FnMut(f64, &State) -> Result<State>,
    start: State,
    [from, to]: [f64; 2],
    tolerance: f64,
) -> Result<State> {
    let span = to - from;
    let (mut x, mut t, mut h) = (start, from, span / 100.0);
    let mut first = f(t, &x)?;
    for _ in 0..MAX_STEPS {
        let left = to - t;
        let last = h.abs() >= left.abs();
        if last {
            h = left;
        }
        let mut slopes = vec![first.iter().map(Tensor::shallow_clone).collect::<State>()];
        let mut next = Vec::new();
        for (c, weights) in STAGES {
            let scaled: Vec<f64> = weights.iter().map(|w| w * h).collect();
            next = along(&x, &slopes, &scaled)?;
            slopes.push(f(t + c * h, &next)?);
        }
        let error = no_grad(|| error_norm(&x, &next, &slopes, h, tolerance))?;
        if !error.is_finite() {
            return Err(Error::Limit("a flow left the finite numbers".into()));
        }
        if error <= 1.0 {
            (x, t) = (next, t + h);
            if last {
                return Ok(x);
            }
            first = slopes.pop().unwrap_or_default();
        }
        h *= (0.9 * error.max(1e-10).powf(-0.2)).clamp(0.2, 10.0);
    }
    Err(Error::Limit(format!("a flow needs more than {MAX_STEPS} steps")))
}

/// Largest part's error in units of its tolerance.
fn error_norm(x: &State, next: &State, slopes: &[State], h: f64, tolerance: f64) -> Result<f64> {
    let mut worst = 0f64;
    for (part, (x, next)) in x.iter().zip(next).enumerate() {
        let mut error = x.f_zeros_like()?;
        for (slope, weight) in slopes.iter().zip(ERROR).filter(|(_, w)| *w != 0.0) {
            error = error.plus(&slope[part].scale(weight * h)?)?;
        }
        let allowed = x.f_abs()?.f_maximum(&next.f_abs()?)?.scale(tolerance)?.shift(tolerance)?;
        let share = error.over(&allowed)?.f_square()?.f_mean(Kind::Double)?.f_sqrt()?.value()?;
        // `max` would pass over NaN.
        worst = if share.is_nan() { share } else { worst.max(share) };
        if worst.is_nan() {
            break;
        }
    }
    Ok(worst)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// x' = -(1 + t) x, whose solution is x(0) exp(-t - t^2 / 2).
    fn decay(t: f64, x: &State) -> Result<State> {
        Ok(vec![x[0].scale(-1.0 - t)?])
    }

    /// What is left of the start at time 1.
    fn left() -> f64 {
        (-1.5f64).exp()
    }

    fn start() -> State {
        vec![Tensor::from_slice(&[3.0f64, -1.0])]
    }

    fn off(x: &State, factor: f64) -> f64 {
        (&x[0] - &start()[0] * factor).abs().max().double_value(&[])
    }

    #[test]
    fn the_adaptive_solver_meets_its_tolerance_in_both_directions() {
        let there = dopri5(decay, start(), [0.0, 1.0], 1e-10).unwrap();
        assert!(off(&there, left()) < 1e-9, "off by {:e}", off(&there, left()));
        let back = dopri5(decay, there, [1.0, 0.0], 1e-10).unwrap();
        assert!(off(&back, 1.0) < 1e-9, "off by {:e}", off(&back, 1.0));
    }

    #[test]
    fn halving_the_fixed_step_divides_the_error_by_sixteen() {
        let error = |steps| off(&rk4(decay, start(), [0.0, 1.0], steps).unwrap(), left());
        let ratio = error(8) / error(16);
        assert!((12.0..22.0).contains(&ratio), "the ratio is {ratio:.1}");
    }

    #[test]
    fn a_state_that_explodes_is_an_error() {
        let blow_up = |_: f64, x: &State| -> Result<State> { Ok(vec![x[0].f_square()?]) };
        let found = dopri5(blow_up, start(), [0.0, 2.0], 1e-8);
        assert!(matches!(found, Err(Error::Limit(_))), "found {found:?}");
    }
}
