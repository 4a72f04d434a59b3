//! Figures for a pack's model card, measured on parametric heads that no training draws.
//!
//! In: a pack of our own trainer. Out: how well its parser, predictor, encoder and generator do, each against exact truth, and for thirds of
//! skin tones and ages. A pair of heads is one person twice: the encoder reads the first, the generator draws the second with its
//! true numbers, nothing is tuned.

use super::data::{head, Batch, HeadSet};
use super::generator::Model;
use super::heads::{self, slot, EXPRESSION_NAMES, LABEL_NAMES};
use crate::error::{Error, Result};
use crate::evaluate::metrics::correlation;
use crate::limits::MAX_FRAMES_TRAINED;
use crate::net::facenet::FaceNet;
use crate::net::ops::{to_tensor, to_vec, Calc};
use crate::net::{Analysis, PoseFlow};
use crate::pack::Pack;
use crate::progress::{check, Progress};
use rayon::prelude::*;
use tch::{no_grad, Device, Kind, Tensor};

/// Seeds of the heads: trainings use seeds below 2^47.
const UNSEEN: u64 = 1 << 50;
/// Persons looked at together.
const STEP: i64 = 8;
/// Persons among whom each must be found again.
const AMONG: usize = 50;
/// Side of the pictures whose regions are compared, pixels.
const PARSED: u32 = 256;
/// Third of a normal distribution.
const THIRD: f32 = 0.4307;

/// What was measured.
#[derive(Clone, Debug)]
pub struct Card {
    /// Persons, two pictures each.
    pub persons: usize,
    /// Intersection over union of each region that occurs, pixels of all pictures together, at 256 x 256: there the logits are interpolated.
    pub regions: Vec<(String, f64)>,
    /// Correlation of the predictor's yaw and pitch with the truth, and root mean square error in degrees.
    pub angles: [(f64, f64); 2],
    /// Per channel: correlation with the truth of what the predictor reads from the rendered head, and of what it reads from the
    /// generator's picture of it.
    pub expressions: Vec<(String, f64, f64)>,
    /// All persons, then thirds by skin tone and age.
    pub groups: Vec<Group>,
}

/// Figures of some persons.
#[derive(Clone, Debug)]
pub struct Group {
    /// Who.
    pub name: String,
    /// How many.
    pub persons: usize,
    /// Mean intersection over union of the regions.
    pub iou: f64,
    /// Mean PSNR of the untuned drawings, dB over the whole picture.
    pub psnr: f64,
    /// Share whose drawing's identity embedding is nearest to their own first picture's, among up to 50 people.
    pub found: f64,
}

/// What is kept of each picture drawn.
#[derive(Default)]
struct Seen {
    /// Pixels per true and found class, per person.
    confusion: Vec<Vec<i64>>,
    truth: Vec<[f32; 34]>,
    read: Vec<[f32; 34]>,
    read_drawn: Vec<[f32; 34]>,
    psnr: Vec<f64>,
    source: Vec<Vec<f32>>,
    drawn: Vec<Vec<f32>>,
}

/// Measures a pack on `persons` pairs of heads.
///
/// # Errors
/// `Unsupported` for packs that the trainer did not make; `Misuse` for fewer than two persons; cancelled; device.
pub fn measure(pack: &Pack, persons: usize, progress: &dyn Progress) -> Result<Card> {
    let device = Device::Cpu;
    let (PoseFlow::Rows(flow), Analysis::Built(net)) = (pack.flow(device)?, pack.analysis(device)?) else {
        return Err(Error::Unsupported(format!("pack {}: only packs of this trainer are measured on heads", pack.config().name)));
    };
    if !(2..=MAX_FRAMES_TRAINED / 2).contains(&persons) {
        return Err(Error::Misuse(format!("{persons} persons: from 2 to {}", MAX_FRAMES_TRAINED / 2)));
    }
    let generator = pack.generator(device)?;
    let model = Model { generator: &generator, flow: &flow, net: &net, channels: &pack.config().channels };
    let set = HeadSet::render(2 * persons, generator.config().resolution, UNSEEN, None, progress)?;
    let mut seen = Seen::default();
    progress.begin("measure", persons as u64);
    for first in (0..persons as i64).step_by(STEP as usize) {
        check(progress)?;
        let who: Vec<i64> = (first..(first + STEP).min(persons as i64)).collect();
        let [sources, targets] = [0, 1].map(|k| set.pick(&who.iter().map(|i| 2 * i + k).collect::<Vec<_>>(), set.side, device));
        no_grad(|| look(&model, &sources?, &targets?, &mut seen))?;
        no_grad(|| parse(&net, &who, &mut seen))?;
        progress.advance(first as u64 + who.len() as u64, "");
    }
    progress.end();
    Ok(summary(&seen, persons))
}

fn look(model: &Model, sources: &Batch, targets: &Batch, seen: &mut Seen) -> Result<()> {
    let kind = Kind::Float;
    let (before, after) = (model.net.features(&sources.images, kind)?, model.net.features(&targets.images, kind)?);
    let w = model.generator.broadcast(&model.net.encode(&before)?, None)?;
    let side = targets.images.size()[2];
    let drawn = model.render(&w, targets, side, kind)?.f_clamp(-1.0, 1.0)?;
    let redrawn = model.net.features(&drawn, kind)?;
    let numbers = |(angles, expression): (Tensor, Tensor)| -> Result<Vec<[f32; 34]>> {
        let all = to_vec(&Tensor::f_cat(&[angles, expression], 1)?)?;
        Ok(all.chunks_exact(34).map(|row| std::array::from_fn(|i| row[i])).collect())
    };
    seen.truth.extend(numbers((targets.angles.shallow_clone(), targets.expression.shallow_clone()))?);
    seen.read.extend(numbers(model.net.predict(&after)?)?);
    seen.read_drawn.extend(numbers(model.net.predict(&redrawn)?)?);
    let rows = |t: Tensor| -> Result<Vec<Vec<f32>>> {
        let n = t.size()[1] as usize;
        Ok(to_vec(&t)?.chunks_exact(n).map(<[f32]>::to_vec).collect())
    };
    seen.source.extend(rows(model.net.embed(&before)?)?);
    seen.drawn.extend(rows(model.net.embed(&redrawn)?)?);
    let error = drawn.minus(&targets.images)?.f_square()?.f_mean_dim([1i64, 2, 3].as_slice(), false, Kind::Float)?;
    // The range is 2.
    seen.psnr.extend(to_vec(&error)?.iter().map(|e| 10.0 * (4.0 / f64::from(*e).max(1e-10)).log10()));
    Ok(())
}

/// Compares the regions found in the second pictures of `persons` with the true ones.
fn parse(net: &FaceNet, persons: &[i64], seen: &mut Seen) -> Result<()> {
    let draw = |i: &i64| heads::render(&head(UNSEEN, 2 * *i as usize + 1), PARSED);
    let drawn: Vec<_> = persons.par_iter().map(draw).collect();
    let (side, classes) = (i64::from(PARSED), LABEL_NAMES.len() as i64);
    for picture in &drawn {
        let logits = net.parse(&net.features(&to_tensor(&[&picture.frame], Device::Cpu)?, Kind::Float)?)?;
        let found = logits.f_upsample_bilinear2d([side; 2], false, None, None)?.f_argmax(1, false)?.f_flatten(0, -1)?;
        let truth = Tensor::f_from_slice(&picture.labels)?.f_to_kind(Kind::Int64)?;
        let cells = truth.scale(classes as f64)?.plus(&found)?.f_to_kind(Kind::Int64)?;
        let counts = cells.f_bincount::<Tensor>(None, classes * classes)?;
        seen.confusion.push(Vec::<i64>::try_from(counts.f_contiguous()?)?);
    }
    Ok(())
}

fn summary(seen: &Seen, persons: usize) -> Card {
    let everybody: Vec<usize> = (0..persons).collect();
    let column = |rows: &[[f32; 34]], i: usize| rows.iter().map(|row| f64::from(row[i])).collect::<Vec<_>>();
    let truth = |i| column(&seen.truth, i);
    let angles = [0, 1].map(|i| {
        let (a, b) = (truth(i), column(&seen.read, i));
        let square = a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / persons as f64;
        (correlation(&a, &b), square.sqrt())
    });
    let expressions = EXPRESSION_NAMES
        .iter()
        .enumerate()
        .map(|(i, name)| {
            let a = truth(2 + i);
            let against = |rows| correlation(&a, &column(rows, 2 + i));
            (name.to_string(), against(&seen.read), against(&seen.read_drawn))
        })
        .collect();
    let traits: Vec<[f32; 2]> = (0..persons as u64)
        .map(|i| {
            let identity = heads::pair(UNSEEN + i).0.identity;
            [identity[slot::SKIN], identity[slot::AGE]]
        })
        .collect();
    let mut groups = vec![group("everybody", &everybody, seen)];
    for (k, names) in
        [["first third of skin tones", "second", "last"], ["youngest third", "middle", "oldest"]].into_iter().enumerate()
    {
        for (third, name) in names.into_iter().enumerate() {
            let inside = |i: &usize| usize::from(traits[*i][k] > -THIRD) + usize::from(traits[*i][k] > THIRD) == third;
            let who: Vec<usize> = everybody.iter().copied().filter(inside).collect();
            if !who.is_empty() {
                groups.push(group(name, &who, seen));
            }
        }
    }
    Card { persons, regions: unions(&everybody, seen), angles, expressions, groups }
}

fn group(name: &str, who: &[usize], seen: &Seen) -> Group {
    let regions = unions(who, seen);
    let count = who.len() as f64;
    let found = who.iter().filter(|i| is_found(**i, seen)).count() as f64;
    Group {
        name: name.into(),
        persons: who.len(),
        iou: regions.iter().map(|(_, v)| v).sum::<f64>() / regions.len().max(1) as f64,
        psnr: who.iter().map(|i| seen.psnr[*i]).sum::<f64>() / count,
        found: found / count,
    }
}

/// Whether the embedding of a person's drawing is nearest to that of their own source, among those of the same fifty.
fn is_found(i: usize, seen: &Seen) -> bool {
    let first = i / AMONG * AMONG;
    let last = (first + AMONG).min(seen.source.len());
    is_nearest(&seen.drawn[i], i - first, &seen.source[first..last])
}

/// Whether no other embedding of `all` is as near to `one` as that of person `own`.
pub(super) fn is_nearest(one: &[f32], own: usize, all: &[Vec<f32>]) -> bool {
    let closeness = |other: &[f32]| -> f32 { one.iter().zip(other).map(|(a, b)| a * b).sum() };
    let best = closeness(&all[own]);
    all.iter().enumerate().all(|(i, other)| i == own || closeness(other) < best)
}

/// Intersection over union per class that occurs in the truth.
fn unions(who: &[usize], seen: &Seen) -> Vec<(String, f64)> {
    let n = LABEL_NAMES.len();
    let mut total = vec![0i64; n * n];
    for i in who {
        for (sum, count) in total.iter_mut().zip(&seen.confusion[*i]) {
            *sum += count;
        }
    }
    let class = |c: usize| {
        let (row, column): (i64, i64) = ((0..n).map(|j| total[c * n + j]).sum(), (0..n).map(|j| total[j * n + c]).sum());
        let both = total[c * n + c];
        (row > 0).then(|| (LABEL_NAMES[c].to_string(), both as f64 / (row + column - both) as f64))
    };
    (0..n).filter_map(class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_parser_has_union_one_and_a_half_right_one_a_third() {
        let n = LABEL_NAMES.len();
        let mut confusion = vec![0i64; n * n];
        // Ten pixels of class 1 found; of ten of class 2 five are taken for class 0, and five of class 0 for class 2.
        (confusion[n + 1], confusion[2 * n + 2], confusion[2 * n], confusion[2]) = (10, 5, 5, 5);
        let seen = Seen { confusion: vec![confusion], ..Seen::default() };
        let found = unions(&[0], &seen);
        assert_eq!(found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), &LABEL_NAMES[..3]);
        let values: Vec<f64> = found.iter().map(|(_, v)| *v).collect();
        assert!((values[1] - 1.0).abs() < 1e-9 && (values[2] - 1.0 / 3.0).abs() < 1e-9 && values[0] == 0.0, "{values:?}");
    }

    #[test]
    fn a_person_is_found_when_nobody_else_is_nearer() {
        let source = vec![vec![1.0, 0.0], vec![0.0, 1.0], vec![0.8, 0.6]];
        let seen = Seen { drawn: vec![vec![0.9, 0.1], vec![0.7, 0.7], vec![0.8, 0.6]], source, ..Seen::default() };
        assert_eq!([0, 1, 2].map(|i| is_found(i, &seen)), [true, false, true]);
    }

    #[test]
    fn every_pixel_of_the_second_pictures_is_counted_once_by_its_true_class() {
        let pack = crate::pack::fixture::tiny(1).unwrap();
        let Analysis::Built(net) = pack.analysis(Device::Cpu).unwrap() else { panic!("built") };
        let mut seen = Seen::default();
        no_grad(|| parse(&net, &[0, 3], &mut seen)).unwrap();
        let n = LABEL_NAMES.len();
        for (person, table) in [0, 3].into_iter().zip(&seen.confusion) {
            let labels = heads::render(&heads::pair(UNSEEN + person).1, PARSED).labels;
            let count = |class: usize| labels.iter().filter(|l| usize::from(**l) == class).count() as i64;
            assert!((0..n).all(|class| table[class * n..(class + 1) * n].iter().sum::<i64>() == count(class)), "{person}");
        }
    }
}
