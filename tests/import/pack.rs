//! From checkpoint files to a pack that encodes and decodes: small rule-made files in every published layout that can be made small, and
//! (ignored by default: gigabytes) all published layouts at full size with the reference manifests' rule.

use crate::samples::folder;
use crate::write::{floats, zipped, Dialect, Pickle, Scratch};
use effigy::decode::{DecodeOptions, Decoder, DeviceChoice, Precision};
use effigy::encode::{enroll, search, AlignedFrame, EncodeOptions, Preset, Tuning};
use effigy::import::{import, verify, Checkpoints, FindOptions, ImportOptions};
use effigy::net::lpips::{LpipsConfig, LpipsNet};
use effigy::net::styleflow::StyleFlowConfig;
use effigy::net::GeneratorConfig;
use effigy::pack::fixture::rule;
use effigy::pack::Pack;
use effigy::progress::{Progress, Silent};
use effigy::Error;
use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A tensor of a state dict.
struct Entry {
    key: String,
    shape: Vec<i64>,
    values: Vec<f32>,
}

/// Tensors by the rule, with standard deviations and means by their names.
fn ruled(list: Vec<(String, Vec<i64>)>, spread: impl Fn(&str, &[i64]) -> (f64, f64)) -> Vec<Entry> {
    list.into_iter()
        .map(|(key, shape)| {
            let (scale, offset) = spread(&key, &shape);
            let values = rule(&format!("import/{key}"), shape.iter().product::<i64>() as usize, scale, offset);
            Entry { key, shape, values }
        })
        .collect()
}

/// A file as `torch.save` writes it: dictionaries by name, or a bare state dict under the empty name.
fn saved(dicts: &[(&str, Vec<Entry>)]) -> Vec<u8> {
    let (mut pickle, mut storages) = (Pickle::new(Dialect::Zip).raw(b"}("), Vec::new());
    for (name, entries) in dicts {
        let nested = !name.is_empty() && (entries.len() > 1 || !entries[0].key.is_empty());
        if nested {
            pickle = pickle.text(name).raw(b"}(");
        }
        for entry in entries {
            let number = storages.len().to_string();
            let count = entry.values.len() as i64;
            let mut strides = vec![1i64; entry.shape.len()];
            for i in (1..entry.shape.len()).rev() {
                strides[i - 1] = strides[i] * entry.shape[i];
            }
            pickle = pickle.text(if entry.key.is_empty() { name } else { &entry.key });
            pickle = pickle.tensor(("FloatStorage", &number, count), 0, &entry.shape, &strides);
            storages.push((number, floats(entry.values.iter().copied())));
        }
        if nested {
            pickle = pickle.raw(b"u");
        }
    }
    let named: Vec<(&str, Vec<u8>)> = storages.iter().map(|(key, bytes)| (key.as_str(), bytes.clone())).collect();
    zipped(&pickle.raw(b"u").stop(), &named)
}

fn file(name: &str, dicts: &[(&str, Vec<Entry>)]) -> Scratch {
    let scratch = Scratch::new(name);
    std::fs::write(scratch.path(), saved(dicts)).unwrap();
    scratch
}

/// A 32 x 32 generator in rosinality's layout, blur kernels and noise included.
fn generator() -> Vec<Entry> {
    let config = GeneratorConfig { resolution: 32, style_dim: 512, mapping_layers: 2, channels: vec![16, 16, 12, 8] };
    let mut list = config.tensors();
    for (i, layer) in config.layers().iter().filter(|l| !l.to_rgb).enumerate() {
        list.push((format!("{}.noise.weight", layer.name), vec![1]));
        list.push((format!("noises.noise_{i}"), vec![1, 1, layer.side, layer.side]));
    }
    let mut out = ruled(list, |key, _| match key {
        k if k.starts_with("style.") && k.ends_with("weight") => (100.0, 0.0),
        k if k.ends_with("modulation.bias") => (0.1, 1.0),
        k if k.contains("to_rgb") && k.ends_with("conv.weight") => (0.4, 0.0),
        k if k.ends_with("bias") || k.ends_with("noise.weight") => (0.1, 0.0),
        _ => (1.0, 0.0),
    });
    let taps = [0.25f32, 0.75, 0.75, 0.25];
    let kernel: Vec<f32> = (0..16).map(|i| taps[i / 4] * taps[i % 4]).collect();
    for key in ["convs.0.conv.blur.kernel", "to_rgbs.0.upsample.kernel"] {
        out.push(Entry { key: key.into(), shape: vec![4, 4], values: kernel.clone() });
    }
    out
}

fn perceptual() -> (Vec<Entry>, Vec<Entry>) {
    let list = LpipsConfig { net: LpipsNet::Squeeze }.tensors();
    let (front, back): (Vec<_>, Vec<_>) = list.into_iter().partition(|(name, _)| name.starts_with("features."));
    let mut front = ruled(front, |_, shape| (1.4 / (shape[1..].iter().product::<i64>().max(1) as f64).sqrt(), 0.0));
    front.push(Entry { key: "classifier.1.bias".into(), shape: vec![3], values: vec![0.0; 3] });
    (front, ruled(back, |_, _| (0.02, 0.05)))
}

fn flow() -> Vec<Entry> {
    let mut out = ruled(StyleFlowConfig::default().tensors(), |key, shape| match key {
        k if k.ends_with("running_var") => (0.1, 1.0),
        k if k.ends_with("sqrt_end_time") => (0.0, 0.95),
        _ => (0.5 / (shape.get(1..).unwrap_or(&[]).iter().product::<i64>().max(1) as f64).sqrt(), 0.0),
    });
    out.push(Entry { key: "chain.0.step".into(), shape: vec![1], values: vec![0.0] });
    out
}

/// Asks to stop after so many questions and counts them.
struct Stop(AtomicU64, u64);

impl Progress for Stop {
    fn cancelled(&self) -> bool {
        self.0.fetch_add(1, Ordering::SeqCst) >= self.1
    }
}

/// The configuration that an import ends with which was stopped in the middle of its search and went on.
fn interrupted(files: &Checkpoints) -> effigy::pack::PackConfig {
    let state = Scratch::new("interrupted.json");
    let run = |most: u64| {
        let stop = Stop(AtomicU64::new(0), most);
        let result = import(&options(files.clone(), Some(state.path().into())), &stop);
        (result, stop.0.into_inner())
    };
    let (whole, questions) = run(u64::MAX);
    drop(whole.unwrap());
    std::fs::remove_file(state.path()).unwrap();
    assert!(matches!(run(questions - 2).0, Err(Error::Cancelled)));
    let (result, left) = run(u64::MAX);
    assert!(left < questions, "the second run asked {left} times, as often as a whole one ({questions})");
    // Another network is another search.
    let (front, _) = perceptual();
    let changed: Vec<Entry> = front.into_iter().map(|e| Entry { values: e.values.iter().map(|v| -v).collect(), ..e }).collect();
    let backbone = file("other-backbone.pth", &[("", changed)]);
    let other = Checkpoints { lpips_backbone: backbone.path().into(), ..files.clone() };
    let stop = Stop(AtomicU64::new(0), u64::MAX);
    drop(import(&options(other, Some(state.path().into())), &stop).unwrap());
    assert!(stop.0.into_inner() + 1 >= questions, "the state of another network's search was taken up");
    result.unwrap().0
}

fn options(files: Checkpoints, state: Option<PathBuf>) -> ImportOptions {
    ImportOptions {
        files,
        name: "small".into(),
        find: FindOptions { samples: 1, state, ..FindOptions::default() },
        directions: false,
        device: DeviceChoice::Cpu,
        precision: Precision::Single,
        command: "test".into(),
    }
}

/// Crops that the pack itself renders, so that there is something to find.
fn crops(pack: &Pack) -> Vec<AlignedFrame> {
    let identity = effigy::pack::fixture::identity(pack, 3).unwrap();
    let decoding = DecodeOptions { device: DeviceChoice::Cpu, precision: Precision::Single, ..DecodeOptions::default() };
    let mut decoder = Decoder::new(pack, &identity, &decoding).unwrap();
    (0..3)
        .map(|i| {
            let mut params = effigy::params::FrameParams { yaw: 4.0 * i as f32, ..Default::default() };
            params.alpha[3] = 0.2 * i as f32;
            let frame = decoder.render(&params).unwrap();
            AlignedFrame::whole(i, frame, i == 0)
        })
        .collect()
}

#[test]
fn imported_checkpoints_become_a_pack_that_encodes_and_decodes() {
    let mean = Entry { key: String::new(), shape: vec![512], values: rule("import/latent_avg", 512, 0.3, 0.0) };
    let stylegan2 = file("stylegan2.pt", &[("g_ema", generator()), ("latent_avg", vec![mean])]);
    let (front, back) = perceptual();
    let (backbone, heads) = (file("backbone.pth", &[("", front)]), file("heads.pth", &[("", back)]));
    let styleflow = file("styleflow.pt", &[("", flow())]);
    let state = Scratch::new("state.json");
    let files = Checkpoints {
        stylegan2: Some(stylegan2.path().into()),
        styleflow: Some(styleflow.path().into()),
        lpips_backbone: backbone.path().into(),
        lpips_heads: heads.path().into(),
        ..Checkpoints::default()
    };
    let (config, weights) = import(&options(files.clone(), Some(state.path().into())), &Silent).unwrap();
    assert_eq!((config.generator.resolution, config.generator.rows()), (32, 8));
    assert_eq!(config.latent_mean, rule("import/latent_avg", 512, 0.3, 0.0));
    assert!(config.provenance.contains("StyleFlow sha256") && config.licence.contains("NVIDIA"), "{}", config.licence);
    assert_eq!(config.lacks().len(), 3, "{:?}", config.lacks());
    let places: std::collections::BTreeSet<_> = config.channels.iter().map(|c| (c.layer, c.channel)).collect();
    assert_eq!(places.len(), 32, "a channel was chosen twice");
    assert_eq!(interrupted(&files).channels, config.channels);

    let pack = Pack::from_bytes(&Pack::to_bytes(&config, &weights, true).unwrap()).unwrap();
    assert!(!pack.config().directions, "without them the channels move alone, as in the paper");
    let lines = verify(&pack, &Silent).unwrap();
    assert!(lines.iter().any(|l| l.contains("all 32 channels change the picture")), "{lines:?}");
    let seen = crops(&pack);
    let options = EncodeOptions {
        preset: Preset::Fast,
        tuning: Tuning::None,
        tune_steps: Some(40),
        device: DeviceChoice::Cpu,
        precision: Precision::Single,
        threads: Some(1),
        ..EncodeOptions::default()
    };
    let enrolled = enroll(&pack, &seen, &options, &Silent).unwrap();
    let params = search(&pack, &enrolled.identity, &seen, &enrolled.params, &options, &Silent).unwrap();
    let decoding = DecodeOptions { device: DeviceChoice::Cpu, precision: Precision::Single, ..DecodeOptions::default() };
    let mut decoder = Decoder::new(&pack, &enrolled.identity, &decoding).unwrap();
    let error =
        |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum::<f64>() / a.len() as f64;
    let shown: Vec<_> = params.iter().map(|p| decoder.render(p).unwrap()).collect();
    let grey = vec![128u8; 3 * 32 * 32];
    for (frame, picture) in seen.iter().zip(&shown) {
        let (found, blank) = (error(&frame.frame.data, &picture.data), error(&frame.frame.data, &grey));
        assert!(found < 0.25 * blank, "frame {}: error {found}, that of a grey picture {blank}", frame.pts);
    }
}

#[test]
fn files_in_the_wrong_place_are_named_with_what_they_look_like() {
    let (front, back) = perceptual();
    let (backbone, heads) = (file("mixed-backbone.pth", &[("", front)]), file("mixed-heads.pth", &[("", back)]));
    let base = Checkpoints { lpips_backbone: backbone.path().into(), lpips_heads: heads.path().into(), ..Checkpoints::default() };
    let fault = |files: Checkpoints| import(&options(files, None), &Silent).unwrap_err();
    assert!(matches!(fault(base.clone()), Error::Misuse(_)), "no generator");
    let error = fault(Checkpoints { stylegan2: Some(heads.path().into()), ..base.clone() }).to_string();
    assert!(error.contains("LPIPS heads") && error.contains("mixed-heads"), "{error}");
    let mut broken = generator();
    broken.retain(|e| e.key != "convs.0.conv.weight");
    broken.iter_mut().find(|e| e.key == "conv1.activate.bias").unwrap().shape = vec![4, 4];
    broken.push(Entry { key: "stranger".into(), shape: vec![1], values: vec![0.0] });
    let file = file("mixed-generator.pt", &[("g_ema", broken)]);
    let error = fault(Checkpoints { stylegan2: Some(file.path().into()), ..base }).to_string();
    for part in
        ["1 missing (convs.0.conv.weight)", "1 unexpected (stranger)", "1 of another shape (conv1.activate.bias is [4, 4]"]
    {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
}

/// All tensors of a reference manifest.
fn manifest(folder: &Path, name: &str) -> Vec<Entry> {
    let text = std::fs::read(folder.join(format!("{name}.json"))).unwrap();
    let manifest: Json = serde_json::from_slice(&text).unwrap();
    let prefix = manifest["prefix"].as_str().unwrap();
    let mut out = Vec::new();
    for tensor in manifest["tensors"].as_array().unwrap() {
        let key = tensor["key"].as_str().unwrap().to_string();
        let shape: Vec<i64> = tensor["shape"].as_array().unwrap().iter().map(|d| d.as_i64().unwrap()).collect();
        let count = shape.iter().product::<i64>() as usize;
        let number = |key: &str| tensor[key].as_f64().unwrap();
        let values = match tensor["source"].as_str().unwrap() {
            "rule" => rule(&format!("{prefix}{key}"), count, number("scale"), number("offset")),
            _ => flat(&tensor["value"], count),
        };
        out.push(Entry { key, shape, values });
    }
    out
}

/// The numbers of a nested list, or one number repeated.
fn flat(value: &Json, count: usize) -> Vec<f32> {
    match value {
        Json::Array(list) => list.iter().flat_map(|v| flat(v, 1)).collect(),
        other => vec![other.as_f64().unwrap_or(0.0) as f32; count],
    }
}

/// Writes rule-made checkpoints in all published layouts to `EFFIGY_CHECKPOINTS`, for the command to import, and reads them back.
#[test]
#[ignore = "writes 1.5 GB of checkpoints to the folder in EFFIGY_CHECKPOINTS"]
fn checkpoints_of_all_published_layouts_are_written() {
    let Some(reference) = folder() else { return };
    let Some(out) = std::env::var_os("EFFIGY_CHECKPOINTS").map(PathBuf::from) else { return };
    std::fs::create_dir_all(&out).unwrap();
    let write = |name: &str, dicts: &[(&str, Vec<Entry>)]| std::fs::write(out.join(name), saved(dicts)).unwrap();
    let prefixed = |prefix: &str, name: &str| -> Vec<Entry> {
        manifest(&reference, name).into_iter().map(|e| Entry { key: format!("{prefix}{}", e.key), ..e }).collect()
    };
    let mean = |shape: &[i64]| {
        let values = rule("seed0/latent_avg", shape.iter().product::<i64>() as usize, 0.3, 0.0);
        vec![Entry { key: String::new(), shape: shape.to_vec(), values }]
    };
    write("stylegan2.pt", &[("g_ema", manifest(&reference, "stylegan2_g_1024")), ("latent_avg", mean(&[512]))]);
    write("e4e.pt", &[("state_dict", prefixed("encoder.", "e4e_1024")), ("latent_avg", mean(&[18, 512]))]);
    write("styleflow.pt", &[("", manifest(&reference, "styleflow"))]);
    write("arcface.pth", &[("", manifest(&reference, "arcface_ir_se50"))]);
    write("bisenet.pth", &[("", manifest(&reference, "bisenet_19"))]);
    for net in ["vgg", "alex", "squeeze"] {
        let all = manifest(&reference, &format!("lpips_{net}"));
        let features: Vec<Entry> = all.into_iter().filter(|e| e.key.starts_with("features.")).collect();
        write(&format!("{net}_backbone.pth"), &[("", features)]);
        std::fs::copy(reference.join(format!("lpips_lin/{net}.pth")), out.join(format!("{net}_heads.pth"))).unwrap();
    }
    for (name, manifest_name, prefix) in
        [("stylegan2.pt", "stylegan2_g_1024", "g_ema."), ("e4e.pt", "e4e_1024", "state_dict.encoder.")]
    {
        let file = effigy::import::read(out.join(name)).unwrap();
        let found = file.root().tensors_under(prefix).unwrap();
        let wanted = manifest(&reference, manifest_name);
        assert_eq!(found.len(), wanted.len(), "{name}");
        let last = wanted.last().unwrap();
        assert_eq!(file.load(&found[&last.key]).unwrap().to_f32().unwrap(), last.values, "{name}: {}", last.key);
    }
}
