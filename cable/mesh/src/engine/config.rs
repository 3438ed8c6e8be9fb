//! How a node's part in the mesh is set up, with the defaults and their reasons.

use std::time::Duration;

use crate::authority::NodeKey;
use crate::message::Name;
use crate::nick::Nick;
use crate::record::Incarnation;

/// Who this node is, and its timers and bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Its key.
    pub key: NodeKey,
    /// Its name, for people.
    pub name: Name,
    /// What frames call it at first; random. It is drawn again if another node has it.
    pub nick: Nick,
    /// This run.
    ///
    /// `epoch`: one more than the one kept on disk; seconds since 1970 if that is lost.
    /// `instance`: seconds since 1970 in the upper half, random below. Of two nodes that run with
    /// one key, the lower one stays in the mesh: so it is the one that was there first.
    pub incarnation: Incarnation,
    /// For everything that is drawn at random; random and secret.
    pub seed: u64,
    /// How often a beat is sent on a cable with a round trip up to 150 ms. Default 300 ms.
    pub beat_interval: Duration,
    /// How many in a row must be missing. Default 3: a silent cable is left after 900 ms (BFD's
    /// default is as long, RFC 5880 leaves it open).
    pub missed_beats: u32,
    /// The most nodes. Default 1024, as many as [`crate::flood`] tells apart.
    pub max_nodes: usize,
    /// The most octets of records. Default 32 MiB; 1024 nodes with 65 536 stations need 5 MiB.
    pub max_record_octets: usize,
    /// The most stations of this node that are told to the others; frames to the rest are flooded.
    /// Default and most 8192, as many as fit in its records.
    pub max_own_stations: usize,
    /// The most stations of all nodes together. Default 65 536: at 1 % of change a second they cost
    /// each cable some 200 kB/s. What comes above is not remembered, and flooded.
    pub max_stations: usize,
}

impl Config {
    /// The defaults for a node.
    pub fn new(key: NodeKey, name: Name, nick: Nick, incarnation: Incarnation, seed: u64) -> Self {
        Self {
            key,
            name,
            nick,
            incarnation,
            seed,
            beat_interval: Duration::from_millis(300),
            missed_beats: 3,
            max_nodes: 1024,
            max_record_octets: 32 << 20,
            max_own_stations: 8192,
            max_stations: 65_536,
        }
    }
}
