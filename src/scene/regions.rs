//! Which region of the face each pixel of a crop belongs to, by the pack's parser.
//!
//! In: upright crops of one side in the FFHQ framing. Out: for every pixel the number of a class, a place among `labels` of the pack's configuration.

use crate::decode::{DeviceChoice, Precision};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::net::ops::to_tensor;
use crate::net::Analysis;
use crate::pack::Pack;
use tch::{no_grad, Device, Kind, Tensor};

/// Crops looked at together.
const BATCH: usize = 8;

/// Finds regions.
#[derive(Debug)]
pub struct Parser {
    net: Analysis,
    pack: String,
    device: Device,
    kind: Kind,
}

impl Parser {
    /// With the parser of `pack`.
    ///
    /// # Errors
    /// `Unsupported` for packs that only decode; device.
    pub fn new(pack: &Pack, device: DeviceChoice, precision: Precision) -> Result<Parser> {
        let device = device.resolve()?;
        let kind = precision.resolve(device)?;
        Ok(Parser { net: pack.analysis(device)?, pack: pack.config().name.clone(), device, kind })
    }

    /// The class of every pixel, row by row, for each of `crops`; the parser's logits are interpolated to the crops' side.
    ///
    /// # Errors
    /// `Unsupported` for packs without a parser; `Misuse` for crops of several sizes; device.
    pub fn regions(&self, crops: &[Frame]) -> Result<Vec<Vec<u8>>> {
        if let Some(other) = crops.iter().find(|c| (c.width, c.height) != (crops[0].width, crops[0].height)) {
            let (first, what) = (&crops[0], format!("{} x {}", other.width, other.height));
            return Err(Error::Misuse(format!("crops of {} x {} and of {what}", first.width, first.height)));
        }
        let mut out = Vec::with_capacity(crops.len());
        for part in crops.chunks(BATCH) {
            let found = no_grad(|| self.batch(part))?;
            for i in 0..part.len() as i64 {
                out.push(Vec::<u8>::try_from(found.f_select(0, i)?.f_flatten(0, -1)?)?);
            }
        }
        Ok(out)
    }

    fn batch(&self, crops: &[Frame]) -> Result<Tensor> {
        let images = to_tensor(&crops.iter().collect::<Vec<_>>(), self.device)?;
        let logits = self.net.parse(&self.net.view(&images, self.kind)?)?;
        let logits = logits.ok_or_else(|| Error::Unsupported(format!("pack {} has no parser", self.pack)))?;
        let size = [images.size()[2], images.size()[3]];
        let classes = logits.f_upsample_bilinear2d(size, false, None, None)?.f_argmax(1, false)?;
        Ok(classes.f_to_kind(Kind::Uint8)?.f_to_device(Device::Cpu)?.f_contiguous()?)
    }
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
        let parser = Parser::new(&pack, DeviceChoice::Cpu, Precision::Single).unwrap();
        let found = parser.regions(&crops).unwrap();
        assert!(found.len() == 3 && found.iter().all(|f| f.len() == 48 * 48));
        assert!(found.iter().flatten().all(|class| usize::from(*class) < pack.config().labels.len()));
        assert!(found[0] == found[2] && found[0] != found[1]);
        let other = Frame::filled(32, 32, [90; 3]).unwrap();
        assert!(matches!(parser.regions(&[crops[0].clone(), other]), Err(Error::Misuse(_))));
    }
}
