//! Generators: mapping, StyleSpace vectors, pictures, edits and truncation.

use crate::fixture::{of_kind, Comparison, Fixture};
use effigy::net::{Frozen, Generator, GeneratorConfig, Upsampling, Weights};
use serde_json::Value;
use tch::{Kind, Tensor};

/// The generator that the manifest's constructor arguments describe.
fn generator(fixture: &Fixture) -> Generator {
    let arguments = fixture.arguments();
    assert_eq!(arguments["blur_kernel"], serde_json::json!([1, 3, 3, 1]), "{}", fixture.name);
    assert_eq!(arguments["lr_mlp"].as_f64(), Some(0.01), "{}", fixture.name);
    let number = |key: &str| fixture.argument(key);
    let config = GeneratorConfig::published(number("size"), number("style_dim"), number("n_mlp"), number("channel_multiplier"));
    Generator::new(config, fixture.weights()).unwrap()
}

/// Everything the manifest lists about a generator.
fn check_generator(fixture: &Fixture) {
    let bytes = fixture.side_file();
    let mut comparison = Comparison::new(fixture, &bytes);
    let generator = generator(fixture);
    let layers = fixture.manifest["stylespace_layers"].as_array().unwrap();
    assert_eq!(generator.layers().len(), layers.len(), "{}: style inputs", fixture.name);
    for (ours, theirs) in generator.layers().iter().zip(layers) {
        assert_eq!(format!("{}.conv", ours.name), theirs["layer"].as_str().unwrap());
        assert_eq!((Some(ours.row), Some(ours.inputs)), (theirs["w_plus_row"].as_i64(), theirs["channels"].as_i64()));
    }
    let z = fixture.input("input.z");
    let w = generator.map(&z).unwrap();
    comparison.check_all("mapping.w", &w);
    let styles = generator.styles(&fixture.input("input.w_plus")).unwrap();
    for (i, style) in styles.iter().enumerate() {
        comparison.check_all(&format!("s.{i:02}"), style);
    }
    let image = generator.synthesis(&styles, Kind::Float).unwrap();
    comparison.check_all("image", &image);
    check_frozen(fixture, &generator, &styles, &image);
    for edit in fixture.manifest["edits"].as_array().unwrap() {
        let edited = edited(&styles, edit);
        comparison.check_all(edit["tag"].as_str().unwrap(), &generator.synthesis(&edited, Kind::Float).unwrap());
    }
    let psi = fixture.manifest["truncation"]["psi"].as_f64().unwrap();
    let mean = fixture.input("input.latent_avg");
    let wide = generator.broadcast(&w.slice(0, 0, 1, 1), Some((psi, &mean))).unwrap();
    comparison.check_all("trunc.w", &wide.select(1, 0));
    let styles_cut = generator.styles(&wide).unwrap();
    comparison.check_all("trunc.image", &generator.synthesis(&styles_cut, Kind::Float).unwrap());
    if fixture.manifest["outputs"].as_array().unwrap().iter().any(|o| o["name"] == "image_no_noise") {
        let silent = without_noise(fixture);
        comparison.check_all("image_no_noise", &silent.synthesis(&styles, Kind::Float).unwrap());
    }
    comparison.finish(&["act.", "skip."]);
}

/// The forms that the decoder renders with give the same picture: tolerance of the manifest's image.
fn check_frozen(fixture: &Fixture, generator: &Generator, styles: &[Tensor], image: &Tensor) {
    for form in [Upsampling::Transposed, Upsampling::Dense] {
        let frozen = Frozen::with(generator, Kind::Float, form).unwrap();
        let far = (frozen.synthesis(styles).unwrap() - image).abs().max().double_value(&[]);
        println!("  {:<22} max deviation {far:.1e} from the differentiable form", format!("frozen image, {form:?}"));
        assert!(far < 1e-4, "{}: the frozen generator ({form:?}) is off by {far:.3e}", fixture.name);
    }
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
    Generator::new(generator(fixture).config().clone(), silent).unwrap()
}

fn generators(wanted: impl Fn(i64) -> bool) {
    of_kind("stylegan2 generator", |f| wanted(f.argument("size"))).iter().for_each(check_generator);
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
