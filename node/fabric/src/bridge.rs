//! The bridge: one header in, one verdict out.
//!
//! It owns the list of ports, their VLANs and the filtering database. The caller owns the frames,
//! sends them where the verdict says, with the tag that it says, and counts drops. Source:
//! IEEE 802.1Q-2022 8.6 to 8.8; the departures are that cables are learned from like any port, that
//! the bridge does not block ports, and those of [`crate::vlan`].

use std::time::{Duration, Instant};

use ether::{FrameHeader, MacAddr, TagAction, VlanId};

use crate::config::Config;
use crate::drop_reason::DropReason;
use crate::fdb::{Counters, Fdb};
use crate::port::{PortId, PortKind};
use crate::vlan::{Classified, Memberships, VlanSet, trunk_tag};

#[cfg(test)]
mod tests;
mod vlans;

/// Where a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nowhere.
    Drop(DropReason),
    /// To one port.
    Forward {
        /// Which is not the ingress.
        egress: PortId,
        /// What is to be done to the frame's tag before it leaves there.
        tag: TagAction,
    },
    /// To all of [`Bridge::flood_ports`], which wants to know this of the frame.
    Flood(Classified),
}

/// What an operator sees of a bridge. Entries are in the order of VLAN, then address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The filtering database.
    pub entries: Vec<SnapshotEntry>,
    /// What has happened to its entries.
    pub counters: Counters,
}

/// One entry of the filtering database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotEntry {
    /// The station.
    pub mac: MacAddr,
    /// The VLAN it was heard in, which need not be the tag's: see [`crate::vlan`].
    pub vlan: VlanId,
    /// The port it was heard on.
    pub port: PortId,
    /// How long ago, to a second: see [`Config::ageing_time`].
    pub age: Duration,
}

/// A port that is there.
#[derive(Debug)]
struct BridgePort {
    kind: PortKind,
    /// None while it carries every VLAN, which a cable always does.
    vlans: Option<Box<Memberships>>,
}

impl BridgePort {
    /// With which tag a frame leaves here; `None` when its VLAN does not.
    #[inline]
    fn tag_for(&self, frame: Classified) -> Option<TagAction> {
        match &self.vlans {
            None => Some(trunk_tag(frame)),
            Some(vlans) => vlans.tag_for(frame),
        }
    }
}

/// A transparent bridge.
///
/// It is transparent to tags, too, until a port gets VLANs of its own; up to then they cost a few
/// comparisons a frame. Time is an argument. Should it run backwards between two calls, the latest
/// time seen counts.
#[derive(Debug)]
pub struct Bridge {
    hub: bool,
    /// By the port's index.
    ports: Vec<Option<BridgePort>>,
    /// The numbers of the ports that there are, ascending: floods must not look at the gaps.
    in_use: Vec<PortId>,
    /// Those that exist.
    vlans: VlanSet,
    /// Whether any port has VLANs of its own.
    is_vlan_aware: bool,
    fdb: Fdb,
    latest: Option<Instant>,
}

impl Bridge {
    /// A bridge without ports.
    pub fn new(config: Config) -> Self {
        Self {
            hub: config.hub,
            ports: Vec::new(),
            in_use: Vec::new(),
            vlans: [VlanId::ZERO].into_iter().collect(),
            is_vlan_aware: false,
            fdb: Fdb::new(&config),
            latest: None,
        }
    }

    /// Adds a port, or changes the role of one that is there; what it has learned then stays.
    ///
    /// A new port carries every VLAN. One that is there keeps its VLANs, unless it becomes a cable
    /// and loses them, and with them what it has learned.
    ///
    /// # Panics
    /// When `port` is above [`PortId::MAX`]: numbers come from the node itself and index a table.
    pub fn add_port(&mut self, port: PortId, kind: PortKind) {
        assert!(port <= PortId::MAX, "port number {port} is above {}", PortId::MAX);
        if self.ports.len() <= port.index() {
            self.ports.resize_with(port.index() + 1, || None);
        }
        let place = &mut self.ports[port.index()];
        let vlans = place.take().and_then(|port| port.vlans);
        let (vlans, lost) = match kind {
            PortKind::Access => (vlans, None),
            PortKind::Cable => (None, vlans),
        };
        *place = Some(BridgePort { kind, vlans });
        if let Err(at) = self.in_use.binary_search(&port) {
            self.in_use.insert(at, port);
        }
        if lost.is_some() {
            self.vlans_changed(port);
        }
    }

    /// Removes a port with its VLANs and forgets the stations behind it. Nothing happens if it is
    /// not there.
    pub fn remove_port(&mut self, port: PortId) {
        if let Some(place) = self.ports.get_mut(port.index()) {
            *place = None;
        }
        self.in_use.retain(|used| *used != port);
        self.vlans_changed(port);
        let len = self.in_use.last().map_or(0, |last| last.index() + 1);
        self.ports.truncate(len);
    }

    /// Forgets the stations behind a port that stays, with its VLANs: nothing is plugged in there
    /// at the moment.
    pub fn flush_port(&mut self, port: PortId) {
        self.fdb.forget_port(port);
    }

    /// Whether every frame is flooded.
    pub fn is_hub(&self) -> bool {
        self.hub
    }

    /// Turns the bridge into a hub or back; see [`Config::hub`]. What was learned is forgotten.
    pub fn set_hub(&mut self, hub: bool) {
        self.hub = hub;
        self.flush();
    }

    /// Sets how long entries live; see [`Config::ageing_time`]. Those that are older end at once.
    pub fn set_ageing_time(&mut self, ageing_time: Duration) {
        self.fdb.set_ageing_time(ageing_time);
    }

    /// Forgets every entry.
    pub fn flush(&mut self) {
        self.fdb.forget_all();
    }

    /// Learns from a frame and says where it goes.
    ///
    /// A station heard on another port is there from this frame on. VDE's switch keeps it on its
    /// old port until it has been silent there for 3 s, against two ports that both claim an
    /// address. The price is that a guest that migrates, or an address that fails over, is cut off
    /// for as long; the standard has no such wait.
    #[inline]
    pub fn handle_frame(&mut self, ingress: PortId, header: &FrameHeader, now: Instant) -> Verdict {
        let Some(port) = self.port(ingress) else {
            return Verdict::Drop(DropReason::UnknownPort);
        };
        if self.hub {
            return Verdict::Flood(Classified::by_tag(header));
        }
        let frame = match &port.vlans {
            None => Classified::by_tag(header),
            Some(vlans) => match vlans.classify(header) {
                Some(frame) => frame,
                None => return Verdict::Drop(DropReason::VlanNotMember),
            },
        };
        let kind = port.kind;
        let now = self.advance(now);
        self.fdb.learn(frame.vlan, header.source, (ingress, kind), now);
        if header.destination.is_group() {
            // The standard's reserved addresses are between one bridge and its neighbour.
            if header.destination.is_bridge_reserved() {
                return Verdict::Drop(DropReason::Reserved);
            }
            return Verdict::Flood(frame);
        }
        match self.fdb.lookup(frame.vlan, header.destination, now) {
            Some(egress) if egress == ingress => Verdict::Drop(DropReason::SamePort),
            Some(egress) => self.forward(egress, frame),
            None => Verdict::Flood(frame),
        }
    }

    /// The ports that a flooded frame goes to, ascending, each with what is to be done to the tag:
    /// all that carry its VLAN, but not its ingress. A hub knows no VLANs.
    #[inline]
    pub fn flood_ports(
        &self,
        ingress: PortId,
        frame: Classified,
    ) -> impl Iterator<Item = (PortId, TagAction)> {
        let knows_vlans = self.is_vlan_aware && !self.hub;
        self.in_use.iter().filter_map(move |&id| {
            let port = self.ports[id.index()].as_ref().filter(|_| id != ingress)?;
            let tag = if knows_vlans { port.tag_for(frame)? } else { TagAction::AsIs };
            Some((id, tag))
        })
    }

    /// Ages out entries that are due. Late calls do no harm: an entry that is due is never used.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.advance(now);
        self.fdb.expire(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next; `None` while there is no entry.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.fdb.next_expiry()
    }

    /// How many entries there are, those that are due but not yet swept included.
    pub fn entries(&self) -> usize {
        self.fdb.len()
    }

    /// A copy of the filtering database, without what is due at `now`.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let now = self.latest.map_or(now, |latest| latest.max(now));
        let mut entries: Vec<_> = self
            .fdb
            .iter(now)
            .map(|(vlan, mac, port, age)| SnapshotEntry { mac, vlan, port, age })
            .collect();
        entries.sort_unstable_by_key(|entry| (entry.vlan, entry.mac));
        Snapshot { entries, counters: *self.counters() }
    }

    /// What has happened to the entries of the filtering database.
    pub fn counters(&self) -> &Counters {
        self.fdb.counters()
    }

    #[inline]
    fn port(&self, port: PortId) -> Option<&BridgePort> {
        self.ports.get(port.index())?.as_ref()
    }

    #[inline]
    fn forward(&self, egress: PortId, frame: Classified) -> Verdict {
        let tag = if self.is_vlan_aware {
            self.port(egress).and_then(|port| port.tag_for(frame))
        } else {
            Some(TagAction::AsIs)
        };
        // A port's entries leave with its VLANs, so there always is an answer.
        tag.map_or(Verdict::Drop(DropReason::VlanNotMember), |tag| Verdict::Forward { egress, tag })
    }

    /// The lists of the filtering database are in the order of time only if time has one.
    #[inline]
    fn advance(&mut self, now: Instant) -> Instant {
        let now = self.latest.map_or(now, |latest| latest.max(now));
        self.latest = Some(now);
        now
    }
}
