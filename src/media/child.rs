//! ffmpeg and ffprobe as child processes: bounded reading of their messages, never left running.
//!
//! Input: arguments. Output: a running child whose stderr lines go to a listener, and on failure the one line that says why.

use std::io::Read;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::error::{Error, Result};

/// Containers that may be opened. Left out on purpose: playlists (hls, dash, concat), which name other files and addresses.
const CONTAINERS: &str = "mov,matroska,webm,avi,nut,mpegts,mpeg,mpegvideo,flv,ogg,asf,mxf,ivf,h264,hevc,av1,obu,m4v,gif,apng,\
yuv4mpegpipe,dv,rm,png_pipe,jpeg_pipe,webp_pipe,bmp_pipe,tiff_pipe,wav,mp3,flac,aac,caf";

/// Longest message line that is kept, bytes; the rest of a longer line is dropped.
const MAX_LINE: usize = 1024;

/// Options that go before `-i`: only local files of known containers are opened, whatever the file asks for.
pub(super) fn input_guard() -> [&'static str; 4] {
    ["-protocol_whitelist", "file,pipe", "-format_whitelist", CONTAINERS]
}

/// A path as ffmpeg's `file:` address, so that a name that starts with `-` or looks like an address stays a file name.
pub(super) fn file_url(path: &Path) -> std::ffi::OsString {
    let mut url = std::ffi::OsString::from("file:");
    url.push(path);
    url
}

/// The start of an ffmpeg command line: quiet on success, each message with its level.
pub(super) fn ffmpeg() -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-nostats", "-loglevel", "repeat+level+info"]);
    command
}

/// A running child that is killed and reaped when dropped.
pub(super) struct Process {
    child: Child,
    messages: Option<JoinHandle<()>>,
    last_error: Arc<Mutex<String>>,
}

impl Process {
    /// Starts `command` with stderr captured; `on_line` sees every message line, on a thread of its own.
    ///
    /// # Errors
    /// `Device` when the program is not installed or cannot be started.
    pub(super) fn start(command: &mut Command, mut on_line: impl FnMut(&str) + Send + 'static) -> Result<Self> {
        let mut child = command.stderr(Stdio::piped()).spawn().map_err(|e| not_started(command, &e))?;
        let last_error = Arc::new(Mutex::new(String::new()));
        let stderr = child.stderr.take().expect("stderr was requested as a pipe just above");
        let shared = Arc::clone(&last_error);
        let messages = std::thread::spawn(move || {
            each_line(stderr, |line| {
                if let Some(text) = error_text(line) {
                    if let Ok(mut last) = shared.lock() {
                        *last = text;
                    }
                }
                on_line(line);
            });
        });
        Ok(Process { child, messages: Some(messages), last_error })
    }

    /// The child itself, to take its pipes.
    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for the end: whether it succeeded, and its last error message (may be empty).
    pub(super) fn wait(&mut self) -> Result<(bool, String)> {
        let status = self.child.wait().map_err(|source| Error::Io { what: "cannot wait for ffmpeg".into(), source })?;
        if let Some(thread) = self.messages.take() {
            // A panic of the listener would only lose messages.
            let _ = thread.join();
        }
        let text = self.last_error.lock().map(|t| t.clone()).unwrap_or_default();
        Ok((status.success(), text))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.messages.is_some() {
            // Both fail only when the child has ended already.
            let _ = self.child.kill();
            let _ = self.child.wait();
            if let Some(thread) = self.messages.take() {
                let _ = thread.join();
            }
        }
    }
}

/// Says that a program could not be started.
pub(super) fn not_started(command: &Command, e: &std::io::Error) -> Error {
    let name = command.get_program().to_string_lossy().into_owned();
    match e.kind() {
        std::io::ErrorKind::NotFound => Error::Device(format!("{name} was not found: install ffmpeg, with {name} in PATH")),
        _ => Error::Device(format!("cannot start {name}: {e}")),
    }
}

/// Calls `on_line` for each line of `stderr`, cut at [`MAX_LINE`] bytes.
fn each_line(mut stderr: ChildStderr, mut on_line: impl FnMut(&str)) {
    let mut chunk = [0u8; 4096];
    let mut line = Vec::with_capacity(MAX_LINE);
    while let Ok(n) = stderr.read(&mut chunk) {
        if n == 0 {
            break;
        }
        for &byte in &chunk[..n] {
            if byte == b'\n' {
                on_line(&String::from_utf8_lossy(&line));
                line.clear();
            } else if line.len() < MAX_LINE {
                line.push(byte);
            }
        }
    }
    if !line.is_empty() {
        on_line(&String::from_utf8_lossy(&line));
    }
}

/// The text of an error line without ffmpeg's prefixes (`[mov @ 0x..] [error] `), None for other lines.
pub(super) fn error_text(line: &str) -> Option<String> {
    ["[error] ", "[fatal] "].iter().find_map(|tag| line.find(tag).map(|at| line[at + tag.len()..].trim().to_string()))
}

/// The reason inside an ffmpeg message: what follows the name of the file, when the message starts with it.
pub(super) fn reason(message: &str) -> &str {
    match message.strip_prefix("file:") {
        Some(rest) => rest.rsplit_once(": ").map_or(rest, |(_, why)| why),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_lose_their_prefixes() {
        assert_eq!(error_text("[mov,mp4 @ 0x56] [error] moov atom not found").as_deref(), Some("moov atom not found"));
        assert_eq!(error_text("[info] Output #0"), None);
        assert_eq!(reason("file:a: b.mp4: Invalid data found"), "Invalid data found");
    }

    #[test]
    fn a_missing_program_is_named() {
        let e = Process::start(&mut Command::new("no-such-program-at-all"), |_| ()).err().unwrap();
        assert!(e.to_string().contains("no-such-program-at-all was not found"), "{e}");
    }

    #[test]
    fn a_dropped_child_is_gone() {
        let mut command = Command::new("sleep");
        let mut process = Process::start(command.arg("100"), |_| ()).unwrap();
        let id = process.child().id();
        drop(process);
        assert!(!Path::new(&format!("/proc/{id}")).exists(), "the child still runs or was not reaped");
    }
}
