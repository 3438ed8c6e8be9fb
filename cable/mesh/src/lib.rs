//! What two nodes say to each other over a cable, without the cable: how frames are cut into
//! datagrams and put together again, which flooded frames were seen before, and the messages of
//! the control stream.
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
//! | the short name of a node on the wire | [`nick`] |

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod flood;
pub mod framing;
pub mod message;
pub mod nick;

pub use nick::Nick;
