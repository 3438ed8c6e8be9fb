//! A cable as a bridge port.

use std::rc::Rc;

use arrayvec::ArrayVec;
use bytes::Bytes;
use cable::Link;
use cable::link::Drained;
use ether::VnetHeader;
use fabric::{DropReason, PortId};
use mesh::framing::{Reach, Received, RecordHeader};

use super::{Counters, Part};
use crate::driver::{Shard, now};
use crate::plane::{Frame, Frames, MAX_HOPS, Origin, Routes};

/// Whether a cable takes a frame as it is.
pub(super) fn goes_whole(link: &Link, vnet: &VnetHeader) -> bool {
    vnet.is_plain() || link.takes_super_frames() || (link.takes_vnet() && !vnet.is_super_frame())
}

/// Sends frames packed together.
pub(super) fn send(link: &Link, parts: &[Part<'_>], routes: &Routes, counters: &mut Counters) {
    let records = parts.iter().filter_map(|part| {
        let route = &routes[part.index];
        let header = RecordHeader {
            hops: route.hops?,
            ingress: route.ingress,
            reach: match route.flood {
                Some(sequence) => Reach::Flood { sequence },
                None => Reach::Unicast { egress: None },
            },
            vnet: (!part.vnet.is_plain()).then(|| part.vnet.encode()),
        };
        Some((header, part.bytes))
    });
    let sent = link.send(records);
    counters.tx_frames += sent.frames;
    counters.tx_bytes += sent.octets;
    counters.drops.record_many(DropReason::QueueFull, sent.queue_full);
    counters.drops.record_many(DropReason::Oversize, sent.oversize);
    let tried = sent.frames + sent.queue_full + sent.oversize;
    counters.drops.record_many(DropReason::HopLimit, parts.len() as u64 - tried);
}

/// Takes in what comes by a cable until it ends.
pub(crate) async fn pump(shard: &Shard, id: PortId, link: Rc<Link>) {
    let mut received = Received::<Bytes>::new();
    // The end of the connection is the cable's to tell; here it only ends the reading.
    while let Ok(drained) = link.receive(&mut received).await {
        relay(shard, id, &received);
        received.clear();
        if drained == Drained::All {
            tokio::task::yield_now().await;
        }
    }
}

fn relay(shard: &Shard, id: PortId, received: &Received<Bytes>) {
    let mut plane = shard.plane.borrow_mut();
    let mut frames: Frames<'_> = ArrayVec::new();
    for (header, bytes) in received.iter() {
        let Some(vnet) = checked_vnet(header, bytes) else {
            plane.record_drops(id, DropReason::BadVnetHeader, 1);
            continue;
        };
        let flood = match header.reach {
            Reach::Flood { sequence } => Some(sequence),
            Reach::Unicast { .. } => None,
        };
        let origin =
            Some(Origin { ingress: header.ingress, hops: header.hops.min(MAX_HOPS), flood });
        frames.push(Frame { bytes, vnet, origin });
        if frames.is_full() {
            plane.relay(id, &frames, now());
            frames.clear();
        }
    }
    if !frames.is_empty() {
        plane.relay(id, &frames, now());
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
