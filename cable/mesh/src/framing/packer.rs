//! Frames into datagrams.

use std::ops::Range;

use ether::limits::HEADER_LEN;

use super::record::RecordHeader;
use super::{DATAGRAM_HEADER_LEN, DatagramHeader, SEQUENCE_MASK};

/// The smallest datagram that is packed.
///
/// Every QUIC path carries UDP payloads of 1200 octets (RFC 9000 14), which leaves more than 1150
/// for a datagram. The bound is lower so that a small window of datagrams is sure to hold the
/// longest record, and no lower.
pub const MIN_DATAGRAM_SIZE: usize = 512;

/// The largest datagram: what fits UDP over IPv4 (65 535 less 20 and 8).
pub const MAX_DATAGRAM_SIZE: usize = 65_507;

/// Every so many datagrams one is only half as long as the others.
///
/// A QUIC implementation may put all waiting datagrams in front of all stream data; quinn does.
/// While datagrams that fill their packets never cease, the control stream then never gets a
/// turn. Behind a half-size datagram the next full one does not fit, so that the rest of that
/// packet is left to STREAM frames. The price is half a packet in 128, and a segmentation batch that
/// ends early; at 100 Mbit/s a turn comes every 15 ms.
pub const STREAM_ROOM_INTERVAL: u32 = 128;

/// How many octets a batch may hold before [`Packer::push`] refuses: 64 super-frames.
///
/// A bound against a caller that forgets to take. Who packs for a real cable takes far earlier,
/// by [`Packer::pending_octets`].
pub const MAX_BATCH_OCTETS: usize = 64 * 65_536;

const DEFAULT_DATAGRAM_SIZE: usize = 1162;

/// The frame was not packed; the packer is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// No Ethernet header: nobody could relay it.
    #[error("frame of {0} octets is shorter than its header")]
    Runt(usize),
    /// Longer than [`RecordHeader::max_frame`].
    #[error("frame of {len} octets exceeds the limit of {limit}")]
    TooLong {
        /// Length of the frame.
        len: usize,
        /// How long it may be.
        limit: usize,
    },
    /// The batch has [`MAX_BATCH_OCTETS`]: take it first.
    #[error("batch of {0} octets is full; take it before packing more")]
    BatchFull(usize),
}

/// Lays frames end to end and cuts the result into datagrams of equal size.
///
/// One packer serves one connection for its whole life, for the sequence numbers belong to the
/// connection. Everything happens in the call: a datagram stays open between two pushes, never
/// across [`Packer::flush`].
#[derive(Debug)]
pub struct Packer {
    octets: Vec<u8>,
    /// Where the finished datagrams in `octets` end.
    ends: Vec<usize>,
    open: Option<Open>,
    /// Of the next datagram; 24 bits.
    sequence: u32,
    size: usize,
    /// Octets of the batch before: the next one is likely to be as long.
    expected: usize,
}

/// The datagram at the end of the batch that still has room.
#[derive(Debug, Clone, Copy)]
struct Open {
    start: usize,
    end: usize,
    sequence: u32,
    record_starts: bool,
}

impl Default for Packer {
    fn default() -> Self {
        Self::new()
    }
}

impl Packer {
    /// A packer at sequence 0, with datagrams of 1162 octets: what quinn can send over a path
    /// that it knows nothing about.
    pub fn new() -> Self {
        Self {
            octets: Vec::new(),
            ends: Vec::new(),
            open: None,
            sequence: 0,
            size: DEFAULT_DATAGRAM_SIZE,
            expected: 0,
        }
    }

    /// Sets the length of a full datagram, in octets, header included, from the next datagram on.
    ///
    /// Taken into [`MIN_DATAGRAM_SIZE`] to [`MAX_DATAGRAM_SIZE`]. Follow the connection with it:
    /// the size grows as path MTU discovery goes on, and may shrink.
    pub fn set_datagram_size(&mut self, size: usize) {
        self.size = size.clamp(MIN_DATAGRAM_SIZE, MAX_DATAGRAM_SIZE);
    }

    /// Appends one frame.
    ///
    /// # Errors
    /// [`PackError`] when the frame is too short or too long, or the batch too big.
    pub fn push(&mut self, header: &RecordHeader, frame: &[u8]) -> Result<(), PackError> {
        if frame.len() < HEADER_LEN {
            return Err(PackError::Runt(frame.len()));
        }
        let limit = header.max_frame();
        if frame.len() > limit {
            return Err(PackError::TooLong { len: frame.len(), limit });
        }
        if self.octets.len() >= MAX_BATCH_OCTETS {
            return Err(PackError::BatchFull(self.octets.len()));
        }
        self.start_record();
        let (prefix, len) = header.encode(frame.len());
        self.append(&prefix[..len]);
        self.append(frame);
        Ok(())
    }

    /// Ends the open datagram, however short it is. Nothing happens when none is open.
    pub fn flush(&mut self) {
        if self.open.take().is_some() {
            self.ends.push(self.octets.len());
        }
    }

    /// Octets in the batch so far, of finished datagrams and the open one.
    pub fn pending_octets(&self) -> usize {
        self.octets.len()
    }

    /// Takes the finished datagrams; `None` when there are none.
    ///
    /// An open datagram stays behind: take without flushing to bound a batch while more frames
    /// are at hand, and flush before the last take.
    pub fn take(&mut self) -> Option<Packed> {
        let finished = *self.ends.last()?;
        let rest = match &mut self.open {
            Some(open) => {
                open.start -= finished;
                open.end -= finished;
                self.octets.split_off(finished)
            }
            None => Vec::new(),
        };
        let octets = std::mem::replace(&mut self.octets, rest);
        self.expected = octets.len();
        Some(Packed { octets, ends: std::mem::take(&mut self.ends) })
    }

    fn start_record(&mut self) {
        let mut open = self.open.unwrap_or_else(|| self.start_datagram());
        if !open.record_starts {
            open.record_starts = true;
            let offset = self.octets.len() - open.start - DATAGRAM_HEADER_LEN;
            let first = Some(u16::try_from(offset).expect("MAX_DATAGRAM_SIZE fits an offset"));
            let header = DatagramHeader { sequence: open.sequence, first }.encode();
            self.octets[open.start..][..DATAGRAM_HEADER_LEN].copy_from_slice(&header);
        }
        self.open = Some(open);
    }

    fn start_datagram(&mut self) -> Open {
        if self.octets.is_empty() {
            self.octets.reserve(self.expected.max(self.size));
        }
        let sequence = self.sequence;
        self.sequence = (sequence + 1) & SEQUENCE_MASK;
        let makes_room = sequence % STREAM_ROOM_INTERVAL == STREAM_ROOM_INTERVAL - 1;
        let size = if makes_room { self.size / 2 } else { self.size };
        let start = self.octets.len();
        let header = DatagramHeader { sequence, first: None }.encode();
        self.octets.extend_from_slice(&header);
        Open { start, end: start + size, sequence, record_starts: false }
    }

    fn append(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            let open = self.open.unwrap_or_else(|| self.start_datagram());
            let room = open.end - self.octets.len();
            let (now, later) = octets.split_at(room.min(octets.len()));
            self.octets.extend_from_slice(now);
            octets = later;
            self.open = Some(open);
            if self.octets.len() == open.end {
                self.flush();
            }
        }
    }
}

/// A batch of datagrams, one after the other in one buffer.
///
/// All are equally long, except the last before each flush, which is shorter, those that follow
/// a change of the size, and one in [`STREAM_ROOM_INTERVAL`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    octets: Vec<u8>,
    ends: Vec<usize>,
}

impl Packed {
    /// The buffer.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// How many datagrams there are; at least one.
    #[expect(clippy::len_without_is_empty, reason = "a batch is never empty")]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Where each datagram lies in the buffer, in the order of sending.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = Range<usize>> + '_ {
        let mut start = 0;
        self.ends.iter().map(move |&end| std::mem::replace(&mut start, end)..end)
    }

    /// The buffer itself and the ranges, for a shell that makes one shared buffer of it.
    pub fn into_parts(self) -> (Vec<u8>, Ranges) {
        (self.octets, Ranges { start: 0, ends: self.ends.into_iter() })
    }
}

/// The ranges of a [`Packed`] that was taken apart.
#[derive(Debug, Clone)]
pub struct Ranges {
    start: usize,
    ends: std::vec::IntoIter<usize>,
}

impl Iterator for Ranges {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Self::Item> {
        let end = self.ends.next()?;
        Some(std::mem::replace(&mut self.start, end)..end)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ends.size_hint()
    }
}

impl ExactSizeIterator for Ranges {}
