//! The bridge against a bridge so simple that it is right by inspection: one list, searched from
//! the front, oldest first. Whatever happens, both give the same verdicts and know the same
//! stations, and the frames that leave are the same to the octet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ether::{FrameHeader, MacAddr, VlanId, VnetHeader};
use fabric::{Bridge, Config, DropReason, PortId, PortKind, Verdict, VlanError, VlanPolicy};
use proptest::prelude::*;

const AGEING_TIME: Duration = Duration::from_secs(20);
const CAPACITY: usize = 8;
const PER_PORT_CAPACITY: usize = 3;

type Station = (VlanId, MacAddr);

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

/// What a bridge did: it dropped the frame, or sent these octets through these ports.
type Outcome = Result<Vec<(PortId, Vec<u8>)>, DropReason>;

fn outcome(bridge: &mut Bridge, ingress: PortId, frame: &Frame, now: Instant) -> Outcome {
    let octets = frame.octets();
    let header = FrameHeader::parse(&octets).expect("the frame is well-formed");
    let actions = match bridge.handle_frame(ingress, &header, now) {
        Verdict::Drop(reason) => return Err(reason),
        Verdict::Forward { egress, tag } => vec![(egress, tag)],
        Verdict::Flood(classified) => bridge.flood_ports(ingress, classified).collect(),
    };
    let leave = |(port, action): (PortId, ether::TagAction)| {
        let mut out = Vec::new();
        let applied = action.apply(VnetHeader::PLAIN, &octets, &mut out);
        applied.expect("the frame is short");
        (port, out)
    };
    Ok(actions.into_iter().map(leave).collect())
}

#[derive(Default)]
struct Model {
    ports: BTreeMap<PortId, PortKind>,
    /// Transparent ports are not in it.
    policies: BTreeMap<PortId, (Option<VlanId>, BTreeSet<VlanId>)>,
    /// But for VLAN 0, which always exists.
    vlans: BTreeSet<VlanId>,
    /// Least recently refreshed first.
    entries: Vec<(Station, PortId, Instant)>,
}

impl Model {
    fn expire(&mut self, now: Instant) {
        self.entries.retain(|(_, _, seen)| now - *seen < AGEING_TIME);
    }

    fn outcome(&mut self, ingress: PortId, frame: &Frame, now: Instant) -> Outcome {
        if !self.ports.contains_key(&ingress) {
            return Err(DropReason::UnknownPort);
        }
        let vlan = self.classify(ingress, frame).ok_or(DropReason::VlanNotMember)?;
        self.expire(now);
        self.learn((vlan, frame.source), ingress, now);
        if frame.destination.is_bridge_reserved() {
            return Err(DropReason::Reserved);
        }
        let destination = (vlan, frame.destination);
        let found = self.entries.iter().find(|(station, _, _)| *station == destination);
        let egresses: Vec<PortId> = match found {
            Some((_, port, _)) if *port == ingress => return Err(DropReason::SamePort),
            Some((_, port, _)) => vec![*port],
            None => self.ports.keys().copied().collect(),
        };
        let others = egresses.into_iter().filter(|port| *port != ingress);
        let leaving = others.filter_map(|port| Some((port, self.leave(port, vlan, frame)?)));
        let leaving: Vec<_> = leaving.collect();
        assert!(found.is_none() || !leaving.is_empty(), "behind no member");
        Ok(leaving)
    }

    fn classify(&self, ingress: PortId, frame: &Frame) -> Option<VlanId> {
        let named = frame.tag.map(|(_, vlan)| vlan);
        let Some((untagged, tagged)) = self.policies.get(&ingress) else {
            return Some(named.unwrap_or_default());
        };
        match named {
            Some(vlan) if tagged.contains(&vlan) || *untagged == Some(vlan) => named,
            Some(VlanId::ZERO) | None => *untagged,
            Some(_) => None,
        }
    }

    /// The octets of a frame that leaves through a port, if its VLAN does.
    fn leave(&self, egress: PortId, vlan: VlanId, frame: &Frame) -> Option<Vec<u8>> {
        let with_tag = || Some((frame.tag.map_or(0, |(priority, _)| priority), vlan));
        let tag = match self.policies.get(&egress) {
            None if vlan == VlanId::ZERO => frame.tag,
            None => with_tag(),
            Some((untagged, _)) if *untagged == Some(vlan) => None,
            Some((_, tagged)) if tagged.contains(&vlan) => with_tag(),
            Some(_) => return None,
        };
        let frame = Frame { tag, ..frame.clone() };
        Some(frame.octets())
    }

    fn forget(&mut self, port: PortId) {
        self.entries.retain(|(_, holder, _)| *holder != port);
    }

    fn remove_port(&mut self, port: PortId) {
        self.ports.remove(&port);
        self.policies.remove(&port);
        self.forget(port);
    }

    fn add_port(&mut self, port: PortId, kind: PortKind) {
        self.ports.insert(port, kind);
        if kind == PortKind::Cable && self.policies.remove(&port).is_some() {
            self.forget(port);
        }
    }

    fn set_policy(&mut self, port: PortId, policy: &VlanPolicy) -> Result<(), VlanError> {
        let kind = *self.ports.get(&port).ok_or(VlanError::UnknownPort(port))?;
        let new = match policy {
            VlanPolicy::Transparent => None,
            VlanPolicy::Aware { .. } if kind == PortKind::Cable => {
                return Err(VlanError::Cable(port));
            }
            VlanPolicy::Aware { untagged, tagged } => {
                let exists = |vlan: &&VlanId| **vlan == VlanId::ZERO || self.vlans.contains(vlan);
                if let Some(unknown) = untagged.iter().chain(tagged).find(|vlan| !exists(vlan)) {
                    return Err(VlanError::UnknownVlan(*unknown));
                }
                let mut tagged = tagged.clone();
                tagged.retain(|vlan| Some(*vlan) != *untagged);
                Some((*untagged, tagged))
            }
        };
        if self.policies.get(&port) != new.as_ref() {
            self.policies.remove(&port);
            self.policies.extend(new.map(|new| (port, new)));
            self.forget(port);
        }
        Ok(())
    }

    fn create_vlan(&mut self, vlan: VlanId) -> Result<(), VlanError> {
        let is_new = self.vlans.insert(vlan);
        is_new.then_some(()).ok_or(VlanError::Exists(vlan))
    }

    fn remove_vlan(&mut self, vlan: VlanId) -> Result<(), VlanError> {
        if !self.vlans.contains(&vlan) {
            return Err(VlanError::UnknownVlan(vlan));
        }
        for (&port, (untagged, tagged)) in &self.policies {
            if tagged.contains(&vlan) || *untagged == Some(vlan) {
                return Err(VlanError::InUse { vlan, port });
            }
        }
        self.vlans.remove(&vlan);
        Ok(())
    }

    fn learn(&mut self, station: Station, port: PortId, now: Instant) {
        if let Some(at) = self.entries.iter().position(|(known, _, _)| *known == station) {
            let (_, known_port, seen) = self.entries[at];
            if known_port == port && now - seen < Duration::from_secs(1) {
                return;
            }
            self.entries.remove(at);
            if known_port == port {
                return self.entries.push((station, port, now));
            }
        }
        let held = |port| self.entries.iter().filter(|(_, holder, _)| *holder == port).count();
        let bounded = self.ports[&port] == PortKind::Access && held(port) >= PER_PORT_CAPACITY;
        if bounded || self.entries.len() >= CAPACITY {
            let largest = self.ports.keys().copied().max_by_key(|port| (held(*port), *port));
            let largest = largest.expect("there is the ingress");
            let spare = held(largest) > held(port).max(1);
            let payer = if bounded || !spare { port } else { largest };
            match self.entries.iter().position(|(_, holder, _)| *holder == payer) {
                Some(oldest) => drop(self.entries.remove(oldest)),
                None => return,
            }
        }
        self.entries.push((station, port, now));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Frame { ingress: PortId, frame: Frame },
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

fn frame() -> impl Strategy<Value = Frame> {
    let station = || (0..12_u8).prop_map(|number| MacAddr([2, 0, 0, 0, 0, number]));
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
    let destination = prop_oneof![8 => station(), 1 => group];
    (destination, station(), tag, rest).prop_map(|(destination, source, tag, rest)| {
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
    prop_oneof![
        40 => (port(), frame()).prop_map(|(ingress, frame)| Step::Frame { ingress, frame }),
        4 => (port(), kind).prop_map(|(port, kind)| Step::Add { port, kind }),
        2 => port().prop_map(|port| Step::Remove { port }),
        1 => port().prop_map(|port| Step::Flush { port }),
        3 => (port(), policy()).prop_map(|(port, policy)| Step::SetPolicy { port, policy }),
        1 => created().prop_map(|vlan| Step::CreateVlan { vlan }),
        1 => created().prop_map(|vlan| Step::RemoveVlan { vlan }),
        // Often around the refresh interval and the ageing time, where mistakes live.
        8 => prop_oneof![0..3_u64, 990..1010_u64, 9_990..10_010_u64, Just(20_000)]
            .prop_map(|millis| Step::Wait { millis }),
        4 => Just(Step::Timeout),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_bridge_does_what_the_naive_bridge_does(
        seed in any::<u64>(),
        vlans in proptest::collection::btree_set((1..4_u16).prop_map(VlanId), 0..=3),
        // Without any, all ports are transparent for a while.
        policies in proptest::collection::vec((port(), policy()), 0..6),
        steps in proptest::collection::vec(step(), 1..150),
    ) {
        let mut bridge = Bridge::new(Config {
            ageing_time: AGEING_TIME,
            capacity: CAPACITY,
            per_port_capacity: PER_PORT_CAPACITY,
            hub: false,
            seed,
        });
        let mut model = Model::default();
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
            match step {
                Step::Frame { ingress, frame } => {
                    let expected = model.outcome(ingress, &frame, now);
                    prop_assert_eq!(outcome(&mut bridge, ingress, &frame, now), expected);
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
            model.expire(now);
            let entries = model.entries.iter();
            let mut expected: Vec<_> = entries
                .map(|((vlan, mac), port, seen)| (*vlan, *mac, *port, now - *seen))
                .collect();
            expected.sort();
            let snapshot = bridge.snapshot(now).entries.into_iter();
            let known = snapshot.map(|entry| (entry.vlan, entry.mac, entry.port, entry.age));
            prop_assert_eq!(known.collect::<Vec<_>>(), expected);
        }
    }
}
