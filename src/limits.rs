//! Named limits: every length read from a file is checked against one of these before memory is taken.

/// Largest crop side the generator may have, pixels.
pub const MAX_RESOLUTION: u32 = 1024;
/// Largest side of a camera frame, pixels.
pub const MAX_FRAME_SIDE: u32 = 16_384;
/// Most rows of a W+ latent: `2 log2(1024) - 2`.
pub const MAX_LATENT_ROWS: usize = 18;
/// Widest W+ row.
pub const MAX_LATENT_DIM: usize = 512;
/// Most tensors in an identity's tuned weights.
pub const MAX_TUNED_TENSORS: usize = 256;
/// Most values in all tuned tensors together (the published 1024 generator has 30 M).
pub const MAX_TUNED_VALUES: usize = 40_000_000;
/// Largest identity, bytes.
pub const MAX_IDENTITY_BYTES: usize = 64 << 20;
/// Largest packet of one frame or frame group, bytes.
pub const MAX_PACKET_BYTES: usize = 64 << 10;
/// Largest stream metadata (all keys and values), bytes.
pub const MAX_METADATA_BYTES: usize = 64 << 10;
/// Longest tensor name, identity name or metadata key, bytes.
pub const MAX_NAME_BYTES: usize = 256;
/// Most sound in one stream, bytes: 24 hours at 380 kilobits per second.
pub const MAX_SOUND_BYTES: u64 = 4 << 30;
/// Largest plate, the still picture of the background that a stream may carry, bytes.
pub const MAX_PLATE_BYTES: u64 = 4 << 20;
/// Most pixels of a camera picture that heads are laid over: 8192 x 4320.
pub const MAX_CAMERA_PIXELS: u64 = 8192 * 4320;
/// Largest thumbnail (PNG), bytes.
pub const MAX_THUMBNAIL_BYTES: usize = 1 << 20;
/// Largest pack file, bytes.
pub const MAX_PACK_BYTES: u64 = 4 << 30;
/// Most frames in one stream: 24 hours at 120 frames per second.
pub const MAX_FRAMES: u64 = 24 * 3600 * 120;
/// Most enrolled frames whose parameters an identity remembers.
pub const MAX_ANCHORS: usize = 64;
/// Most frames of footage in one training run: 4 GB of crops at 256 x 256, of which three copies are held while they are read.
pub const MAX_FRAMES_TRAINED: usize = 20_000;
