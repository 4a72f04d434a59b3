//! What a long search has measured so far, kept in a JSON file, so that it can be interrupted and go on.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Largest state file that is read.
const MAX_BYTES: u64 = 64 << 20;

/// Finished parts by name.
#[derive(Debug)]
pub(super) struct Scores {
    path: Option<PathBuf>,
    stored: Stored,
}

#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    key: String,
    parts: BTreeMap<String, Vec<f32>>,
}

impl Scores {
    /// What the file holds, if it belongs to the search that `key` names; nothing if it is the state of another search. Without a path nothing is
    /// kept.
    ///
    /// # Errors
    /// Misuse for a file that is no state: it would be overwritten.
    pub(super) fn open(path: Option<&Path>, key: &str) -> Result<Scores> {
        let fresh = Stored { key: key.into(), parts: BTreeMap::new() };
        let Some(path) = path else { return Ok(Scores { path: None, stored: fresh }) };
        let foreign = || Error::Misuse(format!("{} is not the state of a search for channels", path.display()));
        let stored = match std::fs::metadata(path) {
            Ok(meta) if !meta.is_file() || meta.len() > MAX_BYTES => return Err(foreign()),
            Ok(_) => {
                let text = std::fs::read(path).map_err(|e| Error::io("read the state of the search", path, e))?;
                let found: Stored = serde_json::from_slice(&text).map_err(|_| foreign())?;
                (found.key == key).then_some(found)
            }
            Err(_) => None,
        };
        Ok(Scores { path: Some(path.into()), stored: stored.unwrap_or(fresh) })
    }

    /// The part `name`: from the file, else from `measure`, and then written.
    pub(super) fn get_or(&mut self, name: &str, measure: impl FnOnce() -> Result<Vec<f32>>) -> Result<Vec<f32>> {
        if let Some(found) = self.stored.parts.get(name) {
            return Ok(found.clone());
        }
        let values = measure()?;
        self.stored.parts.insert(name.into(), values.clone());
        if let Some(path) = &self.path {
            let text = serde_json::to_vec(&self.stored).map_err(|e| Error::Malformed(format!("state of the search: {e}")))?;
            let mut name = path.file_name().unwrap_or_default().to_os_string();
            name.push(format!(".{}.part", std::process::id()));
            let part = path.with_file_name(name);
            let written = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, path));
            written.map_err(|e| Error::io("write the state of the search", path, e))?;
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_part_is_not_measured_again_unless_the_search_is_another() {
        let path = std::env::temp_dir().join(format!("effigy-scores-{}.json", std::process::id()));
        let mut scores = Scores::open(Some(&path), "a").unwrap();
        assert_eq!(scores.get_or("x", || Ok(vec![1.5, 2.0])).unwrap(), [1.5, 2.0]);
        let mut again = Scores::open(Some(&path), "a").unwrap();
        assert_eq!(again.get_or("x", || panic!("measured twice")).unwrap(), [1.5, 2.0]);
        let mut other = Scores::open(Some(&path), "b").unwrap();
        assert_eq!(other.get_or("x", || Ok(vec![3.0])).unwrap(), [3.0]);
        std::fs::write(&path, b"my thesis").unwrap();
        assert!(matches!(Scores::open(Some(&path), "b"), Err(Error::Misuse(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"my thesis");
        std::fs::remove_file(&path).unwrap();
    }
}
