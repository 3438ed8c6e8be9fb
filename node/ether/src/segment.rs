//! Does in software what a virtio-net header asks for, for ports that cannot: cuts a super-frame
//! into frames and completes partial checksums.
//!
//! The segments are what a sender without offload would have sent: IPv4 identification and TCP
//! sequence count up, FIN and PSH stay with the last segment and CWR with the first (RFC 3168
//! 6.1.2), lengths and checksums are each segment's own, computed from the headers alone. A single
//! frame is summed as the header says, whatever its protocol, on top of what the sender left in the
//! field (VIRTIO 1.2, 5.1.6.2). Frames are not padded to the Ethernet minimum.

mod checksum;
#[cfg(test)]
mod tests;

use checksum::Sum;

use crate::vnet::{Gso, Layout, Network, Transport, VnetError, VnetHeader, Work, tcp};

/// Finished frames, one behind the other in memory that is used again.
///
/// It never shrinks. One super-frame adds at most [`MAX_SEGMENTS`](crate::vnet::MAX_SEGMENTS)
/// frames and, headers included, less than 400 KiB.
#[derive(Debug, Clone, Default)]
pub struct SegmentBuffer {
    bytes: Vec<u8>,
    /// Where each frame ends in `bytes`, ascending; it starts where the one before ends.
    ends: Vec<usize>,
}

impl SegmentBuffer {
    /// An empty buffer that has not allocated.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), ends: Vec::new() }
    }

    /// Forgets all frames and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// How many frames there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The frames, in the order in which they are to be sent.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| &self.bytes[std::mem::replace(&mut start, end)..end])
    }

    /// Appends a frame made of two parts, and hands it out to be finished.
    fn push(&mut self, head: &[u8], tail: &[u8]) -> &mut [u8] {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(head);
        self.bytes.extend_from_slice(tail);
        self.ends.push(self.bytes.len());
        &mut self.bytes[start..]
    }
}

/// Appends to `out` the frame or frames that a port without virtio-net headers takes in place of
/// `frame`: at least one, each at most [`MAX_FRAME`](crate::limits::MAX_FRAME) octets long and
/// with all checksums complete.
///
/// # Errors
/// [`VnetError`] when [`VnetHeader::validate`] refuses the pair; `out` is then as it was.
pub fn split_into(
    header: VnetHeader,
    frame: &[u8],
    out: &mut SegmentBuffer,
) -> Result<(), VnetError> {
    match header.check(frame)? {
        Work::None => {
            out.push(frame, &[]);
        }
        Work::Sum { from, at, end } => {
            let checksum = Sum::new().add(&frame[from..end]).finish();
            out.push(frame, &[])[at..at + 2].copy_from_slice(&never_zero(checksum));
        }
        Work::Cut(layout, gso) => cut(&layout, gso, frame, out),
    }
    Ok(())
}

fn cut(layout: &Layout, gso: Gso, frame: &[u8], out: &mut SegmentBuffer) {
    let (headers, payload) = frame[..layout.end].split_at(layout.payload_at);
    let size = usize::from(gso.segment_size);
    let count = payload.len().div_ceil(size).max(1);
    out.bytes.reserve(count * headers.len() + payload.len());
    out.ends.reserve(count);
    let addresses = Sum::new().add(&frame[layout.addresses()]);
    for index in 0..count {
        let start = index * size;
        let end = payload.len().min(start + size);
        let segment = out.push(headers, &payload[start..end]);
        let place = Place { index: short(index), start: short(start), last: index + 1 == count };
        finish_network(layout, place, segment);
        match layout.transport {
            Transport::Tcp => finish_tcp(layout, place, segment),
            Transport::Udp => {
                let len = short(segment.len() - layout.transport_at);
                put(segment, layout.transport_at + 4, len);
            }
        }
        complete(layout, addresses, segment);
    }
}

/// Where a segment stands in its super-frame.
#[derive(Clone, Copy)]
struct Place {
    index: u16,
    /// Octets of payload in the segments before.
    start: u16,
    last: bool,
}

/// Gives a segment its own IP length and, in IPv4, its own identification and header checksum.
fn finish_network(layout: &Layout, place: Place, segment: &mut [u8]) {
    let at = layout.network_at;
    match layout.network {
        Network::V4 => {
            put(segment, at + 2, short(segment.len() - at));
            put(segment, at + 4, get(segment, at + 4).wrapping_add(place.index));
            put(segment, at + 10, 0);
            let sum = Sum::new().add(&segment[at..layout.transport_at]);
            segment[at + 10..at + 12].copy_from_slice(&sum.finish());
        }
        Network::V6 => put(segment, at + 4, short(segment.len() - layout.transport_at)),
    }
}

fn finish_tcp(layout: &Layout, place: Place, segment: &mut [u8]) {
    let header = &mut segment[layout.transport_at..layout.payload_at];
    let sequence = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    let sequence = sequence.wrapping_add(u32::from(place.start));
    header[4..8].copy_from_slice(&sequence.to_be_bytes());
    let mut flags = header[tcp::FLAGS_AT];
    if !place.last {
        flags &= !(tcp::FIN | tcp::PSH);
    }
    if place.index > 0 {
        flags &= !tcp::CWR;
    }
    if flags & tcp::URG != 0 {
        // The urgent pointer counts from the segment's own sequence number.
        let urgent = get(header, tcp::URGENT_AT).saturating_sub(place.start);
        put(header, tcp::URGENT_AT, urgent);
        if urgent == 0 {
            flags &= !tcp::URG;
        }
    }
    header[tcp::FLAGS_AT] = flags;
}

/// Sums the transport checksum of a frame that ends with its IP packet.
fn complete(layout: &Layout, addresses: Sum, frame: &mut [u8]) {
    let at = layout.transport_at + usize::from(layout.transport.checksum_at());
    put(frame, at, 0);
    let packet = &frame[layout.transport_at..];
    let pseudo_header =
        addresses.add_number(short(packet.len())).add_number(layout.transport.protocol().into());
    let checksum = never_zero(pseudo_header.add(packet).finish());
    frame[at..at + 2].copy_from_slice(&checksum);
}

/// In UDP zero would say that there is no checksum (RFC 768). Its complement is the same number to
/// whoever verifies, so that it serves every protocol.
fn never_zero(checksum: [u8; 2]) -> [u8; 2] {
    if checksum == [0; 2] { [0xff; 2] } else { checksum }
}

fn get(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

fn short(len: usize) -> u16 {
    u16::try_from(len).expect("a length within an IP packet, whose own is a 16-bit field")
}
