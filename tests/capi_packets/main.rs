//! Packets through the C interface, called as C calls it: decoder, encoder, identities, enrolment, and what misuse of them does.
#![cfg(feature = "capi")]
// Reason: raw pointers are what is tested.
#![allow(unsafe_code)]

mod decode;
mod encode;
mod misuse;
mod room;
mod sizes;
mod threads;
