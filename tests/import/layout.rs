//! Names, shapes and containers of the published files, on files of our own.

use crate::write::{floats, zipped, Dialect, Pickle, Scratch};
use effigy::import::{compare, identify, latent_rows, state_of, Checkpoint, Expected, Part};
use effigy::Error;

/// A flat dictionary of tensors that all lie in one storage of zeros.
fn flat(scratch: &Scratch, tensors: &[(&str, &[i64])]) -> Checkpoint {
    let p = tensors.iter().fold(Pickle::new(Dialect::Zip).raw(b"}("), |p, (name, shape)| {
        let strides: Vec<i64> = (0..shape.len()).map(|i| shape[i + 1..].iter().product()).collect();
        p.text(name).tensor(("FloatStorage", "0", 64), 0, shape, &strides)
    });
    scratch.open(&zipped(&p.raw(b"u").stop(), &[("0", floats([0.0; 64]))])).unwrap()
}

fn expected(list: &[(&str, &[usize], bool)]) -> Vec<Expected> {
    list.iter()
        .map(|(key, shape, optional)| Expected { key: key.to_string(), shape: shape.to_vec(), optional: *optional })
        .collect()
}

#[test]
fn a_fitting_file_gives_what_is_expected_and_nothing_else() {
    let scratch = Scratch::new("fitting");
    let checkpoint = flat(&scratch, &[("a.weight", &[2, 3]), ("a.bias", &[3]), ("a.num_batches_tracked", &[])]);
    let wanted = expected(&[("a.weight", &[2, 3], false), ("a.bias", &[3], true), ("a.noise", &[1], true)]);
    let found = compare(&wanted, |key| key.ends_with("num_batches_tracked"), &checkpoint.tensors().unwrap()).unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), ["a.bias", "a.weight"]);
}

#[test]
fn one_error_tells_all_that_does_not_fit() {
    let scratch = Scratch::new("unfitting");
    let many: Vec<String> = (0..10).map(|i| format!("extra.{i}")).collect();
    let mut tensors: Vec<(&str, &[i64])> = many.iter().map(|name| (name.as_str(), &[1][..])).collect();
    tensors.push(("a.weight", &[3, 2]));
    let checkpoint = flat(&scratch, &tensors);
    let wanted = expected(&[("a.weight", &[2, 3], false), ("a.bias", &[3], false)]);
    let error = compare(&wanted, |_| false, &checkpoint.tensors().unwrap()).unwrap_err();
    assert!(matches!(error, Error::Malformed(_)));
    let extra = many[..8].join(", ");
    let told =
        format!("1 missing (a.bias); 10 unexpected ({extra}, ...); 1 of another shape (a.weight is [3, 2], expected [2, 3])");
    assert!(error.to_string().ends_with(&told), "{error}");
}

#[test]
fn a_file_of_another_kind_is_recognised() {
    let scratch = Scratch::new("kind");
    let arcface = flat(&scratch, &[("input_layer.0.weight", &[2]), ("output_layer.3.weight", &[2])]);
    let wanted = expected(&[("input_layer.0.weight", &[2], false), ("styles.0.linear.weight", &[2], false)]);
    let tensors = arcface.tensors().unwrap();
    assert_eq!(identify(&tensors), Some("an ArcFace file"));
    let error = compare(&wanted, |_| false, &tensors).unwrap_err().to_string();
    let told = "this looks like an ArcFace file: it has output_layer.3.weight but not an e4e encoder's styles.0.linear.weight";
    assert!(error.ends_with(told), "{error}");
}

#[test]
fn every_network_of_the_reference_fixtures_is_recognised() {
    let Some(folder) = crate::samples::folder() else { return };
    let kinds = [
        ("e4e_1024", "an e4e encoder"),
        ("stylegan2_g_1024", "a StyleGAN2 generator in rosinality's layout"),
        ("arcface_ir_se50", "an ArcFace file"),
        ("bisenet_19", "a BiSeNet file"),
        ("styleflow", "a StyleFlow file"),
        ("lpips_vgg", "a torchvision VGG-16"),
        ("lpips_alex", "a torchvision AlexNet"),
        ("lpips_squeeze", "a torchvision SqueezeNet"),
    ];
    let scratch = Scratch::new("kinds");
    for (name, kind) in kinds {
        let text = std::fs::read(folder.join(format!("{name}.json"))).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let keys = manifest["tensors"].as_array().unwrap().iter().map(|t| t["key"].as_str().unwrap());
        let tensors: Vec<(&str, &[i64])> = keys.map(|key| (key, &[1][..])).collect();
        assert_eq!(identify(&flat(&scratch, &tensors).tensors().unwrap()), Some(kind), "{name}");
    }
}

#[test]
fn networks_are_taken_out_of_the_containers_of_the_published_files() {
    let scratch = Scratch::new("parts");
    let names = |tensors: &[(&str, &[i64])], part| {
        let state = state_of(&flat(&scratch, tensors), part).unwrap();
        (state.tensors.into_keys().collect::<Vec<_>>().join(" "), state.latent_avg.map(|t| t.shape().to_vec()))
    };
    let rosinality: &[(&str, &[i64])] = &[("g_ema.a", &[1]), ("g.a", &[1]), ("d.b", &[1]), ("latent_avg", &[4])];
    assert_eq!(names(rosinality, Part::Generator), ("a".into(), Some(vec![4])));
    let e4e: &[(&str, &[i64])] =
        &[("state_dict.encoder.a", &[1]), ("state_dict.decoder.b", &[1]), ("optimizer.x", &[1]), ("latent_avg", &[2, 4])];
    assert_eq!(names(e4e, Part::Encoder), ("a".into(), Some(vec![2, 4])));
    assert_eq!(names(e4e, Part::Generator), ("b".into(), Some(vec![2, 4])));
    assert_eq!(names(e4e, Part::Whole), ("decoder.b encoder.a".into(), Some(vec![2, 4])));
    for part in [Part::Generator, Part::Encoder, Part::Whole] {
        assert_eq!(names(&[("a", &[1]), ("b", &[1])], part), ("a b".into(), None));
        assert_eq!(names(&[("module.a", &[1]), ("module.b", &[1])], part), ("a b".into(), None));
    }
    let empty = scratch.open(&zipped(&Pickle::new(Dialect::Zip).raw(b"}").stop(), &[])).unwrap();
    assert!(matches!(state_of(&empty, Part::Whole), Err(Error::Malformed(_))));
}

#[test]
fn a_mean_latent_of_one_row_stands_for_all_rows() {
    let scratch = Scratch::new("average");
    let load = |shape: &[i64], values: &[f32]| {
        let n = values.len() as i64;
        let strides: Vec<i64> = (0..shape.len()).map(|i| shape[i + 1..].iter().product()).collect();
        let p = Pickle::new(Dialect::Zip).raw(b"}").text("latent_avg").tensor(("FloatStorage", "0", n), 0, shape, &strides);
        let checkpoint = scratch.open(&zipped(&p.raw(b"s").stop(), &[("0", floats(values.iter().copied()))])).unwrap();
        checkpoint.load(&checkpoint.tensors().unwrap()["latent_avg"]).unwrap()
    };
    assert_eq!(latent_rows(&load(&[2], &[1.0, 2.0]), 3, 2).unwrap(), [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
    assert_eq!(latent_rows(&load(&[2, 2], &[1.0, 2.0, 3.0, 4.0]), 2, 2).unwrap(), [1.0, 2.0, 3.0, 4.0]);
    let error = latent_rows(&load(&[2, 2], &[1.0, 2.0, 3.0, 4.0]), 3, 2).unwrap_err();
    assert!(error.to_string().contains("[2, 2], expected [2] or [3, 2]"), "{error}");
    assert!(latent_rows(&load(&[2], &[1.0, f32::NAN]), 1, 2).unwrap_err().to_string().contains("number 1 is NaN"));
}
