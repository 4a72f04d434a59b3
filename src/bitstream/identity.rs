//! The identity of a person: latent, tuned weights, sensitivities, rest state, name.
//!
//! In: floats as the encoder found them. Out: the bytes of an `.identity` file, and back. What comes back is what every
//! decoder renders with, so the encoder must search its parameters with the decoded identity, and encoding that again gives
//! the same bytes. Source: docs/bitstream.md, "Identity".

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::quant::{f16_to_f32, f32_to_f16};
use super::range::{decode_levels, encode_levels, LevelModel, RangeDecoder, RangeEncoder, Strides};
use super::tuned::{read_tuned, write_tuned, TunedTensor, DETAIL};
use super::wire::{Put, Take, Wire};
use crate::error::{Error, Result};
use crate::limits::{
    MAX_ANCHORS, MAX_IDENTITY_BYTES, MAX_LATENT_DIM, MAX_LATENT_ROWS, MAX_METADATA_BYTES, MAX_NAME_BYTES, MAX_RESOLUTION,
    MAX_THUMBNAIL_BYTES,
};
use crate::params::{FrameParams, WPlus, EXPRESSIONS, PARAMS};

/// First bytes of an identity.
pub const IDENTITY_MAGIC: [u8; 8] = *b"\x89EFID\r\n\x1a";
/// Version of the identity format, major and minor. A reader refuses any other.
pub const IDENTITY_VERSION: (u8, u8) = (2, 0);
/// Bytes of the hash at the end.
const HASH_BYTES: usize = 32;
/// Largest block of name, numbers and metadata.
const MAX_SCALARS: usize = MAX_METADATA_BYTES + 2048 + MAX_ANCHORS * 2 * PARAMS;
/// Largest magnitude of a latent row's maximum; smaller than its inverse counts as zero. Keeps steps clear of the ends of f32.
const MAX_LATENT: f32 = (1u64 << 60) as f32;

/// What a decoder must know of a person to turn parameters into pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// SHA-256 of the model pack it belongs to.
    pub pack: [u8; 32],
    /// Name for people to read.
    pub name: String,
    /// Side of the rendered crop, pixels.
    pub resolution: u32,
    /// L_ID. Exact after decoding; encoding rounds it ([`latent_as_sent`]).
    pub latent: WPlus,
    /// Differences to the pack's weights, and the detail, if there is one ([`DETAIL`]).
    pub tuned: Vec<TunedTensor>,
    /// Gamma of the 32 channels: perceptual change per unit of offset.
    pub sensitivity: [f32; EXPRESSIONS],
    /// Parameters of a calm frontal face.
    pub rest: FrameParams,
    /// Parameters of some enrolled frames, far apart from one another: where searches on other footage begin. Sent as f16.
    pub anchors: Vec<FrameParams>,
    /// A small picture, as the bytes of a PNG file.
    pub thumbnail: Option<Vec<u8>>,
    /// Settings and origin, for people to read.
    pub metadata: BTreeMap<String, String>,
}

/// The part that bincode writes: plain numbers and texts.
#[derive(bincode::Encode, bincode::Decode)]
struct Scalars {
    name: String,
    resolution: u32,
    sensitivity: [f32; EXPRESSIONS],
    rest: [f32; PARAMS],
    anchors: Vec<[u16; PARAMS]>,
    metadata: BTreeMap<String, String>,
}

/// SHA-256 of an identity file: the name under which streams refer to it.
pub fn identity_hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

impl Identity {
    /// Whether the generator was fitted to the person: nobody is drawn as they are without tuned weights.
    pub fn is_tuned(&self) -> bool {
        self.tuned.iter().any(|tensor| tensor.name != DETAIL)
    }

    /// The bytes of an `.identity` file.
    ///
    /// # Errors
    /// Misuse if numbers are not finite or sizes do not fit; limit if something is too large.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut put = Put::default();
        put.bytes.extend_from_slice(&IDENTITY_MAGIC);
        put.bytes.extend_from_slice(&[IDENTITY_VERSION.0, IDENTITY_VERSION.1]);
        put.bytes.extend_from_slice(&self.pack);
        put.blob(&mut self.scalars()?, MAX_SCALARS, "identity: name, numbers and metadata")?;
        if self.thumbnail.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::Misuse("identity: thumbnail without bytes".into()));
        }
        put.blob(&mut self.thumbnail.clone().unwrap_or_default(), MAX_THUMBNAIL_BYTES, "identity: thumbnail")?;
        write_latent(&self.latent, &mut put)?;
        write_tuned(&self.tuned, &mut put)?;
        let hash = identity_hash(&put.bytes);
        put.bytes.extend_from_slice(&hash);
        if put.bytes.len() > MAX_IDENTITY_BYTES {
            return Err(Error::Limit(format!("identity of {} bytes, at most {MAX_IDENTITY_BYTES} allowed", put.bytes.len())));
        }
        Ok(put.bytes)
    }

    /// The identity in the bytes of an `.identity` file.
    ///
    /// # Errors
    /// Malformed, unsupported version, or over a limit.
    pub fn from_bytes(bytes: &[u8]) -> Result<Identity> {
        if bytes.len() > MAX_IDENTITY_BYTES {
            return Err(Error::Limit(format!("identity of {} bytes, at most {MAX_IDENTITY_BYTES} allowed", bytes.len())));
        }
        let mut take = Take { rest: bytes };
        if take.slice(IDENTITY_MAGIC.len(), "identity: magic")? != IDENTITY_MAGIC {
            return Err(Error::Malformed("identity: does not start with the magic of .identity".into()));
        }
        let version = take.slice(2, "identity: version")?;
        if version != [IDENTITY_VERSION.0, IDENTITY_VERSION.1] {
            let (major, minor) = IDENTITY_VERSION;
            let what = format!("identity format {}.{}; this build reads {major}.{minor}", version[0], version[1]);
            return Err(Error::Unsupported(what));
        }
        let inner = bytes.len().checked_sub(HASH_BYTES).filter(|&n| n > bytes.len() - take.rest.len());
        let inner = inner.ok_or_else(|| Error::Malformed(format!("identity: {} bytes are too few", bytes.len())))?;
        if identity_hash(&bytes[..inner]) != bytes[inner..] {
            return Err(Error::Malformed("identity: does not match the SHA-256 at its end".into()));
        }
        take.rest = &bytes[IDENTITY_MAGIC.len() + 2..inner];
        let identity = Identity::fields(&mut take)?;
        take.end("identity")?;
        Ok(identity)
    }

    fn fields(take: &mut Take<'_>) -> Result<Identity> {
        let mut pack = [0; 32];
        take.fixed(&mut pack, "identity: pack hash")?;
        let (mut scalars, mut thumbnail) = (Vec::new(), Vec::new());
        take.blob(&mut scalars, MAX_SCALARS, "identity: name, numbers and metadata")?;
        take.blob(&mut thumbnail, MAX_THUMBNAIL_BYTES, "identity: thumbnail")?;
        let latent = read_latent(take)?;
        let tuned = read_tuned(take)?;
        let s = read_scalars(&scalars)?;
        let rest = FrameParams::from_array(&s.rest);
        let identity = Identity {
            pack,
            name: s.name,
            resolution: s.resolution,
            latent,
            tuned,
            sensitivity: s.sensitivity,
            rest,
            anchors: s.anchors.iter().map(|codes| FrameParams::from_array(&codes.map(f16_to_f32))).collect(),
            thumbnail: Some(thumbnail).filter(|bytes| !bytes.is_empty()),
            metadata: s.metadata,
        };
        // Equal bytes for equal content: sorted keys, no second spelling of a length.
        if identity.scalars().map_err(|e| Error::Malformed(e.to_string()))? != scalars {
            return Err(Error::Malformed("identity: name, numbers and metadata are not in their one valid form".into()));
        }
        Ok(identity)
    }

    fn scalars(&self) -> Result<Vec<u8>> {
        if self.name.len() > MAX_NAME_BYTES || self.metadata.keys().any(|key| key.len() > MAX_NAME_BYTES) {
            return Err(Error::Limit(format!("identity: name or metadata key over {MAX_NAME_BYTES} bytes")));
        }
        if !(1..=MAX_RESOLUTION).contains(&self.resolution) {
            return Err(Error::Limit(format!("identity: resolution {}, 1 to {MAX_RESOLUTION} allowed", self.resolution)));
        }
        let rest = self.rest.to_array();
        if let Some(v) = rest.iter().chain(&self.sensitivity).find(|v| !v.is_finite()) {
            return Err(Error::Misuse(format!("identity: rest or sensitivity {v} is not finite")));
        }
        if self.anchors.len() > MAX_ANCHORS {
            return Err(Error::Limit(format!("identity: {} anchors, at most {MAX_ANCHORS} allowed", self.anchors.len())));
        }
        let anchors: Vec<[u16; PARAMS]> = self.anchors.iter().map(|a| a.to_array().map(f32_to_f16)).collect();
        if anchors.iter().flatten().any(|&code| !f16_to_f32(code).is_finite()) {
            return Err(Error::Misuse("identity: an anchor does not fit f16".into()));
        }
        let scalars = Scalars {
            name: self.name.clone(),
            resolution: self.resolution,
            sensitivity: self.sensitivity,
            rest,
            anchors,
            metadata: self.metadata.clone(),
        };
        let bytes = bincode::encode_to_vec(&scalars, config())
            .map_err(|e| Error::Limit(format!("identity: name, numbers and metadata: {e}")))?;
        if bytes.len() > MAX_SCALARS {
            return Err(Error::Limit(format!("identity: {} bytes of metadata, at most {MAX_SCALARS} allowed", bytes.len())));
        }
        Ok(bytes)
    }
}

/// Little-endian, fixed widths, lengths as 64 bits; the limit stops a length before memory is taken for it.
fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_fixed_int_encoding().with_limit::<MAX_SCALARS>()
}

fn read_scalars(bytes: &[u8]) -> Result<Scalars> {
    match bincode::decode_from_slice(bytes, config()) {
        Ok((scalars, used)) if used == bytes.len() => Ok(scalars),
        Ok((_, used)) => Err(Error::Malformed(format!("identity: {} bytes of metadata, only {used} used", bytes.len()))),
        Err(e) => Err(Error::Malformed(format!("identity: name, numbers and metadata: {e}"))),
    }
}

/// Largest level of a latent of `count` numbers: as fine as fits about 6 kB, which is about 11, 8 or 7 bits per number before coding.
/// It depends on nothing but the size, so that encoding a decoded latent takes the same one.
fn half_range(count: usize) -> i32 {
    match count {
        0..=4096 => 1023,
        4097..=5632 => 127,
        _ => 52,
    }
}

/// Step and levels of one row. The step is the row's maximum over the largest level, rounded up to 14 significant bits:
/// then levels times step are exact in f32, and the same step follows from them again.
fn quantise_row(row: &[f32], half: i32) -> (f32, Vec<i32>) {
    let most = row.iter().fold(0f32, |m, v| m.max(v.abs()));
    if most < 1.0 / MAX_LATENT {
        return (0.0, vec![0; row.len()]);
    }
    const LOW: u32 = (1 << 10) - 1;
    let step = f32::from_bits(((most / half as f32).to_bits() + LOW) & !LOW);
    (step, row.iter().map(|v| (v / step).round_ties_even() as i32).collect())
}

fn check_latent(latent: &WPlus) -> Result<()> {
    let WPlus { rows, dim, ref data } = *latent;
    if !(1..=MAX_LATENT_ROWS).contains(&rows) || !(1..=MAX_LATENT_DIM).contains(&dim) {
        return Err(Error::Limit(format!("latent of {rows} x {dim}: 1 x 1 to {MAX_LATENT_ROWS} x {MAX_LATENT_DIM} allowed")));
    }
    if data.len() != rows * dim {
        return Err(Error::Misuse(format!("latent of {rows} x {dim} needs {} numbers, not {}", rows * dim, data.len())));
    }
    match data.iter().find(|v| !v.is_finite() || v.abs() > MAX_LATENT) {
        Some(v) => Err(Error::Misuse(format!("latent: {v} is not a usable number"))),
        None => Ok(()),
    }
}

/// The latent as a decoder will see it: quantised and back.
///
/// # Errors
/// Misuse or limit, if its sizes or numbers cannot be sent.
pub fn latent_as_sent(latent: &WPlus) -> Result<WPlus> {
    check_latent(latent)?;
    let half = half_range(latent.data.len());
    let mut data = Vec::with_capacity(latent.data.len());
    for row in latent.data.chunks_exact(latent.dim) {
        let (step, levels) = quantise_row(row, half);
        data.extend(levels.iter().map(|&q| q as f32 * step));
    }
    Ok(WPlus { data, ..*latent })
}

fn write_latent(latent: &WPlus, put: &mut Put) -> Result<()> {
    check_latent(latent)?;
    put.u16(&mut (latent.rows as u16), "latent: rows")?;
    put.u16(&mut (latent.dim as u16), "latent: numbers per row")?;
    let half = half_range(latent.data.len());
    let mut levels = Vec::with_capacity(latent.data.len());
    for row in latent.data.chunks_exact(latent.dim) {
        let (mut step, row) = quantise_row(row, half);
        put.f32(&mut step, "latent: step")?;
        levels.extend(row);
    }
    let mut coder = RangeEncoder::default();
    encode_levels(&mut coder, &mut LevelModel::default(), &levels, Strides { inner: 1, row: latent.dim })?;
    put.blob(&mut coder.finish(), MAX_IDENTITY_BYTES, "latent: coded block")
}

fn read_latent(take: &mut Take<'_>) -> Result<WPlus> {
    let (mut rows, mut dim) = (0, 0);
    take.u16(&mut rows, "latent: rows")?;
    take.u16(&mut dim, "latent: numbers per row")?;
    let (rows, dim) = (usize::from(rows), usize::from(dim));
    if !(1..=MAX_LATENT_ROWS).contains(&rows) || !(1..=MAX_LATENT_DIM).contains(&dim) {
        return Err(Error::Limit(format!("latent of {rows} x {dim}: 1 x 1 to {MAX_LATENT_ROWS} x {MAX_LATENT_DIM} allowed")));
    }
    let mut steps = vec![0.0; rows];
    steps.iter_mut().try_for_each(|step| take.f32(step, "latent: step"))?;
    let mut coded = Vec::new();
    take.blob(&mut coded, MAX_IDENTITY_BYTES, "latent: coded block")?;
    let mut coder = RangeDecoder::new(&coded);
    let levels = decode_levels(&mut coder, &mut LevelModel::default(), rows * dim, Strides { inner: 1, row: dim })?;
    coder.finish()?;
    let half = half_range(rows * dim);
    let mut data = Vec::with_capacity(rows * dim);
    for (r, (step, levels)) in steps.into_iter().zip(levels.chunks_exact(dim)).enumerate() {
        let row: Vec<f32> = levels.iter().map(|&q| q as f32 * step).collect();
        let usable = row.iter().all(|v| v.is_finite() && v.abs() <= MAX_LATENT);
        // Only what the writer's rule gives is valid: otherwise encoding again would move the latent.
        if !usable || quantise_row(&row, half) != (step, levels.to_vec()) {
            return Err(Error::Malformed(format!("latent: row {r} does not follow the rule for its step {step}")));
        }
        data.extend(row);
    }
    Ok(WPlus { rows, dim, data })
}
