//! How frames get into the emulators of wires, and on from there.

use std::rc::Rc;
use std::time::Instant;

use arrayvec::ArrayVec;
use emulator::Direction;
use ether::VnetHeader;
use fabric::{DropReason, PortId};
use mesh::beat::Beat;
use mesh::engine::{LinkId, ProtocolFault, Room};
use mesh::message::Message;

use super::{BATCH, Frame, Frames, Plane, Relayed, Routes};
use crate::port::{Part, emit};
use crate::pressure::Congested;
use crate::wire::Wire;
use crate::wire::edit::{IN, OUT};
use crate::wire::lane::{Cargo, Lane, Load};
use crate::wire::octets::Octets;

/// Octets of messages that may be in a wire on their way out before the mesh holds back what else it
/// has to say: as much as a cable's own outbox holds.
const OUTBOX: usize = 128 << 10;

/// Octets of messages that may be in a wire on their way in. The other node cannot be held back; with
/// more than this nothing has crossed the wire for long, and the cable is closed, as a connection ends
/// on which nothing is acknowledged any more.
const INBOX: usize = 1 << 20;

impl Plane {
    /// Relays a turn's worth of a batch from one ingress, from the frame at `from` on, or puts all of
    /// it into the ingress's wire.
    pub(crate) fn relay(
        &mut self,
        ingress: PortId,
        frames: &Frames<'_>,
        from: usize,
        now: Instant,
    ) -> Relayed {
        if let Some(pacer) = &self.wires.pacer {
            pacer.ring(now);
        }
        match self.port(ingress).and_then(|port| port.wire.as_ref()?.active(IN)) {
            None => self.relay_now(ingress, frames, from, now),
            Some(lane) => {
                let lane = lane.clone();
                self.take_in(&lane, ingress, frames, from, now);
                Relayed { next: None, congested: None }
            }
        }
    }

    /// The same with a whole batch, in one turn.
    pub(crate) fn relay_all(
        &mut self,
        ingress: PortId,
        frames: &Frames<'_>,
        now: Instant,
    ) -> Option<Congested> {
        self.in_one_turn(|plane, from| plane.relay(ingress, frames, from, now))
    }

    fn take_in(
        &mut self,
        lane: &Lane,
        ingress: PortId,
        frames: &Frames<'_>,
        from: usize,
        now: Instant,
    ) {
        let Some(Some(port)) = self.ports.get_mut(ingress.0 as usize) else {
            return;
        };
        let all: ArrayVec<usize, BATCH> = (from..frames.len()).collect();
        let whole = |vnet: &VnetHeader| vnet.is_plain() || lane.takes_whole();
        emit(&all, frames, whole, &mut self.segments, &mut port.counters, |_, parts| {
            for &Part { index, vnet, bytes, held } in parts {
                let bytes = Octets::keep(bytes, held);
                lane.push(bytes, Cargo::In { vnet, origin: frames[index].origin }, now);
            }
        });
        port.counters.drops.record_many(DropReason::Wire, lane.settle(now));
    }

    /// Beats came by a cable.
    pub(crate) fn handle_beats(&mut self, port: PortId, beats: &[Beat], now: Instant) {
        let Some(lane) = self.beat_lane(port, IN) else {
            return self.handle_beats_now(port, beats, now);
        };
        for beat in beats {
            lane.push(Octets::keep(&beat.encode(), None), Cargo::Beat, now);
        }
        self.settle(port, &lane, now);
    }

    /// Sends a beat by a cable.
    pub(super) fn send_beat(&mut self, port: PortId, beat: &Beat, now: Instant) {
        if let Some(lane) = self.beat_lane(port, OUT) {
            lane.push(Octets::keep(&beat.encode(), None), Cargo::Beat, now);
            self.settle(port, &lane, now);
        } else if let Some(cable) = self.cable(port) {
            cable.send_beat(beat);
        }
    }

    /// The node at the other end of a cable says something.
    pub(crate) fn handle_message(
        &mut self,
        port: PortId,
        message: Message,
        now: Instant,
    ) -> Result<(), ProtocolFault> {
        let Some(lane) = self.message_lane(port, IN) else {
            return self.handle_message_now(port, message, now);
        };
        lane.post(message, now);
        if lane.message_octets() > INBOX {
            self.wires.faults.push((port, "its wire lets no control messages in".to_owned()));
        }
        self.settle(port, &lane, now);
        Ok(())
    }

    /// Says something to the node at the other end of a cable.
    pub(super) fn send_message(&mut self, port: PortId, message: Message, now: Instant) {
        if let Some(lane) = self.message_lane(port, OUT) {
            lane.post(message, now);
            self.settle(port, &lane, now);
            if lane.message_octets() > OUTBOX {
                self.segment.mesh.handle_room(LinkId(port.0), Room::Full);
            }
        } else {
            self.send_message_now(port, &message);
        }
    }

    fn message_lane(&self, port: PortId, direction: Direction) -> Option<Rc<Lane>> {
        self.port(port)?.wire.as_ref()?.active_for_messages(direction).cloned()
    }

    fn beat_lane(&self, port: PortId, direction: Direction) -> Option<Rc<Lane>> {
        self.port(port)?.wire.as_ref()?.active_for_beats(direction).cloned()
    }

    fn settle(&mut self, port: PortId, lane: &Lane, now: Instant) {
        let drops = lane.settle(now);
        if drops > 0 {
            self.record_drops(port, DropReason::Wire, drops);
        }
    }

    /// Hands on what has come out of a lane, at most a batch.
    pub(crate) fn deliver(
        &mut self,
        lane: &Lane,
        direction: Direction,
        now: Instant,
    ) -> Option<Congested> {
        let port = lane.port();
        let mut loads = std::mem::take(&mut self.wires.loads);
        lane.take(&mut loads, now);
        let mut congested = None;
        let runs = loads.chunk_by(|a, b| kind(a, port) == kind(b, port));
        for run in runs {
            let full = match kind(&run[0], port) {
                Run::Nowhere => None,
                Run::Beat(port) => {
                    self.deliver_beat(run, port, direction, now);
                    None
                }
                Run::Segment(port) => {
                    self.deliver_segments(run, lane, port, direction, now);
                    None
                }
                Run::In(port) => self.relay_whole(port, &frames_of(run), now),
                Run::Out(port) => {
                    let (segments, place) =
                        (&mut self.segments, self.ports.get_mut(port.0 as usize));
                    let port = place.and_then(Option::as_mut);
                    port.and_then(|port| port.send_all(&frames_of(run), &routes_of(run), segments))
                }
                Run::Pair(egress) => {
                    let (segments, place) =
                        (&mut self.segments, self.ports.get_mut(egress.0 as usize));
                    let port = place.and_then(Option::as_mut);
                    let (frames, routes) = (frames_of(run), routes_of(run));
                    port.and_then(|port| port.send_by_wire(&frames, &routes, segments, now))
                }
            };
            congested = full.or(congested);
        }
        let told = port.or_else(|| match loads.last()?.cargo {
            Cargo::Pair { egress, .. } => Some(egress),
            _ => None,
        });
        loads.clear();
        self.wires.loads = loads;
        let drops = lane.settle(now);
        if let Some(port) = told {
            self.record_drops(port, DropReason::Wire, drops);
        }
        congested
    }

    fn deliver_segments(
        &mut self,
        run: &[Load],
        lane: &Lane,
        port: PortId,
        direction: Direction,
        now: Instant,
    ) {
        for load in run {
            if let Cargo::Segment(number) = load.cargo {
                lane.handle_segment(number, &load.bytes);
            }
        }
        let was_full = lane.message_octets() > OUTBOX;
        while let Some(message) = lane.poll_message() {
            self.pass_message(port, direction, message, now);
        }
        if direction == OUT && was_full && lane.message_octets() <= OUTBOX {
            self.handle_room(port);
        }
    }

    fn pass_message(&mut self, port: PortId, direction: Direction, message: Message, now: Instant) {
        if direction == OUT {
            self.send_message_now(port, &message);
        } else if let Err(fault) = self.handle_message_now(port, message, now) {
            self.wires.faults.push((port, fault.to_string()));
        }
    }

    /// A port loses its wire. Frames in it are lost; a stream's messages are not, and come first.
    pub(crate) fn take_wire(&mut self, port: PortId, wire: &Wire, now: Instant) {
        self.set_wire(port, None);
        if self.cable(port).is_none() {
            return;
        }
        for (direction, lane) in wire.lanes() {
            for message in lane.take_messages() {
                self.pass_message(port, direction, message, now);
            }
        }
        self.handle_room(port);
    }

    fn deliver_beat(&mut self, run: &[Load], port: PortId, direction: Direction, now: Instant) {
        for load in run {
            // A damaged one may not be one any more.
            let Ok(beat) = Beat::parse(&load.bytes) else {
                continue;
            };
            if direction == IN {
                self.handle_beats_now(port, &[beat], now);
            } else if let Some(cable) = self.cable(port) {
                cable.send_beat(&beat);
            }
        }
    }

    /// Gives a port the wire of its cable, if that has one.
    pub(crate) fn attach_wire(&mut self, cable: &str, port: PortId) {
        if let Some(wire) = self.wires.cables.get(cable).cloned() {
            wire.set_port(Some(port));
            self.set_wire(port, Some(wire));
        }
    }

    /// Gives a port a wire, or takes it away.
    pub(crate) fn set_wire(&mut self, port: PortId, wire: Option<Rc<Wire>>) {
        if let Some(port) = self.port_mut(port) {
            port.wire = wire;
        }
    }
}

/// What can be handed on together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Run {
    In(PortId),
    Out(PortId),
    Pair(PortId),
    Beat(PortId),
    Segment(PortId),
    /// What was there has gone.
    Nowhere,
}

fn kind(load: &Load, port: Option<PortId>) -> Run {
    match (load.cargo, port) {
        (Cargo::Pair { egress, .. }, _) => Run::Pair(egress),
        (_, None) => Run::Nowhere,
        (Cargo::In { .. }, Some(port)) => Run::In(port),
        (Cargo::Out { .. }, Some(port)) => Run::Out(port),
        (Cargo::Beat, Some(port)) => Run::Beat(port),
        (Cargo::Segment(_), Some(port)) => Run::Segment(port),
    }
}

fn frames_of(run: &[Load]) -> Frames<'_> {
    let frame = |load: &'_ Load| match load.cargo {
        Cargo::In { vnet, origin } => (vnet, origin),
        Cargo::Out { vnet, .. } | Cargo::Pair { vnet, .. } => (vnet, None),
        Cargo::Beat | Cargo::Segment(_) => (VnetHeader::PLAIN, None),
    };
    run.iter()
        .map(|load| {
            let (vnet, origin) = frame(load);
            Frame { bytes: &load.bytes, held: load.bytes.held(), vnet, origin }
        })
        .collect()
}

fn routes_of(run: &[Load]) -> Routes {
    run.iter()
        .filter_map(|load| match load.cargo {
            Cargo::Out { route, .. } | Cargo::Pair { route, .. } => Some(route),
            Cargo::In { .. } | Cargo::Beat | Cargo::Segment(_) => None,
        })
        .collect()
}
