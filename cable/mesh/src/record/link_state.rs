//! A node and the cables that it sees work.

use serde::{Deserialize, Serialize};

use crate::authority::NodeKey;
use crate::message::{Bounded, Name};
use crate::nick::Nick;

/// The most cables of one node: one bit each in a word decides which of them a flood takes.
pub const MAX_LINKS: usize = 64;

/// The highest cost of a cable.
pub const MAX_COST: u32 = 0xffff;

/// The body of [`Slot::LINK_STATE`](super::Slot::LINK_STATE).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkState {
    /// What frames call the node.
    pub nick: Nick,
    /// What people call it.
    pub name: Name,
    /// What it offers. No bit has a meaning yet.
    pub capabilities: u32,
    /// Its cables that carry beats both ways, in ascending order of peer and number.
    pub links: Bounded<LinkEntry, MAX_LINKS>,
}

/// One end of a cable.
///
/// A cable counts when both ends name it: this one's number is the other one's peer number and the
/// other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LinkEntry {
    /// The node at the other end.
    pub peer: NodeKey,
    /// What this end calls the cable: a number drawn when it came up.
    pub number: u32,
    /// What the other end calls it.
    pub peer_number: u32,
    /// 1 to [`MAX_COST`]. The higher of the two ends' costs counts.
    pub cost: u32,
}

impl LinkState {
    /// Whether an honest node can have said this.
    pub(crate) fn is_plausible(&self, origin: NodeKey) -> bool {
        self.links.iter().all(|link| link.peer != origin && (1..=MAX_COST).contains(&link.cost))
            && self.links.is_sorted_by(|a, b| (a.peer, a.number) < (b.peer, b.number))
    }
}
