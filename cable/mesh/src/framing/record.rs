//! One record: the fields in front of a frame, and their octets.

use ether::limits::{HEADER_LEN, MAX_FRAME, MAX_SUPER_FRAME};

use super::FramingError;
use crate::nick::Nick;

/// Octets of a virtio-net header without `num_buffers` (virtio 1.3, 5.1.6).
pub const VNET_HEADER_LEN: usize = 10;

/// Flags, hops, ingress, and flood sequence or egress.
const FIXED_LEN: usize = 10;

/// The longest field sequence in front of a frame, its length included.
pub(super) const MAX_PREFIX_LEN: usize = 4 + FIXED_LEN + VNET_HEADER_LEN;

const MIN_BODY_LEN: usize = FIXED_LEN + HEADER_LEN;
const MAX_BODY_LEN: usize = FIXED_LEN + VNET_HEADER_LEN + MAX_SUPER_FRAME;

/// The longest record: a super-frame with all that stands in front of it.
pub const MAX_RECORD_LEN: usize = MAX_PREFIX_LEN + MAX_SUPER_FRAME;

const FLAG_VNET: u8 = 0b01;
const FLAG_FLOOD: u8 = 0b10;
const FLAG_NODE: u8 = 0b100;

/// To whom a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// To every node: broadcast, multicast, or a destination that nobody owns.
    Flood {
        /// Counted by the ingress node, 32 bits, wrapping; see [`crate::flood`].
        sequence: u32,
    },
    /// To the one node that owns the destination.
    Unicast {
        /// That node; `None` when the sender does not know, so that the receiver looks it up.
        egress: Option<Nick>,
    },
    /// To a node itself, and to no station behind it: a [`crate::packet`], which travels as frames
    /// do.
    Node {
        /// That node.
        egress: Nick,
    },
}

/// What travels in front of each frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// How many more cables the frame may cross; at 0 it is not forwarded any further.
    pub hops: u8,
    /// The node at whose access port the frame came in.
    pub ingress: Nick,
    /// To whom it goes.
    pub reach: Reach,
    /// The virtio-net header of a super-frame or of a frame whose checksum is partial. Carried as
    /// it is: whoever hands it to a tap or a guest must check it first.
    pub vnet: Option<[u8; VNET_HEADER_LEN]>,
}

impl RecordHeader {
    /// The longest frame that may follow: only a virtio-net header makes a super-frame legal.
    pub const fn max_frame(&self) -> usize {
        if self.vnet.is_some() { MAX_SUPER_FRAME } else { MAX_FRAME }
    }

    /// The octets in front of a frame of `frame_len`, and how many of the array they are.
    pub(super) fn encode(&self, frame_len: usize) -> ([u8; MAX_PREFIX_LEN], usize) {
        let mut octets = [0; MAX_PREFIX_LEN];
        let mut len = 0;
        let mut put = |field: &[u8]| {
            octets[len..len + field.len()].copy_from_slice(field);
            len += field.len();
        };
        let vnet_len = if self.vnet.is_some() { VNET_HEADER_LEN } else { 0 };
        let body = u32::try_from(FIXED_LEN + vnet_len + frame_len)
            .expect("the packer has refused longer frames");
        // RFC 9000 16: the two top bits say how many octets there are. A body is never so long
        // that it needs eight.
        match body {
            0..0x40 => put(&body.to_be_bytes()[3..]),
            0x40..0x4000 => put(&(body | 0x4000).to_be_bytes()[2..]),
            _ => put(&(body | 0x8000_0000).to_be_bytes()),
        }
        let vnet_flag = if self.vnet.is_some() { FLAG_VNET } else { 0 };
        let (reach_flag, reach) = match self.reach {
            Reach::Flood { sequence } => (FLAG_FLOOD, sequence),
            Reach::Unicast { egress } => (0, egress.map_or(0, Nick::get)),
            Reach::Node { egress } => (FLAG_NODE, egress.get()),
        };
        put(&[vnet_flag | reach_flag, self.hops]);
        put(&self.ingress.get().to_be_bytes());
        put(&reach.to_be_bytes());
        if let Some(vnet) = &self.vnet {
            put(vnet);
        }
        (octets, len)
    }
}

/// The length field of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordLength {
    /// Octets of the field itself: 1, 2 or 4.
    pub(super) field: usize,
    /// Octets after it.
    pub(super) body: usize,
}

impl RecordLength {
    /// Octets of the whole record.
    pub(super) const fn total(self) -> usize {
        self.field + self.body
    }

    /// Reads the length at the front of `octets`; `None` when more octets are needed for that.
    pub(super) fn parse(octets: &[u8]) -> Result<Option<Self>, FramingError> {
        let Some(&first) = octets.first() else {
            return Ok(None);
        };
        let field = 1 << (first >> 6);
        let Some(octets) = octets.get(..field) else {
            return Ok(None);
        };
        let value = octets[1..]
            .iter()
            .fold(u64::from(first & 0x3f), |value, &octet| value << 8 | u64::from(octet));
        let least = match field {
            1 => MIN_BODY_LEN as u64,
            2 => 0x40,
            4 => 0x4000,
            _ => 0x4000_0000,
        };
        if value < least {
            return Err(FramingError::BadLength(value));
        }
        match usize::try_from(value) {
            Ok(body) if body <= MAX_BODY_LEN => Ok(Some(Self { field, body })),
            _ => Err(FramingError::TooLong { len: value, limit: MAX_BODY_LEN }),
        }
    }
}

/// Reads the fields of a record, from behind its length to its end; also says where in `body` the
/// frame begins.
pub(super) fn parse_body(body: &[u8]) -> Result<(RecordHeader, usize), FramingError> {
    let bad_length = FramingError::BadLength(body.len() as u64);
    let (fixed, rest) = body.split_first_chunk::<FIXED_LEN>().ok_or(bad_length)?;
    let [flags, hops, i0, i1, i2, i3, r0, r1, r2, r3] = *fixed;
    let is_known = flags & !(FLAG_VNET | FLAG_FLOOD) == 0 || flags == FLAG_NODE;
    if !is_known {
        return Err(FramingError::BadFlags(flags));
    }
    let ingress = Nick::new(u32::from_be_bytes([i0, i1, i2, i3])).ok_or(FramingError::NoIngress)?;
    let reach = u32::from_be_bytes([r0, r1, r2, r3]);
    let reach = if flags & FLAG_FLOOD != 0 {
        Reach::Flood { sequence: reach }
    } else if flags & FLAG_NODE != 0 {
        Reach::Node { egress: Nick::new(reach).ok_or(FramingError::NoEgress)? }
    } else {
        Reach::Unicast { egress: Nick::new(reach) }
    };
    let (vnet, frame) = if flags & FLAG_VNET != 0 {
        let (vnet, frame) = rest.split_first_chunk::<VNET_HEADER_LEN>().ok_or(bad_length)?;
        (Some(*vnet), frame)
    } else {
        (None, rest)
    };
    let header = RecordHeader { hops, ingress, reach, vnet };
    if frame.len() < HEADER_LEN {
        return Err(bad_length);
    }
    let in_front = body.len() - frame.len();
    if frame.len() > header.max_frame() {
        return Err(FramingError::TooLong {
            len: body.len() as u64,
            limit: in_front + header.max_frame(),
        });
    }
    Ok((header, in_front))
}
