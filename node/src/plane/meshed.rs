//! What the bridge, the cables and the mesh of other nodes tell each other.

use std::rc::Rc;
use std::time::{Duration, Instant};

use cable::link::Peer;
use cable::{Link, Notary};
use ether::{MacAddr, TagAction, VlanId};
use fabric::{Change, DropReason, PortId, Station};
use mesh::authority::NodeKey;
use mesh::beat::Beat;
use mesh::engine::{
    EchoError, EchoOutcome, Event, LinkError, LinkId, Neighbour, PacketOut, Payload, ProtocolFault,
    Room, Transmit,
};
use mesh::framing::RecordHeader;
use mesh::message::{Message, Name};
use mesh::packet::Stations;
use mesh::probe::PortClass;
use mesh::record::Contact;
use mesh::{Mesh, Nick};
use segment::Outlet;
use tokio::sync::{broadcast, oneshot};

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
        self.segment.mesh.handle_link_up(LinkId(port.0), neighbour, now)?;
        self.mesh_wake.notify_one();
        Ok(())
    }

    /// Says where this node is found, and gives where nodes say that they are.
    pub(crate) fn exchange_contacts(
        &mut self,
        own: Vec<Contact>,
        now: Instant,
    ) -> Vec<(NodeKey, Vec<Contact>)> {
        self.segment.mesh.handle_contacts(own, now);
        self.mesh_wake.notify_one();
        self.segment.mesh.contacts()
    }

    /// The interfaces of this host that are plugged in here.
    pub(crate) fn interfaces(&self) -> Vec<String> {
        let endpoints = self.ports().flat_map(|(_, port)| &port.endpoints);
        let taps = endpoints.filter(|endpoint| matches!(endpoint.io, PortIo::Tap(_)));
        taps.map(|endpoint| endpoint.description.clone()).collect()
    }

    /// A cable is about to be unplugged.
    pub(crate) fn link_down(&mut self, port: PortId, now: Instant) {
        self.segment.mesh.handle_link_down(LinkId(port.0), now);
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
        self.segment.mesh.handle_message(LinkId(port.0), message, now)
    }

    /// A cable has room for messages again.
    pub(crate) fn handle_room(&mut self, port: PortId) {
        self.segment.mesh.handle_room(LinkId(port.0), Room::Open);
        self.mesh_wake.notify_one();
    }

    /// The network says that nobody is at the other end of a cable any more.
    pub(crate) fn handle_hint(&mut self, port: PortId, now: Instant) {
        self.segment.mesh.handle_hint(LinkId(port.0), now);
        self.mesh_wake.notify_one();
    }

    /// Beats came by a cable, and have crossed its wire if it has one.
    pub(super) fn handle_beats_now(&mut self, port: PortId, beats: &[Beat], now: Instant) {
        for beat in beats {
            self.segment.mesh.handle_beat(LinkId(port.0), beat, now);
        }
        self.mesh_wake.notify_one();
    }

    /// What the mesh knows.
    pub(crate) fn mesh(&self) -> &Mesh<Notary> {
        &self.segment.mesh
    }

    /// What an operator should hear of.
    pub(crate) fn mesh_events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.segment.mesh.poll_event()).collect()
    }

    /// Does what the mesh has to do by now, and sends what it has to say. Gives when to come again.
    pub(crate) fn turn_mesh(&mut self, now: Instant) -> Option<Instant> {
        if self.segment.mesh.poll_timeout().is_some_and(|due| due <= now) {
            self.segment.mesh.handle_timeout(now);
        }
        while let Some(Transmit { link, payload }) = self.segment.mesh.poll_transmit() {
            let port = PortId(link.0);
            match payload {
                Payload::Message(message) => self.send_message(port, message, now),
                Payload::Beat(beat) => self.send_beat(port, &beat, now),
            }
        }
        self.follow(now);
        while let Some((port, frame)) = self.segment.poll_probe() {
            self.send_own(port, &frame, now);
        }
        self.send_packets(now);
        self.relay_held(now);
        let guard = self.follow_gateways(now);
        let others = [guard, self.segment.poll_timeout()];
        self.segment.mesh.poll_timeout().into_iter().chain(others.into_iter().flatten()).min()
    }

    /// Sends an echo request to another node, and gives what will tell what became of it.
    pub(crate) fn send_echo(
        &mut self,
        to: &NodeKey,
        len: usize,
        patience: Duration,
        now: Instant,
    ) -> Result<oneshot::Receiver<EchoOutcome>, EchoError> {
        let id = self.segment.mesh.send_echo(to, len, patience, now)?;
        let (tell, told) = oneshot::channel();
        self.echoes.insert(id, tell);
        self.send_packets(now);
        self.mesh_wake.notify_one();
        Ok(told)
    }

    /// Sends what the node has to say to other nodes the way of frames, and tells what came of what
    /// it had asked.
    pub(super) fn send_packets(&mut self, now: Instant) {
        self.segment.answer_inquiries(now);
        while let Some(PacketOut { link, header, octets }) = self.segment.mesh.poll_packet() {
            let RecordHeader { hops, ingress, reach, .. } = header;
            self.send_alone(PortId(link.0), &octets, Route { ingress, hops, reach }, now);
        }
        while let Some((id, outcome)) = self.segment.mesh.poll_echo() {
            if let Some(tell) = self.echoes.remove(&id) {
                // Whoever asked may have left.
                let _ = tell.send(outcome);
            }
        }
        while let Some((id, answer)) = self.segment.mesh.poll_stations() {
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
        let id = self.segment.mesh.ask_stations(of, from, patience, now)?;
        let (tell, told) = oneshot::channel();
        self.inquiries.insert(id, tell);
        self.send_packets(now);
        self.mesh_wake.notify_one();
        Some(told)
    }

    /// Says something by a cable, past its wire.
    pub(super) fn send_message_now(&mut self, port: PortId, message: &Message) {
        if let Some(cable) = self.cable(port)
            && !cable.post(message)
        {
            self.segment.mesh.handle_room(LinkId(port.0), Room::Full);
        }
    }

    /// Lets bridge and mesh follow each other.
    fn follow(&mut self, now: Instant) {
        self.segment.follow(&mut Told(&self.settings.events), now);
        self.wake_mesh();
    }

    /// Sees to it that the mesh has a turn, if it was told something.
    pub(super) fn wake_mesh(&mut self) {
        if self.segment.take_wants_turn() {
            self.mesh_wake.notify_one();
        }
    }

    /// The node, and the port if it is this one, behind which an untagged station is.
    pub(crate) fn whereabouts(&self, mac: MacAddr, now: Instant) -> Option<(Nick, Option<PortId>)> {
        self.segment.whereabouts(mac, now)
    }

    /// A port has its first plug, and no loop is looked for there yet.
    pub(super) fn watch_port(&mut self, port: PortId, io: &PortIo, name: &str, now: Instant) {
        match io {
            PortIo::Cable(_) => {}
            // It says itself when it is up.
            PortIo::Tap(_) => self.segment.bridge.set_blocked(port, self.settings.probes),
            PortIo::Vde(_) | PortIo::Stream(_) | PortIo::Dgram(_) => {
                self.port_up(port, PortClass::Guest, name, now);
            }
        }
    }

    /// The interface at a port is up now.
    pub(crate) fn tap_up(&mut self, port: PortId, tap: &Tap, now: Instant) {
        let class = if tap.is_gateway() { PortClass::Gateway } else { PortClass::Tap };
        self.port_up(port, class, tap.device.name(), now);
    }

    fn port_up(&mut self, port: PortId, class: PortClass, name: &str, now: Instant) {
        self.segment.port_up(port, class, name, &mut Told(&self.settings.events), now);
        self.wake_mesh();
    }

    /// The interface at a port is down, and what it leads to may be something else when it is up
    /// again.
    pub(crate) fn tap_down(&mut self, port: PortId, now: Instant) {
        self.segment.port_down(port, &mut Told(&self.settings.events), now);
        self.wake_mesh();
    }

    /// A port has lost its last plug.
    pub(super) fn forget_port(&mut self, port: PortId, now: Instant) {
        self.segment.forget_port(port, now);
        self.wake_mesh();
    }

    pub(super) fn cable(&self, port: PortId) -> Option<Rc<Link>> {
        self.port(port)?.endpoints.iter().find_map(|endpoint| match &endpoint.io {
            PortIo::Cable(link) => Some(link.clone()),
            _ => None,
        })
    }
}

/// Where only changes can come of what is done.
struct Told<'a>(&'a broadcast::Sender<console::Event>);

impl Outlet for Told<'_> {
    fn hand(&mut self, _: PortId, _: TagAction) {}

    fn tell(&mut self, change: Change) {
        tell_of_change(self.0, change);
    }

    fn lose(&mut self, _: PortId, _: DropReason) {}
}

/// Tells consoles of a change.
pub(super) fn tell_of_change(events: &broadcast::Sender<console::Event>, change: Change) {
    if events.receiver_count() > 0 {
        for event in console_events(change).into_iter().flatten() {
            // Whoever listened may have left.
            let _ = events.send(event);
        }
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
