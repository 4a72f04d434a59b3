//! Pack and identity to the generator that renders this person: the pack's weights plus the tuned differences.
//!
//! Encoder and decoder both come through here, so that the parameters are searched with exactly the weights they are shown with.

use crate::bitstream::{Identity, DETAIL};
use crate::error::{Error, Result};
use crate::net::ops::from_vec;
use crate::net::{Generator, Weights};
use crate::pack::{short, Pack};
use std::collections::BTreeSet;
use tch::{no_grad, Device, Kind, Tensor};

/// Whether `identity` was made for `pack` and fits its generator.
///
/// # Errors
/// Misuse for another pack; malformed for a latent or resolution that the pack's generator does not have, or that is not finite.
pub fn check_identity(pack: &Pack, identity: &Identity) -> Result<()> {
    if identity.pack != pack.hash() {
        let (own, found) = (pack.short_hash(), short(&identity.pack));
        return Err(Error::Misuse(format!("the identity belongs to pack {found}, but pack {own} is loaded")));
    }
    let (cfg, latent) = (&pack.config().generator, &identity.latent);
    if i64::from(identity.resolution) != cfg.resolution {
        return Err(Error::Malformed(format!(
            "identity: resolution {}, its pack renders {}",
            identity.resolution, cfg.resolution
        )));
    }
    let want = (cfg.rows() as usize, cfg.style_dim as usize);
    if (latent.rows, latent.dim) != want || latent.data.len() != want.0 * want.1 {
        return Err(Error::Malformed(format!(
            "identity: latent of {} x {} ({} numbers), its pack has {} x {}",
            latent.rows,
            latent.dim,
            latent.data.len(),
            want.0,
            want.1
        )));
    }
    match latent.data.iter().chain(&identity.rest.to_array()).all(|v| v.is_finite()) {
        true => Ok(()),
        false => Err(Error::Malformed("identity: latent or rest state is not finite".into())),
    }
}

/// L_ID as a tensor `[1, rows, dim]`.
///
/// # Errors
/// As [`check_identity`]; device.
pub fn latent_tensor(pack: &Pack, identity: &Identity, device: Device) -> Result<Tensor> {
    check_identity(pack, identity)?;
    let latent = &identity.latent;
    from_vec(&latent.data, &[1, latent.rows as i64, latent.dim as i64], device)
}

/// The generator of `identity` on `device`: its styles are moved by [`Generator::offset`] and then by [`Generator::directed`]. Tensors without
/// a tuned difference share the pack's memory on the CPU.
///
/// # Errors
/// As [`check_identity`]; malformed for tuned tensors that the generator does not have; device.
pub fn tuned_generator(pack: &Pack, identity: &Identity, device: Device) -> Result<Generator> {
    check_identity(pack, identity)?;
    let generator = pack.generator(device)?;
    if !identity.is_tuned() {
        return Ok(generator);
    }
    let mut weights = Weights::new();
    weights.merge("", generator.weights())?;
    // What a person may have beyond the pack is added to zeros; what nobody sent is not there to be computed with.
    let bases = generator.with_own(true)?;
    let mut seen = BTreeSet::new();
    // The detail lies on the pictures, not in the generator.
    for tuned in identity.tuned.iter().filter(|tuned| tuned.name != DETAIL) {
        let shape: Vec<i64> = tuned.shape.iter().map(|d| i64::try_from(*d).unwrap_or(i64::MAX)).collect();
        let base = bases.weights().shaped(&tuned.name, &shape)?;
        if !seen.insert(tuned.name.as_str()) {
            return Err(Error::Malformed(format!("identity: tensor {} is tuned twice", tuned.name)));
        }
        let difference = from_vec(&tuned.dequantise(), &shape, device)?;
        let sum = no_grad(|| base.f_add(&difference))?;
        if f64::try_from(&sum.f_isfinite()?.f_all()?.f_to_kind(Kind::Double)?)? == 0.0 {
            return Err(Error::Malformed(format!("identity: tuned tensor {} is not finite", tuned.name)));
        }
        weights.insert(tuned.name.clone(), sum);
    }
    Generator::new(pack.config().generator.clone(), weights)
}
