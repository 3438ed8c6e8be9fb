//! What `vdecable` (or any other program) and a node say to each other.
//!
//! A node listens on a unix stream socket, its *control socket*. Both sides speak JSON, one object
//! a line, UTF-8, at most [`transport::MAX_LINE`] octets. A request names a command; the node
//! answers each request with one line, in order:
//!
//! ```text
//! → {"v":1,"command":"trust","key":"…","name":"hostB"}
//! ← {"v":1,"ok":{"kind":"done","message":"…"}}
//! ← {"v":1,"error":{"what":"…","why":"…","fix":"…"}}
//! ```
//!
//! The types here are this protocol's own, not those of the cores: cores may change while scripts
//! that read JSON go on working. Fields are only ever added within a version.
//!
//! | I want… | Open |
//! |---|---|
//! | a command or its answer | [`message`] |
//! | a field of the status view | [`status`] |
//! | wires | [`wire`] |
//! | how a view looks in a terminal | [`render`] |
//! | the socket itself | [`transport`] |

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod message;
pub mod path;
pub mod render;
pub mod status;
pub mod transport;
pub mod wire;

pub use message::{Answer, Failure, Request};
