//! A cable as a bridge port.

use std::rc::Rc;

use arrayvec::ArrayVec;
use bytes::Bytes;
use cable::Link;
use cable::link::Drained;
use ether::VnetHeader;
use fabric::{DropReason, PortId};
use mesh::framing::{Received, RecordHeader};

use super::{Counters, Part};
use crate::driver::{Shard, now};
use crate::plane::{Frame, Frames, Route, Routes};

/// The most hops that a frame may have left: one that claims more is not believed.
const MAX_HOPS: u8 = 63;

/// Whether a cable takes a frame as it is.
pub(super) fn goes_whole(link: &Link, vnet: &VnetHeader) -> bool {
    vnet.is_plain() || link.takes_super_frames() || (link.takes_vnet() && !vnet.is_super_frame())
}

/// Sends frames packed together.
pub(super) fn send(link: &Link, parts: &[Part<'_>], routes: &Routes, counters: &mut Counters) {
    let records = parts.iter().map(|part| {
        let Route { ingress, hops, reach } = routes[part.index];
        let vnet = (!part.vnet.is_plain()).then(|| part.vnet.encode());
        (RecordHeader { hops, ingress, reach, vnet }, part.bytes)
    });
    let sent = link.send(records);
    counters.tx_frames += sent.frames;
    counters.tx_bytes += sent.octets;
    let lost = link.take_drops();
    counters.drops.record_many(DropReason::QueueFull, lost.full);
    counters.drops.record_many(DropReason::CoDel, lost.codel);
    counters.drops.record_many(DropReason::Oversize, sent.oversize);
}

/// Takes in what comes by a cable until it ends.
pub(crate) async fn pump(shard: &Shard, id: PortId, link: Rc<Link>) {
    let mut received = Received::<Bytes>::new();
    let mut beats = Vec::new();
    // The end of the connection is the cable's to tell; here it only ends the reading.
    while let Ok(drained) = link.receive(&mut received, &mut beats).await {
        if !beats.is_empty() {
            let mut plane = shard.plane.borrow_mut();
            plane.handle_beats(id, &beats, now());
            beats.clear();
            // Beats come all the time; frames to send may have ceased.
            let lost = link.take_drops();
            plane.record_drops(id, DropReason::QueueFull, lost.full);
            plane.record_drops(id, DropReason::CoDel, lost.codel);
        }
        relay(shard, id, &received).await;
        received.clear();
        if drained == Drained::All {
            tokio::task::yield_now().await;
        }
    }
    let left = link.give_up() as u64;
    shard.plane.borrow_mut().record_drops(id, DropReason::PeerGone, left);
}

/// Relays what came, in as many turns as it needs; the turn after the last is the caller's to give.
async fn relay(shard: &Shard, id: PortId, received: &Received<Bytes>) {
    let mut frames: Frames<'_> = ArrayVec::new();
    for (header, bytes) in received.iter() {
        let Some(vnet) = checked_vnet(header, bytes) else {
            shard.plane.borrow_mut().record_drops(id, DropReason::BadVnetHeader, 1);
            continue;
        };
        let RecordHeader { ingress, hops, reach, .. } = *header;
        let origin = Some(Route { ingress, hops: hops.min(MAX_HOPS), reach });
        frames.push(Frame { bytes, held: None, vnet, origin });
        if frames.is_full() {
            relay_batch(shard, id, &frames).await;
            frames.clear();
        }
    }
    if !frames.is_empty() {
        relay_batch(shard, id, &frames).await;
    }
}

async fn relay_batch(shard: &Shard, id: PortId, frames: &Frames<'_>) {
    let mut from = 0;
    loop {
        let relayed = shard.plane.borrow_mut().relay(id, frames, from, now());
        match relayed.next {
            None => return,
            Some(next) => from = next,
        }
        // The other ports have their turns.
        tokio::task::yield_now().await;
    }
}

/// The virtio-net header that came with a frame. Another node's word is not taken for it: a kernel
/// or a guest will act on these offsets.
fn checked_vnet(header: &RecordHeader, frame: &[u8]) -> Option<VnetHeader> {
    let Some(octets) = &header.vnet else {
        return Some(VnetHeader::PLAIN);
    };
    let vnet = VnetHeader::parse(octets).ok()?;
    vnet.validate(frame).ok()?;
    Some(vnet)
}
