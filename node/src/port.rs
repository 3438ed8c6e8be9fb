//! Bridge ports: what is behind each, its counters, and how a batch leaves through it.

pub(crate) mod batches;
mod buffers;
pub(crate) mod cable;
pub(crate) mod dgram;
pub(crate) mod stream;
pub(crate) mod tap;
pub(crate) mod turn;
pub(crate) mod vde;

use std::rc::Rc;
use std::time::Instant;

use ::cable::Link;
use arrayvec::ArrayVec;
use ether::segment::{SegmentBuffer, split_into};
use ether::{TagAction, VnetHeader};
use fabric::{Bridge, DropCounters, DropReason, PortId, PortKind};
use tokio::sync::Notify;
use vdeplug::dgram::DgramPort;
use vdeplug::mmsg::RecvBatch;
use vdeplug::stream::StreamPort;
use vdeplug::{Plug, SendError, SendOutcome};

use crate::driver::{Shard, now};
use crate::plane::{BATCH, Frame, Frames, Relayed, Route, Routes};
use crate::pressure::{Congested, Patience, wait_for_room};
use crate::wire::Wire;
use crate::wire::edit::OUT;
use crate::wire::lane::{Cargo, Lane};
use crate::wire::octets::{Held, Octets};
use crate::wire::pairs::Pairs;

/// What moves through a port. Every counter is of frames or octets since the port came into use.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters {
    /// Frames accepted from it.
    pub(crate) rx_frames: u64,
    /// Their octets.
    pub(crate) rx_bytes: u64,
    /// Frames that left through it, after segmentation.
    pub(crate) tx_frames: u64,
    /// Their octets.
    pub(crate) tx_bytes: u64,
    /// Frames lost on the way in or out.
    pub(crate) drops: DropCounters,
}

/// What is behind a port.
#[derive(Debug, Clone)]
pub(crate) enum PortIo {
    /// A client of the VDE socket.
    Vde(Rc<Plug>),
    /// A client of a stream socket.
    Stream(Rc<StreamPort>),
    /// The other end of a datagram or sequenced-packet socket.
    Dgram(Rc<DgramPort>),
    /// An interface of this host.
    Tap(Rc<tap::Tap>),
    /// Another node.
    Cable(Rc<Link>),
}

impl PortIo {
    /// The word for it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Vde(_) => "vde",
            Self::Stream(_) => "stream",
            Self::Dgram(port) if port.is_sequenced() => "seqpacket",
            Self::Dgram(_) => "dgram",
            Self::Tap(_) => "tap",
            Self::Cable(_) => "cable",
        }
    }

    /// Its role in the bridge.
    pub(crate) fn role(&self) -> PortKind {
        match self {
            Self::Vde(_) | Self::Stream(_) | Self::Dgram(_) | Self::Tap(_) => PortKind::Access,
            Self::Cable(_) => PortKind::Cable,
        }
    }
}

/// A process of this host, as the kernel tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Unless it is invisible from here.
    pub(crate) pid: Option<u32>,
    pub(crate) uid: u32,
}

impl From<vdeplug::PeerCredentials> for Peer {
    fn from(peer: vdeplug::PeerCredentials) -> Self {
        Self { pid: peer.pid.and_then(|pid| u32::try_from(pid).ok()), uid: peer.uid }
    }
}

/// The number of an endpoint: never used twice in one run of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EndpointId(pub(crate) u32);

/// One of those who share a port. They never hear each other, and all hear what is sent to the port.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) id: EndpointId,
    pub(crate) io: PortIo,
    /// The client's own words, the interface's name, or the peer's name.
    pub(crate) description: String,
    /// The longest frame, without virtio-net header, that it takes.
    pub(crate) max_frame: usize,
    /// Which process of this host it is, when it is one.
    pub(crate) peer: Option<Peer>,
    /// Told when an operator wants it out.
    pub(crate) cut: Rc<Notify>,
    pub(crate) patience: Patience,
}

/// Who may plug into a port that is out of use. Nobody named: everyone. Root always may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) user: Option<u32>,
    pub(crate) group: Option<u32>,
}

/// A bridge port.
#[derive(Debug, Default)]
pub(crate) struct Port {
    /// At least one, or the port is out of use and only its number and counters remain.
    pub(crate) endpoints: Vec<Endpoint>,
    /// Whose it is as long as it has endpoints; only they may join it.
    pub(crate) user: Option<u32>,
    pub(crate) access: Access,
    /// Given only to who asks for it by number.
    pub(crate) reserved: bool,
    pub(crate) counters: Counters,
    /// What makes the link to it worse than it is.
    pub(crate) wire: Option<Rc<Wire>>,
    /// Indices of the frames of the present batch that leave here.
    pub(crate) share: Vec<usize>,
    /// Those of them whose tag has to change first.
    pub(crate) tags: Vec<(usize, TagAction)>,
}

/// A frame in the form in which a port takes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    /// The frame of the batch that it is, or is a segment of.
    pub(crate) index: usize,
    /// What is left to be done to it.
    pub(crate) vnet: VnetHeader,
    pub(crate) bytes: &'a [u8],
    /// The place where it was received, if that can be kept and the frame is not cut.
    pub(crate) held: Option<&'a Held>,
}

/// Where frames between certain stations are led through a wire of their own.
#[derive(Debug)]
pub(crate) struct Divert<'a> {
    pub(crate) pairs: &'a Pairs,
    pub(crate) bridge: &'a Bridge,
    pub(crate) egress: PortId,
}

impl Divert<'_> {
    fn lane(&self, frame: &[u8], now: Instant) -> Option<Rc<Lane>> {
        self.pairs.lane(frame, self.egress, self.bridge, now)
    }
}

impl Endpoint {
    /// Whether super-frames cross it whole.
    pub(crate) fn has_offload(&self) -> bool {
        match &self.io {
            PortIo::Vde(_) | PortIo::Stream(_) | PortIo::Dgram(_) => false,
            PortIo::Tap(tap) => tap.device.has_vnet(),
            PortIo::Cable(link) => link.takes_super_frames(),
        }
    }

    fn takes_whole(&self, vnet: &VnetHeader) -> bool {
        vnet.is_plain()
            || match &self.io {
                PortIo::Vde(_) | PortIo::Stream(_) | PortIo::Dgram(_) => false,
                PortIo::Tap(tap) => tap.device.has_vnet(),
                PortIo::Cable(link) => cable::goes_whole(link, vnet),
            }
    }

    fn send(&self, parts: &[Part<'_>], routes: &Routes, counters: &mut Counters) {
        match &self.io {
            PortIo::Vde(plug) => {
                send_plain(parts, self.max_frame, counters, |frames| plug.try_send_batch(frames));
            }
            PortIo::Stream(port) => {
                send_plain(parts, self.max_frame, counters, |frames| port.try_send_batch(frames));
            }
            PortIo::Dgram(port) => {
                send_plain(parts, self.max_frame, counters, |frames| port.try_send_batch(frames));
            }
            PortIo::Tap(tap) => {
                parts.iter().for_each(|part| tap.send(part, routes[part.index].ingress, counters));
            }
            PortIo::Cable(link) => cable::send(link, parts, routes, counters),
        }
    }
}

/// Relays a turn's worth of what a port without virtio-net headers has brought, which is at most a
/// batch, from the frame at `from` on; nothing stands for a frame that was too long to be taken.
fn relay_plain<'a>(
    shard: &Shard,
    id: PortId,
    brought: impl Iterator<Item = Option<&'a [u8]>>,
    from: usize,
) -> Relayed {
    // Both batches of datagrams and those of a stream are of this size.
    const { assert!(BATCH >= vdeplug::mmsg::BATCH) };
    let mut frames: Frames<'_> = ArrayVec::new();
    let mut oversize = 0;
    for bytes in brought {
        match bytes {
            Some(bytes) => frames.push(Frame::plain(bytes)),
            None => oversize += 1,
        }
    }
    let mut plane = shard.plane.borrow_mut();
    if oversize > 0 && from == 0 {
        plane.record_drops(id, DropReason::Oversize, oversize);
    }
    plane.relay(id, &frames, from, now())
}

/// Takes a batch of datagrams, each of which is a frame, from a socket and relays it, in as many turns
/// as it needs; the turn after the last is given before the next batch.
async fn relay_datagrams<E>(
    shard: &Shard,
    id: PortId,
    receive: impl FnOnce(&mut RecvBatch) -> Result<usize, E>,
) -> Result<(), E> {
    let mut batch = shard.batches.lend().await;
    receive(&mut batch)?;
    let relay = |batch: &RecvBatch, from| {
        let frames = batch.iter().map(|datagram| (!datagram.truncated).then_some(datagram.bytes));
        relay_plain(shard, id, frames, from)
    };
    let mut relayed = relay(&batch, 0);
    while let Some(next) = relayed.next {
        // The other ports have their turns.
        tokio::task::yield_now().await;
        let congested = relayed.congested.take();
        relayed = relay(&batch, next);
        relayed.congested = relayed.congested.or(congested);
    }
    drop(batch);
    wait_for_room(relayed.congested).await;
    Ok(())
}

/// Sends plain frames without waiting.
fn send_plain(
    parts: &[Part<'_>],
    max_frame: usize,
    counters: &mut Counters,
    try_send_batch: impl Fn(&[&[u8]]) -> SendOutcome,
) {
    let fitting = parts.iter().map(|part| part.bytes).filter(|bytes| bytes.len() <= max_frame);
    let frames: ArrayVec<&[u8], BATCH> = fitting.collect();
    counters.drops.record_many(DropReason::Oversize, (parts.len() - frames.len()) as u64);
    let mut rest = &frames[..];
    while !rest.is_empty() {
        let outcome = try_send_batch(rest);
        let (sent, unsent) = rest.split_at(outcome.sent);
        counters.tx_frames += sent.len() as u64;
        counters.tx_bytes += sent.iter().map(|frame| frame.len() as u64).sum::<u64>();
        let (reason, lost) = match outcome.stopped {
            None => return,
            // The queue of this port alone is full; Ethernet drops.
            Some(SendError::WouldBlock) => (DropReason::QueueFull, unsent.len()),
            Some(SendError::PeerGone) => (DropReason::PeerGone, unsent.len()),
            Some(SendError::TooLong) => (DropReason::Oversize, 1),
            Some(SendError::Other(_)) => (DropReason::SendFailed, 1),
        };
        counters.drops.record_many(reason, lost as u64);
        rest = &unsent[lost..];
    }
}

impl Port {
    /// Takes note that a frame of the present batch leaves here.
    #[inline]
    pub(crate) fn hand(&mut self, index: usize, tag: TagAction) {
        self.share.push(index);
        if tag != TagAction::AsIs {
            self.tags.push((index, tag));
        }
    }

    /// Sends this port's share of a batch to each of its endpoints, or puts it into the wires on
    /// the way there. Gives the endpoint whose queue is filling, if there is one.
    pub(crate) fn flush(
        &mut self,
        frames: &Frames<'_>,
        routes: &Routes,
        (segments, retagged): (&mut SegmentBuffer, &mut Vec<u8>),
        divert: Option<Divert<'_>>,
        now: Instant,
    ) -> Option<Congested> {
        let mut share = std::mem::take(&mut self.share);
        let own;
        let frames = if self.tags.is_empty() {
            frames
        } else {
            own = retag(frames, &mut share, &self.tags, retagged, &mut self.counters);
            self.tags.clear();
            &own
        };
        if let Some(divert) = divert {
            share.retain(|index| {
                let Some(lane) = divert.lane(frames[*index].bytes, now) else {
                    return true;
                };
                let egress = divert.egress;
                let cargo = |vnet, route| Cargo::Pair { vnet, route, egress };
                self.push(&lane, &[*index], frames, routes, segments, cargo, now);
                false
            });
        }
        let congested = self.send_share_by_wire(&share, frames, routes, segments, now);
        share.clear();
        self.share = share;
        congested
    }

    /// Sends a whole batch, through the port's wire if it has one.
    pub(crate) fn send_by_wire(
        &mut self,
        frames: &Frames<'_>,
        routes: &Routes,
        segments: &mut SegmentBuffer,
        now: Instant,
    ) -> Option<Congested> {
        let share: ArrayVec<usize, BATCH> = (0..frames.len()).collect();
        self.send_share_by_wire(&share, frames, routes, segments, now)
    }

    fn send_share_by_wire(
        &mut self,
        share: &[usize],
        frames: &Frames<'_>,
        routes: &Routes,
        segments: &mut SegmentBuffer,
        now: Instant,
    ) -> Option<Congested> {
        let Some(lane) = self.wire.as_ref().and_then(|wire| wire.active(OUT)).cloned() else {
            return self.send_share(share, frames, routes, segments);
        };
        let cargo = |vnet, route| Cargo::Out { vnet, route };
        self.push(&lane, share, frames, routes, segments, cargo, now);
        None
    }

    /// Puts frames into a wire.
    #[expect(clippy::too_many_arguments, reason = "a batch is three things")]
    fn push(
        &mut self,
        lane: &Lane,
        share: &[usize],
        frames: &Frames<'_>,
        routes: &Routes,
        segments: &mut SegmentBuffer,
        cargo: impl Fn(VnetHeader, Route) -> Cargo,
        now: Instant,
    ) {
        let whole = |vnet: &VnetHeader| vnet.is_plain() || lane.takes_whole();
        emit(share, frames, whole, segments, &mut self.counters, |_, parts| {
            for part in parts {
                let bytes = Octets::keep(part.bytes, part.held);
                lane.push(bytes, cargo(part.vnet, routes[part.index]), now);
            }
        });
        self.counters.drops.record_many(DropReason::Wire, lane.settle(now));
    }

    /// Sends a whole batch that has crossed the port's wire, if it has one.
    pub(crate) fn send_all(
        &mut self,
        frames: &Frames<'_>,
        routes: &Routes,
        segments: &mut SegmentBuffer,
    ) -> Option<Congested> {
        let share: ArrayVec<usize, BATCH> = (0..frames.len()).collect();
        self.send_share(&share, frames, routes, segments)
    }

    fn send_share(
        &mut self,
        share: &[usize],
        frames: &Frames<'_>,
        routes: &Routes,
        segments: &mut SegmentBuffer,
    ) -> Option<Congested> {
        let mut congested = None;
        for endpoint in &self.endpoints {
            let whole = |vnet: &VnetHeader| endpoint.takes_whole(vnet);
            emit(share, frames, whole, segments, &mut self.counters, |counters, parts| {
                endpoint.send(parts, routes, counters);
            });
            congested =
                Congested::look(&endpoint.io, &endpoint.patience, share.len()).or(congested);
        }
        congested
    }
}

/// The frames of a batch as one port sends them. A frame that has no room for its tag, or no sense
/// with it, leaves the share.
fn retag<'a>(
    frames: &Frames<'a>,
    share: &mut Vec<usize>,
    tags: &[(usize, TagAction)],
    octets: &'a mut Vec<u8>,
    counters: &mut Counters,
) -> Frames<'a> {
    octets.clear();
    // All of them first, because the buffer grows with them; then they can be lent out.
    let mut changed = ArrayVec::<_, BATCH>::new();
    for &(index, tag) in tags {
        let Frame { bytes, vnet, .. } = frames[index];
        let start = octets.len();
        match tag.apply(vnet, bytes, octets) {
            Ok(vnet) => changed.push((index, start..octets.len(), vnet)),
            Err(err) => {
                counters.drops.record(DropReason::from(err));
                share.retain(|shared| *shared != index);
            }
        }
    }
    let mut own = frames.clone();
    for (index, place, vnet) in changed {
        own[index] = Frame { bytes: &octets[place], held: None, vnet, ..own[index] };
    }
    own
}

/// Gives `send` the frames of a share in batches, those that do not go `whole` cut and completed.
pub(crate) fn emit(
    share: &[usize],
    frames: &Frames<'_>,
    whole: impl Fn(&VnetHeader) -> bool,
    segments: &mut SegmentBuffer,
    counters: &mut Counters,
    mut send: impl FnMut(&mut Counters, &[Part<'_>]),
) {
    // All segments come first, because the buffer grows with them; then they can be lent out.
    segments.clear();
    let mut cut = ArrayVec::<usize, BATCH>::new();
    for &index in share {
        let Frame { bytes, vnet, .. } = frames[index];
        if !whole(&vnet) {
            let before = segments.len();
            if let Err(err) = split_into(vnet, bytes, segments) {
                counters.drops.record(DropReason::from(err));
            }
            cut.push(segments.len() - before);
        }
    }
    let mut segments = segments.iter();
    let mut cut = cut.into_iter();
    let mut parts = ArrayVec::<Part<'_>, BATCH>::new();
    let mut push = |part| {
        parts.push(part);
        if parts.is_full() {
            send(counters, &parts);
            parts.clear();
        }
    };
    for &index in share {
        let Frame { bytes, held, vnet, .. } = frames[index];
        if whole(&vnet) {
            push(Part { index, vnet, bytes, held });
        } else {
            for bytes in segments.by_ref().take(cut.next().unwrap_or(0)) {
                push(Part { index, vnet: VnetHeader::PLAIN, bytes, held: None });
            }
        }
    }
    if !parts.is_empty() {
        send(counters, &parts);
    }
}
