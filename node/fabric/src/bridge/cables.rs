//! Stations of other nodes, and the frames that come by cables.

use std::time::Instant;

use ether::{FrameHeader, MacAddr, VlanId};

use super::{Bridge, Verdict};
use crate::drop_reason::DropReason;
use crate::location::{Location, RemoteId, Station};
use crate::vlan::Classified;

#[cfg(test)]
mod tests;

/// How long after a station was heard its frames may not come by a cable, in nanoseconds: 5 s.
///
/// A frame that goes around a loop is back within a second. A station that has moved away is the
/// other explanation; the mesh says so at once, with [`Bridge::set_remote`]. Should that be lost,
/// the station is not cut off for longer than this.
const CONTAINMENT: u64 = 5_000_000_000;

/// For whom a node sent a frame by a cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// For this node.
    Unicast,
    /// For all nodes.
    Flood,
}

/// What the mesh tells the bridge. Nothing is learned from frames that come by a cable: the node
/// that owns the access port learns and advertises.
impl Bridge {
    /// Says that a station is behind another node. It stays until it is taken back, or until the
    /// station speaks here ([`Change::MovedHere`](crate::Change::MovedHere)).
    ///
    /// A station of this node gives way ([`Change::MovedAway`](crate::Change::MovedAway)): the mesh
    /// has compared who heard it last.
    pub fn set_remote(&mut self, vlan: VlanId, mac: MacAddr, owner: RemoteId) {
        self.fdb.set_remote(Station { vlan, mac }, owner);
    }

    /// Takes back what [`set_remote`](Self::set_remote) said of a station. `false` when nothing of
    /// it was left; a station that is here meanwhile stays.
    pub fn remove_remote(&mut self, vlan: VlanId, mac: MacAddr) -> bool {
        self.fdb.remove_remote(Station { vlan, mac })
    }

    /// Takes back what was said of all stations of a node: it cannot be reached any more.
    pub fn remove_remotes_of(&mut self, owner: RemoteId) {
        self.fdb.remove_remotes_of(owner);
    }

    /// Says where a frame goes that came by a cable.
    ///
    /// The answer is for this node alone, and never [`Verdict::Remote`]: frames for other nodes are
    /// the mesh's. What is for this node goes to the port of its station and nowhere else; if the
    /// station is not here, the answer is [`DropReason::NotHere`], and the mesh should tell the
    /// sender. A flood goes to the ports that carry its VLAN. One that is dropped must not travel
    /// on either.
    ///
    /// `header` is that of the frame in the form in which it is carried by cables, `ingress` the
    /// node where it entered the mesh.
    #[inline]
    pub fn handle_from_cable(
        &mut self,
        ingress: RemoteId,
        header: &FrameHeader,
        reach: Reach,
        now: Instant,
    ) -> Verdict {
        let now = self.clock.advance(now);
        if reach == Reach::Flood && !self.flood_budgets.take(ingress, now) {
            return Verdict::Drop(DropReason::FloodBudget);
        }
        let frame = Classified::by_tag(header);
        if self.hub {
            return Verdict::Flood(frame);
        }
        let source = Station { vlan: frame.vlan, mac: header.source };
        if self.fdb.was_heard(source, CONTAINMENT, now) {
            return Verdict::Drop(DropReason::LocalSource);
        }
        if header.destination.is_bridge_reserved() {
            return Verdict::Drop(DropReason::Reserved);
        }
        let destination = Station { mac: header.destination, ..source };
        match (self.fdb.lookup(destination, now), reach) {
            (Some(Location::Port(egress)), _) => self.forward(egress, frame),
            (_, Reach::Flood) => Verdict::Flood(frame),
            (_, Reach::Unicast) => Verdict::Drop(DropReason::NotHere),
        }
    }
}
