//! Gradients through the generator and the parameters, against differences; and the frozen form against the differentiable one.

#![cfg(feature = "decode")]

use effigy::net::ops::from_vec;
use effigy::net::{Frozen, Generator, Moved, Weights};
use effigy::pack::{fixture, Pack};
use effigy::params::EXPRESSIONS;
use tch::{no_grad, Device, Kind, Tensor};

fn setting() -> (Pack, Generator) {
    let pack = fixture::tiny(3).unwrap();
    let generator = pack.generator(Device::Cpu).unwrap();
    (pack, generator)
}

fn w_plus(generator: &Generator, batch: i64) -> Tensor {
    let dim = generator.config().style_dim;
    let z = from_vec(&fixture::rule("net/z", (batch * dim) as usize, 1.0, 0.0), &[batch, dim], Device::Cpu).unwrap();
    no_grad(|| generator.broadcast(&generator.map(&z).unwrap(), None).unwrap())
}

/// Mean over the picture times fixed weights: a loss that no symmetry makes flat.
fn loss(image: &Tensor) -> Tensor {
    let count = image.numel();
    let weights = from_vec(&fixture::rule("net/weights", count, 1.0, 0.0), &image.size(), Device::Cpu).unwrap();
    (image * weights).sum(Kind::Double)
}

/// Central difference of width `2 step` along one number of `x`.
fn difference(x: &Tensor, at: &[i64], step: f64, f: impl Fn(&Tensor) -> Tensor) -> f64 {
    let value = |offset: f64| {
        let moved = x.detach().copy();
        let mut cell = moved.shallow_clone();
        for i in at {
            cell = cell.select(0, *i);
        }
        let _ = cell.g_add_scalar_(offset);
        no_grad(|| f(&moved)).double_value(&[])
    };
    (value(step) - value(-step)) / (2.0 * step)
}

fn assert_gradient(x: &Tensor, places: &[Vec<i64>], step: f64, f: impl Fn(&Tensor) -> Tensor) {
    let leaf = x.detach().copy().set_requires_grad(true);
    f(&leaf).backward();
    let gradient = leaf.grad();
    let scale = gradient.abs().max().double_value(&[]);
    assert!(scale > 0.0, "no gradient arrives");
    for at in places {
        let (analytic, numeric) = (gradient.double_value(at), difference(x, at, step, &f));
        // The step crosses kinks of the activation here and there: 3 % of the largest gradient is allowed for them.
        assert!(
            (analytic - numeric).abs() < 0.03 * scale,
            "at {at:?}: gradient {analytic:.4}, difference {numeric:.4}, scale {scale:.4}"
        );
    }
}

#[test]
fn gradients_reach_alpha_through_the_expression_channels() {
    let (pack, generator) = setting();
    let styles = no_grad(|| generator.styles(&w_plus(&generator, 1)).unwrap());
    let alpha = from_vec(&fixture::rule("net/alpha", EXPRESSIONS, 0.3, 0.0), &[1, EXPRESSIONS as i64], Device::Cpu).unwrap();
    let places: Vec<Vec<i64>> = (0..EXPRESSIONS as i64).map(|i| vec![0, i]).collect();
    assert_gradient(&alpha, &places, 0.01, |alpha| {
        let moved = generator.offset(&styles, alpha, &pack.config().channels).unwrap();
        loss(&generator.synthesis(&moved, Kind::Float).unwrap())
    });
}

#[test]
fn gradients_reach_the_latent_through_the_styles() {
    let (_, generator) = setting();
    let w = w_plus(&generator, 1);
    let places: Vec<Vec<i64>> = (0..generator.config().rows()).map(|row| vec![0, row, (row * 3) % 16]).collect();
    assert_gradient(&w, &places, 0.01, |w| {
        let styles = generator.styles(w).unwrap();
        loss(&generator.synthesis(&styles, Kind::Float).unwrap())
    });
}

#[test]
fn gradients_reach_the_angles_through_the_pose_flow() {
    let (pack, generator) = setting();
    let flow = pack.flow(Device::Cpu).unwrap();
    let w = w_plus(&generator, 1);
    let angles = from_vec(&[7.0, -4.0, -12.0, 3.0], &[2, 2], Device::Cpu).unwrap();
    // Degrees: a tenth of one moves the picture enough to stand above the rounding of single precision.
    assert_gradient(&angles, &[vec![0, 0], vec![0, 1], vec![1, 0], vec![1, 1]], 0.1, |angles| {
        let styles = generator.styles(&flow.posed(&w, angles).unwrap()).unwrap();
        loss(&generator.synthesis(&styles, Kind::Float).unwrap())
    });
}

#[test]
fn the_frozen_generator_renders_what_the_differentiable_one_does() {
    let (_, generator) = setting();
    let styles = no_grad(|| generator.styles(&w_plus(&generator, 3)).unwrap());
    let want = no_grad(|| generator.synthesis(&styles, Kind::Float).unwrap());
    let found = Frozen::new(&generator, Kind::Float).unwrap().synthesis(&styles).unwrap();
    let far = (want - found).abs().max().double_value(&[]);
    assert!(far < 2e-5, "off by {far:.2e}");
}

#[test]
fn directions_begin_by_moving_nothing_and_then_each_number_moves_each_style() {
    let (_, generator) = setting();
    let styles = no_grad(|| generator.styles(&w_plus(&generator, 1)).unwrap());
    let directed = generator.with_own(false).unwrap();
    let zeros = |n| Tensor::zeros([1, n], (Kind::Float, Device::Cpu));
    let chosen = directed.weights().require_grad(|name| name.ends_with(".directions")).unwrap();
    assert_eq!(chosen.len(), generator.layers().len());
    let angles = from_vec(&[20.0, -10.0], &[1, 2], Device::Cpu).unwrap();
    let alpha = from_vec(&fixture::rule("net/alpha", EXPRESSIONS, 0.3, 0.0), &[1, EXPRESSIONS as i64], Device::Cpu).unwrap();
    let same = |a: &[Tensor], b: &[Tensor]| a.iter().zip(b).all(|(a, b)| f64::try_from((a - b).abs().max()).unwrap() == 0.0);
    let moved = directed.directed(&styles, &angles, &alpha).unwrap().styles;
    assert!(same(&moved, &styles), "a direction that nobody has learned moves something");
    // What a step along a number is worth arrives at its direction: 1 for 20 degrees, and alpha as it is.
    moved.iter().map(|style| style.sum(Kind::Float)).reduce(|a, b| a + b).unwrap().backward();
    for (_, direction) in &chosen {
        let slope = direction.grad();
        for (number, want) in
            [1.0, -0.5].into_iter().chain((0..EXPRESSIONS as i64).map(|k| alpha.double_value(&[0, k]))).enumerate()
        {
            assert!((slope.double_value(&[number as i64, 3]) - want).abs() < 1e-6, "number {number}");
        }
    }
    no_grad(|| chosen.iter().for_each(|(_, direction)| drop(direction.shallow_clone().fill_(0.25))));
    assert!(
        same(&directed.directed(&styles, &zeros(2), &zeros(EXPRESSIONS as i64)).unwrap().styles, &styles),
        "numbers at rest move something"
    );
    let far = directed.directed(&styles, &angles, &alpha).unwrap().styles;
    assert!(far.iter().zip(&styles).all(|(far, style)| f64::try_from((far - style).abs().min()).unwrap() > 0.01));
}

#[test]
fn maps_and_displacements_begin_by_changing_nothing_and_the_frozen_generator_knows_them() {
    let (_, generator) = setting();
    let with = generator.with_own(true).unwrap();
    let side = generator.config().resolution;
    let styles = no_grad(|| generator.styles(&w_plus(&generator, 2)).unwrap());
    let angles = from_vec(&[9.0, 2.0, -14.0, 5.0], &[2, 2], Device::Cpu).unwrap();
    let alpha = from_vec(&fixture::rule("net/alpha", 2 * EXPRESSIONS, 0.3, 0.0), &[2, EXPRESSIONS as i64], Device::Cpu).unwrap();
    let moved = || no_grad(|| with.directed(&styles, &angles, &alpha).unwrap());
    let draw = || {
        let moved = moved();
        no_grad(|| with.synthesis_to(side, &moved.styles, moved.warp.as_ref(), Kind::Float).unwrap())
    };
    let plain = no_grad(|| generator.synthesis(&styles, Kind::Float).unwrap());
    let far = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]);
    assert!(far(&plain, &draw()) < 1e-5, "what nobody has learned changes something");
    let mut before = draw();
    for (part, size) in [(".warp", 2.0), (".map", 0.2)] {
        no_grad(|| {
            for (name, tensor) in with.weights().iter().filter(|(name, _)| name.ends_with(part)) {
                let values = from_vec(&fixture::rule(name, tensor.numel(), size, 0.0), &tensor.size(), Device::Cpu).unwrap();
                tensor.shallow_clone().copy_(&values);
            }
        });
        let drawn = draw();
        assert!(far(&before, &drawn) > 0.05, "{part}");
        for (kind, allowed) in [(Kind::Float, 2e-5), (Kind::BFloat16, 0.3)] {
            let Moved { styles, warp } = moved();
            let frozen = Frozen::new(&with, kind).unwrap().synthesis_to(side, &styles, warp.as_ref()).unwrap();
            assert!(far(&drawn, &frozen) < allowed, "{part} {kind:?}: off by {}", far(&drawn, &frozen));
        }
        before = drawn;
    }
    let plain = Frozen::new(&generator, Kind::Float).unwrap();
    let given = plain.synthesis_to(side, &styles, moved().warp.as_ref());
    assert!(matches!(given, Err(effigy::Error::Misuse(_))), "it has nothing to be displaced by");
}

#[test]
fn maps_go_where_the_picture_goes_and_the_noise_of_the_pack_does_not() {
    let (_, generator) = setting();
    let styles = no_grad(|| generator.styles(&w_plus(&generator, 1)).unwrap());
    let side = generator.config().resolution;
    assert_eq!((side, generator.layers()[generator.warped_before()].name.as_str()), (32, "convs.4"));
    // Something at one place of the last convolution, behind which no pixel knows of another.
    let dot = Tensor::zeros([1, 1, 32, 32], (Kind::Float, Device::Cpu));
    let _ = dot.get(0).get(0).get(12).get(20).fill_(1.0);
    // Two pixels to the right: 1.25 tenths of 16.
    let warp = Tensor::zeros([1, 2, 16, 16], (Kind::Float, Device::Cpu));
    let _ = warp.get(0).get(0).fill_(1.25);
    let mut plain = Weights::new();
    plain.merge("", generator.with_own(true).unwrap().weights()).unwrap();
    // Where the dot shows: the place that changes most, and how many do.
    let seen = |name: &str, warp: Option<&Tensor>| {
        let mut weights = Weights::new();
        weights.merge("", &plain).unwrap();
        weights.insert(name, dot.shallow_clone());
        weights.insert("convs.5.noise.weight", Tensor::ones([1], (Kind::Float, Device::Cpu)));
        if name != "noises.noise_6" {
            weights.insert("noises.noise_6", dot.zeros_like());
        }
        let with = Generator::new(generator.config().clone(), weights).unwrap();
        let draw = |generator: &Generator| no_grad(|| generator.synthesis_to(side, &styles, warp, Kind::Float).unwrap());
        let drawn = draw(&with);
        let frozen = Frozen::new(&with, Kind::Float).unwrap().synthesis_to(side, &styles, warp).unwrap();
        assert!((&drawn - frozen).abs().max().double_value(&[]) < 2e-5, "{name}");
        let without = draw(&Generator::new(generator.config().clone(), plain.copy_to(Device::Cpu).unwrap()).unwrap());
        let change = (drawn - without).abs().amax([1i64].as_slice(), false).flatten(0, -1);
        let at = change.argmax(0, false).int64_value(&[]);
        ((at % 32, at / 32), change.gt(1e-4).sum(Kind::Int64).int64_value(&[]))
    };
    for (name, with_warp) in [("convs.5.map", (18, 12)), ("noises.noise_6", (20, 12))] {
        assert_eq!(seen(name, None), ((20, 12), 1), "{name}");
        assert_eq!(seen(name, Some(&warp)), (with_warp, 1), "{name}");
    }
}

#[test]
fn zero_angles_give_the_latent_back() {
    let (pack, generator) = setting();
    let w = w_plus(&generator, 1);
    let posed = pack.flow(Device::Cpu).unwrap().posed(&w, &Tensor::zeros([1, 2], (Kind::Float, Device::Cpu))).unwrap();
    assert_eq!(Vec::<f32>::try_from((posed - w).abs().max().view(-1)).unwrap(), [0.0]);
}

#[test]
fn pictures_on_the_way_are_those_of_a_smaller_generator_and_later_layers_do_not_change_what_comes_before() {
    let (_, generator) = setting();
    let styles = generator.styles(&w_plus(&generator, 2)).unwrap();
    let chosen = generator.weights().require_grad(|name| name.ends_with("conv.weight")).unwrap();
    let moved = |styles: &[Tensor]| Moved { styles: styles.iter().map(Tensor::shallow_clone).collect(), warp: None };
    let (early, whole) = generator.synthesis_by(16, &moved(&styles), Kind::Float).unwrap();
    let same = |a: &Tensor, b: &Tensor| f64::try_from((a - b).abs().max()).unwrap() == 0.0;
    assert!(same(&early, &generator.synthesis_to(16, &styles, None, Kind::Float).unwrap()));
    assert!(same(&whole, &generator.synthesis(&styles, Kind::Float).unwrap()));
    whole.square().sum(Kind::Float).backward();
    for (name, weight) in chosen {
        let layer = generator.layers().iter().find(|layer| name.starts_with(&format!("{}.", layer.name))).unwrap();
        assert_eq!(weight.grad().defined(), layer.side > 16, "{name}");
    }
    assert!(generator.synthesis_by(20, &moved(&styles), Kind::Float).is_err());
}
