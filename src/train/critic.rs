//! The generator's adversary: tells pieces of generated pictures from the same pieces of real ones (rendered, or filmed in personal training).
//!
//! In: pictures `[B, 3, S, S]` in [-1, 1]. Out: a map of logits per piece, above 0 for "rendered". It judges texture in fields of view of 22
//! pixels, as PatchGAN does (Isola et al. 2017), and leaves the arrangement of a face to the other losses. Logistic loss with the
//! R1 penalty (Mescheder et al. 2018), which is computed every few steps only (Karras et al. 2020).

use super::heads::Rng;
use super::init;
use super::pack::Run;
use super::state::{restore, StageState};
use crate::error::Result;
use crate::net::adam::Adam;
use crate::net::ops::Calc;
use crate::net::Weights;
use std::time::Duration;
use tch::{no_grad, Kind, Tensor};

/// Channels of the layers that halve the side; a last one makes the logits.
const WIDTHS: [i64; 4] = [3, 32, 64, 96];
/// Side of a piece, and how many are cut from each picture.
const PIECE: i64 = 64;
const PIECES: usize = 4;
/// Weight of R1, and the steps from one penalty to the next.
const R1: f64 = 1.0;
const R1_EVERY: u64 = 8;
const RATE: f64 = 1e-3;
/// How strong the adversary's pull on a picture is beside that of all other losses together, and after how many steps it has come to that.
const PULL: f64 = 0.35;
const GROWTH: f64 = 200.0;

/// The network, its optimiser and its file in the state folder.
#[derive(Debug)]
pub(super) struct Critic {
    weights: Weights,
    adam: Adam,
    state: StageState,
    step: u64,
}

/// The left upper corners of the pieces of a step.
type Corners = Vec<[i64; 2]>;

fn tensors() -> Vec<(String, Vec<i64>)> {
    let mut out = Vec::new();
    for (i, pair) in WIDTHS.windows(2).enumerate() {
        out.push((format!("{i}.weight"), vec![pair[1], pair[0], 4, 4]));
        out.push((format!("{i}.bias"), vec![pair[1]]));
    }
    out.push(("logits.weight".into(), vec![1, WIDTHS[WIDTHS.len() - 1], 1, 1]));
    out.push(("logits.bias".into(), vec![1]));
    out
}

/// Cuts the pieces out of every picture: `[PIECES * B, 3, PIECE, PIECE]`.
fn cut(images: &Tensor, corners: &Corners) -> Result<Tensor> {
    let side = PIECE.min(images.size()[2]);
    let pieces = corners.iter().map(|[x, y]| Ok(images.f_slice(2, *y, y + side, 1)?.f_slice(3, *x, x + side, 1)?));
    Ok(Tensor::f_cat(&pieces.collect::<Result<Vec<_>>>()?, 0)?)
}

impl Critic {
    /// A fresh critic, or the one that the state folder holds.
    pub(super) fn new(run: &Run) -> Result<Self> {
        let weights = init::fan_in(&tensors(), std::f64::consts::SQRT_2, run.device)?;
        let state = StageState::new(&run.options.state, "critic");
        let mut adam = Adam::new(0.0, 0.99);
        for (_, tensor) in weights.require_grad(|_| true)? {
            adam.add_scalar(&tensor, 1.0)?;
        }
        let mut step = 0;
        if let Some(saved) = state.load()? {
            restore(&weights, &saved.weights)?;
            adam.restore(&saved.optimiser)?;
            step = saved.step;
        }
        Ok(Critic { weights, adam, state, step })
    }

    pub(super) fn save(&self) -> Result<()> {
        self.state.save(self.step, Duration::ZERO, &self.weights, &self.adam)
    }

    fn logits(&self, pieces: &Tensor) -> Result<Tensor> {
        let mut x = pieces.shallow_clone();
        for i in 0..WIDTHS.len() - 1 {
            let [weight, bias] = ["weight", "bias"].map(|part| self.weights.get(&format!("{i}.{part}")));
            x = x.f_conv2d(weight?, Some(bias?), [2, 2], [1, 1], [1, 1], 1)?.f_leaky_relu()?;
        }
        let [weight, bias] = ["weight", "bias"].map(|part| self.weights.get(&format!("logits.{part}")));
        Ok(x.f_conv2d(weight?, Some(bias?), [1, 1], [0, 0], [1, 1], 1)?)
    }

    /// Learns one step from a rendered batch and what the generator drew for it, then returns what is to be added to the gradient
    /// `pull` of the other losses on the generated pictures, and the critic's own loss (2 ln 2 = 1.39 when it knows nothing).
    pub(super) fn judge(&mut self, real: &Tensor, fake: &Tensor, pull: &Tensor, seed: u64) -> Result<(Tensor, f64)> {
        let mut rng = Rng::new(seed ^ self.step.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let free = (real.size()[2] - PIECE).max(0) as u64 + 1;
        let corners: Corners = (0..PIECES).map(|_| [(rng.bits() % free) as i64, (rng.bits() % free) as i64]).collect();
        let fake = fake.f_detach()?;
        let loss = self.learn(&cut(real, &corners)?, &cut(&fake, &corners)?)?;
        let picture = fake.set_requires_grad(true);
        let wish = self.logits(&cut(&picture, &corners)?)?.f_neg()?.f_softplus()?.average()?;
        let gradients = Tensor::f_run_backward(&[wish], &[&picture], false, false)?;
        no_grad(|| {
            let norm = |t: &Tensor| -> Result<f64> { t.f_square()?.average()?.value() };
            let ratio = (norm(pull)? / norm(&gradients[0])?.max(1e-30)).sqrt();
            let grown = (self.step as f64 / GROWTH).min(1.0);
            Ok((gradients[0].scale(PULL * grown * ratio)?, loss))
        })
    }

    fn learn(&mut self, real: &Tensor, fake: &Tensor) -> Result<f64> {
        let penalise = self.step.is_multiple_of(R1_EVERY);
        let real = real.f_detach()?.set_requires_grad(penalise);
        let (rendered, generated) = (self.logits(&real)?, self.logits(fake)?);
        let loss = rendered.f_neg()?.f_softplus()?.average()?.plus(&generated.f_softplus()?.average()?)?;
        let mut total = loss.shallow_clone();
        if penalise {
            // A piece's logit is the mean of its map: sums would grow the penalty with the square of the map's size.
            let logits = rendered.f_mean_dim([1i64, 2, 3].as_slice(), false, Kind::Float)?;
            let slope = Tensor::f_run_backward(&[logits.f_sum(Kind::Float)?], &[&real], true, true)?;
            let penalty = slope[0].f_square()?.f_sum_dim_intlist([1i64, 2, 3].as_slice(), false, Kind::Float)?.average()?;
            total = total.plus(&penalty.scale(0.5 * R1 * R1_EVERY as f64)?)?;
        }
        self.adam.step(&total, RATE)?;
        self.step += 1;
        loss.value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::TrainOptions;
    use tch::Device;

    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("effigy-critic-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Folder(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn critic(folder: &std::path::Path) -> Critic {
        let options = TrainOptions { state: folder.into(), ..Default::default() };
        tch::manual_seed(3);
        let run = Run { options: &options, device: Device::Cpu, kind: Kind::Float, progress: &crate::progress::Silent };
        Critic::new(&run).unwrap()
    }

    /// Sharp stripes and the same stripes blurred.
    fn stripes() -> [Tensor; 2] {
        let values: Vec<f32> = (0..2 * 3 * 96 * 96).map(|i| if (i % 96) % 4 < 2 { 0.5 } else { -0.5 }).collect();
        let sharp = Tensor::from_slice(&values).view([2, 3, 96, 96]);
        let soft = sharp.f_avg_pool2d([1, 3], [1, 1], [0, 1], false, true, None).unwrap();
        [sharp, soft]
    }

    #[test]
    fn the_critic_learns_to_tell_sharp_from_blurred_and_asks_for_sharper_pictures() {
        let folder = Folder::new("pull");
        let mut critic = critic(&folder.0);
        let [sharp, soft] = stripes();
        let unit = sharp.ones_like();
        let losses: Vec<f64> = (0..100).map(|step| critic.judge(&sharp, &soft, &unit, step).unwrap().1).collect();
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        assert!(mean(&losses[90..]) < 0.85 * mean(&losses[..10]), "{losses:?}");
        // Going against the gradient must lead towards contrast; where single pieces say otherwise, not where sixteen are asked.
        let along = |step: u64| {
            let (pull, _) = critic.judge(&sharp, &soft, &unit, step).unwrap();
            (pull * (&sharp - &soft)).sum(Kind::Float).double_value(&[])
        };
        let along: f64 = (100..116).map(along).sum();
        assert!(along < 0.0, "{along}");
    }

    #[test]
    fn a_saved_critic_goes_on_where_it_was() {
        let folder = Folder::new("saved");
        let [sharp, soft] = stripes();
        let unit = sharp.ones_like();
        let mut first = critic(&folder.0);
        for step in 0..3 {
            drop(first.judge(&sharp, &soft, &unit, step).unwrap());
        }
        first.save().unwrap();
        let mut second = critic(&folder.0);
        let [a, b] = [&mut first, &mut second].map(|c| c.judge(&sharp, &soft, &unit, 3).unwrap());
        assert_eq!(a.1, b.1);
        assert!(a.0.allclose(&b.0, 0.0, 0.0, false));
    }
}
