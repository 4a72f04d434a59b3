//! StyleFlow: W+ rows `[B, rows, dim]` to attribute-free latents and back under attributes `[B or 1, zdim]`, and with it the posed
//! latent LH_t for yaw and pitch in degrees. Source: Abdal et al. 2021 (conditional continuous normalising flow, section 4) over
//! FFJORD's concatsquash layers (Grathwohl et al. 2019); key layout of the published PyTorch model.
//!
//! Attributes are `[9 spherical-harmonic light coefficients, gender, glasses, yaw, pitch, baldness, beard, age, expression]`.

use super::flow::POSED_ROWS;
use super::ode::{dopri5, rk4, State};
use super::ops::{from_vec, Calc};
use super::weights::Weights;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::cell::OnceCell;
use tch::{no_grad, Kind, Tensor};

/// Attributes of the published model, the only ones whose meaning is known.
const ATTRIBUTES: i64 = 17;
/// Index of yaw among the attributes; pitch follows.
const YAW: usize = 11;
/// Means over the samples published with StyleFlow, with a head that looks ahead: the attributes of somebody unknown.
const MEAN: [f32; ATTRIBUTES as usize] = [
    0.854, -0.151, 0.280, -0.041, -0.022, -0.014, -0.163, -0.005, 0.121, // light
    0.433, 0.168, 0.0, 0.0, 0.074, 0.078, 30.5, 0.743,
];
/// Summand of the moving batch norm's variance.
const NORM_EPSILON: f64 = 1e-4;
/// Solver of [`StyleFlow::posed`].
const FAST: Solver = Solver::Rk4 { steps: 8 };
/// Widest layer, most attributes.
const MAX_WIDTH: i64 = 4096;

/// Shape of a flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StyleFlowConfig {
    /// Width of a W+ row.
    pub input_dim: i64,
    /// Widths of the hidden layers.
    pub dims: Vec<i64>,
    /// Number of attributes.
    pub zdim: i64,
    /// Number of flows in a row, a batch norm before, between and after them.
    pub num_blocks: i64,
}

impl Default for StyleFlowConfig {
    /// The published model.
    fn default() -> Self {
        StyleFlowConfig { input_dim: 512, dims: vec![512; 5], zdim: ATTRIBUTES, num_blocks: 1 }
    }
}

impl StyleFlowConfig {
    /// Checks ranges before anything is allocated by them.
    ///
    /// # Errors
    /// Malformed.
    pub fn check(&self) -> Result<()> {
        let width = |v: i64| (1..=MAX_WIDTH).contains(&v);
        let fine = width(self.input_dim) && width(self.zdim) && self.dims.iter().all(|d| width(*d));
        if !fine || !(1..=16).contains(&self.dims.len()) || !(1..=16).contains(&self.num_blocks) {
            return Err(Error::Malformed(format!("flow configuration out of range: {self:?}")));
        }
        Ok(())
    }

    /// Inputs and outputs of the layers of one flow.
    fn layers(&self) -> Vec<(i64, i64)> {
        let mut widths = vec![self.input_dim];
        widths.extend(&self.dims);
        widths.push(self.input_dim);
        widths.windows(2).map(|pair| (pair[0], pair[1])).collect()
    }

    /// Every tensor that the weights must hold, with its shape.
    pub fn tensors(&self) -> Vec<(String, Vec<i64>)> {
        let mut out = Vec::new();
        for norm in 0..=self.num_blocks {
            for part in ["weight", "bias", "running_mean", "running_var"] {
                out.push((format!("chain.{}.{part}", 2 * norm), vec![self.input_dim]));
            }
        }
        for block in 0..self.num_blocks {
            let chain = format!("chain.{}", 2 * block + 1);
            out.push((format!("{chain}.sqrt_end_time"), vec![]));
            for (i, (inputs, outputs)) in self.layers().into_iter().enumerate() {
                let layer = format!("{chain}.odefunc.diffeq.layers.{i}");
                out.push((format!("{layer}._layer.weight"), vec![outputs, inputs]));
                out.push((format!("{layer}._layer.bias"), vec![outputs]));
                // The first column belongs to the time.
                out.push((format!("{layer}._hyper_bias.weight"), vec![outputs, 1 + self.zdim]));
                out.push((format!("{layer}._hyper_gate.weight"), vec![outputs, 1 + self.zdim]));
                out.push((format!("{layer}._hyper_gate.bias"), vec![outputs]));
            }
        }
        out
    }
}

/// How the differential equation is solved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Solver {
    /// Classical Runge-Kutta with so many equal steps, in single precision.
    Rk4 {
        /// Steps per flow, four evaluations each.
        steps: u32,
    },
    /// Dormand-Prince with step control, in double precision: the reference. 1e-10 leaves nothing that single precision shows.
    Dopri5 {
        /// Absolute and relative error per step.
        tolerance: f64,
    },
}

/// Way through the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// W+ to the attribute-free latent.
    Forward,
    /// Attribute-free latent to W+.
    Reverse,
}

/// The flow with its weights.
#[derive(Debug)]
pub struct StyleFlow {
    cfg: StyleFlowConfig,
    weights: Weights,
    single: Chain,
    double: OnceCell<Chain>,
}

impl StyleFlow {
    /// Takes the weights; missing or misshapen tensors are reported by name, others are left aside.
    ///
    /// # Errors
    /// Malformed; device, when libtorch fails.
    pub fn new(cfg: StyleFlowConfig, weights: Weights) -> Result<Self> {
        cfg.check()?;
        for (name, shape) in cfg.tensors() {
            weights.shaped(&name, &shape)?;
        }
        let single = no_grad(|| Chain::new(&cfg, &weights, Kind::Float))?;
        Ok(StyleFlow { cfg, weights, single, double: OnceCell::new() })
    }

    /// Its shape.
    pub fn config(&self) -> &StyleFlowConfig {
        &self.cfg
    }

    /// Its tensors.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// `x` `[B, rows, dim]` carried through the flow under `attributes` `[B or 1, zdim]`; rows do not see each other. The result is in
    /// the solver's precision.
    ///
    /// # Errors
    /// Misuse, for other shapes; limit, when the adaptive solver finds no end; device.
    pub fn run(&self, x: &Tensor, attributes: &Tensor, direction: Direction, solver: Solver) -> Result<Tensor> {
        self.check_shapes(x, attributes)?;
        let chain = self.chain(solver)?;
        let x = x.f_to_kind(chain.kind)?;
        Ok(chain.run(vec![x], &attributes.f_to_kind(chain.kind)?, None, direction, solver)?.swap_remove(0))
    }

    /// As [`StyleFlow::run`], together with the change of the log density `[B, rows, 1]`, whose divergence is estimated along
    /// `probe`, a tensor of the shape of `x` (Hutchinson's estimator).
    ///
    /// # Errors
    /// As [`StyleFlow::run`].
    pub fn run_with_density(
        &self,
        x: &Tensor,
        attributes: &Tensor,
        probe: &Tensor,
        direction: Direction,
        solver: Solver,
    ) -> Result<(Tensor, Tensor)> {
        self.check_shapes(x, attributes)?;
        if probe.size() != x.size() {
            return Err(Error::Misuse(format!("the probe has shape {:?}, expected {:?}", probe.size(), x.size())));
        }
        let chain = self.chain(solver)?;
        let x = x.f_to_kind(chain.kind)?;
        let density = x.f_select(2, 0)?.f_unsqueeze(2)?.f_zeros_like()?;
        let probe = probe.f_to_kind(chain.kind)?;
        let mut out = chain.run(vec![x, density], &attributes.f_to_kind(chain.kind)?, Some(&probe), direction, solver)?;
        let density = out.swap_remove(1);
        Ok((out.swap_remove(0), density))
    }

    /// LH_t: `w_plus` `[B or 1, rows, dim]` turned to `angles` `[B, 2]` (yaw, pitch in degrees).
    ///
    /// # Errors
    /// Misuse, for other shapes; unsupported, for a model with other attributes; device.
    pub fn posed(&self, w_plus: &Tensor, angles: &Tensor) -> Result<Tensor> {
        self.posed_by(w_plus, angles, FAST)
    }

    /// As [`StyleFlow::posed`] with a solver of one's own.
    ///
    /// The result is `w + reverse(z, angles) - reverse(z, 0)` with `z = forward(w, 0)`, on the rows that move. With an exact solver
    /// the last term is `w`. With a fast one it takes away the error that both share, so that zero angles give `w` back.
    ///
    /// # Errors
    /// As [`StyleFlow::posed`].
    pub fn posed_by(&self, w_plus: &Tensor, angles: &Tensor, solver: Solver) -> Result<Tensor> {
        if self.cfg.zdim != ATTRIBUTES {
            return Err(Error::Unsupported(format!("posing by a flow of {} attributes, expected {ATTRIBUTES}", self.cfg.zdim)));
        }
        let (batch, latents) = check_posing(w_plus, angles, self.cfg.input_dim)?;
        let w = w_plus.f_narrow(1, 0, POSED_ROWS)?;
        let rest = from_vec(&MEAN, &[1, ATTRIBUTES], w.device())?;
        let z = self.run(&w, &rest, Direction::Forward, solver)?;
        // One batch: every pose, then every latent at rest.
        let z = Tensor::f_cat(&[z.f_expand([batch, -1, -1], false)?, z.shallow_clone()], 0)?;
        let contexts = Tensor::f_cat(&[turned(&rest, angles)?, rest.f_expand([latents, -1], false)?], 0)?;
        let back = self.run(&z, &contexts, Direction::Reverse, solver)?;
        let change = back.f_narrow(0, 0, batch)?.minus(&back.f_narrow(0, batch, latents)?)?;
        let moved = w.plus(&change.f_to_kind(w.kind())?)?;
        let still = w_plus.f_slice(1, POSED_ROWS, None, 1)?.f_expand([batch, -1, -1], false)?;
        Ok(Tensor::f_cat(&[moved, still], 1)?)
    }

    /// Parts that other implementations show as well: the first batch norm's output, and slope and divergence there at a time.
    #[doc(hidden)]
    pub fn taps(&self, x: &Tensor, attributes: &Tensor, probe: &Tensor, time: f64) -> Result<(Tensor, Tensor, Tensor)> {
        let x = self.single.norms[0].forward(x)?;
        let context = self.single.blocks[0].context(attributes)?;
        let modulation = self.single.blocks[0].modulation(&context, time)?;
        let (slope, divergence) = self.single.blocks[0].slope_with_divergence(&x, probe, &modulation)?;
        Ok((x, slope, divergence.f_neg()?))
    }

    fn chain(&self, solver: Solver) -> Result<&Chain> {
        if matches!(solver, Solver::Rk4 { .. }) {
            return Ok(&self.single);
        }
        if self.double.get().is_none() {
            let fresh = no_grad(|| Chain::new(&self.cfg, &self.weights, Kind::Double))?;
            // Nobody else can have set it: a cell is not shared between threads.
            let _ = self.double.set(fresh);
        }
        self.double.get().ok_or_else(|| Error::Misuse("the double-precision flow was not made".into()))
    }

    fn check_shapes(&self, x: &Tensor, attributes: &Tensor) -> Result<()> {
        let (x, c) = (x.size(), attributes.size());
        let fine =
            x.len() == 3 && x[2] == self.cfg.input_dim && c.len() == 2 && c[1] == self.cfg.zdim && (c[0] == 1 || c[0] == x[0]);
        if !fine {
            let (dim, zdim) = (self.cfg.input_dim, self.cfg.zdim);
            return Err(Error::Misuse(format!(
                "latents {x:?} and attributes {c:?}, expected [batch, rows, {dim}] and [batch or 1, {zdim}]"
            )));
        }
        Ok(())
    }
}

/// Number of poses and of latents, 1 or as many.
fn check_posing(w_plus: &Tensor, angles: &Tensor, dim: i64) -> Result<(i64, i64)> {
    let (w, a) = (w_plus.size(), angles.size());
    let fine = w.len() == 3 && a.len() == 2 && a[1] == 2 && w[1] >= POSED_ROWS && w[2] == dim && (w[0] == 1 || w[0] == a[0]);
    if !fine {
        return Err(Error::Misuse(format!(
            "latents {w:?} and angles {a:?}, expected [batch or 1, {POSED_ROWS} or more, {dim}] and [batch, 2]"
        )));
    }
    Ok((a[0], w[0]))
}

/// Attributes `[B, 17]`: those of `rest` `[1, 17]` with the angles `[B, 2]` put in.
fn turned(rest: &Tensor, angles: &Tensor) -> Result<Tensor> {
    let batch = angles.size()[0];
    let rest = rest.f_expand([batch, -1], false)?;
    let yaw = YAW as i64;
    let parts = [rest.f_narrow(1, 0, yaw)?, angles.f_to_kind(rest.kind())?, rest.f_slice(1, yaw + 2, None, 1)?];
    Ok(Tensor::f_cat(&parts, 1)?)
}

/// The flow's parts in one precision.
#[derive(Debug)]
struct Chain {
    kind: Kind,
    norms: Vec<MovingNorm>,
    blocks: Vec<Block>,
}

impl Chain {
    fn new(cfg: &StyleFlowConfig, weights: &Weights, kind: Kind) -> Result<Chain> {
        Ok(Chain {
            kind,
            norms: (0..=cfg.num_blocks).map(|i| MovingNorm::new(weights, 2 * i, kind)).collect::<Result<_>>()?,
            blocks: (0..cfg.num_blocks).map(|i| Block::new(cfg, weights, 2 * i + 1, kind)).collect::<Result<_>>()?,
        })
    }

    /// The state, x alone or x with the log density, carried through all parts.
    fn run(&self, mut state: State, context: &Tensor, probe: Option<&Tensor>, way: Direction, solver: Solver) -> Result<State> {
        let count = self.blocks.len();
        let order: Vec<usize> = if way == Direction::Forward { (0..count).collect() } else { (0..count).rev().collect() };
        for i in order {
            let (before, after) = if way == Direction::Forward { (i, i + 1) } else { (i + 1, i) };
            // Between two flows there is one batch norm: the last flow's, or the first flow's on the way back, applies its own.
            state = self.norms[before].run(state, way)?;
            state = self.blocks[i].run(state, context, probe, way, solver)?;
            let last = after == if way == Direction::Forward { count } else { 0 };
            if last {
                state = self.norms[after].run(state, way)?;
            }
        }
        Ok(state)
    }
}

/// Batch norm by moving statistics, whose scale is stored as a logarithm.
#[derive(Debug)]
struct MovingNorm {
    mean: Tensor,
    factor: Tensor,
    bias: Tensor,
    /// Change of the log density on the way forward.
    density: f64,
}

impl MovingNorm {
    fn new(weights: &Weights, index: i64, kind: Kind) -> Result<MovingNorm> {
        let get = |part: &str| -> Result<Tensor> { Ok(weights.get(&format!("chain.{index}.{part}"))?.f_to_kind(Kind::Double)?) };
        let log = get("weight")?.minus(&get("running_var")?.shift(NORM_EPSILON)?.f_log()?.scale(0.5)?)?;
        Ok(MovingNorm {
            mean: get("running_mean")?.f_to_kind(kind)?,
            factor: log.f_exp()?.f_to_kind(kind)?,
            bias: get("bias")?.f_to_kind(kind)?,
            density: -log.f_sum(Kind::Double)?.value()?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.minus(&self.mean)?.times(&self.factor)?.plus(&self.bias)
    }

    fn run(&self, state: State, way: Direction) -> Result<State> {
        let sign = if way == Direction::Forward { 1.0 } else { -1.0 };
        let mut out = Vec::with_capacity(state.len());
        for (i, part) in state.iter().enumerate() {
            out.push(match (i, way) {
                (0, Direction::Forward) => self.forward(part)?,
                (0, Direction::Reverse) => part.minus(&self.bias)?.over(&self.factor)?.plus(&self.mean)?,
                _ => part.shift(sign * self.density)?,
            });
        }
        Ok(out)
    }
}

/// One continuous flow: dx/dt is a small network whose layers are gated and shifted by time and attributes.
#[derive(Debug)]
struct Block {
    layers: Vec<(Tensor, Tensor)>,
    widths: Vec<i64>,
    /// All layers' gates: column of the time, columns of the attributes, bias.
    gate: [Tensor; 3],
    /// All layers' shifts: column of the time, columns of the attributes.
    shift: [Tensor; 2],
    end: f64,
}

/// Gate and shift `[B, 1, width]` per layer at one time.
type Modulation = Vec<(Tensor, Tensor)>;

impl Block {
    fn new(cfg: &StyleFlowConfig, weights: &Weights, index: i64, kind: Kind) -> Result<Block> {
        let name = |i: usize, part: &str| format!("chain.{index}.odefunc.diffeq.layers.{i}.{part}");
        let get = |i: usize, part: &str| -> Result<Tensor> { Ok(weights.get(&name(i, part))?.f_detach()?.f_to_kind(kind)?) };
        let count = cfg.layers().len();
        let joined = |part: &str| -> Result<Tensor> {
            Ok(Tensor::f_cat(&(0..count).map(|i| get(i, part)).collect::<Result<Vec<_>>>()?, 0)?)
        };
        let (gate, shift) = (joined("_hyper_gate.weight")?, joined("_hyper_bias.weight")?);
        let layers = (0..count).map(|i| Ok((get(i, "_layer.weight")?, get(i, "_layer.bias")?)));
        Ok(Block {
            layers: layers.collect::<Result<_>>()?,
            widths: cfg.layers().iter().map(|l| l.1).collect(),
            gate: [gate.f_select(1, 0)?, gate.f_slice(1, 1, None, 1)?, joined("_hyper_gate.bias")?],
            shift: [shift.f_select(1, 0)?, shift.f_slice(1, 1, None, 1)?],
            end: weights.get(&format!("chain.{index}.sqrt_end_time"))?.value()?.powi(2),
        })
    }

    /// What the attributes contribute to gates and shifts, at any time: `[B, all widths]` each.
    fn context(&self, attributes: &Tensor) -> Result<[Tensor; 2]> {
        Ok([attributes.f_linear(&self.gate[1], Some(&self.gate[2]))?, attributes.f_linear(&self.shift[1], None::<&Tensor>)?])
    }

    fn modulation(&self, [gate, shift]: &[Tensor; 2], time: f64) -> Result<Modulation> {
        let gate = gate.plus(&self.gate[0].scale(time)?)?.f_sigmoid()?.f_unsqueeze(1)?;
        let shift = shift.plus(&self.shift[0].scale(time)?)?.f_unsqueeze(1)?;
        let split = |x: Tensor| x.f_split_with_sizes(&self.widths, 2);
        Ok(split(gate)?.into_iter().zip(split(shift)?).collect())
    }

    /// dx/dt.
    fn slope(&self, x: &Tensor, modulation: &Modulation) -> Result<Tensor> {
        let mut x = x.shallow_clone();
        for (i, ((weight, bias), (gate, shift))) in self.layers.iter().zip(modulation).enumerate() {
            x = shift.f_addcmul(&x.f_linear(weight, Some(bias))?, gate)?;
            if i + 1 < self.layers.len() {
                x = x.f_tanh()?;
            }
        }
        Ok(x)
    }

    /// dx/dt, and its divergence per row as `probe . (Jacobian probe)`, the tangent carried along by hand.
    fn slope_with_divergence(&self, x: &Tensor, probe: &Tensor, modulation: &Modulation) -> Result<(Tensor, Tensor)> {
        let (mut x, mut tangent) = (x.shallow_clone(), probe.shallow_clone());
        for (i, ((weight, bias), (gate, shift))) in self.layers.iter().zip(modulation).enumerate() {
            x = shift.f_addcmul(&x.f_linear(weight, Some(bias))?, gate)?;
            tangent = tangent.f_linear(weight, None::<&Tensor>)?.times(gate)?;
            if i + 1 < self.layers.len() {
                x = x.f_tanh()?;
                tangent = tangent.minus(&tangent.times(&x.f_square()?)?)?;
            }
        }
        let divergence = tangent.times(probe)?.f_sum_dim_intlist([2i64].as_slice(), true, x.kind())?;
        Ok((x, divergence))
    }

    fn run(&self, state: State, attributes: &Tensor, probe: Option<&Tensor>, way: Direction, solver: Solver) -> Result<State> {
        let context = self.context(attributes)?;
        // Both solvers ask for the same time several times in a row.
        let mut known: Option<(f64, Modulation)> = None;
        let slope = |time: f64, state: &State| -> Result<State> {
            let modulation = match known.take() {
                Some((t, modulation)) if t == time => modulation,
                _ => self.modulation(&context, time)?,
            };
            let out = match probe {
                None => vec![self.slope(&state[0], &modulation)?],
                Some(probe) => {
                    let (slope, divergence) = self.slope_with_divergence(&state[0], probe, &modulation)?;
                    vec![slope, divergence.f_neg()?]
                }
            };
            known = Some((time, modulation));
            Ok(out)
        };
        let span = if way == Direction::Forward { [0.0, self.end] } else { [self.end, 0.0] };
        match solver {
            Solver::Rk4 { steps } => rk4(slope, state, span, steps),
            Solver::Dopri5 { tolerance } => dopri5(slope, state, span, tolerance),
        }
    }
}
