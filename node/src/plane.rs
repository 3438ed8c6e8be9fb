//! The data plane: frames from ports through the bridge to ports, in batches, without a copy.
//!
//! A batch is borrowed from the buffer into which it was received. The bridge names the egress of
//! each frame, each port collects its share as indices, and every port touched is flushed before
//! the call returns. Only a cable whose path is slow keeps a copy.

use std::rc::Rc;
use std::time::Instant;

use arrayvec::ArrayVec;
use cable::Link;
use ether::segment::SegmentBuffer;
use ether::{FrameHeader, Malformed, VnetHeader};
use fabric::{Bridge, DropReason, PortId, PortKind, Verdict};
use mesh::Nick;
use mesh::flood::{FloodVerdict, FloodWindow};

use crate::port::{Port, PortIo};

/// Frames that are relayed together at most.
pub(crate) const BATCH: usize = 64;

/// Cables that a frame may cross: far more than the diameter of any sane mesh, few enough that a
/// frame in a circle is gone within a millisecond.
const MAX_HOPS: u8 = 63;

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

/// Where a frame that came by a cable entered the mesh.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) ingress: Nick,
    /// How many more cables it may cross.
    pub(crate) hops: u8,
    /// Its flood sequence there, when it was flooded.
    pub(crate) flood: Option<u32>,
}

/// A batch.
pub(crate) type Frames<'a> = ArrayVec<Frame<'a>, BATCH>;

/// How a frame leaves over cables.
pub(crate) type Routes = ArrayVec<Origin, BATCH>;

/// The bridge and its ports.
#[derive(Debug)]
pub(crate) struct Plane {
    pub(crate) bridge: Bridge,
    /// By number; a number is free when its place is empty. Number 0 is not used: VDE keeps it for
    /// its management port.
    ports: Vec<Option<Port>>,
    nick: Nick,
    /// Of the next frame that is flooded from here.
    next_flood: u32,
    floods: FloodWindow,
    segments: SegmentBuffer,
    /// Ports that have a share of the present batch.
    touched: Vec<PortId>,
}

impl Plane {
    pub(crate) fn new(config: fabric::Config, nick: Nick) -> Self {
        Self {
            bridge: Bridge::new(config),
            ports: vec![None],
            nick,
            next_flood: 0,
            floods: FloodWindow::new(),
            segments: SegmentBuffer::new(),
            touched: Vec::new(),
        }
    }

    /// Plugs a port in at the lowest free number; none when all 65 535 are taken.
    pub(crate) fn add_port(&mut self, port: Port) -> Option<PortId> {
        let free = self
            .ports
            .iter()
            .skip(1)
            .position(Option::is_none)
            .map(|i| i + 1);
        let index = free.unwrap_or(self.ports.len());
        let id = PortId(u32::try_from(index).ok()?);
        if id > PortId::MAX {
            return None;
        }
        let kind = match port.io {
            PortIo::Cable(_) => PortKind::Cable,
            PortIo::Vde(_) | PortIo::Tap(_) => PortKind::Access,
        };
        if index == self.ports.len() {
            self.ports.push(None);
        }
        self.ports[index] = Some(port);
        self.bridge.add_port(id, kind);
        Some(id)
    }

    /// Unplugs a port; what was learned behind it is forgotten.
    pub(crate) fn remove_port(&mut self, id: PortId) -> Option<Port> {
        self.bridge.remove_port(id);
        self.ports.get_mut(id.0 as usize)?.take()
    }

    /// All ports, by number.
    pub(crate) fn ports(&self) -> impl Iterator<Item = (PortId, &Port)> {
        let numbered = (0..).map(PortId).zip(&self.ports);
        numbered.filter_map(|(id, port)| Some((id, port.as_ref()?)))
    }

    pub(crate) fn port(&self, id: PortId) -> Option<&Port> {
        self.ports.get(id.0 as usize)?.as_ref()
    }

    /// Counts frames that were lost at a port before they were frames.
    pub(crate) fn record_drops(&mut self, port: PortId, reason: DropReason, count: u64) {
        if let Some(Some(port)) = self.ports.get_mut(port.0 as usize) {
            port.counters.drops.record_many(reason, count);
        }
    }

    /// Relays a batch from one ingress. Gives the cable that has no room left for it, if there is
    /// one, so that the ingress may wait.
    pub(crate) fn relay(
        &mut self,
        ingress: PortId,
        frames: &Frames<'_>,
        now: Instant,
    ) -> Option<Rc<Link>> {
        let mut routes = Routes::new();
        for (index, frame) in frames.iter().enumerate() {
            let verdict = self.judge(ingress, frame, now);
            let (port_drop, flooded) = match verdict {
                Verdict::Drop(reason) => (Some(reason), false),
                Verdict::Forward(egress) => {
                    self.hand(egress, index);
                    (None, false)
                }
                Verdict::Flood => {
                    self.hand_to_all(ingress, index);
                    (None, true)
                }
            };
            routes.push(self.route(frame, flooded));
            let Some(Some(port)) = self.ports.get_mut(ingress.0 as usize) else {
                continue;
            };
            match port_drop {
                Some(reason) => port.counters.drops.record(reason),
                None => {
                    port.counters.rx_frames += 1;
                    port.counters.rx_bytes += frame.bytes.len() as u64;
                }
            }
        }
        self.flush(frames, &routes)
    }

    fn judge(&mut self, ingress: PortId, frame: &Frame<'_>, now: Instant) -> Verdict {
        let header = match FrameHeader::parse(frame.bytes) {
            Ok(header) => header,
            Err(err) => {
                return Verdict::Drop(match err {
                    Malformed::Runt(_) => DropReason::Runt,
                    Malformed::Source(_) => DropReason::BadSource,
                    Malformed::Vlan => DropReason::BadVlan,
                });
            }
        };
        if let Some(Origin {
            ingress,
            flood: Some(sequence),
            ..
        }) = frame.origin
        {
            // A frame of our own that comes back has been everywhere already.
            let repeated = ingress == self.nick
                || self.floods.handle_flood(ingress, sequence) != FloodVerdict::New;
            if repeated {
                return Verdict::Drop(DropReason::RepeatedFlood);
            }
        }
        self.bridge.handle_frame(ingress, &header, now)
    }

    /// How the frame is marked on cables: as it came, one hop less; or as our own.
    fn route(&mut self, frame: &Frame<'_>, flooded: bool) -> Origin {
        match frame.origin {
            Some(origin) if origin.flood.is_some() || !flooded => Origin {
                hops: origin.hops.saturating_sub(1),
                ..origin
            },
            // Not known where the sender thought that it was: it starts anew as a flood from here.
            origin => {
                let hops = origin.map_or(MAX_HOPS, |origin| origin.hops.saturating_sub(1));
                let flood = flooded.then(|| {
                    let sequence = self.next_flood;
                    self.next_flood = sequence.wrapping_add(1);
                    sequence
                });
                Origin {
                    ingress: self.nick,
                    hops,
                    flood,
                }
            }
        }
    }

    fn hand(&mut self, egress: PortId, index: usize) {
        let Some(Some(port)) = self.ports.get_mut(egress.0 as usize) else {
            return;
        };
        if port.share.is_empty() {
            self.touched.push(egress);
        }
        port.share.push(index);
    }

    fn hand_to_all(&mut self, ingress: PortId, index: usize) {
        for egress in self.bridge.flood_ports(ingress) {
            let Some(Some(port)) = self.ports.get_mut(egress.0 as usize) else {
                continue;
            };
            if port.share.is_empty() {
                self.touched.push(egress);
            }
            port.share.push(index);
        }
    }

    fn flush(&mut self, frames: &Frames<'_>, routes: &Routes) -> Option<Rc<Link>> {
        let mut congested = None;
        for id in self.touched.drain(..) {
            let Some(Some(port)) = self.ports.get_mut(id.0 as usize) else {
                continue;
            };
            port.flush(frames, routes, &mut self.segments);
            if let PortIo::Cable(link) = &port.io
                && link.is_congested()
            {
                congested = Some(link.clone());
            }
        }
        congested
    }
}
