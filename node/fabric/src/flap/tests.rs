//! Which moves are a loop's, against all moves ever made.

use std::collections::BTreeMap;

use ether::{MacAddr, VlanId};
use proptest::prelude::*;

use super::*;

const A: PortId = PortId(3);
const B: PortId = PortId(7);

fn station(number: u8) -> Station {
    Station { vlan: VlanId::ZERO, mac: MacAddr([2, 0, 0, 0, 0, number]) }
}

fn millis(millis: u64) -> Nanos {
    Nanos(millis * 1_000_000)
}

/// Each of these stations moves once; how often the pair was named.
fn all_move(flaps: &mut Flaps, stations: std::ops::Range<u8>, now: Nanos) -> usize {
    let named = stations.filter_map(|number| flaps.handle_move(station(number), B, A, now));
    named.inspect(|ports| assert_eq!(*ports, (A, B))).count()
}

#[test]
fn three_stations_three_times_within_five_seconds_name_their_ports_once() {
    let mut flaps = Flaps::default();
    assert_eq!(all_move(&mut flaps, 0..3, millis(0)), 0);
    assert_eq!(all_move(&mut flaps, 0..3, millis(2500)), 0);
    assert_eq!(all_move(&mut flaps, 0..3, millis(5000)), 1);
    assert_eq!(all_move(&mut flaps, 0..3, millis(5001)), 0);
    let later: usize =
        (0..100).map(|round| all_move(&mut flaps, 0..3, millis(5002 + 100 * round))).sum();
    assert_eq!(later, 1, "once in five seconds");
}

#[test]
fn fewer_stations_or_moves_or_more_time_name_nobody() {
    let mut flaps = Flaps::default();
    let two = (0..100).map(|round| all_move(&mut flaps, 0..2, millis(round))).sum::<usize>();
    assert_eq!(two, 0, "two stations");
    let mut flaps = Flaps::default();
    let slow = (0..100).map(|round| all_move(&mut flaps, 0..9, millis(2501 * round)));
    assert_eq!(slow.sum::<usize>(), 0, "three moves in more than five seconds");
    let mut flaps = Flaps::default();
    for (number, to) in (0..9).zip([10, 11, 12].into_iter().cycle()) {
        let named = flaps.handle_move(station(number % 3), A, PortId(to), millis(0));
        assert_eq!(named, None, "other pairs of ports");
    }
}

#[test]
fn more_stations_than_are_watched_hide_nothing() {
    let mut flaps = Flaps::default();
    let named = (0..3).map(|round| all_move(&mut flaps, 0..200, millis(round))).sum::<usize>();
    assert_eq!(named, 1);
    assert!(flaps.pairs.iter().all(|pair| pair.movers.len() <= MAX_STATIONS));
}

#[test]
fn places_are_free_again_when_their_stations_are_still() {
    let mut flaps = Flaps::default();
    for number in 0..200 {
        let to = PortId(100 + u32::from(number));
        assert_eq!(flaps.handle_move(station(number), A, to, millis(0)), None);
    }
    assert_eq!(flaps.pairs.len(), MAX_PAIRS);
    let named = (0..3).map(|round| all_move(&mut flaps, 0..3, millis(5001 + round)));
    assert_eq!(named.sum::<usize>(), 1);
    assert_eq!(flaps.pairs.len(), MAX_PAIRS);
}

proptest! {
    #[test]
    fn as_long_as_all_are_watched_the_answer_is_that_of_counting(
        moves in proptest::collection::vec((0..8_u8, 0..4_u32, 1..4_u32, 0..1500_u64), 0..200),
    ) {
        let mut flaps = Flaps::default();
        let mut all: Vec<(Station, (PortId, PortId), u64)> = Vec::new();
        let mut named: BTreeMap<(PortId, PortId), u64> = BTreeMap::new();
        let mut now = 0;
        for (number, from, distance, wait) in moves {
            now += wait * 1_000_000;
            let (from, to) = (PortId(from), PortId((from + distance) % 4));
            let ports = (from.min(to), from.max(to));
            all.push((station(number), ports, now));
            let recent = |one: u8| {
                let of = |(mover, pair, at): &&(Station, (PortId, PortId), u64)| {
                    *mover == station(one) && *pair == ports && now - at <= WINDOW
                };
                all.iter().filter(of).count()
            };
            let quiet = named.get(&ports).is_none_or(|at| now - at > WINDOW);
            let expected = quiet && (0..8).filter(|one| recent(*one) >= MOVES).count() >= STATIONS;
            if expected {
                named.insert(ports, now);
            }
            let found = flaps.handle_move(station(number), from, to, Nanos(now));
            prop_assert_eq!(found, expected.then_some(ports));
        }
    }
}
