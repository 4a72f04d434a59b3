//! Arguments that several subcommands share, and what they become in the library.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use effigy::decode::{DecodeOptions, DeviceChoice, Precision};
use effigy::encode::{EncodeOptions, Preset, Tuning, MIN_IDENTITY_BYTES};
use effigy::limits::MAX_IDENTITY_BYTES;
use effigy::pack::Pack;
use effigy::{Error, Result};

/// Which model pack.
#[derive(clap::Args, Default)]
pub struct PackArgs {
    /// Model pack [default: $EFFIGY_PACK, then builtin.safetensors beside the program, then in share/effigy]
    #[arg(long, value_name = "FILE")]
    pub pack: Option<PathBuf>,
}

impl PackArgs {
    /// Finds the pack.
    pub fn path(&self) -> Result<PathBuf> {
        Pack::find(self.pack.as_deref(), std::env::var_os("EFFIGY_PACK"))
    }

    /// Finds and loads the pack.
    pub fn load(&self) -> Result<Pack> {
        let path = self.path()?;
        log::info!("pack {}", path.display());
        Pack::load(&path)
    }
}

/// Number format by its name on the command line.
#[derive(Clone, Copy, Default, ValueEnum)]
pub enum PrecisionArg {
    /// What is fastest here: bf16 where the processor has it, fp16 on CUDA
    #[default]
    Auto,
    /// 32 bits
    Fp32,
    /// 16 bits with the range of fp32
    Bf16,
    /// 16 bits, CUDA only
    Fp16,
}

impl From<PrecisionArg> for Precision {
    fn from(arg: PrecisionArg) -> Self {
        match arg {
            PrecisionArg::Auto => Precision::Auto,
            PrecisionArg::Fp32 => Precision::Single,
            PrecisionArg::Bf16 => Precision::BFloat16,
            PrecisionArg::Fp16 => Precision::Half,
        }
    }
}

/// Where and how to compute.
#[derive(clap::Args)]
pub struct DeviceArgs {
    /// Where to compute: auto (a CUDA device if there is one), cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = parse_device)]
    pub device: DeviceChoice,
    /// Number format of the networks
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = PrecisionArg::Auto)]
    pub precision: PrecisionArg,
    /// Processor threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

impl Default for DeviceArgs {
    fn default() -> Self {
        DeviceArgs { device: DeviceChoice::default(), precision: PrecisionArg::Auto, threads: None }
    }
}

impl DeviceArgs {
    /// Settings of a decoder.
    pub fn decoding(&self) -> DecodeOptions {
        DecodeOptions {
            device: self.device,
            precision: self.precision.into(),
            threads: self.threads.map(usize::from),
            ..DecodeOptions::default()
        }
    }
}

fn parse_device(text: &str) -> std::result::Result<DeviceChoice, String> {
    match text {
        "auto" => Ok(DeviceChoice::Auto),
        "cpu" => Ok(DeviceChoice::Cpu),
        "cuda" => Ok(DeviceChoice::Cuda(0)),
        other => match other.strip_prefix("cuda:").and_then(|n| n.parse().ok()) {
            Some(n) => Ok(DeviceChoice::Cuda(n)),
            None => Err("a device is auto, cpu, cuda or cuda:N".into()),
        },
    }
}

/// Amount of work by its name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum PresetArg {
    /// What a call allows: a few steps from the frame before, none waits for a later one; needs an enrolled identity
    Live,
    /// A preview: two fifths of the tuning, a shorter search
    Fast,
    /// The usual
    Medium,
    /// Six times the tuning, nearly four times the search's last part
    Best,
}

/// What is tuned, by its name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum TuningArg {
    /// The pack's generator as it is: smallest identity, least likeness
    None,
    /// Fit the weights alone, around a first fit of latent and parameters
    Pivotal,
    /// Fit weights, latent and parameters together
    Joint,
}

impl PresetArg {
    /// As it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            PresetArg::Live => "live",
            PresetArg::Fast => "fast",
            PresetArg::Medium => "medium",
            PresetArg::Best => "best",
        }
    }
}

impl TuningArg {
    /// As it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            TuningArg::None => "none",
            TuningArg::Pivotal => "pivotal",
            TuningArg::Joint => "joint",
        }
    }
}

/// Range of `--identity-bytes`.
const SMALLEST: i64 = MIN_IDENTITY_BYTES as i64;
const LARGEST: i64 = MAX_IDENTITY_BYTES as i64;

/// Settings of the encoder.
#[derive(clap::Args)]
pub struct FitArgs {
    /// Amount of work [default: medium; for `demo`: fast]
    #[arg(long, value_enum, value_name = "PRESET")]
    pub preset: Option<PresetArg>,
    /// What of the generator is fitted to the person; the fitted weights are part of the identity
    #[arg(long, value_enum, value_name = "TUNING", default_value = "joint")]
    pub tuning: TuningArg,
    /// Steps of the tuning; the first fit of the latent, also with --tuning none, takes no more [default: the preset's: 1200, 3000 or 18000; with --tuning pivotal
    /// at most 1050]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..=1_000_000))]
    pub tune_steps: Option<u64>,
    /// Most bytes of the identity; fewer cost likeness [default: 150000]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(SMALLEST..=LARGEST))]
    pub identity_bytes: Option<u32>,
    /// Whether tuning also learns maps, pictures inside the generator that the numbers displace, and a detail, one on top of it, of twice its side: frames that are tuned
    /// on come out much better, others of the person worse if they are unlike those. Needs a pack whose tuning learns directions [default: on for `encode`, off for `enroll` and `demo`]
    #[arg(long, value_enum, value_name = "WHEN")]
    pub maps: Option<Switch>,
    /// Let the background of the crops hardly count: for receivers that show the head before another background
    #[arg(long)]
    pub head_only: bool,
    /// Name stored in the identity
    #[arg(long, value_name = "NAME", default_value = "")]
    pub name: String,
    /// Start of all randomness: same seed, same machine, same result
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Switch {
    On,
    Off,
}

impl FitArgs {
    /// `Err` for the preset `live` where there is no identity that it could use.
    pub fn check_known(&self, known: bool) -> Result<()> {
        match self.preset {
            Some(PresetArg::Live) if !known => Err(Error::Misuse(
                "--preset live fits nothing: it needs an enrolled person (effigy encode --identity FILE)".into(),
            )),
            _ => Ok(()),
        }
    }

    /// Says so where maps were asked for and the pack has none.
    pub fn check_maps(&self, pack: &Pack) {
        if self.maps == Some(Switch::On) && !pack.config().directions {
            log::warn!("--maps on: tuning with this pack learns no directions, and so no maps");
        }
    }

    /// The library's settings; `usual`: the preset if none was named, `maps`: whether there are any if nothing is said of them.
    pub fn options(&self, device: &DeviceArgs, (usual, maps): (PresetArg, bool)) -> EncodeOptions {
        EncodeOptions {
            maps: self.maps.map_or(maps, |maps| maps == Switch::On),
            preset: match self.preset.unwrap_or(usual) {
                PresetArg::Live => Preset::Live,
                PresetArg::Fast => Preset::Fast,
                PresetArg::Medium => Preset::Medium,
                PresetArg::Best => Preset::Best,
            },
            tuning: match self.tuning {
                TuningArg::None => Tuning::None,
                TuningArg::Pivotal => Tuning::Pivotal,
                TuningArg::Joint => Tuning::Joint,
            },
            tune_steps: self.tune_steps,
            device: device.device,
            precision: device.precision.into(),
            threads: device.threads.map(usize::from),
            seed: self.seed,
            name: self.name.clone(),
            head_only: self.head_only,
            identity_bytes: self.identity_bytes.map(|n| n as usize),
            unfinished: None,
        }
    }
}

/// Side of the pack's pictures, pixels.
pub fn side(pack: &Pack) -> u32 {
    pack.config().generator.resolution as u32
}

/// First 8 hex digits of a hash, for messages.
pub fn short(hash: &[u8; 32]) -> String {
    hex(&hash[..4])
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// `512 B`, `12.3 kB`, `1.2 MB`; kB is 1000 bytes.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..=999 => format!("{bytes} B"),
        1000..=999_999 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// Reads a whole file of at most `limit` bytes.
pub fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let meta = std::fs::metadata(path).map_err(|e| Error::io("open", path, e))?;
    if meta.len() > limit {
        return Err(Error::Limit(format!("{} has {}, at most {} are read", path.display(), size(meta.len()), size(limit))));
    }
    std::fs::read(path).map_err(|e| Error::io("read", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_names_and_numbers() {
        assert!(matches!(parse_device("cuda:3"), Ok(DeviceChoice::Cuda(3))));
        assert!(parse_device("cuda:").is_err() && parse_device("tpu").is_err());
    }

    #[test]
    fn sizes_read_in_decimal_units() {
        assert_eq!([size(999), size(12_345), size(2_500_000)], ["999 B", "12.3 kB", "2.5 MB"]);
    }
}
