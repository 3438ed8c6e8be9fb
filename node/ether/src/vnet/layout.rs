//! Where the headers of a TCP or UDP super-frame begin and end, for the work that a virtio-net header
//! asks for, and where any IP packet ends. It reads only what that work needs; what it accepts, [`crate::segment`] may index.
//!
//! Source: IEEE 802.1Q-2022 clause 9 (tags), RFC 791, RFC 8200, RFC 9293, RFC 768.

use std::ops::Range;

use super::VnetError;
use crate::header::ETHERTYPE_VLAN;
use crate::limits::TAG_LEN;

/// EtherType of the service VLAN tag (IEEE 802.1Q-2022 Table 9-1).
const ETHERTYPE_SERVICE_VLAN: u16 = 0x88a8;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// Where an untagged frame has its EtherType.
const ETHERTYPE_AT: usize = 12;
/// A service tag around a customer tag; nothing in use has more.
const MAX_TAGS: usize = 2;

const IPV4_HEADER_LEN: usize = 20;
const IPV6_HEADER_LEN: usize = 40;
const TCP_HEADER_LEN: usize = 20;
const UDP_HEADER_LEN: usize = 8;

/// The parts of a TCP header that cutting has to change (RFC 9293 3.1, RFC 3168 for CWR).
pub(crate) mod tcp {
    /// Where the flags are.
    pub(crate) const FLAGS_AT: usize = 13;
    /// Where the urgent pointer is.
    pub(crate) const URGENT_AT: usize = 18;
    pub(crate) const FIN: u8 = 0x01;
    pub(crate) const SYN: u8 = 0x02;
    pub(crate) const RST: u8 = 0x04;
    pub(crate) const PSH: u8 = 0x08;
    pub(crate) const URG: u8 = 0x20;
    pub(crate) const CWR: u8 = 0x80;
}

/// The version of IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    V4,
    V6,
}

/// The protocol above IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    /// The number in the IP header.
    pub(crate) const fn protocol(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    /// Where the header has its checksum.
    pub(crate) const fn checksum_at(self) -> u16 {
        match self {
            Self::Tcp => 16,
            Self::Udp => 6,
        }
    }
}

/// Offsets into one frame, all within it: `network_at < transport_at < payload_at <= end`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) network: Network,
    pub(crate) transport: Transport,
    pub(crate) network_at: usize,
    pub(crate) transport_at: usize,
    pub(crate) payload_at: usize,
    /// Where the IP packet ends; what follows is padding.
    pub(crate) end: usize,
}

/// The network layer of a frame.
struct Packet {
    network: Network,
    network_at: usize,
    header_len: usize,
    /// Octets from `network_at` on, by the packet's own word.
    len: usize,
    is_fragment: bool,
    protocol: u8,
}

impl Packet {
    fn parse(frame: &[u8]) -> Result<Self, VnetError> {
        let truncated = VnetError::Truncated(frame.len());
        let mut at = ETHERTYPE_AT;
        let mut ethertype = be16(frame, at).ok_or(truncated)?;
        for _ in 0..MAX_TAGS {
            if !matches!(ethertype, ETHERTYPE_VLAN | ETHERTYPE_SERVICE_VLAN) {
                break;
            }
            at += TAG_LEN;
            ethertype = be16(frame, at).ok_or(truncated)?;
        }
        let network_at = at + 2;
        let packet = &frame[network_at..];
        let parsed = match ethertype {
            ETHERTYPE_IPV4 => {
                let header = packet.first_chunk::<IPV4_HEADER_LEN>().ok_or(truncated)?;
                let header_len = usize::from(header[0] & 0x0f) * 4;
                if header[0] >> 4 != 4 || header_len < IPV4_HEADER_LEN {
                    return Err(VnetError::IpHeader);
                }
                Self {
                    network: Network::V4,
                    network_at,
                    header_len,
                    len: usize::from(u16::from_be_bytes([header[2], header[3]])),
                    // More fragments follow, or this is not the first.
                    is_fragment: u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0,
                    protocol: header[9],
                }
            }
            ETHERTYPE_IPV6 => {
                let header = packet.first_chunk::<IPV6_HEADER_LEN>().ok_or(truncated)?;
                if header[0] >> 4 != 6 {
                    return Err(VnetError::IpHeader);
                }
                let payload = usize::from(u16::from_be_bytes([header[4], header[5]]));
                Self {
                    network: Network::V6,
                    network_at,
                    header_len: IPV6_HEADER_LEN,
                    len: IPV6_HEADER_LEN + payload,
                    is_fragment: false,
                    protocol: header[6],
                }
            }
            _ => return Err(VnetError::NotIp(ethertype)),
        };
        if parsed.len < parsed.header_len {
            return Err(VnetError::IpHeader);
        }
        if packet.len() < parsed.len {
            return Err(truncated);
        }
        Ok(parsed)
    }
}

/// Where the IP packet in a frame ends; none when there is none, or it is not all there.
pub(crate) fn packet_end(frame: &[u8]) -> Option<usize> {
    let packet = Packet::parse(frame).ok()?;
    Some(packet.network_at + packet.len)
}

impl Layout {
    /// Finds the headers of an unfragmented TCP or UDP packet.
    pub(crate) fn parse(frame: &[u8]) -> Result<Self, VnetError> {
        let truncated = VnetError::Truncated(frame.len());
        let packet = Packet::parse(frame)?;
        if packet.is_fragment {
            return Err(VnetError::Fragment);
        }
        let transport = [Transport::Tcp, Transport::Udp]
            .into_iter()
            .find(|transport| transport.protocol() == packet.protocol)
            .ok_or(VnetError::Protocol(packet.protocol))?;
        let transport_at = packet.network_at + packet.header_len;
        let end = packet.network_at + packet.len;
        let segment = &frame[transport_at..end];
        let transport_header_len = match transport {
            Transport::Tcp => {
                let header = segment.first_chunk::<TCP_HEADER_LEN>().ok_or(truncated)?;
                let len = usize::from(header[12] >> 4) * 4;
                if len < TCP_HEADER_LEN || len > segment.len() {
                    return Err(VnetError::TransportHeader);
                }
                len
            }
            Transport::Udp => {
                let header = segment.first_chunk::<UDP_HEADER_LEN>().ok_or(truncated)?;
                if usize::from(u16::from_be_bytes([header[4], header[5]])) != segment.len() {
                    return Err(VnetError::TransportHeader);
                }
                UDP_HEADER_LEN
            }
        };
        Ok(Self {
            network: packet.network,
            transport,
            network_at: packet.network_at,
            transport_at,
            payload_at: transport_at + transport_header_len,
            end,
        })
    }

    /// The IP source and destination addresses, which the transport checksum covers too.
    pub(crate) fn addresses(&self) -> Range<usize> {
        match self.network {
            Network::V4 => self.network_at + 12..self.network_at + 20,
            Network::V6 => self.network_at + 8..self.network_at + 40,
        }
    }

    /// The TCP flags of the frame that this layout was read from; none for UDP.
    pub(crate) fn tcp_flags(&self, frame: &[u8]) -> u8 {
        match self.transport {
            Transport::Tcp => frame[self.transport_at + tcp::FLAGS_AT],
            Transport::Udp => 0,
        }
    }
}

fn be16(frame: &[u8], at: usize) -> Option<u16> {
    frame.get(at..)?.first_chunk::<2>().map(|octets| u16::from_be_bytes(*octets))
}
