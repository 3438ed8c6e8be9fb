//! The VDE socket protocol, server and client: how a virtual machine plugs into a switch on the
//! same host, and the sockets that then carry its frames.
//!
//! This package owns the dialogue on the control socket, the names and permissions of every
//! socket in the switch's directory, and batched input and output on datagram sockets. What a
//! frame means and where it goes is the caller's business. Linux only. The protocol is described,
//! with octet offsets, in this package's `README.md`.
//!
//! | I want… | Open |
//! |---|---|
//! | to serve plugs | [`Server`] |
//! | to plug into a switch | [`connect`] |
//! | frames in and out of a plug | [`Plug`], [`RecvBatch`] |
//! | the octets of a request or a reply | [`request`], [`address`] |
//! | names, modes, left-over sockets | [`path`] |
//! | frames on a pipe or a stream socket (`vde_plug`, QEMU) | [`stream`] |
//! | frames on any other datagram socket (QEMU, vfkit, UML) | [`dgram`] |
//! | batches alone | [`mmsg`] |
//!
//! Everything asynchronous needs a tokio runtime with I/O and time enabled.

#![warn(missing_docs)]

pub mod address;
pub mod client;
pub mod dgram;
pub mod path;
pub mod plug;
mod queue;
pub mod refusal;
pub mod request;
pub mod server;
pub mod stream;
mod sys;

pub use address::UnixAddress;
pub use client::{ClientOptions, ConnectError, connect};
pub use path::BindError;
pub use plug::{PeerCredentials, Plug, SendError, SendOutcome, Unplugged};
pub use refusal::Refusal;
pub use request::{Kind, Request, RequestError};
pub use server::{Handshake, Pending, Server, ServerConfig};
pub use sys::mmsg;
pub use sys::mmsg::{Datagram, RecvBatch};
