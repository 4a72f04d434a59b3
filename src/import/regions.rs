//! Where the features of a face are in a rendered sample: region parser and framing to weights for eq. 5 of the paper.
//!
//! Input: pictures `[B, 3, R, R]` in [-1, 1] in FFHQ framing. Output: one weight map `[B, 1, R/2, R/2]` per feature, of mean 1, and one
//! for the rest of the head. A parser without a class for a feature (published ones know no pupil, chin or jaw), or no
//! parser at all, leaves it to fixed windows of the framing.

use crate::error::Result;
use crate::net::analysis::{Analysis, View};
use crate::net::ops::{from_vec, Calc};
use tch::{Device, Kind, Tensor};

/// A facial feature f that channels are chosen for.
#[derive(Debug)]
pub(super) struct Feature {
    /// Its name, which the channels get with a number.
    pub name: &'static str,
    /// The pack's region that it belongs to.
    pub region: &'static str,
    /// How many of the 32 channels it gets.
    pub quota: usize,
    /// Labels of the parser; empty where parsers know none.
    labels: &'static [&'static str],
    /// Windows of the framing: centre and radii as fractions of the side.
    windows: &'static [[f32; 4]],
}

/// The features of the paper's list, with shares of the 32 after how much of speech and mimicry they carry.
pub(super) const FEATURES: [Feature; 6] = [
    Feature { name: "mouth", region: "mouth", quota: 11, labels: &["lips", "inner_mouth"], windows: &[[0.5, 0.74, 0.16, 0.1]] },
    Feature { name: "jaw", region: "mouth", quota: 5, labels: &["jaw"], windows: &[[0.5, 0.88, 0.2, 0.1]] },
    Feature {
        name: "eyes",
        region: "eyes",
        quota: 6,
        labels: &["eyes", "lids", "iris"],
        windows: &[[0.375, 0.47, 0.09, 0.06], [0.625, 0.47, 0.09, 0.06]],
    },
    Feature {
        name: "brows",
        region: "brows",
        quota: 4,
        labels: &["brows"],
        windows: &[[0.36, 0.38, 0.12, 0.05], [0.64, 0.38, 0.12, 0.05]],
    },
    Feature {
        name: "gaze",
        region: "pupils",
        quota: 3,
        labels: &["iris"],
        windows: &[[0.375, 0.47, 0.035, 0.03], [0.625, 0.47, 0.035, 0.03]],
    },
    Feature {
        name: "wrinkle",
        region: "face",
        quota: 3,
        labels: &[],
        windows: &[[0.5, 0.56, 0.08, 0.1], [0.32, 0.62, 0.08, 0.08], [0.68, 0.62, 0.08, 0.08]],
    },
];

/// Weight maps of a batch, by feature.
#[derive(Debug)]
pub(super) struct Regions {
    /// Inside the feature, mean 1.
    pub inside: Vec<Tensor>,
    /// The head without the feature and its seam, mean 1.
    pub outside: Vec<Tensor>,
}

impl Regions {
    /// Regions of the pictures that `view` was made of; `side` is that of the maps.
    pub(super) fn new(analysis: &Analysis, view: &View, labels: &[String], side: i64, device: Device) -> Result<Regions> {
        let parsed = match analysis.parse(view)? {
            Some(logits) => Some(logits.f_softmax(1, Kind::Float)?.f_upsample_bilinear2d([side; 2], false, None, None)?),
            None => None,
        };
        let head = ellipse(side, [0.5, 0.55, 0.38, 0.48], device)?;
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        for feature in &FEATURES {
            let window = windows(side, feature.windows, device)?;
            let found = match &parsed {
                Some(parsed) => share(parsed, labels, feature.labels)?,
                None => None,
            };
            let map = match found {
                // A parser may see the feature elsewhere too (an iris on a shirt): the wider window keeps it in place.
                Some(found) => grown(&found, side)?.times(&grown(&grown(&window, side)?, side)?)?,
                None => window,
            };
            let rest = head.times(&grown(&map, side)?.scale(-1.0)?.shift(1.0)?)?;
            inside.push(unit(&map)?);
            outside.push(unit(&rest)?);
        }
        Ok(Regions { inside, outside })
    }
}

/// Probability of the named labels, if the parser has any of them.
fn share(parsed: &Tensor, labels: &[String], names: &[&str]) -> Result<Option<Tensor>> {
    let picks: Vec<i64> = labels.iter().enumerate().filter(|(_, l)| names.contains(&l.as_str())).map(|(i, _)| i as i64).collect();
    if picks.is_empty() {
        return Ok(None);
    }
    let index = Tensor::f_from_slice(&picks)?.f_to_device(parsed.device())?;
    Ok(Some(parsed.f_index_select(1, &index)?.f_sum_dim_intlist([1i64].as_slice(), true, Kind::Float)?))
}

/// The largest value within a thirtieth of the side: features move, and what they uncover belongs to them.
fn grown(map: &Tensor, side: i64) -> Result<Tensor> {
    let reach = (side / 32).max(1);
    Ok(map.f_max_pool2d([2 * reach + 1; 2], [1; 2], [reach; 2], [1; 2], false)?)
}

/// The map scaled to mean 1.
fn unit(map: &Tensor) -> Result<Tensor> {
    map.over(&map.f_mean_dim([1i64, 2, 3].as_slice(), true, Kind::Float)?.shift(1e-6)?)
}

fn windows(side: i64, list: &[[f32; 4]], device: Device) -> Result<Tensor> {
    let mut all = Tensor::f_zeros([1, 1, side, side], (Kind::Float, device))?;
    for window in list {
        all = all.f_maximum(&ellipse(side, *window, device)?)?;
    }
    Ok(all)
}

/// 1 inside of an ellipse, falling to 0 over a quarter of its radius.
fn ellipse(side: i64, [x, y, rx, ry]: [f32; 4], device: Device) -> Result<Tensor> {
    let at = |i: i64| (i as f32 + 0.5) / side as f32;
    let value = |i: i64| {
        let d = (((at(i % side) - x) / rx).powi(2) + ((at(i / side) - y) / ry).powi(2)).sqrt();
        ((1.125 - d) / 0.25).clamp(0.0, 1.0)
    };
    from_vec(&(0..side * side).map(value).collect::<Vec<f32>>(), &[1, 1, side, side], device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ops::to_vec;
    use crate::pack::fixture;

    #[test]
    fn the_features_share_all_channels() {
        assert_eq!(FEATURES.iter().map(|f| f.quota).sum::<usize>(), crate::params::EXPRESSIONS);
    }

    #[test]
    fn maps_have_mean_one_and_the_rest_leaves_its_feature_out() {
        let pack = fixture::tiny(1).unwrap();
        let analysis = pack.analysis(Device::Cpu).unwrap();
        let values = fixture::rule("regions", 3 * 32 * 32, 0.4, 0.0);
        let image = from_vec(&values, &[1, 3, 32, 32], Device::Cpu).unwrap();
        let view = analysis.view(&image, Kind::Float).unwrap();
        // Labels that no feature knows leave everything to the windows.
        let none: Vec<String> = (0..12).map(|i| format!("class {i}")).collect();
        let regions = Regions::new(&analysis, &view, &none, 64, Device::Cpu).unwrap();
        for (f, feature) in FEATURES.iter().enumerate() {
            let (inside, outside) = (to_vec(&regions.inside[f]).unwrap(), to_vec(&regions.outside[f]).unwrap());
            let mean = |v: &[f32]| v.iter().sum::<f32>() / v.len() as f32;
            assert!((mean(&inside) - 1.0).abs() < 1e-2 && (mean(&outside) - 1.0).abs() < 1e-2, "{}", feature.name);
            let shared = inside.iter().zip(&outside).map(|(a, b)| a.min(*b)).sum::<f32>() / inside.iter().sum::<f32>();
            assert!(shared < 0.05, "{}: {shared} of it is in both", feature.name);
        }
    }
}
