//! The bridge: one header in, one verdict out.
//!
//! It owns the list of ports and the filtering database. The caller owns the frames, sends them
//! where the verdict says, and counts drops. Source: IEEE 802.1Q-2022 8.6 to 8.8; the departures
//! are that cables are learned from like any port, and that the bridge neither blocks ports nor
//! tells VLANs' member ports apart.

use std::time::{Duration, Instant};

use ether::{FrameHeader, MacAddr, VlanId};

use crate::config::Config;
use crate::drop_reason::DropReason;
use crate::fdb::{Counters, Fdb};
use crate::port::{PortId, PortKind};

#[cfg(test)]
mod tests;

/// Where a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nowhere.
    Drop(DropReason),
    /// To this port, which is not the ingress.
    Forward(PortId),
    /// To all of [`Bridge::flood_ports`].
    Flood,
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
    /// The VLAN it was heard in.
    pub vlan: VlanId,
    /// The port it was heard on.
    pub port: PortId,
    /// How long ago, to a second: see [`Config::ageing_time`].
    pub age: Duration,
}

/// A transparent bridge.
///
/// Time is an argument. Should it run backwards between two calls, the latest time seen counts.
#[derive(Debug)]
pub struct Bridge {
    hub: bool,
    /// By the port's index.
    ports: Vec<Option<PortKind>>,
    fdb: Fdb,
    latest: Option<Instant>,
}

impl Bridge {
    /// A bridge without ports.
    pub fn new(config: Config) -> Self {
        Self {
            hub: config.hub,
            ports: Vec::new(),
            fdb: Fdb::new(&config),
            latest: None,
        }
    }

    /// Adds a port, or changes the role of one that is there; what it has learned then stays.
    ///
    /// # Panics
    /// When `port` is above [`PortId::MAX`]: numbers come from the node itself and index a table.
    pub fn add_port(&mut self, port: PortId, kind: PortKind) {
        assert!(
            port <= PortId::MAX,
            "port number {port} is above {}",
            PortId::MAX
        );
        if self.ports.len() <= port.index() {
            self.ports.resize(port.index() + 1, None);
        }
        self.ports[port.index()] = Some(kind);
    }

    /// Removes a port and forgets the stations behind it. Nothing happens if it is not there.
    pub fn remove_port(&mut self, port: PortId) {
        if let Some(kind) = self.ports.get_mut(port.index()) {
            *kind = None;
        }
        self.fdb.forget_port(port);
    }

    /// Learns from a frame and says where it goes.
    ///
    /// A station heard on another port is there from this frame on. VDE's switch keeps it on its
    /// old port until it has been silent there for 3 s, against two ports that both claim an
    /// address. The price is that a guest that migrates, or an address that fails over, is cut off
    /// for as long; the standard has no such wait.
    #[inline]
    pub fn handle_frame(&mut self, ingress: PortId, header: &FrameHeader, now: Instant) -> Verdict {
        let Some(kind) = self.kind(ingress) else {
            return Verdict::Drop(DropReason::UnknownPort);
        };
        if self.hub {
            return Verdict::Flood;
        }
        let now = self.advance(now);
        self.fdb
            .learn(header.vlan, header.source, (ingress, kind), now);
        if header.destination.is_group() {
            // The standard's reserved addresses are between one bridge and its neighbour.
            if header.destination.is_bridge_reserved() {
                return Verdict::Drop(DropReason::Reserved);
            }
            return Verdict::Flood;
        }
        match self.fdb.lookup(header.vlan, header.destination, now) {
            Some(egress) if egress == ingress => Verdict::Drop(DropReason::SamePort),
            Some(egress) => Verdict::Forward(egress),
            None => Verdict::Flood,
        }
    }

    /// The ports that a flooded frame goes to: all but its ingress, ascending.
    pub fn flood_ports(&self, ingress: PortId) -> impl Iterator<Item = PortId> {
        let numbered = (0..).map(PortId).zip(&self.ports);
        numbered
            .filter(move |(port, kind)| kind.is_some() && *port != ingress)
            .map(|(port, _)| port)
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

    /// A copy of the filtering database, without what is due at `now`.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let now = self.latest.map_or(now, |latest| latest.max(now));
        let mut entries: Vec<_> = self
            .fdb
            .iter(now)
            .map(|(vlan, mac, port, age)| SnapshotEntry {
                mac,
                vlan,
                port,
                age,
            })
            .collect();
        entries.sort_unstable_by_key(|entry| (entry.vlan, entry.mac));
        Snapshot {
            entries,
            counters: *self.counters(),
        }
    }

    /// What has happened to the entries of the filtering database.
    pub fn counters(&self) -> &Counters {
        self.fdb.counters()
    }

    #[inline]
    fn kind(&self, port: PortId) -> Option<PortKind> {
        self.ports.get(port.index()).copied().flatten()
    }

    /// The lists of the filtering database are in the order of time only if time has one.
    #[inline]
    fn advance(&mut self, now: Instant) -> Instant {
        let now = self.latest.map_or(now, |latest| latest.max(now));
        self.latest = Some(now);
        now
    }
}
