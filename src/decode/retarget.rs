//! Puppeteering: one person's parameters moved to another person's face.
//!
//! Alpha is relative to each identity frame's own expression, so a smiling identity frame would double every smile. What travels is
//! the distance from the driver's rest state, and it starts from the target's. This stage is ours; the paper has no rest state.

use crate::params::{FrameParams, PARAMS};

/// `target_rest + (driver - driver_rest)`, each number kept inside the pack's range (`PackConfig::ranges`; ranges that are missing
/// do not limit).
pub fn retarget(driver: &FrameParams, driver_rest: &FrameParams, target_rest: &FrameParams, ranges: &[[f32; 2]]) -> FrameParams {
    let (driver, rest, target) = (driver.to_array(), driver_rest.to_array(), target_rest.to_array());
    let mut out = [0f32; PARAMS];
    for (i, value) in out.iter_mut().enumerate() {
        let moved = target[i] + (driver[i] - rest[i]);
        *value = match ranges.get(i) {
            Some([low, high]) => moved.max(*low).min(*high),
            None => moved,
        };
    }
    FrameParams::from_array(&out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_at_rest_leaves_the_target_at_rest() {
        let mut smiling = FrameParams::default();
        smiling.alpha[4] = 0.7;
        let calm = FrameParams { yaw: 2.0, ..FrameParams::default() };
        assert_eq!(retarget(&smiling, &smiling, &calm, &[]), calm);
    }

    #[test]
    fn the_result_stays_inside_the_ranges() {
        let driver = FrameParams { yaw: 60.0, pitch: -60.0, ..FrameParams::default() };
        let rest = FrameParams::default();
        let out = retarget(&driver, &rest, &rest, &[[-35.0, 35.0], [-25.0, 25.0]]);
        assert_eq!((out.yaw, out.pitch), (35.0, -25.0));
    }

    #[test]
    fn the_driver_moves_the_target_by_its_distance_from_rest() {
        let driver = FrameParams { yaw: 12.0, ..FrameParams::default() };
        let rest = FrameParams { yaw: 2.0, ..FrameParams::default() };
        let target = FrameParams { yaw: -5.0, ..FrameParams::default() };
        assert_eq!(retarget(&driver, &rest, &target, &[[-35.0, 35.0]]).yaw, 5.0);
    }
}
