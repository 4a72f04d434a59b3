//! What is learned of an enrolled person beyond the pack's own pixels: the clip is cut once more, at twice the side.

use effigy::bitstream::Identity;
use effigy::encode::{learn_detail, AlignedFrame, EncodeOptions, Tuning};
use effigy::pack::Pack;
use effigy::params::FrameParams;
use effigy::residual::detail_side;
use effigy::Result;

use crate::clip::Aligned;
use crate::common::side;
use crate::progress::Reporter;

/// Side of the crops that a detail is learned from; None where there is none: it belongs to the maps, and crops of the pack's size have no more pixels.
pub fn side_for(pack: &Pack, options: &EncodeOptions, clips: &[Aligned]) -> Option<u32> {
    let wanted = options.maps && pack.config().directions && options.tuning != Tuning::None;
    detail_side(side(pack)).filter(|_| wanted && clips.iter().all(Aligned::has_more_pixels))
}

/// The identity with a detail, learned where `params` are known of the frames of the clips, one after the other.
pub fn learn(
    pack: &Pack,
    identity: Identity,
    (clips, params, side): (&[Aligned], &[Option<FrameParams>], u32),
    options: &EncodeOptions,
    reporter: &Reporter,
) -> Result<Identity> {
    let (mut crops, mut numbers, mut first) = (Vec::<AlignedFrame>::new(), Vec::new(), 0);
    for clip in clips {
        let own = &params[first..first + clip.tracks.len()];
        let known: Vec<usize> = (0..own.len()).filter(|i| own[*i].is_some()).collect();
        crops.extend(clip.pick_larger(side, &known, reporter)?);
        numbers.extend(own.iter().flatten());
        first += own.len();
    }
    learn_detail(pack, identity, (&crops, &numbers), options, reporter)
}
