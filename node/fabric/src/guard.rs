//! Guards: what only the gateway may send, and so no guest.
//!
//! DHCP servers and routers that nobody ordered (RFC 7610, RFC 6105 with RFC 7113) and stations that
//! pose as the gateway. It owns the rules and the gateway's addresses; the caller shows it each
//! frame from an access port before the bridge sees it, and says whether the port is trusted.
//! Frames that come by cables were inspected where they entered the mesh.
//!
//! Neither tags, service tags or LLC headers hide a packet, nor extension headers. Fragments: only
//! the first names its ports or its type; without it the others are never put together.

use ether::MacAddr;

use crate::drop_reason::DropReason;
use crate::payload::{self, Arp, payload, word};

#[cfg(test)]
mod tests;

/// Protocol and next-header numbers (IANA, Assigned Internet Protocol Numbers).
const HOP_BY_HOP: u8 = 0;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const ICMPV6: u8 = 58;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;
const HOST_IDENTITY: u8 = 139;
const SHIM6: u8 = 140;

/// Ports of DHCP (RFC 2131 4.1) and of DHCPv6 (RFC 8415 7.2).
const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;
const DHCPV6_CLIENT: u16 = 546;

/// The first octet of a DHCP message from a client, or from a relay to a server (RFC 2131 2).
const BOOTREQUEST: u8 = 1;

/// ICMPv6 types of neighbour discovery (RFC 4861 4): the first to the last; of routers alone.
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;

const IPV4_MIN_HEADER: usize = 20;
/// In the word of flags and fragment offset (RFC 791 3.1).
const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_OFFSET: u16 = 0x1fff;

const IPV6_HEADER: usize = 40;
/// In an IPv6 header, and of the target in a neighbour advertisement.
const IPV6_SOURCE: usize = 8;
const ADVERTISED: usize = 8;

/// Whether what is behind a port may be a gateway, a DHCP server or a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PortTrust {
    /// It may not: guests, and whoever plugs in.
    #[default]
    Untrusted,
    /// It may: the node's own gateway, or a port that the operator named.
    Trusted,
}

/// The addresses of a gateway, which no other station may use.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GatewayAddress {
    /// Of its interface. A frame from it is a claim, and so is an ARP packet that names it as its
    /// sender.
    pub mac: MacAddr,
    /// In this segment. An ARP packet that names it as its sender is a claim.
    pub ipv4: [u8; 4],
    /// In this segment. A neighbour advertisement for it is a claim, and so is any packet of
    /// neighbour discovery from it.
    pub ipv6: Vec<[u8; 16]>,
}

/// What is guarded. By default, nothing is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GuardConfig {
    /// Drops messages of DHCP and DHCPv6 servers, router advertisements and redirects, in every
    /// VLAN.
    pub servers: bool,
    /// Drops claims to these addresses, in every VLAN. A frame costs a comparison for each.
    pub gateways: Vec<GatewayAddress>,
}

/// Says which frames from untrusted ports are dropped.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    config: GuardConfig,
}

impl Guard {
    /// A guard with these rules.
    pub fn new(config: GuardConfig) -> Self {
        Self { config }
    }

    /// Whether anything is guarded.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.config.servers || !self.config.gateways.is_empty()
    }

    /// Why a frame must not enter by a port; `None` when nothing speaks against it.
    ///
    /// [`DropReason::GatewayClaim`], [`DropReason::RogueDhcp`] or [`DropReason::RogueRa`]. What is
    /// no proper packet is not looked into: no station does. A frame that is no ARP, UDP or ICMPv6
    /// packet costs a few comparisons.
    #[inline]
    pub fn inspect(&self, trust: PortTrust, frame: &[u8]) -> Option<DropReason> {
        if !self.is_on() || trust == PortTrust::Trusted {
            return None;
        }
        let source = MacAddr(*frame.get(6..)?.first_chunk()?);
        if self.config.gateways.iter().any(|gateway| gateway.mac == source) {
            return Some(DropReason::GatewayClaim);
        }
        match payload(frame)? {
            (payload::IPV4, packet) if self.config.servers => inspect_ipv4(packet),
            (payload::IPV6, packet) => self.inspect_ipv6(packet),
            (payload::ARP | payload::RARP, packet) => self.inspect_arp(packet),
            _ => None,
        }
    }

    fn inspect_arp(&self, packet: &[u8]) -> Option<DropReason> {
        let arp = Arp::parse(packet)?;
        let is_claim = self
            .config
            .gateways
            .iter()
            .any(|gateway| gateway.mac == arp.sender_mac || gateway.ipv4 == arp.sender_ip);
        is_claim.then_some(DropReason::GatewayClaim)
    }
}

impl Guard {
    #[inline]
    fn inspect_ipv6(&self, packet: &[u8]) -> Option<DropReason> {
        let (source, carried, is_fragment) = transport(packet)?;
        if self.config.servers
            && let Some(reason) = inspect_servers(carried, is_fragment)
        {
            return Some(reason);
        }
        // Receivers refuse neighbour discovery in fragments (RFC 6980).
        match carried {
            Transport::Icmpv6(message) if self.is_claim_by_discovery(source, message) => {
                Some(DropReason::GatewayClaim)
            }
            _ => None,
        }
    }

    fn is_claim_by_discovery(&self, source: &[u8; 16], message: &[u8]) -> bool {
        let is_gateways = |address: &[u8; 16]| {
            self.config.gateways.iter().any(|gateway| gateway.ipv6.contains(address))
        };
        let Some(kind @ ROUTER_SOLICITATION..=REDIRECT) = message.first().copied() else {
            return false;
        };
        let target = message.get(ADVERTISED..).and_then(|target| target.first_chunk());
        is_gateways(source) || kind == NEIGHBOUR_ADVERTISEMENT && target.is_some_and(is_gateways)
    }
}

#[inline]
fn inspect_ipv4(packet: &[u8]) -> Option<DropReason> {
    let header = packet.first_chunk::<IPV4_MIN_HEADER>()?;
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    if header[9] != UDP || fragment & FRAGMENT_OFFSET != 0 {
        return None;
    }
    let datagram = packet.get(usize::from(header[0] & 0x0f) * 4..)?;
    let (source, destination) = (word(datagram, 0)?, word(datagram, 2)?);
    // Clients look at the port that a message comes to, and not all at that from which it comes.
    let is_dhcp = source == DHCP_SERVER || destination == DHCP_CLIENT;
    // What seems to be the message's first octet may be padding behind a fragment that ends before
    // it. No client fragments its messages.
    let is_request = fragment & MORE_FRAGMENTS == 0 && datagram.get(8) == Some(&BOOTREQUEST);
    (is_dhcp && !is_request).then_some(DropReason::RogueDhcp)
}

/// What an IPv6 packet carries, behind its extension headers.
#[derive(Debug, Clone, Copy)]
enum Transport<'a> {
    Icmpv6(&'a [u8]),
    Udp(&'a [u8]),
    /// The chain of headers goes on in another fragment.
    Hidden,
    Other,
}

/// The source of an IPv6 packet, what it carries, and whether it is a first fragment.
#[inline]
fn transport(packet: &[u8]) -> Option<(&[u8; 16], Transport<'_>, bool)> {
    let (header, rest) = packet.split_first_chunk::<IPV6_HEADER>()?;
    let source = header[IPV6_SOURCE..].first_chunk()?;
    let next = header[6];
    if next == TCP {
        return None;
    }
    // Padding must not pass for the end of a chain that goes on in the next fragment. A length of 0
    // is that of a jumbogram (RFC 2675), which is never a fragment.
    let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let is_padded = len > 0 && len < rest.len();
    let (carried, is_fragment) = follow_chain(next, if is_padded { &rest[..len] } else { rest });
    Some((source, carried, is_fragment))
}

/// Follows the chain of extension headers (RFC 8200 4) to the end.
fn follow_chain(mut next: u8, mut rest: &[u8]) -> (Transport<'_>, bool) {
    // A first fragment must have the whole chain (RFC 7112); one that has not is hiding it
    // (RFC 7113 3). What is short without being a fragment is nothing to anybody.
    let mut is_fragment = false;
    let cut = |is_fragment| if is_fragment { Transport::Hidden } else { Transport::Other };
    loop {
        let len = match (next, rest.get(1)) {
            (ICMPV6, _) => return (Transport::Icmpv6(rest), is_fragment),
            (UDP, _) => return (Transport::Udp(rest), is_fragment),
            (FRAGMENT, _) => {
                match word(rest, 2) {
                    Some(offset) if offset >> 3 != 0 => return (Transport::Other, false),
                    _ => is_fragment = true,
                }
                8
            }
            (
                HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | MOBILITY | HOST_IDENTITY | SHIM6,
                Some(len),
            ) => (usize::from(*len) + 1) * 8,
            (AUTHENTICATION, Some(len)) => (usize::from(*len) + 2) * 4,
            (
                HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | MOBILITY | HOST_IDENTITY | SHIM6
                | AUTHENTICATION,
                None,
            ) => return (cut(is_fragment), is_fragment),
            _ => return (Transport::Other, is_fragment),
        };
        let Some((header, behind)) = rest.split_at_checked(len) else {
            return (cut(is_fragment), is_fragment);
        };
        (next, rest) = (header[0], behind);
    }
}

/// Whether it is what routers and DHCPv6 servers say.
fn inspect_servers(carried: Transport<'_>, is_fragment: bool) -> Option<DropReason> {
    let hidden = is_fragment.then_some(DropReason::RogueRa);
    match carried {
        Transport::Icmpv6(message) => match message.first() {
            Some(&(ROUTER_ADVERTISEMENT | REDIRECT)) => Some(DropReason::RogueRa),
            Some(_) => None,
            None => hidden,
        },
        Transport::Udp(datagram) => match word(datagram, 2) {
            Some(DHCPV6_CLIENT) => Some(DropReason::RogueDhcp),
            Some(_) => None,
            None => hidden,
        },
        Transport::Hidden => hidden,
        Transport::Other => None,
    }
}
