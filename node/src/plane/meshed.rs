//! What the bridge, the cables and the mesh of other nodes tell each other.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use cable::link::Peer;
use cable::{Link, Notary};
use ether::{FrameHeader, MacAddr, VlanId};
use fabric::{
    Change, Classified, DropReason, Floods, Location, PortId, RemoteId, Station, announces,
};
use mesh::authority::NodeKey;
use mesh::beat::Beat;
use mesh::engine::{
    EchoError, EchoOutcome, Event, Heard, LinkError, LinkId, Neighbour, PacketOut, Payload,
    PortState, ProbeVerdict, ProtocolFault, Room, StationChange, StationVerdict, Transmit,
};
use mesh::framing::RecordHeader;
use mesh::message::{Message, Name};
use mesh::packet::{MAX_SEEN, SeenStation, Stations};
use mesh::probe::PortClass;
use mesh::record::Contact;
use mesh::{Mesh, Nick};
use tokio::sync::oneshot;

use super::{Plane, Route};
use crate::port::PortIo;
use crate::port::tap::Tap;

impl Plane {
    /// A cable was plugged in at a port.
    pub(crate) fn link_up(
        &mut self,
        port: PortId,
        peer: &Peer,
        now: Instant,
    ) -> Result<(), LinkError> {
        let neighbour = Neighbour { key: peer.key.into(), name: Name::lossy(&peer.name) };
        self.mesh.handle_link_up(LinkId(port.0), neighbour, now)?;
        self.mesh_wake.notify_one();
        Ok(())
    }

    /// Says where this node is found, and gives where nodes say that they are.
    pub(crate) fn exchange_contacts(
        &mut self,
        own: Vec<Contact>,
        now: Instant,
    ) -> Vec<(NodeKey, Vec<Contact>)> {
        self.mesh.handle_contacts(own, now);
        self.mesh_wake.notify_one();
        self.mesh.contacts()
    }

    /// The interfaces of this host that are plugged in here.
    pub(crate) fn interfaces(&self) -> Vec<String> {
        let endpoints = self.ports().flat_map(|(_, port)| &port.endpoints);
        let taps = endpoints.filter(|endpoint| matches!(endpoint.io, PortIo::Tap(_)));
        taps.map(|endpoint| endpoint.description.clone()).collect()
    }

    /// A cable is about to be unplugged.
    pub(crate) fn link_down(&mut self, port: PortId, now: Instant) {
        self.mesh.handle_link_down(LinkId(port.0), now);
        self.mesh_wake.notify_one();
    }

    /// The node at the other end of a cable has said something that has crossed the cable's wire.
    pub(super) fn handle_message_now(
        &mut self,
        port: PortId,
        message: Message,
        now: Instant,
    ) -> Result<(), ProtocolFault> {
        self.mesh_wake.notify_one();
        self.mesh.handle_message(LinkId(port.0), message, now)
    }

    /// A cable has room for messages again.
    pub(crate) fn handle_room(&mut self, port: PortId) {
        self.mesh.handle_room(LinkId(port.0), Room::Open);
        self.mesh_wake.notify_one();
    }

    /// The network says that nobody is at the other end of a cable any more.
    pub(crate) fn handle_hint(&mut self, port: PortId, now: Instant) {
        self.mesh.handle_hint(LinkId(port.0), now);
        self.mesh_wake.notify_one();
    }

    /// Beats came by a cable, and have crossed its wire if it has one.
    pub(super) fn handle_beats_now(&mut self, port: PortId, beats: &[Beat], now: Instant) {
        for beat in beats {
            self.mesh.handle_beat(LinkId(port.0), beat, now);
        }
        self.mesh_wake.notify_one();
    }

    /// What the mesh knows.
    pub(crate) fn mesh(&self) -> &Mesh<Notary> {
        &self.mesh
    }

    /// What an operator should hear of.
    pub(crate) fn mesh_events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.mesh.poll_event()).collect()
    }

    /// Does what the mesh has to do by now, and sends what it has to say. Gives when to come again.
    pub(crate) fn turn_mesh(&mut self, now: Instant) -> Option<Instant> {
        if self.mesh.poll_timeout().is_some_and(|due| due <= now) {
            self.mesh.handle_timeout(now);
        }
        while let Some(Transmit { link, payload }) = self.mesh.poll_transmit() {
            let port = PortId(link.0);
            match payload {
                Payload::Message(message) => self.send_message(port, message, now),
                Payload::Beat(beat) => self.send_beat(port, &beat, now),
            }
        }
        self.follow_stations(now);
        self.follow_loops(now);
        self.send_packets(now);
        let guard = self.follow_gateways(now);
        self.mesh.poll_timeout().into_iter().chain(guard).min()
    }

    /// Sends an echo request to another node, and gives what will tell what became of it.
    pub(crate) fn send_echo(
        &mut self,
        to: &NodeKey,
        len: usize,
        patience: Duration,
        now: Instant,
    ) -> Result<oneshot::Receiver<EchoOutcome>, EchoError> {
        let id = self.mesh.send_echo(to, len, patience, now)?;
        let (tell, told) = oneshot::channel();
        self.echoes.insert(id, tell);
        self.send_packets(now);
        self.mesh_wake.notify_one();
        Ok(told)
    }

    /// Sends what the node has to say to other nodes the way of frames, and tells what came of what
    /// it had asked.
    pub(super) fn send_packets(&mut self, now: Instant) {
        self.answer_inquiries(now);
        while let Some(PacketOut { link, header, octets }) = self.mesh.poll_packet() {
            let RecordHeader { hops, ingress, reach, .. } = header;
            self.send_alone(PortId(link.0), &octets, Route { ingress, hops, reach }, now);
        }
        while let Some((id, outcome)) = self.mesh.poll_echo() {
            if let Some(tell) = self.echoes.remove(&id) {
                // Whoever asked may have left.
                let _ = tell.send(outcome);
            }
        }
        while let Some((id, answer)) = self.mesh.poll_stations() {
            if let Some(tell) = self.inquiries.remove(&id) {
                let _ = tell.send(answer);
            }
        }
    }

    /// Asks another node for its stations, and gives what will tell them. `None`: it cannot be asked.
    pub(crate) fn ask_stations(
        &mut self,
        of: &NodeKey,
        from: (VlanId, MacAddr),
        patience: Duration,
        now: Instant,
    ) -> Option<oneshot::Receiver<Option<Stations>>> {
        let id = self.mesh.ask_stations(of, from, patience, now)?;
        let (tell, told) = oneshot::channel();
        self.inquiries.insert(id, tell);
        self.send_packets(now);
        self.mesh_wake.notify_one();
        Some(told)
    }

    /// Answers what other nodes want to know of the stations here.
    fn answer_inquiries(&mut self, now: Instant) {
        let mut snapshot = None;
        while let Some(inquiry) = self.mesh.poll_inquiry() {
            let entries = &snapshot.get_or_insert_with(|| self.bridge.snapshot(now)).entries;
            let before = |entry: &fabric::SnapshotEntry| (entry.vlan, entry.mac) < inquiry.from;
            let rest = &entries[entries.partition_point(before)..];
            let seen = rest.iter().take(MAX_SEEN).map(|entry| SeenStation {
                vlan: entry.vlan,
                mac: entry.mac,
                port: entry.port.0,
                age: u32::try_from(entry.age.as_millis()).unwrap_or(u32::MAX),
            });
            let (seen, more) = (seen.collect(), rest.len() > MAX_SEEN);
            self.mesh.answer_stations(inquiry, seen, more);
        }
    }

    /// Another node sent a frame for a station that the bridge does not know: gives the port of one
    /// that is kept here, silent or not. Of any other, those who believe it here are told at once.
    #[cold]
    pub(super) fn handle_stray(&mut self, header: &FrameHeader, now: Instant) -> Option<PortId> {
        let station = Station { vlan: Classified::by_tag(header).vlan, mac: header.destination };
        if let Some((kept, port)) = self.kept
            && kept == station
        {
            return (!self.bridge.is_blocked(port)).then_some(port);
        }
        self.mesh.handle_stray(station.vlan, station.mac, now);
        self.mesh_wake.notify_one();
        None
    }

    /// Says something by a cable, past its wire.
    pub(super) fn send_message_now(&mut self, port: PortId, message: &Message) {
        if let Some(cable) = self.cable(port)
            && !cable.post(message)
        {
            self.mesh.handle_room(LinkId(port.0), Room::Full);
        }
    }

    /// Tells the mesh, and consoles, what the bridge has learned: from `frame`, if it is one that
    /// brought the news.
    ///
    /// # Errors
    /// Why that frame goes nowhere: the mesh knows its source to be somebody else's.
    pub(super) fn follow_changes(
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
                    if !self.is_kept(station) {
                        self.mesh.handle_station(station.vlan, station.mac, Heard::Gone, now);
                        self.mesh_wake.notify_one();
                    }
                }
                Change::Overflowed => self.tell_all_stations(now),
                Change::Flapping { .. } => {
                    self.mesh.handle_flapping(now);
                    self.mesh_wake.notify_one();
                }
                Change::Moved { .. } | Change::MovedAway { .. } => {}
            }
            if self.settings.events.receiver_count() > 0 {
                for event in console_events(change).into_iter().flatten() {
                    self.tell(event);
                }
            }
        }
        result
    }

    /// Tells the mesh that a station is here now.
    fn claim(&mut self, station: Station, heard: Heard, now: Instant) -> Result<(), DropReason> {
        let Station { vlan, mac } = station;
        self.mesh_wake.notify_one();
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

    fn is_kept(&self, station: Station) -> bool {
        self.kept.is_some_and(|(kept, _)| kept == station)
    }

    /// The node, and the port if it is this one, behind which an untagged station is.
    pub(crate) fn whereabouts(&self, mac: MacAddr, now: Instant) -> Option<(Nick, Option<PortId>)> {
        match self.bridge.locate(VlanId::ZERO, mac, now)? {
            Location::Port(port) => Some((self.mesh.nick(), Some(port))),
            Location::Remote(RemoteId(nick)) => Some((Nick::new(nick)?, None)),
        }
    }

    /// The bridge had more to say than it could keep.
    fn tell_all_stations(&mut self, now: Instant) {
        let snapshot = self.bridge.snapshot(now);
        let mut here = BTreeSet::new();
        for entry in snapshot.entries {
            let station = Station { vlan: entry.vlan, mac: entry.mac };
            here.insert(station);
            // Nobody waits for what becomes of a frame.
            let _ = self.claim(station, Heard::Frame, now);
        }
        let own = self.mesh.key();
        for view in self.mesh.stations(now) {
            let station = Station { vlan: view.vlan, mac: view.mac };
            if view.owner == own && !self.is_kept(station) && !here.contains(&station) {
                self.mesh.handle_station(view.vlan, view.mac, Heard::Gone, now);
            }
        }
    }

    /// A port has its first plug, and no loop is looked for there yet.
    pub(super) fn watch_port(&mut self, port: PortId, io: &PortIo, name: &str, now: Instant) {
        match io {
            PortIo::Cable(_) => {}
            // It says itself when it is up.
            PortIo::Tap(_) => self.bridge.set_blocked(port, self.settings.probes),
            PortIo::Vde(_) | PortIo::Stream(_) | PortIo::Dgram(_) => {
                self.probe_port(port, PortClass::Guest, name, now);
            }
        }
    }

    /// The interface at a port is up now.
    pub(crate) fn tap_up(&mut self, port: PortId, tap: &Tap, now: Instant) {
        let class = if tap.is_gateway() { PortClass::Gateway } else { PortClass::Tap };
        if self.settings.probes && self.floods.is_none() {
            self.floods = Some(Floods::new(rand::random()));
        }
        self.probe_port(port, class, tap.device.name(), now);
    }

    /// The interface at a port is down, and what it leads to may be something else when it is up
    /// again.
    pub(crate) fn tap_down(&mut self, port: PortId, now: Instant) {
        self.forget_port(port, now);
        self.bridge.set_blocked(port, self.settings.probes);
        let _ = self.follow_changes(None, now);
    }

    /// Looks for loops at a port from now on. If it leads to a network, data pass later.
    fn probe_port(&mut self, port: PortId, class: PortClass, name: &str, now: Instant) {
        if self.settings.probes {
            let id = mesh::engine::PortId(port.0);
            self.mesh.handle_port_up(id, class, name, now);
            // The mesh tells of changes, and takes a port that is new to be open.
            self.bridge.set_blocked(port, self.mesh.port_state(id) != PortState::Open);
            self.follow_port_states(now);
            self.mesh_wake.notify_one();
        }
    }

    /// A port has lost its last plug.
    pub(super) fn forget_port(&mut self, port: PortId, now: Instant) {
        self.mesh.handle_port_down(mesh::engine::PortId(port.0), now);
        self.mesh_wake.notify_one();
    }

    /// Whether a frame for a group that came in at a port has just left by it, and is to go nowhere:
    /// else it would go around, and its station seem to be here. Loops are then looked for at once.
    pub(super) fn has_returned(&mut self, port: PortId, frame: &[u8], now: Instant) -> bool {
        let Some(floods) = &self.floods else { return false };
        let is_network = self.port(port).is_some_and(|port| {
            port.endpoints.iter().any(|endpoint| matches!(endpoint.io, PortIo::Tap(_)))
        });
        let has_returned =
            is_network && !self.bridge.is_blocked(port) && floods.has_left_by(port, frame, now);
        if has_returned {
            self.mesh.handle_flapping(now);
            self.mesh_wake.notify_one();
        }
        has_returned
    }

    /// Takes note of a flood.
    pub(super) fn note_flood(&mut self, ingress: Option<PortId>, frame: &[u8], now: Instant) {
        if let Some(floods) = &mut self.floods {
            floods.note(ingress, frame, now);
        }
    }

    /// A probe for loops has come in.
    pub(super) fn handle_probe(
        &mut self,
        port: PortId,
        frame: &[u8],
        now: Instant,
    ) -> ProbeVerdict {
        self.mesh_wake.notify_one();
        self.mesh.handle_probe(mesh::engine::PortId(port.0), frame, now)
    }

    /// Blocks and opens ports.
    fn follow_port_states(&mut self, now: Instant) {
        while let Some((port, state)) = self.mesh.poll_block() {
            self.bridge.set_blocked(PortId(port.0), state != PortState::Open);
        }
        let _ = self.follow_changes(None, now);
    }

    /// Sends probes that are due, and blocks and opens ports.
    fn follow_loops(&mut self, now: Instant) {
        self.follow_port_states(now);
        while let Some((port, frame)) = self.mesh.poll_probe() {
            self.send_own(PortId(port.0), &frame, now);
        }
    }

    /// Lets the bridge follow what other nodes say of their stations.
    fn follow_stations(&mut self, now: Instant) {
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

    pub(super) fn cable(&self, port: PortId) -> Option<Rc<Link>> {
        self.port(port)?.endpoints.iter().find_map(|endpoint| match &endpoint.io {
            PortIo::Cable(link) => Some(link.clone()),
            _ => None,
        })
    }
}

/// A change in the words of VDE's console, where a station that moves is forgotten and learned.
fn console_events(change: Change) -> [Option<console::Event>; 2] {
    let learned = |Station { vlan, mac }, port: PortId| {
        Some(console::Event::Learned { mac, vlan, port: port.0 })
    };
    let forgotten = |Station { vlan, mac }, port: PortId| {
        Some(console::Event::Forgotten { mac, vlan, port: port.0 })
    };
    match change {
        Change::Learned { station, port } => [learned(station, port), None],
        Change::MovedHere { station, to, .. } => [learned(station, to), None],
        Change::Moved { station, from, to } => [forgotten(station, from), learned(station, to)],
        Change::MovedAway { station, from: port, .. }
        | Change::Aged { station, port }
        | Change::Evicted { station, port }
        | Change::Forgotten { station, port } => [forgotten(station, port), None],
        Change::Flapping { .. } | Change::Overflowed => [None, None],
    }
}
