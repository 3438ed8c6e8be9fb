//! The switch of a node: learns where its stations are, is told where others are, and says for
//! each frame where it goes.
//!
//! Pure: no socket, no clock, no randomness of its own. The frame's octets stay with the caller,
//! who shows the header and gets a [`Verdict`]. Names and rules follow IEEE 802.1Q-2022 clause 8;
//! where the bridge departs from it, the item says so.
//!
//! | I want to know… | Open |
//! |---|---|
//! | what happens to an unknown destination | [`bridge`] |
//! | what happens to a frame that came by a cable | `bridge::cables` |
//! | when an address is forgotten, or which one makes room | `fdb` |
//! | what listeners hear of stations that come, move and go | [`change`] |
//! | the defaults, and why | [`config`] |
//! | why a frame was dropped | [`drop_reason`] |
//! | what a port is here | [`port`] |
//! | when stations that move are the sign of a loop | `flap` |
//! | whether a frame went around outside | `floods` |
//! | what only the gateway may send | [`guard`] |
//! | how much of what costs everybody may enter | [`storm`] |
//! | which VLAN a frame is in, and with which tag it leaves | [`vlan`] |

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod announce;
pub mod bridge;
pub mod change;
pub mod config;
pub mod drop_reason;
mod fdb;
mod flap;
mod floods;
pub mod guard;
pub mod location;
mod payload;
pub mod port;
pub mod storm;
mod time;
pub mod vlan;

pub use announce::announces;
pub use bridge::{Bridge, Doubt, Reach, RemoteEntry, Snapshot, SnapshotEntry, Verdict};
pub use change::Change;
pub use config::Config;
pub use drop_reason::{DropCounters, DropReason};
pub use fdb::Counters;
pub use floods::Floods;
pub use guard::{GatewayAddress, Guard, GuardConfig, PortTrust};
pub use location::{Location, RemoteId, Station};
pub use port::{PortId, PortKind};
pub use storm::{FrameRate, StormControl};
pub use vlan::{Classified, Membership, VlanError, VlanPolicy, VlanSnapshot};
