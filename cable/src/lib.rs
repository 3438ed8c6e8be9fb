//! Cables: encrypted links between nodes, and everything they need: an identity, a list of whom to
//! trust, a QUIC endpoint, and the will to dial again for ever.
//!
//! This package is the only one that names quinn and rustls. It knows nothing of bridges or VM
//! sockets: a node hands frames to a [`Link`] and takes frames from it.
//!
//! Everything here runs on one thread, that of the data plane: [`Cables`] spawns its tasks on the
//! current `LocalSet`, and a [`Link`] sends from within the call that the bridge makes.
//!
//! | I want to change… | Open |
//! |---|---|
//! | how a key is made, stored, written | [`identity`] |
//! | who signs what a node tells the mesh | [`signer`], [`epoch`] |
//! | who may connect | [`trust`] |
//! | how many strangers may knock | [`door`] |
//! | what happens when QUIC's own code panics | [`soundness`], [`connection`] |
//! | the line that invites | [`invitation`] |
//! | what is checked in the TLS handshake | [`tls`] |
//! | idle timeout, windows, datagram sizes | [`transport`] |
//! | UDP buffers, segmentation offload, path MTU | [`socket`] |
//! | how fast a cable may send | [`congestion`] |
//! | when a dead cable is dialled again | [`redial`] |
//! | what nodes tell each other first | [`hello`] |
//! | a frame's way into and out of datagrams | [`link`] |
//! | states of a cable | [`cables`] |
//! | the sentence that a failed handshake becomes | [`failure`] |

#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod address;
pub mod cables;
pub mod calendar;
mod clock;
pub mod congestion;
pub mod connection;
pub mod contacts;
pub mod door;
pub mod endpoint;
pub mod epoch;
pub mod failure;
pub mod hello;
pub mod identity;
pub mod invitation;
mod limit;
pub mod link;
pub mod redial;
mod refusals;
pub mod signer;
pub mod socket;
pub mod soundness;
pub mod store;
mod sys;
pub mod tls;
pub mod transport;
pub mod trust;

pub use address::Target;
pub use cables::{CableEvent, CableId, Cables, CablesConfig};
pub use epoch::Epoch;
pub use identity::{Identity, PublicKey};
pub use invitation::Token;
pub use link::Link;
pub use signer::Notary;
pub use trust::Trust;
