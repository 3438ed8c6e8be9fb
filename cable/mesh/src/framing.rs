//! Frames in datagrams: one stream of records, cut into datagrams of equal size.
//!
//! Owns the octets of data datagrams. Leaves sending, queueing and congestion to the shell, and
//! what a frame says to the fabric. The idea is that of aggregation and fragmentation in IP-TFS
//! (RFC 9347 2.2): frames are laid end to end and the whole is cut wherever a datagram is full,
//! so that a frame may be longer than any datagram and many may share one. `PROTOCOL.md` has the
//! layout.
//!
//! Neither side waits: [`Packer::flush`] sends what there is, and [`Reassembler`] hands out each
//! record with the datagram that completes it. There is no timer in here.

mod packer;
mod reassembler;
mod received;
mod record;
mod ring;

pub use packer::{
    MAX_BATCH_OCTETS, MAX_DATAGRAM_SIZE, MIN_DATAGRAM_SIZE, PackError, Packed, Packer, Ranges,
    STREAM_ROOM_INTERVAL,
};
pub use reassembler::{Counters, Reassembler};
pub use received::Received;
pub use record::{MAX_RECORD_LEN, Reach, RecordHeader, VNET_HEADER_LEN};
pub use ring::{MAX_KEPT_OCTETS, WINDOW};

/// The first octet of a datagram that carries frames. All other values are reserved.
pub const TYPE_FRAMES: u8 = 0x01;

/// Type, sequence and first-record offset.
pub const DATAGRAM_HEADER_LEN: usize = 6;

/// The first-record offset of a datagram in which no record starts.
const NO_RECORD_STARTS: u16 = 0xffff;

/// Sequence numbers have 24 bits and wrap.
const SEQUENCE_MASK: u32 = 0x00ff_ffff;

/// The datagram was not understood. What it held before the fault was delivered; the reassembler
/// goes on with the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// The first octet names no kind of datagram of this protocol version.
    #[error("datagram of unknown type {0:#04x}")]
    UnknownType(u8),
    /// No room for the header and one octet of a record.
    #[error("datagram of {0} octets is shorter than its header and one octet")]
    Short(usize),
    /// Longer than any QUIC datagram, and than a first-record offset could reach.
    #[error("datagram of {len} octets exceeds the limit of {MAX_DATAGRAM_SIZE}")]
    LongDatagram {
        /// Length of the datagram.
        len: usize,
    },
    /// The first record would start behind the end.
    #[error("first record at offset {offset} of a payload of {payload} octets")]
    BadOffset {
        /// The first-record offset of the header.
        offset: u16,
        /// Octets after the header.
        payload: usize,
    },
    /// It is for a node, and names none.
    #[error("record for a node that names none")]
    NoEgress,
    /// A flag, or a combination of flags, that this protocol version does not define.
    #[error("record with unknown flags {0:#010b}")]
    BadFlags(u8),
    /// The ingress nick is 0, and no node is called so.
    #[error("record without an ingress node")]
    NoIngress,
    /// The length has not its shortest form, or leaves no room for the fields and an Ethernet
    /// header.
    #[error("record with the impossible length {0}")]
    BadLength(u64),
    /// Longer than the longest frame of its kind.
    #[error("record of {len} octets exceeds the limit of {limit}")]
    TooLong {
        /// Octets after the length field.
        len: u64,
        /// How many there may be.
        limit: usize,
    },
}

/// What stands at the front of each datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DatagramHeader {
    /// 24 bits.
    sequence: u32,
    /// Where in the payload the first record starts; `None` when none does.
    first: Option<u16>,
}

impl DatagramHeader {
    fn encode(self) -> [u8; DATAGRAM_HEADER_LEN] {
        let [_, s0, s1, s2] = self.sequence.to_be_bytes();
        let [f0, f1] = self.first.unwrap_or(NO_RECORD_STARTS).to_be_bytes();
        [TYPE_FRAMES, s0, s1, s2, f0, f1]
    }

    fn parse(datagram: &[u8]) -> Result<Self, FramingError> {
        // The type comes first: another type may well be shorter.
        match datagram.first() {
            None => return Err(FramingError::Short(0)),
            Some(&TYPE_FRAMES) => {}
            Some(&other) => return Err(FramingError::UnknownType(other)),
        }
        if datagram.len() > MAX_DATAGRAM_SIZE {
            return Err(FramingError::LongDatagram { len: datagram.len() });
        }
        let short = FramingError::Short(datagram.len());
        let (header, payload) = datagram.split_first_chunk::<DATAGRAM_HEADER_LEN>().ok_or(short)?;
        let [_, s0, s1, s2, f0, f1] = *header;
        if payload.is_empty() {
            return Err(short);
        }
        let first = match u16::from_be_bytes([f0, f1]) {
            NO_RECORD_STARTS => None,
            offset if usize::from(offset) < payload.len() => Some(offset),
            offset => {
                return Err(FramingError::BadOffset { offset, payload: payload.len() });
            }
        };
        Ok(Self { sequence: u32::from_be_bytes([0, s0, s1, s2]), first })
    }
}
