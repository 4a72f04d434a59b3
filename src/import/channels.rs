//! The channels V of a generator that was not made for them, by index sensitivity (paper 3.4, equation 5).
//!
//! Input: generator, analysis networks, the parser's labels. Output: 32 channels with gains and sensitivities. One StyleSpace channel at a time is
//! moved by rising offsets, and the perceptual change between successive renders is measured inside each facial feature and over the rest
//! of the head; what changes one feature much and the rest little is kept. By forward differences: StyleSpace is not unique, so that
//! gradients mislead (equation 6).
//!
//! A thousand channels cannot all be judged perceptually on a CPU. A first pass screens them by pixels on two faces; the second judges
//! those that are left on all faces. Layers coarser than 16 x 16 move the head as a whole, those finer than 128 x 128 colour and texture it: they are passed over.

use super::regions::{Regions, FEATURES};
use super::scores::Scores;
use crate::error::{Error, Result};
use crate::net::analysis::Analysis;
use crate::net::ops::{to_vec, Calc};
use crate::net::synthesis::Run;
use crate::net::{Channel, Generator};
use crate::params::EXPRESSIONS;
use crate::progress::{check, Progress};
use std::path::PathBuf;
use tch::{no_grad, Kind, Tensor};

/// What alpha = 1 adds, in standard deviations of the channel's style over the domain.
const GAIN: f64 = 3.0;
/// Largest side that pictures are judged at.
const PREVIEW: i64 = 256;
/// Largest side that they are screened at: enough to see where something changes, and a third cheaper.
const SCREEN: i64 = 128;
/// Coarsest and finest side of a layer that is searched.
const COARSEST: i64 = 16;
const FINEST: i64 = 128;
/// Faces of the first pass.
const SCREENED_FACES: usize = 2;
/// Channels that the first pass leaves to the second, per feature.
const SHORTLIST: usize = 48;
/// Channels rendered at once.
const BATCH: usize = 8;
/// Draws that tell how far a style varies.
const DRAWS: i64 = 512;
/// Truncation of the faces: nearer to the mean they are more alike, and the parser is surer.
const PSI: f64 = 0.7;

/// Settings of the search.
#[derive(Clone, Debug)]
pub struct FindOptions {
    /// Faces that the second pass averages over.
    pub samples: usize,
    /// Start of all randomness.
    pub seed: u64,
    /// Number format of the convolutions.
    pub kind: Kind,
    /// Where finished parts are kept, so that an interrupted search goes on.
    pub state: Option<PathBuf>,
}

impl Default for FindOptions {
    fn default() -> Self {
        FindOptions { samples: 4, seed: 1, kind: Kind::Float, state: None }
    }
}

/// A channel with what was measured of it, averaged over faces.
#[derive(Clone, Debug)]
struct Candidate {
    layer: usize,
    channel: i64,
    /// Gamma_f per feature and that over the rest of the head, per unit of alpha.
    inside: Vec<f32>,
    outside: Vec<f32>,
}

impl Candidate {
    /// How much more the feature changes than the rest of the head.
    fn locality(&self, feature: usize) -> f32 {
        self.inside[feature] / self.outside[feature].max(1e-9)
    }
}

/// One face, ready to be disturbed.
struct Face {
    styles: Vec<Tensor>,
    base: Tensor,
    regions: Regions,
}

/// Everything that stays the same during a search.
struct Search<'a> {
    generator: &'a Generator,
    analysis: &'a Analysis,
    labels: &'a [String],
    options: &'a FindOptions,
    /// Offset of alpha = 1 per layer `[inputs]`.
    gains: Vec<Tensor>,
    /// Side of the pictures of the pass at hand.
    side: i64,
}

/// Finds V. `mean` `[dim]` is the mean of w over the domain.
///
/// # Errors
/// Misuse for no samples or a generator with fewer than 32 channels to choose from; cancelled; input/output of the state; device.
pub fn find(
    generator: &Generator,
    analysis: &Analysis,
    labels: &[String],
    mean: &Tensor,
    options: &FindOptions,
    progress: &dyn Progress,
) -> Result<Vec<Channel>> {
    if options.samples == 0 {
        return Err(Error::Misuse("the search for channels needs at least one sample".into()));
    }
    tch::manual_seed(options.seed as i64 ^ 0x0C4A_77E1);
    let (gains, w) = no_grad(|| draw(generator, mean, options.samples))?;
    let side = generator.config().resolution;
    let mut search = Search { generator, analysis, labels, options, gains, side: side.min(SCREEN) };
    let mut scores = Scores::open(options.state.as_deref(), &search.key(&w)?)?;
    let screened = search.screen(&w, &mut scores, progress)?;
    search.side = side.min(PREVIEW);
    let judged = search.judge(&w, screened, &mut scores, progress)?;
    let chosen = choose(&judged)?;
    chosen.into_iter().map(|(feature, number, c)| search.channel(feature, number, &c)).collect()
}

/// Gains per layer from the spread of styles, and latents `[samples, rows, dim]`.
fn draw(generator: &Generator, mean: &Tensor, samples: usize) -> Result<(Vec<Tensor>, Tensor)> {
    let options = (Kind::Float, generator.device());
    let dim = generator.config().style_dim;
    let w = generator.map(&Tensor::f_randn([DRAWS, dim], options)?)?;
    let styles = generator.styles(&generator.broadcast(&w, None)?)?;
    let gains = styles.iter().map(|s| s.f_std_dim([0i64].as_slice(), true, false)?.scale(GAIN)).collect::<Result<_>>()?;
    let w = generator.map(&Tensor::f_randn([samples as i64, dim], options)?)?;
    Ok((gains, generator.broadcast(&w, Some((PSI, mean)))?))
}

impl Search<'_> {
    /// Names the search: the same generator and settings give the same text.
    fn key(&self, w: &Tensor) -> Result<String> {
        let sum = |t: &Tensor| -> Result<f64> { t.f_abs()?.f_sum(Kind::Double)?.value() };
        let spread = self.gains.iter().map(sum).sum::<Result<f64>>()?;
        let o = self.options;
        Ok(format!("channels 1 samples {} seed {} kind {:?} w {:.6} spread {spread:.6}", o.samples, o.seed, o.kind, sum(w)?))
    }

    /// Layers whose channels are searched.
    fn layers(&self) -> impl Iterator<Item = usize> + '_ {
        let layers = self.generator.layers();
        let sides = COARSEST..=FINEST.min(self.side);
        (0..layers.len()).filter(move |i| !layers[*i].to_rgb && sides.contains(&layers[*i].side))
    }

    /// Goes on to the picture at the preview's side.
    fn finish(&self, mut run: Run, styles: &[Tensor]) -> Result<Tensor> {
        let layers = self.generator.layers();
        while run.layer() < layers.len() && layers[run.layer()].side <= self.side {
            let next = run.layer();
            self.generator.advance(&mut run, &styles[next])?;
        }
        match run.image() {
            Some(image) => Ok(image.f_clamp(-1.0, 1.0)?),
            None => Err(Error::Misuse("a generator without colour layers".into())),
        }
    }

    fn face(&self, w: &Tensor, index: usize) -> Result<Face> {
        let styles = self.generator.styles(&w.f_slice(0, index as i64, index as i64 + 1, 1)?)?;
        let base = self.finish(self.generator.start(&styles, self.options.kind)?, &styles)?;
        let view = self.analysis.view(&base, self.options.kind)?;
        let regions = Regions::new(self.analysis, &view, self.labels, self.side / 2, self.generator.device())?;
        Ok(Face { styles, base, regions })
    }

    /// Pictures with one channel moved each: channels `picks` of the layer that `run` has come to, by `share` of their gains.
    fn moved(&self, run: &Run, styles: &[Tensor], picks: &[i64], share: f64) -> Result<Tensor> {
        let (n, layer) = (picks.len() as i64, run.layer());
        let width = styles[layer].size()[1];
        let index = Tensor::f_from_slice(picks)?.f_to_device(self.generator.device())?;
        let gains = self.gains[layer].f_index_select(0, &index)?.scale(share)?.f_unsqueeze(1)?;
        let offsets = Tensor::f_zeros([n, width], (Kind::Float, index.device()))?.f_scatter(1, &index.f_unsqueeze(1)?, &gains)?;
        let mut all = Vec::with_capacity(styles.len());
        for (i, style) in styles.iter().enumerate() {
            let repeated = style.f_repeat([n, 1])?;
            all.push(if i == layer { repeated.plus(&offsets)? } else { repeated });
        }
        self.finish(run.repeated(n)?, &all)
    }

    /// Goes through the layers of one face, calling `measure` where the run has come to each that is searched.
    fn walk(&self, face: &Face, mut measure: impl FnMut(&Run, usize) -> Result<()>) -> Result<()> {
        let mut run = self.generator.start(&face.styles, self.options.kind)?;
        for layer in self.layers() {
            while run.layer() < layer {
                let next = run.layer();
                self.generator.advance(&mut run, &face.styles[next])?;
            }
            measure(&run, layer)?;
        }
        Ok(())
    }

    /// First pass: all channels, by the pixels that alpha = 1 changes.
    fn screen(&self, w: &Tensor, scores: &mut Scores, progress: &dyn Progress) -> Result<Vec<Candidate>> {
        let width = |layer: usize| self.generator.layers()[layer].inputs;
        let lists: Vec<(usize, Vec<i64>)> = self.layers().map(|layer| (layer, (0..width(layer)).collect())).collect();
        let faces = self.options.samples.min(SCREENED_FACES);
        let shares = [1.0];
        let all = self.pass("screen", w, faces, &lists, scores, progress, |face, run, picks| {
            let side = self.side / 2;
            let change = self.moved(run, &face.styles, picks, shares[0])?.minus(&face.base)?.f_abs()?;
            let change = change.f_mean_dim([1i64].as_slice(), true, Kind::Float)?.f_adaptive_avg_pool2d([side; 2])?;
            self.by_region(face, |map| Ok(change.times(map)?.f_mean_dim([1i64, 2, 3].as_slice(), false, Kind::Float)?))
        })?;
        Ok(shortlist(all))
    }

    /// Second pass: what is left, by the perceptual change between rising offsets.
    fn judge(&self, w: &Tensor, left: Vec<Candidate>, scores: &mut Scores, progress: &dyn Progress) -> Result<Vec<Candidate>> {
        let mut lists: Vec<(usize, Vec<i64>)> = self.layers().map(|layer| (layer, Vec::new())).collect();
        for c in &left {
            if let Some((_, list)) = lists.iter_mut().find(|(layer, _)| *layer == c.layer) {
                list.push(c.channel);
            }
        }
        lists.iter_mut().for_each(|(_, list)| list.sort_unstable());
        let kind = self.options.kind;
        self.pass("judge", w, self.options.samples, &lists, scores, progress, |face, run, picks| {
            let mut previous = self.analysis.view(&face.base.f_repeat([picks.len() as i64, 1, 1, 1])?, kind)?;
            let mut total: Option<Tensor> = None;
            for share in [0.5, 1.0] {
                let next = self.analysis.view(&self.moved(run, &face.styles, picks, share)?, kind)?;
                // As everywhere in this codec, the square root makes the distance proportional to small changes.
                let change = self.by_region(face, |map| Ok(self.analysis.distance(&previous, &next, Some(map))?.f_sqrt()?))?;
                total = Some(match total {
                    Some(sum) => sum.plus(&change)?,
                    None => change,
                });
                previous = next;
            }
            total.ok_or_else(|| Error::Misuse("no offsets".into()))
        })
    }

    /// `measure` with the maps of each feature, then of what is outside of each: `[picks, 2 * features]`.
    fn by_region(&self, face: &Face, measure: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let maps = face.regions.inside.iter().chain(&face.regions.outside);
        Ok(Tensor::f_stack(&maps.map(measure).collect::<Result<Vec<_>>>()?, 1)?)
    }

    /// Measures the listed channels on the first `faces` faces and averages; finished layers come from `scores`.
    #[allow(clippy::too_many_arguments)] // The seven are unlike each other, and a struct of them would serve this call alone.
    fn pass(
        &self,
        name: &str,
        w: &Tensor,
        faces: usize,
        lists: &[(usize, Vec<i64>)],
        scores: &mut Scores,
        progress: &dyn Progress,
        measure: impl Fn(&Face, &Run, &[i64]) -> Result<Tensor>,
    ) -> Result<Vec<Candidate>> {
        let count: usize = lists.iter().map(|(_, list)| list.len()).sum();
        let mut sums = vec![vec![0f32; 2 * FEATURES.len()]; count];
        progress.begin(&format!("{name} the channels"), (count * faces) as u64);
        let mut done = 0;
        for index in 0..faces {
            let face = no_grad(|| self.face(w, index))?;
            let mut first = 0;
            self.walk(&face, |run, layer| {
                let empty = Vec::new();
                let list = lists.iter().find(|(l, _)| *l == layer).map_or(&empty, |(_, list)| list);
                let values = scores.get_or(&format!("{name} face {index} layer {layer}"), || {
                    let mut values = Vec::new();
                    for picks in list.chunks(BATCH) {
                        check(progress)?;
                        values.extend(to_vec(&no_grad(|| measure(&face, run, picks))?)?);
                        progress.advance((done + values.len() / (2 * FEATURES.len())) as u64, "");
                    }
                    Ok(values)
                })?;
                if values.len() != list.len() * 2 * FEATURES.len() {
                    return Err(Error::Malformed("the state of the search does not fit it; remove the file".into()));
                }
                for (sum, row) in sums[first..].iter_mut().zip(values.chunks_exact(2 * FEATURES.len())) {
                    sum.iter_mut().zip(row).for_each(|(s, v)| *s += v / faces as f32);
                }
                (first, done) = (first + list.len(), done + list.len());
                progress.advance(done as u64, "");
                Ok(())
            })?;
        }
        progress.end();
        let places = lists.iter().flat_map(|(layer, list)| list.iter().map(move |c| (*layer, *c)));
        Ok(places
            .zip(sums)
            .map(|((layer, channel), row)| {
                let (inside, outside) = row.split_at(FEATURES.len());
                Candidate { layer, channel, inside: inside.to_vec(), outside: outside.to_vec() }
            })
            .collect())
    }

    fn channel(&self, feature: usize, number: usize, c: &Candidate) -> Result<Channel> {
        Ok(Channel {
            layer: c.layer,
            channel: c.channel,
            gain: self.gains[c.layer].f_select(0, c.channel)?.value()? as f32,
            feature: format!("{} {number}", FEATURES[feature].name),
            region: FEATURES[feature].region.into(),
            sensitivity: c.inside[feature],
        })
    }
}

/// The channels that change some feature most, those that change the rest as much left out.
fn shortlist(all: Vec<Candidate>) -> Vec<Candidate> {
    let mut kept = vec![false; all.len()];
    for feature in 0..FEATURES.len() {
        let score = |c: &Candidate| c.inside[feature] * (c.locality(feature) / 3.0).min(1.0);
        let mut order: Vec<usize> = (0..all.len()).collect();
        order.sort_by(|a, b| score(&all[*b]).total_cmp(&score(&all[*a])));
        order.iter().take(SHORTLIST).for_each(|i| kept[*i] = true);
    }
    all.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(c, _)| c).collect()
}

/// 32 channels as (feature, number within it, channel): per feature the strongest of those that leave the rest of the head alone. Where too few do,
/// the bar is lowered step by step.
fn choose(all: &[Candidate]) -> Result<Vec<(usize, usize, Candidate)>> {
    let mut taken = vec![false; all.len()];
    let mut out = Vec::new();
    // Small features first: a channel that moves the gaze moves the eyes too, and would be gone.
    let mut order: Vec<usize> = (0..FEATURES.len()).collect();
    order.sort_by_key(|f| FEATURES[*f].quota);
    for feature in order {
        let mut free: Vec<usize> = (0..all.len()).filter(|i| !taken[*i]).collect();
        free.sort_by(|a, b| all[*b].inside[feature].total_cmp(&all[*a].inside[feature]));
        let mut picks = Vec::new();
        let mut bar = 6.0;
        while picks.len() < FEATURES[feature].quota && bar > 1e-3 {
            for i in &free {
                if picks.len() < FEATURES[feature].quota && !taken[*i] && all[*i].locality(feature) >= bar {
                    taken[*i] = true;
                    picks.push(*i);
                }
            }
            bar *= 0.8;
        }
        out.extend(picks.iter().enumerate().map(|(n, i)| (feature, n + 1, all[*i].clone())));
    }
    if out.len() != EXPRESSIONS {
        return Err(Error::Misuse(format!("the generator has only {} style channels that change a face", out.len())));
    }
    out.sort_by_key(|(feature, number, _)| (*feature, *number));
    Ok(out)
}

/// The pack's ranges: degrees of the pose, then -1 to 1 for each channel.
pub(super) fn ranges() -> Vec<[f32; 2]> {
    // StyleFlow was trained on yaw and pitch of about this size; roll is a rotation of the crop and costs no quality.
    let mut out = vec![[-20.0, 20.0], [-20.0, 20.0], [-45.0, 45.0]];
    out.resize(crate::params::PARAMS, [-1.0, 1.0]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(channel: i64, feature: usize, strength: f32, rest: f32) -> Candidate {
        let mut inside = vec![rest; FEATURES.len()];
        inside[feature] = strength;
        Candidate { layer: 3, channel, inside, outside: vec![rest; FEATURES.len()] }
    }

    #[test]
    fn channels_that_change_one_feature_alone_are_chosen_before_stronger_ones_that_change_everything() {
        let mut all = Vec::new();
        for (feature, f) in FEATURES.iter().enumerate() {
            all.extend((0..f.quota as i64).map(|i| candidate(100 * feature as i64 + i, feature, 1.0, 0.05)));
            all.extend((50..60).map(|i| candidate(100 * feature as i64 + i, feature, 5.0, 4.0)));
        }
        let chosen = choose(&all).unwrap();
        assert_eq!(chosen.len(), EXPRESSIONS);
        for (feature, _, c) in &chosen {
            assert!(
                c.channel / 100 == *feature as i64 && c.channel % 100 < 50,
                "{} got channel {}",
                FEATURES[*feature].name,
                c.channel
            );
        }
    }

    #[test]
    fn a_feature_without_local_channels_lowers_the_bar() {
        let all: Vec<Candidate> = (0..64).map(|i| candidate(i, (i % 6) as usize, 1.0, 0.9)).collect();
        assert_eq!(choose(&all).unwrap().len(), EXPRESSIONS);
        assert!(choose(&all[..31]).is_err());
    }
}
