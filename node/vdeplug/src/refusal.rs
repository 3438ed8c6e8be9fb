//! Why a client did not get its plug.
//!
//! The protocol has no error message: the control connection is simply closed. These texts are
//! for the switch's log. They speak of what a client did, so they are never above debug level.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use crate::address::UnixAddress;
use crate::request::RequestError;

/// A plug was not given.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The octets are not a request that this switch can serve.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// No complete request came in time.
    #[error("client sent {received} octets of a request and then nothing")]
    Silent {
        /// What had come.
        received: usize,
    },
    /// The client closed its connection before it had its plug.
    #[error("client hung up after {received} octets")]
    HungUp {
        /// What had come.
        received: usize,
    },
    /// The client named its data socket by a path that depends on its working directory.
    #[error("client's data socket has the relative path {0:?}; it must be absolute")]
    RelativePath(PathBuf),
    /// The client's data socket belongs to another user than the client.
    #[error("data socket {path:?} belongs to user {owner}, its client is user {peer}")]
    ForeignSocket {
        /// The socket.
        path: PathBuf,
        /// The user who owns the file.
        owner: u32,
        /// The user who is connected.
        peer: u32,
    },
    /// The client's data socket cannot be connected to.
    #[error("client's data socket {address} is out of reach")]
    Unreachable {
        /// The address in the request.
        address: UnixAddress,
        /// The system's answer.
        source: io::Error,
    },
    /// This end failed: no descriptors, no memory, no space for a socket file.
    #[error("cannot {what}")]
    Local {
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The switch itself said no: the port is taken, the user may not, the node is full.
    #[error("{0}")]
    Denied(Cow<'static, str>),
}
