//! Checkpoints: containers of every age read to the same numbers, and what hostile and damaged files are told.
//! `write.rs` makes small files; the reference files are read where `../shared/reference` exists.
#![cfg(feature = "import")]

mod containers;
mod hostile;
mod layout;
mod pack;
mod samples;
mod write;
