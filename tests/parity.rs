//! The networks against numbers of the published implementations, where the folder with those fixtures is at hand: its path is in
//! `EFFIGY_REFERENCE`, or it lies at `../shared/reference`. Weights and inputs come from the rule of [`effigy::pack::fixture`].
//!
//! One test per kind of network; kinds that this crate does not have are listed as skipped, never as passed.

#![cfg(feature = "decode")]

use effigy::net::ops::{channels_last, from_vec, to_vec};
use effigy::net::{Frozen, Generator, GeneratorConfig, Weights};
use effigy::pack::fixture::{fnv1a, rule, rule_value, splitmix};
use safetensors::SafeTensors;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

/// A manifest with the folder it came from.
struct Fixture {
    folder: PathBuf,
    name: String,
    manifest: Value,
}

fn default_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference")
}

/// All fixtures of the folder; none, with a line saying so, when it is missing.
fn fixtures() -> Vec<Fixture> {
    let folder = std::env::var_os("EFFIGY_REFERENCE").map(PathBuf::from).unwrap_or_else(default_folder);
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("skipped: no reference fixtures at {}; set EFFIGY_REFERENCE", folder.display());
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "json"));
    paths.sort();
    let mut out = Vec::new();
    for path in paths {
        let manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        if manifest["format"] == "reference-fixture/1" {
            let name = manifest["name"].as_str().unwrap().to_string();
            out.push(Fixture { folder: folder.clone(), name, manifest });
        }
    }
    out
}

/// What kind of network a fixture is about.
fn kind_of(fixture: &Fixture) -> &'static str {
    match fixture.manifest["source"]["class"].as_str().unwrap_or_default() {
        "Generator" => "stylegan2 generator",
        "Encoder4Editing" => "e4e encoder",
        "Backbone" => "arcface embedding",
        "BiSeNet" => "bisenet parser",
        "lpips.LPIPS" => "lpips distance",
        class if class.starts_with("cnf") => "styleflow",
        _ => "unknown",
    }
}

fn shape(value: &Value) -> Vec<i64> {
    value.as_array().unwrap().iter().map(|d| d.as_i64().unwrap()).collect()
}

impl Fixture {
    fn text(&self, key: &str) -> &str {
        self.manifest[key].as_str().unwrap()
    }

    /// Expected outputs: beside the manifest, else in the default folder.
    fn side_file(&self) -> Vec<u8> {
        let file = format!("{}.safetensors", self.name);
        let beside = self.folder.join(&file);
        let path = if beside.exists() { beside } else { default_folder().join(&file) };
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    fn by_rule(&self, key: &str, entry: &Value) -> Tensor {
        let dims = shape(&entry["shape"]);
        let (scale, offset) = (entry["scale"].as_f64().unwrap(), entry["offset"].as_f64().unwrap());
        let count = dims.iter().product::<i64>() as usize;
        let values = rule(&format!("{}{key}", self.text("prefix")), count, scale, offset);
        from_vec(&values, &dims, Device::Cpu).unwrap()
    }

    fn weights(&self) -> Weights {
        let mut out = Weights::new();
        for entry in self.manifest["tensors"].as_array().unwrap().iter().filter(|t| t["source"] == "rule") {
            let key = entry["key"].as_str().unwrap();
            out.insert(key, self.by_rule(key, entry));
        }
        out
    }

    fn input(&self, name: &str) -> Tensor {
        let inputs = self.manifest["inputs"].as_array().unwrap();
        let entry = inputs.iter().find(|i| i["name"] == name).unwrap_or_else(|| panic!("{}: no input {name}", self.name));
        assert_eq!(entry["source"], "rule", "{}: input {name}", self.name);
        self.by_rule(name, entry)
    }

    /// The generator that the manifest's constructor arguments describe.
    fn generator(&self) -> Generator {
        let arguments = &self.manifest["source"]["constructor"];
        let number = |key: &str| arguments[key].as_i64().unwrap_or_else(|| panic!("{}: argument {key}", self.name));
        assert_eq!(arguments["blur_kernel"], serde_json::json!([1, 3, 3, 1]), "{}", self.name);
        assert_eq!(arguments["lr_mlp"].as_f64(), Some(0.01), "{}", self.name);
        let multiplier = number("channel_multiplier");
        let config = GeneratorConfig::published(number("size"), number("style_dim"), number("n_mlp"), multiplier);
        Generator::new(config, self.weights()).unwrap()
    }
}

/// Compares outputs and remembers which were compared and the worst share of a tolerance.
struct Comparison<'a> {
    fixture: &'a Fixture,
    expected: SafeTensors<'a>,
    done: Vec<String>,
    worst: (f64, String),
}

impl<'a> Comparison<'a> {
    fn new(fixture: &'a Fixture, bytes: &'a [u8]) -> Self {
        let expected = SafeTensors::deserialize(bytes).unwrap();
        Comparison { fixture, expected, done: Vec::new(), worst: (0.0, String::new()) }
    }

    /// All outputs of the manifest whose names equal `name` or begin with `name.`; `get` derives each from the whole.
    fn check(&mut self, name: &str, found: &Tensor) {
        let outputs = self.fixture.manifest["outputs"].as_array().unwrap().clone();
        let mut any = false;
        for output in &outputs {
            let key = output["name"].as_str().unwrap();
            let Some(part) = (if key == name { Some("") } else { key.strip_prefix(&format!("{name}.")) }) else { continue };
            any = true;
            self.compare(output, key, &excerpt(found, part, output["description"].as_str().unwrap()));
        }
        assert!(any, "{}: the manifest has no output {name}", self.fixture.name);
    }

    fn compare(&mut self, output: &Value, key: &str, found: &Tensor) {
        let view = self.expected.tensor(key).unwrap();
        let want: Vec<f32> = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        assert_eq!(found.size(), shape(&output["shape"]), "{}: shape of {key}", self.fixture.name);
        let found = to_vec(found).unwrap();
        assert_eq!(found.len(), want.len(), "{}: size of {key}", self.fixture.name);
        // `max` would pass over NaN.
        let far =
            found
                .iter()
                .zip(&want)
                .map(|(a, b)| f64::from((a - b).abs()))
                .fold(0.0, |m, d| if d > m || d.is_nan() { d } else { m });
        let tolerance = output["suggested_atol"].as_f64().unwrap();
        println!("  {:<22} max deviation {far:.1e} of {tolerance:.0e}", key);
        assert!(far <= tolerance, "{}: {key} is off by {far:.3e}, tolerance {tolerance:.0e}", self.fixture.name);
        if far / tolerance > self.worst.0 {
            self.worst = (far / tolerance, key.to_string());
        }
        self.done.push(key.to_string());
    }

    /// Every output was compared, apart from intermediates that the public interface does not show.
    fn finish(self) {
        let mut left = Vec::new();
        for output in self.fixture.manifest["outputs"].as_array().unwrap() {
            let key = output["name"].as_str().unwrap();
            if !self.done.iter().any(|d| d == key) {
                left.push(key);
            }
        }
        let inner = |key: &str| key.starts_with("act.") || key.starts_with("skip.");
        assert!(left.iter().all(|key| inner(key)), "{}: outputs not compared: {left:?}", self.fixture.name);
        let (share, name) = &self.worst;
        println!("{}: {} outputs compared, worst {share:.2} of its tolerance ({name})", self.fixture.name, self.done.len());
        println!("{}: not compared, inside the network: {}", self.fixture.name, left.join(" "));
    }
}

/// The whole, its 16 x 16 averages (`pool64`), or the exact pixels that the description names ("rows a..b, columns c..d").
fn excerpt(image: &Tensor, part: &str, description: &str) -> Tensor {
    match part {
        "" => image.shallow_clone(),
        "pool64" => image.adaptive_avg_pool2d([64, 64]),
        _ => {
            let range = |word: &str| -> (i64, i64) {
                let text = description.split(word).nth(1).unwrap_or_else(|| panic!("no {word} in: {description}"));
                let text: String = text.trim_start().chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
                let (a, b) = text.split_once("..").unwrap();
                (a.parse().unwrap(), b.trim_end_matches('.').parse().unwrap())
            };
            let ((top, bottom), (left, right)) = (range("rows"), range("columns"));
            image.slice(2, top, bottom + 1, 1).slice(3, left, right + 1, 1)
        }
    }
}

/// Everything the manifest lists about a generator.
fn check_generator(fixture: &Fixture) {
    let bytes = fixture.side_file();
    let mut comparison = Comparison::new(fixture, &bytes);
    let generator = fixture.generator();
    let layers = fixture.manifest["stylespace_layers"].as_array().unwrap();
    assert_eq!(generator.layers().len(), layers.len(), "{}: style inputs", fixture.name);
    for (ours, theirs) in generator.layers().iter().zip(layers) {
        assert_eq!(format!("{}.conv", ours.name), theirs["layer"].as_str().unwrap());
        assert_eq!((Some(ours.row), Some(ours.inputs)), (theirs["w_plus_row"].as_i64(), theirs["channels"].as_i64()));
    }
    let z = fixture.input("input.z");
    let w = generator.map(&z).unwrap();
    comparison.check("mapping.w", &w);
    let styles = generator.styles(&fixture.input("input.w_plus")).unwrap();
    for (i, style) in styles.iter().enumerate() {
        comparison.check(&format!("s.{i:02}"), style);
    }
    let image = generator.synthesis(&styles, Kind::Float).unwrap();
    comparison.check("image", &image);
    check_frozen(fixture, &generator, &styles, &image);
    for edit in fixture.manifest["edits"].as_array().unwrap() {
        let edited = edited(&styles, edit);
        comparison.check(edit["tag"].as_str().unwrap(), &generator.synthesis(&edited, Kind::Float).unwrap());
    }
    let psi = fixture.manifest["truncation"]["psi"].as_f64().unwrap();
    let mean = fixture.input("input.latent_avg");
    let wide = generator.broadcast(&w.slice(0, 0, 1, 1), Some((psi, &mean))).unwrap();
    comparison.check("trunc.w", &wide.select(1, 0));
    let styles_cut = generator.styles(&wide).unwrap();
    comparison.check("trunc.image", &generator.synthesis(&styles_cut, Kind::Float).unwrap());
    if fixture.manifest["outputs"].as_array().unwrap().iter().any(|o| o["name"] == "image_no_noise") {
        let silent = without_noise(fixture);
        comparison.check("image_no_noise", &silent.synthesis(&styles, Kind::Float).unwrap());
    }
    comparison.finish();
}

/// The form that the decoder renders with gives the same picture: tolerance of the manifest's image.
fn check_frozen(fixture: &Fixture, generator: &Generator, styles: &[Tensor], image: &Tensor) {
    let frozen = Frozen::new(generator, Kind::Float).unwrap();
    let far = (frozen.synthesis(styles).unwrap() - image).abs().max().double_value(&[]);
    println!("  {:<22} max deviation {far:.1e} from the differentiable form", "frozen image");
    assert!(far < 1e-4, "{}: the frozen generator is off by {far:.3e}", fixture.name);
}

fn edited(styles: &[Tensor], edit: &Value) -> Vec<Tensor> {
    let index = edit["stylespace_index"].as_u64().unwrap() as usize;
    let out: Vec<Tensor> = styles.iter().map(|s| s.copy()).collect();
    let mut channel = out[index].select(1, edit["channel"].as_i64().unwrap());
    let _ = channel.g_add_scalar_(edit["added"].as_f64().unwrap());
    out
}

fn without_noise(fixture: &Fixture) -> Generator {
    let mut silent = Weights::new();
    for (name, tensor) in fixture.weights().iter().filter(|(n, _)| !n.contains("noise")) {
        silent.insert(name.clone(), tensor.shallow_clone());
    }
    Generator::new(fixture.generator().config().clone(), silent).unwrap()
}

fn generators(wanted: impl Fn(i64) -> bool) {
    let mut checked = 0;
    for fixture in fixtures().iter().filter(|f| kind_of(f) == "stylegan2 generator") {
        let size = fixture.manifest["source"]["constructor"]["size"].as_i64().unwrap();
        if wanted(size) {
            println!("{} ({size} x {size})", fixture.name);
            check_generator(fixture);
            checked += 1;
        }
    }
    println!("stylegan2 generators compared: {checked}");
}

#[test]
fn the_rule_gives_the_numbers_of_every_manifest() {
    // The worked example of the rule's definition: a splitmix64 sequence from seed 1234567.
    assert_eq!((splitmix(1_234_567, 0), splitmix(1_234_567, 1)), (6_457_827_717_110_365_317, 3_203_168_211_198_807_973));
    let mut checks = 0;
    for fixture in fixtures() {
        let tensors = fixture.manifest["tensors"].as_array().unwrap();
        let inputs = fixture.manifest["inputs"].as_array().unwrap();
        for check in fixture.manifest["rule_checks"].as_array().unwrap() {
            let key = check["key"].as_str().unwrap();
            let hash = fnv1a(&format!("{}{key}", fixture.text("prefix")));
            assert_eq!(format!("{hash:016x}"), check["fnv1a64"].as_str().unwrap(), "{}: {key}", fixture.name);
            let index = check["index"].as_u64().unwrap();
            assert_eq!(format!("{:016x}", splitmix(hash, index)), check["x"].as_str().unwrap(), "{}: {key}", fixture.name);
            let entry = tensors.iter().find(|t| t["key"] == key).or_else(|| inputs.iter().find(|i| i["name"] == key));
            let Some((scale, offset)) = entry.and_then(|e| Some((e["scale"].as_f64()?, e["offset"].as_f64()?))) else {
                continue;
            };
            let value = rule_value(hash, index, scale, offset);
            assert_eq!(format!("{:08x}", value.to_bits()), check["bits"].as_str().unwrap(), "{}: {key}", fixture.name);
            checks += 1;
        }
    }
    println!("rule checks: {checks}");
}

#[test]
fn stylegan2_generators_match_the_reference() {
    generators(|size| size < 512);
}

#[test]
#[ignore = "half a minute and 1 GB: the 1024 x 1024 generator"]
fn large_stylegan2_generators_match_the_reference() {
    generators(|size| size >= 512);
}

#[test]
fn fixtures_of_other_networks_are_listed_as_skipped() {
    let all = fixtures();
    let skipped: Vec<&Fixture> = all.iter().filter(|f| kind_of(f) != "stylegan2 generator").collect();
    for fixture in &skipped {
        println!("skipped: {} ({}: this crate has no such network yet)", fixture.name, kind_of(fixture));
    }
    println!("skipped: {} of {} fixtures", skipped.len(), all.len());
    // A kind that nobody knows is a fixture that nobody looks at.
    assert!(all.iter().all(|f| kind_of(f) != "unknown"), "a fixture is of an unknown kind");
}

/// Peak signal-to-noise ratio of pictures in [-1, 1], dB.
fn psnr(a: &Tensor, b: &Tensor) -> f64 {
    let error = (a.clamp(-1.0, 1.0) - b.clamp(-1.0, 1.0)).square().mean(Kind::Float).double_value(&[]);
    10.0 * (4.0 / error).log10()
}

#[test]
fn bfloat16_on_the_processor_stays_near_single_precision() {
    let pack = effigy::pack::fixture::pack(&effigy::pack::fixture::Shape::full(), 0).unwrap();
    let generator = pack.generator(Device::Cpu).unwrap();
    let dim = generator.config().style_dim;
    let z = from_vec(&rule("bf16/z", 4 * dim as usize, 1.0, 0.0), &[4, dim], Device::Cpu).unwrap();
    let styles = generator.styles(&generator.broadcast(&generator.map(&z).unwrap(), None).unwrap()).unwrap();
    let single = Frozen::new(&generator, Kind::Float).unwrap().synthesis(&styles).unwrap();
    let brief = Frozen::new(&generator, Kind::BFloat16).unwrap().synthesis(&styles).unwrap();
    let ratio = psnr(&single, &brief);
    println!("bf16 against fp32 at 128 x 128: {ratio:.1} dB, spread of the picture {:.2}", single.std(true).double_value(&[]));
    // bfloat16 has 8 bits of precision per layer; a picture for people needs 40 dB.
    assert!(ratio > 40.0, "bf16 is {ratio:.1} dB from fp32");
}

#[test]
fn the_layout_of_memory_does_not_change_values() {
    let x = from_vec(&rule("layout/x", 2 * 3 * 4 * 5, 1.0, 0.0), &[2, 3, 4, 5], Device::Cpu).unwrap();
    assert_eq!(to_vec(&channels_last(&x).unwrap()).unwrap(), to_vec(&x).unwrap());
}
