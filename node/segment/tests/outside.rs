//! Frames that leave the mesh by one network and come in by another: as two nodes on a cable see them.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

use std::time::{Duration, Instant};

use ether::{MacAddr, TagAction, VlanId, VnetHeader};
use fabric::{Bridge, Change, DropReason, Location, PortId, PortKind, VlanPolicy};
use mesh::authority::{Authority, Signature};
use mesh::engine::{Config, LinkId, Neighbour, Payload};
use mesh::message::Name;
use mesh::probe::PortClass;
use mesh::record::Incarnation;
use mesh::{Mesh, Nick, NodeKey};
use segment::{Outlet, Route, Segment};

const CABLE: PortId = PortId(9);
const PORT: PortId = PortId(1);
const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);
const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 8]);
const ALL: MacAddr = MacAddr([0xff; 6]);

/// Believes everybody.
struct Notary;

impl Authority for Notary {
    fn sign(&self, _: &[u8]) -> Signature {
        Signature([0; 64])
    }

    fn verify(&self, _: &NodeKey, _: &[u8], _: &Signature) -> bool {
        true
    }

    fn may_be_gateway(&self, _: &NodeKey) -> bool {
        false
    }
}

/// What came of a frame.
#[derive(Debug, Default)]
struct Outcome {
    out: Vec<PortId>,
    lost: Vec<(PortId, DropReason)>,
}

impl Outlet for Outcome {
    fn hand(&mut self, egress: PortId, _: TagAction) {
        self.out.push(egress);
    }

    fn tell(&mut self, _: Change) {}

    fn lose(&mut self, ingress: PortId, reason: DropReason) {
        self.lost.push((ingress, reason));
    }
}

/// Two nodes on a cable, each with a port that leads to a network.
struct Pair {
    now: Instant,
    nodes: [Segment<Notary>; 2],
}

fn frame(source: MacAddr, destination: MacAddr) -> Vec<u8> {
    let mut frame = [destination.0, source.0].concat();
    frame.extend([0x08, 0, 1, 2, 3, 4]);
    frame
}

/// The same frame on a cable.
fn tagged(vlan: VlanId, frame: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let tag = if vlan == VlanId::ZERO { TagAction::AsIs } else { TagAction::Tag(vlan) };
    tag.apply(VnetHeader::PLAIN, frame, &mut out).unwrap();
    out
}

impl Pair {
    fn new() -> Self {
        Self::in_vlan(VlanId::ZERO)
    }

    /// The ports that lead to networks are in a VLAN.
    fn in_vlan(vlan: VlanId) -> Self {
        #[expect(clippy::disallowed_methods, reason = "fake time begins somewhere")]
        let now = Instant::now();
        let keys = [NodeKey([1; 32]), NodeKey([2; 32])];
        let node = |number: u32| {
            let key = keys[number as usize];
            let name = Name::new("node").unwrap();
            let incarnation = Incarnation { epoch: 1, instance: number.into() };
            let nick = Nick::new(number + 1).unwrap();
            let mesh =
                Mesh::new(Config::new(key, name, nick, incarnation, number.into()), Notary, now);
            let config = segment::Config { probes: true, guards: true, seed: 1 };
            let mut node = Segment::new(Bridge::new(fabric::Config::default()), mesh, config);
            node.bridge.add_port(PORT, PortKind::Access);
            if vlan != VlanId::ZERO {
                node.bridge.create_vlan(vlan).unwrap();
                let policy = VlanPolicy::Aware { untagged: Some(vlan), tagged: Default::default() };
                node.bridge.set_vlan_policy(PORT, &policy).unwrap();
            }
            node.bridge.add_port(CABLE, PortKind::Cable);
            node.port_up(PORT, PortClass::Tap, "tap", &mut Outcome::default(), now);
            let neighbour = Neighbour { key: keys[1 - number as usize], name: Name::default() };
            node.mesh.handle_link_up(LinkId(CABLE.0), neighbour, now).unwrap();
            node
        };
        let mut pair = Self { now, nodes: [node(0), node(1)] };
        pair.run(Duration::from_secs(3));
        pair
    }

    /// Lets the meshes talk; frames are the test's.
    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.now += Duration::from_millis(1);
            for at in 0..2 {
                let node = &mut self.nodes[at];
                node.mesh.handle_timeout(self.now);
                let sent: Vec<_> = std::iter::from_fn(|| node.mesh.poll_transmit()).collect();
                node.follow(&mut Outcome::default(), self.now);
                while node.poll_probe().is_some() {}
                for transmit in sent {
                    let other = &mut self.nodes[1 - at].mesh;
                    match transmit.payload {
                        Payload::Message(message) => {
                            other.handle_message(LinkId(CABLE.0), message, self.now).unwrap();
                        }
                        Payload::Beat(beat) => other.handle_beat(LinkId(CABLE.0), &beat, self.now),
                    }
                }
            }
        }
    }

    fn enter(&mut self, at: usize, frame: &[u8]) -> (Result<Route, DropReason>, Outcome) {
        let mut outcome = Outcome::default();
        let whole = (frame, &VnetHeader::PLAIN);
        let route = self.nodes[at].handle_own(PORT, whole, &mut outcome, self.now);
        (route, outcome)
    }

    fn cross(&mut self, to: usize, route: Route, frame: &[u8]) -> Outcome {
        let mut outcome = Outcome::default();
        let node = &mut self.nodes[to];
        node.handle_from_cable(CABLE, route, frame, &mut outcome, self.now).unwrap();
        outcome
    }

    /// The node where both take a station to be.
    fn place_of(&self, mac: MacAddr) -> usize {
        let is_here = |node: &Segment<Notary>| {
            matches!(node.bridge.locate(VlanId::ZERO, mac, self.now), Some(Location::Port(_)))
        };
        let here: Vec<usize> = (0..2).filter(|at| is_here(&self.nodes[*at])).collect();
        assert_eq!(here.len(), 1, "{here:?}");
        here[0]
    }
}

/// A station that is known to be at the first node.
fn settled() -> Pair {
    let mut pair = Pair::new();
    let said = frame(STATION, ALL);
    let (route, outcome) = pair.enter(0, &said);
    assert_eq!(outcome.out, [CABLE]);
    assert_eq!(pair.cross(1, route.unwrap(), &said).out, [PORT]);
    pair.run(Duration::from_secs(2));
    assert_eq!(pair.place_of(STATION), 0);
    pair
}

#[test]
fn a_station_is_not_taken_away_by_its_own_words_that_came_around_outside() {
    for destination in [ALL, OTHER] {
        for is_sooner in [true, false] {
            let mut pair = settled();
            let mut said = frame(STATION, destination);
            said.push(destination.0[5]);
            let (route, _) = pair.enter(0, &said);
            if is_sooner {
                let (held, outcome) = pair.enter(1, &said);
                assert!(held.is_ok());
                assert!(outcome.out.is_empty(), "it goes nowhere yet");
            }
            let outcome = pair.cross(1, route.unwrap(), &said);
            if is_sooner {
                assert!(outcome.out.is_empty(), "the network has it already");
                assert_eq!(outcome.lost, [(PORT, DropReason::Returned)]);
            } else {
                assert_eq!(outcome.out, [PORT]);
                assert_eq!(pair.enter(1, &said).0, Err(DropReason::Returned));
            }
            pair.run(Duration::from_secs(1));
            let now = pair.now;
            assert!(pair.nodes[1].poll_held(now).is_none());
            assert_eq!(pair.place_of(STATION), 0);
        }
    }
}

#[test]
fn a_station_that_has_moved_to_a_network_is_there_after_a_moment_and_what_it_said_is_not_lost() {
    let mut pair = settled();
    let said = frame(STATION, ALL);
    pair.run(Duration::from_secs(10));
    let (held, outcome) = pair.enter(1, &said);
    assert!(held.is_ok() && outcome.out.is_empty());
    let due = pair.nodes[1].poll_timeout().unwrap();
    assert!(due <= pair.now + Duration::from_millis(100));
    pair.now = due;
    let held = pair.nodes[1].poll_held(due).unwrap();
    let mut outcome = Outcome::default();
    let route = pair.nodes[1].handle_held(&held, &mut outcome, due).unwrap();
    assert_eq!((outcome.out, &held.bytes), (vec![CABLE], &said));
    pair.run(Duration::from_millis(100));
    assert_eq!(pair.place_of(STATION), 1);
    assert_eq!(pair.cross(0, route, &said).out, [PORT]);
}

#[test]
fn a_station_that_has_moved_and_speaks_to_one_it_knows_is_there_at_once() {
    let mut pair = settled();
    let (route, _) = pair.enter(0, &frame(OTHER, ALL));
    pair.cross(1, route.unwrap(), &frame(OTHER, ALL));
    pair.run(Duration::from_secs(2));
    let (route, outcome) = pair.enter(1, &frame(STATION, OTHER));
    assert!(route.is_ok());
    assert_eq!(outcome.out, [CABLE]);
    pair.run(Duration::from_millis(100));
    assert_eq!(pair.place_of(STATION), 1);
}

#[test]
fn more_frames_than_may_wait_are_believed_at_once() {
    let mut pair = settled();
    for number in 0..100_u8 {
        let mut said = frame(STATION, ALL);
        said.push(number + 1);
        pair.enter(1, &said).0.unwrap();
    }
    pair.run(Duration::from_millis(40));
    assert_eq!(pair.place_of(STATION), 1);
}

/// Twenty frames of a station outside come in at some of the nodes, at the one or the other first, and what
/// leaves by the one port comes in by the other.
fn go_around(vlan: VlanId, destination: MacAddr, at: &[usize]) {
    let mut pair = Pair::in_vlan(vlan);
    for number in 1..=20_u8 {
        let mut said = frame(STATION, destination);
        said.push(number);
        let mut outside: std::collections::VecDeque<usize> = at.iter().copied().collect();
        if number % 3 == 0 {
            outside.make_contiguous().reverse();
        }
        let mut cable = std::collections::VecDeque::new();
        let mut passages = 0;
        loop {
            if let Some(at) = outside.pop_front() {
                let (route, outcome) = pair.enter(at, &said);
                passages += outcome.out.len();
                cable.extend(route.ok().filter(|_| !outcome.out.is_empty()).map(|r| (1 - at, r)));
            } else if let Some((to, route)) = cable.pop_front() {
                let (mut outcome, said) = (Outcome::default(), tagged(vlan, &said));
                let node = &mut pair.nodes[to];
                let _ = node.handle_from_cable(CABLE, route, &said, &mut outcome, pair.now);
                outside.extend(outcome.out.contains(&PORT).then_some(1 - to));
            } else {
                break;
            }
            assert!(passages <= 2, "frame {number} went around {passages} times");
        }
        pair.run(Duration::from_millis(200));
        let now = pair.now;
        assert!(pair.nodes.iter_mut().all(|node| node.poll_held(now).is_none()), "frame {number}");
    }
}

#[test]
fn what_a_station_outside_says_does_not_go_around_for_ever() {
    for at in [&[0, 1][..], &[0], &[1]] {
        go_around(VlanId::ZERO, ALL, at);
    }
}

#[test]
fn what_a_station_outside_says_to_somebody_unknown_does_not_go_around_for_ever() {
    for at in [&[0, 1][..], &[0], &[1]] {
        go_around(VlanId::ZERO, OTHER, at);
    }
}

#[test]
fn what_a_station_outside_says_in_a_vlan_does_not_go_around_for_ever() {
    for at in [&[0, 1][..], &[0], &[1]] {
        go_around(VlanId(10), ALL, at);
        go_around(VlanId(10), OTHER, at);
    }
}

#[test]
fn a_station_in_a_vlan_is_not_taken_away_by_its_own_words_that_came_around_outside() {
    let vlan = VlanId(10);
    let mut pair = Pair::in_vlan(vlan);
    let said = frame(STATION, ALL);
    let (route, _) = pair.enter(0, &said);
    assert_eq!(pair.cross(1, route.unwrap(), &tagged(vlan, &said)).out, [PORT]);
    assert_eq!(pair.enter(1, &said).0, Err(DropReason::Returned));
}
