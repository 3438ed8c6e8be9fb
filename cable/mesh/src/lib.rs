//! What nodes say to each other over cables, without the cables: how frames are cut into datagrams
//! and put together again, the messages of the control stream, and what each node makes of them:
//! who is there, how to get to them, and who owns which station.
//!
//! Pure: no runtime, socket, clock or randomness. The octets are described in `PROTOCOL.md`
//! beside this package; who sends them, and when, is the business of the package `vdecable`.
//!
//! | I want… | Open |
//! |---|---|
//! | frames into datagrams | [`framing::Packer`] |
//! | datagrams into frames | [`framing::Reassembler`] |
//! | what travels in front of a frame | [`framing::RecordHeader`] |
//! | whether a flooded frame came before | [`flood`] |
//! | a message between nodes, its limits | [`message`] |
//! | what waits for room in a cable | [`queue`] |
//! | a signed record, what it says | [`record`] |
//! | whether a cable works | [`beat`] |
//! | what nodes send each other the way of frames | [`packet`] |
//! | whether two ports are joined outside | [`probe`] |
//! | a node's part in the mesh | [`engine::Mesh`] |
//! | who signs | [`authority`] |
//! | who belongs to the mesh | [`roster`] |
//! | the short name of a node on the wire | [`nick`] |

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod authority;
pub mod beat;
pub mod engine;
pub mod flood;
pub mod framing;
pub mod message;
pub mod nick;
pub mod packet;
pub mod probe;
pub mod queue;
mod random;
pub mod record;
pub mod roster;

pub use authority::NodeKey;
pub use engine::Mesh;
pub use nick::Nick;
pub use roster::Roster;
