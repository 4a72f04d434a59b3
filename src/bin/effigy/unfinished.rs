//! What an interrupted run leaves beside its output, so that `--resume` goes on with it: `OUT.unfinished/`.
//!
//! Files: `tuning.safetensors` (the library's), `enrolled` (identity and the enrolled frames' numbers), `places` (where the crops of an enrolled person
//! were put), `numbers` (what the search has found so far). All but the first begin with a hash of what they belong to. Gone when the output is complete.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use effigy::encode::{EncodeOptions, Track, SEGMENT};
use effigy::limits::MAX_IDENTITY_BYTES;
use effigy::params::{FrameParams, Placement};
use effigy::{Error, Result};
use sha2::{Digest, Sha256};

use crate::clip::Aligned;
use crate::common::read_file;
use crate::output::Staged;

/// Numbers of a frame, and their bytes.
const NUMBERS: usize = 35;
const RECORD: usize = 4 * NUMBERS;
/// Most bytes of numbers that are read: a day of frames.
const MOST: u64 = 512 << 20;

/// What ties files to a run.
pub type Belongs = [u8; 32];

/// The folder.
pub struct UnfinishedRun {
    folder: PathBuf,
    done: bool,
}

/// A person, as they were enrolled.
pub struct Enrolled {
    pub identity: Vec<u8>,
    pub params: Vec<Option<FrameParams>>,
}

impl UnfinishedRun {
    /// Makes the folder of `output`, or with `resume` opens the one that is there.
    pub fn open(output: &Path, resume: bool) -> Result<Self> {
        let mut name = output.file_name().unwrap_or_default().to_os_string();
        name.push(".unfinished");
        let folder = output.with_file_name(name);
        if !resume && folder.exists() {
            return Err(Error::Misuse(format!(
                "{} holds the work of a run that was interrupted: go on with it by --resume, or delete it",
                folder.display()
            )));
        }
        if resume && !folder.exists() {
            log::warn!("there is no {}: all is done from the beginning", folder.display());
        }
        fs::create_dir_all(&folder).map_err(|e| Error::io("create", &folder, e))?;
        Ok(UnfinishedRun { folder, done: false })
    }

    /// For [`EncodeOptions::unfinished`].
    pub fn tuning(&self) -> PathBuf {
        self.folder.join("tuning.safetensors")
    }

    /// The person that an earlier run has enrolled.
    pub fn enrolled(&self, belongs: &Belongs) -> Result<Option<Enrolled>> {
        let Some(bytes) = self.read("enrolled", belongs)? else { return Ok(None) };
        let broken = || Error::Malformed(format!("{}: the file is cut short", self.folder.join("enrolled").display()));
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(broken)?;
        let (identity, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(broken)?;
        let params = rest.chunks_exact(1 + RECORD).map(|record| (record[0] == 1).then(|| from_bytes(&record[1..])));
        Ok(Some(Enrolled { identity: identity.to_vec(), params: params.collect() }))
    }

    /// Keeps the person; the tuning's own state is not needed any more.
    pub fn keep_enrolled(&self, belongs: &Belongs, enrolled: &Enrolled) -> Result<()> {
        let mut bytes = belongs.to_vec();
        bytes.extend((enrolled.identity.len() as u32).to_le_bytes());
        bytes.extend(&enrolled.identity);
        for params in &enrolled.params {
            bytes.push(u8::from(params.is_some()));
            bytes.extend(to_bytes(&params.unwrap_or_default()));
        }
        Staged::create(&self.folder.join("enrolled"))?.write(&bytes)?;
        match fs::remove_file(self.tuning()) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", self.tuning(), e)),
            _ => Ok(()),
        }
    }

    /// The numbers of whole segments that an earlier run has found, and a file that goes on with those of this run.
    pub fn numbers(&self, belongs: &Belongs) -> Result<(Vec<FrameParams>, Numbers)> {
        let bytes = self.read("numbers", belongs)?.unwrap_or_default();
        let whole = bytes.len() / (SEGMENT * RECORD) * SEGMENT;
        let found = bytes.chunks_exact(RECORD).take(whole).map(from_bytes).collect();
        // Anew with the first that are kept, without the part of a segment that a stop in the middle of writing may have left.
        let mut kept = belongs.to_vec();
        kept.extend(&bytes[..whole * RECORD]);
        Ok((found, Numbers { path: self.folder.join("numbers"), before: Some(kept) }))
    }

    // Reason, here and below: builds without alignment place nothing.
    /// Where an earlier run has put the crops of an enrolled person: placement and roll of each frame.
    #[cfg_attr(not(feature = "encode"), allow(dead_code))]
    pub fn places(&self, belongs: &Belongs) -> Result<Option<Vec<(Placement, f32)>>> {
        let Some(bytes) = self.read("places", belongs)? else { return Ok(None) };
        let place = |record: &[u8]| {
            let [x, y, side, roll] = std::array::from_fn(|i| number(&record[4 * i..]));
            (Placement { x, y, side }, roll)
        };
        Ok(Some(bytes.chunks_exact(16).map(place).collect()))
    }

    /// Keeps where the crops were put.
    #[cfg_attr(not(feature = "encode"), allow(dead_code))]
    pub fn keep_places(&self, belongs: &Belongs, tracks: &[Track]) -> Result<()> {
        let mut bytes = belongs.to_vec();
        for Track { placement, roll, .. } in tracks {
            bytes.extend([placement.x, placement.y, placement.side, *roll].iter().flat_map(|v| v.to_le_bytes()));
        }
        Staged::create(&self.folder.join("places"))?.write(&bytes)
    }

    /// What follows the hash in a file, if there is one.
    fn read(&self, name: &str, belongs: &Belongs) -> Result<Option<Vec<u8>>> {
        let path = self.folder.join(name);
        if !path.exists() {
            return Ok(None);
        }
        let mut bytes = read_file(&path, MOST + MAX_IDENTITY_BYTES as u64)?;
        if bytes.len() < belongs.len() || bytes[..belongs.len()] != *belongs {
            return Err(Error::Misuse(format!(
                "{} belongs to another clip, another part of it or other settings: resume with what was given then, or delete the folder",
                path.display()
            )));
        }
        bytes.drain(..belongs.len());
        Ok(Some(bytes))
    }

    /// All is done: removes the folder, but nothing in it that is not ours.
    pub fn finish(mut self) -> Result<()> {
        self.done = true;
        for name in ["tuning.safetensors", "enrolled", "places", "numbers"] {
            match fs::remove_file(self.folder.join(name)) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("remove", self.folder.join(name), e)),
                _ => {}
            }
        }
        fs::remove_dir(&self.folder).map_err(|e| Error::io("remove", &self.folder, e))
    }
}

impl Drop for UnfinishedRun {
    fn drop(&mut self) {
        // An empty folder goes; one with work in it cannot be removed so.
        if !self.done && fs::remove_dir(&self.folder).is_err() {
            log::warn!("what was done is kept in {}: --resume goes on with it", self.folder.display());
        }
    }
}

/// Numbers that are kept as they are found.
pub struct Numbers {
    path: PathBuf,
    /// The file's beginning, until it is written.
    before: Option<Vec<u8>>,
}

impl Numbers {
    /// Keeps a segment's.
    pub fn keep(&mut self, params: &[FrameParams]) -> Result<()> {
        if let Some(before) = self.before.take() {
            Staged::create(&self.path)?.write(&before)?;
        }
        let bytes: Vec<u8> = params.iter().flat_map(to_bytes).collect();
        let file = fs::OpenOptions::new().append(true).open(&self.path);
        file.and_then(|mut file| file.write_all(&bytes)).map_err(|e| Error::io("write", &self.path, e))
    }
}

fn to_bytes(params: &FrameParams) -> Vec<u8> {
    params.to_array().iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn from_bytes(record: &[u8]) -> FrameParams {
    FrameParams::from_array(&std::array::from_fn::<f32, NUMBERS, _>(|i| number(&record[4 * i..])))
}

/// The number that some bytes, at least four, begin with.
fn number(bytes: &[u8]) -> f32 {
    f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// A hash of what a clip shows, of where its crops sit and of the settings that matter; `known`: the identity's bytes, if there was one.
pub fn belongs(pack: &[u8; 32], clip: &Aligned, options: &EncodeOptions, known: Option<&[u8]>) -> Belongs {
    let EncodeOptions {
        preset, tuning, tune_steps, device, precision, threads, seed, name, maps, head_only, identity_bytes, ..
    } = options;
    let mut hash = Sha256::new();
    // The number after the version rises when a state of before cannot be gone on with.
    hash.update(concat!(env!("CARGO_PKG_VERSION"), " 5"));
    hash.update(pack);
    hash.update(format!("{preset:?} {tuning:?} {tune_steps:?} {device:?} {precision:?} {threads:?}"));
    hash.update(format!("{seed} {name:?} {maps} {head_only} {identity_bytes:?}"));
    hash.update(clip.seen);
    for track in &clip.tracks {
        let place = &track.placement;
        hash.update(track.pts.to_le_bytes());
        [place.x, place.y, place.side, track.roll, track.confidence].iter().for_each(|v| hash.update(v.to_le_bytes()));
    }
    hash.update(known.unwrap_or_default());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("effigy-unfinished-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder.join("out.effigy")
    }

    fn numbers(n: usize) -> Vec<FrameParams> {
        (0..n).map(|i| FrameParams { yaw: i as f32, roll: 0.5, ..FrameParams::default() }).collect()
    }

    #[test]
    fn whole_segments_come_back_and_only_to_what_they_belong_to() {
        let output = output("numbers");
        let folder = output.with_file_name("out.effigy.unfinished");
        let (mine, other) = ([1; 32], [2; 32]);
        let first = UnfinishedRun::open(&output, false).unwrap();
        let (found, mut file) = first.numbers(&mine).unwrap();
        assert!(found.is_empty() && !folder.join("numbers").exists(), "nothing is kept yet");
        file.keep(&numbers(SEGMENT)).unwrap();
        file.keep(&numbers(5)).unwrap();
        drop((first, file));
        assert!(matches!(UnfinishedRun::open(&output, false), Err(Error::Misuse(text)) if text.contains("--resume")));
        let second = UnfinishedRun::open(&output, true).unwrap();
        assert!(matches!(second.numbers(&other), Err(Error::Misuse(_))));
        let (found, mut file) = second.numbers(&mine).unwrap();
        assert_eq!(found, numbers(SEGMENT));
        file.keep(&numbers(SEGMENT)).unwrap();
        assert_eq!(second.numbers(&mine).unwrap().0.len(), 2 * SEGMENT);
        let placement = Placement { x: 1.5, y: -2.0, side: 30.0 };
        let track = Track { pts: 0, roll: 0.25, placement, key: false, shot: 0, confidence: 1.0 };
        second.keep_places(&mine, &[track, track]).unwrap();
        assert_eq!(second.places(&mine).unwrap().unwrap(), [(placement, 0.25); 2]);
        second.finish().unwrap();
        assert!(!folder.exists());
        fs::remove_dir_all(output.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_person_comes_back_with_the_numbers_of_the_frames_that_had_some() {
        let output = output("person");
        let work = UnfinishedRun::open(&output, false).unwrap();
        fs::write(work.tuning(), "state").unwrap();
        let params = vec![Some(numbers(3)[2]), None];
        work.keep_enrolled(&[7; 32], &Enrolled { identity: b"me".to_vec(), params: params.clone() }).unwrap();
        assert!(!work.tuning().exists());
        let found = work.enrolled(&[7; 32]).unwrap().unwrap();
        assert_eq!((found.identity.as_slice(), found.params), (b"me".as_slice(), params));
        fs::write(work.folder.join("enrolled"), [[7; 32].as_slice(), &[9, 0, 0, 0, 1]].concat()).unwrap();
        assert!(matches!(work.enrolled(&[7; 32]), Err(Error::Malformed(_))));
        work.finish().unwrap();
        fs::remove_dir_all(output.parent().unwrap()).unwrap();
    }

    #[test]
    fn an_empty_folder_does_not_stay() {
        let output = output("empty");
        drop(UnfinishedRun::open(&output, false).unwrap());
        assert!(UnfinishedRun::open(&output, false).is_ok());
        fs::remove_dir_all(output.parent().unwrap()).unwrap();
    }
}
