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
//! A client that asks for `events` gets its answer, and from then on lines as things happen, until
//! either side closes the connection. One that reads too slowly is told how many it has missed:
//!
//! ```text
//! → {"v":1,"command":"events","last":10}
//! ← {"v":1,"ok":{"kind":"events"}}
//! ← {"v":1,"event":{"at":"2026-03-01T12:00:00.000Z","level":"info","kind":"node-joined",
//!                   "node":{"name":"b","key":"…"},"text":"node b has joined: …"}}
//! ← {"v":1,"skipped":3}
//! ```
//!
//! Beside it there may be a *view socket* ([`path::view_socket`]) of other users: what it is asked for
//! beyond looking ([`Request::needs`]) is answered by an error, and its lines are short
//! ([`transport::MAX_VIEW_LINE`]).
//!
//! Requests of all clients of a socket take turns, so one that asks without a pause gets its answers
//! later, and the network none of it. A client that does not read its answer is dropped after
//! [`transport::STALL_LIMIT`].
//!
//! The types here are this protocol's own, not those of the cores: cores may change while scripts
//! that read JSON go on working. Fields, and kinds of events, are only ever added within a version.
//!
//! | I want… | Open |
//! |---|---|
//! | a command or its answer | [`message`] |
//! | a lease, a forwarded port | [`gateway`] |
//! | an invitation, a member | [`membership`] |
//! | a field of `status`, `ports` or `macs` | [`status`] |
//! | a field of `nodes`, `cables` or `trace` | [`network`] |
//! | an event or its sentence | [`event`] |
//! | wires | [`wire`] |
//! | how a view looks in a terminal | [`render`] |
//! | the socket itself | [`transport`] |

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod event;
pub mod gateway;
pub mod membership;
pub mod message;
pub mod network;
pub mod path;
pub mod render;
pub mod status;
pub mod transport;
pub mod wire;

pub use message::{Answer, Failure, Request};
