//! What changed in the filtering database, for those who tell others of it: the mesh, which
//! advertises stations, and the console.

use std::collections::VecDeque;

use crate::location::{RemoteId, Station};
use crate::port::PortId;

/// Changes that wait for a listener: what four ports full of stations say when they go. One more,
/// and the listener must start from a [`Snapshot`](crate::Snapshot).
pub const MAX_CHANGES: usize = 4096;

/// Something that happened to stations of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// A station without an entry was heard.
    Learned {
        /// Who.
        station: Station,
        /// Where.
        port: PortId,
    },
    /// A station was heard on another port than before.
    Moved {
        /// Who.
        station: Station,
        /// Where it was.
        from: PortId,
        /// Where it is.
        to: PortId,
    },
    /// A station of another node was heard here. From this frame on it is here.
    MovedHere {
        /// Who.
        station: Station,
        /// Whose it was.
        from: RemoteId,
        /// Where it is.
        to: PortId,
    },
    /// The mesh said that a station of this node is another node's now.
    MovedAway {
        /// Who.
        station: Station,
        /// Where it was.
        from: PortId,
        /// Whose it is.
        to: RemoteId,
    },
    /// A station was silent for the ageing time.
    Aged {
        /// Who.
        station: Station,
        /// Where it was.
        port: PortId,
    },
    /// A station lost its entry to another one; it may well still be there.
    Evicted {
        /// Who.
        station: Station,
        /// Where it was.
        port: PortId,
    },
    /// A station's entry left with its port, or because the port was blocked, flushed or changed
    /// its VLANs.
    Forgotten {
        /// Who.
        station: Station,
        /// Where it was.
        port: PortId,
    },
    /// At least three stations moved between the same two ports at least three times within 5 s:
    /// somebody may have joined the ports outside of the node. Said at most once in 5 s of each
    /// pair, and not of every pair when more than 16 flap.
    Flapping {
        /// The port with the lower number.
        a: PortId,
        /// The other one.
        b: PortId,
    },
    /// More changed than the listener has heard of. What it missed is in the
    /// [`Snapshot`](crate::Bridge::snapshot) taken before the bridge is given anything else; what
    /// follows this is new.
    Overflowed,
}

/// Changes on their way to the listener, at most [`MAX_CHANGES`]. It may never listen.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    waiting: VecDeque<Change>,
    has_overflowed: bool,
}

impl Changes {
    pub(crate) fn push(&mut self, change: Change) {
        let is_flapping = |change: &Change| matches!(change, Change::Flapping { .. });
        if self.waiting.len() >= MAX_CHANGES {
            // The snapshot will have all of this but one kind, and that one must not be lost in the
            // very storm of which it tells.
            self.waiting.retain(is_flapping);
            self.has_overflowed = true;
        }
        if !self.has_overflowed || is_flapping(&change) && self.waiting.len() < MAX_CHANGES {
            self.waiting.push_back(change);
        }
    }

    #[inline]
    pub(crate) fn poll(&mut self) -> Option<Change> {
        if std::mem::take(&mut self.has_overflowed) {
            return Some(Change::Overflowed);
        }
        self.waiting.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use ether::{MacAddr, VlanId};

    use super::*;

    fn learned(port: u32) -> Change {
        let station = Station { vlan: VlanId::ZERO, mac: MacAddr([2; 6]) };
        Change::Learned { station, port: PortId(port) }
    }

    #[test]
    fn a_listener_that_comes_too_late_hears_that_it_did_and_then_what_is_new() {
        let mut changes = Changes::default();
        for port in 0..u32::try_from(MAX_CHANGES).unwrap() {
            changes.push(learned(port));
        }
        assert_eq!(changes.poll(), Some(learned(0)));
        for port in 0..3 {
            changes.push(learned(port));
        }
        assert_eq!(changes.poll(), Some(Change::Overflowed));
        assert_eq!(changes.poll(), None);
        changes.push(learned(7));
        assert_eq!(changes.poll(), Some(learned(7)));
        assert_eq!(changes.poll(), None);
    }

    #[test]
    fn flapping_is_told_even_when_too_much_else_happened() {
        let mut changes = Changes::default();
        let flapping = |b| Change::Flapping { a: PortId(0), b: PortId(b) };
        changes.push(flapping(1));
        for port in 0..2 * u32::try_from(MAX_CHANGES).unwrap() {
            changes.push(learned(port));
        }
        changes.push(flapping(2));
        let told: Vec<_> = std::iter::from_fn(|| changes.poll()).collect();
        assert_eq!(told, [Change::Overflowed, flapping(1), flapping(2)]);
    }

    #[test]
    fn a_listener_that_never_listens_costs_a_bounded_memory() {
        let mut changes = Changes::default();
        for b in 0..3 * u32::try_from(MAX_CHANGES).unwrap() {
            changes.push(Change::Flapping { a: PortId(0), b: PortId(b) });
        }
        assert!(changes.waiting.len() <= MAX_CHANGES);
    }
}
