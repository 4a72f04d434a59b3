//! The published networks without any fixture: gradients into the pictures, half precision, and weights or pictures that do not fit.
//! Weights come from the rule of [`effigy::pack::fixture`].

#![cfg(feature = "analysis")]

use effigy::net::arcface::{ArcFace, ArcFaceConfig};
use effigy::net::bisenet::{BiSeNet, BiSeNetConfig};
use effigy::net::e4e::{E4e, E4eConfig, Heads};
use effigy::net::irse::TrunkMode;
use effigy::net::lpips::{Lpips, LpipsConfig, LpipsNet};
use effigy::net::ops::from_vec;
use effigy::net::styleflow::{StyleFlow, StyleFlowConfig};
use effigy::net::Weights;
use effigy::pack::fixture::rule;
use effigy::{Error, Result};
use tch::{no_grad, Device, Kind, Tensor};

/// Weights under which signals keep their size: kernels by their inputs, norms near 1, heads of LPIPS positive.
fn weights(tensors: &[(String, Vec<i64>)]) -> Weights {
    let mut out = Weights::new();
    for (name, dims) in tensors {
        let inputs = dims.iter().skip(1).product::<i64>() as f64;
        let (scale, offset) = match name.rsplit('.').next().unwrap() {
            "weight" if name.starts_with("lin") => (0.05, 0.1),
            "weight" if dims.len() > 1 => ((2.0 / inputs).sqrt(), 0.0),
            "weight" => (0.1, 0.7),
            "running_var" => (0.2, 1.0),
            "sqrt_end_time" => (0.0, 1.0),
            _ => (0.1, 0.0),
        };
        let count = dims.iter().product::<i64>() as usize;
        out.insert(name.clone(), from_vec(&rule(name, count, scale, offset), dims, Device::Cpu).unwrap());
    }
    out
}

/// A picture of blocks with some grain, in about [-1, 1].
fn picture(seed: &str, side: i64) -> Tensor {
    let part = |name: &str, side: i64, scale: f64| {
        let count = (3 * side * side) as usize;
        from_vec(&rule(&format!("published/{seed}/{name}"), count, scale, 0.0), &[1, 3, side, side], Device::Cpu).unwrap()
    };
    part("coarse", side / 8, 0.4).upsample_nearest2d([side, side], None, None) + part("fine", side, 0.1)
}

fn lpips(net: LpipsNet) -> Lpips {
    let config = LpipsConfig { net };
    let weights = weights(&config.tensors());
    Lpips::new(config, weights).unwrap()
}

fn arcface(mode: TrunkMode) -> ArcFace {
    let config = ArcFaceConfig { mode, ..ArcFaceConfig::default() };
    let weights = weights(&config.tensors());
    ArcFace::new(config, weights).unwrap()
}

fn bisenet() -> BiSeNet {
    let config = BiSeNetConfig { n_classes: 5 };
    let weights = weights(&config.tensors());
    BiSeNet::new(config, weights).unwrap()
}

/// An encoder of one row that reads the last map: the trunk and one head.
fn encoder() -> E4e {
    let config = E4eConfig { rows: 1, heads: Heads::LastOffsets, ..E4eConfig::published(32) };
    let weights = weights(&config.tensors());
    E4e::new(config, weights).unwrap()
}

/// Numbers times fixed weights: a loss that no symmetry makes flat.
fn loss(x: &Tensor) -> Tensor {
    let weights = from_vec(&rule("published/loss", x.numel(), 1.0, 0.0), &x.size(), Device::Cpu).unwrap();
    (x.to_kind(Kind::Double) * weights).sum(Kind::Double)
}

/// Along the gradient the slope is the gradient's length: compared with a central difference that moves pixels by about `step`.
fn assert_gradient(what: &str, image: &Tensor, step: f64, f: impl Fn(&Tensor) -> Tensor) {
    let leaf = image.copy().set_requires_grad(true);
    f(&leaf).backward();
    let gradient = leaf.grad();
    let length = gradient.square().sum(Kind::Double).sqrt().double_value(&[]);
    assert!(length.is_finite() && length > 0.0, "{what}: gradient of length {length}");
    let reach = step * (image.numel() as f64).sqrt();
    let value = |offset: f64| no_grad(|| f(&(image + &gradient * (offset / length)))).double_value(&[]);
    let numeric = (value(reach) - value(-reach)) / (2.0 * reach);
    // Single precision and the kinks of the activations leave a few per cent.
    assert!((numeric - length).abs() < 0.05 * length, "{what}: gradient {length:.4}, difference {numeric:.4}");
}

#[test]
fn gradients_of_every_network_reach_the_picture() {
    let (arcface, bisenet, encoder) = (arcface(TrunkMode::IrSe), bisenet(), encoder());
    assert_gradient("arcface", &picture("a", 128), 1e-4, |x| loss(&arcface.embed(x, Kind::Float).unwrap()));
    assert_gradient("bisenet", &picture("b", 64), 1e-4, |x| loss(&bisenet.logits(x, Kind::Float).unwrap()));
    assert_gradient("e4e", &picture("c", 64), 1e-4, |x| loss(&encoder.encode(x, Kind::Float).unwrap()));
}

#[test]
fn gradients_of_distances_reach_the_picture() {
    for net in [LpipsNet::Vgg, LpipsNet::Alex, LpipsNet::Squeeze] {
        let network = lpips(net);
        let target = no_grad(|| network.features(&picture("target", 64), Kind::Float)).unwrap();
        let weight = from_vec(&rule("published/weight", 64 * 64, 0.5, 1.0), &[1, 1, 64, 64], Device::Cpu).unwrap();
        assert_gradient(&format!("{net:?}"), &picture("d", 64), 1e-4, |x| {
            network.distance(&network.features(x, Kind::Float).unwrap(), &target, Some(&weight)).unwrap().sum(Kind::Double)
        });
    }
}

#[test]
fn places_without_any_active_channel_have_distance_zero_and_finite_gradients() {
    let config = LpipsConfig { net: LpipsNet::Alex };
    let mut weights = weights(&config.tensors());
    // Far below zero before every ReLU of the first layer.
    weights.insert("features.0.bias", Tensor::full([64], -1000.0, (Kind::Float, Device::Cpu)));
    let network = Lpips::new(config, weights).unwrap();
    let image = picture("dark", 64).set_requires_grad(true);
    let target = no_grad(|| network.features(&picture("target", 64), Kind::Float)).unwrap();
    let distance = network.distance(&network.features(&image, Kind::Float).unwrap(), &target, None).unwrap();
    assert_eq!(distance.double_value(&[0]), 0.0);
    distance.sum(Kind::Float).backward();
    assert!(bool::try_from(image.grad().isfinite().all()).unwrap());
}

#[test]
fn equal_pictures_have_distance_zero_and_batches_keep_apart() {
    let network = lpips(LpipsNet::Squeeze);
    let both = Tensor::cat(&[picture("one", 64), picture("two", 64)], 0);
    let features = |x: &Tensor| no_grad(|| network.features(x, Kind::Float)).unwrap();
    let found = network.distance(&features(&both), &features(&picture("one", 64)), None).unwrap();
    assert_eq!(found.size(), [2]);
    assert!(found.double_value(&[0]) < 1e-6 && found.double_value(&[1]) > 0.01, "{found:?}");
}

/// Largest deviation of `brief` relative to the largest number of `single`.
fn deviation(single: &Tensor, brief: &Tensor) -> f64 {
    assert_eq!(brief.kind(), Kind::Float);
    (single - brief).abs().max().double_value(&[]) / single.abs().max().double_value(&[])
}

#[test]
fn half_precision_stays_near_single_precision() {
    let (arcface, bisenet, encoder, vgg) = (arcface(TrunkMode::Ir), bisenet(), encoder(), lpips(LpipsNet::Vgg));
    let (image, other) = (picture("e", 64), picture("f", 64));
    let both = |f: &dyn Fn(Kind) -> Tensor| no_grad(|| deviation(&f(Kind::Float), &f(Kind::BFloat16)));
    let distance = |kind| {
        let features = |x: &Tensor| vgg.features(x, kind).unwrap();
        vgg.distance(&features(&image), &features(&other), None).unwrap()
    };
    let found = [
        ("arcface", both(&|kind| arcface.embed(&image, kind).unwrap())),
        ("bisenet", both(&|kind| bisenet.logits(&image, kind).unwrap())),
        ("e4e", both(&|kind| encoder.encode(&image, kind).unwrap())),
        ("lpips", both(&distance)),
    ];
    println!("bfloat16 against single precision: {found:.3?}");
    // bfloat16 rounds by 1/256, dozens of times in a row with random signs.
    for (what, far) in found {
        assert!(far > 0.0 && far < 0.1, "{what} is off by {far:.3}");
    }
}

/// A network's tensors and its constructor.
type Case = (&'static str, Vec<(String, Vec<i64>)>, fn(Weights) -> Result<()>);

fn cases() -> Vec<Case> {
    vec![
        ("e4e", one_row().tensors(), |w| E4e::new(one_row(), w).map(drop)),
        ("arcface", ArcFaceConfig::default().tensors(), |w| ArcFace::new(ArcFaceConfig::default(), w).map(drop)),
        ("lpips", alex().tensors(), |w| Lpips::new(alex(), w).map(drop)),
        ("bisenet", few_classes().tensors(), |w| BiSeNet::new(few_classes(), w).map(drop)),
        ("styleflow", StyleFlowConfig::default().tensors(), |w| StyleFlow::new(StyleFlowConfig::default(), w).map(drop)),
    ]
}

fn one_row() -> E4eConfig {
    E4eConfig { rows: 1, ..E4eConfig::published(32) }
}

fn alex() -> LpipsConfig {
    LpipsConfig { net: LpipsNet::Alex }
}

fn few_classes() -> BiSeNetConfig {
    BiSeNetConfig { n_classes: 2 }
}

#[test]
fn missing_and_misshapen_tensors_are_malformed_and_named() {
    for (what, tensors, build) in cases() {
        for index in [0, tensors.len() / 2, tensors.len() - 1] {
            let name = &tensors[index].0;
            // Zeros of the right shape: what a tensor holds does not matter here.
            let blank = |skip: bool| {
                let mut out = Weights::new();
                for (i, (key, dims)) in tensors.iter().enumerate() {
                    match (i == index, skip) {
                        (true, true) => {}
                        (true, false) => out.insert(key.clone(), Tensor::zeros([2, 3], (Kind::Float, Device::Cpu))),
                        _ => out.insert(key.clone(), Tensor::zeros(dims.as_slice(), (Kind::Float, Device::Cpu))),
                    }
                }
                out
            };
            for skip in [true, false] {
                let found = build(blank(skip));
                let text = format!("{found:?}");
                assert!(matches!(found, Err(Error::Malformed(_))) && text.contains(name.as_str()), "{what}: {text}");
            }
        }
    }
}

#[test]
fn shapes_out_of_range_are_refused_before_anything_is_made() {
    let e4e = |change: fn(&mut E4eConfig)| {
        let mut config = E4eConfig::published(1024);
        change(&mut config);
        config.check()
    };
    assert!(e4e(|_| ()).is_ok());
    assert!(matches!(e4e(|c| c.rows = 0), Err(Error::Malformed(_))));
    assert!(matches!(e4e(|c| c.rows = i64::MAX), Err(Error::Malformed(_))));
    assert!(matches!(e4e(|c| c.input_channels = 4), Err(Error::Malformed(_))));
    assert!(matches!(e4e(|c| c.layers = 100), Err(Error::Unsupported(_))));
    let odd = ArcFaceConfig { num_layers: 34, ..ArcFaceConfig::default() };
    assert!(matches!(odd.check(), Err(Error::Unsupported(_))));
    let large = ArcFaceConfig { input_size: i64::MAX, ..ArcFaceConfig::default() };
    assert!(matches!(large.check(), Err(Error::Unsupported(_))));
    assert!(matches!(BiSeNetConfig { n_classes: -1 }.check(), Err(Error::Malformed(_))));
    for (dims, num_blocks) in [(vec![], 1), (vec![512, 0], 1), (vec![512], 0), (vec![i64::MAX], 1), (vec![512], i64::MAX)] {
        let config = StyleFlowConfig { dims, num_blocks, ..StyleFlowConfig::default() };
        assert!(matches!(config.check(), Err(Error::Malformed(_))), "{config:?}");
    }
}

#[test]
fn pictures_and_latents_of_another_shape_are_misuse() {
    let misuse = |found: Result<Tensor>| assert!(matches!(found, Err(Error::Misuse(_))), "{found:?}");
    let zeros = |dims: &[i64]| Tensor::zeros(dims, (Kind::Float, Device::Cpu));
    let (encoder, network) = (encoder(), lpips(LpipsNet::Alex));
    misuse(encoder.codes(&picture("g", 128), Kind::Float));
    misuse(encoder.refine(&picture("g", 64), &picture("g", 64), Kind::Float));
    misuse(encoder.encode(&zeros(&[3, 64]), Kind::Float));
    misuse(arcface(TrunkMode::Ir).embed(&zeros(&[1, 4, 64, 64]), Kind::Float));
    misuse(bisenet().logits(&zeros(&[1, 3, 16, 64]), Kind::Float));
    misuse(network.features(&zeros(&[1, 3, 64, 31]), Kind::Float).map(|mut f| f.remove(0)));
    misuse(network.distance(&[], &[], None));
    let config = StyleFlowConfig { dims: vec![16], ..StyleFlowConfig::default() };
    let flow = StyleFlow::new(config.clone(), weights(&config.tensors())).unwrap();
    misuse(flow.posed(&zeros(&[1, 3, 512]), &zeros(&[1, 2])));
    misuse(flow.posed(&zeros(&[2, 18, 512]), &zeros(&[3, 2])));
    misuse(flow.posed(&zeros(&[1, 18, 256]), &zeros(&[3, 2])));
    let other = StyleFlowConfig { zdim: 9, ..config };
    let flow = StyleFlow::new(other.clone(), weights(&other.tensors())).unwrap();
    assert!(matches!(flow.posed(&zeros(&[1, 18, 512]), &zeros(&[1, 2])), Err(Error::Unsupported(_))));
}
