//! Face parsers: intermediates, logits of all heads, and classes.

use crate::fixture::{of_kind, shape, Comparison, Fixture};
use effigy::net::bisenet::{BiSeNet, BiSeNetConfig};
use effigy::net::ops::to_vec;
use tch::{no_grad, Kind, Tensor};

fn check_bisenet(fixture: &Fixture) {
    let bytes = fixture.side_file();
    let mut comparison = Comparison::new(fixture, &bytes);
    let config = BiSeNetConfig { n_classes: fixture.argument("n_classes") };
    let mut listed = config.tensors();
    listed.extend(config.optional_tensors());
    fixture.check_tensors(&listed, |_| false);
    let parser = BiSeNet::new(config, fixture.weights()).unwrap();
    let image = fixture.input("input.image");
    comparison.check("normalised", &parser.normalised(&image).unwrap());
    let taps = parser.taps(&image, Kind::Float).unwrap();
    for (name, map) in ["act.feat8", "act.feat16", "act.feat32"].into_iter().zip(&taps.resnet) {
        comparison.check(name, map);
    }
    for (name, map) in ["act.cp8", "act.cp16"].into_iter().zip(&taps.context) {
        comparison.check(name, map);
    }
    comparison.check("act.ffm", &taps.fused);
    let logits = parser.logits(&image, Kind::Float).unwrap();
    comparison.check_all("logits", &logits);
    let [at16, at32] = parser.auxiliary_logits(&taps, &image).unwrap().expect("the fixture has auxiliary heads");
    comparison.check_all("logits16", &at16);
    comparison.check_all("logits32", &at32);
    check_classes(fixture, &mut comparison, &logits);
    comparison.finish(&[]);
}

/// Classes may differ only where the two largest logits are nearer than the manifest's margin, at twice as many places at most as
/// the reference found within it.
fn check_classes(fixture: &Fixture, comparison: &mut Comparison, logits: &Tensor) {
    let output = fixture.outputs().iter().find(|o| o["name"] == "class_map").unwrap();
    let close = &output["pixels_with_top2_margin_below"];
    let (margin, count) = (close["margin"].as_f64().unwrap(), close["count"].as_u64().unwrap() as usize);
    let want = comparison.bytes("class_map");
    assert_eq!(shape(&output["shape"]).iter().product::<i64>() as usize, want.len());
    let classes = to_vec(&logits.argmax(1, false)).unwrap();
    let (top, _) = logits.topk(2, 1, true, true);
    let margins = to_vec(&(top.select(1, 0) - top.select(1, 1))).unwrap();
    assert_eq!(classes.len(), want.len());
    let differing: Vec<usize> = (0..want.len()).filter(|i| classes[*i] != f32::from(want[*i])).collect();
    println!("  class_map: {} of {} pixels differ", differing.len(), want.len());
    assert!(differing.iter().all(|i| f64::from(margins[*i]) < margin), "{}: a clear class differs", fixture.name);
    assert!(differing.len() <= 2 * count, "{}: {} classes differ", fixture.name, differing.len());
    comparison.mark("class_map");
}

#[test]
fn bisenet_parsers_match_the_reference() {
    no_grad(|| of_kind("bisenet parser", |_| true).iter().for_each(check_bisenet));
}

#[test]
fn a_parser_without_auxiliary_heads_parses_the_same() {
    let Some(fixture) = of_kind("bisenet parser", |_| true).into_iter().next() else { return };
    let config = BiSeNetConfig { n_classes: fixture.argument("n_classes") };
    let (mut weights, all) = (effigy::net::Weights::new(), fixture.weights());
    for (name, _) in config.tensors() {
        weights.insert(name.clone(), all.get(&name).unwrap().shallow_clone());
    }
    let image = fixture.input("input.image");
    let full = BiSeNet::new(config.clone(), all).unwrap();
    let lean = BiSeNet::new(config, weights).unwrap();
    no_grad(|| {
        let taps = lean.taps(&image, Kind::Float).unwrap();
        assert!(lean.auxiliary_logits(&taps, &image).unwrap().is_none());
        let far = lean.logits(&image, Kind::Float).unwrap() - full.logits(&image, Kind::Float).unwrap();
        assert_eq!(far.abs().max().double_value(&[]), 0.0);
    });
}
