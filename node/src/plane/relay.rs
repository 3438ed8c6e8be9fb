//! Frames from ports through the bridge to ports, in batches, without a copy.
//!
//! A batch is borrowed from the buffer into which it was received. [`segment`] names the egress of
//! each frame. Each port collects its share as indices, and every port touched is flushed before the
//! call returns. Only a cable whose path is slow keeps a copy.

use std::time::Instant;

use arrayvec::ArrayVec;
use console::Event;
use ether::{TagAction, VnetHeader};
use fabric::{Change, DropReason, PortId};
use segment::{Outlet, Route};
use tokio::sync::broadcast;

use super::Plane;
use super::meshed::tell_of_change;
use crate::port::{Divert, Port};
use crate::pressure::Congested;
use crate::wire::octets::Held;

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
    /// The place where it was received, where that can be kept.
    pub(crate) held: Option<&'a Held>,
    /// What is still to be done to it.
    pub(crate) vnet: VnetHeader,
    /// How it was marked, when it came by a cable.
    pub(crate) origin: Option<Route>,
}

impl<'a> Frame<'a> {
    /// A frame to which nothing is left to be done, in a buffer that is soon used again.
    pub(crate) fn plain(bytes: &'a [u8]) -> Self {
        Self { bytes, held: None, vnet: VnetHeader::PLAIN, origin: None }
    }
}

/// A batch.
pub(crate) type Frames<'a> = ArrayVec<Frame<'a>, BATCH>;

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
        routes.extend(std::iter::repeat_n(self.segment.nowhere(), from));
        self.copies = 0;
        for (index, frame) in frames.iter().enumerate().skip(from) {
            if self.copies >= TURN {
                break;
            }
            let mut shares = Shares {
                ports: &mut self.ports,
                touched: &mut self.touched,
                copies: &mut self.copies,
                events: &self.settings.events,
                index,
            };
            let judged = match frame.origin {
                None => {
                    let frame = (frame.bytes, &frame.vnet);
                    self.segment.handle_own(ingress, frame, &mut shares, now)
                }
                Some(origin) => {
                    let shares = &mut shares;
                    self.segment.handle_from_cable(ingress, origin, frame.bytes, shares, now)
                }
            };
            let (drop, route) = match judged {
                Ok(route) => (None, route),
                Err(reason) => (Some(reason), self.segment.nowhere()),
            };
            routes.push(route);
            let Some(Some(port)) = self.ports.get_mut(ingress.0 as usize) else {
                continue;
            };
            match drop {
                Some(reason) => {
                    port.counters.drops.record(reason);
                    self.tell_of_offence(ingress, reason, frame.bytes, now);
                }
                None => {
                    port.counters.rx_frames += 1;
                    port.counters.rx_bytes += frame.bytes.len() as u64;
                }
            }
        }
        self.wake_mesh();
        let next = Some(routes.len()).filter(|next| *next < frames.len());
        let congested = self.flush(frames, &routes, now);
        // Some of the batch may have been for this node itself, and it answers.
        self.send_packets(now);
        Relayed { next, congested }
    }

    /// Relays the frames that have been held for long enough.
    pub(super) fn relay_held(&mut self, now: Instant) {
        while let Some(held) = self.segment.poll_held(now) {
            let mut shares = Shares {
                ports: &mut self.ports,
                touched: &mut self.touched,
                copies: &mut self.copies,
                events: &self.settings.events,
                index: 0,
            };
            match self.segment.handle_held(&held, &mut shares, now) {
                Ok(route) => {
                    let frame = Frame { vnet: held.vnet, ..Frame::plain(&held.bytes) };
                    let (frames, routes) = (Frames::from_iter([frame]), Routes::from_iter([route]));
                    self.flush(&frames, &routes, now);
                }
                Err(reason) => self.record_drops(held.port, reason, 1),
            }
        }
    }

    /// Sends a frame of the node's own by one access port.
    pub(crate) fn send_own(&mut self, port: PortId, bytes: &[u8], now: Instant) {
        self.send_alone(port, bytes, self.segment.nowhere(), now);
    }

    /// Sends something of the node's own by one port. No batch may be in hand.
    pub(super) fn send_alone(&mut self, port: PortId, bytes: &[u8], route: Route, now: Instant) {
        let mut frames = Frames::new();
        frames.push(Frame::plain(bytes));
        let mut routes = Routes::new();
        routes.push(route);
        give(&mut self.ports, &mut self.touched, port, 0, TagAction::AsIs);
        self.flush(&frames, &routes, now);
    }

    fn flush(&mut self, frames: &Frames<'_>, routes: &Routes, now: Instant) -> Option<Congested> {
        let alone = self.touched.len() == 1;
        let mut congested = None;
        for id in self.touched.drain(..) {
            if let Some(Some(port)) = self.ports.get_mut(id.0 as usize) {
                let buffers = (&mut self.segments, &mut self.retagged);
                let pairs = Some(&self.wires.pairs).filter(|pairs| !pairs.is_empty());
                let divert =
                    pairs.map(|pairs| Divert { pairs, bridge: &self.segment.bridge, egress: id });
                let full = port.flush(frames, routes, buffers, divert, now);
                congested = full.filter(|full| alone || full.is_cable()).or(congested);
            }
        }
        congested
    }
}

/// What takes the decisions on a frame of the batch.
struct Shares<'a> {
    ports: &'a mut [Option<Box<Port>>],
    touched: &'a mut Vec<PortId>,
    copies: &'a mut usize,
    events: &'a broadcast::Sender<Event>,
    index: usize,
}

impl Outlet for Shares<'_> {
    #[inline]
    fn hand(&mut self, egress: PortId, tag: TagAction) {
        *self.copies += 1;
        give(self.ports, self.touched, egress, self.index, tag);
    }

    fn tell(&mut self, change: Change) {
        tell_of_change(self.events, change);
    }

    fn lose(&mut self, ingress: PortId, reason: DropReason) {
        if let Some(Some(port)) = self.ports.get_mut(ingress.0 as usize) {
            port.counters.drops.record(reason);
        }
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
