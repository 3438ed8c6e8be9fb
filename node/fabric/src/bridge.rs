//! The bridge: one header in, one verdict out.
//!
//! It owns the list of ports, their VLANs and the filtering database. The caller owns the frames,
//! sends them where the verdict says, with the tag that it says, and counts drops. Between nodes it
//! asks the mesh: which cable leads to a node, and over which a flood goes. Source:
//! IEEE 802.1Q-2022 8.6 to 8.8; the departures are that stations of other nodes are told, not
//! learned, and those of [`crate::vlan`].

use std::time::{Duration, Instant};

use ether::{FrameHeader, MacAddr, TagAction, VlanId};

use crate::change::Change;
use crate::config::Config;
use crate::drop_reason::DropReason;
use crate::fdb::{Counters, Fdb};
use crate::location::{Location, RemoteId, Station};
use crate::port::{PortId, PortKind};
use crate::storm::{FloodBudgets, Kind, PortBuckets, PortLimits};
use crate::time::{Clock, Nanos};
use crate::vlan::{Classified, Memberships, VlanSet};

mod cables;
mod doubts;
#[cfg(test)]
mod tests;
mod vlans;

pub use cables::Reach;
pub use doubts::Doubt;

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
    /// To another node, over a cable that the mesh names. With the frame goes the tag of
    /// [`Classified::trunk_tag`].
    Remote {
        /// The node.
        owner: RemoteId,
        /// What the tag hangs on.
        frame: Classified,
    },
    /// Nowhere yet, and nothing was learned: it would be flooded, and it came in where frames may come
    /// after they have gone around. See [`Bridge::set_doubtful`] and [`Bridge::handle_believed`].
    Doubtful(Doubt),
    /// To all of [`Bridge::flood_ports`], which wants to know this of the frame. One that came from
    /// a port is also flooded over cables, as the mesh says, with [`Classified::trunk_tag`]; one
    /// that came by a cable travels on or not whatever happens to it here.
    Flood(Classified),
}

/// What an operator sees of a bridge. Entries are in the order of VLAN, then address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The stations of this node.
    pub entries: Vec<SnapshotEntry>,
    /// The stations of other nodes.
    pub remotes: Vec<RemoteEntry>,
    /// What has happened to the entries.
    pub counters: Counters,
}

/// One entry of the filtering database, of a station of this node.
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

/// One entry of the filtering database, of a station of another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteEntry {
    /// The station.
    pub mac: MacAddr,
    /// Its VLAN.
    pub vlan: VlanId,
    /// The node that it is behind.
    pub owner: RemoteId,
}

/// A port that is there.
#[derive(Debug)]
struct BridgePort {
    kind: PortKind,
    /// Whether data passes neither in nor out.
    blocked: bool,
    /// Whether frames of other nodes' stations may come in here after they left elsewhere.
    doubtful: bool,
    /// None while it carries every VLAN, which a cable always does.
    vlans: Option<Box<Memberships>>,
    buckets: PortBuckets,
}

impl BridgePort {
    fn new(kind: PortKind) -> Self {
        Self { kind, blocked: false, doubtful: false, vlans: None, buckets: PortBuckets::default() }
    }

    /// Whether data may come from here and go here.
    fn is_open(&self) -> bool {
        self.kind == PortKind::Access && !self.blocked
    }

    /// With which tag a frame leaves here; `None` when its VLAN does not.
    #[inline]
    fn tag_for(&self, frame: Classified) -> Option<TagAction> {
        match &self.vlans {
            None => Some(frame.trunk_tag()),
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
    /// The ports that floods go to, ascending: they must not look at the gaps.
    flooded: Vec<PortId>,
    /// Those that exist.
    vlans: VlanSet,
    /// Whether any port has VLANs of its own.
    is_vlan_aware: bool,
    fdb: Fdb,
    port_limits: PortLimits,
    flood_budgets: FloodBudgets,
    clock: Clock,
}

impl Bridge {
    /// A bridge without ports.
    pub fn new(config: Config) -> Self {
        Self {
            hub: config.hub,
            ports: Vec::new(),
            flooded: Vec::new(),
            vlans: [VlanId::ZERO].into_iter().collect(),
            is_vlan_aware: false,
            fdb: Fdb::new(&config),
            port_limits: PortLimits::new(&config.storm_control),
            flood_budgets: FloodBudgets::new(&config.storm_control, config.seed),
            clock: Clock::default(),
        }
    }

    /// Adds a port, or changes the role of one that is there.
    ///
    /// A new port carries every VLAN and is not blocked. One that is there stays as it is, unless
    /// it becomes a cable and loses its VLANs and what it has learned.
    ///
    /// # Panics
    /// When `port` is above [`PortId::MAX`]: numbers come from the node itself and index a table.
    pub fn add_port(&mut self, port: PortId, kind: PortKind) {
        assert!(port <= PortId::MAX, "port number {port} is above {}", PortId::MAX);
        if self.ports.len() <= port.index() {
            self.ports.resize_with(port.index() + 1, || None);
        }
        let place = self.ports[port.index()].get_or_insert_with(|| BridgePort::new(kind));
        place.kind = kind;
        if kind == PortKind::Cable {
            place.vlans = None;
            self.vlans_changed(port);
        }
        self.flooding_changed(port);
    }

    /// Removes a port with its VLANs and forgets the stations behind it. Nothing happens if it is
    /// not there.
    pub fn remove_port(&mut self, port: PortId) {
        if let Some(place) = self.ports.get_mut(port.index()) {
            *place = None;
        }
        while self.ports.last().is_some_and(Option::is_none) {
            self.ports.pop();
        }
        self.vlans_changed(port);
        self.flooding_changed(port);
    }

    /// Forgets the stations behind a port that stays, with its VLANs: nothing is plugged in there
    /// at the moment.
    pub fn flush_port(&mut self, port: PortId) {
        self.fdb.forget_port(port);
    }

    /// Blocks an access port, which then neither sends nor receives data and forgets its stations,
    /// or lets it take part again. What is not data, such as a probe for loops, does not ask the
    /// bridge. Nothing happens if there is no such port.
    pub fn set_blocked(&mut self, port: PortId, blocked: bool) {
        let Some(Some(place)) = self.ports.get_mut(port.index()) else {
            return;
        };
        place.blocked = blocked;
        if blocked {
            self.fdb.forget_port(port);
        }
        self.flooding_changed(port);
    }

    /// Whether a port is blocked.
    pub fn is_blocked(&self, port: PortId) -> bool {
        self.port(port).is_some_and(|port| port.blocked)
    }

    /// Whether every frame is flooded.
    pub fn is_hub(&self) -> bool {
        self.hub
    }

    /// Turns the bridge into a hub or back; see [`Config::hub`]. What was learned is forgotten;
    /// what the mesh said waits until the bridge is no hub any more.
    pub fn set_hub(&mut self, hub: bool) {
        self.hub = hub;
        self.flush();
    }

    /// Sets how long entries live; see [`Config::ageing_time`]. Those that are older end at once.
    pub fn set_ageing_time(&mut self, ageing_time: Duration) {
        self.fdb.set_ageing_time(ageing_time);
    }

    /// Forgets every station of this node.
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
        self.judge(ingress, header, false, now)
    }

    /// The same for a frame that has not gone around after all: its station is here now.
    #[inline]
    pub fn handle_believed(
        &mut self,
        ingress: PortId,
        header: &FrameHeader,
        now: Instant,
    ) -> Verdict {
        self.judge(ingress, header, true, now)
    }

    #[inline]
    fn judge(
        &mut self,
        ingress: PortId,
        header: &FrameHeader,
        is_believed: bool,
        now: Instant,
    ) -> Verdict {
        let Some(port) = self.port(ingress) else {
            return Verdict::Drop(DropReason::UnknownPort);
        };
        if !port.is_open() {
            return Verdict::Drop(match port.kind {
                PortKind::Access => DropReason::Blocked,
                PortKind::Cable => DropReason::UnknownPort,
            });
        }
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
        let is_doubtful = port.doubtful && !is_believed;
        let now = self.clock.advance(now);
        let source = Station { vlan: frame.vlan, mac: header.source };
        if is_doubtful && let Some(doubt) = self.doubt(source, header.destination, now) {
            return Verdict::Doubtful(doubt);
        }
        if !self.fdb.refresh(source, ingress, now) {
            if !self.may_send(ingress, Kind::NewStation, now) {
                return Verdict::Drop(DropReason::StationStorm);
            }
            self.fdb.admit(source, ingress, now);
        }
        if header.destination.is_group() {
            // The standard's reserved addresses are between one bridge and its neighbour.
            if header.destination.is_bridge_reserved() {
                return Verdict::Drop(DropReason::Reserved);
            }
            let is_broadcast = header.destination.is_broadcast();
            let kind = if is_broadcast { Kind::Broadcast } else { Kind::Multicast };
            return self.flood(ingress, frame, kind, now);
        }
        match self.fdb.lookup(Station { mac: header.destination, ..source }, now) {
            Some(Location::Port(egress)) if egress == ingress => {
                Verdict::Drop(DropReason::SamePort)
            }
            Some(Location::Port(egress)) => self.forward(egress, frame),
            Some(Location::Remote(owner)) => Verdict::Remote { owner, frame },
            None => self.flood(ingress, frame, Kind::UnknownUnicast, now),
        }
    }

    #[inline]
    fn flood(&mut self, ingress: PortId, frame: Classified, kind: Kind, now: Nanos) -> Verdict {
        if self.may_send(ingress, kind, now) {
            Verdict::Flood(frame)
        } else {
            Verdict::Drop(kind.reason())
        }
    }

    #[inline]
    fn may_send(&mut self, ingress: PortId, kind: Kind, now: Nanos) -> bool {
        let port = self.ports.get_mut(ingress.index()).and_then(Option::as_mut);
        port.is_some_and(|port| self.port_limits.take(&mut port.buckets, kind, now))
    }

    /// The access ports that a flooded frame goes to, ascending, each with what is to be done to
    /// the tag: all that carry its VLAN, but not its ingress, which is `None` when it came by a
    /// cable. A hub knows no VLANs.
    #[inline]
    pub fn flood_ports(
        &self,
        ingress: Option<PortId>,
        frame: Classified,
    ) -> impl Iterator<Item = (PortId, TagAction)> {
        let knows_vlans = self.is_vlan_aware && !self.hub;
        self.flooded.iter().filter_map(move |&id| {
            let port = self.ports[id.index()].as_ref().filter(|_| Some(id) != ingress)?;
            let tag = if knows_vlans { port.tag_for(frame)? } else { TagAction::AsIs };
            Some((id, tag))
        })
    }

    /// The next thing that changed, in order, or [`Change::Overflowed`]. To be polled after a
    /// batch of frames and after every other call; whoever wants to know nothing need not ask.
    #[inline]
    pub fn poll_change(&mut self) -> Option<Change> {
        self.fdb.poll_change()
    }

    /// Where a station is, as far as the bridge knows.
    pub fn locate(&self, vlan: VlanId, mac: MacAddr, now: Instant) -> Option<Location> {
        self.fdb.lookup(Station { vlan, mac }, self.clock.peek(now))
    }

    /// Ages out entries that are due. Late calls do no harm: an entry that is due is never used.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.clock.advance(now);
        self.fdb.expire(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next; `None` while there is no entry.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.clock.instant(self.fdb.next_expiry()?)
    }

    /// How many stations of this node are known, those that are due but not yet swept included.
    pub fn entries(&self) -> usize {
        self.fdb.len()
    }

    /// How many stations of other nodes are known.
    pub fn remote_entries(&self) -> usize {
        self.fdb.remote_len()
    }

    /// A copy of the filtering database, without what is due at `now`.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let (mut entries, mut remotes) = (Vec::new(), Vec::new());
        for (Station { vlan, mac }, location, age) in self.fdb.iter(self.clock.peek(now)) {
            match location {
                Location::Port(port) => {
                    entries.push(SnapshotEntry { mac, vlan, port, age: Duration::from_nanos(age) });
                }
                Location::Remote(owner) => remotes.push(RemoteEntry { mac, vlan, owner }),
            }
        }
        entries.sort_unstable_by_key(|entry| (entry.vlan, entry.mac));
        remotes.sort_unstable_by_key(|entry| (entry.vlan, entry.mac));
        Snapshot { entries, remotes, counters: *self.counters() }
    }

    /// The stations of this node from one on, in the order of VLAN and address: a look at each that is
    /// taken, however many there are.
    pub fn stations_from(
        &self,
        first: Station,
        now: Instant,
    ) -> impl Iterator<Item = SnapshotEntry> {
        let entries = self.fdb.local_from(first, self.clock.peek(now));
        entries.map(|(Station { vlan, mac }, port, age)| SnapshotEntry {
            mac,
            vlan,
            port,
            age: Duration::from_nanos(age),
        })
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

    /// Keeps the list of ports that floods go to, after a port came, went or changed.
    fn flooding_changed(&mut self, port: PortId) {
        let is_open = self.port(port).is_some_and(BridgePort::is_open);
        match (self.flooded.binary_search(&port), is_open) {
            (Err(at), true) => self.flooded.insert(at, port),
            (Ok(at), false) => drop(self.flooded.remove(at)),
            (Ok(_), true) | (Err(_), false) => {}
        }
    }
}
