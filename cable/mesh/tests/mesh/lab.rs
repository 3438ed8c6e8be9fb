//! The world: nodes, cables, one clock, and frames that go where the nodes say.

mod outside;
mod packets;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ether::{MacAddr, VlanId};
use mesh::authority::{Authority, Signature};
use mesh::engine::{
    Config, Event, Heard, LinkId, Neighbour, NextHop, NodeView, Payload, PortId, PortState,
    StationVerdict,
};
use mesh::framing::RecordHeader;
use mesh::message::{Decoder, Message, Name, encode};
use mesh::record::Incarnation;
use mesh::{Mesh, Nick, NodeKey};

/// Signs with what everybody knows: enough to tell a record from one that was tampered with.
#[derive(Clone)]
pub(crate) struct Notary(pub(crate) NodeKey);

impl Notary {
    fn seal(key: &NodeKey, octets: &[u8]) -> Signature {
        let mut state = [0x6a09_e667_f3bc_c908_u64; 8];
        for (at, octet) in key.0.iter().chain(octets).enumerate() {
            let lane = &mut state[at % 8];
            *lane = (*lane ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        }
        let sum = state.iter().fold(0_u64, |sum, lane| sum.rotate_left(7) ^ lane);
        let mut signature = [0; 64];
        for (out, lane) in signature.chunks_mut(8).zip(state) {
            out.copy_from_slice(&(lane ^ sum).to_be_bytes());
        }
        Signature(signature)
    }
}

impl Authority for Notary {
    fn sign(&self, octets: &[u8]) -> Signature {
        Self::seal(&self.0, octets)
    }

    fn verify(&self, key: &NodeKey, octets: &[u8], signature: &Signature) -> bool {
        Self::seal(key, octets) == *signature
    }

    fn may_be_gateway(&self, key: &NodeKey) -> bool {
        super::gateways::has_role(key)
    }
}

pub(crate) type TestMesh = Mesh<Notary>;

/// The key of a node: ascending with its number.
pub(crate) fn key(node: usize) -> NodeKey {
    let mut octets = [0; 32];
    octets[0..8].copy_from_slice(&(node as u64 + 1).to_be_bytes());
    NodeKey(octets)
}

pub(crate) fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub(crate) fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// All that a node has to do by now, as many turns as it takes.
pub(crate) fn take_turns(mesh: &mut TestMesh, now: Instant) {
    while mesh.poll_timeout().is_some_and(|due| due <= now) {
        mesh.handle_timeout(now);
    }
}

pub(crate) struct Node {
    pub(crate) mesh: TestMesh,
    pub(crate) events: Vec<Event>,
    /// Where its bridge takes the stations of other nodes to be.
    pub(crate) remote: BTreeMap<(VlanId, MacAddr), Nick>,
}

#[derive(Clone)]
pub(crate) struct Cable {
    /// The two ends: node, and what it calls the cable.
    pub(crate) ends: [(usize, LinkId); 2],
    pub(crate) delay: Duration,
    /// Nothing gets through from this end.
    pub(crate) mute: [bool; 2],
    pub(crate) open: bool,
    /// Messages that wait for a mute direction.
    held: [Vec<Vec<u8>>; 2],
}

enum Thing {
    Message(Vec<u8>),
    Beat(mesh::beat::Beat),
    Frame(Frame),
    Packet(RecordHeader, Vec<u8>),
}

#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) id: u64,
    pub(crate) ingress: Nick,
    pub(crate) hops: u8,
    /// The egress, or the sequence of a flood.
    pub(crate) reach: Result<Nick, u32>,
}

pub(crate) struct Lab {
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Option<Node>>,
    pub(crate) cables: Vec<Cable>,
    /// By arrival, then by order of sending: cable, and the end at which it arrives.
    flying: BTreeMap<(Instant, u64), (usize, usize, Thing)>,
    counter: u64,
    /// How often each frame was delivered, by frame and node.
    pub(crate) delivered: BTreeMap<(u64, usize), u32>,
    /// Copies of frames on cables.
    pub(crate) copies: BTreeMap<u64, u32>,
    /// Octets of control messages sent.
    pub(crate) control_octets: usize,
    pub(crate) control_messages: usize,
    pub(crate) faults: Vec<(usize, String)>,
    /// Access ports that are joined outside: what leaves one comes in at the others. The flag says
    /// whether a port's frames get out.
    pub(crate) outside: Vec<Vec<(usize, PortId, bool)>>,
    /// Blocked ports.
    pub(crate) blocked: BTreeSet<(usize, PortId)>,
    /// Probes sent.
    pub(crate) probes: Vec<(usize, PortId, Vec<u8>)>,
    outside_flying: BTreeMap<(Instant, u64), (usize, PortId, Vec<u8>)>,
}

impl Lab {
    pub(crate) fn new(nodes: usize) -> Self {
        #[expect(clippy::disallowed_methods, reason = "fake time begins somewhere")]
        let now = Instant::now();
        let mut lab = Self {
            now,
            nodes: Vec::new(),
            cables: Vec::new(),
            flying: BTreeMap::new(),
            counter: 0,
            delivered: BTreeMap::new(),
            copies: BTreeMap::new(),
            control_octets: 0,
            control_messages: 0,
            faults: Vec::new(),
            outside: Vec::new(),
            blocked: BTreeSet::new(),
            probes: Vec::new(),
            outside_flying: BTreeMap::new(),
        };
        for node in 0..nodes {
            lab.nodes.push(None);
            lab.boot(node, 1, 0);
        }
        lab
    }

    pub(crate) fn config(node: usize, epoch: u64, run: u64) -> Config {
        let seed = (node as u64 + 1) * 1000 + run;
        Config::new(
            key(node),
            Name::new(&format!("n{node}")).unwrap(),
            Nick::new(u32::try_from(seed).unwrap()).unwrap(),
            Incarnation { epoch, instance: run << 32 | seed },
            seed,
        )
    }

    pub(crate) fn boot(&mut self, node: usize, epoch: u64, run: u64) {
        self.boot_with(node, Self::config(node, epoch, run));
    }

    pub(crate) fn boot_with(&mut self, node: usize, config: Config) {
        let notary = Notary(config.key);
        let mesh = Mesh::new(config, notary, self.now);
        self.nodes[node] = Some(Node { mesh, events: Vec::new(), remote: BTreeMap::new() });
    }

    /// A node is gone; its neighbours' connections do not notice.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node] = None;
    }

    pub(crate) fn mesh(&mut self, node: usize) -> &mut TestMesh {
        &mut self.nodes[node].as_mut().unwrap().mesh
    }

    /// The nodes that a node knows.
    pub(crate) fn views(&self, node: usize) -> Vec<NodeView> {
        self.nodes[node].as_ref().unwrap().mesh.nodes(self.now)
    }

    pub(crate) fn events(&mut self, node: usize) -> Vec<Event> {
        std::mem::take(&mut self.nodes[node].as_mut().unwrap().events)
    }

    pub(crate) fn cable(&mut self, a: usize, b: usize, delay: Duration) -> usize {
        let cable = self.cables.len();
        let id = LinkId(u32::try_from(cable).unwrap());
        self.cables.push(Cable {
            ends: [(a, id), (b, id)],
            delay,
            mute: [false; 2],
            open: true,
            held: [Vec::new(), Vec::new()],
        });
        for (at, other) in [(a, b), (b, a)] {
            let neighbour = self.neighbour(other);
            let now = self.now;
            self.mesh(at).handle_link_up(id, neighbour, now).unwrap();
            self.settle(at);
        }
        cable
    }

    fn neighbour(&self, node: usize) -> Neighbour {
        // A clone stands at another place with the same key.
        let own = self.views(node);
        let own = own.iter().find(|view| view.is_own).unwrap();
        Neighbour { key: own.key, name: own.name.clone() }
    }

    /// The connection ends at both ends that live.
    pub(crate) fn close(&mut self, cable: usize) {
        self.cables[cable].open = false;
        self.flying.retain(|_, (flying, ..)| *flying != cable);
        for (node, link) in self.cables[cable].ends {
            let now = self.now;
            if let Some(node) = &mut self.nodes[node] {
                node.mesh.handle_link_down(link, now);
            }
            self.settle(node);
        }
    }

    pub(crate) fn silence(&mut self, cable: usize, mute: [bool; 2]) {
        self.cables[cable].mute = mute;
        for (end, mute) in mute.into_iter().enumerate() {
            if !mute {
                for octets in std::mem::take(&mut self.cables[cable].held[end]) {
                    self.fly(cable, 1 - end, Thing::Message(octets));
                }
            }
        }
    }

    fn fly(&mut self, cable: usize, to: usize, thing: Thing) {
        self.counter += 1;
        let at = self.now + self.cables[cable].delay;
        self.flying.insert((at, self.counter), (cable, to, thing));
    }

    /// The cable and its end that a node calls so.
    fn find(&self, node: usize, link: LinkId) -> Option<(usize, usize)> {
        let cable = link.0 as usize;
        let ends = self.cables.get(cable).filter(|cable| cable.open)?.ends;
        ends.iter().position(|(at, _)| *at == node).map(|end| (cable, end))
    }

    /// Takes all that a node wants to say.
    pub(crate) fn settle(&mut self, at: usize) {
        loop {
            let Some(node) = &mut self.nodes[at] else { return };
            while let Some(event) = node.mesh.poll_event() {
                node.events.push(event);
            }
            while let Some(change) = node.mesh.poll_station() {
                match change.owner {
                    Some(owner) => node.remote.insert((change.vlan, change.mac), owner),
                    None => node.remote.remove(&(change.vlan, change.mac)),
                };
            }
            while let Some((port, state)) = node.mesh.poll_block() {
                match state {
                    PortState::Blocked | PortState::Listening => self.blocked.insert((at, port)),
                    PortState::Open => self.blocked.remove(&(at, port)),
                };
            }
            let mut probes = Vec::new();
            while let Some(probe) = node.mesh.poll_probe() {
                probes.push(probe);
            }
            for (port, frame) in probes {
                self.probe(at, port, frame);
            }
            self.send_packets(at);
            let Some(node) = &mut self.nodes[at] else { return };
            let Some(transmit) = node.mesh.poll_transmit() else { return };
            let Some((cable, end)) = self.find(at, transmit.link) else { continue };
            let mute = self.cables[cable].mute[end];
            match transmit.payload {
                Payload::Message(message) => {
                    let octets = encode(&message);
                    self.control_octets += octets.len();
                    self.control_messages += 1;
                    if mute {
                        self.cables[cable].held[end].push(octets);
                    } else {
                        self.fly(cable, 1 - end, Thing::Message(octets));
                    }
                }
                Payload::Beat(beat) if !mute => {
                    let beat = mesh::beat::Beat::parse(&beat.encode()).unwrap();
                    self.fly(cable, 1 - end, Thing::Beat(beat));
                }
                Payload::Beat(_) => {}
            }
        }
    }

    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let timers = self.nodes.iter().flatten().filter_map(|node| node.mesh.poll_timeout());
            let flying = self.flying.keys().next().map(|(at, _)| *at);
            let outside = self.outside_flying.keys().next().map(|(at, _)| *at);
            let next = timers.chain(flying).chain(outside).min().unwrap_or(end).max(self.now);
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
            while let Some(first) = self.flying.first_entry()
                && first.key().0 <= next
            {
                let (cable, to, thing) = first.remove();
                self.arrive(cable, to, thing);
            }
            while let Some(first) = self.outside_flying.first_entry()
                && first.key().0 <= next
            {
                let (at, port, frame) = first.remove();
                self.probe_arrives(at, port, &frame);
            }
            for at in 0..self.nodes.len() {
                let Some(node) = &mut self.nodes[at] else { continue };
                if node.mesh.poll_timeout().is_some_and(|at| at <= next) {
                    node.mesh.handle_timeout(next);
                    self.settle(at);
                }
            }
        }
    }

    fn arrive(&mut self, cable: usize, to: usize, thing: Thing) {
        let (at, link) = self.cables[cable].ends[to];
        let now = self.now;
        let Some(node) = &mut self.nodes[at] else { return };
        match thing {
            Thing::Message(octets) => {
                let mut decoder = Decoder::new();
                decoder.handle_bytes(&octets);
                let message = decoder.poll_message().unwrap().unwrap();
                if let Err(fault) = node.mesh.handle_message(link, message, now) {
                    self.faults.push((at, fault.to_string()));
                }
            }
            Thing::Beat(beat) => node.mesh.handle_beat(link, &beat, now),
            Thing::Frame(frame) => self.forward(at, Some(link), frame),
            Thing::Packet(header, octets) => self.handle_packet(at, link, header, octets),
        }
        self.settle(at);
    }

    /// A frame of a station comes in at an access port of a node.
    pub(crate) fn hear(&mut self, at: usize, mac: MacAddr, heard: Heard) -> StationVerdict {
        let now = self.now;
        let verdict = self.mesh(at).handle_station(VlanId(0), mac, heard, now);
        self.settle(at);
        verdict
    }

    /// Where the bridge of a node takes a station to be: another node, or none of them.
    pub(crate) fn owner_at(&self, at: usize, mac: MacAddr) -> Option<usize> {
        let nick = self.nodes[at].as_ref().unwrap().remote.get(&(VlanId(0), mac))?;
        let is_owner =
            |node: &Option<Node>| node.as_ref().is_some_and(|node| node.mesh.nick() == *nick);
        self.nodes.iter().position(is_owner)
    }

    /// A message as if a neighbour had said it.
    pub(crate) fn inject(&mut self, at: usize, link: LinkId, message: Message) {
        let now = self.now;
        if let Err(fault) = self.mesh(at).handle_message(link, message, now) {
            self.faults.push((at, fault.to_string()));
        }
        take_turns(self.mesh(at), now);
        self.settle(at);
    }

    /// A broadcast from an access port of a node.
    pub(crate) fn flood(&mut self, at: usize) -> u64 {
        self.counter += 1;
        let id = self.counter;
        let mesh = self.mesh(at);
        let ingress = mesh.nick();
        let (sequence, hops, links) = mesh.originate_flood();
        let links: Vec<_> = links.collect();
        let frame = Frame { id, ingress, hops, reach: Err(sequence) };
        self.send(at, &links, &frame);
        id
    }

    /// A frame from an access port of one node to a station at another.
    pub(crate) fn unicast(&mut self, from: usize, to: usize) -> u64 {
        self.counter += 1;
        let id = self.counter;
        let egress = self.mesh(to).nick();
        let mesh = self.mesh(from);
        let (ingress, hops) = (mesh.nick(), mesh.initial_hops(egress));
        let frame = Frame { id, ingress, hops: hops + 1, reach: Ok(egress) };
        self.forward(from, None, frame);
        id
    }

    fn forward(&mut self, at: usize, from: Option<LinkId>, mut frame: Frame) {
        let mesh = &mut self.nodes[at].as_mut().unwrap().mesh;
        let links: Vec<LinkId> = match frame.reach {
            Ok(egress) => match mesh.next_hop(egress, from, 0) {
                NextHop::Here => {
                    *self.delivered.entry((frame.id, at)).or_default() += 1;
                    return;
                }
                NextHop::Link(link) => vec![link],
                NextHop::Back | NextHop::Unreachable => return,
            },
            Err(sequence) => match mesh.flood(frame.ingress, sequence, from.unwrap()) {
                Ok(links) => {
                    let links = links.collect();
                    *self.delivered.entry((frame.id, at)).or_default() += 1;
                    links
                }
                Err(_) => return,
            },
        };
        if frame.hops == 0 {
            return;
        }
        frame.hops -= 1;
        self.send(at, &links, &frame);
    }

    fn send(&mut self, at: usize, links: &[LinkId], frame: &Frame) {
        for &link in links {
            *self.copies.entry(frame.id).or_default() += 1;
            if let Some((cable, end)) = self.find(at, link)
                && !self.cables[cable].mute[end]
            {
                self.fly(cable, 1 - end, Thing::Frame(frame.clone()));
            }
        }
    }

    /// How often each living node got a frame.
    pub(crate) fn deliveries(&self, frame: u64) -> Vec<u32> {
        (0..self.nodes.len())
            .map(|node| self.delivered.get(&(frame, node)).copied().unwrap_or_default())
            .collect()
    }

    /// What must hold after some quiet time: all know the same, a flood reaches every other node
    /// once, a known unicast its owner once.
    #[track_caller]
    pub(crate) fn assert_whole(&mut self, members: &[usize]) {
        let digest = self.mesh(members[0]).digest();
        for &node in members {
            assert_eq!(self.mesh(node).digest(), digest, "node {node} knows something else");
        }
        for &from in members {
            let frame = self.flood(from);
            self.run(secs(1));
            let deliveries = self.deliveries(frame);
            for &to in members {
                assert_eq!(deliveries[to], u32::from(to != from), "flood of {from} at {to}");
            }
            for &to in members {
                let frame = self.unicast(from, to);
                self.run(secs(1));
                assert_eq!(self.deliveries(frame)[to], 1, "frame from {from} to {to}");
            }
        }
    }
}
