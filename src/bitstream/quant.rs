//! Numbers of the wire: half floats, the raw16 payload, placement in 1/64 pixel, steps of the tuned weights.
//!
//! In: parameters (degrees and channel offsets), placement (camera pixels). Out: integers and bytes, and back.
//! Every function is exact integer or correctly rounded float arithmetic, so all machines agree bit for bit.
//! Source: IEEE 754 binary16; docs/bitstream.md, "Packets" and "Identity".

use crate::error::{Error, Result};
use crate::params::{FrameParams, Placement, PARAMS};

/// Bytes of one frame's 35 half floats.
pub const RAW16_BYTES: usize = 2 * PARAMS;
/// Placement steps per camera pixel.
pub const PLACEMENT_SCALE: f32 = 64.0;
/// Largest placement coordinate or side, camera pixels.
pub const MAX_PLACEMENT: f32 = 65_536.0;
/// Smallest and largest step code of tuned weights: steps of 2^-40 to 2^20.
pub const STEP_CODES: std::ops::RangeInclusive<i16> = -320..=160;

/// The nearest half float, ties to even; too large becomes infinity, a NaN stays one.
pub fn f32_to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let magnitude = bits & 0x7fff_ffff;
    if magnitude > 0x7f80_0000 {
        let kept = (magnitude >> 13) as u16 & 0x3ff;
        return sign | 0x7c00 | if kept == 0 { 0x200 } else { kept };
    }
    if magnitude < 0x3880_0000 {
        // Below 2^-14 halves are multiples of 2^-24; scaling by 2^24 is exact, and a carry to 1024 is the first normal.
        let steps = f32::from_bits(magnitude) * 16_777_216.0;
        return sign | steps.round_ties_even() as u16;
    }
    let rounded = magnitude.saturating_add(0xfff + ((magnitude >> 13) & 1));
    if rounded >= 0x4780_0000 {
        return sign | 0x7c00;
    }
    sign | ((rounded - 0x3800_0000) >> 13) as u16
}

/// The value of a half float, exactly.
pub fn f16_to_f32(code: u16) -> f32 {
    let sign = u32::from(code & 0x8000) << 16;
    let exponent = u32::from(code >> 10) & 0x1f;
    let mantissa = u32::from(code & 0x3ff);
    let magnitude = match exponent {
        0 => (mantissa as f32 / 16_777_216.0).to_bits(),
        31 => 0x7f80_0000 | mantissa << 13,
        _ => (exponent + 112) << 23 | mantissa << 13,
    };
    f32::from_bits(sign | magnitude)
}

/// Appends the 70 bytes of a frame. Refuses, as misuse, a number whose nearest half float is not finite.
pub fn raw16_write(params: &FrameParams, out: &mut Vec<u8>) -> Result<()> {
    for (i, value) in params.to_array().into_iter().enumerate() {
        let code = f32_to_f16(value);
        if !f16_to_f32(code).is_finite() {
            return Err(Error::Misuse(format!("parameter {i}: {value} does not fit a finite half float")));
        }
        out.extend_from_slice(&code.to_le_bytes());
    }
    Ok(())
}

/// The frame in 70 bytes. Numbers that are not finite are malformed.
pub fn raw16_read(bytes: &[u8]) -> Result<FrameParams> {
    if bytes.len() != RAW16_BYTES {
        return Err(Error::Malformed(format!("raw16 frame: {RAW16_BYTES} bytes expected, {} found", bytes.len())));
    }
    let mut values = [0.0; PARAMS];
    for (i, (value, code)) in values.iter_mut().zip(bytes.chunks_exact(2)).enumerate() {
        *value = f16_to_f32(u16::from_le_bytes([code[0], code[1]]));
        if !value.is_finite() {
            return Err(Error::Malformed(format!("raw16 frame: parameter {i} is {value}, not a finite number")));
        }
    }
    Ok(FrameParams::from_array(&values))
}

/// What a decoder will hold after raw16: the encoder's closed loop searches around this.
pub fn raw16_round(params: &FrameParams) -> Result<FrameParams> {
    let mut bytes = Vec::with_capacity(RAW16_BYTES);
    raw16_write(params, &mut bytes)?;
    raw16_read(&bytes)
}

/// x, y and side in 1/64 camera pixel, nearest.
pub fn placement_to_steps(placement: &Placement) -> Result<[i32; 3]> {
    let mut steps = [0; 3];
    for (step, (value, name)) in steps.iter_mut().zip([(placement.x, "x"), (placement.y, "y"), (placement.side, "side")]) {
        if value.is_nan() || value.abs() > MAX_PLACEMENT {
            return Err(Error::Misuse(format!("placement {name}: {value} pixels, at most {MAX_PLACEMENT} either way")));
        }
        *step = (value * PLACEMENT_SCALE).round() as i32;
    }
    check_steps(&steps).map_err(Error::Misuse)?;
    Ok(steps)
}

/// Inverse of [`placement_to_steps`]; refuses what that could not have made.
pub fn placement_from_steps(steps: &[i32; 3]) -> Result<Placement> {
    check_steps(steps).map_err(Error::Malformed)?;
    // At most 2^22 steps: exact in f32.
    let [x, y, side] = steps.map(|s| s as f32 / PLACEMENT_SCALE);
    Ok(Placement { x, y, side })
}

/// Whether a placement of the coded mode can be meant: inside the largest one, with a side.
pub(super) fn placement_within(placement: &Placement) -> bool {
    [placement.x, placement.y, placement.side].iter().all(|v| v.abs() <= MAX_PLACEMENT) && placement.side > 0.0
}

fn check_steps(steps: &[i32; 3]) -> std::result::Result<(), String> {
    let most = (MAX_PLACEMENT * PLACEMENT_SCALE) as u32;
    if steps.iter().any(|s| s.unsigned_abs() > most) {
        return Err(format!("placement {steps:?}: steps of 1/64 pixel must be within +-{most}"));
    }
    if steps[2] < 1 {
        return Err(format!("placement side: {} steps of 1/64 pixel, at least 1 needed", steps[2]));
    }
    Ok(())
}

/// 2^(k/8) for k in 0..8, rounded to 16 significant bits so that a product with a 16-bit level has few ties.
const EIGHTHS: [u32; 8] = [0x8000, 0x8b96, 0x9838, 0xa5ff, 0xb505, 0xc567, 0xd745, 0xeac1];

/// The quantiser step of a code: about 2^(code/8), exactly `EIGHTHS[code mod 8] * 2^(floor(code/8) - 15)`.
pub fn step_from_code(code: i16) -> f32 {
    let code = code.clamp(*STEP_CODES.start(), *STEP_CODES.end());
    let octave = i32::from(code.div_euclid(8)) - 15;
    let scale = f32::from_bits(((127 + octave) as u32) << 23);
    EIGHTHS[code.rem_euclid(8) as usize] as f32 * scale
}

/// The code of the largest step that does not exceed `step` (the smallest or largest code beyond the ends).
pub fn code_from_step(step: f32) -> i16 {
    let (first, last) = (*STEP_CODES.start(), *STEP_CODES.end());
    let above = (first..=last).collect::<Vec<_>>().partition_point(|&c| step_from_code(c) <= step);
    (first - 1 + above as i16).max(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_float_survives_both_conversions() {
        for code in 0..=u16::MAX {
            assert_eq!(f32_to_f16(f16_to_f32(code)), code, "{code:#06x}");
        }
    }

    #[test]
    fn rounding_is_to_nearest_and_ties_go_to_even() {
        // Between each pair of neighbours: the middle goes to the even code, one f32 either side goes to its own.
        for code in 0..0x7bffu16 {
            let (a, b) = (f16_to_f32(code), f16_to_f32(code + 1));
            let middle = a + (b - a) / 2.0;
            assert_eq!(f32_to_f16(middle), code + (code & 1));
            assert_eq!(f32_to_f16(f32::from_bits(middle.to_bits() - 1)), code);
            assert_eq!(f32_to_f16(f32::from_bits(middle.to_bits() + 1)), code + 1);
            assert_eq!(f32_to_f16(-middle), 0x8000 | (code + (code & 1)));
        }
    }

    #[test]
    fn the_ends_of_the_half_range_are_where_ieee_puts_them() {
        assert_eq!(f16_to_f32(0x7bff), 65_504.0);
        assert_eq!(f32_to_f16(65_519.996), 0x7bff);
        assert_eq!(f32_to_f16(65_520.0), 0x7c00);
        assert_eq!(f32_to_f16(f32::INFINITY), 0x7c00);
        assert_eq!(f32_to_f16(f32::MAX), 0x7c00);
        assert_eq!(f32_to_f16(f32::from_bits(1)), 0);
        assert!(f16_to_f32(f32_to_f16(f32::NAN)).is_nan());
    }

    #[test]
    fn placement_keeps_a_128th_of_a_pixel() {
        let p = Placement { x: 640.013, y: -3.49, side: 511.999 };
        let q = placement_from_steps(&placement_to_steps(&p).unwrap()).unwrap();
        for (a, b) in [(p.x, q.x), (p.y, q.y), (p.side, q.side)] {
            assert!((a - b).abs() <= 0.5 / PLACEMENT_SCALE, "{a} {b}");
        }
        assert!(placement_to_steps(&Placement { x: f32::NAN, ..p }).is_err());
        assert!(placement_to_steps(&Placement { side: 0.0, ..p }).is_err());
        assert!(placement_to_steps(&Placement { y: 1e9, ..p }).is_err());
    }

    #[test]
    fn step_codes_rise_by_an_eighth_of_an_octave_and_invert() {
        for code in STEP_CODES {
            let step = step_from_code(code);
            assert!((step.log2() * 8.0 - f32::from(code)).abs() < 1e-3, "{code} {step}");
            assert_eq!(code_from_step(step), code);
        }
        assert_eq!(code_from_step(0.0), *STEP_CODES.start());
        assert_eq!(code_from_step(f32::MAX), *STEP_CODES.end());
    }
}
