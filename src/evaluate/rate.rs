//! Rate against quality: what codecs reach at a number of bytes, and how many bytes they need.
//!
//! Input: for each codec the points (bytes per frame, quality) that were measured. Output: values in between, linear in the logarithm of
//! the bytes. Nothing is said beyond the ends: a codec has a lowest rate, and that is part of the answer.

/// One codec's points, by rising bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    points: Vec<(f64, f64)>,
}

impl Curve {
    /// From (bytes per frame, quality) in any order; points without bytes or quality are left out.
    pub fn new(points: impl IntoIterator<Item = (f64, f64)>) -> Curve {
        let mut points: Vec<(f64, f64)> =
            points.into_iter().filter(|p| p.0 > 0.0 && p.0.is_finite() && p.1.is_finite()).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Curve { points }
    }

    /// Quality at `bytes` per frame; nothing outside the points.
    pub fn quality_at(&self, bytes: f64) -> Option<f64> {
        let exact = self.points.iter().filter(|p| p.0 == bytes).map(|p| p.1).reduce(f64::max);
        exact.or_else(|| {
            let pair = self.points.windows(2).find(|pair| pair[0].0 < bytes && bytes < pair[1].0)?;
            let share = (bytes / pair[0].0).ln() / (pair[1].0 / pair[0].0).ln();
            Some(pair[0].1 + share * (pair[1].1 - pair[0].1))
        })
    }

    /// Fewest bytes per frame that reach `quality`.
    pub fn bytes_for(&self, quality: f64) -> Reach {
        let Some(first) = self.points.first() else { return Reach::Never };
        if first.1 >= quality {
            return Reach::Below(first.0);
        }
        let Some(pair) = self.points.windows(2).find(|pair| pair[0].1 < quality && pair[1].1 >= quality) else {
            return Reach::Never;
        };
        let share = (quality - pair[0].1) / (pair[1].1 - pair[0].1);
        Reach::At(pair[0].0 * (pair[1].0 / pair[0].0).powf(share))
    }
}

/// How many bytes a quality takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reach {
    /// So many per frame.
    At(f64),
    /// The lowest rate that was measured, so many per frame, is already better.
    Below(f64),
    /// No rate that was measured is good enough.
    Never,
}

/// The best quality at `bytes` per frame, and which of the curves has it.
pub fn best_at(curves: &[Curve], bytes: f64) -> Option<(usize, f64)> {
    let each = curves.iter().enumerate().filter_map(|(i, curve)| Some((i, curve.quality_at(bytes)?)));
    each.max_by(|a, b| a.1.total_cmp(&b.1))
}

/// The fewest bytes per frame for `quality`, and which of the curves needs no more.
pub fn fewest_for(curves: &[Curve], quality: f64) -> Option<(usize, Reach)> {
    let bytes = |reach: Reach| match reach {
        Reach::At(bytes) | Reach::Below(bytes) => Some(bytes),
        Reach::Never => None,
    };
    let each = curves.iter().enumerate().map(|(i, curve)| (i, curve.bytes_for(quality)));
    let reached = each.filter_map(|(i, reach)| Some((bytes(reach)?, i, reach)));
    reached.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, i, reach)| (i, reach))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_points_quality_rises_with_the_logarithm_of_the_bytes() {
        let curve = Curve::new([(1000.0, 40.0), (10.0, 20.0), (0.0, 99.0)]);
        assert!((curve.quality_at(100.0).unwrap() - 30.0).abs() < 1e-12);
        assert_eq!((curve.quality_at(10.0), curve.quality_at(9.0), curve.quality_at(1001.0)), (Some(20.0), None, None));
        let Reach::At(bytes) = curve.bytes_for(30.0) else { panic!("within the points") };
        assert!((bytes - 100.0).abs() < 1e-9);
        assert_eq!((curve.bytes_for(15.0), curve.bytes_for(41.0)), (Reach::Below(10.0), Reach::Never));
    }

    #[test]
    fn the_best_of_several_is_taken_at_each_rate() {
        let curves = [Curve::new([(10.0, 20.0), (100.0, 22.0)]), Curve::new([(50.0, 21.0), (100.0, 30.0)])];
        assert_eq!(best_at(&curves, 20.0).map(|b| b.0), Some(0));
        assert_eq!(best_at(&curves, 100.0), Some((1, 30.0)));
        assert_eq!(best_at(&curves, 5.0), None);
        // 25 only the second reaches; 20 both, the first with fewer.
        assert_eq!(fewest_for(&curves, 25.0).map(|f| f.0), Some(1));
        assert_eq!(fewest_for(&curves, 20.0), Some((0, Reach::Below(10.0))));
        assert_eq!(fewest_for(&curves, 31.0), None);
    }
}
