//! Which part of a crop is the person: everything that the pack's region parser does not take for background.
//!
//! In: upright crops in the FFHQ framing, decoded or from a camera. Out: a [`Matte`] each.

use crate::decode::{DeviceChoice, Matte, Precision};
use crate::error::Result;
use crate::frame::Frame;
use crate::net::ops::{to_tensor, to_vec, Calc};
use crate::net::{Analysis, AnalysisConfig};
use crate::pack::Pack;
use tch::{no_grad, Device, Kind};

/// Crops looked at together.
const BATCH: usize = 8;
/// Finest matte, pixels: parsers see no more.
const MAX_SIDE: i64 = 128;
/// From here on a place is rather the person's.
const HALF: u8 = 128;

/// Finds mattes.
#[derive(Debug)]
pub struct Matter {
    net: Analysis,
    /// Which of the parser's classes is the background.
    background: Vec<i64>,
    device: Device,
    kind: Kind,
}

impl Matter {
    /// `None` if the pack has no parser that knows a background.
    ///
    /// # Errors
    /// Malformed packs; device.
    pub fn new(pack: &Pack, device: DeviceChoice, precision: Precision) -> Result<Option<Matter>> {
        let device = device.resolve()?;
        let kind = precision.resolve(device)?;
        let labels = pack.config().labels.iter().enumerate();
        let background: Vec<i64> = labels.filter(|(_, name)| *name == "background").map(|(i, _)| i as i64).collect();
        let parses = match &pack.config().analysis {
            Some(AnalysisConfig::Built(_)) => true,
            Some(AnalysisConfig::Published(nets)) => nets.bisenet.is_some(),
            None => false,
        };
        if !parses || background.is_empty() {
            return Ok(None);
        }
        Ok(Some(Matter { net: pack.analysis(device)?, background, device, kind }))
    }

    /// A matte per crop; all crops of one side.
    ///
    /// # Errors
    /// Device.
    pub fn mattes(&self, crops: &[Frame]) -> Result<Vec<Matte>> {
        let mut out = Vec::with_capacity(crops.len());
        for part in crops.chunks(BATCH) {
            out.extend(no_grad(|| self.batch(part))?);
        }
        Ok(out)
    }

    fn batch(&self, crops: &[Frame]) -> Result<Vec<Matte>> {
        let images = to_tensor(&crops.iter().collect::<Vec<_>>(), self.device)?;
        let Some(logits) = self.net.parse(&self.net.view(&images, self.kind)?)? else { return Ok(Vec::new()) };
        let index = tch::Tensor::f_from_slice(&self.background)?.f_to_device(self.device)?;
        let classes = logits.f_softmax(1, Kind::Float)?;
        let background = classes.f_index_select(1, &index)?.f_sum_dim_intlist([1i64].as_slice(), true, Kind::Float)?;
        let side = background.size()[2].min(MAX_SIDE);
        let person = background.f_adaptive_avg_pool2d([side; 2])?.scale(-255.0)?.shift(255.0)?.f_round()?.f_clamp(0.0, 255.0)?;
        let each = (side * side) as usize;
        let whole = |m: &[f32]| Matte::new(side as u32, in_one_piece(side as usize, m.iter().map(|v| *v as u8).collect()));
        to_vec(&person)?.chunks_exact(each).map(whole).collect()
    }
}

/// The matte of one person without holes: what is not joined to the middle of the crop is background, and background that is not
/// joined to the crop's upper edge or sides is the person.
fn in_one_piece(side: usize, mut matte: Vec<u8>) -> Vec<u8> {
    let middle = (side / 2 + side / 8) * side + side / 2;
    let person = reached(side, true, [middle], |at| matte[at] >= HALF);
    if !person[middle] {
        // Nobody where the face should be: better the parser's word than none.
        return matte;
    }
    let border = (0..side).chain((0..side).flat_map(|y| [y * side, y * side + side - 1]));
    let outside = reached(side, false, border, |at| !person[at]);
    for (at, value) in matte.iter_mut().enumerate() {
        match (person[at], outside[at]) {
            // Doubts along the person's edge stay doubts.
            (false, true) if *value >= HALF => *value = 0,
            (false, true) => {}
            (false, false) => *value = u8::MAX,
            (true, _) => {}
        }
    }
    matte
}

/// Which places can be reached from the `starts` over neighbours that are `open`, with `corners` also across those.
fn reached(side: usize, corners: bool, starts: impl IntoIterator<Item = usize>, open: impl Fn(usize) -> bool) -> Vec<bool> {
    let mut seen = vec![false; side * side];
    let mut waiting: Vec<usize> = starts.into_iter().collect();
    while let Some(at) = waiting.pop() {
        if seen[at] || !open(at) {
            continue;
        }
        seen[at] = true;
        let near = |v: usize| v.saturating_sub(1)..(v + 2).min(side);
        let around = near(at / side).flat_map(|y| near(at % side).map(move |x| (x, y)));
        let next = around.filter(|(x, y)| corners || *x == at % side || *y == at / side);
        waiting.extend(next.map(|(x, y)| y * side + x));
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of `#` (person), `+` (rather the person), `-` (rather not) and `.` (background).
    fn map(rows: &[&str]) -> Vec<u8> {
        let value = |c| match c {
            '#' => 255,
            '+' => 150,
            '-' => 60,
            _ => 0,
        };
        rows.iter().flat_map(|row| row.chars().map(value)).collect()
    }

    #[test]
    fn holes_are_filled_and_islands_removed() {
        let found = map(&["#.......", "..####..", ".-#..#+.", "..#.-#..", "..####..", "..+##+..", ".######.", "########"]);
        let whole = in_one_piece(8, found);
        assert_eq!(whole[0], 0, "an island in the corner");
        for hole in [19, 20, 27, 28] {
            assert_eq!(whole[hole], 255, "hole at {hole}");
        }
        assert_eq!((whole[17], whole[22], whole[9]), (60, 150, 0), "doubts at the edge stay");
    }

    #[test]
    fn hair_that_touches_by_a_corner_belongs_to_the_head() {
        let found = map(&["#...", ".#..", ".##.", ".##."]);
        assert_eq!(in_one_piece(4, found.clone()), found);
    }

    #[test]
    fn a_crop_without_anybody_is_left_alone() {
        let nobody = map(&["....", ".#..", "....", "...."]);
        assert_eq!(in_one_piece(4, nobody.clone()), nobody);
    }
}
