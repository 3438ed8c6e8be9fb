//! Frames that are doubted before anything is learned of them: they may have gone around outside. Who
//! remembers what was flooded decides.

use ether::{FrameHeader, MacAddr, VlanId};

use super::Bridge;
use crate::location::{Location, Station};
use crate::port::PortId;
use crate::time::Nanos;
use crate::vlan::Classified;

/// Why a frame that would be flooded is doubted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// It is for a station that is not known.
    NoDestination,
    /// Its source is a station of another node, wherever it goes.
    Elsewhere,
}

impl Bridge {
    /// Says whether a port leads to a network that another port of the mesh may lead to as well. What
    /// comes in there for a station that is not known, or of one of another node, for all, is
    /// [doubtful](super::Verdict::Doubtful). Nothing happens if there is no such port.
    pub fn set_doubtful(&mut self, port: PortId, doubtful: bool) {
        if let Some(Some(place)) = self.ports.get_mut(port.index()) {
            place.doubtful = doubtful;
        }
    }

    /// The VLAN of a frame that came in by a port; `None` where it may not.
    pub fn vlan_of(&self, ingress: PortId, header: &FrameHeader) -> Option<VlanId> {
        let frame = match &self.port(ingress)?.vlans {
            Some(vlans) if !self.hub => vlans.classify(header)?,
            _ => Classified::by_tag(header),
        };
        Some(frame.vlan)
    }

    /// Why a frame is doubted, if it is.
    #[inline]
    pub(super) fn doubt(&self, source: Station, destination: MacAddr, now: Nanos) -> Option<Doubt> {
        let is_for_all = if destination.is_group() {
            !destination.is_bridge_reserved()
        } else {
            let target = Station { mac: destination, ..source };
            target != source && self.fdb.lookup(target, now).is_none()
        };
        if !is_for_all {
            return None;
        }
        match self.fdb.lookup(source, now) {
            Some(Location::Remote(_)) => Some(Doubt::Elsewhere),
            // For a group it was looked for before the bridge was asked.
            Some(Location::Port(_)) | None => {
                (!destination.is_group()).then_some(Doubt::NoDestination)
            }
        }
    }
}
