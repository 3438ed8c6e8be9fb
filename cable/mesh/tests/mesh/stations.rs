//! Stations that are heard, move, speak at two places, and are many.

use ether::{MacAddr, VlanId};
use mesh::engine::{Config, Event, Heard, LinkId, RefusalReason, Room, StationVerdict};
use mesh::message::{Bounded, Message, Records};
use mesh::record::{Incarnation, Record, Slot, StationEntry, StationPage, Version};

use super::lab::*;

fn mac(number: u32) -> MacAddr {
    let [a, b, c, d] = number.to_be_bytes();
    MacAddr([2, 0, a, b, c, d])
}

fn chain(nodes: usize) -> Lab {
    let mut lab = Lab::new(nodes);
    for node in 1..nodes {
        lab.cable(node - 1, node, ms(5));
    }
    lab.run(secs(5));
    lab
}

#[test]
fn a_station_is_known_everywhere_one_way_later_and_gone_when_it_is_gone() {
    let mut lab = chain(3);
    assert_eq!(lab.hear(0, mac(1), Heard::Frame), StationVerdict::Here);
    lab.run(ms(11));
    assert_eq!(lab.owner_at(1, mac(1)), Some(0));
    assert_eq!(lab.owner_at(2, mac(1)), Some(0));
    assert_eq!(lab.owner_at(0, mac(1)), None, "it is its own");
    lab.hear(0, mac(1), Heard::Gone);
    lab.run(secs(2));
    assert_eq!(lab.owner_at(2, mac(1)), None);
    lab.assert_whole(&[0, 1, 2]);
}

#[test]
fn a_frame_for_a_station_that_is_gone_makes_its_node_say_so_at_once() {
    let mut lab = chain(3);
    for number in [1, 2] {
        lab.hear(0, mac(number), Heard::Frame);
    }
    lab.hear(0, mac(3), Heard::Static);
    lab.run(secs(1));
    // What nobody asks for is told in its own time.
    lab.hear(0, mac(1), Heard::Gone);
    lab.run(ms(500));
    assert_eq!(lab.owner_at(2, mac(1)), Some(0));
    let stray = |lab: &mut Lab, mac| {
        let now = lab.now;
        lab.mesh(0).handle_stray(VlanId(0), mac, now);
        lab.settle(0);
        lab.run(ms(40));
    };
    stray(&mut lab, mac(1));
    assert_eq!(lab.owner_at(2, mac(1)), None);
    // The mesh need not have been told that it is gone.
    stray(&mut lab, mac(2));
    assert_eq!(lab.owner_at(2, mac(2)), None);
    // But one that is configured stays, and many such frames cause no news.
    let before = lab.control_messages;
    for _ in 0..50 {
        stray(&mut lab, mac(3));
        stray(&mut lab, mac(2));
    }
    assert_eq!(lab.owner_at(2, mac(3)), Some(0));
    assert_eq!(lab.control_messages, before);
    assert_eq!(lab.hear(0, mac(2), Heard::Frame), StationVerdict::Here);
    lab.run(ms(40));
    assert_eq!(lab.owner_at(2, mac(2)), Some(0));
}

#[test]
fn a_station_that_announces_itself_elsewhere_is_there_at_once() {
    let mut lab = chain(3);
    lab.hear(0, mac(1), Heard::Frame);
    lab.run(secs(1));
    assert_eq!(lab.hear(2, mac(1), Heard::Announcement), StationVerdict::Here);
    lab.run(ms(11));
    assert_eq!(lab.owner_at(0, mac(1)), Some(2));
    assert_eq!(lab.owner_at(1, mac(1)), Some(2));
    assert_eq!(lab.owner_at(2, mac(1)), None);
    // A frame that was under way at its old place does not bring it back.
    assert_eq!(lab.hear(0, mac(1), Heard::Frame), StationVerdict::Elsewhere);
    lab.run(secs(1));
    // It comes back with a frame alone, after a second, or with an announcement at any time.
    assert_eq!(lab.hear(0, mac(1), Heard::Frame), StationVerdict::Here);
    lab.run(ms(30));
    assert_eq!(lab.owner_at(2, mac(1)), Some(0));
    assert_eq!(lab.hear(2, mac(1), Heard::Announcement), StationVerdict::Here);
    lab.run(ms(30));
    assert_eq!(lab.owner_at(0, mac(1)), Some(2));
    lab.run(secs(3));
    lab.assert_whole(&[0, 1, 2]);
}

#[test]
fn a_station_at_two_places_stays_at_the_first_and_is_named() {
    let mut lab = chain(3);
    lab.hear(0, mac(1), Heard::Frame);
    lab.run(secs(1));
    let mut refused = 0;
    for _ in 0..20 {
        for node in [2, 0] {
            if lab.hear(node, mac(1), Heard::Announcement) == StationVerdict::Refused {
                refused += 1;
            }
            lab.run(ms(100));
        }
    }
    assert!(refused >= 15, "{refused}");
    assert_eq!(lab.owner_at(1, mac(1)), Some(0));
    let events = lab.events(2);
    let told: Vec<_> =
        events.iter().filter(|e| matches!(e, Event::DuplicateStation { .. })).collect();
    let [Event::DuplicateStation { mac: told, owner, .. }] = told[..] else {
        panic!("{events:?}");
    };
    assert_eq!((*told, owner.key), (mac(1), key(0)));
    let now = lab.now;
    assert!(lab.mesh(2).stations(now)[0].frozen_for.is_some());
    // Half an hour later it may try again; and at once when the other one is gone.
    lab.run(secs(1800));
    assert_eq!(lab.hear(2, mac(1), Heard::Announcement), StationVerdict::Here);
}

#[test]
fn a_frozen_station_is_free_when_its_owner_is_gone() {
    let mut lab = chain(2);
    lab.hear(0, mac(1), Heard::Frame);
    for _ in 0..10 {
        lab.run(ms(100));
        lab.hear(1, mac(1), Heard::Announcement);
        lab.run(ms(100));
        lab.hear(0, mac(1), Heard::Announcement);
    }
    assert_eq!(lab.hear(1, mac(1), Heard::Announcement), StationVerdict::Refused);
    lab.hear(0, mac(1), Heard::Gone);
    lab.run(secs(2));
    assert_eq!(lab.hear(1, mac(1), Heard::Frame), StationVerdict::Here);
}

#[test]
fn a_fixed_station_does_not_move() {
    let mut lab = chain(2);
    lab.hear(0, mac(1), Heard::Static);
    lab.run(secs(1));
    for _ in 0..3 {
        assert_eq!(lab.hear(1, mac(1), Heard::Announcement), StationVerdict::Refused);
    }
    let sticky = |event: &Event| matches!(event, Event::StickyStation { .. });
    assert_eq!(lab.events(1).into_iter().filter(sticky).count(), 1);
    // It takes its place from one that claimed it before.
    lab.hear(1, mac(2), Heard::Frame);
    lab.run(secs(1));
    assert_eq!(lab.hear(0, mac(2), Heard::Static), StationVerdict::Here);
    lab.run(secs(1));
    assert_eq!(lab.owner_at(1, mac(2)), Some(0));
}

#[test]
fn the_stations_of_a_node_that_dies_are_nowhere_until_it_is_back() {
    let mut lab = chain(3);
    for number in 0..300 {
        lab.hear(0, mac(number), Heard::Frame);
    }
    lab.run(secs(1));
    assert_eq!(lab.owner_at(2, mac(299)), Some(0));
    lab.silence(0, [true, true]);
    lab.run(secs(2));
    assert_eq!(lab.owner_at(2, mac(299)), None);
    lab.silence(0, [false, false]);
    lab.run(secs(10));
    assert_eq!(lab.owner_at(2, mac(299)), Some(0));
    // It starts anew and has heard one of them.
    lab.kill(0);
    lab.close(0);
    lab.boot(0, 2, 1);
    lab.cable(0, 1, ms(5));
    lab.hear(0, mac(7), Heard::Frame);
    lab.run(secs(5));
    assert_eq!(lab.owner_at(2, mac(7)), Some(0));
    assert_eq!(lab.owner_at(2, mac(8)), None);
    assert_eq!(lab.views(2)[0].stations, 1);
}

#[test]
fn a_node_that_goes_above_its_old_records_takes_its_stations_along() {
    let mut lab = Lab::new(3);
    lab.boot(0, 900, 0);
    lab.cable(0, 1, ms(2));
    lab.cable(1, 2, ms(2));
    lab.run(secs(5));
    lab.kill(0);
    lab.close(0);
    lab.boot(0, 3, 1);
    for number in 0..300 {
        lab.hear(0, mac(number), Heard::Frame);
    }
    lab.run(secs(1));
    lab.cable(0, 1, ms(2));
    lab.run(secs(5));
    assert_eq!(lab.owner_at(2, mac(0)), Some(0));
    assert_eq!(lab.owner_at(2, mac(299)), Some(0));
    lab.assert_whole(&[0, 1, 2]);
}

#[test]
fn two_halves_that_claimed_one_station_agree_when_they_meet() {
    let mut lab = chain(4);
    lab.silence(1, [true, true]);
    lab.run(secs(3));
    lab.hear(0, mac(1), Heard::Frame);
    lab.hear(3, mac(1), Heard::Frame);
    lab.hear(3, mac(2), Heard::Frame);
    lab.run(secs(1));
    assert_eq!((lab.owner_at(1, mac(1)), lab.owner_at(2, mac(1))), (Some(0), Some(3)));
    lab.silence(1, [false, false]);
    lab.run(secs(10));
    for node in [1, 2, 3] {
        assert_eq!(lab.owner_at(node, mac(1)), Some(0), "the lower key at node {node}");
    }
    assert_eq!(lab.owner_at(0, mac(1)), None);
    // Where it speaks next, it is.
    assert_eq!(lab.hear(3, mac(1), Heard::Frame), StationVerdict::Here);
    lab.run(secs(1));
    assert_eq!(lab.owner_at(0, mac(1)), Some(3));
    lab.run(secs(3));
    lab.assert_whole(&[0, 1, 2, 3]);
}

#[test]
fn a_station_that_moved_while_the_mesh_was_in_two_is_where_it_went() {
    let mut lab = chain(2);
    lab.hear(0, mac(1), Heard::Frame);
    lab.run(secs(1));
    lab.silence(0, [true, true]);
    lab.run(secs(3));
    assert_eq!(lab.hear(1, mac(1), Heard::Frame), StationVerdict::Here);
    lab.silence(0, [false, false]);
    lab.run(secs(10));
    assert_eq!(lab.owner_at(0, mac(1)), Some(1));
    assert_eq!(lab.owner_at(1, mac(1)), None);
}

#[test]
fn sixty_four_thousand_stations_reach_a_new_node() {
    let mut lab = Lab::new(9);
    for node in 1..8 {
        lab.cable(0, node, ms(1));
    }
    lab.run(secs(2));
    let mut number = 0;
    for node in 0..8 {
        for _ in 0..8192 {
            number += 1;
            let now = lab.now;
            lab.mesh(node).handle_station(VlanId(0), mac(number), Heard::Frame, now);
        }
        lab.settle(node);
    }
    lab.run(secs(10));
    lab.control_octets = 0;
    lab.cable(8, 3, ms(20));
    lab.run(secs(5));
    let known = lab.nodes[8].as_ref().unwrap().remote.len();
    assert_eq!(known, 8 * 8192);
    assert!(lab.control_octets < 2_000_000, "{} octets", lab.control_octets);
    lab.assert_whole(&[0, 3, 8]);
}

#[test]
fn a_cable_without_room_holds_nothing_back_but_what_is_new() {
    let mut lab = chain(2);
    lab.mesh(0).handle_room(LinkId(0), Room::Full);
    let before = lab.control_messages;
    for round in 0..20 {
        lab.hear(0, mac(round), Heard::Frame);
        lab.run(ms(100));
    }
    assert_eq!(lab.control_messages, before);
    lab.mesh(0).handle_room(LinkId(0), Room::Open);
    lab.settle(0);
    lab.run(ms(100));
    assert_eq!(lab.control_messages, before + 1, "twenty changes of one page are one record");
    assert_eq!(lab.owner_at(1, mac(19)), Some(0));
}

#[test]
fn the_tables_of_stations_are_bounded_and_recover() {
    let mut lab = Lab::new(3);
    let small =
        |node| Config { max_own_stations: 200, max_stations: 250, ..Lab::config(node, 1, 0) };
    for node in 0..3 {
        lab.boot_with(node, small(node));
    }
    lab.cable(0, 1, ms(1));
    lab.cable(1, 2, ms(1));
    lab.run(secs(2));
    for node in [0, 2] {
        for number in 0..300 {
            let number = number + 1000 * u32::try_from(node).unwrap();
            assert_eq!(lab.hear(node, mac(number), Heard::Frame), StationVerdict::Here);
        }
    }
    lab.run(secs(3));
    assert_eq!(lab.mesh(0).counters().untold, 100);
    assert_eq!(lab.nodes[1].as_ref().unwrap().remote.len(), 250);
    // When one node's are gone the other's find room.
    for number in 0..300 {
        lab.hear(0, mac(number), Heard::Gone);
    }
    lab.run(secs(70));
    assert_eq!(lab.nodes[1].as_ref().unwrap().remote.len(), 200);
    lab.assert_whole(&[0, 1, 2]);
}

#[test]
fn a_station_that_moves_is_found_when_the_tables_are_full() {
    // The node that it goes to may tell of two, and the others remember two.
    for (own, others) in [(2, 100), (100, 2)] {
        let mut lab = Lab::new(3);
        for node in 0..3 {
            let config = Lab::config(node, 1, 0);
            let config = Config { max_own_stations: own, max_stations: others, ..config };
            lab.boot_with(node, config);
        }
        lab.cable(0, 1, ms(1));
        lab.cable(1, 2, ms(1));
        lab.run(secs(2));
        lab.hear(0, mac(1), Heard::Frame);
        lab.run(secs(1));
        for number in 5..8 {
            lab.hear(2, mac(number), Heard::Frame);
        }
        lab.run(secs(1));
        assert_eq!(lab.hear(2, mac(1), Heard::Announcement), StationVerdict::Here);
        lab.run(secs(2));
        // At its new place; or nowhere, and its frames are flooded.
        for node in [0, 1] {
            assert_eq!(lab.owner_at(node, mac(1)), Some(2), "{own} {others} at node {node}");
        }
        assert!(lab.mesh(1).sizes().claims <= others);
        assert!(lab.mesh(2).sizes().own_stations <= own);
        lab.assert_whole(&[0, 1, 2]);
    }
}

#[test]
fn impossible_stations_are_refused() {
    let mut lab = chain(2);
    let own = key(1);
    let version = |sequence: u64| Version {
        incarnation: Lab::config(1, 1, 0).incarnation,
        sequence: 1000 + sequence,
    };
    let good = StationEntry::new(VlanId(0), mac(2), 0, false);
    let group = StationEntry::new(VlanId(0), MacAddr([1, 0, 0, 0, 0, 1]), 0, false);
    let pages: [Vec<StationEntry>; 5] = [
        vec![group],
        vec![StationEntry::new(VlanId(0), MacAddr([0; 6]), 0, false)],
        vec![StationEntry::new(VlanId(4095), mac(1), 0, false)],
        vec![good, good],
        (0..129).map(|n| StationEntry::new(VlanId(0), mac(n), 0, false)).collect(),
    ];
    let count = pages.len() as u64;
    let mut records = Vec::new();
    for (sequence, page) in (0..).zip(&pages) {
        records.push(Record::sign(own, version(sequence), Slot(1), page, &Notary(own)));
    }
    let premature = Version { incarnation: Incarnation { epoch: 9, instance: 9 }, sequence: 1 };
    let page = StationPage::default();
    records.push(Record::sign(own, premature, Slot(1), &page, &Notary(own)));
    let records = Records { records: Bounded::truncated(records) };
    lab.inject(0, LinkId(0), Message::Records(records));
    let refused = lab.mesh(0).counters().refused;
    assert_eq!(refused[&RefusalReason::Body], count);
    assert_eq!(refused[&RefusalReason::Premature], 1);
    assert_eq!(lab.nodes[0].as_ref().unwrap().remote.len(), 0);
}
