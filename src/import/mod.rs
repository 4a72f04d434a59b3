//! Published checkpoints that users bring, to a model pack: files written by `torch.save`, of any age, and safetensors.
//!
//! Input: a file nobody vouches for. Output: a [`Checkpoint`], that is a tree of plain values whose tensors are read from the
//! file when asked for. **Nothing in a file is executed**: a pickle is a program for Python's pickle machine, and the machine
//! here knows how to make lists, dictionaries, numbers and tensors and has no way to call anything else. A file that asks for
//! another call is refused with the name of what it wanted. What is read and what is refused: `docs/checkpoints.md`.
//!
//! ```text
//! file -> archive | legacy | flat (containers) -> pickle (machine) -> tree -> layout (names and shapes) -> tensors
//! tensors -> networks (one per file) -> assemble (a pack) <- channels (V by index sensitivity; regions, scores)
//! ```
//!
//! Sources: the Python standard library's `pickletools` documents every opcode; PyTorch's "Serialization semantics" notes
//! describe the containers; `docs/checkpoints.md` says what the published files hold.
//!
//! # Why no pickle crate
//!
//! - `serde-pickle` (1.2) is kept up, yet has no persistent identifiers (which is how a checkpoint names its numbers), and it
//!   turns objects into their state instead of refusing them.
//! - `repugnant-pickle` stopped at 0.0.1 and calls itself low-effort scraping; `candle-core` reads the zip container alone
//!   and brings a tensor library.
//! - `pytorch-reader`, the reader of the Burn project (first release October 2026), is alive and reads all containers. It keeps
//!   a call it does not know as an opaque value, so a file that wants to run a command opens without a word; here that is an
//!   error.
//!
//! The machine is less code than the checks that any of these would need around it.
//! The zip directory, on the other hand, is read by the `zip` crate, without its compression methods: checkpoints are stored.

mod archive;
mod assemble;
mod calls;
mod channels;
mod checkpoint;
mod flat;
mod layout;
mod legacy;
mod networks;
mod pickle;
mod regions;
mod scores;
mod source;
mod tensor;
mod tree;
mod verify;

pub use assemble::{import, Checkpoints, ImportOptions};
pub use channels::{find, FindOptions};
pub use checkpoint::{read, Checkpoint};
pub use layout::{compare, identify, latent_rows, state_of, Expected, Part, State};
pub use tensor::{ElementType, TensorData, TensorRef};
pub use tree::Value;
pub use verify::verify;

/// Most bytes of pickle in one checkpoint. A tensor takes about 150.
pub const MAX_PICKLE_BYTES: u64 = 64 << 20;
/// Most steps the pickle machine takes for one pickle: opcodes, elements copied and 16 bytes of copied text count one each.
/// A tensor takes about 45.
pub const MAX_PICKLE_STEPS: u64 = 2 << 20;
/// Longest string in a pickle, bytes.
pub const MAX_TEXT_BYTES: u64 = 1 << 20;
/// Longest line of a pickle's text opcodes: numbers and names of classes, bytes.
pub const MAX_LINE_BYTES: u64 = 4096;
/// Widest integer in a pickle, bytes.
pub const MAX_INTEGER_BYTES: usize = 16;
/// Most tensors that one checkpoint makes. A training checkpoint with its optimiser has about 2000.
pub const MAX_TENSORS: usize = 1 << 16;
/// Most dimensions of a tensor.
pub const MAX_DIMENSIONS: usize = 8;
/// Deepest nesting of lists and dictionaries.
pub const MAX_DEPTH: usize = 64;
/// Most values in the tree of a checkpoint, counting a shared one as often as it appears; 16 bytes of text count as one more.
pub const MAX_TREE_NODES: u64 = 1 << 19;
/// Most bytes of one tensor, and of the stretch of the file that a strided tensor is gathered from.
pub const MAX_TENSOR_BYTES: u64 = 2 << 30;
/// Most values of a tensor that repeats its storage (stride 0): such a tensor is not bounded by the size of the file.
pub const MAX_EXPANDED_VALUES: u64 = 1 << 20;
/// Most records in a zip container.
pub const MAX_RECORDS: usize = 1 << 16;
/// Most bytes read to find and understand the directory of a zip container.
pub const MAX_DIRECTORY_BYTES: u64 = 16 << 20;
/// Longest JSON header of a safetensors file, bytes.
pub const MAX_HEADER_BYTES: u64 = 16 << 20;
