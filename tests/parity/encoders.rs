//! Networks over the IR-SE trunk: e4e inversion and ArcFace identity.

use crate::fixture::{of_kind, Comparison, Fixture};
use effigy::net::arcface::{ArcFace, ArcFaceConfig};
use effigy::net::e4e::{E4e, E4eConfig, Heads};
use effigy::net::irse::TrunkMode;
use tch::{no_grad, Kind, Tensor};

/// Generator sides from here on are the large fixtures: more than a gigabyte of weights.
const LARGE: i64 = 512;

fn mode(fixture: &Fixture) -> TrunkMode {
    serde_json::from_value(fixture.arguments()["mode"].clone()).unwrap()
}

fn side(fixture: &Fixture) -> i64 {
    fixture.arguments()["opts"]["stylegan_size"].as_i64().unwrap()
}

fn check_e4e(fixture: &Fixture) {
    let bytes = fixture.side_file();
    let mut comparison = Comparison::new(fixture, &bytes);
    let published = E4eConfig::published(side(fixture));
    let config = E4eConfig { layers: fixture.argument("num_layers"), mode: mode(fixture), ..published };
    fixture.check_tensors(&config.tensors(), |_| false);
    let encoder = E4e::new(config, fixture.weights()).unwrap();
    let images = fixture.input("input.image");
    comparison.check("check.input", &images.slice(2, 0, None, 32).slice(3, 0, None, 32));
    let taps = encoder.taps(&images, Kind::Float).unwrap();
    comparison.check("act.stem", &taps.stem.0);
    comparison.check("act.body0", &taps.stem.1);
    for (name, map) in ["act.c1", "act.c2", "act.c3"].into_iter().zip(&taps.trunk) {
        comparison.check(name, map);
    }
    comparison.check("act.p2", &taps.pyramid[1]);
    comparison.check("act.p1", &taps.pyramid[2]);
    comparison.check("heads", &taps.heads);
    let codes = encoder.encode(&images, Kind::Float).unwrap();
    comparison.check("codes", &codes);
    comparison.check("codes_plus_latent_avg", &(codes + fixture.input("input.latent_avg")));
    comparison.finish(&[]);
}

#[test]
fn e4e_encoders_match_the_reference() {
    no_grad(|| of_kind("e4e encoder", |f| side(f) < LARGE).iter().for_each(check_e4e));
}

#[test]
#[ignore = "half a minute and 3 GB: the encoder for 1024 x 1024"]
fn large_e4e_encoders_match_the_reference() {
    no_grad(|| of_kind("e4e encoder", |f| side(f) >= LARGE).iter().for_each(check_e4e));
}

/// The manifest's picture names after `input.image_`, in order.
fn pictures(fixture: &Fixture) -> Vec<&str> {
    let inputs = fixture.manifest["inputs"].as_array().unwrap();
    inputs.iter().filter_map(|i| i["name"].as_str().unwrap().strip_prefix("input.image_")).collect()
}

fn check_arcface(fixture: &Fixture) {
    let bytes = fixture.side_file();
    let mut comparison = Comparison::new(fixture, &bytes);
    let (input_size, num_layers) = (fixture.argument("input_size"), fixture.argument("num_layers"));
    let config = ArcFaceConfig { input_size, num_layers, mode: mode(fixture) };
    fixture.check_tensors(&config.tensors(), |_| false);
    let network = ArcFace::new(config, fixture.weights()).unwrap();
    let mut embeddings: Vec<(&str, Tensor)> = Vec::new();
    for picture in pictures(fixture) {
        let image = fixture.input(&format!("input.image_{picture}"));
        let unit_of = |name: &str| name.strip_prefix("act.body")?.strip_suffix(&format!("_{picture}"))?.parse::<usize>().ok();
        let mut units: Vec<usize> = fixture.outputs().iter().filter_map(|o| unit_of(o["name"].as_str().unwrap())).collect();
        units.sort_unstable();
        let taps = network.taps(&image, Kind::Float, &units).unwrap();
        comparison.check(&format!("pooled_{picture}"), &taps.face);
        for (unit, map) in units.iter().zip(&taps.units) {
            comparison.check(&format!("act.body{unit}_{picture}"), map);
        }
        comparison.check(&format!("act.body_{picture}"), &taps.last);
        comparison.check(&format!("prenorm_{picture}"), &network.identity(&image, Kind::Float).unwrap());
        let embedding = network.embed(&image, Kind::Float).unwrap();
        comparison.check(&format!("embedding_{picture}"), &embedding);
        for (other, theirs) in &embeddings {
            let pair = format!("{other}{picture}");
            let dot = (theirs * &embedding).sum_dim_intlist([1i64].as_slice(), false, Kind::Float);
            if fixture.has_output(&format!("cosine_{pair}")) {
                comparison.check(&format!("cosine_{pair}"), &dot);
                comparison.check(&format!("id_loss_{pair}"), &(1.0f64 - dot).mean(Kind::Float).view([1]));
            }
        }
        embeddings.push((picture, embedding));
    }
    comparison.finish(&[]);
}

#[test]
fn arcface_embeddings_match_the_reference() {
    no_grad(|| of_kind("arcface embedding", |_| true).iter().for_each(check_arcface));
}

#[test]
fn heads_over_the_last_map_add_the_first_row_or_do_not() {
    let Some(fixture) = of_kind("e4e encoder", |f| side(f) < LARGE).into_iter().next() else { return };
    let image = fixture.input("input.image");
    let pair = Tensor::cat(&[&image, &image], 1);
    // The coarse heads of e4e have the shape of all heads of ReStyle.
    let codes = |heads| {
        let mut weights = fixture.weights();
        let stem = weights.get("input_layer.0.weight").unwrap();
        weights.insert("input_layer.0.weight", Tensor::cat(&[stem, &(stem * 0.5)], 1));
        let config = E4eConfig { rows: 3, input_channels: 6, heads, ..E4eConfig::published(64) };
        let encoder = E4e::new(config, weights).unwrap();
        let taps = no_grad(|| encoder.taps(&pair, Kind::Float)).unwrap();
        assert_eq!(taps.pyramid.len(), 1);
        (taps.heads, no_grad(|| encoder.refine(&image, &image, Kind::Float)).unwrap())
    };
    let far = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]);
    let (heads, offsets) = codes(Heads::LastOffsets);
    let (_, direct) = codes(Heads::Last);
    let base = heads.narrow(1, 0, 1);
    assert_eq!(far(&direct, &heads), 0.0);
    assert_eq!(far(&offsets.narrow(1, 0, 1), &base), 0.0);
    assert!(far(&offsets.narrow(1, 1, 2), &(heads.narrow(1, 1, 2) + &base)) < 1e-6);
}
