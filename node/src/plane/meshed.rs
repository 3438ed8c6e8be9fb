//! What the bridge, the cables and the mesh of other nodes tell each other.

use std::rc::Rc;
use std::time::Instant;

use cable::Link;
use cable::link::Peer;
use fabric::{Change, PortId, Station};
use mesh::beat::Beat;
use mesh::engine::{Event, LinkError, LinkId, Neighbour, Payload, ProtocolFault, Room, Transmit};
use mesh::message::{Message, Name};

use super::Plane;
use crate::port::PortIo;

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

    /// A cable is about to be unplugged.
    pub(crate) fn link_down(&mut self, port: PortId, now: Instant) {
        self.mesh.handle_link_down(LinkId(port.0), now);
        self.mesh_wake.notify_one();
    }

    /// The node at the other end of a cable says something.
    pub(crate) fn handle_message(
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

    /// Beats came by a cable, and have crossed its wire if it has one.
    pub(super) fn handle_beats_now(&mut self, port: PortId, beats: &[Beat], now: Instant) {
        for beat in beats {
            self.mesh.handle_beat(LinkId(port.0), beat, now);
        }
        self.mesh_wake.notify_one();
    }

    /// Does what the mesh has to do by now, and sends what it has to say. Gives what an operator
    /// should hear of, and when to come again.
    pub(crate) fn turn_mesh(&mut self, now: Instant) -> (Vec<Event>, Option<Instant>) {
        if self.mesh.poll_timeout().is_some_and(|due| due <= now) {
            self.mesh.handle_timeout(now);
        }
        while let Some(Transmit { link, payload }) = self.mesh.poll_transmit() {
            let Some(cable) = self.cable(PortId(link.0)) else {
                continue;
            };
            match payload {
                Payload::Message(message) => {
                    if !cable.post(&message) {
                        self.mesh.handle_room(link, Room::Full);
                    }
                }
                Payload::Beat(beat) => self.send_beat(PortId(link.0), &beat, now),
            }
        }
        let events = std::iter::from_fn(|| self.mesh.poll_event()).collect();
        (events, self.mesh.poll_timeout())
    }

    /// Tells consoles what the bridge has learned.
    pub(super) fn follow_changes(&mut self, _now: Instant) {
        while let Some(change) = self.bridge.poll_change() {
            if self.settings.events.receiver_count() > 0 {
                for event in console_events(change).into_iter().flatten() {
                    self.tell(event);
                }
            }
        }
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
