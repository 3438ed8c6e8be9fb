//! The database alone: ageing, moves, eviction, and its inner consistency.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

const VLAN: VlanId = VlanId(0);

const START: Nanos = Nanos(7);

fn after(seconds: u64) -> Nanos {
    Nanos(START.0 + seconds * 1_000_000_000)
}

fn fdb(capacity: usize, per_port_capacity: usize) -> Fdb {
    Fdb::new(&Config { capacity, per_port_capacity, ..Config::default() })
}

/// The station of a number.
fn numbered(number: u32) -> Station {
    let [a, b, c, d] = number.to_be_bytes();
    Station { vlan: VLAN, mac: MacAddr([2, 0, a, b, c, d]) }
}

fn learn(fdb: &mut Fdb, port: u32, station: u32, now: Nanos) {
    hear(fdb, port, station, now);
    check(fdb);
}

fn hear(fdb: &mut Fdb, port: u32, station: u32, now: Nanos) {
    if !fdb.refresh(numbered(station), PortId(port), now) {
        fdb.admit(numbered(station), PortId(port), now);
    }
}

fn knows(fdb: &Fdb, station: u32, now: Nanos) -> bool {
    fdb.lookup(numbered(station), now).is_some()
}

fn held_by(fdb: &Fdb, port: u32, now: Nanos) -> usize {
    fdb.iter(now).filter(|entry| entry.1 == Location::Port(PortId(port))).count()
}

/// Table, lists, sizes and counters tell the same story.
fn check(fdb: &Fdb) {
    let walk = |list: &List, order: Order| {
        let mut walked = Vec::new();
        let mut next = list.oldest();
        while let Some(index) = next {
            walked.push(index);
            next = fdb.slab.after(index, order);
        }
        assert_eq!(walked.len(), list.len as usize);
        assert!(walked.is_sorted_by_key(|index| fdb.slab.get(*index).seen));
        walked
    };
    let mut all = walk(&fdb.by_age, Order::Age);
    let mut by_port = Vec::new();
    for port in (0..fdb.ports.count()).map(PortId) {
        let own = walk(&fdb.ports.entries(port.0), Order::Holder);
        let here = Location::Port(port);
        assert!(own.iter().all(|entry| fdb.slab.get(*entry).location == here));
        by_port.extend(own);
    }
    let at_home = |index: &u32| matches!(fdb.slab.get(*index).location, Location::Port(_));
    let (mut tabled, remote): (Vec<u32>, Vec<u32>) = fdb.table.iter().copied().partition(at_home);
    for indices in [&mut all, &mut by_port, &mut tabled] {
        indices.sort_unstable();
    }
    assert_eq!((&all, &all), (&by_port, &tabled));
    let mut keys: Vec<u64> = all.iter().map(|index| fdb.slab.get(*index).key).collect();
    keys.sort_unstable();
    assert!(fdb.order.iter().eq(&keys));
    fdb.ports.check();
    fdb.remotes.check();
    let owner = |index: &u32| match fdb.slab.get(*index).location {
        Location::Remote(owner) => owner,
        Location::Port(_) => unreachable!("these are remote"),
    };
    let owners: HashSet<RemoteId> = remote.iter().map(owner).collect();
    let lists = owners.into_iter().flat_map(|owner| {
        walk(&fdb.remotes.entries(owner), Order::Holder).into_iter().map(move |at| (at, owner))
    });
    let mut lists: Vec<_> = lists.collect();
    let mut remote: Vec<_> = remote.into_iter().map(|index| (index, owner(&index))).collect();
    lists.sort_unstable();
    remote.sort_unstable();
    assert_eq!(lists, remote);
    assert_eq!((fdb.len(), fdb.remote_len()), (all.len(), remote.len()));
    let Counters { learned, aged, evicted, forgotten, moved_away, .. } = fdb.counters;
    assert_eq!(all.len() as u64, learned - aged - evicted - forgotten - moved_away);
    assert!(all.len() <= fdb.capacity && remote.len() <= fdb.remote_capacity);
}

#[test]
fn a_flooding_port_leaves_every_other_port_its_share() {
    // Open vSwitch's own case: 5 ports with 2 stations each fill the table, then a sixth floods.
    let (mut fdb, now) = (fdb(10, 1024), START);
    for station in 0..10 {
        learn(&mut fdb, station / 2, station, now);
    }
    for station in 100..116 {
        learn(&mut fdb, 5, station, now);
    }
    for port in 0..5 {
        assert!((1..=2).contains(&held_by(&fdb, port, now)), "port {port}");
    }
    assert!(knows(&fdb, 115, now), "the newest station is known");
    assert_eq!(fdb.len(), 10);
    assert_eq!((fdb.counters.evicted, fdb.counters.full), (16, 0));
}

#[test]
fn the_least_recently_seen_station_of_the_largest_port_makes_room() {
    let (mut fdb, start) = (fdb(4, 1024), START);
    learn(&mut fdb, 1, 40, start);
    for station in 0..3 {
        learn(&mut fdb, 0, station, after(1));
    }
    learn(&mut fdb, 0, 0, after(2));
    learn(&mut fdb, 2, 50, after(3));
    assert!(!knows(&fdb, 1, after(3)));
    assert!([0, 2, 40, 50].iter().all(|station| knows(&fdb, *station, after(3))));
}

#[test]
fn a_port_as_large_as_the_largest_pays_for_itself() {
    let (mut fdb, now) = (fdb(4, 1024), START);
    for station in 0..4 {
        learn(&mut fdb, station % 2, station, now);
    }
    learn(&mut fdb, 0, 9, now);
    assert_eq!((held_by(&fdb, 0, now), held_by(&fdb, 1, now)), (2, 2));
    assert!(!knows(&fdb, 0, now));
}

#[test]
fn no_port_loses_its_last_station_to_another() {
    let (mut fdb, now) = (fdb(3, 1024), START);
    for station in 0..3 {
        learn(&mut fdb, station, station, now);
    }
    learn(&mut fdb, 3, 9, now);
    assert!(!knows(&fdb, 9, now));
    assert_eq!((fdb.counters.full, fdb.counters.evicted), (1, 0));
    learn(&mut fdb, 2, 8, now);
    assert!(knows(&fdb, 8, now) && !knows(&fdb, 2, now), "it may replace its own");
}

#[test]
fn an_access_port_at_its_bound_replaces_its_own_oldest() {
    let (mut fdb, now) = (fdb(100, 3), START);
    learn(&mut fdb, 1, 40, now);
    for station in 0..10 {
        learn(&mut fdb, 0, station, now);
    }
    assert_eq!((held_by(&fdb, 0, now), held_by(&fdb, 1, now)), (3, 1));
    assert!([7, 8, 9, 40].iter().all(|station| knows(&fdb, *station, now)));
}

#[test]
fn a_station_that_moves_to_a_port_at_its_bound_replaces_one_there() {
    let (mut fdb, now) = (fdb(100, 1), START);
    learn(&mut fdb, 0, 1, now);
    learn(&mut fdb, 1, 2, now);
    learn(&mut fdb, 1, 1, now);
    assert_eq!(fdb.lookup(numbered(1), now), Some(Location::Port(PortId(1))));
    assert!(!knows(&fdb, 2, now));
    assert_eq!((fdb.counters.moved, fdb.counters.evicted), (1, 1));
}

#[test]
fn a_database_without_room_learns_nothing() {
    for (capacity, per_port_capacity) in [(0, 10), (10, 0)] {
        let (mut fdb, now) = (fdb(capacity, per_port_capacity), START);
        learn(&mut fdb, 0, 1, now);
        assert_eq!((fdb.counters.full, fdb.len()), (1, 0));
    }
}

#[test]
fn an_entry_that_is_due_makes_room_before_one_that_is_not() {
    let (mut fdb, start) = (fdb(3, 1024), START);
    learn(&mut fdb, 1, 1, start);
    learn(&mut fdb, 0, 2, after(10));
    learn(&mut fdb, 0, 3, after(10));
    learn(&mut fdb, 2, 4, after(300));
    assert!([2, 3, 4].iter().all(|station| knows(&fdb, *station, after(300))));
    assert_eq!((fdb.counters.aged, fdb.counters.evicted), (1, 0));
}

#[test]
fn the_seed_changes_the_hash() {
    let hashes = |seed| {
        let shared_seed = SharedSeed::from_u64(seed);
        (0..64).map(|station| hash(seed, &shared_seed, station) & 0xff).collect::<Vec<_>>()
    };
    assert_eq!(hashes(1), hashes(1));
    assert_ne!(hashes(1), hashes(2));
}

#[test]
fn a_flood_of_invented_addresses_uses_no_more_memory_than_the_capacity() {
    let (mut fdb, now) = (fdb(64, 1024), START);
    for station in 0..5000 {
        hear(&mut fdb, station % 3, station, now);
    }
    check(&fdb);
    assert_eq!(fdb.slab.slots(), 64);
}

#[test]
fn remote_stations_have_their_own_bound_and_their_own_fairness() {
    let config = Config { capacity: 2, remote_capacity: 6, ..Config::default() };
    let mut fdb = Fdb::new(&config);
    learn(&mut fdb, 0, 1, START);
    learn(&mut fdb, 0, 2, START);
    for station in 10..12 {
        fdb.set_remote(numbered(station), RemoteId(7));
    }
    for station in 20..30 {
        fdb.set_remote(numbered(station), RemoteId(8));
        check(&fdb);
    }
    let known = |fdb: &Fdb, stations: &[u32]| stations.iter().all(|at| knows(fdb, *at, START));
    assert!(known(&fdb, &[1, 2, 10, 11, 26, 27, 28, 29]));
    assert_eq!((fdb.len(), fdb.remote_len(), fdb.counters.remotes_evicted), (2, 6, 6));
    fdb.remove_remotes_of(RemoteId(8));
    fdb.remove_remotes_of(RemoteId(9));
    check(&fdb);
    assert_eq!(fdb.remote_len(), 2);
}

#[test]
fn remote_stations_do_not_age() {
    let mut fdb = fdb(10, 10);
    fdb.set_remote(numbered(1), RemoteId(7));
    let late = after(1_000_000);
    fdb.expire(late);
    assert_eq!(fdb.lookup(numbered(1), late), Some(Location::Remote(RemoteId(7))));
    assert_eq!(fdb.next_expiry(), None);
}

#[derive(Debug, Clone)]
enum Step {
    Learn { port: u32, station: u32 },
    SetRemote { owner: u32, station: u32 },
    RemoveRemote { station: u32 },
    RemoveRemotesOf { owner: u32 },
    Forget { port: u32 },
    Wait { millis: u64 },
    Expire,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0..4_u32, 0..12_u32).prop_map(|(port, station)| Step::Learn { port, station }),
        6 => (0..4_u32, 0..12_u32)
            .prop_map(|(owner, station)| Step::SetRemote { owner, station }),
        2 => (0..12_u32).prop_map(|station| Step::RemoveRemote { station }),
        1 => (0..5_u32).prop_map(|owner| Step::RemoveRemotesOf { owner }),
        1 => (0..5_u32).prop_map(|port| Step::Forget { port }),
        3 => (0..150_000_u64).prop_map(|millis| Step::Wait { millis }),
        1 => Just(Step::Expire),
    ]
}

proptest! {
    #[test]
    fn table_lists_sizes_and_counters_never_disagree(
        capacity in 0..9_usize,
        per_port_capacity in 0..5_usize,
        remote_capacity in 0..6_usize,
        steps in proptest::collection::vec(step(), 0..200),
    ) {
        let config = Config { capacity, per_port_capacity, remote_capacity, ..Config::default() };
        let (mut fdb, mut now) = (Fdb::new(&config), START);
        for step in steps {
            match step {
                Step::Learn { port, station } => hear(&mut fdb, port, station, now),
                Step::SetRemote { owner, station } => {
                    fdb.set_remote(numbered(station), RemoteId(owner));
                }
                Step::RemoveRemote { station } => {
                    fdb.remove_remote(numbered(station));
                }
                Step::RemoveRemotesOf { owner } => fdb.remove_remotes_of(RemoteId(owner)),
                Step::Forget { port } => fdb.forget_port(PortId(port)),
                Step::Wait { millis } => now.0 += millis * 1_000_000,
                Step::Expire => {
                    fdb.expire(now);
                    prop_assert!(fdb.next_expiry().is_none_or(|due| due > now));
                }
            }
            check(&fdb);
        }
    }
}
