//! One node that is told anything, in any order, by neighbours who keep no rule: nothing panics, no
//! table grows beyond its bound, and it always comes to rest.

use std::time::Duration;

use ether::{MacAddr, VlanId};
use mesh::authority::Signature;
use mesh::beat::{Beat, Heard as HeardBeat};
use mesh::engine::{Config, Heard, LinkId, Neighbour, PortId, Room};
use mesh::message::{
    Bounded, Cable, Digest, DigestEntry, Message, Name, Records, SlotVersion, Slots,
};
use mesh::probe::PortClass;
use mesh::record::{
    Incarnation, LinkEntry, LinkState, Notice, Notices, PortName, Record, Slot, StationEntry,
    Version,
};
use mesh::{Mesh, Nick};
use proptest::prelude::*;

use super::lab::{Lab, Notary, TestMesh, key, ms};

const NODES: usize = 5;
const MAX_NODES: usize = 4;
const MAX_STATIONS: usize = 6;

#[derive(Debug, Clone)]
enum Told {
    LinkUp(u32, usize),
    LinkDown(u32),
    Room(u32, bool),
    Cable(u32, u32),
    Records(u32, Vec<Record>),
    Digest(u32, Vec<(usize, Incarnation, u64)>, bool, bool),
    Slots(u32, usize, Incarnation, Vec<(u8, u64)>),
    Beat(u32, Beat),
    Station(u16, u8, Heard),
    PortUp(u32, PortClass),
    PortDown(u32),
    /// One of the node's own probes, or of another's, or something like it.
    Probe(u32, usize, Vec<u8>),
    Flood(u32, u32, u32),
    Unicast(Option<u32>, u32, u32),
    Originate,
    Leave,
    /// Time passes, or runs backwards.
    Wait(i64),
}

fn link() -> impl Strategy<Value = u32> {
    0..4_u32
}

fn incarnation() -> impl Strategy<Value = Incarnation> {
    (prop_oneof![0..4_u64, Just(u64::MAX)], 0..4_u64)
        .prop_map(|(epoch, instance)| Incarnation { epoch, instance })
}

fn link_state() -> impl Strategy<Value = Vec<u8>> {
    let entry = (0..NODES, 0..3_u32, 0..3_u32, prop_oneof![0..40_u32, Just(65_535), Just(70_000)]);
    let entry = entry.prop_map(|(peer, number, peer_number, cost)| LinkEntry {
        peer: key(peer),
        number,
        peer_number,
        cost,
    });
    (1..4_u32, prop::collection::vec(entry, 0..5), any::<bool>()).prop_map(
        |(nick, mut links, sorted)| {
            if sorted {
                links.sort();
                links.dedup();
            }
            let state = LinkState {
                nick: Nick::new(nick).unwrap(),
                name: Name::default(),
                capabilities: nick,
                links: Bounded::truncated(links),
            };
            postcard::to_allocvec(&state).unwrap()
        },
    )
}

fn page() -> impl Strategy<Value = Vec<u8>> {
    let entry = (0..3_u16, 0..8_u8, prop_oneof![0..9_u32, Just(u32::MAX >> 1)], any::<bool>());
    prop::collection::vec(entry, 0..6).prop_map(|mut entries| {
        entries.sort_by_key(|(vlan, mac, ..)| (*vlan, *mac));
        let entries: Vec<StationEntry> = entries
            .into_iter()
            .map(|(vlan, mac, mobility, sticky)| {
                StationEntry::new(VlanId(vlan), station(mac), mobility, sticky)
            })
            .collect();
        postcard::to_allocvec(&entries).unwrap()
    })
}

fn notices() -> impl Strategy<Value = Vec<u8>> {
    let notice = (0..3_u8, 0..NODES, 0..3_u32, 0..3_u32, any::<u64>()).prop_map(
        |(kind, node, number, other, nonce)| match kind {
            0 => Notice::ClonedKey { key: key(node) },
            1 => Notice::DuplicateStation { vlan: 0, mac: station(1).0, owner: key(node) },
            _ => Notice::Loop {
                port: PortName::default(),
                number,
                class: 1,
                sender: key(node),
                sender_number: other,
                nonce,
            },
        },
    );
    prop::collection::vec(notice, 0..5).prop_map(|notices| {
        let notices: Notices = Bounded::truncated(notices);
        postcard::to_allocvec(&notices).unwrap()
    })
}

fn record() -> impl Strategy<Value = Record> {
    let body = prop_oneof![
        4 => link_state(),
        3 => page(),
        2 => notices(),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ];
    let slot = prop_oneof![4 => Just(0_u8), 3 => 1..4_u8, 1 => 60..70_u8, 1 => any::<u8>()];
    (0..NODES, incarnation(), 0..8_u64, slot, body, 0..10_u8).prop_map(
        |(origin, incarnation, sequence, slot, body, luck)| {
            let version = Version { incarnation, sequence };
            // The octets as they are, without a length before them.
            let mut record =
                Record::sign(key(origin), version, Slot(slot), &Raw(body), &Notary(key(origin)));
            if luck == 0 {
                record.signature = Signature([luck; 64]);
            }
            record
        },
    )
}

/// A body that is no type's.
struct Raw(Vec<u8>);

impl serde::Serialize for Raw {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple as _;
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|octet| tuple.serialize_element(octet))?;
        tuple.end()
    }
}

fn beat() -> impl Strategy<Value = Beat> {
    let heard = prop::option::of((any::<u32>(), 0..10_000_u64));
    (any::<u32>(), any::<bool>(), any::<bool>(), heard, any::<u64>()).prop_map(
        |(sequence, answer, deaf, heard, digest)| {
            let heard = heard.map(|(sequence, millis)| HeardBeat { sequence, held: ms(millis) });
            Beat { sequence, answer, deaf, heard, digest }
        },
    )
}

fn heard() -> impl Strategy<Value = Heard> {
    prop_oneof![
        Just(Heard::Frame),
        Just(Heard::Announcement),
        Just(Heard::Static),
        Just(Heard::Gone)
    ]
}

fn told() -> impl Strategy<Value = Told> {
    let known = (0..NODES, incarnation(), any::<u64>());
    prop_oneof![
        2 => (link(), 0..NODES).prop_map(|(link, node)| Told::LinkUp(link, node)),
        1 => link().prop_map(Told::LinkDown),
        1 => (link(), any::<bool>()).prop_map(|(link, open)| Told::Room(link, open)),
        2 => (link(), 0..3_u32).prop_map(|(link, number)| Told::Cable(link, number)),
        8 => (link(), prop::collection::vec(record(), 0..6))
            .prop_map(|(link, records)| Told::Records(link, records)),
        1 => (link(), prop::collection::vec(known, 0..6), any::<bool>(), any::<bool>())
            .prop_map(|(link, known, answer, sorted)| Told::Digest(link, known, answer, sorted)),
        1 => (link(), 0..NODES, incarnation(), prop::collection::vec((any::<u8>(), 0..9_u64), 0..5))
            .prop_map(|(link, node, run, slots)| Told::Slots(link, node, run, slots)),
        4 => (link(), beat()).prop_map(|(link, beat)| Told::Beat(link, beat)),
        3 => (0..3_u16, 0..10_u8, heard()).prop_map(|(v, mac, heard)| Told::Station(v, mac, heard)),
        1 => (0..3_u32, 0..3_u8)
            .prop_map(|(port, class)| Told::PortUp(port, PortClass::from_wire(class))),
        1 => (0..3_u32).prop_map(Told::PortDown),
        1 => (0..3_u32, 0..20_usize, prop::collection::vec(any::<u8>(), 0..200))
            .prop_map(|(port, which, octets)| Told::Probe(port, which, octets)),
        2 => (link(), 1..5_u32, any::<u32>())
            .prop_map(|(link, nick, sequence)| Told::Flood(link, nick, sequence)),
        1 => (prop::option::of(link()), 1..5_u32, any::<u32>())
            .prop_map(|(link, nick, flow)| Told::Unicast(link, nick, flow)),
        1 => Just(Told::Originate),
        1 => prop_oneof![9 => Just(Told::Originate), 1 => Just(Told::Leave)],
        6 => prop_oneof![0..400_i64, -500..0_i64, Just(5_000), Just(2_000_000)].prop_map(Told::Wait),
    ]
}

fn station(number: u8) -> MacAddr {
    // Some are no station's.
    MacAddr([if number > 8 { 3 } else { 2 }, 0, 0, 0, 0, number])
}

struct Alone {
    mesh: TestMesh,
    now: std::time::Instant,
    probes: Vec<Vec<u8>>,
    /// Beats that were sent on each link, for some to be echoed truly.
    sent: Vec<(LinkId, u32)>,
}

impl Alone {
    fn tell(&mut self, told: Told) {
        let now = self.now;
        let mesh = &mut self.mesh;
        let message = |mesh: &mut TestMesh, link: u32, message: Message| {
            // A fault closes the cable, as the shell would.
            if mesh.handle_message(LinkId(link), message, now).is_err() {
                mesh.handle_link_down(LinkId(link), now);
            }
        };
        match told {
            Told::LinkUp(link, node) => {
                let neighbour = Neighbour { key: key(node), name: Name::default() };
                let _ = mesh.handle_link_up(LinkId(link), neighbour, now);
            }
            Told::LinkDown(link) => mesh.handle_link_down(LinkId(link), now),
            Told::Room(link, open) => {
                mesh.handle_room(LinkId(link), if open { Room::Open } else { Room::Full });
            }
            Told::Cable(link, number) => message(mesh, link, Message::Cable(Cable { number })),
            Told::Records(link, records) => {
                let records = Records { records: Bounded::truncated(records) };
                message(mesh, link, Message::Records(records));
            }
            Told::Digest(link, mut known, answer, sorted) => {
                if sorted {
                    known.sort_by_key(|(node, ..)| *node);
                    known.dedup_by_key(|(node, ..)| *node);
                }
                let entry = |(node, incarnation, sequence): &(usize, Incarnation, u64)| {
                    let (origin, sequence) = (key(*node), *sequence);
                    DigestEntry { origin, incarnation: *incarnation, sequence, fingerprint: 7 }
                };
                let entries = Bounded::truncated(known.iter().map(entry).collect());
                let (first, last) = (mesh::NodeKey::MIN, mesh::NodeKey::MAX);
                message(mesh, link, Message::Digest(Digest { first, last, answer, entries }));
            }
            Told::Slots(link, node, incarnation, slots) => {
                let slot = |(slot, sequence): &(u8, u64)| SlotVersion {
                    slot: Slot(*slot),
                    sequence: *sequence,
                    fingerprint: 7,
                };
                let slots = Bounded::truncated(slots.iter().map(slot).collect());
                message(
                    mesh,
                    link,
                    Message::Slots(Slots { origin: key(node), incarnation, slots }),
                );
            }
            Told::Beat(link, mut beat) => {
                // Half of them answer what was sent, so that cables do come up.
                let last = self.sent.iter().rfind(|(id, _)| *id == LinkId(link));
                if let (Some((_, sequence)), Some(heard)) = (last, &mut beat.heard) {
                    heard.sequence = *sequence;
                    beat.deaf = false;
                }
                mesh.handle_beat(LinkId(link), &beat, now);
            }
            Told::Station(vlan, mac, heard) => {
                mesh.handle_station(VlanId(vlan), station(mac), heard, now);
            }
            Told::PortUp(port, class) => mesh.handle_port_up(PortId(port), class, "port", now),
            Told::PortDown(port) => mesh.handle_port_down(PortId(port), now),
            Told::Probe(port, which, octets) => {
                let frame = self.probes.get(which).cloned().unwrap_or(octets);
                mesh.handle_probe(PortId(port), &frame, now);
            }
            Told::Flood(link, nick, sequence) => {
                let links = mesh.flood(Nick::new(nick).unwrap(), sequence, LinkId(link));
                if let Ok(links) = links {
                    let back = links.filter(|next| *next == LinkId(link)).count();
                    assert_eq!(back, 0, "a flood goes back where it came from");
                }
            }
            Told::Unicast(link, nick, flow) => {
                let egress = Nick::new(nick).unwrap();
                let hop = mesh.next_hop(egress, link.map(LinkId), flow);
                if let (mesh::engine::NextHop::Link(next), Some(from)) = (hop, link) {
                    assert_ne!(next, LinkId(from));
                }
                assert!(mesh.initial_hops(egress) <= 63);
            }
            Told::Originate => drop(mesh.originate_flood()),
            Told::Leave => mesh.handle_leave(now),
            Told::Wait(millis) => {
                let by = Duration::from_millis(millis.unsigned_abs());
                // Backwards: the caller's clock, not the node's.
                if millis < 0 {
                    mesh.handle_timeout(now.checked_sub(by).unwrap_or(now));
                } else {
                    self.now += by;
                }
            }
        }
    }

    /// Takes what it has to say, until it is at rest.
    fn rest(&mut self) {
        let (mut said, mut turns) = (0, 0);
        loop {
            while let Some(transmit) = self.mesh.poll_transmit() {
                if let mesh::engine::Payload::Beat(beat) = transmit.payload {
                    self.sent.push((transmit.link, beat.sequence));
                }
                said += 1;
            }
            while self.mesh.poll_event().is_some() {}
            while self.mesh.poll_station().is_some() {}
            while self.mesh.poll_block().is_some() {}
            while let Some((_, frame)) = self.mesh.poll_probe() {
                self.probes.push(frame);
            }
            if self.mesh.poll_timeout().is_none_or(|due| due > self.now) {
                break;
            }
            self.mesh.handle_timeout(self.now);
            turns += 1;
            assert!(turns < 200, "it does not come to rest");
        }
        assert!(said < 500, "{said} messages about one thing");
        let sizes = self.mesh.sizes();
        assert!(sizes.nodes <= MAX_NODES, "{sizes:?}");
        assert!(sizes.record_octets <= 100_000, "{sizes:?}");
        assert!(sizes.claims <= MAX_STATIONS && sizes.own_stations <= 3, "{sizes:?}");
        assert!(sizes.notices <= 16 && sizes.moving <= 4096, "{sizes:?}");
        assert!(sizes.pending <= 4 * (MAX_NODES + 1) * 81, "{sizes:?}");
        let own = self.mesh.nodes(self.now).into_iter().filter(|node| node.is_own).count();
        assert_eq!(own, 1, "it knows itself");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_it_is_told_a_node_stays_whole(all in prop::collection::vec(told(), 1..80)) {
        #[expect(clippy::disallowed_methods, reason = "fake time begins somewhere")]
        let now = std::time::Instant::now() + Duration::from_secs(10_000);
        let config = Config {
            max_nodes: MAX_NODES,
            max_record_octets: 100_000,
            max_stations: MAX_STATIONS,
            max_own_stations: 3,
            ..Lab::config(0, 1, 0)
        };
        let mesh = Mesh::new(config, Notary(key(0)), now);
        let mut alone = Alone { mesh, now, probes: Vec::new(), sent: Vec::new() };
        alone.rest();
        for told in all {
            alone.tell(told);
            alone.rest();
        }
    }
}
