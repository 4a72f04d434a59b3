//! Where to compute and in what number format: choices as options, resolved to libtorch's device and kind.

use crate::error::{Error, Result};
use crate::net::ops::channels_last;
use std::str::FromStr;
use std::time::{Duration, Instant};
use tch::{no_grad, Cuda, Device, Kind, Tensor};

/// Device to compute on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first CUDA device if there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device of this number.
    Cuda(usize),
}

impl DeviceChoice {
    /// The device, checked to exist.
    ///
    /// # Errors
    /// Device, when the machine has no such device or libtorch was built without it.
    pub fn resolve(self) -> Result<Device> {
        match self {
            DeviceChoice::Cpu => Ok(Device::Cpu),
            DeviceChoice::Auto if Cuda::is_available() => Ok(Device::Cuda(0)),
            DeviceChoice::Auto => Ok(Device::Cpu),
            DeviceChoice::Cuda(i) => {
                let count = if Cuda::is_available() { Cuda::device_count() } else { 0 };
                if i as i64 >= count {
                    return Err(Error::Device(format!("no CUDA device {i}: libtorch sees {count} of them")));
                }
                Ok(Device::Cuda(i))
            }
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = Error;

    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(DeviceChoice::Auto),
            "cpu" => Ok(DeviceChoice::Cpu),
            "cuda" => Ok(DeviceChoice::Cuda(0)),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|n| n.parse().ok())
                .map(DeviceChoice::Cuda)
                .ok_or_else(|| Error::Misuse(format!("device \"{text}\": expected auto, cpu, cuda or cuda:N"))),
        }
    }
}

/// Number format of the convolutions; styles, demodulation and colours stay in single precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// On the CPU bfloat16 where a short trial shows it to be faster, else single; on CUDA half.
    #[default]
    Auto,
    /// 32 bit.
    Single,
    /// 16 bit with the range of single precision.
    BFloat16,
    /// 16 bit IEEE, on CUDA only.
    Half,
}

impl Precision {
    /// The kind of the convolutions on `device`.
    ///
    /// # Errors
    /// Misuse for half precision without CUDA; device, when libtorch fails in the trial.
    pub fn resolve(self, device: Device) -> Result<Kind> {
        match self {
            Precision::Single => Ok(Kind::Float),
            Precision::BFloat16 => Ok(Kind::BFloat16),
            Precision::Half if device.is_cuda() => Ok(Kind::Half),
            Precision::Half => Err(Error::Misuse("fp16 needs a CUDA device; the processor has fp32 and bf16".into())),
            Precision::Auto if device.is_cuda() => Ok(Kind::Half),
            Precision::Auto if device == Device::Cpu => faster_on_cpu(),
            Precision::Auto => Ok(Kind::Float),
        }
    }
}

impl FromStr for Precision {
    type Err = Error;

    /// `auto`, `fp32`, `bf16` or `fp16`.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Precision::Auto),
            "fp32" => Ok(Precision::Single),
            "bf16" => Ok(Precision::BFloat16),
            "fp16" => Ok(Precision::Half),
            _ => Err(Error::Misuse(format!("precision \"{text}\": expected auto, fp32, bf16 or fp16"))),
        }
    }
}

/// Rounds of the trial; the fastest of each kind counts, so that other work on the machine does not decide.
const ROUNDS: usize = 8;

/// Whether the processor has instructions for bfloat16. Those without emulate it, ten times slower than single precision and slower
/// still under emulators of processors: the trial itself would take its time there.
fn computes_bfloat16() -> bool {
    // Elsewhere the trial has to tell.
    #[cfg(not(target_arch = "x86_64"))]
    return true;
    #[cfg(target_arch = "x86_64")]
    std::arch::is_x86_feature_detected!("avx512bf16")
}

/// Times one middle layer of a generator in both kinds, in turn, about 20 ms in all.
fn faster_on_cpu() -> Result<Kind> {
    if !computes_bfloat16() {
        return Ok(Kind::Float);
    }
    no_grad(|| {
        let kinds = [Kind::Float, Kind::BFloat16];
        let mut layers = Vec::with_capacity(kinds.len());
        for kind in kinds {
            let x = channels_last(&Tensor::f_ones([1, 64, 64, 64], (kind, Device::Cpu))?)?;
            layers.push((x, Tensor::f_ones([64, 64, 3, 3], (kind, Device::Cpu))?, Duration::MAX));
        }
        for _ in 0..ROUNDS {
            for (x, kernel, best) in &mut layers {
                let start = Instant::now();
                let _ = x.f_conv2d(kernel, None::<&Tensor>, 1, 1, 1, 1)?;
                *best = (*best).min(start.elapsed());
            }
        }
        Ok(if layers[1].2 < layers[0].2 { kinds[1] } else { kinds[0] })
    })
}
