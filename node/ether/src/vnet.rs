//! The virtio-net header: what is still to be done to a frame, by whoever takes it.
//!
//! A frame that travels with this header may lack its transport checksum, and may be a
//! *super-frame*: one header, up to 64 KiB of payload, to be cut into segments later. Both save
//! most of the cost of a frame between two ports that understand them. What does the work for
//! ports that do not is [`crate::segment`].
//!
//! Source: Virtual I/O Device (VIRTIO) Version 1.2, 5.1.6. A header comes from a guest or from
//! another node, so nothing in it is believed before [`VnetHeader::validate`] has compared it with
//! the frame.
//!
//! A single frame may have its checksum open in any protocol: a tap takes such frames of ICMPv6, of
//! tunnels around TCP, of whatever the kernel sums this way (`NETIF_F_HW_CSUM`), so that here only
//! the place must be inside the frame. A super-frame is TCP or UDP directly behind the IP header.
//! IPv6 extension headers are refused in front of them: no stack hands over a super-frame that has
//! them often enough to be worth the walk, and a routing header would change the checksum.

#[cfg(test)]
pub(crate) mod builder;
mod layout;
#[cfg(test)]
mod tests;

pub(crate) use layout::{Layout, Network, Transport, tcp};

use crate::limits::{HEADER_LEN, MAX_FRAME, MAX_SUPER_FRAME};

const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;

const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

/// The most segments that one super-frame may become.
///
/// On a link with IPv4's smallest MTU, 68 (RFC 791), TCP has room for 28 octets of payload beside
/// two headers of 20, and 64 KiB make 2340 such segments. Whoever asks for more wants one cheap
/// frame to become a flood. This is also the floor of [`Gso::segment_size`], 28 octets for a full
/// super-frame; a short one may have segments of a single octet, as UDP applications do send.
pub const MAX_SEGMENTS: usize = 65_535 / 28;

/// The state of a frame's transport checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Checksum {
    /// The frame carries it, and nobody has looked yet.
    #[default]
    Complete,
    /// The frame carries it, and whoever delivered the frame found it right.
    Valid,
    /// It is still to be summed, from `start` to the end of the packet. Its field holds the sum of
    /// the pseudo header until then.
    Partial {
        /// Where the sum begins, in octets from the start of the frame: at the TCP or UDP header,
        /// in a tunnel at the inner one.
        start: u16,
        /// Where the checksum belongs, in octets from `start`: 16 for TCP, 6 for UDP.
        offset: u16,
    },
}

/// Which protocol a super-frame is cut along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GsoKind {
    /// TCP over IPv4 (TSO).
    TcpV4,
    /// TCP over IPv6 (TSO).
    TcpV6,
    /// UDP over either (USO); each segment is a datagram of its own.
    Udp,
}

/// How to cut a super-frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Gso {
    /// The protocol.
    pub kind: GsoKind,
    /// Whether the TCP header has CWR set, which only the first segment may keep (RFC 3168 6.1.2).
    pub ecn: bool,
    /// Octets of payload in each segment but the last, 1 to 65 535; see [`MAX_SEGMENTS`].
    pub segment_size: u16,
}

/// A virtio-net header that has been read, but not yet been compared with its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct VnetHeader {
    /// Whether the transport checksum is there.
    pub checksum: Checksum,
    /// How to cut the frame, if it is a super-frame.
    pub gso: Option<Gso>,
    /// The sender's hint how many leading octets are headers. It is passed on, never relied upon.
    pub header_len: u16,
}

/// The header is malformed, or contradicts its frame. The frame is to be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VnetError {
    /// Only TCP and UDP segmentation are known. Type 3, legacy UDP fragmentation, is not.
    #[error("GSO type {0:#04x} is not supported; turn this offload off at the sender")]
    GsoType(u8),
    /// The ECN bit belongs to TCP.
    #[error("GSO type {0:#04x} has the ECN bit without TCP")]
    Ecn(u8),
    /// A super-frame must leave its checksum open (VIRTIO 1.2, 5.1.6.2.1 and 5.1.6.4.1).
    #[error("super-frame without a partial checksum")]
    ChecksumNotPartial,
    /// A segment of nothing.
    #[error("segment size is zero")]
    SegmentSize,
    /// More than [`MAX_SEGMENTS`].
    #[error("super-frame would become {0} segments; at most {MAX_SEGMENTS} are allowed")]
    Segments(usize),
    /// The frame, or one of its segments, is longer than any port takes.
    #[error("frame or segment of {len} octets exceeds the limit of {limit}")]
    TooLong {
        /// Its length in octets.
        len: usize,
        /// [`MAX_SUPER_FRAME`], or [`MAX_FRAME`] for what is one frame.
        limit: usize,
    },
    /// The hint points outside the frame; a Linux tap refuses such a header.
    #[error("header length {header_len} exceeds the frame's {len} octets")]
    HeaderLen {
        /// What the header says.
        header_len: u16,
        /// The frame's length.
        len: usize,
    },
    /// The frame ends inside its headers.
    #[error("frame of {0} octets ends inside its headers")]
    Truncated(usize),
    /// A super-frame that is neither IPv4 nor IPv6 behind at most two VLAN tags; the EtherType that
    /// was found.
    #[error("super-frame of EtherType {0:#06x} cannot be cut")]
    NotIp(u16),
    /// The IP header has the wrong version or an impossible length.
    #[error("malformed IP header")]
    IpHeader,
    /// A fragment has no whole transport packet to work on.
    #[error("packet is a fragment")]
    Fragment,
    /// Neither TCP nor UDP directly behind the IP header; the protocol number that was found.
    #[error("protocol {0} is neither TCP nor UDP")]
    Protocol(u8),
    /// The TCP header has an impossible length, or the UDP length differs from the IP length.
    #[error("malformed TCP or UDP header")]
    TransportHeader,
    /// The frame is not what its GSO type says.
    #[error("the frame is not {0:?}")]
    Kind(GsoKind),
    /// The checksum does not lie in the frame behind its Ethernet header, or not where the headers
    /// of a super-frame have it.
    #[error("checksum at {start}+{offset} is not where the frame can have one")]
    ChecksumPlace {
        /// What the header says.
        start: u16,
        /// What the header says.
        offset: u16,
    },
    /// SYN and RST stand for one place in the stream and cannot be repeated.
    #[error("super-frame with TCP flags {0:#04x} cannot be cut")]
    TcpFlags(u8),
}

/// What is to be done to a frame whose header fits it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    /// Nothing.
    None,
    /// Sum the octets `from..end`, and put the checksum `at` its place. All within the frame.
    Sum { from: usize, at: usize, end: usize },
    /// Cut it.
    Cut(Layout, Gso),
}

impl VnetHeader {
    /// Octets on the wire. The 12-octet form of a tap or of VIRTIO 1 adds a buffer count, which is
    /// the port's affair.
    pub const LEN: usize = 10;

    /// Nothing to be done: an ordinary frame.
    pub const PLAIN: Self = Self { checksum: Checksum::Complete, gso: None, header_len: 0 };

    /// Reads a header: flags, GSO type, then header length, segment size, checksum start and
    /// offset as 16-bit little-endian numbers.
    ///
    /// Flags that are not known are ignored, as the standard demands, and are gone when the header
    /// is written again. So are numbers that the flags give no meaning.
    ///
    /// # Errors
    /// [`VnetError`] for an unknown GSO type and for combinations that the standard forbids.
    pub fn parse(bytes: &[u8; Self::LEN]) -> Result<Self, VnetError> {
        let [flags, gso_type, h0, h1, s0, s1, c0, c1, o0, o1] = *bytes;
        // A sum still to be made outranks the claim that it is right: the claim is about the rest.
        let checksum = if flags & NEEDS_CSUM != 0 {
            let start = u16::from_le_bytes([c0, c1]);
            Checksum::Partial { start, offset: u16::from_le_bytes([o0, o1]) }
        } else if flags & DATA_VALID != 0 {
            Checksum::Valid
        } else {
            Checksum::Complete
        };
        let ecn = gso_type & GSO_ECN != 0;
        let kind = match gso_type & !GSO_ECN {
            GSO_NONE => None,
            GSO_TCPV4 => Some(GsoKind::TcpV4),
            GSO_TCPV6 => Some(GsoKind::TcpV6),
            GSO_UDP_L4 => Some(GsoKind::Udp),
            _ => return Err(VnetError::GsoType(gso_type)),
        };
        if ecn && matches!(kind, None | Some(GsoKind::Udp)) {
            return Err(VnetError::Ecn(gso_type));
        }
        let segment_size = u16::from_le_bytes([s0, s1]);
        let gso = kind.map(|kind| Gso { kind, ecn, segment_size });
        let header = Self { checksum, gso, header_len: u16::from_le_bytes([h0, h1]) };
        header.check_gso()?;
        Ok(header)
    }

    /// Writes the header.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let (flags, start, offset) = match self.checksum {
            Checksum::Complete => (0, 0, 0),
            Checksum::Valid => (DATA_VALID, 0, 0),
            Checksum::Partial { start, offset } => (NEEDS_CSUM, start, offset),
        };
        let (gso_type, segment_size) = self.gso.map_or((GSO_NONE, 0), |gso| {
            let kind = match gso.kind {
                GsoKind::TcpV4 => GSO_TCPV4,
                GsoKind::TcpV6 => GSO_TCPV6,
                GsoKind::Udp => GSO_UDP_L4,
            };
            (if gso.ecn { kind | GSO_ECN } else { kind }, gso.segment_size)
        });
        let [h0, h1] = self.header_len.to_le_bytes();
        let [s0, s1] = segment_size.to_le_bytes();
        let [c0, c1] = start.to_le_bytes();
        let [o0, o1] = offset.to_le_bytes();
        [flags, gso_type, h0, h1, s0, s1, c0, c1, o0, o1]
    }

    /// Whether the frame is whole and finished, so that any port takes it without this header.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.gso.is_none() && !matches!(self.checksum, Checksum::Partial { .. })
    }

    /// Whether the frame is to be cut before a port without this header takes it.
    #[inline]
    pub fn is_super_frame(&self) -> bool {
        self.gso.is_some()
    }

    /// Compares the header with the frame that came with it, before either may reach a tap or a
    /// guest: both act on the header's offsets inside an operating system's kernel.
    ///
    /// A plain header only bounds the frame's length. An open checksum must lie in the frame. A
    /// super-frame must fit its own Ethernet header, at most two VLAN tags, IP header without IPv6
    /// extensions, and TCP or UDP header.
    /// [`split_into`](crate::segment::split_into) makes the same checks itself.
    ///
    /// # Errors
    /// [`VnetError`] says what does not fit.
    pub fn validate(&self, frame: &[u8]) -> Result<(), VnetError> {
        self.check(frame).map(drop)
    }

    /// [`validate`](Self::validate), keeping what was learned about the frame.
    pub(crate) fn check(&self, frame: &[u8]) -> Result<Work, VnetError> {
        let len = frame.len();
        let limit = if self.is_super_frame() { MAX_SUPER_FRAME } else { MAX_FRAME };
        if len > limit {
            return Err(VnetError::TooLong { len, limit });
        }
        if usize::from(self.header_len) > len {
            return Err(VnetError::HeaderLen { header_len: self.header_len, len });
        }
        self.check_gso()?;
        let Checksum::Partial { start, offset } = self.checksum else {
            return Ok(Work::None);
        };
        let misplaced = VnetError::ChecksumPlace { start, offset };
        let (from, at) = (usize::from(start), usize::from(start) + usize::from(offset));
        let Some(gso) = self.gso else {
            // What is behind the IP packet is padding, of which the sender knows nothing.
            let end = layout::packet_end(frame).filter(|&end| at + 2 <= end).unwrap_or(len);
            // The addresses have been acted upon already and must stay as they are.
            if from < HEADER_LEN || at + 2 > end {
                return Err(misplaced);
            }
            return Ok(Work::Sum { from, at, end });
        };
        let layout = Layout::parse(frame)?;
        if from != layout.transport_at || offset != layout.transport.checksum_at() {
            return Err(misplaced);
        }
        gso.check(&layout, frame)?;
        Ok(Work::Cut(layout, gso))
    }

    /// What can be said about the GSO fields without the frame. The fields are public, so a header
    /// need not have come from [`parse`](Self::parse).
    fn check_gso(&self) -> Result<(), VnetError> {
        let Some(gso) = self.gso else { return Ok(()) };
        if !matches!(self.checksum, Checksum::Partial { .. }) {
            return Err(VnetError::ChecksumNotPartial);
        }
        if gso.segment_size == 0 {
            return Err(VnetError::SegmentSize);
        }
        Ok(())
    }
}

impl Gso {
    fn check(&self, layout: &Layout, frame: &[u8]) -> Result<(), VnetError> {
        match (self.kind, layout.network, layout.transport) {
            (GsoKind::TcpV4, Network::V4, Transport::Tcp)
            | (GsoKind::TcpV6, Network::V6, Transport::Tcp)
            | (GsoKind::Udp, _, Transport::Udp) => {}
            _ => return Err(VnetError::Kind(self.kind)),
        }
        let payload = layout.end - layout.payload_at;
        let segment_size = usize::from(self.segment_size);
        let len = layout.payload_at + payload.min(segment_size);
        if len > MAX_FRAME {
            return Err(VnetError::TooLong { len, limit: MAX_FRAME });
        }
        let segments = payload.div_ceil(segment_size);
        if segments > MAX_SEGMENTS {
            return Err(VnetError::Segments(segments));
        }
        let flags = layout.tcp_flags(frame);
        if flags & (tcp::SYN | tcp::RST) != 0 {
            return Err(VnetError::TcpFlags(flags));
        }
        Ok(())
    }
}
