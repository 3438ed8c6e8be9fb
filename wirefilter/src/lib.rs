//! VDE's wirefilter on an exact emulator.
#![warn(missing_docs)]

pub mod command;
pub mod filter;
pub mod reply;
pub mod session;
pub mod stats;
pub mod view;
