//! A thousand nodes, seen by one. Nothing here asserts a time; what it took is printed
//! (`--nocapture`, in an optimised build).

use std::time::{Duration, Instant};

use mesh::beat::{Beat, Heard};
use mesh::engine::{LinkId, Neighbour, Payload};
use mesh::message::{Bounded, Cable, Message, Name, Records};
use mesh::record::{Incarnation, LinkEntry, LinkState, Record, Slot, Version};
use mesh::{Mesh, Nick};

use super::lab::*;

const NODES: usize = 1000;

#[expect(clippy::disallowed_methods, reason = "prints what the work took")]
fn timed(what: &str, work: impl FnOnce()) {
    let start = Instant::now();
    work();
    println!("{what}: {:?}", start.elapsed());
}

/// What node `node` of a ring with chords says; node 1 has a cable to the one that looks.
fn state(node: usize, observer: Option<LinkEntry>) -> LinkState {
    let number = |a: usize, b: usize| u32::try_from(a * 2000 + b).unwrap();
    let link = |to: usize| LinkEntry {
        peer: key(to),
        number: number(node, to),
        peer_number: number(to, node),
        cost: 3 + u32::try_from((node * to) % 17).unwrap(),
    };
    let at = |steps: usize| 1 + (node - 1 + steps) % NODES;
    let mut links: Vec<_> = [1, NODES - 1, 37, NODES - 37].map(|steps| link(at(steps))).into();
    links.extend(observer);
    links.sort();
    LinkState {
        nick: Nick::new(u32::try_from(node + 500_000).unwrap()).unwrap(),
        name: Name::new(&format!("n{node}")).unwrap(),
        capabilities: 0,
        links: Bounded::truncated(links),
    }
}

#[test]
fn a_thousand_nodes_are_known_and_reached() {
    #[expect(clippy::disallowed_methods, reason = "fake time begins somewhere")]
    let mut now = Instant::now();
    let mut mesh = Mesh::new(Lab::config(0, 1, 0), Notary(key(0)), now);
    let link = LinkId(7);
    mesh.handle_link_up(link, Neighbour { key: key(1), name: Name::default() }, now).unwrap();
    mesh.handle_message(link, Message::Cable(Cable { number: 5 }), now).unwrap();
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
    let to_observer = LinkEntry { peer: key(0), number: 5, peer_number: number.unwrap(), cost: 12 };
    let version = Version { incarnation: Incarnation { epoch: 1, instance: 1 }, sequence: 1 };
    let sign = |node: usize| {
        let state = state(node, (node == 1).then_some(to_observer));
        Record::sign(key(node), version, Slot::LINK_STATE, &state, &Notary(key(node)))
    };
    let records: Vec<Record> = (1..=NODES).map(sign).collect();
    timed("1000 records", || {
        for chunk in records.chunks(200) {
            let records = Records { records: Bounded::truncated(chunk.to_vec()) };
            mesh.handle_message(link, Message::Records(records), now).unwrap();
        }
    });
    now += ms(10);
    timed("the paths from here", || mesh.handle_timeout(now));
    timed("the paths from one neighbour", || mesh.handle_timeout(now));
    let nodes = mesh.nodes(now);
    let reached = nodes.iter().filter(|node| node.route.is_some()).count();
    assert_eq!(reached, NODES + 1);
    let farthest = nodes.iter().filter_map(|node| node.route).map(|route| route.hops).max();
    assert!(farthest.unwrap() < 40, "{farthest:?}");
}
