//! Where packs are looked for when none is named.

use super::Pack;
use crate::error::{Error, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// File name of the pack that comes with the program.
const BUILTIN: &str = "builtin.safetensors";

impl Pack {
    /// Places of the built-in pack, first choice first: `env` (what the caller found in the variable `EFFIGY_PACK`), beside the
    /// running program or library, the `share` folder of their prefix, `PREFIX/share` of the build, and the source tree of a
    /// development build.
    pub fn search_path(env: Option<OsString>) -> Vec<PathBuf> {
        let mut out: Vec<PathBuf> = env.filter(|v| !v.is_empty()).map(PathBuf::from).into_iter().collect();
        let program = std::env::current_exe().ok();
        for folder in [library(), program].into_iter().flatten().filter_map(|p| p.parent().map(Path::to_path_buf)) {
            out.push(folder.join(BUILTIN));
            out.push(folder.join("../share/effigy").join(BUILTIN));
        }
        out.push(Path::new(option_env!("PREFIX").unwrap_or("/usr/local")).join("share/effigy").join(BUILTIN));
        out.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(BUILTIN));
        out
    }

    /// The pack to use: `explicit`, else `env` (the value of `EFFIGY_PACK`), else the first of [`Pack::search_path`] that exists.
    /// A pack that was named is returned even if it is missing, so that loading reports it.
    ///
    /// # Errors
    /// Misuse, listing the places, when there is none.
    pub fn find(explicit: Option<&Path>, env: Option<OsString>) -> Result<PathBuf> {
        if let Some(path) = explicit {
            return Ok(path.to_path_buf());
        }
        if let Some(path) = env.as_ref().filter(|v| !v.is_empty()) {
            return Ok(PathBuf::from(path));
        }
        let places = Pack::search_path(env);
        places.iter().find(|p| p.is_file()).cloned().ok_or_else(|| {
            let list: Vec<String> = places.iter().map(|p| p.display().to_string()).collect();
            Error::Misuse(format!("no model pack found; name one, or put it at one of: {}", list.join(", ")))
        })
    }
}

/// The shared library this code runs in, where the system tells (Linux); programs that link it statically have none.
fn library() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().filter_map(|line| line.split_once('/')).map(|(_, path)| PathBuf::from(format!("/{path}"))).find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("libeffigy") && name.contains(".so")
    })
}
