//! What changed in the filtering database, for those who tell others of it: the mesh, which
//! advertises stations, and the console.

use std::collections::VecDeque;

use crate::location::{RemoteId, Station};
use crate::port::PortId;

/// Changes that wait for a listener: what four ports full of stations say when they go. One more,
/// and the listener must start from a [`Snapshot`](crate::Snapshot).
pub const MAX_CHANGES: usize = 4096;

/// Something that happened to a station of this node.
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
        if self.has_overflowed {
            return;
        }
        if self.waiting.len() >= MAX_CHANGES {
            // The snapshot will have all of this.
            self.waiting.clear();
            self.has_overflowed = true;
            return;
        }
        self.waiting.push_back(change);
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
}
