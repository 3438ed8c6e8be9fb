//! Restarts, lost disks, clones, clashes, and records that nobody should believe.

use ether::MacAddr;
use mesh::authority::Signature;
use mesh::engine::{Config, Event, Heard, LinkId, RefusalReason};
use mesh::message::{Bounded, Digest, Hello, Message, Name, Records, SUPPORTED_VERSIONS};
use mesh::record::{Incarnation, LinkEntry, LinkState, Notice, Record, Slot, Version};
use mesh::{Nick, NodeKey};

use super::lab::*;

fn chain(nodes: usize) -> Lab {
    let mut lab = Lab::new(nodes);
    for node in 1..nodes {
        lab.cable(node - 1, node, ms(2));
    }
    lab.run(secs(5));
    lab
}

/// Restarts node 0 of a chain of three.
fn restart(lab: &mut Lab, epoch: u64) {
    lab.kill(0);
    lab.close(0);
    lab.boot(0, epoch, 1);
    lab.cable(0, 1, ms(2));
    lab.run(secs(5));
}

#[test]
fn a_restarted_node_is_taken_back() {
    let mut lab = chain(3);
    restart(&mut lab, 2);
    lab.assert_whole(&[0, 1, 2]);
    assert!(!lab.events(0).iter().any(|event| matches!(event, Event::EpochRaised(_))));
}

#[test]
fn a_node_that_lost_its_disk_goes_on_above_its_old_records() {
    let mut lab = Lab::new(3);
    lab.boot(0, 900, 0);
    lab.cable(0, 1, ms(2));
    lab.cable(1, 2, ms(2));
    lab.run(secs(5));
    restart(&mut lab, 3);
    lab.assert_whole(&[0, 1, 2]);
    assert!(lab.events(0).contains(&Event::EpochRaised(901)));
    for node in [1, 2] {
        let cloned = |event: &Event| matches!(event, Event::KeyCloned(_));
        assert!(!lab.events(node).iter().any(cloned));
    }
}

#[test]
fn a_node_set_back_to_a_copy_of_itself_goes_on() {
    let mut lab = chain(3);
    // The same run with the same seed, at the sequence it had at its start.
    lab.kill(0);
    lab.close(0);
    lab.boot(0, 1, 0);
    lab.cable(0, 1, ms(2));
    lab.run(secs(5));
    lab.assert_whole(&[0, 1, 2]);
}

#[test]
fn of_two_nodes_with_one_key_the_first_stays_and_the_others_hear_of_it() {
    let mut lab = chain(4);
    // A fifth place in the world, with node 0's key and a later start.
    lab.nodes.push(None);
    lab.boot_with(4, Lab::config(0, 2, 7));
    lab.cable(4, 3, ms(2));
    lab.run(secs(30));
    let cloned = |event: &Event| matches!(event, Event::KeyCloned(who) if who.key == key(0));
    assert!((1..4).any(|node| lab.events(node).iter().any(cloned)));
    let notice = Notice::ClonedKey { key: key(0) };
    for node in 0..4 {
        assert!(lab.mesh(node).notices().iter().any(|(_, n)| *n == notice), "node {node} knows");
    }
    lab.assert_whole(&[0, 1, 2, 3]);
    let before = lab.control_messages;
    lab.run(secs(600));
    assert!(lab.control_messages - before < 200, "the duel has an end");
}

#[test]
fn when_the_copy_that_was_listened_to_has_gone_the_original_is_taken_back() {
    let mut lab = Lab::new(4);
    lab.boot(0, 1, 7);
    for node in 1..4 {
        lab.cable(node - 1, node, ms(2));
    }
    lab.run(secs(5));
    // The copy draws the lower instance, as it may when it starts within the same second.
    lab.nodes.push(None);
    lab.boot_with(4, Lab::config(0, 2, 0));
    let cable = lab.cable(4, 3, ms(2));
    lab.run(secs(10));
    lab.kill(4);
    lab.close(cable);
    lab.run(secs(5));
    lab.assert_whole(&[0, 1, 2, 3]);
}

#[test]
fn the_original_is_taken_back_by_those_who_had_only_the_copy_for_a_while() {
    let mut lab = Lab::new(4);
    let cables: Vec<_> = (1..4).map(|node| lab.cable(node - 1, node, ms(2))).collect();
    lab.run(secs(5));
    lab.nodes.push(None);
    lab.boot_with(4, Lab::config(0, 2, 7));
    let copy = lab.cable(4, 3, ms(2));
    lab.run(secs(5));
    // Nodes 2 and 3 cannot reach the original any more, and listen to the copy.
    lab.close(cables[1]);
    lab.run(secs(40));
    let now = lab.now;
    let nodes = lab.mesh(2).nodes(now);
    let copied = nodes.iter().find(|node| node.key == key(0)).and_then(|node| node.route);
    assert_eq!(copied.expect("the copy is listened to").next, key(3));
    lab.kill(4);
    lab.close(copy);
    lab.run(secs(1));
    lab.cable(1, 2, ms(2));
    lab.run(secs(5));
    lab.assert_whole(&[0, 1, 2, 3]);
}

#[test]
fn two_nodes_with_one_nick_both_take_another() {
    let mut lab = Lab::new(3);
    let mut config = Lab::config(2, 1, 0);
    config.nick = Lab::config(0, 1, 0).nick;
    let nick = config.nick;
    lab.boot_with(2, config);
    // What the one flooded before must not stand in the way of what the other floods later.
    for other in [0, 2] {
        let cable = lab.cable(other, 1, ms(2));
        lab.run(secs(2));
        lab.flood(other);
        lab.run(secs(1));
        lab.close(cable);
        lab.run(secs(1));
    }
    lab.cable(0, 1, ms(2));
    lab.cable(1, 2, ms(2));
    lab.run(secs(5));
    for node in [0, 2] {
        let new = lab.mesh(node).nick();
        assert_ne!(new, nick);
        let told = |event: &Event| matches!(event, Event::NickChanged { nick, .. } if *nick == new);
        assert!(lab.events(node).iter().any(told));
    }
    lab.assert_whole(&[0, 1, 2]);
}

/// A record that node 1's neighbour could show it, made by whoever.
fn record(origin: NodeKey, epoch: u64, links: Vec<LinkEntry>) -> Record {
    let state = LinkState {
        nick: Nick::new(77).unwrap(),
        name: Name::new("stranger").unwrap(),
        capabilities: 0,
        links: Bounded::truncated(links),
    };
    let version = Version { incarnation: Incarnation { epoch, instance: 1 }, sequence: 1 };
    Record::sign(origin, version, Slot::LINK_STATE, &state, &Notary(origin))
}

fn tell(lab: &mut Lab, records: Vec<Record>) {
    let records = Records { records: Bounded::truncated(records) };
    lab.inject(1, LinkId(0), Message::Records(records));
}

#[test]
fn a_forged_record_is_refused_and_named() {
    let mut lab = chain(3);
    lab.events(1);
    let mut forged = record(key(2), 99, Vec::new());
    forged.signature = Signature([7; 64]);
    tell(&mut lab, vec![forged]);
    let events = lab.events(1);
    let [Event::RecordRefused { link, origin, reason }] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!((*link, *reason), (LinkId(0), RefusalReason::Signature));
    assert_eq!(origin.to_string(), format!("n2 ({:?})", key(2)));
    assert_eq!(lab.mesh(1).counters().refused[&RefusalReason::Signature], 1);
    lab.run(secs(1));
    lab.assert_whole(&[0, 1, 2]);
}

#[test]
fn records_that_were_tampered_with_are_refused_whatever_was_changed() {
    let mut lab = chain(3);
    let good = record(key(9), 5, Vec::new());
    let mut cases = Vec::new();
    for change in 0..5 {
        let mut bad = good.clone();
        match change {
            0 => bad.version.sequence += 1,
            1 => bad.version.incarnation.epoch += 1,
            2 => bad.version.incarnation.instance += 1,
            3 => bad.origin = key(8),
            _ => bad.body = record(key(9), 5, vec![entry(key(1), 3)]).body,
        }
        cases.push(bad);
    }
    tell(&mut lab, cases);
    assert_eq!(lab.mesh(1).counters().refused[&RefusalReason::Signature], 5);
    tell(&mut lab, vec![good]);
    assert_eq!(lab.views(1).len(), 4, "the record itself is fine");
}

fn entry(peer: NodeKey, cost: u32) -> LinkEntry {
    LinkEntry { peer, number: 1, peer_number: 1, cost }
}

#[test]
fn impossible_records_are_refused() {
    let mut lab = chain(3);
    let own = key(9);
    let bad = vec![
        record(own, 1, vec![entry(key(1), 0)]),
        record(own, 1, vec![entry(key(1), 70_000)]),
        record(own, 1, vec![entry(own, 5)]),
        record(own, 1, vec![entry(key(1), 5), entry(key(1), 5)]),
        record(own, 1, vec![entry(key(2), 5), entry(key(1), 5)]),
    ];
    let count = bad.len() as u64;
    tell(&mut lab, bad);
    assert_eq!(lab.mesh(1).counters().refused[&RefusalReason::Body], count);
    // 65 links, written by hand.
    let version = Version { incarnation: Incarnation { epoch: 1, instance: 1 }, sequence: 1 };
    let links: Vec<_> = (0..65).map(|n| entry(key(100 + n), 5)).collect();
    let body = (Nick::new(7).unwrap(), "x", 0_u32, links);
    let many = Record::sign(own, version, Slot::LINK_STATE, &body, &Notary(own));
    let slot = Record::sign(own, version, Slot(200), &0_u8, &Notary(own));
    tell(&mut lab, vec![many, slot]);
    let refused = lab.mesh(1).counters().refused;
    assert_eq!(refused[&RefusalReason::Body], count + 1);
    assert_eq!(refused[&RefusalReason::Slot], 1);
    assert_eq!(lab.views(1).len(), 3);
}

#[test]
fn a_cable_that_brings_forgeries_does_not_keep_the_node_busy() {
    let mut lab = chain(2);
    for round in 0..100 {
        let mut forged = Vec::new();
        for n in 0..100 {
            let mut record = record(key(1000 + round * 100 + n), 1, Vec::new());
            record.signature = Signature([1; 64]);
            forged.push(record);
        }
        tell(&mut lab, forged);
    }
    let counters = lab.mesh(1).counters();
    assert!(counters.verified < 40, "{} signatures checked", counters.verified);
    assert!(lab.events(1).len() < 40);
    lab.run(secs(30));
    lab.assert_whole(&[0, 1]);
}

#[test]
fn who_forges_records_in_a_nodes_name_does_not_silence_it() {
    let mut lab = chain(3);
    let mac = MacAddr([2, 0, 0, 0, 0, 9]);
    for round in 0..40 {
        let forged = (0..100).map(|n| {
            let mut record = record(key(2), 99 + round * 100 + n, Vec::new());
            record.signature = Signature([1; 64]);
            record
        });
        tell(&mut lab, forged.collect());
        if round == 20 {
            lab.hear(2, mac, Heard::Frame);
        }
        lab.run(ms(20));
    }
    assert_eq!(lab.owner_at(1, mac), Some(2));
    assert_eq!(lab.owner_at(0, mac), Some(2));
}

#[test]
fn who_compares_all_the_time_is_not_told_everything_each_time() {
    let mut lab = chain(3);
    let before = lab.control_messages;
    for _ in 0..1000 {
        let digest = Digest {
            first: NodeKey::MIN,
            last: NodeKey::MAX,
            answer: true,
            entries: Bounded::default(),
        };
        lab.inject(1, LinkId(0), Message::Digest(digest));
        lab.run(ms(1));
    }
    let told = lab.control_messages - before;
    assert!((16..100).contains(&told), "{told} messages");
    assert!(lab.mesh(1).counters().digests_dropped > 900);
    lab.run(secs(20));
    lab.assert_whole(&[0, 1, 2]);
}

#[test]
fn an_old_record_is_answered_with_the_newer_one() {
    let mut lab = chain(3);
    let old = record(key(2), 0, Vec::new());
    tell(&mut lab, vec![old]);
    assert_eq!(lab.mesh(1).counters().outdated, 1);
    assert_eq!(lab.views(1)[2].name.as_str(), "n2");
}

#[test]
fn messages_out_of_place_close_the_cable() {
    let mut lab = chain(2);
    let hello = Hello {
        versions: SUPPORTED_VERSIONS,
        node_name: Name::default(),
        nick: Nick::new(1).unwrap(),
        software: Name::default(),
        max_frame: 1514,
        capabilities: mesh::message::Capabilities::default(),
        cable: 0,
    };
    let upside_down = Digest {
        first: NodeKey::MAX,
        last: NodeKey::MIN,
        answer: false,
        entries: Bounded::default(),
    };
    let cable = mesh::message::Cable { number: 1 };
    for message in [Message::Hello(hello), Message::Cable(cable), Message::Digest(upside_down)] {
        lab.inject(1, LinkId(0), message);
    }
    assert_eq!(lab.faults.len(), 3, "{:?}", lab.faults);
}

#[test]
fn the_table_of_nodes_is_bounded_and_reachable_nodes_keep_their_place() {
    let mut lab = Lab::new(3);
    let config = Config { max_nodes: 8, ..Lab::config(1, 1, 0) };
    lab.boot_with(1, config);
    lab.cable(0, 1, ms(1));
    lab.cable(1, 2, ms(1));
    lab.run(secs(5));
    for n in 0..50 {
        tell(&mut lab, vec![record(key(100 + n), 1, Vec::new())]);
        assert!(lab.views(1).len() <= 8);
    }
    lab.run(secs(5));
    lab.assert_whole(&[0, 1, 2]);
}
