//! One real node with one neighbour that the test plays, so that it can say anything.

use std::time::{Duration, Instant};

use mesh::beat::{Beat, Heard};
use mesh::engine::{LinkId, Neighbour, Payload};
use mesh::message::{Bounded, Cable, Message, Name, Records};
use mesh::record::{Incarnation, LinkEntry, LinkState, Record, Slot, Version};
use mesh::{Mesh, Nick, NodeKey};

use super::lab::*;

/// What the neighbour calls the cable.
const NUMBER: u32 = 5;

/// Node 0, whose cable to node 1 is up.
pub(crate) struct Observer {
    pub(crate) mesh: TestMesh,
    pub(crate) now: Instant,
    pub(crate) link: LinkId,
    /// Node 1's end of the cable.
    pub(crate) back: LinkEntry,
}

impl Observer {
    pub(crate) fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "fake time begins somewhere")]
        let mut now = Instant::now();
        let mut mesh = Mesh::new(Lab::config(0, 1, 0), Notary(key(0)), now);
        let link = LinkId(7);
        let neighbour = Neighbour { key: key(1), name: Name::default() };
        mesh.handle_link_up(link, neighbour, now).unwrap();
        mesh.handle_message(link, Message::Cable(Cable { number: NUMBER }), now).unwrap();
        let (mut number, mut sequence) = (None, None);
        while let Some(transmit) = mesh.poll_transmit() {
            match transmit.payload {
                Payload::Message(Message::Cable(cable)) => number = Some(cable.number),
                Payload::Beat(beat) => sequence = Some(beat.sequence),
                Payload::Message(_) => {}
            }
        }
        now += ms(1);
        let heard = Some(Heard { sequence: sequence.unwrap(), held: Duration::ZERO });
        let beat = Beat { sequence: 0, answer: false, deaf: false, heard, digest: 0 };
        mesh.handle_beat(link, &beat, now);
        let peer_number = number.unwrap();
        let back = LinkEntry { peer: key(0), number: NUMBER, peer_number, cost: 12 };
        Self { mesh, now, link, back }
    }

    pub(crate) fn tell(&mut self, records: &[Record]) {
        for chunk in records.chunks(200) {
            let records = Records { records: Bounded::truncated(chunk.to_vec()) };
            self.mesh.handle_message(self.link, Message::Records(records), self.now).unwrap();
        }
        take_turns(&mut self.mesh, self.now);
    }

    /// Lets the paths be worked out.
    pub(crate) fn wait(&mut self) {
        for _ in 0..5 {
            self.now += ms(10);
            self.mesh.handle_timeout(self.now);
        }
    }

    pub(crate) fn reaches(&self, node: NodeKey) -> bool {
        self.mesh.nodes(self.now).iter().any(|view| view.key == node && view.route.is_some())
    }
}

/// The link state of a node that the test plays.
pub(crate) fn link_state(node: usize, sequence: u64, mut links: Vec<LinkEntry>) -> Record {
    links.sort();
    let state = LinkState {
        nick: Nick::new(u32::try_from(node + 500_000).unwrap()).unwrap(),
        name: Name::new(&format!("n{node}")).unwrap(),
        capabilities: 0,
        links: Bounded::truncated(links),
    };
    let version = Version { incarnation: Incarnation { epoch: 1, instance: 1 }, sequence };
    Record::sign(key(node), version, Slot::LINK_STATE, &state, &Notary(key(node)))
}

pub(crate) fn link(to: usize, number: u32, peer_number: u32, cost: u32) -> LinkEntry {
    LinkEntry { peer: key(to), number, peer_number, cost }
}
