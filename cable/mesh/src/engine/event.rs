//! What an operator should hear of.

use std::collections::VecDeque;
use std::fmt;

use ether::{MacAddr, VlanId};

use super::liveness::Silence;
use super::{LinkId, PortId, PortState};
use crate::authority::NodeKey;
use crate::message::Name;
use crate::nick::Nick;
use crate::record::{Notice, Offence};

/// Events that wait to be polled; beyond it the oldest is lost, and counted.
const MAX_EVENTS: usize = 1024;

/// A node as a person knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Who {
    /// Its key.
    pub key: NodeKey,
    /// The name that it gives itself; empty when none is known.
    pub name: Name,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.as_str().is_empty() {
            write!(f, "{:?}", self.key)
        } else {
            write!(f, "{} ({:?})", self.name, self.key)
        }
    }
}

/// Why a cable is not used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownReason {
    /// Its connection has ended.
    Closed,
    /// Beats do not get through.
    Silent(Silence),
}

/// Why a record was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusalReason {
    /// Its origin did not sign it, or is no member.
    Signature,
    /// Its body does not decode, exceeds a bound or contradicts itself.
    Body,
    /// There is no such slot.
    Slot,
    /// The link state of that run is not known yet.
    Premature,
    /// Its origin, or the cable, brings more than it may.
    TooMany,
    /// There is no room.
    TableFull,
    /// Another node that runs with the same key was there first.
    Cloned,
}

impl RefusalReason {
    /// All reasons.
    pub const ALL: [Self; 7] = [
        Self::Signature,
        Self::Body,
        Self::Slot,
        Self::Premature,
        Self::TooMany,
        Self::TableFull,
        Self::Cloned,
    ];
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signature => "not signed by its origin, or the origin is no member",
            Self::Body => "malformed",
            Self::Slot => "of an unknown slot",
            Self::Premature => "ahead of its origin's link state",
            Self::TooMany => "more than its origin may send",
            Self::TableFull => "the table is full",
            Self::Cloned => "another node runs with the same key",
        })
    }
}

/// Something has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Frames get through a cable, both ways.
    LinkUp {
        /// Which.
        link: LinkId,
        /// The node at the other end.
        peer: Who,
    },
    /// A cable is not used any more.
    LinkDown {
        /// Which.
        link: LinkId,
        /// The node at the other end.
        peer: Who,
        /// Why.
        reason: DownReason,
    },
    /// A node can be reached.
    NodeJoined(Who),
    /// A node cannot be reached any more.
    NodeLeft(Who),
    /// This node's epoch is now this: keep it on disk. Others remembered a higher one than the disk.
    EpochRaised(u64),
    /// Another node has this one's nick, and both draw new ones. Frames that come in here must carry
    /// this one's from now on.
    NickChanged {
        /// The new one.
        nick: Nick,
        /// Who has the old one for a moment yet.
        keeper: Who,
    },
    /// Two other nodes have the same nick, and are to draw new ones.
    NickClash {
        /// The nick.
        nick: Nick,
        /// Whom frames find until then.
        keeper: Who,
        /// Whom they do not find.
        loser: Who,
    },
    /// A record was not taken. This, like all that others can cause, is told at most ten times at
    /// once and then once a second; the counters have them all.
    RecordRefused {
        /// By which cable it came.
        link: LinkId,
        /// Who is said to have made it.
        origin: Who,
        /// Why.
        reason: RefusalReason,
    },
    /// Two nodes run with the same key, one of them perhaps from a copied disk.
    KeyCloned(Who),
    /// A station speaks at this node and at another in turn, and is left to the other for half an
    /// hour. Two stations have the same address, or a loop outside brings frames back.
    DuplicateStation {
        /// The VLAN.
        vlan: VlanId,
        /// The address.
        mac: MacAddr,
        /// Who keeps it.
        owner: Who,
    },
    /// A station here uses an address that is fixed at another node.
    StickyStation {
        /// The VLAN.
        vlan: VlanId,
        /// The address.
        mac: MacAddr,
        /// Where it is fixed.
        owner: Who,
    },
    /// Another node serves as the gateway.
    GatewayServes(Who),
    /// It does no more, or cannot be reached.
    GatewayGone(Who),
    /// A port of this node has begun to send what only the gateway may. Its frames of that kind are
    /// dropped.
    Guarded {
        /// The port.
        port: PortId,
        /// What it sends.
        offence: Offence,
        /// The first station that did.
        mac: MacAddr,
    },
    /// Two access ports are joined outside the mesh. One of them is blocked.
    LoopFound {
        /// This node's port.
        port: PortId,
        /// The other port's node.
        other: Who,
        /// The other port's name.
        other_port: String,
        /// Whether this node's port is the one that is blocked.
        state: PortState,
    },
    /// They are no longer.
    LoopCleared {
        /// This node's port.
        port: PortId,
    },
    /// Another node wants this known.
    NoticeRaised {
        /// The node.
        from: Who,
        /// What it says.
        notice: Notice,
    },
    /// It has passed.
    NoticeCleared {
        /// The node.
        from: Who,
        /// What it said.
        notice: Notice,
    },
}

/// Events on their way to the shell.
#[derive(Debug, Clone, Default)]
pub(super) struct Events {
    queue: VecDeque<Event>,
    lost: u64,
}

impl Events {
    pub(super) fn push(&mut self, event: Event) {
        if self.queue.len() == MAX_EVENTS {
            self.queue.pop_front();
            self.lost += 1;
        }
        self.queue.push_back(event);
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        self.queue.pop_front()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost
    }
}
