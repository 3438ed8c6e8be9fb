//! The bridge against a bridge so simple that it is right by inspection: one list, searched from
//! the front, oldest first. Whatever happens, both give the same verdicts, know the same stations
//! and tell the same changes, and the frames that leave are the same to the octet. Where the rules
//! leave a choice, which is who pays among ports that hold as many, the simple one follows the
//! other after it has made sure that the choice was among those.

mod naive;

use std::time::{Duration, Instant};

use ether::{FrameHeader, MacAddr, TagAction, VlanId, VnetHeader};
use fabric::{
    Bridge, Change, Config, DropReason, FrameRate, PortId, PortKind, Reach, RemoteId, Station,
    StormControl, Verdict, VlanPolicy,
};
use naive::Model;
use proptest::prelude::*;

const AGEING_TIME: Duration = Duration::from_secs(20);
const CAPACITY: usize = 8;
const PER_PORT_CAPACITY: usize = 3;
const REMOTE_CAPACITY: usize = 6;
const CONTAINMENT: Duration = Duration::from_secs(5);
/// A burst of a tenth of a second is 1, 2, 1 and 2 frames, that of two seconds 4 stations.
const STORM_CONTROL: StormControl = StormControl {
    broadcast: FrameRate(10),
    multicast: FrameRate(20),
    unknown_unicast: FrameRate(10),
    new_stations: FrameRate(2),
    cable_floods: FrameRate(20),
};

/// A frame, with the octets of its tag if it has one.
#[derive(Debug, Clone)]
struct Frame {
    destination: MacAddr,
    source: MacAddr,
    /// PCP and DEI, then the VLAN.
    tag: Option<(u16, VlanId)>,
    /// From the EtherType on; it may look like one more tag.
    rest: Vec<u8>,
}

impl Frame {
    fn octets(&self) -> Vec<u8> {
        let tag = self.tag.map(|(priority, VlanId(vlan))| {
            let [t0, t1] = (priority << 12 | vlan).to_be_bytes();
            [0x81, 0x00, t0, t1]
        });
        let tag = tag.as_ref().map_or(&[][..], |tag| tag);
        [&self.destination.0[..], &self.source.0, tag, &self.rest].concat()
    }
}

/// What a bridge did with a frame.
#[derive(Debug, PartialEq)]
enum Outcome {
    Dropped(DropReason),
    /// These octets left through these ports.
    Sent(Vec<(PortId, Vec<u8>)>),
    /// These octets left for another node.
    Carried(RemoteId, Vec<u8>),
}

/// From where a frame comes.
#[derive(Debug, Clone, Copy)]
enum Ingress {
    Port(PortId),
    Cable(RemoteId, Reach),
}

impl Ingress {
    fn port(self) -> Option<PortId> {
        match self {
            Self::Port(port) => Some(port),
            Self::Cable(..) => None,
        }
    }
}

fn outcome(bridge: &mut Bridge, ingress: Ingress, frame: &Frame, now: Instant) -> Outcome {
    let octets = frame.octets();
    let header = FrameHeader::parse(&octets).expect("the frame is well-formed");
    let leave = |action: TagAction| {
        let mut out = Vec::new();
        let applied = action.apply(VnetHeader::PLAIN, &octets, &mut out);
        applied.expect("the frame is short");
        out
    };
    let verdict = match ingress {
        Ingress::Port(port) => bridge.handle_frame(port, &header, now),
        Ingress::Cable(node, reach) => bridge.handle_from_cable(node, &header, reach, now),
    };
    match verdict {
        Verdict::Drop(reason) => Outcome::Dropped(reason),
        Verdict::Forward { egress, tag } => Outcome::Sent(vec![(egress, leave(tag))]),
        Verdict::Remote { owner, frame } => Outcome::Carried(owner, leave(frame.trunk_tag())),
        Verdict::Flood(classified) => {
            let ports = bridge.flood_ports(ingress.port(), classified);
            Outcome::Sent(ports.map(|(port, tag)| (port, leave(tag))).collect())
        }
        Verdict::Doubtful(_) => unreachable!("no port of the model leads to a network"),
    }
}

#[derive(Debug, Clone)]
enum Step {
    Frame { ingress: Ingress, frame: Frame },
    SetRemote { station: Station, owner: RemoteId },
    RemoveRemote { station: Station },
    RemoveRemotesOf { owner: RemoteId },
    SetBlocked { port: PortId, blocked: bool },
    Add { port: PortId, kind: PortKind },
    Remove { port: PortId },
    Flush { port: PortId },
    SetPolicy { port: PortId, policy: VlanPolicy },
    CreateVlan { vlan: VlanId },
    RemoveVlan { vlan: VlanId },
    Wait { millis: u64 },
    Timeout,
}

fn port() -> impl Strategy<Value = PortId> {
    (0..7_u32).prop_map(PortId)
}

fn vlan() -> impl Strategy<Value = VlanId> {
    (0..4_u16).prop_map(VlanId)
}

fn mac() -> impl Strategy<Value = MacAddr> {
    (0..12_u8).prop_map(|number| MacAddr([2, 0, 0, 0, 0, number]))
}

fn station() -> impl Strategy<Value = Station> {
    // Most frames are in VLAN 0.
    let vlan = prop_oneof![2 => Just(VlanId::ZERO), 1 => vlan()];
    (vlan, mac()).prop_map(|(vlan, mac)| Station { vlan, mac })
}

fn owner() -> impl Strategy<Value = RemoteId> {
    (0..8_u32).prop_map(|number| RemoteId(number * 0x0100_0001))
}

fn frame() -> impl Strategy<Value = Frame> {
    let group = prop_oneof![
        Just(MacAddr::BROADCAST),
        Just(MacAddr([0x33, 0x33, 0, 0, 0, 1])),
        (0..0x12_u8).prop_map(|last| MacAddr([0x01, 0x80, 0xc2, 0, 0, last])),
    ];
    let rest = prop_oneof![
        3 => Just(vec![0x08, 0x00, 1, 2, 3]),
        1 => Just(vec![0x88, 0xa8, 0x00, 0x02, 0x08, 0x00, 4]),
        1 => Just(vec![0x81, 0x00, 0x60, 0x02, 0x08, 0x00, 5]),
    ];
    let tag = proptest::option::of((0..16_u16, vlan()));
    let destination = prop_oneof![8 => mac(), 1 => group];
    (destination, mac(), tag, rest).prop_map(|(destination, source, tag, rest)| {
        // Without an own tag, one in the rest would be the frame's.
        let tag = tag.or_else(|| rest.starts_with(&[0x81]).then_some((0, VlanId::ZERO)));
        Frame { destination, source, tag, rest }
    })
}

fn policy() -> impl Strategy<Value = VlanPolicy> {
    let tagged = proptest::collection::btree_set(vlan(), 0..4);
    let aware = (proptest::option::weighted(0.8, vlan()), tagged)
        .prop_map(|(untagged, tagged)| VlanPolicy::Aware { untagged, tagged });
    prop_oneof![1 => Just(VlanPolicy::Transparent), 4 => aware]
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![3 => Just(PortKind::Access), 1 => Just(PortKind::Cable)];
    let created = || (1..4_u16).prop_map(VlanId);
    let reach = prop_oneof![Just(Reach::Unicast), Just(Reach::Flood)];
    let ingress = prop_oneof![
        4 => port().prop_map(Ingress::Port),
        1 => (owner(), reach).prop_map(|(node, reach)| Ingress::Cable(node, reach)),
    ];
    prop_oneof![
        50 => (ingress, frame()).prop_map(|(ingress, frame)| Step::Frame { ingress, frame }),
        10 => (station(), owner())
            .prop_map(|(station, owner)| Step::SetRemote { station, owner }),
        3 => station().prop_map(|station| Step::RemoveRemote { station }),
        1 => owner().prop_map(|owner| Step::RemoveRemotesOf { owner }),
        3 => (port(), any::<bool>())
            .prop_map(|(port, blocked)| Step::SetBlocked { port, blocked }),
        4 => (port(), kind).prop_map(|(port, kind)| Step::Add { port, kind }),
        2 => port().prop_map(|port| Step::Remove { port }),
        1 => port().prop_map(|port| Step::Flush { port }),
        3 => (port(), policy()).prop_map(|(port, policy)| Step::SetPolicy { port, policy }),
        1 => created().prop_map(|vlan| Step::CreateVlan { vlan }),
        1 => created().prop_map(|vlan| Step::RemoveVlan { vlan }),
        // Often around the refresh interval and the ageing time, where mistakes live.
        8 => prop_oneof![0..3_u64, 0..200_u64, 990..1010_u64, 9_990..10_010_u64, Just(20_000)]
            .prop_map(|millis| Step::Wait { millis }),
        4 => Just(Step::Timeout),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_bridge_does_what_the_naive_bridge_does(
        seed in any::<u64>(),
        limits_storms in any::<bool>(),
        vlans in proptest::collection::btree_set((1..4_u16).prop_map(VlanId), 0..=3),
        // Without any, all ports are transparent for a while.
        policies in proptest::collection::vec((port(), policy()), 0..6),
        steps in proptest::collection::vec(step(), 1..150),
    ) {
        let mut bridge = Bridge::new(Config {
            ageing_time: AGEING_TIME,
            capacity: CAPACITY,
            per_port_capacity: PER_PORT_CAPACITY,
            remote_capacity: REMOTE_CAPACITY,
            storm_control: if limits_storms { STORM_CONTROL } else { StormControl::OFF },
            seed,
            ..Config::default()
        });
        let mut model = Model::new(limits_storms);
        #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
        let mut now = Instant::now();
        for port in (0..5).map(PortId) {
            bridge.add_port(port, PortKind::Access);
            model.add_port(port, PortKind::Access);
        }
        for vlan in vlans {
            prop_assert_eq!(bridge.create_vlan(vlan), model.create_vlan(vlan));
        }
        for (port, policy) in policies {
            let expected = model.set_policy(port, &policy);
            prop_assert_eq!(bridge.set_vlan_policy(port, &policy), expected);
        }
        for step in steps {
            let mut actual = Vec::new();
            match step {
                Step::Frame { ingress, frame } => {
                    let found = outcome(&mut bridge, ingress, &frame, now);
                    actual.extend(changes(&mut bridge));
                    model.evicted = evicted(&actual);
                    prop_assert_eq!(found, model.outcome(ingress, &frame, now));
                }
                Step::SetRemote { station, owner } => {
                    bridge.set_remote(station.vlan, station.mac, owner);
                    let left = bridge.snapshot(now).remotes.into_iter();
                    let left = left.map(|entry| Station { vlan: entry.vlan, mac: entry.mac });
                    model.remotes_left = left.collect();
                    model.set_remote(station, owner);
                }
                Step::RemoveRemote { station } => {
                    let removed = bridge.remove_remote(station.vlan, station.mac);
                    prop_assert_eq!(removed, model.remove_remote(station));
                }
                Step::RemoveRemotesOf { owner } => {
                    bridge.remove_remotes_of(owner);
                    model.remotes.retain(|(_, holder)| *holder != owner);
                }
                Step::SetBlocked { port, blocked } => {
                    bridge.set_blocked(port, blocked);
                    model.set_blocked(port, blocked);
                    prop_assert_eq!(bridge.is_blocked(port), model.blocked.contains(&port));
                }
                Step::Add { port, kind } => {
                    bridge.add_port(port, kind);
                    model.add_port(port, kind);
                }
                Step::Remove { port } => {
                    bridge.remove_port(port);
                    model.remove_port(port);
                }
                Step::Flush { port } => {
                    bridge.flush_port(port);
                    model.forget(port);
                }
                Step::SetPolicy { port, policy } => {
                    let expected = model.set_policy(port, &policy);
                    prop_assert_eq!(bridge.set_vlan_policy(port, &policy), expected);
                }
                Step::CreateVlan { vlan } => {
                    prop_assert_eq!(bridge.create_vlan(vlan), model.create_vlan(vlan));
                }
                Step::RemoveVlan { vlan } => {
                    prop_assert_eq!(bridge.remove_vlan(vlan), model.remove_vlan(vlan));
                }
                Step::Wait { millis } => now += Duration::from_millis(millis),
                Step::Timeout => {
                    bridge.handle_timeout(now);
                    model.expire(now);
                    let oldest = model.entries.first().map(|(_, _, seen)| *seen + AGEING_TIME);
                    prop_assert_eq!(bridge.poll_timeout(), oldest);
                    prop_assert!(oldest.is_none_or(|due| due > now));
                }
            }
            actual.extend(changes(&mut bridge));
            prop_assert_eq!(&actual, &model.changes);
            model.changes.clear();
            let entries = model.entries.iter().filter(|(_, _, seen)| now - *seen < AGEING_TIME);
            let mut expected: Vec<_> =
                entries.map(|(station, port, seen)| (*station, *port, now - *seen)).collect();
            expected.sort();
            let snapshot = bridge.snapshot(now);
            let known = snapshot.entries.into_iter().map(|entry| {
                (Station { vlan: entry.vlan, mac: entry.mac }, entry.port, entry.age)
            });
            prop_assert_eq!(known.collect::<Vec<_>>(), expected);
            let mut expected = model.remotes.clone();
            expected.sort();
            let known = snapshot.remotes.into_iter();
            let known =
                known.map(|entry| (Station { vlan: entry.vlan, mac: entry.mac }, entry.owner));
            prop_assert_eq!(known.collect::<Vec<_>>(), expected);
        }
    }
}

/// What changed. Flapping has a model of its own.
fn changes(bridge: &mut Bridge) -> Vec<Change> {
    let changes = std::iter::from_fn(|| bridge.poll_change());
    changes.filter(|change| !matches!(change, Change::Flapping { .. })).collect()
}

fn evicted(changes: &[Change]) -> Option<Station> {
    changes.iter().find_map(|change| match change {
        Change::Evicted { station, .. } => Some(*station),
        _ => None,
    })
}
