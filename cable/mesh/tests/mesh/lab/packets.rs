//! Packets between nodes, which go where frames go.

use mesh::engine::{LinkId, NextHop};
use mesh::framing::{Reach, RecordHeader};
use mesh::packet;

use super::{Lab, Thing};

impl Lab {
    /// Takes the packets that a node wants to send.
    pub(super) fn send_packets(&mut self, at: usize) {
        while let Some(packet) = self.nodes[at].as_mut().and_then(|node| node.mesh.poll_packet()) {
            self.send_packet(at, packet.link, packet.header, packet.octets);
        }
    }

    /// A packet comes in by a cable: it is for the node, or goes on.
    pub(super) fn handle_packet(
        &mut self,
        at: usize,
        from: LinkId,
        header: RecordHeader,
        octets: Vec<u8>,
    ) {
        let Reach::Node { egress } = header.reach else { panic!("a packet is for a node") };
        let now = self.now;
        let mesh = self.mesh(at);
        match mesh.next_hop(egress, Some(from), packet::flow(&octets)) {
            NextHop::Here => mesh.handle_packet(header.ingress, header.hops, &octets, now),
            NextHop::Link(next) if header.hops > 0 => {
                let header = RecordHeader { hops: header.hops - 1, ..header };
                self.send_packet(at, next, header, octets);
            }
            NextHop::Link(_) | NextHop::Back | NextHop::Unreachable => {}
        }
    }

    fn send_packet(&mut self, at: usize, link: LinkId, header: RecordHeader, octets: Vec<u8>) {
        if let Some((cable, end)) = self.find(at, link)
            && !self.cables[cable].mute[end]
        {
            self.fly(cable, 1 - end, Thing::Packet(header, octets));
        }
    }
}
