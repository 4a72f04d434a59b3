//! Rendered pictures on disk: rendering costs as much as training, and the same heads serve run after run.
//!
//! Input: a folder, the side and the first seed of the heads. Files: `heads.key` (side, seed and a hash of what the renderer
//! draws now), `heads.pictures` and `heads.labels` (bytes, one head after the other). Another key begins anew.

use super::data::{head, shrink_labels};
use super::heads;
use crate::error::{Error, Result};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Heads whose small pictures stand for the renderer in the key.
const WITNESSES: usize = 4;
/// Side of those pictures.
const WITNESS_SIDE: u32 = 64;

/// One growing file and its content.
#[derive(Debug)]
struct Part {
    file: Option<(PathBuf, File)>,
    bytes: Vec<u8>,
    /// Bytes per head.
    each: usize,
}

/// Pictures and labels of the heads rendered so far.
#[derive(Debug)]
pub(super) struct Store {
    pictures: Part,
    labels: Part,
}

impl Part {
    fn open(folder: Option<&Path>, name: &str, each: usize, fresh: bool) -> Result<Part> {
        let Some(folder) = folder else { return Ok(Part { file: None, bytes: Vec::new(), each }) };
        let path = folder.join(name);
        let failed = |e| Error::io("open", &path, e);
        let mut options = OpenOptions::new();
        options.read(true).create(true);
        let mut file = match fresh {
            true => options.write(true).truncate(true).open(&path),
            false => options.append(true).open(&path),
        }
        .map_err(failed)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|e| Error::io("read", &path, e))?;
        Ok(Part { file: Some((path, file)), bytes, each })
    }

    fn len(&self) -> usize {
        self.bytes.len() / self.each
    }

    /// Forgets all behind the first `count` heads: a stop may have come between the two files, or within one.
    fn cut(&mut self, count: usize) -> Result<()> {
        self.bytes.truncate(count * self.each);
        match &self.file {
            Some((path, file)) => file.set_len(self.bytes.len() as u64).map_err(|e| Error::io("write", path, e)),
            None => Ok(()),
        }
    }

    fn push(&mut self, data: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(data);
        match &mut self.file {
            Some((path, file)) => file.write_all(data).map_err(|e| Error::io("write", path, e)),
            None => Ok(()),
        }
    }
}

impl Store {
    /// What the folder holds of these heads; without a folder, nothing, and nothing is written.
    pub(super) fn open(folder: Option<&Path>, side: i64, seed: u64) -> Result<Store> {
        let mut fresh = false;
        if let Some(folder) = folder {
            let (file, key) = (folder.join("heads.key"), key(side, seed));
            fresh = std::fs::read_to_string(&file).ok().as_deref() != Some(key.as_str());
            if fresh {
                std::fs::write(&file, key).map_err(|e| Error::io("write", &file, e))?;
            }
        }
        let pixels = (side * side) as usize;
        let mut store = Store {
            pictures: Part::open(folder, "heads.pictures", 3 * pixels, fresh)?,
            labels: Part::open(folder, "heads.labels", pixels / 4, fresh)?,
        };
        let whole = store.len();
        store.pictures.cut(whole)?;
        store.labels.cut(whole)?;
        Ok(store)
    }

    /// Heads held.
    pub(super) fn len(&self) -> usize {
        self.pictures.len().min(self.labels.len())
    }

    /// Adds heads: picture bytes and half-size labels each.
    pub(super) fn extend(&mut self, heads: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        for (picture, labels) in heads {
            self.pictures.push(picture)?;
            self.labels.push(labels)?;
        }
        Ok(())
    }

    /// Bytes of the first `count` pictures and labels.
    pub(super) fn into_bytes(mut self, count: usize) -> (Vec<u8>, Vec<u8>) {
        self.pictures.bytes.truncate(count * self.pictures.each);
        self.labels.bytes.truncate(count * self.labels.each);
        (self.pictures.bytes, self.labels.bytes)
    }
}

/// Side, seed, and a hash of a few heads as they are drawn, and their labels made small, now: others must not be mixed in.
fn key(side: i64, seed: u64) -> String {
    let mut hash = Sha256::new();
    for i in 0..WITNESSES {
        let picture = heads::render(&head(seed, i), WITNESS_SIDE);
        hash.update(&picture.frame.data);
        hash.update(shrink_labels(&picture.labels, WITNESS_SIDE as usize / 2));
    }
    let hash: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    format!("side {side} seed {seed} renderer {hash}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_come_back_up_to_the_last_whole_head_and_another_seed_begins_anew() {
        let folder = std::env::temp_dir().join(format!("effigy-store-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let one = |value: u8| (vec![value; 3 * 8 * 8], vec![value; 4 * 4]);
        let mut store = Store::open(Some(&folder), 8, 1).unwrap();
        store.extend(&[one(1), one(2)]).unwrap();
        // A stop in the middle of the third picture.
        store.pictures.push(&[3; 17]).unwrap();
        drop(store);
        let mut store = Store::open(Some(&folder), 8, 1).unwrap();
        assert_eq!(store.len(), 2);
        store.extend(&[one(4)]).unwrap();
        drop(store);
        let store = Store::open(Some(&folder), 8, 1).unwrap();
        assert_eq!(store.len(), 3);
        let (pictures, labels) = store.into_bytes(3);
        assert_eq!((pictures[192], pictures[2 * 192], labels[32]), (2, 4, 4));
        assert_eq!(Store::open(Some(&folder), 8, 2).unwrap().len(), 0, "another seed");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
