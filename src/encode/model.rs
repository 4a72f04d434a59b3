//! The picture as a function of what is sent: identity latent, yaw, pitch, alpha.

use crate::error::{Error, Result};
use crate::net::ops::{from_vec, to_vec};
use crate::net::{Channel, Generator, Moved, PoseFlow, NUMBERS};
use crate::params::{FrameParams, WPlus, EXPRESSIONS};
use tch::{Device, Kind, Tensor};

/// Columns of a parameter table: yaw, pitch, then alpha. Roll is not part of the upright picture.
pub(super) const COLUMNS: i64 = NUMBERS;

/// Generator and flow with the channels V.
#[derive(Debug)]
pub(super) struct Model {
    pub generator: Generator,
    pub flow: PoseFlow,
    pub channels: Vec<Channel>,
    /// Adam's rate for the generator's weights.
    pub tuning_rate: f64,
    pub kind: Kind,
    /// Side of the pictures that are searched with: no more than the pack's analysis networks look at.
    pub sight: i64,
}

impl Model {
    /// `render_t = synthesis(A(LH_t) + scatter(alpha_t, V))`, moved along directions where there are any, for rows `[B, COLUMNS]`; `latent`
    /// `[1, rows, dim]`. The generator is stopped at [`Model::sight`] where it goes on beyond.
    pub(super) fn render(&self, latent: &Tensor, rows: &Tensor) -> Result<Tensor> {
        let moved = self.directed(&self.channels_moved(latent, rows)?, rows)?;
        self.generator.synthesis_to(self.sight, &moved.styles, moved.warp.as_ref(), self.kind)
    }

    /// The same pictures, and as they are at the end, `[B, 3, R, R]`.
    pub(super) fn render_whole(&self, latent: &Tensor, rows: &Tensor) -> Result<(Tensor, Tensor)> {
        let base = self.channels_moved(latent, rows)?;
        // Of the layers beyond, the whole picture teaches weights, directions, maps and displacements alone.
        let detached = base.iter().map(Tensor::f_detach).collect::<std::result::Result<Vec<_>, _>>()?;
        let late = self.directed(&detached, &rows.f_detach()?)?;
        let early = self.directed(&base, rows)?;
        let styles = early.styles.into_iter().zip(late.styles).zip(self.generator.layers());
        let styles = styles.map(|((early, late), layer)| if layer.side <= self.sight { early } else { late }).collect();
        let warp =
            if self.generator.layers()[self.generator.warped_before()].side <= self.sight { early.warp } else { late.warp };
        self.generator.synthesis_by(self.sight, &Moved { styles, warp }, self.kind)
    }

    /// Whether the generator goes on beyond [`Model::sight`].
    pub(super) fn goes_on(&self) -> bool {
        self.sight < self.generator.config().resolution
    }

    /// A(LH_t) + scatter(alpha_t, V).
    fn channels_moved(&self, latent: &Tensor, rows: &Tensor) -> Result<Vec<Tensor>> {
        let styles = self.generator.styles(&self.flow.posed(latent, &rows.f_slice(1, 0, 2, 1)?)?)?;
        self.generator.offset(&styles, &rows.f_slice(1, 2, COLUMNS, 1)?, &self.channels)
    }

    /// What the person's directions add and by how much they displace the picture, where there are any.
    fn directed(&self, styles: &[Tensor], rows: &Tensor) -> Result<Moved> {
        self.generator.directed(styles, &rows.f_slice(1, 0, 2, 1)?, &rows.f_slice(1, 2, COLUMNS, 1)?)
    }

    /// Where the networks live.
    pub(super) fn device(&self) -> Device {
        self.generator.device()
    }
}

/// Table rows from frame parameters.
pub(super) fn to_table(params: &[FrameParams], device: Device) -> Result<Tensor> {
    let mut values = Vec::with_capacity(params.len() * COLUMNS as usize);
    for p in params {
        values.extend_from_slice(&[p.yaw, p.pitch]);
        values.extend_from_slice(&p.alpha);
    }
    from_vec(&values, &[params.len() as i64, COLUMNS], device)
}

/// Frame parameters from table rows, with the given rolls.
pub(super) fn from_table(table: &Tensor, rolls: impl Iterator<Item = f32>) -> Result<Vec<FrameParams>> {
    let values = to_vec(table)?;
    if values.iter().any(|v| !v.is_finite()) {
        return Err(Error::Device("the search diverged: a parameter is not finite".into()));
    }
    let rows = values.chunks_exact(COLUMNS as usize).zip(rolls);
    Ok(rows
        .map(|(row, roll)| {
            let mut alpha = [0.0; EXPRESSIONS];
            alpha.copy_from_slice(&row[2..]);
            FrameParams { yaw: row[0], pitch: row[1], roll, alpha }
        })
        .collect())
}

/// A latent as a tensor `[1, rows, dim]`.
pub(super) fn latent_tensor(latent: &WPlus, device: Device) -> Result<Tensor> {
    from_vec(&latent.data, &[1, latent.rows as i64, latent.dim as i64], device)
}

/// The latent in a tensor `[1, rows, dim]`.
pub(super) fn latent_plain(latent: &Tensor) -> Result<WPlus> {
    let size = latent.size();
    Ok(WPlus { rows: size[1] as usize, dim: size[2] as usize, data: to_vec(latent)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ops::Calc;
    use crate::pack::fixture;

    #[test]
    fn what_is_drawn_beyond_the_sight_does_not_move_the_numbers() {
        let pack = fixture::pack(&fixture::Shape::beyond(), 1).unwrap();
        let model = Model {
            generator: pack.generator(Device::Cpu).unwrap().with_own(true).unwrap(),
            flow: pack.flow(Device::Cpu).unwrap(),
            channels: pack.config().channels.clone(),
            tuning_rate: 1.0,
            kind: Kind::Float,
            sight: 32,
        };
        let _ = model.generator.weights().require_grad(|_| true).unwrap();
        assert!(model.generator.layers()[model.generator.warped_before()].side > model.sight);
        let latent = latent_tensor(&fixture::identity(&pack, 1).unwrap().latent, Device::Cpu).unwrap();
        let rows = from_vec(&[0.1; COLUMNS as usize], &[1, COLUMNS], Device::Cpu).unwrap().set_requires_grad(true);
        let (early, whole) = model.render_whole(&latent, &rows).unwrap();
        let late = whole.average().unwrap();
        assert!(late.requires_grad(), "weights beyond the sight learn");
        late.backward();
        assert!(!rows.grad().defined());
        early.average().unwrap().backward();
        assert!(rows.grad().defined());
    }
}
