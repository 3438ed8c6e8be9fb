//! Packets between nodes, which go where frames go.
//!
//! Owns those that wait to be handed out, and which part of the engine takes in those that came. A
//! packet is handed out once and never again.

use std::collections::VecDeque;
use std::time::Instant;

use super::{LinkId, Mesh, NextHop};
use crate::authority::Authority;
use crate::framing::{Reach, RecordHeader};
use crate::nick::Nick;
use crate::packet::{self, Echo, Stations, StationsAsked};

/// Packets that wait to be handed out, a batch and then some. Full: the newest is not sent.
const MAX_PACKETS: usize = 128;

/// A packet for another node, and the cable that it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketOut {
    /// By which it leaves.
    pub link: LinkId,
    /// What stands in front of it.
    pub header: RecordHeader,
    /// Itself.
    pub octets: Vec<u8>,
}

/// For whom, with which hop count, what.
#[derive(Debug, Clone, Default)]
pub(super) struct Packets(VecDeque<(Nick, u8, Vec<u8>)>);

impl Packets {
    /// Puts a packet behind the others; `false` when there is no room.
    pub(super) fn push(&mut self, egress: Nick, hops: u8, octets: Vec<u8>) -> bool {
        let has_room = self.0.len() < MAX_PACKETS;
        if has_room {
            self.0.push_back((egress, hops, octets));
        }
        has_room
    }
}

impl<A: Authority> Mesh<A> {
    /// Takes in a packet for this node that came in by a cable; `hops` is what was left of its hop
    /// count.
    pub fn handle_packet(&mut self, ingress: Nick, hops: u8, octets: &[u8], now: Instant) {
        let now = self.advance(now);
        let is_taken = if let Some(echo) = Echo::parse(octets) {
            self.handle_echo(ingress, hops, echo, now)
        } else if let Some(asked) = StationsAsked::parse(octets) {
            self.handle_stations_asked(ingress, asked, now)
        } else if let Some(stations) = Stations::parse(octets) {
            self.handle_stations(ingress, stations)
        } else {
            false
        };
        if !is_taken {
            self.counters.packets_ignored += 1;
        }
    }

    /// The next packet to be sent, as a frame is.
    pub fn poll_packet(&mut self) -> Option<PacketOut> {
        while let Some((egress, hops, octets)) = self.packets.0.pop_front() {
            let way = self.forwarding.next_hop(egress, None, packet::flow(&octets));
            // Without a way it is lost, as a frame would be.
            if let NextHop::Link(link) = way {
                let ingress = self.forwarding.nick();
                let header =
                    RecordHeader { hops, ingress, reach: Reach::Node { egress }, vnet: None };
                return Some(PacketOut { link, header, octets });
            }
        }
        None
    }
}
