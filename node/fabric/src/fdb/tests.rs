//! The database alone: ageing, moves, eviction, and its inner consistency.

use proptest::prelude::*;

use super::*;

const VLAN: VlanId = VlanId(0);

#[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
fn start() -> Instant {
    Instant::now()
}

fn fdb(capacity: usize, per_port_capacity: usize) -> Fdb {
    Fdb::new(&Config { capacity, per_port_capacity, ..Config::default() })
}

/// The station of a number.
fn mac(number: u32) -> MacAddr {
    let [a, b, c, d] = number.to_be_bytes();
    MacAddr([2, 0, a, b, c, d])
}

fn learn(fdb: &mut Fdb, port: u32, station: u32, now: Instant) {
    fdb.learn(VLAN, mac(station), (PortId(port), PortKind::Access), now);
    check(fdb);
}

fn knows(fdb: &Fdb, station: u32, now: Instant) -> bool {
    fdb.lookup(VLAN, mac(station), now).is_some()
}

fn held_by(fdb: &Fdb, port: u32, now: Instant) -> usize {
    fdb.iter(now).filter(|entry| entry.2 == PortId(port)).count()
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
    for (index, list) in fdb.ports.iter().enumerate() {
        let own = walk(list, Order::Port);
        assert!(own.iter().all(|entry| fdb.slab.get(*entry).port.index() == index));
        by_port.extend(own);
    }
    let mut tabled: Vec<u32> = fdb.table.iter().copied().collect();
    for indices in [&mut all, &mut by_port, &mut tabled] {
        indices.sort_unstable();
    }
    assert_eq!((&all, &all), (&by_port, &tabled));
    let sizes = (0..).map(PortId).zip(&fdb.ports).map(|(port, list)| (list.len, port));
    assert_eq!(fdb.by_size, sizes.filter(|(len, _)| *len > 0).collect());
    let Counters { learned, aged, evicted, forgotten, .. } = fdb.counters;
    assert_eq!(all.len() as u64, learned - aged - evicted - forgotten);
    assert!(all.len() <= fdb.capacity);
}

#[test]
fn a_flooding_port_leaves_every_other_port_its_share() {
    // Open vSwitch's own case: 5 ports with 2 stations each fill the table, then a sixth floods.
    let (mut fdb, now) = (fdb(10, 1024), start());
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
    assert_eq!(fdb.table.len(), 10);
    assert_eq!((fdb.counters.evicted, fdb.counters.full), (16, 0));
}

#[test]
fn the_least_recently_seen_station_of_the_largest_port_makes_room() {
    let (mut fdb, start) = (fdb(4, 1024), start());
    let after = |seconds| start + Duration::from_secs(seconds);
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
    let (mut fdb, now) = (fdb(4, 1024), start());
    for station in 0..4 {
        learn(&mut fdb, station % 2, station, now);
    }
    learn(&mut fdb, 0, 9, now);
    assert_eq!((held_by(&fdb, 0, now), held_by(&fdb, 1, now)), (2, 2));
    assert!(!knows(&fdb, 0, now));
}

#[test]
fn no_port_loses_its_last_station_to_another() {
    let (mut fdb, now) = (fdb(3, 1024), start());
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
    let (mut fdb, now) = (fdb(100, 3), start());
    learn(&mut fdb, 1, 40, now);
    for station in 0..10 {
        learn(&mut fdb, 0, station, now);
    }
    assert_eq!((held_by(&fdb, 0, now), held_by(&fdb, 1, now)), (3, 1));
    assert!([7, 8, 9, 40].iter().all(|station| knows(&fdb, *station, now)));
    for station in 0..10 {
        fdb.learn(VLAN, mac(200 + station), (PortId(2), PortKind::Cable), now);
    }
    assert_eq!(held_by(&fdb, 2, now), 10, "a cable has no bound of its own");
}

#[test]
fn a_station_that_moves_to_a_port_at_its_bound_replaces_one_there() {
    let (mut fdb, now) = (fdb(100, 1), start());
    learn(&mut fdb, 0, 1, now);
    learn(&mut fdb, 1, 2, now);
    learn(&mut fdb, 1, 1, now);
    assert_eq!(fdb.lookup(VLAN, mac(1), now), Some(PortId(1)));
    assert!(!knows(&fdb, 2, now));
    assert_eq!((fdb.counters.moved, fdb.counters.evicted), (1, 1));
}

#[test]
fn a_database_without_room_learns_nothing() {
    for (capacity, per_port_capacity) in [(0, 10), (10, 0)] {
        let (mut fdb, now) = (fdb(capacity, per_port_capacity), start());
        learn(&mut fdb, 0, 1, now);
        assert_eq!((fdb.counters.full, fdb.table.len()), (1, 0));
    }
}

#[test]
fn an_entry_that_is_due_makes_room_before_one_that_is_not() {
    let (mut fdb, start) = (fdb(3, 1024), start());
    let after = |seconds| start + Duration::from_secs(seconds);
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
    let (mut fdb, now) = (fdb(64, 1024), start());
    for station in 0..5000 {
        fdb.learn(VLAN, mac(station), (PortId(station % 3), PortKind::Access), now);
    }
    check(&fdb);
    assert_eq!(fdb.slab.slots(), 64);
}

#[derive(Debug, Clone)]
enum Step {
    Learn { port: u32, station: u32, kind: PortKind },
    Forget { port: u32 },
    Wait { millis: u64 },
    Expire,
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![Just(PortKind::Access), Just(PortKind::Cable)];
    prop_oneof![
        10 => (0..4_u32, 0..12_u32, kind)
            .prop_map(|(port, station, kind)| Step::Learn { port, station, kind }),
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
        steps in proptest::collection::vec(step(), 0..200),
    ) {
        let (mut fdb, mut now) = (fdb(capacity, per_port_capacity), start());
        for step in steps {
            match step {
                Step::Learn { port, station, kind } => {
                    fdb.learn(VLAN, mac(station), (PortId(port), kind), now);
                }
                Step::Forget { port } => fdb.forget_port(PortId(port)),
                Step::Wait { millis } => now += Duration::from_millis(millis),
                Step::Expire => {
                    fdb.expire(now);
                    prop_assert!(fdb.next_expiry().is_none_or(|due| due > now));
                }
            }
            check(&fdb);
        }
    }
}
