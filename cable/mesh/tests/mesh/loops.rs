//! Access ports that someone has joined outside.

use mesh::engine::{Event, Heard, LinkId, PortId, PortState, StationVerdict};
use mesh::message::{Bounded, Message, Records};
use mesh::probe::{PortClass, Probe};
use mesh::record::{Notice, Notices, PortName, Record, Slot, Version};

use super::lab::*;

fn port(lab: &mut Lab, node: usize, number: u32, class: PortClass) {
    let now = lab.now;
    lab.mesh(node).handle_port_up(PortId(number), class, &format!("port{number}"), now);
    lab.settle(node);
}

/// A triangle of nodes; two ports of the given classes at two of them.
fn triangle(a: (usize, PortClass), b: (usize, PortClass)) -> Lab {
    let mut lab = Lab::new(3);
    for node in 0..3 {
        lab.cable(node, (node + 1) % 3, ms(2));
    }
    port(&mut lab, a.0, 1, a.1);
    port(&mut lab, b.0, 2, b.1);
    lab.run(secs(30));
    lab
}

fn join(lab: &mut Lab, ports: &[(usize, u32)]) {
    let segment = ports.iter().map(|(node, port)| (*node, PortId(*port), true));
    lab.outside.push(segment.collect());
}

fn blocked(lab: &Lab) -> Vec<(usize, u32)> {
    lab.blocked.iter().map(|(node, port)| (*node, port.0)).collect()
}

use PortClass::{Gateway, Guest, Tap};

#[test]
fn nothing_is_blocked_where_nothing_is_joined_and_probes_are_rare() {
    let mut lab = triangle((0, Tap), (1, Tap));
    assert!(blocked(&lab).is_empty());
    lab.probes.clear();
    lab.run(secs(100));
    assert_eq!(lab.probes.len(), 100, "every 2 s by two ports");
}

#[test]
fn of_two_joined_ports_the_one_that_matters_less_is_blocked() {
    let cases = [
        ((0, Guest), (1, Tap), (0, 1)),
        ((1, Guest), (0, Tap), (1, 1)),
        ((0, Gateway), (1, Tap), (1, 2)),
        ((0, Tap), (1, Gateway), (0, 1)),
        ((0, Tap), (1, Tap), (1, 2)),
        ((1, Tap), (0, Tap), (1, 1)),
        ((2, Guest), (2, Guest), (2, 2)),
        ((2, Guest), (2, Tap), (2, 1)),
    ];
    for (a, b, loser) in cases {
        let mut lab = triangle(a, b);
        join(&mut lab, &[(a.0, 1), (b.0, 2)]);
        lab.run(secs(6));
        assert_eq!(blocked(&lab), [loser], "{a:?} {b:?}");
        // It stays so, and a third node is told both ends.
        let before = lab.control_messages;
        lab.run(secs(60));
        assert_eq!(blocked(&lab), [loser]);
        assert!(lab.control_messages - before <= 12, "quiet while nothing changes");
        let told = lab.mesh(2).notices();
        let is_loop = |notice: &Notice| matches!(notice, Notice::Loop { .. });
        assert!(told.iter().any(|(_, notice)| is_loop(notice)));
        // When the path outside goes, all is open again.
        lab.outside.clear();
        lab.run(secs(15));
        assert!(blocked(&lab).is_empty(), "{a:?} {b:?}");
        lab.run(secs(5));
        assert!(lab.mesh(2).notices().is_empty());
        let cleared = |event: &Event| matches!(event, Event::LoopCleared { .. });
        assert!(lab.events(loser.0).iter().any(cleared));
    }
}

#[test]
fn a_path_outside_that_leads_one_way_is_found_whoever_hears_it() {
    for way in 0..2 {
        for classes in [(Guest, Tap), (Tap, Guest), (Tap, Tap)] {
            let mut lab = triangle((0, classes.0), (1, classes.1));
            let out = [way == 0, way == 1];
            lab.outside.push(vec![(0, PortId(1), out[0]), (1, PortId(2), out[1])]);
            lab.run(secs(6));
            let loser = if classes.0 < classes.1 { (0, 1) } else { (1, 2) };
            assert_eq!(blocked(&lab), [loser], "{way} {classes:?}");
            lab.run(secs(60));
            assert_eq!(blocked(&lab), [loser], "{way} {classes:?}");
            lab.outside.clear();
            lab.run(secs(20));
            assert!(blocked(&lab).is_empty());
        }
    }
}

#[test]
fn a_new_port_in_a_loop_is_blocked_at_once() {
    let mut lab = triangle((0, Tap), (1, Tap));
    join(&mut lab, &[(0, 1), (2, 9)]);
    port(&mut lab, 2, 9, Tap);
    lab.run(ms(50));
    assert_eq!(blocked(&lab), [(2, 9)]);
    let events = lab.events(2);
    let found = events.iter().find_map(|event| match event {
        Event::LoopFound { port, other, other_port, state } => {
            Some((*port, other.key, other_port.as_str(), *state))
        }
        _ => None,
    });
    // The other port's name is in its probe, or in its node's notice.
    assert_eq!(found, Some((PortId(9), key(0), "port1", PortState::Blocked)), "{events:?}");
}

#[test]
fn a_new_port_of_a_network_listens_for_a_second_before_data_pass() {
    let mut lab = triangle((0, Tap), (1, Guest));
    for (number, class) in [(3, Tap), (4, Gateway), (5, Guest)] {
        port(&mut lab, 2, number, class);
    }
    assert_eq!(blocked(&lab), [(2, 3)], "guests and the gateway need not wait");
    let state = |lab: &mut Lab, port| lab.mesh(2).port_state(PortId(port));
    assert_eq!(state(&mut lab, 3), PortState::Listening);
    lab.run(ms(999));
    assert_eq!(blocked(&lab), [(2, 3)]);
    lab.run(ms(1));
    assert!(blocked(&lab).is_empty());
    // One that closes a loop outside is never open.
    join(&mut lab, &[(0, 1), (2, 9)]);
    port(&mut lab, 2, 9, Tap);
    for _ in 0..300 {
        assert_eq!(blocked(&lab), [(2, 9)]);
        lab.run(ms(10));
    }
    assert_eq!(state(&mut lab, 9), PortState::Blocked);
}

#[test]
fn stations_that_seem_to_move_between_two_ports_are_reason_to_probe_at_once() {
    let mut lab = triangle((0, Tap), (0, Tap));
    lab.run(ms(2500));
    lab.probes.clear();
    let now = lab.now;
    for _ in 0..1000 {
        lab.mesh(0).handle_flapping(now);
        lab.settle(0);
        lab.run(ms(1));
    }
    assert!((2..=6).contains(&lab.probes.len()), "{} probes", lab.probes.len());
}

#[test]
fn of_three_ports_on_one_network_one_stays_open() {
    let mut lab = triangle((0, Tap), (1, Tap));
    port(&mut lab, 2, 3, Gateway);
    join(&mut lab, &[(0, 1), (1, 2), (2, 3)]);
    lab.run(secs(6));
    assert_eq!(blocked(&lab), [(0, 1), (1, 2)]);
}

#[test]
fn a_port_opens_when_the_path_outside_is_the_only_one_left() {
    let mut lab = triangle((0, Tap), (1, Tap));
    join(&mut lab, &[(0, 1), (1, 2)]);
    lab.run(secs(6));
    assert_eq!(blocked(&lab), [(1, 2)]);
    lab.close(0);
    lab.close(1);
    lab.run(ms(100));
    assert!(blocked(&lab).is_empty());
    lab.cable(0, 1, ms(2));
    lab.run(secs(7));
    assert_eq!(blocked(&lab), [(1, 2)]);
}

#[test]
fn a_loop_by_way_of_a_node_that_is_cut_off_is_found() {
    // Whichever of them has the lowest key.
    for alone in 0..3 {
        let mut lab = Lab::new(3);
        let [a, b] = [(alone + 1) % 3, (alone + 2) % 3];
        lab.cable(a, b, ms(2));
        for (node, number) in [(a, 1), (b, 1), (alone, 1), (alone, 2)] {
            port(&mut lab, node, number, Tap);
        }
        lab.run(secs(10));
        join(&mut lab, &[(a, 1), (alone, 1)]);
        lab.run(secs(10));
        assert!(blocked(&lab).is_empty(), "one path outside is no loop");
        join(&mut lab, &[(b, 1), (alone, 2)]);
        lab.run(secs(4));
        let found = blocked(&lab);
        assert_eq!(found.len(), 1, "one port is enough: {found:?}");
        for _ in 0..60 {
            lab.run(secs(1));
            assert_eq!(blocked(&lab), found);
        }
        lab.outside.pop();
        lab.run(secs(15));
        assert!(blocked(&lab).is_empty());
    }
}

#[test]
fn of_three_meshes_joined_in_a_ring_one_blocks_a_port() {
    let mut lab = Lab::new(6);
    // The keys of the one are among those of the others.
    for (a, b) in [(0, 3), (1, 4), (2, 5)] {
        lab.cable(a, b, ms(2));
        for node in [a, b] {
            port(&mut lab, node, 1, Tap);
        }
    }
    lab.run(secs(10));
    for (a, b) in [(3, 1), (4, 2), (5, 0)] {
        join(&mut lab, &[(a, 1), (b, 1)]);
    }
    lab.run(secs(4));
    let found = blocked(&lab);
    assert_eq!(found.len(), 1, "{found:?}");
    lab.run(secs(60));
    assert_eq!(blocked(&lab), found);
}

#[test]
fn probes_that_are_forged_stale_or_of_strangers_block_nothing() {
    let mut lab = triangle((0, Tap), (1, Guest));
    let own_old = lab.probes.iter().find(|(node, ..)| *node == 0).unwrap().2.clone();
    assert!(Probe::is_probe(&own_old));
    let probe = |node, port, nonce| Probe {
        sender: key(node),
        group: key(node),
        port,
        class: Guest,
        nonce,
        name: PortName::default(),
    };
    let stranger = probe(77, 1, 1).encode(&Notary(key(77)));
    let mut forged = probe(1, 2, 99).encode(&Notary(key(1)));
    *forged.last_mut().unwrap() ^= 1;
    let now = lab.now;
    for frame in [own_old, stranger, forged] {
        lab.mesh(0).handle_probe(PortId(1), &frame, now);
        lab.settle(0);
        lab.run(secs(1));
        assert!(blocked(&lab).is_empty());
    }
    assert_eq!(lab.mesh(0).counters().probes_ignored, 3);
    for len in 0..160 {
        lab.mesh(0).handle_probe(PortId(1), &vec![0xff; len], now);
    }
}

#[test]
fn a_guest_that_plays_a_probe_back_blocks_its_own_port_only() {
    // Node 0's tap is on a network where a guest of node 1 listens.
    let mut lab = triangle((0, Tap), (1, Guest));
    for _ in 0..30 {
        lab.run(secs(1));
        let heard = lab.probes.iter().rfind(|(node, ..)| *node == 0).unwrap().2.clone();
        let now = lab.now;
        lab.mesh(1).handle_probe(PortId(2), &heard, now);
        lab.settle(1);
    }
    assert_eq!(blocked(&lab), [(1, 2)]);
    // One probe played back for ever keeps nothing blocked.
    let heard = lab.probes.iter().rfind(|(node, ..)| *node == 0).unwrap().2.clone();
    for _ in 0..30 {
        lab.run(secs(1));
        let now = lab.now;
        lab.mesh(1).handle_probe(PortId(2), &heard, now);
        lab.settle(1);
    }
    assert!(blocked(&lab).is_empty());
}

#[test]
fn a_node_that_tells_of_a_probe_that_was_not_sent_of_late_blocks_nothing() {
    let mut lab = triangle((0, Guest), (1, Tap));
    let old = Probe::parse(&lab.probes.iter().find(|(node, ..)| *node == 0).unwrap().2).unwrap();
    let new = Probe::parse(&lab.probes.iter().rfind(|(node, ..)| *node == 0).unwrap().2).unwrap();
    let incarnation = Lab::config(1, 1, 0).incarnation;
    for (sequence, nonce) in [(1000, 7), (1001, old.nonce), (1002, new.nonce)] {
        let notice = Notice::Loop {
            port: PortName::new("x").unwrap(),
            number: 2,
            class: Tap.to_wire(),
            sender: key(0),
            sender_number: 1,
            nonce,
        };
        let notices: Notices = Bounded::truncated(vec![notice]);
        let version = Version { incarnation, sequence };
        let record = Record::sign(key(1), version, Slot::NOTICES, &notices, &Notary(key(1)));
        let records = Records { records: Bounded::truncated(vec![record]) };
        lab.inject(0, LinkId(0), Message::Records(records));
        // The last one is as good as true.
        assert_eq!(blocked(&lab).is_empty(), nonce != new.nonce);
    }
}

#[test]
fn stations_that_a_loop_carried_around_are_heard_when_it_is_cut() {
    let mut lab = triangle((0, Tap), (1, Tap));
    let mac = ether::MacAddr([2, 0, 0, 0, 0, 9]);
    lab.hear(2, mac, Heard::Announcement);
    lab.run(secs(1));
    join(&mut lab, &[(0, 1), (1, 2)]);
    // What it says goes round before the loop is found.
    for _ in 0..4 {
        for node in [0, 1, 2] {
            lab.hear(node, mac, Heard::Announcement);
            lab.run(ms(20));
        }
    }
    assert_eq!(lab.hear(2, mac, Heard::Announcement), StationVerdict::Refused);
    lab.run(secs(8));
    assert_eq!(blocked(&lab), [(1, 2)]);
    assert_eq!(lab.hear(2, mac, Heard::Frame), StationVerdict::Here);
    lab.run(secs(1));
    assert_eq!((lab.owner_at(0, mac), lab.owner_at(1, mac)), (Some(2), Some(2)));
    let told = lab.mesh(2).notices();
    assert!(!told.iter().any(|(_, n)| matches!(n, Notice::DuplicateStation { .. })), "{told:?}");
}

#[test]
fn a_duplicate_that_was_there_before_a_loop_stays_one() {
    let mut lab = triangle((0, Tap), (1, Tap));
    let mac = ether::MacAddr([2, 0, 0, 0, 0, 9]);
    for _ in 0..4 {
        for node in [0, 2] {
            lab.hear(node, mac, Heard::Announcement);
            lab.run(ms(200));
        }
    }
    let refused = |lab: &mut Lab| {
        let nodes = [0, 2].into_iter();
        nodes.filter(|n| lab.hear(*n, mac, Heard::Announcement) == StationVerdict::Refused).count()
    };
    assert_eq!(refused(&mut lab), 1);
    lab.run(secs(60));
    join(&mut lab, &[(0, 1), (1, 2)]);
    lab.run(secs(8));
    assert_eq!(blocked(&lab), [(1, 2)]);
    assert_eq!(refused(&mut lab), 1);
}

#[test]
fn many_ports_that_are_to_send_probes_at_once_send_a_few_in_a_turn_and_go_on_apart() {
    let mut lab = Lab::new(1);
    let now = lab.now;
    let mesh = lab.mesh(0);
    for number in 0..200 {
        mesh.handle_port_up(PortId(number), Guest, "port", now);
    }
    let mut sent = Vec::new();
    while mesh.poll_timeout().is_some_and(|due| due <= now) {
        mesh.handle_timeout(now);
        let before = sent.len();
        sent.extend(std::iter::from_fn(|| mesh.poll_probe()));
        assert!(sent.len() - before <= 16);
    }
    let ports: std::collections::BTreeSet<_> = sent.iter().map(|(port, _)| *port).collect();
    assert_eq!((sent.len(), ports.len()), (200, 200));
    lab.run(secs(30));
    lab.probes.clear();
    for _ in 0..20 {
        let before = lab.probes.len();
        lab.run(ms(100));
        assert!(lab.probes.len() - before < 40, "{}", lab.probes.len() - before);
    }
    assert_eq!(lab.probes.len(), 200);
}

#[test]
fn a_burst_of_probes_is_checked_a_little_at_a_time() {
    let mut lab = triangle((0, Tap), (1, Tap));
    lab.probes.clear();
    let now = lab.now;
    for number in 10..40 {
        lab.mesh(1).handle_port_up(PortId(number), Guest, "port", now);
    }
    lab.run(ms(10));
    let probes: Vec<_> = lab.probes.iter().map(|(.., frame)| frame.clone()).collect();
    assert!(probes.len() >= 30);
    // Ports of node 0 that are joined with them hear them all at once.
    let now = lab.now;
    for (number, frame) in (100..).zip(&probes) {
        lab.mesh(0).handle_port_up(PortId(number), Guest, "port", now);
        lab.mesh(0).handle_probe(PortId(number), frame, now);
    }
    let found = |lab: &mut Lab| {
        lab.settle(0);
        let events = lab.events(0);
        events.iter().filter(|event| matches!(event, Event::LoopFound { .. })).count()
    };
    let first = found(&mut lab);
    assert!((1..=4).contains(&first), "{first} at once");
    lab.run(ms(10));
    assert_eq!(first + found(&mut lab), probes.len());
}
