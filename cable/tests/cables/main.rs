//! Cables between nodes that live in one process: real UDP on 127.0.0.1, real files, real time.
//!
//! | I want to see… | Open |
//! |---|---|
//! | every frame arrive, and what becomes of too many | [`frames`] |
//! | narrow, shrinking and crowded paths | [`paths`] |
//! | who is let in | [`trust`] |
//! | inviting, joining, putting out | [`enrolment`] |
//! | peers that speak otherwise, or not at all | [`peers`] |
//! | two cables between the same two nodes | [`twins`] |
//! | restarts, connect and disconnect | [`lifecycle`] |
//! | how a test makes nodes and waits | [`lab`] |
//! | the path between two nodes | [`relay`] |
//! | a peer made by hand | [`handmade`] |

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

mod durability;
mod enrolment;
mod frames;
mod garbage;
mod handmade;
mod keys;
mod lab;
mod lifecycle;
mod paths;
mod peers;
mod relay;
mod trust;
mod twins;
