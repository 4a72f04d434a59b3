//! How parameters become packets: the arguments, and what they set in the stream's header.

use clap::ValueEnum;
use effigy::bitstream::{
    fit_bitrate, set_quality, Coding, FrameRecord, Identity, PacketOptions, StreamHeader, DEFAULT_QUALITY, MAX_PACKET_FRAMES,
    MAX_REDUNDANCY,
};
use effigy::{Error, Result};

/// Bytes a frame of the residual unless said otherwise.
const RESIDUAL: f64 = 6.0;

/// Coding by its name on the command line.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum CodingArg {
    /// Quantised, predicted, entropy-coded: about 10 bytes a frame
    Coded,
    /// 35 half floats, 70 bytes a frame: the reference
    Raw16,
}

/// Settings of the stream.
#[derive(clap::Args)]
pub struct CodingArgs {
    /// How parameters are coded
    #[arg(long, value_enum, value_name = "CODING", default_value = "coded")]
    coding: CodingArg,
    /// Coded: fineness, 0 to 100; 12.5 points more halve the steps [default: 75]
    #[arg(long, value_name = "Q", value_parser = parse_quality)]
    quality: Option<f32>,
    /// Coded: the best quality that stays under so many kilobits per second, everything but header, identity and sound counted
    #[arg(long, value_name = "KBITS", value_parser = parse_bitrate, conflicts_with = "quality")]
    bitrate: Option<f64>,
    /// Coded: most frames from one intra packet to the next, where seeking and recovery begin [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    intra: Option<u64>,
    /// Coded: repeat the last K frames coarsely in each packet, against loss [default: 0]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(0..=MAX_REDUNDANCY as i64))]
    redundancy: Option<u16>,
    /// Frames in a packet: fewer come sooner, more cost less [default: 25; raw16: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_PACKET_FRAMES as i64))]
    frames_per_packet: Option<u16>,
    /// Also send what the numbers miss, as displacements and a picture that change slowly, in at most so many bytes a frame on average, if they gain enough for them;
    /// 0: nothing [default: 6, of a --bitrate at most a third; raw16 and with --plate: 0]
    #[arg(long, value_name = "BYTES", value_parser = parse_residual)]
    residual: Option<f64>,
}

fn parse_quality(text: &str) -> std::result::Result<f32, String> {
    text.parse().ok().filter(|q| (0.0..=100.0).contains(q)).ok_or_else(|| "a quality is a number from 0 to 100".into())
}

fn parse_residual(text: &str) -> std::result::Result<f64, String> {
    text.parse().ok().filter(|b| (0.0..=1000.0).contains(b)).ok_or_else(|| "bytes per frame are a number from 0 to 1000".into())
}

fn parse_bitrate(text: &str) -> std::result::Result<f64, String> {
    text.parse()
        .ok()
        .filter(|r| (0.001..=1e6).contains(r))
        .ok_or_else(|| "a bit rate is a number of kilobits per second above 0".into())
}

/// From one frame to the next.
fn seconds(header: &StreamHeader) -> f64 {
    f64::from(header.frame_ticks) * f64::from(header.time_base.num) / f64::from(header.time_base.den)
}

impl CodingArgs {
    /// What can be known to be wrong before any work.
    ///
    /// # Errors
    /// Misuse for settings of the coded mode with raw16.
    pub fn check(&self) -> Result<()> {
        let coded_only = self.quality.is_some() || self.bitrate.is_some() || self.intra.is_some() || self.redundancy.is_some();
        match self.coding {
            CodingArg::Raw16 if coded_only => {
                Err(Error::Misuse("--quality, --bitrate, --intra and --redundancy are for --coding coded".into()))
            }
            _ => Ok(()),
        }
    }

    /// Bytes a frame of the residual; `none`: where none is sent unless it is asked for.
    pub fn residual(&self, none: bool, header: &StreamHeader) -> f64 {
        let usual = if none || self.coding == CodingArg::Raw16 { 0.0 } else { RESIDUAL };
        // Of few bits the numbers need most.
        let rate = self.bitrate.map_or(f64::INFINITY, |kilobits| kilobits * 1000.0 / 8.0 * seconds(header) / 3.0);
        self.residual.unwrap_or(usual.min(rate))
    }

    /// Tells the reader what the header was prepared for at last.
    pub fn tell(&self, header: &StreamHeader) {
        let Some(quality) = header.metadata.get("quality") else { return };
        log::info!("quality {quality}");
        if self.bitrate.is_some() && quality == "0" {
            log::warn!("the lowest quality may take more than the bit rate that was asked for");
        }
    }

    /// Whether numbers and residual share a bit rate.
    pub fn has_bitrate(&self) -> bool {
        self.bitrate.is_some()
    }

    /// Prepares the header for these frames, beside which a residual takes `residual` bytes each.
    ///
    /// # Errors
    /// Misuse for numbers that the stream cannot hold.
    pub fn prepare(
        &self,
        header: &mut StreamHeader,
        identity: &Identity,
        frames: &[FrameRecord],
        residual: f64,
    ) -> Result<PacketOptions> {
        let coding = match self.coding {
            CodingArg::Coded => Coding::Coded,
            CodingArg::Raw16 => Coding::Raw16,
        };
        let usual = PacketOptions::of(coding);
        let options = PacketOptions {
            frames_per_packet: self.frames_per_packet.map_or(usual.frames_per_packet, usize::from),
            intra: self.intra.unwrap_or(usual.intra),
            redundancy: self.redundancy.map_or(usual.redundancy, usize::from),
            ..usual
        };
        if coding == Coding::Coded {
            let quality = match self.bitrate {
                Some(kilobits) => {
                    let rest = (kilobits * 1000.0 - 8.0 * residual / seconds(header)).max(1.0);
                    fit_bitrate(header, rest, identity, frames, options)?
                }
                None => {
                    let quality = self.quality.unwrap_or(DEFAULT_QUALITY);
                    set_quality(header, quality, identity, frames)?;
                    quality
                }
            };
            header.metadata.insert("quality".into(), quality.to_string());
        }
        Ok(options)
    }
}
