//! A DHCP client's side of a wire, message by message, for what real clients cannot be made to do:
//! crowds, and saying the wrong thing. Written and read by smoltcp, which the project did not write.

use std::net::Ipv4Addr;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    EthernetRepr, IpProtocol, Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr,
};

pub use smoltcp::wire::DhcpMessageType as Kind;

/// What clients ask for: mask, router, resolver, lease time.
const PARAMETERS: &[u8] = &[1, 3, 6, 51];

/// A client's message.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// What it is for.
    pub kind: Kind,
    /// The client's station.
    pub station: [u8; 6],
    /// The number by which an answer is known.
    pub xid: u32,
    /// The address that the client has (`ciaddr`); none is 0.0.0.0.
    pub has: Ipv4Addr,
    /// The address that it wants (option 50).
    pub wants: Option<Ipv4Addr>,
    /// The server that it speaks to (option 54).
    pub server: Option<Ipv4Addr>,
}

impl Message {
    /// "Who has an address for me?"
    #[must_use]
    pub fn discover(station: [u8; 6], xid: u32) -> Self {
        let (has, kind) = (Ipv4Addr::UNSPECIFIED, Kind::Discover);
        Self { kind, station, xid, has, wants: None, server: None }
    }

    /// "I take what you offer."
    #[must_use]
    pub fn select(station: [u8; 6], xid: u32, offer: &Reply) -> Self {
        let discover = Self::discover(station, xid);
        let wants = Some(offer.address);
        Self { kind: Kind::Request, wants, server: Some(offer.server), ..discover }
    }

    /// "I have this address; may I go on?", to everybody.
    #[must_use]
    pub fn rebind(station: [u8; 6], xid: u32, has: Ipv4Addr) -> Self {
        Self { kind: Kind::Request, has, ..Self::discover(station, xid) }
    }

    /// "I had this address before I started; may I again?"
    #[must_use]
    pub fn reboot(station: [u8; 6], xid: u32, had: Ipv4Addr) -> Self {
        Self { kind: Kind::Request, wants: Some(had), ..Self::discover(station, xid) }
    }

    /// "I need it no more."
    #[must_use]
    pub fn release(station: [u8; 6], xid: u32, has: Ipv4Addr, server: Ipv4Addr) -> Self {
        Self { kind: Kind::Release, has, server: Some(server), ..Self::discover(station, xid) }
    }

    /// The frame, to everybody.
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        let dhcp = self.repr();
        let udp = UdpRepr { src_port: 68, dst_port: 67 };
        let udp_len = udp.header_len() + dhcp.buffer_len();
        let ip = Ipv4Repr {
            src_addr: self.has,
            dst_addr: Ipv4Addr::BROADCAST,
            next_header: IpProtocol::Udp,
            payload_len: udp_len,
            hop_limit: 64,
        };
        let ethernet = EthernetRepr {
            src_addr: EthernetAddress(self.station),
            dst_addr: EthernetAddress::BROADCAST,
            ethertype: EthernetProtocol::Ipv4,
        };
        let checksums = ChecksumCapabilities::default();
        let mut octets = vec![0; ethernet.buffer_len() + ip.buffer_len() + udp_len];
        let mut frame = EthernetFrame::new_unchecked(&mut octets[..]);
        ethernet.emit(&mut frame);
        let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
        ip.emit(&mut packet, &checksums);
        let mut datagram = UdpPacket::new_unchecked(packet.payload_mut());
        let (from, to) = (ip.src_addr.into(), ip.dst_addr.into());
        let emit = |payload: &mut [u8]| {
            dhcp.emit(&mut DhcpPacket::new_unchecked(payload)).expect("the buffer has its length");
        };
        udp.emit(&mut datagram, &from, &to, dhcp.buffer_len(), emit, &checksums);
        octets
    }

    fn repr(&self) -> DhcpRepr<'static> {
        let asks = matches!(self.kind, DhcpMessageType::Discover | DhcpMessageType::Request);
        DhcpRepr {
            message_type: self.kind,
            transaction_id: self.xid,
            secs: 0,
            client_hardware_address: EthernetAddress(self.station),
            client_ip: self.has,
            your_ip: Ipv4Addr::UNSPECIFIED,
            server_ip: Ipv4Addr::UNSPECIFIED,
            router: None,
            subnet_mask: None,
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            broadcast: false,
            requested_ip: self.wants,
            client_identifier: None,
            server_identifier: self.server,
            parameter_request_list: asks.then_some(PARAMETERS),
            dns_servers: None,
            max_size: None,
            lease_duration: None,
            renew_duration: None,
            rebind_duration: None,
            additional_options: &[],
        }
    }
}

/// What a server answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// OFFER, ACK or NAK.
    pub kind: Kind,
    /// The client's station.
    pub station: [u8; 6],
    /// The number of the message that it answers.
    pub xid: u32,
    /// The client's address (`yiaddr`).
    pub address: Ipv4Addr,
    /// Who answers (option 54).
    pub server: Ipv4Addr,
}

impl Reply {
    /// Reads a frame; none when it is something else, or damaged.
    #[must_use]
    pub fn read(frame: &[u8]) -> Option<Self> {
        let frame = EthernetFrame::new_checked(frame).ok()?;
        if frame.ethertype() != EthernetProtocol::Ipv4 {
            return None;
        }
        let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
        if packet.next_header() != IpProtocol::Udp || !packet.verify_checksum() {
            return None;
        }
        let (from, to) = (packet.src_addr().into(), packet.dst_addr().into());
        let datagram = UdpPacket::new_checked(packet.payload()).ok()?;
        if datagram.dst_port() != 68 || !datagram.verify_checksum(&from, &to) {
            return None;
        }
        let dhcp = DhcpPacket::new_checked(datagram.payload()).ok()?;
        let dhcp = DhcpRepr::parse(&dhcp).ok()?;
        Some(Self {
            kind: dhcp.message_type,
            station: dhcp.client_hardware_address.0,
            xid: dhcp.transaction_id,
            address: dhcp.your_ip,
            server: dhcp.server_identifier?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_message_is_no_reply_and_has_valid_checksums() {
        let frame = Message::discover([2, 0, 0, 0, 0, 9], 7).frame();
        assert_eq!(Reply::read(&frame), None);
        let ethernet = EthernetFrame::new_checked(&frame[..]).unwrap();
        let packet = Ipv4Packet::new_checked(ethernet.payload()).unwrap();
        assert!(packet.verify_checksum());
        let datagram = UdpPacket::new_checked(packet.payload()).unwrap();
        let dhcp = DhcpPacket::new_checked(datagram.payload()).unwrap();
        let repr = DhcpRepr::parse(&dhcp).unwrap();
        assert_eq!((repr.message_type, repr.transaction_id), (Kind::Discover, 7));
    }
}
