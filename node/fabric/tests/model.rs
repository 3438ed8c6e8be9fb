//! The bridge against a bridge so simple that it is right by inspection: one list, searched from
//! the front, oldest first. Whatever happens, both give the same verdicts and know the same
//! stations.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ether::{FrameHeader, MacAddr, VlanId};
use fabric::{Bridge, Config, DropReason, PortId, PortKind, Verdict};
use proptest::prelude::*;

const AGEING_TIME: Duration = Duration::from_secs(20);
const CAPACITY: usize = 8;
const PER_PORT_CAPACITY: usize = 3;

type Station = (VlanId, MacAddr);

#[derive(Default)]
struct Model {
    ports: BTreeMap<PortId, PortKind>,
    /// Least recently refreshed first.
    entries: Vec<(Station, PortId, Instant)>,
}

impl Model {
    fn expire(&mut self, now: Instant) {
        self.entries
            .retain(|(_, _, seen)| now - *seen < AGEING_TIME);
    }

    fn handle_frame(&mut self, ingress: PortId, header: &FrameHeader, now: Instant) -> Verdict {
        if !self.ports.contains_key(&ingress) {
            return Verdict::Drop(DropReason::UnknownPort);
        }
        self.expire(now);
        self.learn((header.vlan, header.source), ingress, now);
        let destination = (header.vlan, header.destination);
        match self
            .entries
            .iter()
            .find(|(station, _, _)| *station == destination)
        {
            _ if header.destination.is_bridge_reserved() => Verdict::Drop(DropReason::Reserved),
            Some((_, port, _)) if *port == ingress => Verdict::Drop(DropReason::SamePort),
            Some((_, port, _)) => Verdict::Forward(*port),
            None => Verdict::Flood,
        }
    }

    fn learn(&mut self, station: Station, port: PortId, now: Instant) {
        if let Some(at) = self
            .entries
            .iter()
            .position(|(known, _, _)| *known == station)
        {
            let (_, known_port, seen) = self.entries[at];
            if known_port == port && now - seen < Duration::from_secs(1) {
                return;
            }
            self.entries.remove(at);
            if known_port == port {
                return self.entries.push((station, port, now));
            }
        }
        let held = |port| {
            self.entries
                .iter()
                .filter(|(_, holder, _)| *holder == port)
                .count()
        };
        let bounded = self.ports[&port] == PortKind::Access && held(port) >= PER_PORT_CAPACITY;
        if bounded || self.entries.len() >= CAPACITY {
            let largest = self
                .ports
                .keys()
                .copied()
                .max_by_key(|port| (held(*port), *port));
            let largest = largest.expect("there is the ingress");
            let spare = held(largest) > held(port).max(1);
            let payer = if bounded || !spare { port } else { largest };
            match self
                .entries
                .iter()
                .position(|(_, holder, _)| *holder == payer)
            {
                Some(oldest) => drop(self.entries.remove(oldest)),
                None => return,
            }
        }
        self.entries.push((station, port, now));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Frame {
        ingress: PortId,
        header: FrameHeader,
    },
    Add {
        port: PortId,
        kind: PortKind,
    },
    Remove {
        port: PortId,
    },
    Wait {
        millis: u64,
    },
    Timeout,
}

fn step() -> impl Strategy<Value = Step> {
    let port = || (0..7_u32).prop_map(PortId);
    let station = || (0..12_u8).prop_map(|number| MacAddr([2, 0, 0, 0, 0, number]));
    let group = prop_oneof![
        Just(MacAddr::BROADCAST),
        Just(MacAddr([0x33, 0x33, 0, 0, 0, 1])),
        (0..0x12_u8).prop_map(|last| MacAddr([0x01, 0x80, 0xc2, 0, 0, last])),
    ];
    let header = (prop_oneof![8 => station(), 1 => group], station(), 0..2_u16).prop_map(
        |(destination, source, vlan)| FrameHeader {
            destination,
            source,
            vlan: VlanId(vlan),
        },
    );
    let kind = prop_oneof![3 => Just(PortKind::Access), 1 => Just(PortKind::Cable)];
    prop_oneof![
        20 => (port(), header).prop_map(|(ingress, header)| Step::Frame { ingress, header }),
        2 => (port(), kind).prop_map(|(port, kind)| Step::Add { port, kind }),
        1 => port().prop_map(|port| Step::Remove { port }),
        // Often around the refresh interval and the ageing time, where mistakes live.
        4 => prop_oneof![0..3_u64, 990..1010_u64, 9_990..10_010_u64, Just(20_000)]
            .prop_map(|millis| Step::Wait { millis }),
        2 => Just(Step::Timeout),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_bridge_does_what_the_naive_bridge_does(
        seed in any::<u64>(),
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
            model.ports.insert(port, PortKind::Access);
        }
        for step in steps {
            match step {
                Step::Frame { ingress, header } => {
                    let expected = model.handle_frame(ingress, &header, now);
                    prop_assert_eq!(bridge.handle_frame(ingress, &header, now), expected);
                    let flooded: Vec<PortId> = bridge.flood_ports(ingress).collect();
                    let others = model.ports.keys().copied().filter(|port| *port != ingress);
                    prop_assert_eq!(flooded, others.collect::<Vec<_>>());
                }
                Step::Add { port, kind } => {
                    bridge.add_port(port, kind);
                    model.ports.insert(port, kind);
                }
                Step::Remove { port } => {
                    bridge.remove_port(port);
                    model.ports.remove(&port);
                    model.entries.retain(|(_, holder, _)| *holder != port);
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
