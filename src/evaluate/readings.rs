//! What a pack's own networks see in source and decoded frames: likeness, perceptual distance, pose and expression.
//!
//! Input: pairs of crops of any one size ([`Frame`]). Output: [`Readings`]: per frame the cosine of the identity embeddings and the
//! perceptual distance; over the clip the correlation of what the predictor reads on source and decoded frames.
//! These networks also steer the encoder, so they judge kindly: the figures compare codings by one pack, not packs.

use super::metrics::{correlation, spread};
use serde::Serialize;
use tch::{no_grad, Device, Kind};

use crate::decode::{DeviceChoice, Precision};
use crate::error::Result;
use crate::frame::Frame;

use crate::net::ops::{to_tensor, to_vec};
use crate::net::Analysis;
use crate::pack::Pack;
use crate::scene::Matter;

/// Least spread of a reading (its own unit) for which a correlation says something: below it, noise is compared with noise.
const LEAST_SPREAD: f64 = 1e-3;

/// What is followed: name, unit, and the predictor's channels that are averaged, by the beginning of their names.
const FOLLOWED: [(&str, &str, &[&str]); 4] = [
    ("mouth", "jaw opening", &["jaw_open"]),
    ("smile", "lip corners", &["smile"]),
    ("eyes", "blink", &["blink"]),
    ("brows", "inner and outer brow", &["brow_inner", "brow_outer"]),
];

/// How well a quantity of the source is found again in the decoded clip.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Following {
    /// What: `yaw`, `pitch`, `mouth` and so on.
    pub name: &'static str,
    /// What is read for it, with its unit.
    pub unit: &'static str,
    /// Pearson's correlation over the frames; none where the source holds still.
    pub correlation: Option<f64>,
    /// Standard deviation of the reading over the source frames.
    pub spread: f64,
    /// Root of the mean squared difference between the readings.
    pub error: f64,
}

/// What the networks saw.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Readings {
    /// Name and hash of the pack.
    pub pack: String,
    /// What the perceptual distance is: LPIPS, or that of the pack's own network.
    pub distance_by: &'static str,
    /// Mean perceptual distance.
    pub distance: f64,
    /// Mean PSNR where the source shows the person, dB, where the pack has a parser that tells them from the background.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person_psnr: Option<f64>,
    /// Mean cosine of the identity embeddings of source and decoded frame, where the pack has such a network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub similarity: Option<f64>,
    /// The lowest of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub similarity_min: Option<f64>,
    /// Pose and expression; empty where the pack has no predictor.
    pub following: Vec<Following>,
    /// Perceptual distance of each frame.
    #[serde(skip)]
    pub distances: Vec<f64>,
    /// Cosine of each frame; empty without such a network.
    #[serde(skip)]
    pub similarities: Vec<f64>,
    /// Reading of source and decoded frames, for each of `following`.
    #[serde(skip)]
    pub curves: Vec<[Vec<f64>; 2]>,
}

/// Reads frame pairs as they come.
pub struct Reader {
    net: Analysis,
    device: Device,
    kind: Kind,
    pack: String,
    features: Vec<String>,
    matter: Option<Matter>,
    insides: Vec<f64>,
    distances: Vec<f64>,
    similarities: Vec<f64>,
    /// Yaw, pitch and the channels, on source and decoded frames.
    read: [Vec<Vec<f32>>; 2],
}

impl Reader {
    /// With the networks of `pack`.
    ///
    /// # Errors
    /// Unsupported for a pack that only decodes; device.
    pub fn new(pack: &Pack, device: DeviceChoice, precision: Precision) -> Result<Reader> {
        let matter = Matter::new(pack, device, precision)?;
        let device = device.resolve()?;
        Ok(Reader {
            matter,
            insides: Vec::new(),
            net: pack.analysis(device)?,
            device,
            kind: precision.resolve(device)?,
            pack: format!("{} {}", pack.config().name, pack.short_hash()),
            features: pack.config().channels.iter().map(|c| c.feature.clone()).collect(),
            distances: Vec::new(),
            similarities: Vec::new(),
            read: [Vec::new(), Vec::new()],
        })
    }

    /// What the perceptual distance of this pack is called.
    fn distance_by(&self) -> &'static str {
        match self.net {
            Analysis::Built(_) => "the pack's own perceptual network (not LPIPS)",
            Analysis::Published(_) => "LPIPS",
        }
    }

    /// Takes the next frame of the source and of the decoded clip.
    ///
    /// # Errors
    /// Misuse for pictures of different size; device.
    pub fn push(&mut self, reference: &Frame, decoded: &Frame) -> Result<()> {
        if let Some(matter) = &self.matter {
            for matte in matter.mattes(std::slice::from_ref(reference))? {
                self.insides.extend(super::metrics::psnr_inside(reference, decoded, &matte)?);
            }
        }
        no_grad(|| {
            let view = |frame| self.net.view(&to_tensor(&[frame], self.device)?, self.kind);
            super::metrics::same_size(reference, decoded)?;
            let (source, shown) = (view(reference)?, view(decoded)?);
            self.distances.extend(to_vec(&self.net.distance(&source, &shown, None)?)?.into_iter().map(f64::from));
            if let (Some(a), Some(b)) = (self.net.embed(&source)?, self.net.embed(&shown)?) {
                self.similarities.push(dot(&to_vec(&a)?, &to_vec(&b)?));
            }
            for (view, rows) in [source, shown].iter().zip(&mut self.read) {
                if let Some((angles, alpha)) = self.net.predict(view)? {
                    rows.push([to_vec(&angles)?, to_vec(&alpha)?].concat());
                }
            }
            Ok(())
        })
    }

    /// The readings of all frames so far.
    pub fn finish(self) -> Readings {
        let columns = columns(&self.features);
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let mut following = Vec::new();
        let mut curves = Vec::new();
        for (name, unit, picks) in columns.into_iter().filter(|_| !self.read[0].is_empty()) {
            let curve = |rows: &[Vec<f32>]| -> Vec<f64> {
                rows.iter().map(|row| picks.iter().map(|&i| f64::from(row[i])).sum::<f64>() / picks.len() as f64).collect()
            };
            let pair = [curve(&self.read[0]), curve(&self.read[1])];
            following.push(follow(name, unit, &pair[0], &pair[1]));
            curves.push(pair);
        }
        Readings {
            distance_by: self.distance_by(),
            pack: self.pack,
            distance: mean(&self.distances),
            person_psnr: (!self.insides.is_empty()).then(|| mean(&self.insides)),
            similarity: (!self.similarities.is_empty()).then(|| mean(&self.similarities)),
            similarity_min: self.similarities.iter().copied().reduce(f64::min),
            following,
            distances: self.distances,
            similarities: self.similarities,
            curves,
        }
    }
}

/// Which of the predictor's numbers (yaw, pitch, then the channels) make up each quantity.
fn columns(features: &[String]) -> Vec<(&'static str, &'static str, Vec<usize>)> {
    let mut out = vec![("yaw", "degrees", vec![0]), ("pitch", "degrees", vec![1])];
    for (name, unit, begins) in FOLLOWED {
        let fits = |f: &String| begins.iter().any(|b| f.starts_with(b));
        let picks: Vec<usize> = features.iter().enumerate().filter(|(_, f)| fits(f)).map(|(i, _)| i + 2).collect();
        if !picks.is_empty() {
            out.push((name, unit, picks));
        }
    }
    out
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
}

/// Compares a reading of the source `a` with that of the decoded clip `b`; as many numbers in both.
fn follow(name: &'static str, unit: &'static str, a: &[f64], b: &[f64]) -> Following {
    let count = a.len().max(1) as f64;
    let spread = spread(a);
    let error = (a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum::<f64>() / count).sqrt();
    let correlation = (spread > LEAST_SPREAD).then(|| correlation(a, b));
    Following { name, unit, correlation, spread, error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::fixture;

    #[test]
    fn a_scaled_and_shifted_reading_follows_perfectly_and_a_still_one_not_at_all() {
        let a: Vec<f64> = (0..20).map(|i| f64::from(i).sin()).collect();
        let scaled: Vec<f64> = a.iter().map(|v| 3.0 * v + 1.0).collect();
        assert!((follow("", "", &a, &scaled).correlation.unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(follow("", "", &a, &[0.5; 20]).correlation, Some(0.0));
        assert_eq!(follow("", "", &[0.5; 20], &a).correlation, None);
        assert_eq!(follow("", "", &[1.0, 1.0], &[4.0, 4.0]).error, 3.0);
    }

    #[test]
    fn quantities_are_found_by_the_names_of_their_channels() {
        let names: Vec<String> = ["blink_left", "jaw_open", "blink_right"].map(String::from).into();
        let found: Vec<_> = columns(&names).into_iter().map(|(name, _, picks)| (name, picks)).collect();
        assert_eq!(found, [("yaw", vec![0]), ("pitch", vec![1]), ("mouth", vec![3]), ("eyes", vec![2, 4])]);
    }

    #[test]
    fn equal_frames_are_the_same_person_at_no_distance() {
        let pack = fixture::pack(&fixture::Shape::tiny(), 1).unwrap();
        let mut reader = Reader::new(&pack, DeviceChoice::Cpu, Precision::Single).unwrap();
        let frame = |level: u8| Frame::filled(32, 32, [level, 90, 200 - level]).unwrap();
        for level in [10, 60, 160] {
            reader.push(&frame(level), &frame(level)).unwrap();
        }
        let readings = reader.finish();
        assert_eq!(readings.distance, 0.0);
        assert!(readings.person_psnr.unwrap() > 90.0, "{:?}", readings.person_psnr);
        assert!((readings.similarity_min.unwrap() - 1.0).abs() < 1e-3, "{:?}", readings.similarity_min);
        let yaw = &readings.following[0];
        assert_eq!((yaw.name, yaw.error), ("yaw", 0.0));
        assert_eq!(readings.curves[0][0].len(), 3);
    }
}
