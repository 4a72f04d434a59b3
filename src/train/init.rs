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

/// He initialisation.
pub fn facenet(cfg: &FaceNetConfig, device: Device) -> Result<Weights> {
    fan_in(&cfg.tensors(), 1.0, device)
}

/// He initialisation with a small last layer: poses start near the identity latent.
pub fn flow(cfg: &RowFlowConfig, device: Device) -> Result<Weights> {
    fan_in(&cfg.tensors(), 0.5, device)
}

fn fan_in(tensors: &[(String, Vec<i64>)], gain: f64, device: Device) -> Result<Weights> {
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
