//! Which region of the face each pixel of a crop belongs to, by the pack's parser.
//!
//! In: upright crops of one side in the FFHQ framing. Out: for every pixel the number of a class, a place among `labels` of the pack's configuration.

use crate::decode::{DeviceChoice, Precision};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::net::ops::to_tensor;
use crate::pack::Pack;
use tch::{no_grad, Kind, Tensor};

/// Crops looked at together.
const BATCH: usize = 8;

/// The class of every pixel, row by row, for each of `crops`; the parser's logits are interpolated to the crops' side.
///
/// # Errors
/// `Unsupported` for packs without a parser; device.
pub fn regions(pack: &Pack, crops: &[Frame], device: DeviceChoice, precision: Precision) -> Result<Vec<Vec<u8>>> {
    let device = device.resolve()?;
    let (net, kind) = (pack.analysis(device)?, precision.resolve(device)?);
    let mut out = Vec::with_capacity(crops.len());
    for part in crops.chunks(BATCH) {
        let images = to_tensor(&part.iter().collect::<Vec<_>>(), device)?;
        let found = no_grad(|| -> Result<Tensor> {
            let logits = net.parse(&net.view(&images, kind)?)?;
            let logits = logits.ok_or_else(|| Error::Unsupported(format!("pack {} has no parser", pack.config().name)))?;
            let size = [images.size()[2], images.size()[3]];
            let classes = logits.f_upsample_bilinear2d(size, false, None, None)?.f_argmax(1, false)?;
            Ok(classes.f_to_kind(Kind::Uint8)?.f_to_device(tch::Device::Cpu)?.f_contiguous()?)
        })?;
        for i in 0..part.len() as i64 {
            out.push(Vec::<u8>::try_from(found.f_select(0, i)?.f_flatten(0, -1)?)?);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::fixture;

    #[test]
    fn every_pixel_of_every_crop_has_a_class_and_equal_crops_have_equal_ones() {
        let pack = fixture::tiny(1).unwrap();
        let data = (0..3 * 48 * 48).map(|i| ((i * 7) ^ (i / 144 * 5)) as u8).collect();
        let noise = Frame::new(48, 48, data).unwrap();
        let crops = [noise.clone(), Frame::filled(48, 48, [90; 3]).unwrap(), noise];
        let found = regions(&pack, &crops, DeviceChoice::Cpu, Precision::Single).unwrap();
        assert!(found.len() == 3 && found.iter().all(|f| f.len() == 48 * 48));
        assert!(found.iter().flatten().all(|class| usize::from(*class) < pack.config().labels.len()));
        assert!(found[0] == found[2] && found[0] != found[1]);
    }
}
