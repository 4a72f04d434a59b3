//! The detail of an enrolled person: what of their crops is finer than the generator draws, learned as one picture that the numbers displace.
//!
//! In: crops at twice the pack's side and their numbers. Out: the identity with a detail, within so many bytes. The generator's maps do the same inside, up to its own side.
//! Source: ours.

use super::tune::Deck;
use super::{spread, AlignedFrame, EncodeOptions, DETAIL_SHARE};
use crate::bitstream::{tuned_bytes, Identity, DETAIL};
use crate::decode::{DecodeOptions, Decoder};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::net::adam::Adam;
use crate::net::detail::{fine, Enlarger};
use crate::net::ops::{to_tensor, to_vec, Calc};
use crate::pack::Pack;
use crate::params::FrameParams;
use crate::progress::{check, Progress};
use crate::residual::{detail_side, detail_tensor};
use tch::{no_grad, Device, Kind, Tensor};

/// Steps, crops in each, and the rate they begin with, in units of the pictures ([-1, 1]).
const STEPS: u64 = 200;
const BATCH: usize = 4;
const RATE: f64 = 0.02;
/// Most crops that [`learn_detail`] looks at, spread evenly: more tell nothing new and fill the memory.
pub const DETAIL_CROPS: usize = 200;
/// Price of the detail's own power: what no crop asks for stays away.
const CALM: f64 = 1e-3;
/// Share of the squared error that a detail must take away to be sent.
const WORTH: f64 = 0.01;
/// Steps of the coder that are tried, from half a grey level on, an eighth of an octave apart.
const CODES: std::ops::Range<i16> = -8..48;

/// Learns the detail of an identity from crops of the person at [`detail_side`] pixels, `params` the numbers that its pictures of them are drawn with: for receivers that
/// show more pixels than the pack draws. It takes all that the identity leaves of `options`' bytes ([`EncodeOptions::leaving_detail`] sees to that), and counts the background like
/// everything else. An identity stays as it is where less than one byte in fifty is left, where a detail would change next to nothing, and with packs that draw more than 256
/// pixels. A detail that is there already is replaced.
///
/// # Errors
/// Misuse for crops of another size, or another number of them; no content without any; as [`Decoder::new`]; cancelled; device.
pub fn learn_detail(
    pack: &Pack,
    identity: Identity,
    (frames, params): (&[AlignedFrame], &[FrameParams]),
    options: &EncodeOptions,
    progress: &dyn Progress,
) -> Result<Identity> {
    let Some(side) = detail_side(identity.resolution) else { return Ok(identity) };
    let mut identity = identity;
    identity.tuned.retain(|tensor| tensor.name != DETAIL);
    check_crops((frames, params), side)?;
    let (most, plain) = (options.bytes()?, identity.to_bytes()?.len());
    if plain + most / (2 * DETAIL_SHARE) > most {
        log::info!("no bytes are left for a detail");
        return Ok(identity);
    }
    let looks = Looks::new(pack, &identity, (frames, params), options)?;
    progress.begin("learn the detail", STEPS);
    let picture = looks.fit(options.seed, progress)?;
    progress.end();
    let picture = to_vec(&picture.f_permute([0, 2, 3, 1])?.scale(127.5)?)?;
    let Some(with) = coded(&identity, &picture, (side, most), progress)? else { return Ok(identity) };
    let (before, after) = (looks.error(&identity)?, looks.error(&with)?);
    let gain = 10.0 * (before / after.max(1e-12)).log10();
    if after > (1.0 - WORTH) * before {
        log::info!("a detail would gain {gain:.2} dB: none is sent");
        return Ok(identity);
    }
    log::info!("the detail gains {gain:.2} dB at {side} x {side} for {} bytes", with.to_bytes()?.len() - plain);
    Ok(with)
}

fn check_crops((frames, params): (&[AlignedFrame], &[FrameParams]), side: u32) -> Result<()> {
    if frames.is_empty() {
        return Err(Error::NoContent("no crops to learn a detail from".into()));
    }
    if frames.len() != params.len() || frames.iter().any(|f| (f.frame.width, f.frame.height) != (side, side)) {
        let (frames, params) = (frames.len(), params.len());
        return Err(Error::Misuse(format!("detail: {frames} crops for {params} parameters, or not of {side} x {side}")));
    }
    Ok(())
}

/// The identity with this picture as its detail, as finely as it fits into so many bytes; None where it does not fit at all.
fn coded(identity: &Identity, picture: &[f32], (side, most): (u32, usize), progress: &dyn Progress) -> Result<Option<Identity>> {
    let room = most.saturating_sub(identity.to_bytes()?.len());
    for code in CODES {
        check(progress)?;
        let tensor = detail_tensor(picture, side as usize, code)?;
        // What it takes alone is nearly what it takes beside the others, and soon counted.
        if tuned_bytes(std::slice::from_ref(&tensor))? > room {
            continue;
        }
        let mut with = identity.clone();
        with.tuned.push(tensor);
        let bytes = with.to_bytes()?;
        if bytes.len() <= most {
            return Identity::from_bytes(&bytes).map(Some);
        }
    }
    Ok(None)
}

fn tensor<'f>(frames: impl Iterator<Item = &'f Frame>, device: Device) -> Result<Tensor> {
    to_tensor(&frames.collect::<Vec<_>>(), device)
}

/// Crops, and what they are drawn as.
struct Looks<'a> {
    pack: &'a Pack,
    decoding: DecodeOptions,
    params: Vec<FrameParams>,
    crops: Vec<&'a Frame>,
    drawn: Vec<Frame>,
    /// By how much the nodes are displaced, `[n, 2, 16, 16]`.
    nodes: Option<Tensor>,
    device: Device,
}

impl<'a> Looks<'a> {
    fn new(
        pack: &'a Pack,
        identity: &Identity,
        (frames, params): (&'a [AlignedFrame], &[FrameParams]),
        options: &EncodeOptions,
    ) -> Result<Self> {
        let picks: Vec<usize> = spread(frames.len(), DETAIL_CROPS).collect();
        let EncodeOptions { device, precision, threads, .. } = *options;
        let decoding = DecodeOptions { device, precision, threads, ..DecodeOptions::default() };
        let mut decoder = Decoder::new(pack, identity, &decoding)?;
        let params: Vec<FrameParams> = picks.iter().map(|i| params[*i]).collect();
        let drawn = decoder.render_batch(&params)?;
        let nodes = decoder.displacements(&params)?;
        let crops = picks.iter().map(|i| &frames[*i].frame).collect();
        Ok(Looks { pack, decoding, params, crops, drawn, nodes, device: device.resolve()? })
    }

    /// The picture `[1, 3, side, side]` that is nearest to what the drawn pictures lack, where the numbers displace it to. None of it is coarse: the generator draws that.
    fn fit(&self, seed: u64, progress: &dyn Progress) -> Result<Tensor> {
        let side = i64::from(self.crops[0].width);
        let free = Tensor::f_zeros([1, 3, side, side], (Kind::Float, self.device))?.f_set_requires_grad(true)?;
        let mut adam = Adam::new(0.9, 0.99);
        adam.add_scalar(&free, RATE)?;
        let mut deck = Deck::new(self.crops.len(), seed);
        let enlarger = Enlarger::bicubic(side / 2, self.device)?;
        for step in 0..STEPS {
            check(progress)?;
            let picks = deck.draw(BATCH);
            let crops = tensor(picks.iter().map(|i| self.crops[*i as usize]), self.device)?;
            let drawn = tensor(picks.iter().map(|i| &self.drawn[*i as usize]), self.device)?;
            let index = Tensor::f_from_slice(&picks)?.f_to_device(self.device)?;
            let nodes = self.nodes.as_ref().map(|nodes| nodes.f_index_select(0, &index)).transpose()?;
            let own = fine(&free)?;
            let shown = enlarger.detailed(&drawn, &own, nodes.as_ref())?;
            let loss = shown.minus(&crops)?.f_square()?.average()?.plus(&own.f_square()?.average()?.scale(CALM)?)?;
            let rate = 0.05 + 0.95 * (0.5 + 0.5 * (std::f64::consts::PI * step as f64 / STEPS as f64).cos());
            adam.step(&loss, rate)?;
            progress.advance(step + 1, "");
        }
        no_grad(|| fine(&free))
    }

    /// Mean squared difference of the crops and what a receiver of this identity shows at their size, grey levels.
    fn error(&self, identity: &Identity) -> Result<f64> {
        let mut decoder = Decoder::new(self.pack, identity, &self.decoding)?;
        let mut sum = 0.0;
        for ((crops, drawn), params) in self.crops.chunks(BATCH).zip(self.drawn.chunks(BATCH)).zip(self.params.chunks(BATCH)) {
            let shown = tensor(decoder.detailed(drawn, params, &[])?.iter(), self.device)?;
            let off = shown.minus(&tensor(crops.iter().copied(), self.device)?)?.scale(127.5)?;
            sum += off.f_square()?.average()?.value()? * crops.len() as f64;
        }
        Ok(sum / self.crops.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::fixture;
    use crate::progress::Silent;

    /// What an identity of the tiny pack, whose numbers displace its pictures, draws at twice its side with a pattern on it that moves along.
    fn crops(pack: &Pack, identity: &Identity, params: &[FrameParams]) -> Vec<AlignedFrame> {
        let stripes: Vec<f32> =
            (0..64 * 64).flat_map(|i| [if (i % 64) / 2 % 2 == i / 64 / 3 % 2 { 30.0 } else { -30.0 }; 3]).collect();
        let mut with = identity.clone();
        with.tuned.push(detail_tensor(&stripes, 64, -16).unwrap());
        let decoding = DecodeOptions { device: crate::decode::DeviceChoice::Cpu, ..DecodeOptions::default() };
        let mut decoder = Decoder::new(pack, &with, &decoding).unwrap();
        let plain = decoder.render_batch(params).unwrap();
        let pictures = decoder.detailed(&plain, params, &[]).unwrap();
        (0..).zip(pictures).map(|(i, picture)| AlignedFrame::whole(i, picture, i == 0)).collect()
    }

    #[test]
    fn a_pattern_that_moves_with_the_numbers_is_learned_within_the_bytes() {
        let pack = fixture::tiny(1).unwrap();
        let mut identity = fixture::identity(&pack, 1).unwrap();
        let warp = fixture::rule("nodes", 34 * 2 * 16 * 16, 0.4, 0.0);
        let name = format!(
            "{}.warp",
            pack.generator(Device::Cpu).unwrap().layers()[pack.generator(Device::Cpu).unwrap().warped_before()].name
        );
        let rule = crate::bitstream::StepRule::Fixed(0.01);
        identity.tuned.push(crate::bitstream::TunedTensor::quantise(&name, &[34, 2, 16, 16], &warp, rule).unwrap());
        let identity = Identity::from_bytes(&identity.to_bytes().unwrap()).unwrap();
        let at = |k: f32| FrameParams { yaw: 20.0 * k, pitch: -10.0 * k, alpha: [0.5 * k; 32], ..FrameParams::default() };
        let params: Vec<FrameParams> = (0..6).map(|i| at(i as f32 / 2.5 - 1.0)).collect();
        let frames = crops(&pack, &identity, &params);
        let plain = identity.to_bytes().unwrap().len();
        let options = |bytes| EncodeOptions {
            identity_bytes: Some(bytes),
            device: crate::decode::DeviceChoice::Cpu,
            ..EncodeOptions::default()
        };
        let most = (plain + 3000).max(crate::encode::MIN_IDENTITY_BYTES);
        let learned = |bytes| learn_detail(&pack, identity.clone(), (&frames, &params), &options(bytes), &Silent).unwrap();
        let with = learned(most);
        let looks = Looks::new(&pack, &identity, (&frames, &params), &options(most)).unwrap();
        let (before, after) = (looks.error(&identity).unwrap(), looks.error(&with).unwrap());
        println!("{before} before, {after} after, {} of {most} bytes", with.to_bytes().unwrap().len());
        assert!(after < 0.2 * before && with.to_bytes().unwrap().len() <= most);
        // Once more it takes the place of the one before, and where nothing is missing there is none.
        let again = learn_detail(&pack, with.clone(), (&frames, &params), &options(most), &Silent).unwrap();
        assert!(again == with);
        let mut decoder = Decoder::new(&pack, &identity, &looks.decoding).unwrap();
        let drawn = decoder.render_batch(&params).unwrap();
        let smooth = decoder.detailed(&drawn, &params, &[]).unwrap();
        let smooth: Vec<_> = (0..).zip(smooth).map(|(i, frame)| AlignedFrame::whole(i, frame, i == 0)).collect();
        let none = learn_detail(&pack, identity.clone(), (&smooth, &params), &options(most), &Silent).unwrap();
        assert!(none == identity);
    }

    #[test]
    fn crops_that_do_not_fit_are_refused() {
        let pack = fixture::tiny(1).unwrap();
        let identity = fixture::identity(&pack, 1).unwrap();
        let small = AlignedFrame::whole(0, Frame::filled(32, 32, [0; 3]).unwrap(), true);
        let learn = |frames: &[AlignedFrame], params: &[FrameParams]| {
            learn_detail(&pack, identity.clone(), (frames, params), &EncodeOptions::default(), &Silent)
        };
        assert!(matches!(learn(&[small], &[FrameParams::default()]), Err(Error::Misuse(_))));
        assert!(matches!(learn(&[], &[]), Err(Error::NoContent(_))));
    }
}
