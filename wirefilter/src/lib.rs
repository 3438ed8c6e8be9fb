//! VDE's wirefilter on an exact emulator: any link, as bad as you like, repeatably.
//!
//! The modules that the first table names are pure; the others are the program around them.
//!
//! | I want… | Open |
//! |---|---|
//! | what the command line asks for | [`cli`] |
//! | what a line of the console asks for | [`command`] |
//! | an answer, with its code | [`reply`] |
//! | lines cut out of a stream, scripts, the prompt | [`session`] |
//! | the link and what commands do to it | [`filter`] |
//! | the text of `showinfo`; of `stats` | [`view`], [`stats`] |
//!
//! | I want… | Open |
//! |---|---|
//! | the loop that moves frames | `driver.rs` |
//! | pipes and plugs | `side.rs` |
//! | how exact a delay is | `timer.rs` |
//! | what happens at start and end | [`program`] |
//! | sockets and files for the console | `console_io.rs`, `management.rs` |

#![warn(missing_docs)]

mod blink;
pub mod cli;
pub mod command;
mod console_io;
mod daemon;
mod driver;
pub mod filter;
mod management;
mod pidfile;
pub mod program;
pub mod reply;
pub mod session;
mod side;
mod spares;
pub mod stats;
mod sys;
mod timer;
pub mod view;

/// What `--version` and the banner say.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (vdenode)");
