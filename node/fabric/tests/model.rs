//! The bridge against a bridge so simple that it is right by inspection: one list, searched from
//! the front, oldest first. Whatever happens, both give the same verdicts, know the same stations
//! and tell the same changes, and the frames that leave are the same to the octet. Where the rules
//! leave a choice, which is who pays among ports that hold as many, the simple one follows the
//! other after it has made sure that the choice was among those.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use ether::{FrameHeader, MacAddr, TagAction, VlanId, VnetHeader};
use fabric::{
    Bridge, Change, Config, DropReason, FrameRate, PortId, PortKind, Reach, RemoteId, Station,
    StormControl, Verdict, VlanError, VlanPolicy,
};
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
    }
}

/// A bucket that is filled by the nanosecond.
#[derive(Clone, Copy)]
struct Bucket {
    level: u128,
    filled: Instant,
}

/// Whose bucket, and what for.
type BucketOf = (Result<PortId, RemoteId>, DropReason);

#[derive(Default)]
struct Model {
    limits_storms: bool,
    buckets: BTreeMap<BucketOf, Bucket>,
    ports: BTreeMap<PortId, PortKind>,
    blocked: BTreeSet<PortId>,
    /// Transparent ports are not in it.
    policies: BTreeMap<PortId, (Option<VlanId>, BTreeSet<VlanId>)>,
    /// But for VLAN 0, which always exists.
    vlans: BTreeSet<VlanId>,
    /// Least recently refreshed first. Some may be due.
    entries: Vec<(Station, PortId, Instant)>,
    /// First told first.
    remotes: Vec<(Station, RemoteId)>,
    changes: Vec<Change>,
    /// What the bridge evicted in this step, and the remote stations that it knows after it.
    evicted: VecDeque<Station>,
    remotes_left: BTreeSet<Station>,
}

impl Model {
    fn expire(&mut self, now: Instant) {
        while let Some(&(station, port, seen)) = self.entries.first()
            && now - seen >= AGEING_TIME
        {
            self.entries.remove(0);
            self.changes.push(Change::Aged { station, port });
        }
    }

    /// Whether one more frame or station is within its limit.
    fn may_send(&mut self, of: BucketOf, now: Instant) -> bool {
        if !self.limits_storms {
            return true;
        }
        let (rate, burst) = match of.1 {
            DropReason::BroadcastStorm | DropReason::UnknownUnicastStorm => (10, 1),
            DropReason::MulticastStorm | DropReason::FloodBudget => (20, 2),
            DropReason::StationStorm => (2, 4),
            other => panic!("{other} is no storm"),
        };
        let price = 1_000_000_000 / rate;
        let full = Bucket { level: burst * price, filled: now };
        let bucket = self.buckets.entry(of).or_insert(full);
        let filled = bucket.level + (now - bucket.filled).as_nanos();
        *bucket = Bucket { level: filled.min(burst * price), filled: now };
        let within = bucket.level >= price;
        if within {
            bucket.level -= price;
        }
        within
    }

    fn is_open(&self, port: PortId) -> bool {
        self.ports.get(&port) == Some(&PortKind::Access) && !self.blocked.contains(&port)
    }

    /// The port on which a station was last heard, and when, if that is not too long ago.
    fn local(&self, station: Station, now: Instant) -> Option<(PortId, Instant)> {
        let mut entries = self.entries.iter();
        let &(_, port, seen) = entries.find(|(known, _, _)| *known == station)?;
        (now - seen < AGEING_TIME).then_some((port, seen))
    }

    fn remote(&self, station: Station) -> Option<RemoteId> {
        let known = self.remotes.iter().find(|(known, _)| *known == station);
        known.map(|(_, owner)| *owner)
    }

    fn outcome(&mut self, ingress: Ingress, frame: &Frame, now: Instant) -> Outcome {
        let vlan = match ingress {
            Ingress::Cable(..) => frame.tag.map(|(_, vlan)| vlan).unwrap_or_default(),
            Ingress::Port(port) if self.is_open(port) => match self.classify(port, frame) {
                Some(vlan) => vlan,
                None => return Outcome::Dropped(DropReason::VlanNotMember),
            },
            Ingress::Port(port) if self.ports.get(&port) == Some(&PortKind::Access) => {
                return Outcome::Dropped(DropReason::Blocked);
            }
            Ingress::Port(_) => return Outcome::Dropped(DropReason::UnknownPort),
        };
        let source = Station { vlan, mac: frame.source };
        match ingress {
            Ingress::Port(port) => {
                let is_new = self.local(source, now).is_none_or(|(known, _)| known != port);
                let storm = DropReason::StationStorm;
                if is_new && !self.may_send((Ok(port), storm), now) {
                    return Outcome::Dropped(storm);
                }
                self.learn(source, port, now);
            }
            Ingress::Cable(node, reach) => {
                let storm = DropReason::FloodBudget;
                if reach == Reach::Flood && !self.may_send((Err(node), storm), now) {
                    return Outcome::Dropped(storm);
                }
                if self.local(source, now).is_some_and(|(_, seen)| now - seen < CONTAINMENT) {
                    return Outcome::Dropped(DropReason::LocalSource);
                }
            }
        }
        if frame.destination.is_bridge_reserved() {
            return Outcome::Dropped(DropReason::Reserved);
        }
        let destination = Station { vlan, mac: frame.destination };
        let local = self.local(destination, now).map(|(port, _)| port);
        if let Some(port) = local {
            return match self.leave(port, vlan, frame) {
                _ if ingress.port() == local => Outcome::Dropped(DropReason::SamePort),
                Some(octets) => Outcome::Sent(vec![(port, octets)]),
                None => panic!("a station is behind a port that its VLAN does not reach"),
            };
        }
        match (ingress, self.remote(destination)) {
            (Ingress::Port(_), Some(owner)) => {
                return Outcome::Carried(owner, self.carry(vlan, frame));
            }
            (Ingress::Cable(_, Reach::Unicast), _) => {
                return Outcome::Dropped(DropReason::NotHere);
            }
            (Ingress::Port(port), None) => {
                let storm = match frame.destination {
                    MacAddr::BROADCAST => DropReason::BroadcastStorm,
                    mac if mac.is_group() => DropReason::MulticastStorm,
                    _ => DropReason::UnknownUnicastStorm,
                };
                if !self.may_send((Ok(port), storm), now) {
                    return Outcome::Dropped(storm);
                }
            }
            (Ingress::Cable(_, Reach::Flood), _) => {}
        }
        let others = self.ports.keys().filter(|port| Some(**port) != ingress.port());
        let open = others.filter(|port| self.is_open(**port));
        let leaving = open.filter_map(|port| Some((*port, self.leave(*port, vlan, frame)?)));
        Outcome::Sent(leaving.collect())
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

    /// The octets of a frame that leaves for another node.
    fn carry(&self, vlan: VlanId, frame: &Frame) -> Vec<u8> {
        let with_tag = || Some((frame.tag.map_or(0, |(priority, _)| priority), vlan));
        let tag = if vlan == VlanId::ZERO { frame.tag } else { with_tag() };
        Frame { tag, ..frame.clone() }.octets()
    }

    /// The octets of a frame that leaves through a port, if its VLAN does.
    fn leave(&self, egress: PortId, vlan: VlanId, frame: &Frame) -> Option<Vec<u8>> {
        let tag = match self.policies.get(&egress) {
            None => return Some(self.carry(vlan, frame)),
            Some((untagged, _)) if *untagged == Some(vlan) => None,
            Some((_, tagged)) if tagged.contains(&vlan) => {
                Some((frame.tag.map_or(0, |(priority, _)| priority), vlan))
            }
            Some(_) => return None,
        };
        let frame = Frame { tag, ..frame.clone() };
        Some(frame.octets())
    }

    fn forget(&mut self, port: PortId) {
        let behind = self.entries.extract_if(.., |(_, holder, _)| *holder == port);
        self.changes.extend(behind.map(|(station, port, _)| Change::Forgotten { station, port }));
    }

    fn remove_port(&mut self, port: PortId) {
        self.ports.remove(&port);
        self.policies.remove(&port);
        self.blocked.remove(&port);
        self.buckets.retain(|(of, _), _| *of != Ok(port));
        self.forget(port);
    }

    fn add_port(&mut self, port: PortId, kind: PortKind) {
        self.ports.insert(port, kind);
        if kind == PortKind::Cable {
            self.policies.remove(&port);
            self.forget(port);
        }
    }

    fn set_blocked(&mut self, port: PortId, blocked: bool) {
        if blocked && self.ports.contains_key(&port) {
            self.blocked.insert(port);
            self.forget(port);
        } else {
            self.blocked.remove(&port);
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
        if let Some((known_port, seen)) = self.local(station, now)
            && known_port == port
        {
            if now - seen >= Duration::from_secs(1) {
                self.entries.retain(|(known, _, _)| *known != station);
                self.entries.push((station, port, now));
            }
            return;
        }
        self.expire(now);
        let from = self.local(station, now).map(|(from, _)| from);
        self.entries.retain(|(known, _, _)| *known != station);
        let owner = self.remote(station);
        self.remotes.retain(|(known, _)| *known != station);
        let held = |port| self.entries.iter().filter(|(_, holder, _)| *holder == port).count();
        let bounded = held(port) >= PER_PORT_CAPACITY;
        if bounded || self.entries.len() >= CAPACITY {
            let most = self.ports.keys().map(|port| held(*port)).max().unwrap_or_default();
            let payer = if bounded || most <= held(port).max(1) {
                port
            } else {
                let evicted = self.evicted.front().expect("somebody made room");
                let known = self.entries.iter().find(|(known, _, _)| known == evicted);
                known.expect("what was evicted was there").1
            };
            assert!(payer == port || held(payer) == most, "port {payer} did not hold most");
            match self.entries.iter().position(|(_, holder, _)| *holder == payer) {
                Some(oldest) => {
                    let (station, port, _) = self.entries.remove(oldest);
                    self.changes.push(Change::Evicted { station, port });
                }
                None => return,
            }
        }
        self.entries.push((station, port, now));
        self.changes.push(match (from, owner) {
            (Some(from), _) => Change::Moved { station, from, to: port },
            (None, Some(from)) => Change::MovedHere { station, from, to: port },
            (None, None) => Change::Learned { station, port },
        });
    }

    fn set_remote(&mut self, station: Station, owner: RemoteId) {
        if self.remote(station) == Some(owner) {
            return;
        }
        self.remotes.retain(|(known, _)| *known != station);
        if let Some(at) = self.entries.iter().position(|(known, _, _)| *known == station) {
            let (station, from, _) = self.entries.remove(at);
            self.changes.push(Change::MovedAway { station, from, to: owner });
        }
        if self.remotes.len() >= REMOTE_CAPACITY {
            let held = |owner| self.remotes.iter().filter(|(_, holder)| *holder == owner).count();
            let most = self.remotes.iter().map(|(_, owner)| held(*owner)).max().unwrap_or(0);
            let payers = |payer: RemoteId| {
                if most > held(owner).max(1) { held(payer) == most } else { payer == owner }
            };
            let oldest = |owner| self.remotes.iter().find(|(_, holder)| *holder == owner);
            let mut victims = self.remotes.iter().filter(|victim| {
                payers(victim.1)
                    && oldest(victim.1) == Some(victim)
                    && !self.remotes_left.contains(&victim.0)
            });
            let victim = victims.next().map(|(station, _)| *station);
            match victim {
                Some(victim) => self.remotes.retain(|(known, _)| *known != victim),
                None if most <= 1 && held(owner) == 0 => return,
                None => panic!("nobody of those who should made room"),
            }
        }
        self.remotes.push((station, owner));
    }

    fn remove_remote(&mut self, station: Station) -> bool {
        let known = self.remotes.len();
        self.remotes.retain(|(known, _)| *known != station);
        self.remotes.len() < known
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
        let mut model = Model { limits_storms, ..Model::default() };
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

fn changes(bridge: &mut Bridge) -> Vec<Change> {
    std::iter::from_fn(|| bridge.poll_change()).collect()
}

fn evicted(changes: &[Change]) -> VecDeque<Station> {
    let evicted = changes.iter().filter_map(|change| match change {
        Change::Evicted { station, .. } => Some(*station),
        _ => None,
    });
    evicted.collect()
}
