//! Frames for the tests of this package, built field by field from the standards and sharing no
//! code with what is tested.

use proptest::prelude::*;

use super::{Checksum, Gso, GsoKind, Network, Transport, VnetHeader};

pub(crate) const FIN: u8 = 0x01;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const URG: u8 = 0x20;
pub(crate) const CWR: u8 = 0x80;

const V4_ADDRESSES: [u8; 8] = [192, 0, 2, 1, 198, 51, 100, 7];
const V6_ADDRESSES: [u8; 32] = [
    0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, //
    0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 2,
];

/// The sum of RFC 1071 as its first page states it, carries and all; right packets give 0xffff.
pub(crate) fn naive_sum(octets: impl IntoIterator<Item = u8>) -> u16 {
    let octets: Vec<u8> = octets.into_iter().collect();
    let mut sum = 0_u32;
    for pair in octets.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

/// A TCP or UDP frame as an offloading sender hands it over: no transport checksum yet.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    /// Tag protocol identifiers, outermost first.
    pub(crate) tags: Vec<u16>,
    pub(crate) network: Network,
    pub(crate) transport: Transport,
    /// 32-bit words of IPv4 options.
    pub(crate) ip_options: u8,
    /// 32-bit words of TCP options.
    pub(crate) tcp_options: u8,
    pub(crate) identification: u16,
    pub(crate) sequence: u32,
    pub(crate) flags: u8,
    pub(crate) urgent: u16,
    pub(crate) payload: Vec<u8>,
    /// Octets behind the IP packet.
    pub(crate) padding: usize,
}

impl Packet {
    pub(crate) fn new(network: Network, transport: Transport, payload: Vec<u8>) -> Self {
        Self {
            tags: Vec::new(),
            network,
            transport,
            ip_options: 0,
            tcp_options: 0,
            identification: 0xfffe,
            sequence: 0xffff_ff00,
            flags: ACK,
            urgent: 0,
            payload,
            padding: 0,
        }
    }

    pub(crate) fn tcp_v4(len: usize) -> Self {
        Self::new(Network::V4, Transport::Tcp, payload(len))
    }

    pub(crate) fn udp_v6(len: usize) -> Self {
        Self::new(Network::V6, Transport::Udp, payload(len))
    }

    pub(crate) fn network_at(&self) -> usize {
        14 + 4 * self.tags.len()
    }

    pub(crate) fn transport_at(&self) -> usize {
        self.network_at()
            + match self.network {
                Network::V4 => 20 + 4 * usize::from(self.ip_options),
                Network::V6 => 40,
            }
    }

    pub(crate) fn payload_at(&self) -> usize {
        self.transport_at()
            + match self.transport {
                Transport::Tcp => 20 + 4 * usize::from(self.tcp_options),
                Transport::Udp => 8,
            }
    }

    pub(crate) fn frame(&self) -> Vec<u8> {
        let segment_len = self.payload_at() - self.transport_at() + self.payload.len();
        let mut frame = vec![0x52, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 2];
        for tag in &self.tags {
            frame.extend(tag.to_be_bytes());
            frame.extend([0x20, 0x05]);
        }
        match self.network {
            Network::V4 => {
                let header_len = 20 + 4 * usize::from(self.ip_options);
                frame.extend([0x08, 0x00, 0x45 + self.ip_options, 0]);
                frame.extend(u16::try_from(header_len + segment_len).unwrap().to_be_bytes());
                frame.extend(self.identification.to_be_bytes());
                frame.extend([0x40, 0, 64, self.protocol(), 0xba, 0xad]);
                frame.extend(V4_ADDRESSES);
                frame.extend(vec![1; 4 * usize::from(self.ip_options)]);
            }
            Network::V6 => {
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.extend(u16::try_from(segment_len).unwrap().to_be_bytes());
                frame.extend([self.protocol(), 64]);
                frame.extend(V6_ADDRESSES);
            }
        }
        let pseudo_header = self.pseudo_header(segment_len).to_be_bytes();
        frame.extend([0xc0, 0x01, 0x14, 0x51]);
        match self.transport {
            Transport::Tcp => {
                frame.extend(self.sequence.to_be_bytes());
                frame.extend([1, 2, 3, 4, (5 + self.tcp_options) << 4, self.flags, 0x10, 0]);
                frame.extend(pseudo_header);
                frame.extend(self.urgent.to_be_bytes());
                frame.extend(vec![1; 4 * usize::from(self.tcp_options)]);
            }
            Transport::Udp => {
                frame.extend(u16::try_from(segment_len).unwrap().to_be_bytes());
                frame.extend(pseudo_header);
            }
        }
        frame.extend(&self.payload);
        frame.extend(vec![0x99; self.padding]);
        frame
    }

    /// What the sender leaves in the checksum's place (VIRTIO 1.2, 5.1.6.2).
    fn pseudo_header(&self, segment_len: usize) -> u16 {
        let addresses = match self.network {
            Network::V4 => &V4_ADDRESSES[..],
            Network::V6 => &V6_ADDRESSES[..],
        };
        let length = u16::try_from(segment_len).unwrap().to_be_bytes();
        let rest = length.into_iter().chain([0, self.protocol()]);
        naive_sum(addresses.iter().copied().chain(rest))
    }

    fn protocol(&self) -> u8 {
        if self.transport == Transport::Tcp { 6 } else { 17 }
    }

    /// The header of this packet as one frame with its checksum open.
    pub(crate) fn partial(&self) -> VnetHeader {
        let offset = if self.transport == Transport::Tcp { 16 } else { 6 };
        let start = u16::try_from(self.transport_at()).unwrap();
        VnetHeader { checksum: Checksum::Partial { start, offset }, ..VnetHeader::PLAIN }
    }

    /// The header of this packet as a super-frame.
    pub(crate) fn super_frame(&self, segment_size: u16) -> VnetHeader {
        let kind = match (self.network, self.transport) {
            (Network::V4, Transport::Tcp) => GsoKind::TcpV4,
            (Network::V6, Transport::Tcp) => GsoKind::TcpV6,
            (_, Transport::Udp) => GsoKind::Udp,
        };
        let ecn = self.transport == Transport::Tcp && self.flags & CWR != 0;
        let gso = Some(Gso { kind, ecn, segment_size });
        let header_len = u16::try_from(self.payload_at()).unwrap();
        VnetHeader { gso, header_len, ..self.partial() }
    }
}

/// Octets in which every position differs from its neighbours.
pub(crate) fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

/// Any packet that may be cut.
pub(crate) fn any_packet() -> impl Strategy<Value = Packet> {
    let addressing = (
        proptest::collection::vec(prop_oneof![Just(0x8100), Just(0x88a8)], 0..=2),
        prop_oneof![Just(Network::V4), Just(Network::V6)],
        prop_oneof![Just(Transport::Tcp), Just(Transport::Udp)],
        0..=10_u8,
        0..=10_u8,
    );
    let content = (
        any::<u16>(),
        any::<u32>(),
        // Anything but SYN and RST.
        any::<u8>().prop_map(|flags| flags & !0x06),
        0..6000_u16,
        proptest::collection::vec(any::<u8>(), 0..5000),
        0..4_usize,
    );
    (addressing, content).prop_map(
        |(
            (tags, network, transport, ip_options, tcp_options),
            (identification, sequence, flags, urgent, payload, padding),
        )| Packet {
            tags,
            network,
            transport,
            ip_options,
            tcp_options,
            identification,
            sequence,
            flags,
            urgent,
            payload,
            padding,
        },
    )
}
