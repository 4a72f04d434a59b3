//! A checkpoint file, opened: what kind of file it is, its tree, and its numbers on request.
//!
//! Input: a path. Output: [`Checkpoint`]. Only the tree is held; the numbers stay in the file until [`Checkpoint::load`].

use super::tensor::{TensorData, TensorRef};
use super::tree::Value;
use super::{archive, flat, legacy};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// An open checkpoint.
///
/// ```no_run
/// # fn main() -> effigy::Result<()> {
/// let checkpoint = effigy::import::read("stylegan2-ffhq-config-f.pt")?;
/// let weights = checkpoint.root().tensors_under("g_ema.")?;
/// let constant = checkpoint.load(&weights["input.input"])?.to_f32()?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Checkpoint {
    root: Value,
    path: PathBuf,
    /// Reading moves the file's position, so one thread reads at a time.
    file: Mutex<File>,
}

/// Opens a file that `torch.save` wrote, or a safetensors file, without executing anything in it.
///
/// Every tensor's place is checked against the file; a file that was cut is noticed here.
///
/// # Errors
/// Input/output; malformed for damaged files and for files that are something else; unsupported for what is recognised and not
/// read, such as a pickle that wants to call a function; limit for what exceeds the limits of this module.
/// Each message begins with the path.
pub fn read(path: impl AsRef<Path>) -> Result<Checkpoint> {
    let path = path.as_ref();
    // Before opening: to open a pipe would wait for its writer.
    let facts = std::fs::metadata(path).map_err(|e| Error::io("open checkpoint", path, e))?;
    if !facts.is_file() {
        return Err(Error::Misuse(format!("checkpoint {} is not a file", path.display())));
    }
    let file = File::open(path).map_err(|e| Error::io("open checkpoint", path, e))?;
    let root = tree_of(&file, facts.len()).map_err(|e| about(path, e))?;
    Ok(Checkpoint { root, path: path.to_path_buf(), file: Mutex::new(file) })
}

impl Checkpoint {
    /// Everything in the file.
    pub fn root(&self) -> &Value {
        &self.root
    }

    /// The top-level entry `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.root.get(key)
    }

    /// All tensors by name; see [`Value::tensors`].
    ///
    /// # Errors
    /// Malformed if two tensors get the same name.
    pub fn tensors(&self) -> Result<BTreeMap<String, TensorRef>> {
        self.root.tensors().map_err(|e| about(&self.path, e))
    }

    /// Reads the numbers of a tensor of this checkpoint. A tensor of another file gives an error or numbers without meaning.
    ///
    /// # Errors
    /// Input/output; malformed if a zip record has another check sum than its directory says (whole records only: a view of
    /// a part cannot be checked).
    pub fn load(&self, tensor: &TensorRef) -> Result<TensorData> {
        // A panic elsewhere leaves nothing half-done: every read seeks first.
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        tensor.read(&mut *file).map_err(|e| about(&self.path, e))
    }

    /// Where the file is, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn about(path: &Path, error: Error) -> Error {
    let name = |what: String| format!("checkpoint {}: {what}", path.display());
    match error {
        Error::Malformed(what) => Error::Malformed(name(what)),
        Error::Unsupported(what) => Error::Unsupported(name(what)),
        Error::Limit(what) => Error::Limit(name(what)),
        Error::Io { what, source } => Error::Io { what: name(what), source },
        other => other,
    }
}

/// Tells the containers apart by their first bytes.
fn tree_of(mut file: &File, len: u64) -> Result<Value> {
    let failed = |source| Error::Io { what: "cannot read the first bytes".into(), source };
    let mut start = Vec::new();
    file.take(512).read_to_end(&mut start).map_err(failed)?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    if start.is_empty() {
        return Err(Error::Malformed("the file is empty".into()));
    }
    if start.starts_with(b"PK\x03\x04") {
        archive::read(file, len)
    } else if start.starts_with(&legacy::START) {
        legacy::read(file, len)
    } else if start.get(8) == Some(&b'{') {
        flat::read(file, len)
    } else {
        Err(stranger(&start))
    }
}

/// The error for a file that is no checkpoint, with what it seems to be.
fn stranger(start: &[u8]) -> Error {
    let text = String::from_utf8_lossy(start).trim_start().to_lowercase();
    if text.starts_with("<!doctype") || text.starts_with("<html") {
        return Error::Malformed("this is a web page, not a checkpoint: the download went wrong".into());
    }
    if start.starts_with(b"version https://git-lfs") {
        return Error::Malformed("this is a Git LFS pointer, not the file it stands for: run `git lfs pull`".into());
    }
    if start.get(257..262) == Some(b"ustar") {
        return Error::Unsupported(
            "the tar container of PyTorch before 0.1.10; load and save it once with a newer PyTorch".into(),
        );
    }
    if start.starts_with(&[0x1f, 0x8b]) {
        return Error::Unsupported("a gzip file; unpack it first".into());
    }
    if start[0] == 0x80 && start.get(1).is_some_and(|protocol| (2..=5).contains(protocol)) {
        let what = "a pickle outside PyTorch's containers, of Python objects that only their own code can read \
                    (NVIDIA's .pkl networks are such files); convert it to a state_dict first";
        return Error::Unsupported(what.into());
    }
    Error::Malformed("neither a PyTorch checkpoint nor a safetensors file".into())
}
