//! Who hears whom across nodes, from one node's side.

use std::collections::BTreeSet;
use std::time::Duration;

use ether::TagAction;

use super::*;
use crate::vlan::CarriedTag;
use crate::{Change, Config, PortId, PortKind, RemoteEntry, StormControl, VlanPolicy};

const P: [PortId; 3] = [PortId(1), PortId(2), PortId(3)];
const CABLE: PortId = PortId(9);
const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xa]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xb]);
const C: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xc]);
const NEAR: RemoteId = RemoteId(0x1234_5678);
const FAR: RemoteId = RemoteId(5);
const V0: VlanId = VlanId::ZERO;

const UNTAGGED: Classified = Classified { vlan: V0, carried: CarriedTag::None };
const FLOOD: Verdict = Verdict::Flood(UNTAGGED);
const NOT_HERE: Verdict = Verdict::Drop(DropReason::NotHere);
const LOCAL_SOURCE: Verdict = Verdict::Drop(DropReason::LocalSource);

#[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
fn start() -> Instant {
    Instant::now()
}

fn bridge(config: Config) -> Bridge {
    let mut bridge = Bridge::new(config);
    for port in P {
        bridge.add_port(port, PortKind::Access);
    }
    bridge.add_port(CABLE, PortKind::Cable);
    bridge
}

fn frame(source: MacAddr, destination: MacAddr) -> FrameHeader {
    FrameHeader { destination, source, vlan: V0, tagged: false }
}

fn forward(egress: PortId) -> Verdict {
    Verdict::Forward { egress, tag: TagAction::AsIs }
}

fn remote(owner: RemoteId) -> Verdict {
    Verdict::Remote { owner, frame: UNTAGGED }
}

fn changes(bridge: &mut Bridge) -> Vec<Change> {
    std::iter::from_fn(|| bridge.poll_change()).collect()
}

#[test]
fn a_frame_goes_to_the_node_that_the_mesh_named() {
    let (mut bridge, now) = (bridge(Config::default()), start());
    bridge.set_remote(V0, B, NEAR);
    assert_eq!(bridge.handle_frame(P[0], &frame(A, B), now), remote(NEAR));
    bridge.set_remote(V0, B, FAR);
    assert_eq!(bridge.handle_frame(P[0], &frame(A, B), now), remote(FAR));
    assert_eq!(bridge.locate(V0, B, now), Some(Location::Remote(FAR)));
    assert!(bridge.remove_remote(V0, B));
    assert!(!bridge.remove_remote(V0, B));
    assert_eq!(bridge.handle_frame(P[0], &frame(A, B), now), FLOOD);
}

#[test]
fn a_frame_for_another_node_travels_with_the_tag_of_its_vlan() {
    let (mut bridge, now) = (bridge(Config::default()), start());
    bridge.create_vlan(VlanId(5)).unwrap();
    let policy = VlanPolicy::Aware { untagged: Some(VlanId(5)), tagged: BTreeSet::new() };
    bridge.set_vlan_policy(P[0], &policy).unwrap();
    bridge.set_remote(V0, B, FAR);
    bridge.set_remote(VlanId(5), B, NEAR);
    match bridge.handle_frame(P[0], &frame(A, B), now) {
        Verdict::Remote { owner: NEAR, frame } => {
            assert_eq!(frame.trunk_tag(), TagAction::Tag(VlanId(5)));
        }
        verdict => panic!("{verdict:?}"),
    }
    let back = FrameHeader { vlan: VlanId(5), tagged: true, ..frame(B, A) };
    let untagged = Verdict::Forward { egress: P[0], tag: TagAction::Untag };
    assert_eq!(bridge.handle_from_cable(NEAR, &back, Reach::Unicast, now), untagged);
    assert_eq!(bridge.handle_from_cable(NEAR, &frame(B, A), Reach::Unicast, now), NOT_HERE);
}

#[test]
fn what_is_behind_a_node_that_is_gone_is_flooded_again() {
    let (mut bridge, now) = (bridge(Config::default()), start());
    bridge.set_remote(V0, B, NEAR);
    bridge.set_remote(V0, C, FAR);
    bridge.remove_remotes_of(NEAR);
    assert_eq!(bridge.handle_frame(P[0], &frame(A, B), now), FLOOD);
    assert_eq!(bridge.handle_frame(P[0], &frame(A, C), now), remote(FAR));
    assert_eq!(bridge.remote_entries(), 1);
}

#[test]
fn nothing_is_learned_from_a_cable() {
    let (mut bridge, now) = (bridge(Config::default()), start());
    let broadcast = frame(B, MacAddr::BROADCAST);
    assert_eq!(bridge.handle_from_cable(NEAR, &broadcast, Reach::Flood, now), FLOOD);
    assert_eq!(bridge.handle_frame(P[0], &frame(A, B), now), FLOOD);
    assert_eq!((bridge.entries(), bridge.remote_entries()), (1, 0));
}

#[test]
fn a_cable_has_a_number_and_nothing_else_of_a_port() {
    let (mut bridge, now) = (bridge(Config::default()), start());
    let unknown = Verdict::Drop(DropReason::UnknownPort);
    assert_eq!(bridge.handle_frame(CABLE, &frame(A, B), now), unknown);
    assert_eq!(bridge.entries(), 0);
    let ports = |bridge: &Bridge, ingress| -> Vec<_> {
        bridge.flood_ports(ingress, UNTAGGED).map(|(port, _)| port).collect()
    };
    assert_eq!(ports(&bridge, Some(P[0])), P[1..]);
    assert_eq!(ports(&bridge, None), P);
    bridge.add_port(P[1], PortKind::Cable);
    assert_eq!(ports(&bridge, None), [P[0], P[2]]);
    bridge.add_port(P[1], PortKind::Access);
    assert_eq!(ports(&bridge, None), P);
}

#[test]
fn a_port_that_becomes_a_cable_loses_its_stations() {
    let (mut bridge, now) = (bridge(Config::default()), start());
    bridge.handle_frame(P[1], &frame(A, B), now);
    bridge.add_port(P[1], PortKind::Cable);
    assert_eq!(bridge.handle_frame(P[0], &frame(B, A), now), FLOOD);
}

#[test]
fn what_comes_for_a_station_here_goes_to_its_port_alone() {
    let (mut bridge, now) = (bridge(Config::default()), start());
    bridge.handle_frame(P[0], &frame(A, B), now);
    for reach in [Reach::Unicast, Reach::Flood] {
        assert_eq!(bridge.handle_from_cable(NEAR, &frame(B, A), reach, now), forward(P[0]));
    }
}

#[test]
fn what_comes_for_a_station_that_is_not_here_is_neither_flooded_nor_sent_on() {
    let (mut bridge, start) = (bridge(Config::default()), start());
    bridge.set_remote(V0, C, FAR);
    let to = |bridge: &mut Bridge, mac, now| {
        bridge.handle_from_cable(NEAR, &frame(B, mac), Reach::Unicast, now)
    };
    assert_eq!(to(&mut bridge, A, start), NOT_HERE);
    assert_eq!(to(&mut bridge, C, start), NOT_HERE);
    bridge.handle_frame(P[0], &frame(A, B), start);
    let due = start + Config::default().ageing_time;
    assert_eq!(to(&mut bridge, A, due), NOT_HERE);
}

#[test]
fn a_frame_that_comes_back_by_a_cable_is_dropped_while_its_station_is_here() {
    let (mut bridge, start) = (bridge(Config::default()), start());
    let broadcast = frame(A, MacAddr::BROADCAST);
    bridge.handle_frame(P[0], &broadcast, start);
    let back = |bridge: &mut Bridge, reach, after| {
        bridge.handle_from_cable(NEAR, &broadcast, reach, start + Duration::from_millis(after))
    };
    assert_eq!(back(&mut bridge, Reach::Flood, 1), LOCAL_SOURCE);
    assert_eq!(back(&mut bridge, Reach::Unicast, 4_999), LOCAL_SOURCE);
    // A station that moved away in silence is not cut off for longer.
    assert_eq!(back(&mut bridge, Reach::Flood, 5_000), FLOOD);
}

#[test]
fn a_station_that_the_mesh_says_has_moved_away_is_heard_at_once() {
    let (mut bridge, now) = (bridge(Config::default()), start());
    bridge.handle_frame(P[0], &frame(A, B), now);
    changes(&mut bridge);
    bridge.set_remote(V0, A, NEAR);
    let station = Station { vlan: V0, mac: A };
    assert_eq!(changes(&mut bridge), [Change::MovedAway { station, from: P[0], to: NEAR }]);
    let broadcast = frame(A, MacAddr::BROADCAST);
    assert_eq!(bridge.handle_from_cable(NEAR, &broadcast, Reach::Flood, now), FLOOD);
    assert_eq!(bridge.handle_frame(P[1], &frame(B, A), now), remote(NEAR));
    assert_eq!((bridge.counters().learned, bridge.counters().moved_away), (2, 1));
}

#[test]
fn a_remote_station_that_speaks_here_is_here_at_once() {
    let (mut bridge, now) = (bridge(Config::default()), start());
    bridge.set_remote(V0, A, NEAR);
    bridge.handle_frame(P[0], &frame(A, B), now);
    let station = Station { vlan: V0, mac: A };
    assert_eq!(changes(&mut bridge), [Change::MovedHere { station, from: NEAR, to: P[0] }]);
    assert_eq!(bridge.handle_frame(P[1], &frame(B, A), now), forward(P[0]));
    // A withdrawal that crossed it on the way does no harm.
    assert!(!bridge.remove_remote(V0, A));
    assert_eq!(bridge.locate(V0, A, now), Some(Location::Port(P[0])));
}

#[test]
fn reserved_addresses_do_not_come_by_cables() {
    let (mut bridge, now) = (bridge(Config::default()), start());
    let header = frame(A, MacAddr([0x01, 0x80, 0xc2, 0, 0, 0x0e]));
    let verdict = bridge.handle_from_cable(NEAR, &header, Reach::Flood, now);
    assert_eq!(verdict, Verdict::Drop(DropReason::Reserved));
}

#[test]
fn a_hub_repeats_what_comes_by_a_cable_to_its_ports() {
    let (mut bridge, now) = (bridge(Config { hub: true, ..Config::default() }), start());
    bridge.set_remote(V0, B, NEAR);
    assert_eq!(bridge.handle_frame(P[0], &frame(A, B), now), FLOOD);
    for reach in [Reach::Unicast, Reach::Flood] {
        assert_eq!(bridge.handle_from_cable(NEAR, &frame(B, A), reach, now), FLOOD);
    }
}

#[test]
fn what_the_mesh_said_survives_a_flush_and_is_in_the_snapshot() {
    let (mut bridge, now) = (bridge(Config::default()), start());
    bridge.handle_frame(P[0], &frame(A, B), now);
    bridge.set_remote(V0, C, FAR);
    bridge.set_remote(V0, B, NEAR);
    bridge.flush();
    let snapshot = bridge.snapshot(now);
    let entry = |mac, owner| RemoteEntry { mac, vlan: V0, owner };
    assert_eq!(snapshot.entries, []);
    assert_eq!(snapshot.remotes, [entry(B, NEAR), entry(C, FAR)]);
}

#[test]
fn a_node_that_floods_more_than_its_budget_is_cut_off_alone_and_in_floods_alone() {
    let storm_control = StormControl::STANDARD;
    let (mut bridge, now) = (bridge(Config { storm_control, ..Config::default() }), start());
    bridge.handle_frame(P[0], &frame(A, B), now);
    let broadcast = frame(B, MacAddr::BROADCAST);
    let flood =
        |bridge: &mut Bridge, node| bridge.handle_from_cable(node, &broadcast, Reach::Flood, now);
    assert_eq!((0..2000).filter(|_| flood(&mut bridge, NEAR) == FLOOD).count(), 1000);
    assert_eq!(flood(&mut bridge, NEAR), Verdict::Drop(DropReason::FloodBudget));
    assert_eq!(flood(&mut bridge, FAR), FLOOD);
    let verdict = bridge.handle_from_cable(NEAR, &frame(B, A), Reach::Unicast, now);
    assert_eq!(verdict, forward(P[0]));
}
