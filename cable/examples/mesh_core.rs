//! What the mesh's core costs, with real signatures: taking in a mesh of a thousand nodes, its paths
//! and its memory, and bringing a new node up to date with 65 536 stations. Prints figures for
//! `./bench mesh-core`; asserts nothing of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cable::{Identity, Notary, Trust};
use ether::{MacAddr, VlanId};
use mesh::beat::{Beat, Heard as Echo};
use mesh::engine::{Config, Heard, LinkId, Neighbour, Payload};
use mesh::message::{Bounded, Cable, Message, Name, Records, encode};
use mesh::record::{Incarnation, LinkEntry, LinkState, Record, Slot, Version};
use mesh::{Mesh, Nick, NodeKey};

const NODES: u32 = 1000;
const OWNERS: u32 = 8;
const STATIONS: u32 = 8192;

#[expect(clippy::disallowed_methods, reason = "it measures")]
fn clock() -> Instant {
    Instant::now()
}

/// Resident memory in octets, of a system that tells.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kilobytes = line.trim().split(' ').next().unwrap_or_default();
    kilobytes.parse::<u64>().unwrap_or_default() << 10
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn identity() -> (Identity, NodeKey) {
    let identity = Identity::generate().expect("the system has randomness");
    let key = identity.public().into();
    (identity, key)
}

fn start(identity: &Identity, key: NodeKey, number: u32, now: Instant) -> Mesh<Notary> {
    let nick = Nick::new(number).expect("it is not 0");
    let incarnation = Incarnation { epoch: 1, instance: 1 };
    let config = Config::new(key, Name::lossy("n"), nick, incarnation, number.into());
    Mesh::new(config, Notary::new(identity, Trust::in_memory([])), now)
}

/// One node, and one neighbour that the program plays, who tells of a thousand others.
fn thousand() {
    let mut now = clock();
    let (own, own_key) = identity();
    let others: Vec<(Identity, NodeKey)> = (0..NODES).map(|_| identity()).collect();
    let mut mesh = start(&own, own_key, NODES + 1, now);
    let link = LinkId(1);
    let neighbour = Neighbour { key: others[0].1, name: Name::default() };
    mesh.handle_link_up(link, neighbour, now).expect("it is the first");
    mesh.handle_message(link, Message::Cable(Cable { number: 5 }), now).expect("it is the first");
    let (mut number, mut beat) = (0, 0);
    while let Some(transmit) = mesh.poll_transmit() {
        match transmit.payload {
            Payload::Message(Message::Cable(cable)) => number = cable.number,
            Payload::Beat(sent) => beat = sent.sequence,
            Payload::Message(_) => {}
        }
    }
    now += Duration::from_millis(1);
    let heard = Some(Echo { sequence: beat, held: Duration::ZERO });
    let beat = Beat { sequence: 0, answer: false, deaf: false, heard, digest: 0 };
    mesh.handle_beat(link, &beat, now);

    let record = |at: u32| {
        let entry = |steps: u32| {
            let to = (at + steps) % NODES;
            let cost = 3 + (at.max(to) + at.min(to)) % 17;
            let (number, peer_number) = (at * NODES + to + 1, to * NODES + at + 1);
            LinkEntry { peer: others[to as usize].1, number, peer_number, cost }
        };
        let mut links: Vec<LinkEntry> = [1, NODES - 1, 37, NODES - 37].map(entry).into();
        if at == 0 {
            links.push(LinkEntry { peer: own_key, number: 5, peer_number: number, cost: 12 });
        }
        links.sort_unstable();
        let state = LinkState {
            nick: Nick::new(at + 1).expect("it is not 0"),
            name: Name::lossy(&format!("node {at}")),
            capabilities: 0,
            links: Bounded::truncated(links),
        };
        let version = Version { incarnation: Incarnation { epoch: 1, instance: 1 }, sequence: 1 };
        let (identity, key) = &others[at as usize];
        Record::sign(
            *key,
            version,
            Slot::LINK_STATE,
            &state,
            &Notary::new(identity, Trust::in_memory([])),
        )
    };
    let records: Vec<Record> = (0..NODES).map(record).collect();
    let before = resident();
    let mut turns = Vec::new();
    for part in records.chunks(200) {
        let records = Records { records: Bounded::truncated(part.to_vec()) };
        let began = clock();
        mesh.handle_message(link, Message::Records(records), now).expect("it is in order");
        turns.push(began.elapsed());
    }
    while mesh.poll_timeout().is_some_and(|due| due <= now) {
        let began = clock();
        mesh.handle_timeout(now);
        turns.push(began.elapsed());
    }
    println!("take_ms={:.2}", milliseconds(turns.iter().sum()));
    turns.sort_unstable();
    // One in a hundred is what the machine does beside it.
    println!("turn_ms={:.3}", milliseconds(turns[turns.len() * 99 / 100]));
    println!("octets={}", mesh.counters().record_octets);
    // From this node, then from its neighbour: what floods and other ways are worked out from.
    for what in ["paths", "trees"] {
        now += Duration::from_millis(20);
        let began = clock();
        mesh.handle_timeout(now);
        println!("{what}_ms={:.2}", milliseconds(began.elapsed()));
    }
    println!("memory_mb={:.2}", resident().saturating_sub(before) as f64 / 1e6);
    let reached = mesh.nodes(now).into_iter().filter(|node| node.route.is_some()).count();
    assert_eq!(reached, NODES as usize + 1, "all are reached");
}

struct Line {
    ends: [usize; 2],
    delay: Duration,
}

/// Nodes on lines that lose nothing, in virtual time.
struct Lab {
    now: Instant,
    nodes: Vec<Mesh<Notary>>,
    /// Time that each took of the processor.
    busy: Vec<Duration>,
    lines: Vec<Line>,
    flying: BTreeMap<(Instant, u64), (usize, LinkId, Payload)>,
    counter: u64,
    octets: usize,
    known: usize,
}

impl Lab {
    fn plug(&mut self, a: usize, b: usize, delay: Duration, keys: &[NodeKey]) {
        let link = LinkId(u32::try_from(self.lines.len()).expect("few"));
        self.lines.push(Line { ends: [a, b], delay });
        for (at, other) in [(a, b), (b, a)] {
            let neighbour = Neighbour { key: keys[other], name: Name::default() };
            self.nodes[at].handle_link_up(link, neighbour, self.now).expect("it is new");
            self.settle(at);
        }
    }

    fn settle(&mut self, at: usize) {
        let began = clock();
        let mut out = Vec::new();
        while let Some(transmit) = self.nodes[at].poll_transmit() {
            out.push(transmit);
        }
        while let Some(change) = self.nodes[at].poll_station() {
            if at == self.nodes.len() - 1 && change.owner.is_some() {
                self.known += 1;
            }
        }
        self.busy[at] += began.elapsed();
        for transmit in out {
            let line = &self.lines[transmit.link.0 as usize];
            let to = if line.ends[0] == at { line.ends[1] } else { line.ends[0] };
            if let Payload::Message(message) = &transmit.payload {
                self.octets += encode(message).len();
            }
            self.counter += 1;
            let arrives = (self.now + line.delay, self.counter);
            self.flying.insert(arrives, (to, transmit.link, transmit.payload));
        }
    }

    fn step(&mut self) {
        let timers = self.nodes.iter().filter_map(Mesh::poll_timeout);
        let next = timers.chain(self.flying.keys().next().map(|(at, _)| *at)).min();
        self.now = next.unwrap_or(self.now).max(self.now);
        while let Some(first) = self.flying.first_entry()
            && first.key().0 <= self.now
        {
            let (at, link, payload) = first.remove();
            let began = clock();
            match payload {
                Payload::Message(message) => {
                    let taken = self.nodes[at].handle_message(link, message, self.now);
                    taken.expect("nobody breaks the protocol");
                }
                Payload::Beat(beat) => self.nodes[at].handle_beat(link, &beat, self.now),
            }
            self.busy[at] += began.elapsed();
            self.settle(at);
        }
        for at in 0..self.nodes.len() {
            if self.nodes[at].poll_timeout().is_some_and(|due| due <= self.now) {
                let began = clock();
                self.nodes[at].handle_timeout(self.now);
                self.busy[at] += began.elapsed();
                self.settle(at);
            }
        }
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.step();
        }
    }
}

/// A star of eight nodes with 8192 stations each, and a ninth that comes.
fn stations() {
    let now = clock();
    let identities: Vec<(Identity, NodeKey)> = (0..=OWNERS).map(|_| identity()).collect();
    let keys: Vec<NodeKey> = identities.iter().map(|(_, key)| *key).collect();
    let nodes = (1..).zip(&identities);
    let nodes: Vec<_> =
        nodes.map(|(number, (identity, key))| start(identity, *key, number, now)).collect();
    let mut lab = Lab {
        now,
        busy: vec![Duration::ZERO; nodes.len()],
        nodes,
        lines: Vec::new(),
        flying: BTreeMap::new(),
        counter: 0,
        octets: 0,
        known: 0,
    };
    for node in 1..OWNERS as usize {
        lab.plug(0, node, Duration::from_millis(1), &keys);
    }
    lab.run(Duration::from_secs(2));
    for number in 0..OWNERS * STATIONS {
        let [a, b, c, d] = number.to_be_bytes();
        let (node, now) = ((number / STATIONS) as usize, lab.now);
        let station = MacAddr([2, 0, a, b, c, d]);
        lab.nodes[node].handle_station(VlanId(0), station, Heard::Frame, now);
    }
    lab.run(Duration::from_secs(10));
    lab.octets = 0;
    lab.busy.fill(Duration::ZERO);
    let began = lab.now;
    let last = OWNERS as usize;
    lab.plug(last, 3, Duration::from_millis(20), &keys);
    while lab.known < (OWNERS * STATIONS) as usize && lab.now < began + Duration::from_secs(60) {
        lab.step();
    }
    println!("known={}", lab.known);
    println!("sync_s={:.3}", (lab.now - began).as_secs_f64());
    println!("sync_cpu_ms={:.1}", milliseconds(lab.busy[last]));
    println!("sync_teacher_ms={:.1}", milliseconds(lab.busy[3]));
    println!("sync_mb={:.2}", lab.octets as f64 / 1e6);
}

fn main() {
    thousand();
    stations();
}
