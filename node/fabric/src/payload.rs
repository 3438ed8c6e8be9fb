//! What a frame carries, behind everything that may stand before it.

use ether::MacAddr;
use ether::header::ETHERTYPE_VLAN;
use ether::limits::{HEADER_LEN, TAG_LEN};

/// EtherTypes (IANA, IEEE 802 Numbers).
pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const ARP: u16 = 0x0806;
pub(crate) const RARP: u16 = 0x8035;
pub(crate) const IPV6: u16 = 0x86dd;
/// The service tag, and those of its predecessors that systems still take off.
const SERVICE_TAG: u16 = 0x88a8;
const OLD_SERVICE_TAGS: [u16; 3] = [0x9100, 0x9200, 0x9300];

/// Up to this, a type is a length, and an LLC header follows (IEEE 802.3-2022 3.2.6).
const MAX_LENGTH: u16 = 1500;

/// LLC with SNAP; then come an organisation and a type of that organisation (IEEE 802-2014 9.4).
const SNAP: [u8; 3] = [0xaa, 0xaa, 0x03];
/// The organisations whose types are EtherTypes (RFC 1042, IEEE 802.1H).
const ETHERTYPE_ORGANISATIONS: [[u8; 3]; 2] = [[0, 0, 0], [0, 0, 0xf8]];

/// The EtherType of a frame and what follows it, behind any number of tags and of LLC headers.
///
/// The time it takes is within the frame's length, and a few instructions for most frames.
#[inline]
pub(crate) fn payload(frame: &[u8]) -> Option<(u16, &[u8])> {
    let (header, rest) = frame.split_first_chunk::<HEADER_LEN>()?;
    let ethertype = u16::from_be_bytes([header[12], header[13]]);
    match ethertype {
        IPV4 | IPV6 | ARP => Some((ethertype, rest)),
        _ => unwrapped(ethertype, rest),
    }
}

fn unwrapped(mut ethertype: u16, mut rest: &[u8]) -> Option<(u16, &[u8])> {
    loop {
        if ethertype == ETHERTYPE_VLAN
            || ethertype == SERVICE_TAG
            || OLD_SERVICE_TAGS.contains(&ethertype)
        {
            let (tag, behind) = rest.split_first_chunk::<TAG_LEN>()?;
            (ethertype, rest) = (u16::from_be_bytes([tag[2], tag[3]]), behind);
        } else if ethertype <= MAX_LENGTH && rest.starts_with(&SNAP) {
            let (&[_, _, _, o0, o1, o2, t0, t1], behind) = rest.split_first_chunk::<8>()?;
            if !ETHERTYPE_ORGANISATIONS.contains(&[o0, o1, o2]) {
                return Some((ethertype, rest));
            }
            (ethertype, rest) = (u16::from_be_bytes([t0, t1]), behind);
        } else {
            return Some((ethertype, rest));
        }
    }
}

/// Two octets of a packet, in network order.
#[inline]
pub(crate) fn word(packet: &[u8], at: usize) -> Option<u16> {
    let octets = packet.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_be_bytes(*octets))
}

/// An ARP or RARP packet for Ethernet and IPv4 (RFC 826, RFC 903).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arp {
    pub(crate) operation: u16,
    pub(crate) sender_mac: MacAddr,
    pub(crate) sender_ip: [u8; 4],
    pub(crate) target_mac: MacAddr,
    pub(crate) target_ip: [u8; 4],
}

impl Arp {
    /// `None` for other hardware and other protocols, of which no station makes anything.
    pub(crate) fn parse(packet: &[u8]) -> Option<Self> {
        let &[_, _, _, _, hardware_len, protocol_len, o0, o1, ref addresses @ ..] =
            packet.first_chunk::<28>()?;
        if (hardware_len, protocol_len) != (6, 4) {
            return None;
        }
        let (sender, target) = addresses.split_at(10);
        let (sender_mac, sender_ip) = sender.split_first_chunk::<6>()?;
        let (target_mac, target_ip) = target.split_first_chunk::<6>()?;
        Some(Self {
            operation: u16::from_be_bytes([o0, o1]),
            sender_mac: MacAddr(*sender_mac),
            sender_ip: *sender_ip.first_chunk()?,
            target_mac: MacAddr(*target_mac),
            target_ip: *target_ip.first_chunk()?,
        })
    }
}
