//! What is enrolled, and learned beyond the pack's own pixels: for that the clips are cut once more, at twice the side.

use effigy::bitstream::Identity;
use effigy::encode::{enroll, learn_detail, AlignedFrame, EncodeOptions, DETAIL_CROPS};
use effigy::pack::Pack;
use effigy::params::FrameParams;
use effigy::Result;

use crate::clip::Aligned;
use crate::progress::Reporter;

/// The identity of the person in `crops`, those of the frames `picks` of all clips, one after the other; with a detail where settings and clips allow. Also where all
/// frames stood, as far as they were enrolled.
pub fn enrolled(
    pack: &Pack,
    (clips, picks, crops): (&[Aligned], &[usize], Vec<AlignedFrame>),
    options: &EncodeOptions,
    reporter: &Reporter,
) -> Result<(Identity, Vec<Option<FrameParams>>)> {
    let side = options.detail_side(pack).filter(|_| clips.iter().all(Aligned::has_more_pixels));
    let found = match side {
        Some(_) => enroll(pack, &crops, &options.leaving_detail()?, reporter)?,
        None => enroll(pack, &crops, options, reporter)?,
    };
    drop(crops);
    let mut params = vec![None; clips.iter().map(|clip| clip.tracks.len()).sum()];
    picks.iter().zip(found.params).for_each(|(i, found)| params[*i] = found);
    let identity = match side {
        Some(side) => learn(pack, found.identity, (clips, &params, side), options, reporter)?,
        None => found.identity,
    };
    Ok((identity, params))
}

fn learn(
    pack: &Pack,
    identity: Identity,
    (clips, params, side): (&[Aligned], &[Option<FrameParams>], u32),
    options: &EncodeOptions,
    reporter: &Reporter,
) -> Result<Identity> {
    let known: Vec<usize> = (0..params.len()).filter(|i| params[*i].is_some()).collect();
    let kept = known.len().min(DETAIL_CROPS);
    let known: Vec<usize> = (0..kept).map(|k| known[k * known.len() / kept]).collect();
    let (mut crops, mut first) = (Vec::with_capacity(kept), 0);
    for clip in clips {
        let last = first + clip.tracks.len();
        let own: Vec<usize> = known.iter().filter(|i| (first..last).contains(*i)).map(|i| i - first).collect();
        crops.extend(clip.pick_larger(side, &own, reporter)?);
        first = last;
    }
    let numbers: Vec<FrameParams> = known.iter().filter_map(|i| params[*i]).collect();
    learn_detail(pack, identity, (&crops, &numbers), options, reporter)
}
