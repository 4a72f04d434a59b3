//! Starting weights, all from one seed of libtorch's generator.

use crate::error::Result;
use crate::net::facenet::FaceNetConfig;
use crate::net::ops::Calc;
use crate::net::{Channel, GeneratorConfig, RowFlowConfig, Weights};
use tch::{Device, Kind, Tensor};

fn normal(shape: &[i64], spread: f64, device: Device) -> Result<Tensor> {
    Tensor::f_randn(shape, (Kind::Float, device))?.scale(spread)
}

/// Equalised layers start at unit variance; the styles of the reserved expression channels start, and stay, at zero.
pub fn generator(cfg: &GeneratorConfig, channels: &[Channel], device: Device) -> Result<Weights> {
    let mut out = Weights::new();
    for (name, shape) in cfg.tensors() {
        let tensor = if name.starts_with("style.") && name.ends_with("weight") {
            normal(&shape, 100.0, device)?
        } else if name.ends_with("modulation.bias") {
            Tensor::f_ones(shape.as_slice(), (Kind::Float, device))?
        } else if name.ends_with("modulation.weight") {
            // Half the published spread: identities differ less at the start, which steadies regression.
            normal(&shape, 0.5, device)?
        } else if name.ends_with("bias") {
            Tensor::f_zeros(shape.as_slice(), (Kind::Float, device))?
        } else if name.contains("to_rgb") {
            // Colours start near grey: regression would spend its first thousand steps on forgetting random ones.
            normal(&shape, 0.1, device)?
        } else {
            normal(&shape, 1.0, device)?
        };
        out.insert(name, tensor);
    }
    silence(cfg, channels, &out)?;
    Ok(out)
}

/// Sets the affine rows of the reserved channels to zero, so that their style is alpha and nothing else.
pub fn silence(cfg: &GeneratorConfig, channels: &[Channel], weights: &Weights) -> Result<()> {
    let layers = cfg.layers();
    for c in channels {
        let name = &layers[c.layer].name;
        for part in ["weight", "bias"] {
            let mut row = weights.get(&format!("{name}.conv.modulation.{part}"))?.f_detach()?.f_select(0, c.channel)?;
            let _ = row.f_zero_()?;
        }
    }
    Ok(())
}

/// Puts tensors of an earlier pack in the place of those of the same name and shape; returns how many there were. Colour layers
/// that only the new pack has begin at zero, so that the grown generator first draws what the old one drew, enlarged.
pub fn adopt(fresh: &mut Weights, old: &Weights, device: Device) -> Result<usize> {
    let mut taken = Vec::new();
    for (name, tensor) in fresh.iter() {
        if let Ok(found) = old.shaped(name, &tensor.size()) {
            taken.push((name.clone(), found.f_detach()?.f_to_device(device)?.copy()));
        } else if name.starts_with("to_rgb") && name.ends_with(".conv.weight") && !old.has(name) {
            taken.push((name.clone(), tensor.f_zeros_like()?));
        }
    }
    let count = taken.iter().filter(|(name, _)| old.has(name)).count();
    taken.into_iter().for_each(|(name, tensor)| fresh.insert(name, tensor));
    Ok(count)
}

/// He initialisation.
pub fn facenet(cfg: &FaceNetConfig, device: Device) -> Result<Weights> {
    fan_in(&cfg.tensors(), 1.0, device)
}

/// Lets the encoder begin at `mean` `[style_dim]` with a tenth of its spread: a generator that knows its latents learns little from
/// others.
pub fn calm_encoder(net: &mut Weights, mean: &Tensor) -> Result<()> {
    net.insert("encoder.1.bias", mean.f_detach()?.copy());
    net.insert("encoder.1.weight", net.get("encoder.1.weight")?.scale(0.1)?);
    Ok(())
}

/// He initialisation with a small last layer: poses start near the identity latent.
pub fn flow(cfg: &RowFlowConfig, device: Device) -> Result<Weights> {
    fan_in(&cfg.tensors(), 0.5, device)
}

/// Normal weights of variance `gain^2` over the inputs of a unit; biases at zero.
pub(super) fn fan_in(tensors: &[(String, Vec<i64>)], gain: f64, device: Device) -> Result<Weights> {
    let mut out = Weights::new();
    for (name, shape) in tensors {
        let tensor = if name.ends_with("bias") {
            Tensor::f_zeros(shape.as_slice(), (Kind::Float, device))?
        } else {
            let inputs: i64 = shape[1..].iter().product();
            normal(shape, gain / (inputs as f64).sqrt(), device)?
        };
        out.insert(name.clone(), tensor);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ops::to_vec;

    #[test]
    fn adopted_tensors_are_those_of_the_same_name_and_shape_and_new_colours_begin_at_zero() {
        let plan = |resolution, channels: &[i64]| GeneratorConfig {
            resolution,
            style_dim: 8,
            mapping_layers: 1,
            channels: channels.into(),
        };
        tch::manual_seed(1);
        let old = generator(&plan(32, &[8, 8, 8, 8]), &[], Device::Cpu).unwrap();
        let mut fresh = generator(&plan(64, &[8, 8, 8, 4, 4]), &[], Device::Cpu).unwrap();
        let before = to_vec(fresh.get("convs.4.conv.weight").unwrap()).unwrap();
        let count = adopt(&mut fresh, &old, Device::Cpu).unwrap();
        let values = |w: &Weights, name: &str| to_vec(w.get(name).unwrap()).unwrap();
        assert_eq!(values(&fresh, "convs.2.conv.weight"), values(&old, "convs.2.conv.weight"));
        assert_eq!(values(&fresh, "convs.4.conv.weight"), before, "8 to 4 channels: another shape");
        assert!(values(&fresh, "to_rgbs.3.conv.weight").iter().all(|v| *v == 0.0));
        assert!((10..old.iter().count()).contains(&count), "{count}");
    }
}
