//! LPIPS distances, with the published linear heads.

use crate::fixture::{of_kind, shape, Comparison, Fixture};
use effigy::net::lpips::{Lpips, LpipsConfig};
use effigy::net::ops::from_vec;
use effigy::net::Weights;
use tch::{no_grad, Device, Kind, Tensor};

/// Backbone by rule, heads from the file that the manifest names.
fn weights(fixture: &Fixture) -> Weights {
    let mut out = fixture.weights();
    for head in fixture.manifest["lin_heads"].as_array().unwrap() {
        let (key, dims) = (head["key"].as_str().unwrap(), shape(&head["shape"]));
        let file = effigy::import::read(fixture.path(head["file"].as_str().unwrap())).unwrap();
        let values = file.load(&file.tensors().unwrap()[key]).unwrap().to_f32().unwrap();
        let sum: f64 = values.iter().map(|v| f64::from(*v)).sum();
        assert!((sum - head["sum"].as_f64().unwrap()).abs() < 1e-4, "{}: sum of {key}", fixture.name);
        out.insert(key, from_vec(&values, &dims, Device::Cpu).unwrap());
    }
    out
}

fn network(fixture: &Fixture) -> Lpips {
    let arguments = fixture.arguments();
    let (learned, places, version) = (&arguments["lpips"], &arguments["spatial"], &arguments["version"]);
    assert!(*learned == true && *places == false && *version == "0.1", "{}: another kind of distance", fixture.name);
    let config: LpipsConfig = serde_json::from_value(serde_json::json!({ "net": arguments["net"] })).unwrap();
    let backbone: Vec<(String, Vec<i64>)> = config.tensors().into_iter().filter(|(n, _)| n.starts_with("features.")).collect();
    fixture.check_tensors(&backbone, |_| false);
    Lpips::new(config, weights(fixture)).unwrap()
}

/// A picture as the manifest writes it: an input's name, or "a*name + b*name  (remark)".
fn picture(fixture: &Fixture, text: &str) -> Tensor {
    let text = text.split("  (").next().unwrap();
    let terms = text.split(" + ").map(|term| match term.split_once('*') {
        Some((factor, name)) => fixture.input(name.trim()) * factor.trim().parse::<f64>().unwrap(),
        None => fixture.input(term.trim()),
    });
    terms.reduce(|a, b| a + b).unwrap()
}

fn check_lpips(fixture: &Fixture) {
    let bytes = fixture.side_file();
    let mut comparison = Comparison::new(fixture, &bytes);
    let network = network(fixture);
    for pair in fixture.manifest["pairs"].as_array().unwrap() {
        let tag = pair["tag"].as_str().unwrap();
        let pictures = ["in0", "in1"].map(|key| picture(fixture, pair[key].as_str().unwrap()));
        comparison.check(&format!("{tag}.scaled"), &network.scaled(&pictures[0]).unwrap());
        for (i, map) in network.taps(&pictures[0], Kind::Float).unwrap().iter().enumerate() {
            comparison.check(&format!("{tag}.feat{i}"), map);
        }
        let [a, b] = pictures.map(|p| network.features(&p, Kind::Float).unwrap());
        comparison.check(&format!("{tag}.total"), &network.distance(&a, &b, None).unwrap());
        let layers = network.contributions(&a, &b, None).unwrap();
        let want = fixture.outputs().iter().find(|o| o["name"] == format!("{tag}.layers")).unwrap();
        comparison.check(&format!("{tag}.layers"), &layers.view(shape(&want["shape"]).as_slice()));
    }
    comparison.finish(&[]);
}

#[test]
fn lpips_distances_match_the_reference() {
    no_grad(|| of_kind("lpips distance", |_| true).iter().for_each(check_lpips));
}

#[test]
fn a_weight_of_one_changes_nothing_and_weights_choose_places() {
    let Some(fixture) = of_kind("lpips distance", |f| f.name.contains("alex")).into_iter().next() else { return };
    let network = network(&fixture);
    let pair = &fixture.manifest["pairs"][0];
    let [a, b] = ["in0", "in1"].map(|key| picture(&fixture, pair[key].as_str().unwrap()));
    let (height, width) = (a.size()[2], a.size()[3]);
    // The pictures differ in the left half alone.
    let b = Tensor::cat(&[b.narrow(3, 0, width / 2), a.narrow(3, width / 2, width - width / 2)], 3);
    let features = |x: &Tensor| network.features(x, Kind::Float).unwrap();
    let distance = |weight: Option<&Tensor>| network.distance(&features(&a), &features(&b), weight).unwrap().double_value(&[0]);
    let ones = Tensor::ones([1, 1, height, width], (Kind::Float, Device::Cpu));
    let left = Tensor::cat(&[ones.narrow(3, 0, width / 2) * 2.0, ones.narrow(3, width / 2, width - width / 2) * 0.0], 3);
    let (plain, unit) = (distance(None), distance(Some(&ones)));
    assert!((plain - unit).abs() < 1e-6 * plain, "{plain} and {unit}");
    assert!(distance(Some(&left)) > 1.2 * plain, "the weighted half counts for {:.2}", distance(Some(&left)) / plain);
    assert!(distance(Some(&(2.0f64 - left))) < 0.8 * plain);
}
