//! Ethernet, IPv4, UDP, ARP and ICMPv6 as far as a gateway reads and writes them.
//!
//! Only untagged frames. Every length is checked against the frame; a frame that is not what a
//! function looks for is `None`, and why is not told, except for a DHCP client's frame.

use std::net::{Ipv4Addr, Ipv6Addr};

use ether::MacAddr;
use ether::limits::{HEADER_LEN, MIN_FRAME};

/// EtherTypes (IANA, IEEE 802 Numbers).
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;

/// IANA, Protocol Numbers.
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// RFC 8200 3.
const IPV6_HEADER_LEN: usize = 40;

/// A header without options (RFC 791 3.1).
pub(crate) const IPV4_HEADER_LEN: usize = 20;

/// RFC 768.
pub(crate) const UDP_HEADER_LEN: usize = 8;

/// Sums octets as 16-bit words (RFC 1071), on top of a sum before.
fn sum(before: u32, bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<2>();
    let mut total = u64::from(before);
    total += words.iter().map(|word| u64::from(u16::from_be_bytes(*word))).sum::<u64>();
    total += rest.first().map_or(0, |last| u64::from(*last) << 8);
    while let high @ 1.. = total >> 16 {
        total = high + (total & 0xffff);
    }
    u32::try_from(total).expect("carries were added until none was left")
}

/// The complement of a [`sum`], as it stands in a header.
fn checksum(sum: u32) -> [u8; 2] {
    let [.., high, low] = (!sum).to_be_bytes();
    [high, low]
}

/// The EtherType of an untagged frame and what follows it.
fn ethernet(frame: &[u8]) -> Option<(MacAddr, u16, &[u8])> {
    let (header, rest) = frame.split_first_chunk::<HEADER_LEN>()?;
    let [_, _, _, _, _, _, a, b, c, d, e, g, t0, t1] = *header;
    Some((MacAddr([a, b, c, d, e, g]), u16::from_be_bytes([t0, t1]), rest))
}

/// A UDP datagram in an IPv4 packet in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Datagram<'a> {
    pub(crate) station: MacAddr,
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) payload: &'a [u8],
}

/// Why a frame holds no datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoDatagram {
    /// Another protocol.
    Other,
    /// A length that does not fit, or a fragment.
    Malformed,
    /// A checksum that is present and wrong.
    Checksum,
}

impl<'a> Datagram<'a> {
    pub(crate) fn parse(frame: &'a [u8]) -> Result<Self, NoDatagram> {
        use NoDatagram::{Checksum, Malformed, Other};
        let (station, IPV4, packet) = ethernet(frame).ok_or(Other)? else { return Err(Other) };
        let header = packet.first_chunk::<IPV4_HEADER_LEN>().ok_or(Malformed)?;
        if header[0] >> 4 != 4 {
            return Err(Malformed);
        }
        if header[9] != UDP {
            return Err(Other);
        }
        let header_len = usize::from(header[0] & 0x0f) * 4;
        let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
        if header_len < IPV4_HEADER_LEN || total_len < header_len || fragment {
            return Err(Malformed);
        }
        let packet = packet.get(..total_len).ok_or(Malformed)?;
        let (header, segment) = packet.split_at(header_len);
        if checksum(sum(0, header)) != [0; 2] {
            return Err(Checksum);
        }
        let udp = segment.first_chunk::<UDP_HEADER_LEN>().ok_or(Malformed)?;
        let len = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
        let segment = segment.get(..len).ok_or(Malformed)?;
        let payload = segment.get(UDP_HEADER_LEN..).ok_or(Malformed)?;
        let source = Ipv4Addr::new(header[12], header[13], header[14], header[15]);
        let destination = Ipv4Addr::new(header[16], header[17], header[18], header[19]);
        let summed = udp[6..8] != [0; 2];
        if summed && checksum(sum(pseudo_header(source, destination, len), segment)) != [0; 2] {
            return Err(Checksum);
        }
        Ok(Self {
            station,
            source,
            destination,
            source_port: u16::from_be_bytes([udp[0], udp[1]]),
            destination_port: u16::from_be_bytes([udp[2], udp[3]]),
            payload,
        })
    }

    /// The frame of this datagram, padded to the Ethernet minimum. `station` sends it.
    ///
    /// The payload must fit an IPv4 packet; callers keep to an MTU.
    pub(crate) fn encode(&self, to: MacAddr) -> Vec<u8> {
        let udp_len = UDP_HEADER_LEN + self.payload.len();
        let short = |len: usize| u16::try_from(len).expect("the payload is shorter than an MTU");
        let mut frame = Vec::with_capacity(HEADER_LEN + IPV4_HEADER_LEN + udp_len);
        frame.extend(to.0);
        frame.extend(self.station.0);
        frame.extend(IPV4.to_be_bytes());
        frame.extend([0x45, 0]);
        frame.extend(short(IPV4_HEADER_LEN + udp_len).to_be_bytes());
        // Identification 0, do not fragment: nothing on one segment needs to (RFC 6864 4.1).
        frame.extend([0, 0, 0x40, 0, 64, UDP, 0, 0]);
        frame.extend(self.source.octets());
        frame.extend(self.destination.octets());
        let header = checksum(sum(0, &frame[HEADER_LEN..]));
        frame[HEADER_LEN + 10..][..2].copy_from_slice(&header);
        let udp_at = frame.len();
        frame.extend(self.source_port.to_be_bytes());
        frame.extend(self.destination_port.to_be_bytes());
        frame.extend(short(udp_len).to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(self.payload);
        let pseudo_header = pseudo_header(self.source, self.destination, udp_len);
        let udp = match checksum(sum(pseudo_header, &frame[udp_at..])) {
            // Zero would say that there is none (RFC 768).
            [0, 0] => [0xff; 2],
            sum => sum,
        };
        frame[udp_at + 6..][..2].copy_from_slice(&udp);
        padded(frame)
    }
}

fn pseudo_header(source: Ipv4Addr, destination: Ipv4Addr, len: usize) -> u32 {
    let addresses = sum(sum(0, &source.octets()), &destination.octets());
    let len = u16::try_from(len).expect("a UDP length is a 16-bit field");
    sum(sum(addresses, &[0, UDP]), &len.to_be_bytes())
}

/// An ARP message for IPv4 over Ethernet (RFC 826).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arp {
    /// The sender's hardware and protocol address, the pair that it claims.
    pub(crate) sender: (MacAddr, Ipv4Addr),
}

impl Arp {
    pub(crate) fn parse(frame: &[u8]) -> Option<Self> {
        let (_, ARP, message) = ethernet(frame)? else { return None };
        let message = message.first_chunk::<28>()?;
        let [0, 1, 8, 0, 6, 4, 0, 1 | 2, a, b, c, d, e, g, i, j, k, l, ..] = *message else {
            return None;
        };
        Some(Self { sender: (MacAddr([a, b, c, d, e, g]), Ipv4Addr::new(i, j, k, l)) })
    }

    /// An ARP probe: asks who has `target` without claiming anything (RFC 5227 2.1.1).
    pub(crate) fn probe(station: MacAddr, target: Ipv4Addr) -> Vec<u8> {
        let mut frame = Vec::with_capacity(MIN_FRAME);
        frame.extend(MacAddr::BROADCAST.0);
        frame.extend(station.0);
        frame.extend(ARP.to_be_bytes());
        frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
        frame.extend(station.0);
        frame.extend([0; 10]);
        frame.extend(target.octets());
        padded(frame)
    }
}

/// An ARP probe: asks who has `address` without claiming it (RFC 5227 2.1.1). `station` sends it.
pub fn probe(station: MacAddr, address: Ipv4Addr) -> Vec<u8> {
    Arp::probe(station, address)
}

/// The station that a frame says to have an address, and that; `None` when it says nothing of the kind.
pub fn claim_of(frame: &[u8]) -> Option<(MacAddr, Ipv4Addr)> {
    Some(Arp::parse(frame)?.sender)
}

/// An ARP announcement: whoever knows `address` elsewhere learns that it is at `station` now
/// (RFC 5227 2.3).
pub fn announcement(station: MacAddr, address: Ipv4Addr) -> Vec<u8> {
    const SENDER: usize = HEADER_LEN + 14;
    let mut frame = Arp::probe(station, address);
    frame[SENDER..SENDER + 4].copy_from_slice(&address.octets());
    frame
}

/// An ICMPv6 message that follows its IPv6 header at once, its checksum verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Icmpv6<'a> {
    pub(crate) station: MacAddr,
    pub(crate) source: Ipv6Addr,
    pub(crate) hop_limit: u8,
    pub(crate) octets: &'a [u8],
}

impl<'a> Icmpv6<'a> {
    pub(crate) fn parse(frame: &'a [u8]) -> Option<Self> {
        let (station, IPV6, packet) = ethernet(frame)? else { return None };
        let (header, rest) = packet.split_first_chunk::<IPV6_HEADER_LEN>()?;
        let [0x60..0x70, _, _, _, high, low, ICMPV6, hop_limit, addresses @ ..] = header else {
            return None;
        };
        let (source, destination) = addresses.split_at(16);
        let octets = rest.get(..usize::from(u16::from_be_bytes([*high, *low])))?;
        let source = Ipv6Addr::from(<[u8; 16]>::try_from(source).ok()?);
        let destination = Ipv6Addr::from(<[u8; 16]>::try_from(destination).ok()?);
        let valid = checksum(icmpv6_sum(source, destination, octets)) == [0; 2];
        valid.then_some(Self { station, source, hop_limit: *hop_limit, octets })
    }
}

/// The frame of an ICMPv6 message with hop limit 255, as neighbour discovery wants it, and the
/// checksum filled in. `message` must be a whole one, shorter than an MTU.
pub(crate) fn icmpv6_frame(
    (station, source): (MacAddr, Ipv6Addr),
    (to, destination): (MacAddr, Ipv6Addr),
    mut message: Vec<u8>,
) -> Vec<u8> {
    let sum = checksum(icmpv6_sum(source, destination, &message));
    message[2..4].copy_from_slice(&sum);
    let len = u16::try_from(message.len()).expect("the message is shorter than an MTU");
    let mut frame = Vec::with_capacity(HEADER_LEN + IPV6_HEADER_LEN + message.len());
    frame.extend(to.0);
    frame.extend(station.0);
    frame.extend(IPV6.to_be_bytes());
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(len.to_be_bytes());
    frame.extend([ICMPV6, 255]);
    frame.extend(source.octets());
    frame.extend(destination.octets());
    frame.append(&mut message);
    padded(frame)
}

/// With the pseudo header of RFC 8200 8.1.
fn icmpv6_sum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u32 {
    let addresses = sum(sum(0, &source.octets()), &destination.octets());
    let len = u16::try_from(message.len()).expect("a payload length is a 16-bit field");
    sum(sum(sum(addresses, &len.to_be_bytes()), &[0, ICMPV6]), message)
}

/// Zeros up to the Ethernet minimum.
fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    frame.resize(frame.len().max(MIN_FRAME), 0);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn datagram(payload: &[u8]) -> Datagram<'_> {
        Datagram {
            station: STATION,
            source: Ipv4Addr::new(10, 0, 0, 1),
            destination: Ipv4Addr::new(10, 0, 0, 2),
            source_port: 67,
            destination_port: 68,
            payload,
        }
    }

    #[test]
    fn a_datagram_round_trips_with_its_padding_cut_off() {
        for payload in [&b""[..], b"a", b"odd", &[0xff; 1000]] {
            let frame = datagram(payload).encode(MacAddr::BROADCAST);
            assert!(frame.len() >= MIN_FRAME);
            assert_eq!(Datagram::parse(&frame), Ok(datagram(payload)));
        }
    }

    #[test]
    fn any_flipped_bit_of_the_packet_is_noticed() {
        let frame = datagram(b"payload").encode(MacAddr::BROADCAST);
        let packet_end = HEADER_LEN + IPV4_HEADER_LEN + UDP_HEADER_LEN + 7;
        for at in HEADER_LEN..packet_end {
            for bit in 0..8 {
                let mut damaged = frame.clone();
                damaged[at] ^= 1 << bit;
                assert!(Datagram::parse(&damaged).is_err(), "bit {bit} of octet {at}");
            }
        }
    }

    #[test]
    fn a_datagram_without_checksum_is_taken() {
        let mut frame = datagram(b"payload").encode(MacAddr::BROADCAST);
        frame[HEADER_LEN + IPV4_HEADER_LEN + 6..][..2].fill(0);
        assert_eq!(Datagram::parse(&frame), Ok(datagram(b"payload")));
    }

    #[test]
    fn a_fragment_is_malformed() {
        let mut frame = datagram(b"payload").encode(MacAddr::BROADCAST);
        frame[HEADER_LEN + 6] = 0x20;
        assert_eq!(Datagram::parse(&frame), Err(NoDatagram::Malformed));
    }

    #[test]
    fn an_announcement_claims_what_it_asks_for() {
        let address = Ipv4Addr::new(10, 0, 0, 9);
        let frame = announcement(STATION, address);
        assert_eq!(Arp::parse(&frame).unwrap().sender, (STATION, address));
        assert_eq!(frame[HEADER_LEN + 24..][..4], address.octets());
    }

    #[test]
    fn a_probe_asks_without_claiming() {
        let frame = Arp::probe(STATION, Ipv4Addr::new(10, 0, 0, 9));
        let claimed = Arp::parse(&frame).unwrap().sender;
        assert_eq!(claimed, (STATION, Ipv4Addr::UNSPECIFIED));
        assert_eq!(frame.len(), MIN_FRAME);
    }
}
