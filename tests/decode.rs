//! Packs and the decoder over them, on rule-made networks: what loads, what is refused and why, and what is rendered.

#![cfg(feature = "decode")]

use effigy::bitstream::{Identity, StepRule, TunedTensor};
use effigy::decode::{tuned_generator, DecodeOptions, Decoder, DeviceChoice, GridOptions, PosedGrid, Precision};
use effigy::net::ops::{from_vec, to_frames, to_vec};
use effigy::net::Moved;
use effigy::pack::{fixture, Pack, PackConfig};
use effigy::params::{FrameParams, EXPRESSIONS};
use effigy::Error;
use safetensors::SafeTensors;
use std::collections::HashMap;
use tch::{no_grad, Device, Kind};

fn options() -> DecodeOptions {
    DecodeOptions { device: DeviceChoice::Cpu, precision: Precision::Single, ..DecodeOptions::default() }
}

fn params(i: usize) -> FrameParams {
    let mut p = FrameParams { yaw: 9.3 * (i as f32).sin(), pitch: 6.1 * (1.7 * i as f32).cos(), ..FrameParams::default() };
    for (k, a) in p.alpha.iter_mut().enumerate() {
        *a = 0.5 * (0.3 * i as f32 + k as f32).sin();
    }
    p
}

fn decoder(pack: &Pack, identity: &Identity) -> Decoder {
    Decoder::new(pack, identity, &options()).unwrap()
}

/// What the decoder should show, by the differentiable networks and without the grid.
fn direct(pack: &Pack, identity: &Identity, p: &FrameParams) -> effigy::frame::Frame {
    no_grad(|| {
        let generator = tuned_generator(pack, identity, Device::Cpu).unwrap();
        let l = &identity.latent;
        let latent = from_vec(&l.data, &[1, l.rows as i64, l.dim as i64], Device::Cpu).unwrap();
        let angles = from_vec(&[p.yaw, p.pitch], &[1, 2], Device::Cpu).unwrap();
        let posed = pack.flow(Device::Cpu).unwrap().posed(&latent, &angles).unwrap();
        let alpha = from_vec(&p.alpha, &[1, EXPRESSIONS as i64], Device::Cpu).unwrap();
        let styles = generator.offset(&generator.styles(&posed).unwrap(), &alpha, &pack.config().channels).unwrap();
        let Moved { styles, warp } = generator.directed(&styles, &angles, &alpha).unwrap();
        let side = generator.config().resolution;
        to_frames(&generator.synthesis_to(side, &styles, warp.as_ref(), Kind::Float).unwrap()).unwrap().remove(0)
    })
}

fn furthest(a: &effigy::frame::Frame, b: &effigy::frame::Frame) -> u8 {
    a.data.iter().zip(&b.data).map(|(x, y)| x.abs_diff(*y)).max().unwrap()
}

#[test]
fn the_decoder_renders_what_the_networks_render() {
    let pack = fixture::tiny(1).unwrap();
    let identity = fixture::identity(&pack, 1).unwrap();
    let mut decoder = decoder(&pack, &identity);
    for i in 0..6 {
        let p = params(i);
        // 1 of 255: the grid's interpolation and rounding.
        assert!(furthest(&decoder.render(&p).unwrap(), &direct(&pack, &identity, &p)) <= 1, "frame {i}");
    }
}

/// The fixture's identity with some tensors of its own, as a receiver has it.
fn with_own(pack: &Pack, names: &[&str], step: f32) -> Identity {
    let mut identity = fixture::identity(pack, 1).unwrap();
    identity.tuned.extend(names.iter().map(|name| fixture::own(pack, name, step).unwrap()));
    Identity::from_bytes(&identity.to_bytes().unwrap()).unwrap()
}

#[test]
fn an_identity_with_own_moves_along_them() {
    let pack = fixture::tiny(1).unwrap();
    // One layer that the pose moves, one without channels, one of colours.
    let identity = with_own(&pack, &["conv1.directions", "convs.5.directions", "to_rgbs.2.directions"], 0.02);
    let (mut with, mut without) = (decoder(&pack, &identity), decoder(&pack, &fixture::identity(&pack, 1).unwrap()));
    for i in 0..4 {
        let p = params(i);
        let picture = with.render(&p).unwrap();
        assert!(furthest(&picture, &direct(&pack, &identity, &p)) <= 1, "frame {i}");
        assert!(furthest(&picture, &without.render(&p).unwrap()) > 8, "frame {i}");
    }
    // Directions end where the pose does.
    let turned = |yaw: f32| FrameParams { yaw, ..FrameParams::default() };
    assert_eq!(with.render(&turned(60_000.0)).unwrap(), with.render(&turned(90.0)).unwrap());
    assert!(
        !tuned_generator(&pack, &identity, Device::Cpu).unwrap().weights().has("conv1.map"),
        "what nobody sent is not computed with"
    );
    let rest = FrameParams::default();
    assert!(furthest(&with.render(&rest).unwrap(), &without.render(&rest).unwrap()) <= 1);
}

#[test]
fn an_identity_with_maps_adds_them_place_by_place_and_displaces_them() {
    let pack = fixture::pack(&fixture::Shape::beyond(), 1).unwrap();
    let plain = fixture::identity(&pack, 1).unwrap();
    let rest = FrameParams::default();
    // A layer at which the picture is displaced, and two of maps, before that and after.
    for names in [&["convs.6.warp"][..], &["conv1.map"], &["convs.6.map"], &["convs.6.warp", "conv1.map", "convs.6.map"]] {
        let identity = with_own(&pack, names, 0.05);
        let (mut with, mut without) = (decoder(&pack, &identity), decoder(&pack, &plain));
        let same = furthest(&with.render(&rest).unwrap(), &without.render(&rest).unwrap()) <= 1;
        assert_eq!(same, names == ["convs.6.warp"], "{names:?} at rest");
        let batch: Vec<FrameParams> = (0..3).map(params).collect();
        for (p, picture) in batch.iter().zip(with.render_batch(&batch).unwrap()) {
            assert!(furthest(&picture, &direct(&pack, &identity, p)) <= 1, "{names:?}");
            assert!(furthest(&picture, &without.render(p).unwrap()) > 4, "{names:?}");
        }
    }
}

#[test]
fn directions_of_another_shape_or_layer_are_refused() {
    let pack = fixture::tiny(1).unwrap();
    let mut identity = fixture::identity(&pack, 1).unwrap();
    let good = fixture::own(&pack, "conv1.directions", 0.02).unwrap();
    let broken = TunedTensor { shape: vec![good.shape[1], good.shape[0]], ..good.clone() };
    let stray = TunedTensor { name: "conv9.directions".into(), ..good };
    let colours = TunedTensor { name: "to_rgb1.map".into(), ..fixture::own(&pack, "conv1.map", 0.02).unwrap() };
    for tensor in [broken, stray, colours] {
        let name = tensor.name.clone();
        identity.tuned.push(tensor);
        let error = Decoder::new(&pack, &identity, &options()).unwrap_err();
        assert!(matches!(error, Error::Malformed(_)) && error.to_string().contains(&name), "{error}");
        identity.tuned.pop();
    }
}

#[test]
fn a_batch_gives_the_pictures_of_single_frames() {
    let pack = fixture::tiny(1).unwrap();
    let identity = fixture::identity(&pack, 1).unwrap();
    let mut decoder = decoder(&pack, &identity);
    let all: Vec<FrameParams> = (0..11).map(params).collect();
    let batch = decoder.render_batch(&all).unwrap();
    assert_eq!(batch.len(), 11);
    for (p, frame) in all.iter().zip(&batch) {
        assert!(furthest(&decoder.render(p).unwrap(), frame) <= 1);
    }
    assert!(decoder.render_batch(&[]).unwrap().is_empty());
}

#[test]
fn every_parameter_but_roll_changes_the_picture() {
    let pack = fixture::tiny(1).unwrap();
    let identity = fixture::identity(&pack, 1).unwrap();
    let mut decoder = decoder(&pack, &identity);
    let rest = decoder.render(&FrameParams::default()).unwrap();
    for i in 0..effigy::params::PARAMS {
        let mut numbers = FrameParams::default().to_array();
        numbers[i] = if i < 3 { 20.0 } else { 1.0 };
        let moved = decoder.render(&FrameParams::from_array(&numbers)).unwrap();
        assert_eq!(moved == rest, i == 2, "parameter {i}");
    }
}

#[test]
fn the_pose_grid_follows_the_flow() {
    let pack = fixture::pack(&fixture::Shape::full(), 2).unwrap();
    let identity = fixture::identity(&pack, 2).unwrap();
    let l = &identity.latent;
    let latent = from_vec(&l.data, &[1, l.rows as i64, l.dim as i64], Device::Cpu).unwrap();
    let flow = pack.flow(Device::Cpu).unwrap();
    let mut grid = PosedGrid::new(pack.flow(Device::Cpu).unwrap(), latent.shallow_clone(), &GridOptions::default()).unwrap();
    let (low, high) = (pack.config().ranges[0], pack.config().ranges[1]);
    let mut all = Vec::new();
    for i in 0..40 {
        for j in 0..40 {
            let at = |r: [f32; 2], k: i32| r[0] + (r[1] - r[0]) * (k as f32 + 0.37) / 40.0;
            all.push(FrameParams { yaw: at(low, i), pitch: at(high, j), ..FrameParams::default() });
        }
    }
    let angles: Vec<f32> = all.iter().flat_map(|p| [p.yaw, p.pitch]).collect();
    let angles = from_vec(&angles, &[all.len() as i64, 2], Device::Cpu).unwrap();
    let exact = no_grad(|| flow.posed(&latent, &angles).unwrap().slice(1, 0, 4, 1));
    let error = (grid.rows(&all).unwrap() - &exact).square().mean(Kind::Float).sqrt().double_value(&[]);
    let spread = latent.std(true).double_value(&[]);
    let moved = (exact - latent.slice(1, 0, 4, 1)).square().mean(Kind::Float).sqrt().double_value(&[]);
    println!("grid: RMS error {error:.2e}, spread of the latent {spread:.2}, RMS motion by the pose {moved:.2}");
    assert!(moved > 0.05 * spread, "the fixture's pose moves nothing");
    assert!(error < 1e-3 * spread, "RMS error {error:.2e} of a spread of {spread:.2}");
}

#[test]
fn an_identity_of_another_pack_is_refused_naming_both() {
    let (pack, other) = (fixture::tiny(1).unwrap(), fixture::tiny(2).unwrap());
    let identity = fixture::identity(&other, 1).unwrap();
    let error = Decoder::new(&pack, &identity, &options()).unwrap_err();
    assert!(matches!(error, Error::Misuse(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains(&pack.short_hash()) && text.contains(&other.short_hash()), "{text}");
}

#[test]
fn an_identity_that_does_not_fit_its_pack_is_malformed() {
    let pack = fixture::tiny(1).unwrap();
    let good = fixture::identity(&pack, 1).unwrap();
    let refused = |change: &dyn Fn(&mut Identity)| {
        let mut identity = good.clone();
        change(&mut identity);
        let error = Decoder::new(&pack, &identity, &options()).unwrap_err();
        assert!(matches!(error, Error::Malformed(_)), "{error}");
    };
    refused(&|i| i.resolution = 64);
    refused(&|i| i.latent.rows -= 1);
    refused(&|i| i.latent.data.truncate(3));
    refused(&|i| i.latent.data[5] = f32::NAN);
    let tuned = |name: &str, shape: &[usize]| {
        let values = vec![0.1; shape.iter().product()];
        TunedTensor::quantise(name, shape, &values, StepRule::Tensor(0.01)).unwrap()
    };
    refused(&|i| i.tuned = vec![tuned("no.such.tensor", &[4])]);
    refused(&|i| i.tuned = vec![tuned("conv1.activate.bias", &[4])]);
    refused(&|i| i.tuned = vec![tuned("conv1.activate.bias", &[16]), tuned("conv1.activate.bias", &[16])]);
}

#[test]
fn tuned_differences_are_added_and_leave_the_pack_alone() {
    let pack = fixture::tiny(1).unwrap();
    let mut identity = fixture::identity(&pack, 1).unwrap();
    let name = "convs.3.activate.bias";
    let before = to_vec(pack.generator(Device::Cpu).unwrap().weights().get(name).unwrap()).unwrap();
    let difference: Vec<f32> = (0..before.len()).map(|i| 0.05 * i as f32).collect();
    let tuned = TunedTensor::quantise(name, &[before.len()], &difference, StepRule::Tensor(0.01)).unwrap();
    let sent = tuned.dequantise();
    identity.tuned = vec![tuned];
    let generator = tuned_generator(&pack, &identity, Device::Cpu).unwrap();
    let after = to_vec(generator.weights().get(name).unwrap()).unwrap();
    for ((a, b), d) in after.iter().zip(&before).zip(&sent) {
        assert_eq!(*a, b + d);
    }
    assert_eq!(to_vec(pack.generator(Device::Cpu).unwrap().weights().get(name).unwrap()).unwrap(), before);
    let plain = fixture::identity(&pack, 1).unwrap();
    let p = params(2);
    assert_ne!(decoder(&pack, &identity).render(&p).unwrap(), decoder(&pack, &plain).render(&p).unwrap());
}

#[test]
fn swapping_the_identity_equals_a_fresh_decoder_and_failure_keeps_the_old_one() {
    let pack = fixture::tiny(1).unwrap();
    let (a, b) = (fixture::identity(&pack, 1).unwrap(), fixture::identity(&pack, 2).unwrap());
    let foreign = fixture::identity(&fixture::tiny(2).unwrap(), 1).unwrap();
    let p = params(1);
    let mut swapped = decoder(&pack, &a);
    let first = swapped.render(&p).unwrap();
    assert!(swapped.swap_identity(&pack, &foreign).is_err());
    assert_eq!(swapped.render(&p).unwrap(), first);
    swapped.swap_identity(&pack, &b).unwrap();
    assert_eq!(swapped.render(&p).unwrap(), decoder(&pack, &b).render(&p).unwrap());
    assert_ne!(swapped.render(&p).unwrap(), first);
}

#[test]
fn parameters_that_are_not_finite_are_misuse_and_wild_ones_still_render() {
    let pack = fixture::tiny(1).unwrap();
    let mut decoder = decoder(&pack, &fixture::identity(&pack, 1).unwrap());
    for i in [0, 1, 3, 34] {
        let mut numbers = [0.0; effigy::params::PARAMS];
        numbers[i] = f32::NAN;
        let error = decoder.render(&FrameParams::from_array(&numbers)).unwrap_err();
        assert!(matches!(error, Error::Misuse(_)), "{error}");
    }
    let wild = FrameParams { yaw: 65504.0, pitch: -65504.0, roll: 1e9, alpha: [65504.0; EXPRESSIONS] };
    assert_eq!(decoder.render(&wild).unwrap().width, 32);
}

#[test]
fn a_device_that_is_not_there_is_a_device_error() {
    let pack = fixture::tiny(1).unwrap();
    let identity = fixture::identity(&pack, 1).unwrap();
    let error = Decoder::new(&pack, &identity, &DecodeOptions { device: DeviceChoice::Cuda(99), ..options() }).unwrap_err();
    assert!(matches!(error, Error::Device(_)), "{error}");
    assert!("cuda:x".parse::<DeviceChoice>().is_err() && "fp8".parse::<Precision>().is_err());
    assert_eq!("cuda:3".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cuda(3));
}

/// The file of a tiny pack with its tensors and metadata changed.
fn changed(edit: impl Fn(&mut Vec<(String, Vec<usize>, Vec<u8>)>, &mut serde_json::Value)) -> Vec<u8> {
    let bytes = fixture::bytes(&fixture::Shape::tiny(), 1).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut config = serde_json::from_str(&header.metadata().as_ref().unwrap()["effigy"]).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<_> = file.iter().map(|(n, v)| (n.to_string(), v.shape().to_vec(), v.data().to_vec())).collect();
    tensors.sort();
    edit(&mut tensors, &mut config);
    let views: Vec<_> = tensors
        .iter()
        .map(|(n, s, d)| (n.as_str(), safetensors::tensor::TensorView::new(safetensors::Dtype::F32, s.clone(), d).unwrap()))
        .collect();
    safetensors::serialize(views, Some(HashMap::from([("effigy".to_string(), config.to_string())]))).unwrap()
}

#[test]
fn a_pack_that_was_tampered_with_is_refused_naming_the_fault() {
    assert!(Pack::from_bytes(&changed(|_, _| ())).is_ok());
    let fault = |bytes: Vec<u8>, word: &str| {
        let error = Pack::from_bytes(&bytes).unwrap_err();
        assert!(matches!(error, Error::Malformed(_)) && error.to_string().contains(word), "{error}; expected {word}");
    };
    fault(changed(|t, _| t.retain(|(n, ..)| n != "generator.conv1.activate.bias")), "generator.conv1.activate.bias");
    fault(changed(|t, _| t.push(("generator.spy".into(), vec![1], vec![0; 4]))), "generator.spy");
    fault(changed(|t, _| t[0].2[..4].copy_from_slice(&f32::NAN.to_le_bytes())), "NaN");
    fault(changed(|t, _| t.iter_mut().find(|t| t.0 == "flow.0.bias").unwrap().1 = vec![2, 4]), "flow.0.bias");
    fault(changed(|_, c| c["channels"][7]["channel"] = 9999.into()), "channel 7");
    fault(changed(|_, c| c["channels"].as_array_mut().unwrap().truncate(31)), "31");
    fault(changed(|_, c| c["ranges"][4] = serde_json::json!([1.0, -1.0])), "range 4");
    fault(changed(|_, c| c["generator"]["resolution"] = 1_000_000_000.into()), "resolution");
    fault(changed(|_, c| c["generator"]["channels"][0] = (1i64 << 40).into()), "channel counts");
    fault(changed(|_, c| c["flow"]["hidden"] = (1i64 << 60).into()), "hidden");
    fault(b"no pack at all".to_vec(), "safetensors");
    let newer = Pack::from_bytes(&changed(|_, c| c["format"] = 2.into())).unwrap_err();
    assert!(matches!(newer, Error::Unsupported(_)) && newer.to_string().contains("format 2"), "{newer}");
}

#[test]
fn truncated_and_flipped_packs_never_panic() {
    let bytes = fixture::bytes(&fixture::Shape::tiny(), 1).unwrap();
    for end in (0..bytes.len()).step_by(997).chain(0..64) {
        assert!(Pack::from_bytes(&bytes[..end]).is_err());
    }
    for at in 0..1500 {
        let mut bent = bytes.clone();
        bent[at] ^= 1 << (at % 8);
        let _ = Pack::from_bytes(&bent);
    }
}

#[test]
fn saving_and_loading_keeps_a_pack_and_half_precision_its_picture() {
    let folder = std::env::temp_dir().join(format!("effigy-pack-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("half.safetensors");
    let pack = fixture::tiny(5).unwrap();
    let config: PackConfig = pack.config().clone();
    let mut weights = effigy::net::Weights::new();
    weights.merge("generator.", pack.generator(Device::Cpu).unwrap().weights()).unwrap();
    let effigy::net::PoseFlow::Rows(flow) = pack.flow(Device::Cpu).unwrap() else { panic!("fixtures have a row flow") };
    weights.merge("flow.", flow.weights()).unwrap();
    #[cfg(feature = "analysis")]
    {
        let effigy::net::Analysis::Built(net) = pack.analysis(Device::Cpu).unwrap() else { panic!("fixtures have one network") };
        weights.merge("analysis.", net.weights()).unwrap();
    }
    #[cfg(not(feature = "analysis"))]
    let config = PackConfig { analysis: None, ..config };
    Pack::save(&path, &config, &weights, true).unwrap();
    let loaded = Pack::load(&path).unwrap();
    assert_eq!(loaded.config(), &config);
    assert_ne!(loaded.hash(), pack.hash());
    let mut names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 1, "only the pack stays: {:?}", names.pop());
    let p = params(3);
    let picture = |pack: &Pack| decoder(pack, &fixture::identity(pack, 1).unwrap()).render(&p).unwrap();
    // Half precision keeps 11 bits of each weight: a few levels of 255.
    assert!(furthest(&picture(&pack), &picture(&loaded)) <= 6);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_place_that_was_named_wins_over_the_built_in_pack() {
    let path = std::path::Path::new("some/pack.safetensors");
    assert_eq!(Pack::find(Some(path), Some("env.safetensors".into())).unwrap(), path);
    assert_eq!(Pack::find(None, Some("env.safetensors".into())).unwrap(), std::path::Path::new("env.safetensors"));
    assert_eq!(Pack::search_path(Some("env.safetensors".into()))[0], std::path::Path::new("env.safetensors"));
    let error = Pack::load("no/such.safetensors").unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("no/such.safetensors"), "{error}");
}
