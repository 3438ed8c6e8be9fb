//! Frames from ports through the bridge to ports, in batches, without a copy.
//!
//! A batch is borrowed from the buffer into which it was received. The bridge names the egress of
//! each frame, and where that is another node, the mesh names the cable. Each port collects its
//! share as indices, and every port touched is flushed before the call returns. Only a cable whose
//! path is slow keeps a copy.

use std::time::Instant;

use arrayvec::ArrayVec;
use ether::{FrameHeader, TagAction, VnetHeader};
use fabric::{Classified, DropReason, PortId, RemoteId, Verdict};
use mesh::Nick;
use mesh::engine::{FloodDrop, LinkId, NextHop, ProbeVerdict};
use mesh::framing::Reach;
use mesh::packet;
use mesh::probe::Probe;

use super::Plane;
use crate::port::{Divert, Port};
use crate::pressure::Congested;

/// Frames that are relayed together at most.
pub(crate) const BATCH: usize = 64;

/// Copies of frames that one turn sends at most, beyond the last frame's own: about 1.5 ms. A batch of
/// broadcasts to many ports takes several turns, and the other ports have theirs between.
const TURN: usize = 1024;

/// What became of a batch, or of the rest of one.
#[derive(Debug)]
pub(crate) struct Relayed {
    /// The frame to go on with in the next turn, if there is one.
    pub(crate) next: Option<usize>,
    /// The egress whose queue is filling, if there is one, so that the ingress may wait.
    pub(crate) congested: Option<Congested>,
}

/// A frame on its way through the data plane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    /// The frame itself, borrowed from where it was received.
    pub(crate) bytes: &'a [u8],
    /// What is still to be done to it.
    pub(crate) vnet: VnetHeader,
    /// Where it entered the mesh, when that was not here.
    pub(crate) origin: Option<Origin>,
}

/// How a frame that came by a cable was marked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    /// Where it entered the mesh.
    pub(crate) ingress: Nick,
    /// How many more cables it may cross.
    pub(crate) hops: u8,
    /// For whom it is.
    pub(crate) reach: Reach,
}

/// A batch.
pub(crate) type Frames<'a> = ArrayVec<Frame<'a>, BATCH>;

/// How a frame is marked when it leaves over a cable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    pub(crate) ingress: Nick,
    /// How many more cables it may cross after the next one.
    pub(crate) hops: u8,
    pub(crate) reach: Reach,
}

/// The route of each frame of a batch; that of one that leaves by no cable means nothing.
pub(crate) type Routes = ArrayVec<Route, BATCH>;

impl Plane {
    /// Relays a batch whose frames have crossed the ingress's wire, if that has one, in one turn.
    pub(super) fn relay_whole(
        &mut self,
        ingress: PortId,
        frames: &Frames<'_>,
        now: Instant,
    ) -> Option<Congested> {
        self.in_one_turn(|plane, from| plane.relay_now(ingress, frames, from, now))
    }

    /// Relays turn after turn, each from the frame that it is told, until none is left.
    pub(super) fn in_one_turn(
        &mut self,
        mut relay: impl FnMut(&mut Self, usize) -> Relayed,
    ) -> Option<Congested> {
        let (mut from, mut congested) = (Some(0), None);
        while let Some(next) = from {
            let relayed = relay(self, next);
            congested = relayed.congested.or(congested);
            from = relayed.next;
        }
        congested
    }

    /// Relays a turn's worth of a batch, from the frame at `from` on.
    pub(super) fn relay_now(
        &mut self,
        ingress: PortId,
        frames: &Frames<'_>,
        from: usize,
        now: Instant,
    ) -> Relayed {
        let mut routes = Routes::new();
        // Those before have gone.
        routes.extend(std::iter::repeat_n(self.nowhere(), from));
        self.copies = 0;
        for (index, frame) in frames.iter().enumerate().skip(from) {
            if self.copies >= TURN {
                break;
            }
            let judged = match frame.origin {
                None => self.judge_own(ingress, index, frame.bytes, now),
                Some(origin) => self.judge_from_cable(ingress, index, frame.bytes, origin, now),
            };
            let (drop, route) = match judged {
                Ok(route) => (None, route),
                Err(reason) => (Some(reason), self.nowhere()),
            };
            routes.push(route);
            let Some(Some(port)) = self.ports.get_mut(ingress.0 as usize) else {
                continue;
            };
            match drop {
                Some(reason) => port.counters.drops.record(reason),
                None => {
                    port.counters.rx_frames += 1;
                    port.counters.rx_bytes += frame.bytes.len() as u64;
                }
            }
        }
        let next = Some(routes.len()).filter(|next| *next < frames.len());
        let congested = self.flush(frames, &routes, now);
        // Some of the batch may have been for this node itself, and it answers.
        self.send_packets(now);
        Relayed { next, congested }
    }

    /// The route of a frame that leaves by no cable.
    fn nowhere(&self) -> Route {
        Route { ingress: self.mesh.nick(), hops: 0, reach: Reach::Unicast { egress: None } }
    }

    /// Hands out a frame from an access port of this node.
    fn judge_own(
        &mut self,
        ingress: PortId,
        index: usize,
        bytes: &[u8],
        now: Instant,
    ) -> Result<Route, DropReason> {
        if Probe::is_probe(bytes) && self.handle_probe(ingress, bytes, now) == ProbeVerdict::Taken {
            return Ok(self.nowhere());
        }
        let header = FrameHeader::parse(bytes)?;
        let is_group = header.destination.is_group();
        // First: it is no offence of that port's that others' frames come back by it.
        if is_group && self.has_returned(ingress, bytes, now) {
            return Err(DropReason::Returned);
        }
        self.inspect(ingress, bytes, now)?;
        let verdict = self.bridge.handle_frame(ingress, &header, now);
        self.follow_changes(Some((&header, bytes)), now)?;
        match verdict {
            Verdict::Drop(reason) => Err(reason),
            Verdict::Forward { egress, tag } => {
                self.hand(egress, index, tag);
                Ok(self.nowhere())
            }
            Verdict::Remote { owner, frame } => {
                let egress = Nick::new(owner.0).ok_or(DropReason::NoEgress)?;
                let hops = self.mesh.initial_hops(egress);
                let cable = match self.mesh.next_hop(egress, None, flow(&header)) {
                    NextHop::Link(cable) => cable,
                    NextHop::Here | NextHop::Back | NextHop::Unreachable => {
                        return Err(DropReason::NoEgress);
                    }
                };
                self.hand(PortId(cable.0), index, frame.trunk_tag());
                let reach = Reach::Unicast { egress: Some(egress) };
                Ok(Route { ingress: self.mesh.nick(), hops, reach })
            }
            Verdict::Flood(frame) => {
                if is_group {
                    self.note_flood(Some(ingress), bytes, now);
                }
                self.hand_to_ports(Some(ingress), index, frame);
                let own = self.mesh.nick();
                let (sequence, hops, cables) = self.mesh.originate_flood();
                for cable in cables {
                    let cable = PortId(cable.0);
                    give(&mut self.ports, &mut self.touched, cable, index, frame.trunk_tag());
                }
                Ok(Route { ingress: own, hops, reach: Reach::Flood { sequence } })
            }
        }
    }

    /// Hands out a frame that came by a cable.
    fn judge_from_cable(
        &mut self,
        cable: PortId,
        index: usize,
        bytes: &[u8],
        origin: Origin,
        now: Instant,
    ) -> Result<Route, DropReason> {
        let from = LinkId(cable.0);
        if let Reach::Node { egress } = origin.reach {
            return match self.mesh.next_hop(egress, Some(from), packet::flow(bytes)) {
                NextHop::Here => {
                    self.mesh.handle_packet(origin.ingress, origin.hops, bytes, now);
                    Ok(self.nowhere())
                }
                NextHop::Link(next) => self.pass_on(next, index, origin),
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
                            Verdict::Drop(DropReason::NotHere) => {
                                let kept = self.handle_stray(&header, now);
                                let port = kept.ok_or(DropReason::NotHere)?;
                                self.hand(port, index, TagAction::AsIs);
                            }
                            Verdict::Drop(reason) => return Err(reason),
                            Verdict::Forward { egress, tag } => self.hand(egress, index, tag),
                            Verdict::Flood(frame) => self.hand_to_ports(None, index, frame),
                            Verdict::Remote { .. } => return Err(DropReason::NotHere),
                        }
                        Ok(Route { ingress: origin.ingress, hops: 0, reach: origin.reach })
                    }
                    NextHop::Link(next) => self.pass_on(next, index, origin),
                    NextHop::Back | NextHop::Unreachable => Err(DropReason::NoEgress),
                }
            }
            Reach::Flood { sequence } => {
                let onward = match self.mesh.flood(origin.ingress, sequence, from) {
                    Ok(onward) => onward,
                    Err(FloodDrop::ReversePath) => return Err(DropReason::ReversePath),
                    Err(FloodDrop::UnknownIngress | FloodDrop::UnknownLink) => {
                        return Err(DropReason::UnknownIngress);
                    }
                    Err(FloodDrop::Repeated | FloodDrop::TooOld | FloodDrop::Own) => {
                        return Err(DropReason::RepeatedFlood);
                    }
                };
                let verdict =
                    self.bridge.handle_from_cable(ingress, &header, fabric::Reach::Flood, now);
                // What the bridge takes for a storm or a loop goes no further.
                if let Verdict::Drop(reason) = verdict {
                    return Err(reason);
                }
                let hops = origin.hops.checked_sub(1);
                if hops.is_some() {
                    for next in onward {
                        let next = PortId(next.0);
                        give(&mut self.ports, &mut self.touched, next, index, TagAction::AsIs);
                    }
                }
                match verdict {
                    Verdict::Forward { egress, tag } => self.hand(egress, index, tag),
                    Verdict::Flood(frame) => {
                        if header.destination.is_group() {
                            self.note_flood(None, bytes, now);
                        }
                        self.hand_to_ports(None, index, frame);
                    }
                    Verdict::Drop(_) | Verdict::Remote { .. } => {}
                }
                Ok(Route { ingress: origin.ingress, hops: hops.unwrap_or(0), reach: origin.reach })
            }
        }
    }

    /// Hands what is for another node to the cable that is next on the way.
    fn pass_on(&mut self, next: LinkId, index: usize, origin: Origin) -> Result<Route, DropReason> {
        let hops = origin.hops.checked_sub(1).ok_or(DropReason::HopLimit)?;
        self.hand(PortId(next.0), index, TagAction::AsIs);
        Ok(Route { ingress: origin.ingress, hops, reach: origin.reach })
    }

    /// Sends a frame of the node's own by one access port.
    pub(crate) fn send_own(&mut self, port: PortId, bytes: &[u8], now: Instant) {
        self.send_alone(port, bytes, self.nowhere(), now);
    }

    /// Sends something of the node's own by one port. No batch may be in hand.
    pub(super) fn send_alone(&mut self, port: PortId, bytes: &[u8], route: Route, now: Instant) {
        let mut frames = Frames::new();
        frames.push(Frame { bytes, vnet: VnetHeader::PLAIN, origin: None });
        let mut routes = Routes::new();
        routes.push(route);
        self.hand(port, 0, TagAction::AsIs);
        self.flush(&frames, &routes, now);
    }

    fn hand(&mut self, egress: PortId, index: usize, tag: TagAction) {
        give(&mut self.ports, &mut self.touched, egress, index, tag);
    }

    fn hand_to_ports(&mut self, ingress: Option<PortId>, index: usize, frame: Classified) {
        for (egress, tag) in self.bridge.flood_ports(ingress, frame) {
            self.copies += 1;
            give(&mut self.ports, &mut self.touched, egress, index, tag);
        }
    }

    fn flush(&mut self, frames: &Frames<'_>, routes: &Routes, now: Instant) -> Option<Congested> {
        let alone = self.touched.len() == 1;
        let mut congested = None;
        for id in self.touched.drain(..) {
            if let Some(Some(port)) = self.ports.get_mut(id.0 as usize) {
                let buffers = (&mut self.segments, &mut self.retagged);
                let pairs = Some(&self.wires.pairs).filter(|pairs| !pairs.is_empty());
                let divert = pairs.map(|pairs| Divert { pairs, bridge: &self.bridge, egress: id });
                let full = port.flush(frames, routes, buffers, divert, now);
                congested = full.filter(|full| alone || full.is_cable()).or(congested);
            }
        }
        congested
    }
}

/// Adds a frame to a port's share of the batch.
fn give(
    ports: &mut [Option<Box<Port>>],
    touched: &mut Vec<PortId>,
    egress: PortId,
    index: usize,
    tag: TagAction,
) {
    if let Some(Some(port)) = ports.get_mut(egress.0 as usize) {
        if port.share.is_empty() {
            touched.push(egress);
        }
        port.hand(index, tag);
    }
}

/// Frames of one conversation have the same: they must not overtake each other on two equally good
/// ways.
fn flow(header: &FrameHeader) -> u32 {
    let mix = |mac: ether::MacAddr| {
        let [_, _, a, b, c, d] = mac.0;
        u32::from_be_bytes([a, b, c, d])
    };
    // Multiplicative hashing (Knuth, The Art of Computer Programming 3, 6.4); the high bits are the
    // good ones.
    (mix(header.source).rotate_left(16) ^ mix(header.destination)).wrapping_mul(0x9e37_79b9) >> 16
}
