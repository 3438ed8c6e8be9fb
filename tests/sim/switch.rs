//! A node's bridge and its part in the mesh, put together as `node/src/plane` does it: `relay.rs`
//! and `meshed.rs` there are what this follows, call for call, without batches, sockets and wires.

use std::collections::BTreeSet;
use std::time::Instant;

use ether::{FrameHeader, MacAddr, TagAction, VlanId};
use fabric::{
    Bridge, Change, Classified, DropReason, PortId, RemoteId, Station, Verdict, announces,
};
use mesh::engine::{
    FloodDrop, Heard, LinkId, NextHop, PortState, ProbeVerdict, StationChange, StationVerdict,
};
use mesh::framing::{Reach, RecordHeader};
use mesh::packet;
use mesh::probe::Probe;
use mesh::{Mesh, Nick};

use crate::notary::Notary;

/// Where a frame leaves, and with which tag.
pub(crate) type Share = Vec<(u32, TagAction)>;

/// A bridge in a mesh.
pub(crate) struct Switch {
    pub(crate) bridge: Bridge,
    pub(crate) mesh: Mesh<Notary>,
}

impl Switch {
    pub(crate) fn new(bridge: Bridge, mesh: Mesh<Notary>) -> Self {
        Self { bridge, mesh }
    }

    fn nowhere(&self) -> RecordHeader {
        let reach = Reach::Unicast { egress: None };
        RecordHeader { hops: 0, ingress: self.mesh.nick(), reach, vnet: None }
    }

    /// Hands out a frame from an access port.
    pub(crate) fn handle_own(
        &mut self,
        ingress: u32,
        bytes: &[u8],
        now: Instant,
        share: &mut Share,
    ) -> Result<RecordHeader, DropReason> {
        if Probe::is_probe(bytes) {
            let port = mesh::engine::PortId(ingress);
            if self.mesh.handle_probe(port, bytes, now) == ProbeVerdict::Taken {
                return Ok(self.nowhere());
            }
        }
        let header = FrameHeader::parse(bytes)?;
        let verdict = self.bridge.handle_frame(PortId(ingress), &header, now);
        self.follow_changes(Some((&header, bytes)), now)?;
        match verdict {
            Verdict::Drop(reason) => Err(reason),
            Verdict::Forward { egress, tag } => {
                share.push((egress.0, tag));
                Ok(self.nowhere())
            }
            Verdict::Remote { owner, frame } => {
                let egress = Nick::new(owner.0).ok_or(DropReason::NoEgress)?;
                let hops = self.mesh.initial_hops(egress);
                let NextHop::Link(cable) = self.mesh.next_hop(egress, None, flow(&header)) else {
                    return Err(DropReason::NoEgress);
                };
                share.push((cable.0, frame.trunk_tag()));
                let reach = Reach::Unicast { egress: Some(egress) };
                Ok(RecordHeader { hops, ingress: self.mesh.nick(), reach, vnet: None })
            }
            Verdict::Flood(frame) => {
                self.hand_to_ports(Some(ingress), frame, share);
                let ingress = self.mesh.nick();
                let (sequence, hops, cables) = self.mesh.originate_flood();
                share.extend(cables.map(|cable| (cable.0, frame.trunk_tag())));
                let reach = Reach::Flood { sequence };
                Ok(RecordHeader { hops, ingress, reach, vnet: None })
            }
        }
    }

    /// Hands out a frame that came by a cable.
    pub(crate) fn handle_from_cable(
        &mut self,
        cable: u32,
        origin: &RecordHeader,
        bytes: &[u8],
        now: Instant,
        share: &mut Share,
    ) -> Result<RecordHeader, DropReason> {
        let from = LinkId(cable);
        if let Reach::Node { egress } = origin.reach {
            return match self.mesh.next_hop(egress, Some(from), packet::flow(bytes)) {
                NextHop::Here => {
                    self.mesh.handle_packet(origin.ingress, origin.hops, bytes, now);
                    Ok(self.nowhere())
                }
                NextHop::Link(next) => pass_on(next, origin, share),
                NextHop::Back | NextHop::Unreachable => Err(DropReason::NoEgress),
            };
        }
        let header = FrameHeader::parse(bytes)?;
        let ingress = RemoteId(origin.ingress.get());
        match origin.reach {
            Reach::Node { .. } => Err(DropReason::NoEgress),
            Reach::Unicast { egress } => {
                let egress = egress.ok_or(DropReason::NoEgress)?;
                match self.mesh.next_hop(egress, Some(from), flow(&header)) {
                    NextHop::Here => {
                        let reach = fabric::Reach::Unicast;
                        match self.bridge.handle_from_cable(ingress, &header, reach, now) {
                            Verdict::Drop(reason) => {
                                if reason == DropReason::NotHere {
                                    let vlan = Classified::by_tag(&header).vlan;
                                    self.mesh.handle_stray(vlan, header.destination, now);
                                }
                                return Err(reason);
                            }
                            Verdict::Forward { egress, tag } => share.push((egress.0, tag)),
                            Verdict::Flood(frame) => self.hand_to_ports(None, frame, share),
                            Verdict::Remote { .. } => return Err(DropReason::NotHere),
                        }
                        Ok(RecordHeader { hops: 0, ..*origin })
                    }
                    NextHop::Link(next) => pass_on(next, origin, share),
                    NextHop::Back | NextHop::Unreachable => Err(DropReason::NoEgress),
                }
            }
            Reach::Flood { sequence } => {
                let onward: Vec<LinkId> =
                    self.mesh.flood(origin.ingress, sequence, from).map_err(drop_reason)?.collect();
                let reach = fabric::Reach::Flood;
                let verdict = self.bridge.handle_from_cable(ingress, &header, reach, now);
                if let Verdict::Drop(reason) = verdict {
                    return Err(reason);
                }
                let hops = origin.hops.checked_sub(1);
                if hops.is_some() {
                    share.extend(onward.iter().map(|next| (next.0, TagAction::AsIs)));
                }
                match verdict {
                    Verdict::Forward { egress, tag } => share.push((egress.0, tag)),
                    Verdict::Flood(frame) => self.hand_to_ports(None, frame, share),
                    Verdict::Drop(_) | Verdict::Remote { .. } => {}
                }
                Ok(RecordHeader { hops: hops.unwrap_or(0), ..*origin })
            }
        }
    }

    fn hand_to_ports(&self, ingress: Option<u32>, frame: Classified, share: &mut Share) {
        let ports = self.bridge.flood_ports(ingress.map(PortId), frame);
        share.extend(ports.map(|(port, tag)| (port.0, tag)));
    }

    /// Tells the mesh what the bridge has learned.
    pub(crate) fn follow_changes(
        &mut self,
        frame: Option<(&FrameHeader, &[u8])>,
        now: Instant,
    ) -> Result<(), DropReason> {
        let mut result = Ok(());
        while let Some(change) = self.bridge.poll_change() {
            match change {
                Change::Learned { station, .. } | Change::MovedHere { station, .. } => {
                    let announces = frame.is_some_and(|(header, bytes)| announces(header, bytes));
                    let heard = if announces { Heard::Announcement } else { Heard::Frame };
                    result = self.claim(station, heard, now).and(result);
                }
                Change::Aged { station, .. }
                | Change::Evicted { station, .. }
                | Change::Forgotten { station, .. } => {
                    self.mesh.handle_station(station.vlan, station.mac, Heard::Gone, now);
                }
                Change::Overflowed => self.tell_all_stations(now),
                Change::Flapping { .. } => self.mesh.handle_flapping(now),
                Change::Moved { .. } | Change::MovedAway { .. } => {}
            }
        }
        result
    }

    fn claim(&mut self, station: Station, heard: Heard, now: Instant) -> Result<(), DropReason> {
        let Station { vlan, mac } = station;
        let verdict = self.mesh.handle_station(vlan, mac, heard, now);
        if verdict != StationVerdict::Here
            && let Some(owner) = self.mesh.owner(vlan, mac)
        {
            self.bridge.set_remote(vlan, mac, RemoteId(owner.get()));
        }
        match verdict {
            StationVerdict::Refused => Err(DropReason::ForeignSource),
            StationVerdict::Here | StationVerdict::Elsewhere => Ok(()),
        }
    }

    fn tell_all_stations(&mut self, now: Instant) {
        let snapshot = self.bridge.snapshot(now);
        let mut here = BTreeSet::new();
        for entry in snapshot.entries {
            let station = Station { vlan: entry.vlan, mac: entry.mac };
            here.insert(station);
            let _ = self.claim(station, Heard::Frame, now);
        }
        let own = self.mesh.key();
        for view in self.mesh.stations(now) {
            let station = Station { vlan: view.vlan, mac: view.mac };
            if view.owner == own && !here.contains(&station) {
                self.mesh.handle_station(view.vlan, view.mac, Heard::Gone, now);
            }
        }
    }

    /// Lets the bridge follow what other nodes say of their stations.
    pub(crate) fn follow_stations(&mut self, now: Instant) {
        while let Some(StationChange { vlan, mac, owner }) = self.mesh.poll_station() {
            match owner {
                Some(owner) => self.bridge.set_remote(vlan, mac, RemoteId(owner.get())),
                None => {
                    self.bridge.remove_remote(vlan, mac);
                }
            }
        }
        let _ = self.follow_changes(None, now);
    }

    /// Blocks and opens ports.
    pub(crate) fn follow_port_states(&mut self, now: Instant) {
        while let Some((port, state)) = self.mesh.poll_block() {
            self.bridge.set_blocked(PortId(port.0), state != PortState::Open);
        }
        let _ = self.follow_changes(None, now);
    }

    /// Blocks and opens ports, and gives the probes that are due.
    pub(crate) fn follow_loops(&mut self, now: Instant) -> Vec<(u32, Vec<u8>)> {
        self.follow_port_states(now);
        let probes = std::iter::from_fn(|| self.mesh.poll_probe());
        probes.map(|(port, frame)| (port.0, frame)).collect()
    }

    /// Forgets, now and then, what was silent for long.
    pub(crate) fn sweep(&mut self, now: Instant) {
        self.bridge.handle_timeout(now);
        let _ = self.follow_changes(None, now);
    }

    pub(crate) fn locate(&self, vlan: u16, mac: MacAddr, now: Instant) -> Option<fabric::Location> {
        self.bridge.locate(VlanId(vlan), mac, now)
    }
}

/// Hands what is for another node to the cable that is next on the way.
fn pass_on(
    next: LinkId,
    origin: &RecordHeader,
    share: &mut Share,
) -> Result<RecordHeader, DropReason> {
    let hops = origin.hops.checked_sub(1).ok_or(DropReason::HopLimit)?;
    share.push((next.0, TagAction::AsIs));
    Ok(RecordHeader { hops, ..*origin })
}

fn drop_reason(drop: FloodDrop) -> DropReason {
    match drop {
        FloodDrop::ReversePath => DropReason::ReversePath,
        FloodDrop::UnknownIngress | FloodDrop::UnknownLink => DropReason::UnknownIngress,
        FloodDrop::Repeated | FloodDrop::TooOld | FloodDrop::Own => DropReason::RepeatedFlood,
    }
}

/// As in `relay.rs`.
fn flow(header: &FrameHeader) -> u32 {
    let mix = |mac: MacAddr| {
        let [_, _, a, b, c, d] = mac.0;
        u32::from_be_bytes([a, b, c, d])
    };
    (mix(header.source).rotate_left(16) ^ mix(header.destination)).wrapping_mul(0x9e37_79b9) >> 16
}
