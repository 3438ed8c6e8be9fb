//! The bridge as its users see it: who hears whom.

use std::time::{Duration, Instant};

use ether::{FrameHeader, MacAddr, VlanId};

use super::*;
use crate::StormControl;
use crate::vlan::CarriedTag;

const P: [PortId; 4] = [PortId(0), PortId(1), PortId(2), PortId(3)];
const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xa]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xb]);
const AGEING_TIME: Duration = Duration::from_secs(300);

const UNTAGGED: Classified = Classified { vlan: VlanId::ZERO, carried: CarriedTag::None };
const FLOOD: Verdict = Verdict::Flood(UNTAGGED);

fn forward(egress: PortId) -> Verdict {
    let tag = TagAction::AsIs;
    Verdict::Forward { egress, tag }
}

/// The one clock reading from which the tests count.
#[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
fn start() -> Instant {
    Instant::now()
}

fn bridge(config: Config) -> Bridge {
    let mut bridge = Bridge::new(config);
    for port in P {
        bridge.add_port(port, PortKind::Access);
    }
    bridge
}

fn frame(source: MacAddr, destination: MacAddr) -> FrameHeader {
    FrameHeader { destination, source, vlan: VlanId::ZERO, tagged: false }
}

#[test]
fn a_station_that_spoke_is_reached_at_its_port_alone() {
    let (mut bridge, now) = (bridge(Config::default()), start());
    assert_eq!(bridge.handle_frame(P[0], &frame(A, B), now), FLOOD);
    assert_eq!(bridge.handle_frame(P[1], &frame(B, A), now), forward(P[0]));
    assert_eq!(bridge.handle_frame(P[2], &frame(A, B), now), forward(P[1]));
    assert_eq!(bridge.counters().learned, 2);
}

#[test]
fn stations_are_read_in_order_from_any_one_on_and_those_of_other_nodes_are_not_among_them() {
    let (mut bridge, now) = (bridge(Config::default()), start());
    let mac = |number| MacAddr([2, 0, 0, 0, 0, number]);
    for number in [5, 1, 9, 3, 7] {
        bridge.handle_frame(P[usize::from(number % 4)], &frame(mac(number), B), now);
    }
    bridge.set_remote(VlanId::ZERO, mac(7), RemoteId(1));
    let from = |number| Station { vlan: VlanId::ZERO, mac: mac(number) };
    let read = |first, at| -> Vec<_> {
        bridge.stations_from(from(first), at).map(|entry| (entry.mac, entry.port)).collect()
    };
    assert_eq!(read(2, now), [(mac(3), P[3]), (mac(5), P[1]), (mac(9), P[1])]);
    assert_eq!(read(3, now).len(), 3);
    assert_eq!(read(10, now), []);
    assert_eq!(read(0, now + AGEING_TIME), []);
}

#[test]
fn a_frame_for_all_of_another_nodes_station_is_doubted_where_a_network_is_and_nowhere_else() {
    let (mut bridge, now) = (bridge(Config::default()), start());
    bridge.set_doubtful(P[1], true);
    bridge.set_remote(VlanId::ZERO, A, RemoteId(1));
    bridge.handle_frame(P[0], &frame(B, A), now);
    let broadcast = frame(A, MacAddr([0xff; 6]));
    let unknown = frame(A, MacAddr([2, 9, 9, 9, 9, 9]));
    for header in [broadcast, unknown] {
        let verdict = bridge.handle_frame(P[1], &header, now);
        assert_eq!(verdict, Verdict::Doubtful(Doubt::Elsewhere));
        assert_eq!(bridge.locate(VlanId::ZERO, A, now), Some(Location::Remote(RemoteId(1))));
    }
    // To a station that is known it would not have gone to where it can go around.
    assert_eq!(bridge.handle_frame(P[1], &frame(A, B), now), forward(P[0]));
    bridge.set_remote(VlanId::ZERO, A, RemoteId(1));
    assert_eq!(bridge.handle_believed(P[1], &broadcast, now), FLOOD);
    assert_eq!(bridge.locate(VlanId::ZERO, A, now), Some(Location::Port(P[1])));
    assert_eq!(bridge.handle_frame(P[1], &broadcast, now), FLOOD, "it is here now");
    bridge.set_remote(VlanId::ZERO, A, RemoteId(1));
    assert_eq!(bridge.handle_frame(P[2], &broadcast, now), FLOOD, "a guest may have moved");
}

#[test]
fn a_frame_for_somebody_unknown_is_doubted_where_a_network_is_before_anything_is_learned() {
    let (mut bridge, now) = (bridge(Config::default()), start());
    bridge.set_doubtful(P[1], true);
    let unknown = frame(A, B);
    let verdict = bridge.handle_frame(P[1], &unknown, now);
    assert_eq!(verdict, Verdict::Doubtful(Doubt::NoDestination));
    assert_eq!(bridge.locate(VlanId::ZERO, A, now), None);
    assert_eq!(bridge.handle_believed(P[1], &unknown, now), FLOOD);
    assert_eq!(bridge.locate(VlanId::ZERO, A, now), Some(Location::Port(P[1])));
    let verdict = bridge.handle_frame(P[1], &unknown, now);
    assert_eq!(verdict, Verdict::Doubtful(Doubt::NoDestination), "also of a station that is here");
    let own = bridge.handle_frame(P[1], &frame(A, A), now);
    assert_eq!(own, Verdict::Drop(DropReason::SamePort));
    assert_eq!(bridge.handle_frame(P[2], &unknown, now), FLOOD);
}

#[test]
fn a_station_that_moves_is_relearned_on_the_new_port_at_once() {
    let (mut bridge, now) = (bridge(Config::default()), start());
    bridge.handle_frame(P[0], &frame(A, B), now);
    bridge.handle_frame(P[3], &frame(A, B), now);
    assert_eq!(bridge.handle_frame(P[1], &frame(B, A), now), forward(P[3]));
    assert_eq!((bridge.counters().learned, bridge.counters().moved), (2, 1));
}

#[test]
fn each_vlan_learns_by_itself() {
    let (mut bridge, now) = (bridge(Config::default()), start());
    let in_vlan = |vlan, header| FrameHeader { vlan: VlanId(vlan), tagged: true, ..header };
    bridge.handle_frame(P[0], &in_vlan(1, frame(A, B)), now);
    bridge.handle_frame(P[1], &in_vlan(2, frame(A, B)), now);
    assert_eq!(bridge.counters().moved, 0);
    let towards_a =
        |bridge: &mut Bridge, vlan| bridge.handle_frame(P[2], &in_vlan(vlan, frame(B, A)), now);
    assert_eq!(towards_a(&mut bridge, 1), forward(P[0]));
    assert_eq!(towards_a(&mut bridge, 2), forward(P[1]));
    let in_3 = Classified { vlan: VlanId(3), carried: CarriedTag::Same };
    assert_eq!(towards_a(&mut bridge, 3), Verdict::Flood(in_3));
}

#[test]
fn a_frame_to_its_own_port_is_filtered() {
    let (mut bridge, now) = (bridge(Config::default()), start());
    let same_port = Verdict::Drop(DropReason::SamePort);
    bridge.handle_frame(P[0], &frame(A, B), now);
    assert_eq!(bridge.handle_frame(P[0], &frame(B, A), now), same_port);
    assert_eq!(bridge.handle_frame(P[0], &frame(A, A), now), same_port);
}

#[test]
fn group_frames_are_flooded_and_reserved_ones_stay_though_both_teach() {
    let (mut bridge, now) = (bridge(Config::default()), start());
    let reserved = MacAddr([0x01, 0x80, 0xc2, 0, 0, 0x0e]);
    assert_eq!(bridge.handle_frame(P[0], &frame(A, MacAddr::BROADCAST), now), FLOOD);
    let verdict = bridge.handle_frame(P[1], &frame(B, reserved), now);
    assert_eq!(verdict, Verdict::Drop(DropReason::Reserved));
    assert_eq!(bridge.handle_frame(P[0], &frame(A, B), now), forward(P[1]));
}

#[test]
fn a_frame_from_a_port_that_is_not_there_is_dropped_and_teaches_nothing() {
    let (mut bridge, now) = (bridge(Config::default()), start());
    for port in [PortId(4), PortId(u32::MAX)] {
        let verdict = bridge.handle_frame(port, &frame(A, B), now);
        assert_eq!(verdict, Verdict::Drop(DropReason::UnknownPort));
    }
    assert_eq!(bridge.snapshot(now).entries, []);
}

#[test]
fn a_hub_floods_everything_and_learns_nothing() {
    let mut bridge = bridge(Config { hub: true, ..Config::default() });
    let now = start();
    for destination in [A, MacAddr::BROADCAST, MacAddr([0x01, 0x80, 0xc2, 0, 0, 0])] {
        assert_eq!(bridge.handle_frame(P[0], &frame(A, destination), now), FLOOD);
    }
    assert_eq!(bridge.poll_timeout(), None);
}

#[test]
fn a_flood_goes_to_all_ports_but_its_ingress_in_order() {
    let mut bridge = bridge(Config::default());
    bridge.remove_port(P[2]);
    bridge.remove_port(PortId(u32::MAX));
    let from = |ingress| -> Vec<_> { bridge.flood_ports(Some(ingress), UNTAGGED).collect() };
    let as_is = |port| (port, TagAction::AsIs);
    assert_eq!(from(P[1]), [P[0], P[3]].map(as_is));
    assert_eq!(from(P[2]), [P[0], P[1], P[3]].map(as_is));
}

#[test]
fn what_was_learned_on_a_port_leaves_with_it() {
    let (mut bridge, now) = (bridge(Config::default()), start());
    bridge.handle_frame(P[0], &frame(A, B), now);
    bridge.remove_port(P[0]);
    assert_eq!(bridge.handle_frame(P[1], &frame(B, A), now), FLOOD);
    bridge.add_port(P[0], PortKind::Access);
    assert_eq!(bridge.handle_frame(P[1], &frame(B, A), now), FLOOD);
    assert_eq!(bridge.counters().forgotten, 1);
}

#[test]
fn listeners_hear_of_stations_that_come_move_and_go() {
    let (mut bridge, start) = (bridge(Config { capacity: 2, ..Config::default() }), start());
    let station = |mac| Station { vlan: VlanId::ZERO, mac };
    let (a, b, c) = (station(A), station(B), station(MacAddr([2, 0, 0, 0, 0, 0xc])));
    bridge.handle_frame(P[0], &frame(A, B), start);
    bridge.handle_frame(P[0], &frame(A, B), start + Duration::from_secs(2));
    bridge.handle_frame(P[0], &frame(B, A), start + Duration::from_secs(2));
    bridge.handle_frame(P[1], &frame(B, A), start + Duration::from_secs(2));
    bridge.handle_frame(P[1], &frame(A, B), start + Duration::from_secs(2));
    bridge.handle_frame(P[2], &frame(c.mac, B), start + Duration::from_secs(3));
    bridge.remove_port(P[2]);
    bridge.handle_timeout(start + AGEING_TIME + Duration::from_secs(2));
    let expected = [
        Change::Learned { station: a, port: P[0] },
        Change::Learned { station: b, port: P[0] },
        Change::Moved { station: b, from: P[0], to: P[1] },
        Change::Moved { station: a, from: P[0], to: P[1] },
        Change::Evicted { station: b, port: P[1] },
        Change::Learned { station: c, port: P[2] },
        Change::Forgotten { station: c, port: P[2] },
        Change::Aged { station: a, port: P[1] },
    ];
    assert_eq!(std::iter::from_fn(|| bridge.poll_change()).collect::<Vec<_>>(), expected);
}

#[test]
fn a_port_that_is_flushed_stays_without_its_stations() {
    let (mut bridge, now) = (bridge(Config::default()), start());
    bridge.handle_frame(P[0], &frame(A, B), now);
    bridge.flush_port(P[0]);
    bridge.flush_port(PortId(u32::MAX));
    assert_eq!(bridge.snapshot(now).entries, []);
    assert_eq!(bridge.handle_frame(P[0], &frame(A, B), now), FLOOD);
}

#[test]
fn an_entry_is_used_until_the_ageing_time_and_not_from_then_on() {
    let (mut bridge, start) = (bridge(Config::default()), start());
    bridge.handle_frame(P[0], &frame(A, B), start);
    let due = start + AGEING_TIME;
    assert_eq!(bridge.poll_timeout(), Some(due));
    let before = due.checked_sub(Duration::from_nanos(1)).unwrap();
    assert_eq!(bridge.handle_frame(P[1], &frame(B, A), before), forward(P[0]));
    // No sweep has run; the look-up itself knows.
    assert_eq!(bridge.handle_frame(P[1], &frame(B, A), due), FLOOD);
    assert_eq!(bridge.snapshot(due).entries.len(), 1);
    bridge.handle_timeout(due);
    assert_eq!(bridge.counters().aged, 1);
    assert!(bridge.poll_timeout().unwrap() > due, "B is younger");
}

#[test]
fn a_station_that_returns_after_its_entry_was_due_is_new() {
    let (mut bridge, start) = (bridge(Config::default()), start());
    bridge.handle_frame(P[0], &frame(A, B), start);
    bridge.handle_frame(P[0], &frame(A, B), start + AGEING_TIME);
    bridge.handle_frame(P[1], &frame(A, B), start + 2 * AGEING_TIME);
    let expected = Counters { learned: 3, aged: 2, ..Counters::default() };
    assert_eq!(bridge.counters(), &expected);
}

#[test]
fn a_frame_prolongs_its_stations_entry_once_a_second() {
    let (mut bridge, start) = (bridge(Config::default()), start());
    let after = |millis| start + Duration::from_millis(millis);
    bridge.handle_frame(P[0], &frame(A, B), start);
    bridge.handle_frame(P[0], &frame(A, B), after(999));
    assert_eq!(bridge.poll_timeout(), Some(start + AGEING_TIME));
    bridge.handle_frame(P[0], &frame(A, B), after(1000));
    assert_eq!(bridge.poll_timeout(), Some(after(1000) + AGEING_TIME));
}

#[test]
fn a_clock_that_runs_backwards_ages_nothing_and_loses_nothing() {
    let (mut bridge, start) = (bridge(Config::default()), start());
    let late = start + Duration::from_secs(100);
    bridge.handle_frame(P[0], &frame(A, B), late);
    bridge.handle_frame(P[1], &frame(B, A), start);
    bridge.handle_timeout(start);
    assert_eq!(bridge.poll_timeout(), Some(late + AGEING_TIME));
    assert_eq!(bridge.handle_frame(P[1], &frame(B, A), start), forward(P[0]));
    // B's frame came no earlier than A's.
    let verdict = bridge.handle_frame(P[0], &frame(A, B), start + AGEING_TIME);
    assert_eq!(verdict, forward(P[1]));
}

#[test]
fn entries_that_never_age_need_no_timer() {
    let mut bridge = bridge(Config { ageing_time: Duration::MAX, ..Config::default() });
    let now = start();
    bridge.handle_frame(P[0], &frame(A, B), now);
    assert_eq!(bridge.poll_timeout(), None);
}

#[test]
fn a_snapshot_is_in_order_and_knows_ages() {
    let (mut bridge, start) = (bridge(Config::default()), start());
    bridge.handle_frame(P[2], &frame(B, A), start);
    bridge.handle_frame(P[1], &frame(A, B), start + Duration::from_secs(5));
    let entry = |mac, port, age| {
        let age = Duration::from_secs(age);
        SnapshotEntry { mac, vlan: VlanId(0), port, age }
    };
    let snapshot = bridge.snapshot(start + Duration::from_secs(7));
    assert_eq!(snapshot.entries, [entry(A, P[1], 2), entry(B, P[2], 7)]);
    assert_eq!(snapshot.counters.learned, 2);
}

#[test]
#[should_panic(expected = "port number 65536")]
fn a_port_number_that_would_swell_the_table_is_a_mistake() {
    bridge(Config::default()).add_port(PortId(65_536), PortKind::Access);
}

#[test]
fn settings_changed_at_run_time_take_effect_at_once() {
    let mut bridge = Bridge::new(Config::default());
    for port in [1, 2, 3] {
        bridge.add_port(PortId(port), PortKind::Access);
    }
    let start = start();
    let header = |source: u8, destination: u8| FrameHeader {
        destination: MacAddr([2, 0, 0, 0, 0, destination]),
        source: MacAddr([2, 0, 0, 0, 0, source]),
        vlan: VlanId(0),
        tagged: false,
    };
    bridge.handle_frame(PortId(1), &header(1, 9), start);
    let is_known = |bridge: &mut Bridge, now| {
        matches!(bridge.handle_frame(PortId(2), &header(2, 1), now), Verdict::Forward { .. })
    };
    assert!(is_known(&mut bridge, start));
    bridge.set_ageing_time(Duration::from_secs(5));
    assert!(!is_known(&mut bridge, start + Duration::from_secs(5)));

    bridge.handle_frame(PortId(1), &header(1, 9), start + Duration::from_secs(6));
    bridge.set_hub(true);
    assert!(!is_known(&mut bridge, start + Duration::from_secs(6)));
    bridge.set_hub(false);
    assert!(!is_known(&mut bridge, start + Duration::from_secs(6)), "what was learned is gone");
}

#[test]
fn a_blocked_port_neither_sends_nor_receives_data() {
    let (mut bridge, now) = (bridge(Config::default()), start());
    bridge.handle_frame(P[0], &frame(A, B), now);
    bridge.set_blocked(P[0], true);
    bridge.set_blocked(PortId(77), true);
    assert!(bridge.is_blocked(P[0]) && !bridge.is_blocked(P[1]) && !bridge.is_blocked(PortId(77)));
    let blocked = Verdict::Drop(DropReason::Blocked);
    assert_eq!(bridge.handle_frame(P[0], &frame(A, B), now), blocked);
    assert_eq!(bridge.handle_frame(P[1], &frame(B, A), now), FLOOD, "A is forgotten");
    let reached = |bridge: &Bridge| -> Vec<PortId> {
        bridge.flood_ports(Some(P[1]), UNTAGGED).map(|(port, _)| port).collect()
    };
    assert_eq!(reached(&bridge), [P[2], P[3]]);
    bridge.add_port(P[0], PortKind::Access);
    assert!(bridge.is_blocked(P[0]), "it is the same port");
    bridge.set_blocked(P[0], false);
    assert_eq!(bridge.handle_frame(P[0], &frame(A, B), now), forward(P[1]));
    assert_eq!(reached(&bridge), [P[0], P[2], P[3]]);
    bridge.set_blocked(P[0], true);
    bridge.remove_port(P[0]);
    bridge.add_port(P[0], PortKind::Access);
    assert!(!bridge.is_blocked(P[0]), "it is another port");
}

#[test]
fn a_blocked_port_of_a_hub_is_blocked() {
    let mut bridge = bridge(Config { hub: true, ..Config::default() });
    bridge.set_blocked(P[0], true);
    let verdict = bridge.handle_frame(P[0], &frame(A, B), start());
    assert_eq!(verdict, Verdict::Drop(DropReason::Blocked));
    assert_eq!(bridge.flood_ports(Some(P[1]), UNTAGGED).count(), 2);
}

#[test]
fn a_storm_from_one_port_is_cut_to_its_rate_each_kind_by_itself() {
    let storm_control = StormControl::STANDARD;
    let (mut bridge, start) = (bridge(Config { storm_control, ..Config::default() }), start());
    let multicast = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
    bridge.handle_frame(P[1], &frame(B, A), start);
    for (second, destination, rate, reason) in [
        (0, MacAddr::BROADCAST, 1000, DropReason::BroadcastStorm),
        (1, multicast, 2000, DropReason::MulticastStorm),
        (2, MacAddr([2; 6]), 1000, DropReason::UnknownUnicastStorm),
    ] {
        let verdicts = (0..100_000).map(|frame_number| {
            let now = start + Duration::from_micros(second * 1_000_000 + 10 * frame_number);
            bridge.handle_frame(P[0], &frame(A, destination), now)
        });
        let (passed, dropped): (Vec<_>, Vec<_>) = verdicts.partition(|verdict| *verdict == FLOOD);
        assert!((rate..=rate + rate / 10).contains(&passed.len()), "{reason}: {}", passed.len());
        assert!(dropped.iter().all(|verdict| *verdict == Verdict::Drop(reason)));
    }
    let now = start + Duration::from_secs(3);
    let known = (0..5000).filter(|_| bridge.handle_frame(P[0], &frame(A, B), now) == forward(P[1]));
    assert_eq!(known.count(), 5000, "known unicast has no limit");
    let broadcast = frame(B, MacAddr::BROADCAST);
    assert_eq!(bridge.handle_frame(P[1], &broadcast, now), FLOOD, "nor do others pay");
}

#[test]
fn invented_stations_are_cut_off_and_those_that_are_known_are_not() {
    let storm_control = StormControl::STANDARD;
    let (mut bridge, start) = (bridge(Config { storm_control, ..Config::default() }), start());
    bridge.handle_frame(P[0], &frame(A, B), start);
    bridge.handle_frame(P[1], &frame(B, A), start);
    let dropped = (0..50_000_u32).filter(|number| {
        let now = start + Duration::from_micros(20) * *number;
        let [_, b, c, d] = number.to_be_bytes();
        let verdict = bridge.handle_frame(P[0], &frame(MacAddr([2, 1, 1, b, c, d]), B), now);
        verdict == Verdict::Drop(DropReason::StationStorm)
    });
    let learned = 50_000 - dropped.count();
    assert!((298..=300).contains(&learned), "{learned}");
    let now = start + Duration::from_secs(1);
    assert_eq!(bridge.handle_frame(P[0], &frame(A, B), now), forward(P[1]));
    let elsewhere = frame(MacAddr([2, 9, 9, 9, 9, 9]), B);
    assert_eq!(bridge.handle_frame(P[2], &elsewhere, now), forward(P[1]));
}

#[test]
fn stations_that_move_to_and_fro_betray_two_ports_that_are_joined() {
    let (mut bridge, start) = (bridge(Config::default()), start());
    let mut told = Vec::new();
    for round in 0..4_u32 {
        for station in 0..3 {
            let header = frame(MacAddr([2, 0, 0, 0, 1, station]), MacAddr::BROADCAST);
            let port = P[2 + round as usize % 2];
            bridge.handle_frame(port, &header, start + Duration::from_millis(100) * round);
        }
        let changes = std::iter::from_fn(|| bridge.poll_change());
        told.extend(changes.filter(|change| matches!(change, Change::Flapping { .. })));
        assert_eq!(told.is_empty(), round < 3);
    }
    assert_eq!(told, [Change::Flapping { a: P[2], b: P[3] }]);
}

#[test]
fn a_port_with_a_high_number_leaves_no_gaps_to_walk_when_it_is_gone() {
    let mut bridge = bridge(Config::default());
    bridge.add_port(PortId::MAX, PortKind::Access);
    let reached = |bridge: &Bridge| bridge.flood_ports(Some(P[0]), UNTAGGED).count();
    assert_eq!(reached(&bridge), 4);
    bridge.remove_port(PortId::MAX);
    assert_eq!(reached(&bridge), 3);
    assert_eq!(bridge.ports.len(), P.len());
    assert_eq!(bridge.flooded, P);
}
