//! What a comparison found, for people, for spreadsheets and for programs.
//!
//! Input: the scores of each frame. Output: means and extremes, as text, CSV or JSON (decibels, grey levels 0 to 255).

use std::fmt;

use serde::Serialize;

/// The scores of one decoded frame against its reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FrameScore {
    /// PSNR over R, G and B, dB.
    pub psnr: f64,
    /// Structural similarity of luma, at most 1.
    pub ssim: f64,
    /// Mean absolute difference, grey levels.
    pub l1: f64,
    /// SSIMULACRA2, at most 100.
    pub ssimulacra2: f64,
    /// Mean absolute error of the change since the frame before, grey levels; 0 for the first.
    pub flicker: f64,
    /// How much more the decoded frame changed since the one before than the reference did, grey levels; 0 for the first.
    pub unrest: f64,
}

/// The scores of a clip.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Frames compared.
    pub frames: u64,
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Mean PSNR of the frames, dB.
    pub psnr: f64,
    /// PSNR of the worst frame, dB.
    pub psnr_min: f64,
    /// Which frame that is, counted from 0.
    pub psnr_min_frame: u64,
    /// Mean SSIM.
    pub ssim: f64,
    /// SSIM of the worst frame.
    pub ssim_min: f64,
    /// Mean absolute difference, grey levels.
    pub l1: f64,
    /// Mean SSIMULACRA2.
    pub ssimulacra2: f64,
    /// SSIMULACRA2 of the worst frame.
    pub ssimulacra2_min: f64,
    /// Mean absolute error of the change between frames, grey levels.
    pub flicker: f64,
    /// Mean absolute change between decoded frames less that of the reference, grey levels: trembling above zero, freezing below.
    pub unrest: f64,
    /// Mean PSNR of the best single reference frame held for the whole clip, dB: a codec of motion must beat it.
    pub static_psnr: f64,
    /// `psnr - static_psnr`, dB.
    pub gain_db: f64,
    /// Mean PSNR of showing, for each frame, the nearest enrolled crop, dB: what a receiver that only remembers the enrolment could do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slideshow_psnr: Option<f64>,
    /// `psnr - slideshow_psnr`, dB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slideshow_gain_db: Option<f64>,
    /// Each frame, in order; not part of the JSON.
    #[serde(skip)]
    pub per_frame: Vec<FrameScore>,
}

impl Report {
    /// The means as one JSON object, figures rounded to four decimals.
    pub fn to_json(&self) -> serde_json::Value {
        let mut value = serde_json::to_value(self).expect("numbers and named fields always have a JSON form");
        for figure in value.as_object_mut().expect("a struct becomes an object").values_mut() {
            if let Some(number) = figure.as_f64().filter(|_| figure.is_f64()) {
                *figure = ((number * 1e4).round() / 1e4).into();
            }
        }
        value
    }

    /// One line for each frame, after a line of names: `frame,psnr,ssim,l1,ssimulacra2,flicker,unrest`.
    pub fn frames_csv(&self) -> String {
        let mut out = String::from("frame,psnr,ssim,l1,ssimulacra2,flicker,unrest\n");
        for (i, s) in self.per_frame.iter().enumerate() {
            let line =
                format!("{i},{:.4},{:.6},{:.4},{:.3},{:.4},{:.4}\n", s.psnr, s.ssim, s.l1, s.ssimulacra2, s.flicker, s.unrest);
            out.push_str(&line);
        }
        out
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} frames of {} x {}", self.frames, self.width, self.height)?;
        writeln!(f, "PSNR      {:6.2} dB    worst {:.2} dB (frame {})", self.psnr, self.psnr_min, self.psnr_min_frame)?;
        writeln!(f, "SSIM      {:6.4}       worst {:.4}", self.ssim, self.ssim_min)?;
        writeln!(f, "L1        {:6.2} of 255", self.l1)?;
        writeln!(f, "SSIMUL.2  {:6.2}       worst {:.2}", self.ssimulacra2, self.ssimulacra2_min)?;
        writeln!(f, "flicker   {:6.2} of 255    unrest {:+.2}", self.flicker, self.unrest)?;
        write!(f, "one still {:6.2} dB    gain {:+.2} dB", self.static_psnr, self.gain_db)?;
        if let (Some(slides), Some(gain)) = (self.slideshow_psnr, self.slideshow_gain_db) {
            write!(f, "\nslideshow {slides:6.2} dB    gain {gain:+.2} dB")?;
        }
        Ok(())
    }
}
