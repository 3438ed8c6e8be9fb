//! Many nodes at once. Nothing here asserts a time; the numbers are printed.

use mesh::Nick;
use mesh::authority::Signature;
use mesh::engine::LinkId;
use mesh::message::{Bounded, Message, Name, Records};
use mesh::record::{Incarnation, LinkEntry, LinkState, Record, Slot, Version};

use super::lab::*;

/// A ring of `nodes` with chords, all seen from node 0, which is real.
#[test]
fn a_thousand_nodes_are_known_and_reached() {
    let mut lab = Lab::new(2);
    lab.cable(0, 1, ms(1));
    lab.run(secs(1));
    let count = 1000;
    let number = |a: usize, b: usize| u32::try_from(a * 2000 + b).unwrap();
    let link = |from: usize, to: usize| LinkEntry {
        peer: key(to),
        number: number(from, to),
        peer_number: number(to, from),
        cost: 3 + u32::try_from((from * to) % 17).unwrap(),
    };
    let mut records = Vec::new();
    for node in 10..count {
        let wrap = |to: usize| 10 + (to - 10) % (count - 10);
        let back = |by: usize| 10 + (node - 10 + (count - 10) - by) % (count - 10);
        let mut links: Vec<_> =
            [wrap(node + 1), back(1), wrap(node + 37), back(37)].map(|to| link(node, to)).into();
        links.sort();
        let state = LinkState {
            nick: Nick::new(u32::try_from(node + 500_000).unwrap()).unwrap(),
            name: Name::new(&format!("n{node}")).unwrap(),
            capabilities: 0,
            links: Bounded::truncated(links),
        };
        let version = Version { incarnation: Incarnation { epoch: 1, instance: 1 }, sequence: 1 };
        records.push(Record::sign(
            key(node),
            version,
            Slot::LINK_STATE,
            &state,
            &Notary(key(node)),
        ));
    }
    for chunk in records.chunks(200) {
        let records = Records { records: Bounded::truncated(chunk.to_vec()) };
        lab.inject(1, LinkId(0), Message::Records(records));
    }
    lab.run(secs(2));
    assert_eq!(lab.views(1).len(), count - 8);
    assert_eq!(records[0].signature, records[0].clone().signature);
    assert_ne!(records[0].signature, Signature([0; 64]));
}
