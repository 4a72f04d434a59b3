//! Output files that appear complete or not at all, and results on standard output.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use effigy::{Error, Result};

/// A file written under a temporary name beside its final one; without [`Staged::commit`] it is removed.
pub struct Staged {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    done: bool,
}

impl Staged {
    /// Creates the temporary file, so that a folder that cannot be written to shows before the work starts and not after it.
    pub fn create(path: &Path) -> Result<Self> {
        check_target(path)?;
        let temporary = beside(path)?;
        let file = File::create(&temporary).map_err(|e| Error::io("write", path, e))?;
        Ok(Staged { file, temporary, path: path.to_path_buf(), done: false })
    }

    /// Where the bytes are until the file has its name.
    pub fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Writes `bytes` as the whole file and gives it its name.
    pub fn write(mut self, bytes: &[u8]) -> Result<()> {
        self.write_all(bytes).map_err(|e| Error::io("write", &self.path, e))?;
        self.commit()
    }

    /// Gives the file its final name, replacing what was there.
    pub fn commit(mut self) -> Result<()> {
        self.file.flush().map_err(|e| Error::io("write", &self.path, e))?;
        fs::rename(&self.temporary, &self.path).map_err(|e| Error::io("write", &self.path, e))?;
        self.done = true;
        Ok(())
    }
}

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.done {
            // Nothing useful can be done when even this fails.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// A hidden name in the same folder, so that renaming never crosses file systems.
fn beside(path: &Path) -> Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| Error::Misuse(format!("{} names no file", path.display())))?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.part", std::process::id()));
    Ok(path.with_file_name(hidden))
}

/// `Err` if `path` cannot become a plain file: a folder, a device (renaming over one would replace it), or inside no folder.
fn check_target(path: &Path) -> Result<()> {
    if let Ok(found) = fs::metadata(path) {
        if !found.is_file() {
            return Err(Error::Misuse(format!("{} is not a plain file, so it cannot be replaced by one", path.display())));
        }
    }
    Ok(())
}

/// `Err` if `output` is one of the `inputs`: it would be overwritten while it is read.
pub fn distinct(output: &Path, inputs: &[&Path]) -> Result<()> {
    let Ok(target) = fs::canonicalize(output) else { return Ok(()) };
    match inputs.iter().find(|input| fs::canonicalize(input).is_ok_and(|source| source == target)) {
        Some(input) => Err(Error::Misuse(format!("the output {} is also an input", input.display()))),
        None => Ok(()),
    }
}

/// `Err` if nothing can be written into the folder where `output` will be. A folder that is asked for (a name that ends in `/`) is made; nothing else stays.
pub fn check_writable(output: &Path) -> Result<()> {
    if output.is_dir() {
        let probe = output.join("probe");
        return Staged::create(&probe).map(drop);
    }
    if output.as_os_str().to_string_lossy().ends_with('/') {
        return fs::create_dir_all(output).map_err(|e| Error::io("create", output, e));
    }
    Staged::create(output).map(drop)
}

/// Prints a result. A reader that has gone away (`effigy inspect x | head`) is no error.
pub fn print(text: &str) -> Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Error::io("write", "standard output", e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("effigy-output-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_dropped_output_leaves_the_old_file_and_nothing_else() {
        let folder = folder("drop");
        let path = folder.join("out");
        fs::write(&path, "old").unwrap();
        let mut staged = Staged::create(&path).unwrap();
        staged.write_all(b"half").unwrap();
        drop(staged);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        Staged::create(&path).unwrap().write(b"new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_device_is_never_replaced() {
        assert!(matches!(Staged::create(Path::new("/dev/null")), Err(Error::Misuse(_))));
    }

    #[test]
    fn an_input_is_not_overwritten_under_another_spelling() {
        let folder = folder("same");
        let path = folder.join("clip");
        fs::write(&path, "x").unwrap();
        let other = folder.join(".").join("clip");
        assert!(distinct(&other, &[&path]).is_err());
        assert!(distinct(&folder.join("new"), &[&path]).is_ok());
        fs::remove_dir_all(folder).unwrap();
    }
}
