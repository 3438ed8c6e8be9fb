//! What the server says, and to which address (RFC 2131 4.1, table 3).

use std::net::Ipv4Addr;
use std::time::Duration;

use ether::MacAddr;

use super::message::{Kind, Reply, code};
use super::options::fqdn_reply;
use super::{CLIENT_PORT, Inbound, SERVER_PORT, Server};
use crate::hostname::Hostname;
use crate::time::LeaseTime;
use crate::wire::{Datagram, IPV4_HEADER_LEN, UDP_HEADER_LEN};

/// Every client takes an IP packet of this size (RFC 2131 2).
const MIN_MAX_SIZE: u16 = 576;

/// What the virtual wire carries whole.
const WIRE_MTU: u16 = 1500;

/// Why a client may not have the address that it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    OtherSubnet,
    NotAssignable,
    InUse,
    Reserved,
}

impl Refusal {
    const fn as_str(self) -> &'static str {
        match self {
            Self::OtherSubnet => "address is not in this subnet",
            Self::NotAssignable => "address is not available here",
            Self::InUse => "address is in use",
            Self::Reserved => "another address is reserved for you",
        }
    }
}

impl Server {
    pub(super) fn send_offer(&mut self, inbound: &Inbound<'_>, address: Ipv4Addr) {
        let time = self.offered_time(inbound, address);
        let hostname = self.table.get(address).and_then(|binding| binding.hostname.clone());
        let frame = self.lease_reply(inbound, Kind::Offer, address, time, hostname.as_ref());
        self.send_counted(Kind::Offer, frame);
    }

    /// The frame of an ACK, or `None` when it cannot be made to fit.
    pub(super) fn ack(
        &mut self,
        inbound: &Inbound<'_>,
        address: Ipv4Addr,
        time: LeaseTime,
        hostname: Option<&Hostname>,
    ) -> Option<Vec<u8>> {
        self.lease_reply(inbound, Kind::Ack, address, Some(time), hostname)
    }

    /// Without an address there is nothing to lease.
    fn offered_time(&self, inbound: &Inbound<'_>, address: Ipv4Addr) -> Option<LeaseTime> {
        (!address.is_unspecified()).then(|| self.granted_time(inbound))
    }

    fn lease_reply(
        &mut self,
        inbound: &Inbound<'_>,
        kind: Kind,
        address: Ipv4Addr,
        time: Option<LeaseTime>,
        hostname: Option<&Hostname>,
    ) -> Option<Vec<u8>> {
        let request = &inbound.request;
        let mut reply = self.reply(inbound, kind);
        if kind == Kind::Ack {
            reply.set_ciaddr(request.ciaddr);
        }
        reply.set_yiaddr(address);
        if let Some(time) = time {
            reply.push(code::LEASE_TIME, &time.as_secs().to_be_bytes());
            if let Some((t1, t2)) = self.config.timers(time) {
                reply.push(code::T1, &seconds(t1));
                reply.push(code::T2, &seconds(t2));
            }
        }
        if request.kind == Kind::Discover && kind == Kind::Ack {
            reply.push(code::RAPID_COMMIT, &[]);
        }
        self.append_parameters(inbound, hostname, &mut reply);
        let to = if address.is_unspecified() { Ipv4Addr::BROADCAST } else { address };
        self.frame(inbound, reply, to)
    }

    /// The ACK to an INFORM: parameters, no lease.
    pub(super) fn inform(&mut self, inbound: &Inbound<'_>, client: Ipv4Addr) {
        let mut reply = self.reply(inbound, Kind::Ack);
        reply.set_ciaddr(inbound.request.ciaddr);
        let hostname = self.name_of(client).cloned();
        self.append_parameters(inbound, hostname.as_ref(), &mut reply);
        let frame = self.frame(inbound, reply, client);
        self.send_counted(Kind::Ack, frame);
    }

    /// NAK: no parameters, and to all, because the client has no address (RFC 2131 4.1).
    pub(super) fn refuse(&mut self, inbound: &Inbound<'_>, refusal: Refusal) {
        let mut reply = self.reply(inbound, Kind::Nak);
        reply.push(code::MESSAGE, refusal.as_str().as_bytes());
        let relayed = !inbound.request.giaddr.is_unspecified();
        if relayed {
            // The relay agent must broadcast it in turn.
            reply.set_broadcast();
        }
        let frame = if relayed {
            self.frame(inbound, reply, Ipv4Addr::BROADCAST)
        } else {
            self.encode_frame(reply, MacAddr::BROADCAST, Ipv4Addr::BROADCAST, CLIENT_PORT)
        };
        self.send_counted(Kind::Nak, frame);
    }

    fn reply(&self, inbound: &Inbound<'_>, kind: Kind) -> Reply {
        let mtu = self.config.mtu.unwrap_or(WIRE_MTU).min(WIRE_MTU);
        let asked = match inbound.request.option(code::MAX_SIZE) {
            Some(&[high, low]) => u16::from_be_bytes([high, low]),
            _ => MIN_MAX_SIZE,
        };
        let size = usize::from(asked.max(MIN_MAX_SIZE).min(mtu));
        let limit = size - IPV4_HEADER_LEN - UDP_HEADER_LEN;
        Reply::new(&inbound.request, kind, self.config.gateway, limit)
    }

    fn append_parameters(
        &mut self,
        inbound: &Inbound<'_>,
        hostname: Option<&Hostname>,
        reply: &mut Reply,
    ) {
        let request = &inbound.request;
        if let Some(wait) = self.config.ipv6_only.filter(|_| self.wants_no_ipv4(inbound)) {
            reply.push(code::IPV6_ONLY, &seconds(wait));
        }
        let domain = self.config.domain.as_ref();
        if let Some(fqdn) = fqdn_reply(request, hostname, domain) {
            reply.push(code::FQDN, &fqdn);
        }
        self.counters.options_left_out += self.standard.append(request, hostname, reply);
    }

    /// Addresses a reply: to the relay agent; to who has an address; to all, where the client
    /// wants that; else to the client's station, which cannot answer ARP yet.
    fn frame(&self, inbound: &Inbound<'_>, reply: Reply, address: Ipv4Addr) -> Option<Vec<u8>> {
        let request = &inbound.request;
        if !request.giaddr.is_unspecified() {
            return self.encode_frame(reply, inbound.station, request.giaddr, SERVER_PORT);
        }
        let configured = !request.ciaddr.is_unspecified() || request.kind == Kind::Inform;
        let all = address.is_broadcast() || (request.broadcast && !configured);
        if all {
            self.encode_frame(reply, MacAddr::BROADCAST, Ipv4Addr::BROADCAST, CLIENT_PORT)
        } else {
            self.encode_frame(reply, request.chaddr, address, CLIENT_PORT)
        }
    }

    fn encode_frame(
        &self,
        reply: Reply,
        to: MacAddr,
        address: Ipv4Addr,
        port: u16,
    ) -> Option<Vec<u8>> {
        let payload = reply.finish()?;
        let datagram = Datagram {
            station: self.config.gateway_mac,
            source: self.config.gateway,
            destination: address,
            source_port: SERVER_PORT,
            destination_port: port,
            payload: &payload,
        };
        Some(datagram.encode(to))
    }
}

/// Whole seconds as they stand in an option.
fn seconds(time: Duration) -> [u8; 4] {
    LeaseTime::new(time).as_secs().to_be_bytes()
}
