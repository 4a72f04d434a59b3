//! One 1024 x 1024 picture of the published generator's shape (rule-made weights): seconds, memory, precision, form of upsampling.
//!
//! `cargo bench --no-default-features -F decode --bench render`. On a machine with CUDA, single and half precision at batch 1 and 8 follow.
//! Ratios are against single precision in the same run; peak memory is that of the whole process so far.

use effigy::net::ops::{from_vec, to_vec};
use effigy::net::{Frozen, Generator, GeneratorConfig, Upsampling, Weights};
use effigy::pack::fixture::rule;
use std::time::Instant;
use tch::{no_grad, Device, Kind, Tensor};

/// The published generator with weights that keep the picture in [-1, 1].
fn generator(device: Device) -> Generator {
    let config = GeneratorConfig::published(1024, 512, 8, 2);
    let mut weights = Weights::new();
    for (name, shape) in config.tensors() {
        let (scale, offset) = match name.as_str() {
            n if n.starts_with("style.") && n.ends_with("weight") => (100.0, 0.0),
            n if n.ends_with("modulation.bias") => (0.1, 1.0),
            n if n.contains("to_rgb") && n.ends_with("conv.weight") => (0.1, 0.0),
            n if n.ends_with("bias") => (0.1, 0.0),
            _ => (1.0, 0.0),
        };
        let values = rule(&format!("bench/{name}"), shape.iter().product::<i64>() as usize, scale, offset);
        weights.insert(name, from_vec(&values, &shape, device).expect("a rule-made tensor"));
    }
    Generator::new(config, weights).expect("all tensors are there")
}

fn styles(generator: &Generator, batch: i64) -> Vec<Tensor> {
    let z = rule("bench/z", 512, 1.0, 0.0);
    let z = from_vec(&z, &[1, 512], generator.device()).expect("512 numbers").repeat([batch, 1]);
    let w = generator.broadcast(&generator.map(&z).expect("mapping"), None).expect("W+");
    generator.styles(&w).expect("styles")
}

/// Seconds of the fastest of `runs` renders, and the last picture.
fn render(frozen: &Frozen, styles: &[Tensor], runs: usize) -> (f64, Tensor) {
    let mut best = f64::MAX;
    let mut image = frozen.synthesis(styles).expect("a picture");
    for _ in 0..runs {
        let start = Instant::now();
        image = frozen.synthesis(styles).expect("a picture");
        // Reading a value waits for the device.
        let _ = to_vec(&image.mean(Kind::Float)).expect("a number");
        best = best.min(start.elapsed().as_secs_f64());
    }
    (best, image)
}

fn psnr(a: &Tensor, b: &Tensor) -> f64 {
    let error = (a.clamp(-1.0, 1.0) - b.clamp(-1.0, 1.0)).square().mean(Kind::Float).double_value(&[]);
    10.0 * (4.0 / error).log10()
}

/// Largest memory of the process so far, GiB; 0 where the system does not tell.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / (1 << 20) as f64
}

fn processor() {
    let generator = generator(Device::Cpu);
    let styles = styles(&generator, 1);
    println!("1024 x 1024, one picture on {} threads", tch::get_num_threads());
    println!("{:<6} {:<12} {:>9} {:>7} {:>14} {:>10}", "kind", "upsampling", "seconds", "ratio", "PSNR to fp32", "peak GiB");
    let mut reference: Option<(f64, Tensor)> = None;
    for (name, kind, form) in [
        ("fp32", Kind::Float, Upsampling::Transposed),
        ("fp32", Kind::Float, Upsampling::Dense),
        ("bf16", Kind::BFloat16, Upsampling::Transposed),
        ("bf16", Kind::BFloat16, Upsampling::Dense),
    ] {
        let (seconds, image) = render(&Frozen::with(&generator, kind, form).expect("prepared"), &styles, 3);
        let (base, quality) = match &reference {
            Some((base, first)) => (*base, format!("{:.1} dB", psnr(first, &image))),
            None => (seconds, "-".into()),
        };
        println!("{name:<6} {:<12} {seconds:>9.2} {:>7.2} {quality:>14} {:>10.2}", format!("{form:?}"), base / seconds, peak());
        reference.get_or_insert((seconds, image));
    }
}

fn graphics() {
    let generator = generator(Device::Cuda(0));
    println!("CUDA: frames per second");
    println!("{:<6} {:<12} {:>8} {:>8} {:>14}", "kind", "upsampling", "batch 1", "batch 8", "PSNR to fp32");
    let mut reference: Option<Tensor> = None;
    for (name, kind, form) in [
        ("fp32", Kind::Float, Upsampling::Transposed),
        ("fp32", Kind::Float, Upsampling::Dense),
        ("fp16", Kind::Half, Upsampling::Transposed),
        ("fp16", Kind::Half, Upsampling::Dense),
    ] {
        let frozen = Frozen::with(&generator, kind, form).expect("prepared");
        let (one, image) = render(&frozen, &styles(&generator, 1), 20);
        let (eight, _) = render(&frozen, &styles(&generator, 8), 10);
        let quality = reference.as_ref().map_or("-".into(), |first| format!("{:.1} dB", psnr(first, &image)));
        println!("{name:<6} {:<12} {:>8.1} {:>8.1} {quality:>14}", format!("{form:?}"), 1.0 / one, 8.0 / eight);
        reference.get_or_insert(image);
    }
}

fn main() {
    no_grad(|| {
        processor();
        if tch::Cuda::is_available() {
            graphics();
        }
    });
}
