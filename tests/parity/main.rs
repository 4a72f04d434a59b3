//! The networks against numbers of the published implementations, where the folder with those fixtures is at hand: its path is in
//! `EFFIGY_REFERENCE`, or it lies at `../shared/reference`. Weights and inputs come from the rule of [`effigy::pack::fixture`].
//!
//! One test per kind of network, each over all fixtures of its kind; networks that the build leaves out are listed as skipped, never
//! as passed.

#![cfg(feature = "decode")]

#[cfg(feature = "analysis")]
mod encoders;
mod fixture;
mod flow;
mod generator;
#[cfg(feature = "analysis")]
mod parser;
// The published heads are old pickles, which the importer reads.
#[cfg(feature = "import")]
mod perceptual;

use effigy::net::ops::{channels_last, from_vec, to_vec};
use effigy::net::Frozen;
use effigy::pack::fixture::{fnv1a, rule, rule_value, splitmix};
use fixture::{fixtures, kind_of};
use tch::{Device, Kind, Tensor};

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
fn every_fixture_is_of_a_kind_that_some_test_compares() {
    let all = fixtures();
    // A kind that nobody knows is a fixture that nobody looks at.
    assert!(all.iter().all(|f| kind_of(f) != "unknown"), "a fixture is of an unknown kind");
    for fixture in &all {
        let (built, feature) = match kind_of(fixture) {
            "stylegan2 generator" | "styleflow" => (true, "decode"),
            "lpips distance" => (cfg!(feature = "import"), "import"),
            _ => (cfg!(feature = "analysis"), "analysis"),
        };
        if !built {
            println!("skipped: {} ({}: not in a build without the feature `{feature}`)", fixture.name, kind_of(fixture));
        }
    }
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
