//! How a bridge is set up, with the defaults and their reasons.

use std::time::Duration;

use crate::storm::StormControl;

/// The settings of a [`Bridge`](crate::Bridge).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How long an entry lives after the last frame of its station.
    ///
    /// 10 s to 1 000 000 s, default 300 s (IEEE 802.1Q-2022 8.8.3). The bridge itself takes any
    /// value. A frame within a second of the one before does not prolong the entry, which keeps the
    /// entry's memory unwritten on the fast path.
    pub ageing_time: Duration,
    /// The most entries of stations behind this node's ports. Default 65 536: 64 ports gone wild
    /// are needed to fill it; about four megabytes then. When it is full, the port that holds most
    /// makes room, but never with its last entry.
    pub capacity: usize,
    /// The most entries of one access port. Default 1024: room for a guest that is itself a bridge
    /// or a container host. A port with so many replaces its own oldest.
    pub per_port_capacity: usize,
    /// The most entries of stations behind other nodes. Default 65 536, as for this node's own.
    /// When it is full, the node that holds most makes room.
    pub remote_capacity: usize,
    /// Floods every frame to every other port and learns nothing, like a repeater. Default off.
    /// Reserved addresses pass too, so protocols between bridges can be run through it.
    pub hub: bool,
    /// How much may enter of what costs everybody. Default [`StormControl::OFF`]. A hub does not
    /// tell one kind of frame from another and limits only floods that come by cables.
    pub storm_control: StormControl,
    /// Keys the hash of the filtering database, so that no guest can choose addresses that collide.
    /// It must be random and secret: the default, 0, suits tests alone.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ageing_time: Duration::from_secs(300),
            capacity: 65_536,
            per_port_capacity: 1024,
            remote_capacity: 65_536,
            hub: false,
            storm_control: StormControl::OFF,
            seed: 0,
        }
    }
}
