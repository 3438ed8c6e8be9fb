//! Every order of events in small worlds: the real mesh of three or four nodes, and whatever may
//! happen next does, in each of the ways that it can. (Model checking by explicit states, as
//! `stateright` does it; the model is the program itself.)
//!
//! A state is what all nodes know, what is under way on each connection, and what is still to
//! happen. From each, a connection may deliver what it holds, the next of the things that happen may
//! do so, or time may pass up to the next timer. Where nothing is left to choose, the world is left
//! alone until it is quiet, and all must be well. States that cannot be told apart from outside are
//! looked at once.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use ether::{MacAddr, VlanId};
use mesh::beat::Beat;
use mesh::engine::{Config, Heard, LinkId, Neighbour, Payload};
use mesh::message::{Message, Name, encode};
use mesh::record::{Incarnation, Slot, Version};
use mesh::{Mesh, Nick, NodeKey};

use crate::notary::Notary;

/// Timers that are farther away than this are not waited for while there is a choice: all that
/// follows on something happens within it, and the next beat is later.
const NEAR: Duration = Duration::from_millis(60);

/// Time to let pass at the end, in steps of the next timer.
const QUIET: Duration = Duration::from_secs(25);

/// Something that happens once, at any time after another.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Happening {
    /// One end of a connection is told that it has ended.
    Close { cable: usize, end: usize },
    /// A new connection on a cable.
    Open { cable: usize },
    /// A node is killed and starts again; the other ends learn of it by [`Self::Close`].
    Restart { node: usize, keeps_disk: bool },
    /// A node hears a station.
    Hear { node: usize, mac: u8, heard: Heard },
    /// A node floods a frame.
    Flood { node: usize },
}

/// A small world and what happens in it: each with what must have happened before.
#[derive(Debug, Clone)]
pub(crate) struct Small {
    pub(crate) name: &'static str,
    pub(crate) nodes: usize,
    pub(crate) cables: &'static [[usize; 2]],
    pub(crate) happenings: &'static [(Happening, Option<usize>)],
    /// How often time may pass while there is a choice.
    pub(crate) ticks: u8,
}

#[derive(Debug, Clone)]
enum Item {
    Message(Message),
    Beat(Beat),
}

/// A connection, as both ends see it.
#[derive(Debug, Clone)]
struct Connection {
    ends: [usize; 2],
    id: LinkId,
    is_open: [bool; 2],
    /// What is on its way to each end, in order.
    flying: [VecDeque<Item>; 2],
}

/// A frame that is flooded: on its way to an end of a connection.
#[derive(Debug, Clone, Copy)]
struct Copy {
    ingress: Nick,
    sequence: u32,
    hops: u8,
    connection: usize,
    end: usize,
}

#[derive(Clone)]
struct State {
    now: Instant,
    meshes: Vec<Mesh<Notary>>,
    connections: Vec<Connection>,
    /// The connection that each cable has.
    of_cable: Vec<usize>,
    copies: Vec<Copy>,
    /// How often each flood came to each node.
    delivered: BTreeMap<(Nick, u32, usize), u32>,
    /// What has happened, by bits.
    done: u32,
    ticks: u8,
    boots: u64,
    /// Beats are sent on cables that are up, too.
    is_quiet: bool,
    told: BTreeMap<(usize, NodeKey, Slot), Version>,
    /// The nodes that have heard each station, and still do.
    heard_at: BTreeSet<(u8, usize)>,
}

fn key(node: usize) -> NodeKey {
    let mut octets = [0; 32];
    octets[0] = u8::try_from(node).expect("a small world") + 1;
    NodeKey(octets)
}

fn station(number: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, number])
}

impl State {
    fn new(small: &Small) -> Self {
        #[expect(clippy::disallowed_methods, reason = "virtual time begins somewhere")]
        let now = Instant::now();
        let mut state = Self {
            now,
            meshes: (0..small.nodes).map(|node| boot(node, 1, 0, now)).collect(),
            connections: Vec::new(),
            of_cable: vec![usize::MAX; small.cables.len()],
            copies: Vec::new(),
            delivered: BTreeMap::new(),
            done: 0,
            ticks: 0,
            boots: 0,
            is_quiet: false,
            told: BTreeMap::new(),
            heard_at: BTreeSet::new(),
        };
        for cable in 0..small.cables.len() {
            state.connect(small, cable);
        }
        state
    }

    fn connect(&mut self, small: &Small, cable: usize) {
        let ends = small.cables[cable];
        let id = LinkId(u32::try_from(self.connections.len()).expect("a small world"));
        self.of_cable[cable] = self.connections.len();
        let flying = [VecDeque::new(), VecDeque::new()];
        self.connections.push(Connection { ends, id, is_open: [true; 2], flying });
        for (at, other) in [(ends[0], ends[1]), (ends[1], ends[0])] {
            let neighbour = Neighbour { key: key(other), name: Name::default() };
            self.meshes[at].handle_link_up(id, neighbour, self.now).expect("it is new");
            self.pump(at);
        }
    }

    /// Takes what a node has to say.
    fn pump(&mut self, at: usize) {
        while let Some(transmit) = self.meshes[at].poll_transmit() {
            if let Payload::Message(Message::Records(records)) = &transmit.payload {
                for record in records.records.iter() {
                    let place = (at, record.origin, record.slot);
                    let before = self.told.insert(place, record.version);
                    let is_older = before.is_some_and(|before| before > record.version);
                    assert!(!is_older, "I7: node {at} goes back from {before:?}: {record:?}");
                }
            }
            let connection = &mut self.connections[transmit.link.0 as usize];
            let Some(end) = connection.ends.iter().position(|node| *node == at) else { continue };
            let item = match transmit.payload {
                Payload::Message(message) => Item::Message(message),
                Payload::Beat(beat) => {
                    // They matter until the cable is up: what is looked at takes less time than one
                    // that was lost is missed.
                    let views = self.meshes[at].cables(self.now);
                    let view = views.iter().find(|view| view.link == transmit.link);
                    if !self.is_quiet && view.is_some_and(|view| view.up_for.is_some()) {
                        continue;
                    }
                    Item::Beat(beat)
                }
            };
            if connection.is_open[1 - end] {
                connection.flying[1 - end].push_back(item);
            }
        }
        while self.meshes[at].poll_event().is_some() {}
        while self.meshes[at].poll_station().is_some() {}
    }

    fn deliver(&mut self, connection: usize, end: usize) {
        let Connection { ends, id, flying, .. } = &mut self.connections[connection];
        let (at, id) = (ends[end], *id);
        match flying[end].pop_front() {
            Some(Item::Message(message)) => {
                let result = self.meshes[at].handle_message(id, message, self.now);
                assert!(result.is_ok(), "a fault: {result:?}");
            }
            Some(Item::Beat(beat)) => self.meshes[at].handle_beat(id, &beat, self.now),
            None => {}
        }
        self.pump(at);
    }

    fn carry(&mut self, place: usize) {
        let Copy { ingress, sequence, hops, connection, end } = self.copies.remove(place);
        let Connection { ends, id, is_open, .. } = self.connections[connection].clone();
        if !is_open[end] {
            return;
        }
        let at = ends[end];
        let Ok(links) = self.meshes[at].flood(ingress, sequence, id) else { return };
        let links: Vec<LinkId> = links.collect();
        let count = self.delivered.entry((ingress, sequence, at)).or_default();
        *count += 1;
        assert!(*count <= 1, "I1: a flood came to node {at} twice");
        if let Some(hops) = hops.checked_sub(1) {
            self.send(at, ingress, sequence, hops, &links);
        }
    }

    fn send(&mut self, at: usize, ingress: Nick, sequence: u32, hops: u8, links: &[LinkId]) {
        for link in links {
            let connection = link.0 as usize;
            let ends = self.connections[connection].ends;
            let end = usize::from(ends[0] == at);
            self.copies.push(Copy { ingress, sequence, hops, connection, end });
        }
    }

    fn happen(&mut self, small: &Small, number: usize) {
        self.done |= 1 << number;
        let now = self.now;
        match small.happenings[number].0 {
            Happening::Close { cable, end } => {
                let connection = &mut self.connections[self.of_cable[cable]];
                connection.is_open[end] = false;
                connection.flying[end].clear();
                let (at, id) = (connection.ends[end], connection.id);
                self.meshes[at].handle_link_down(id, now);
                self.pump(at);
            }
            Happening::Open { cable } => self.connect(small, cable),
            Happening::Restart { node, keeps_disk } => {
                self.boots += 1;
                let epoch = if keeps_disk { 2 } else { 0 };
                self.meshes[node] = boot(node, epoch, self.boots, now);
                self.told.retain(|(at, ..), _| *at != node);
                self.heard_at.retain(|(_, at)| *at != node);
                for connection in &mut self.connections {
                    if let Some(end) = connection.ends.iter().position(|at| *at == node) {
                        connection.is_open[end] = false;
                        connection.flying[end].clear();
                    }
                }
                self.pump(node);
            }
            Happening::Hear { node, mac, heard } => {
                self.meshes[node].handle_station(VlanId(0), station(mac), heard, now);
                if heard == Heard::Gone {
                    self.heard_at.remove(&(mac, node));
                } else {
                    self.heard_at.insert((mac, node));
                }
                self.pump(node);
            }
            Happening::Flood { node } => {
                let mesh = &mut self.meshes[node];
                let ingress = mesh.nick();
                let (sequence, hops, links) = mesh.originate_flood();
                let links: Vec<LinkId> = links.collect();
                self.send(node, ingress, sequence, hops, &links);
            }
        }
    }

    fn next_timer(&self) -> Option<Instant> {
        self.meshes.iter().filter_map(Mesh::poll_timeout).min()
    }

    /// Lets time pass up to the next timer.
    fn tick(&mut self) {
        let Some(next) = self.next_timer() else { return };
        self.now = self.now.max(next) + Duration::from_micros(1);
        for at in 0..self.meshes.len() {
            let now = self.now;
            if self.meshes[at].poll_timeout().is_some_and(|due| due <= now) {
                self.meshes[at].handle_timeout(now);
                self.pump(at);
            }
        }
    }

    /// All states that may come next.
    fn next_states(&self, small: &Small) -> Vec<Self> {
        let mut next = Vec::new();
        for (number, connection) in self.connections.iter().enumerate() {
            for end in 0..2 {
                if connection.is_open[end] && !connection.flying[end].is_empty() {
                    let mut state = self.clone();
                    state.deliver(number, end);
                    next.push(state);
                }
            }
        }
        for place in 0..self.copies.len() {
            let mut state = self.clone();
            state.carry(place);
            next.push(state);
        }
        for (number, (_, after)) in small.happenings.iter().enumerate() {
            let may = after.is_none_or(|after| self.done & 1 << after != 0);
            if self.done & 1 << number == 0 && may {
                let mut state = self.clone();
                state.happen(small, number);
                next.push(state);
            }
        }
        let is_near = self.next_timer().is_some_and(|at| at <= self.now + NEAR);
        if is_near && self.ticks < small.ticks {
            let mut state = self.clone();
            state.tick();
            state.ticks += 1;
            next.push(state);
        }
        next
    }

    /// Everything that can be seen from outside.
    fn fingerprint(&self, start: Instant) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.done, self.ticks, self.now.saturating_duration_since(start)).hash(&mut hasher);
        for mesh in &self.meshes {
            (mesh.digest(), mesh.nick(), mesh.poll_timeout(), mesh.counters().issued)
                .hash(&mut hasher);
            for node in mesh.nodes(self.now) {
                (node.key, node.epoch, node.nick, node.route.map(|route| route.next))
                    .hash(&mut hasher);
            }
            for view in mesh.stations(self.now) {
                (view.mac.0, view.owner, view.mobility, view.frozen_for.is_some())
                    .hash(&mut hasher);
            }
            for cable in mesh.cables(self.now) {
                (cable.link.0, cable.up_for.is_some(), cable.pending).hash(&mut hasher);
            }
        }
        for connection in &self.connections {
            connection.is_open.hash(&mut hasher);
            for item in connection.flying.iter().flatten() {
                match item {
                    Item::Message(message) => encode(message).hash(&mut hasher),
                    Item::Beat(beat) => beat.encode().hash(&mut hasher),
                }
            }
        }
        let mut copies: Vec<_> = self
            .copies
            .iter()
            .map(|copy| (copy.ingress, copy.sequence, copy.hops, copy.connection, copy.end))
            .collect();
        copies.sort_unstable();
        copies.hash(&mut hasher);
        self.delivered.hash(&mut hasher);
        hasher.finish()
    }

    /// Lets everything arrive and time pass, with beats, until it has been quiet for long.
    fn settle(&mut self) {
        self.is_quiet = true;
        let end = self.now + QUIET;
        while self.now < end {
            while let Some((number, to)) = self.first_flying() {
                self.deliver(number, to);
            }
            while !self.copies.is_empty() {
                self.carry(0);
            }
            self.tick();
        }
        self.is_quiet = false;
    }

    fn first_flying(&self) -> Option<(usize, usize)> {
        self.connections.iter().enumerate().find_map(|(number, connection)| {
            let end = (0..2)
                .find(|end| connection.is_open[*end] && !connection.flying[*end].is_empty())?;
            Some((number, end))
        })
    }
}

fn boot(node: usize, epoch: u64, run: u64, now: Instant) -> Mesh<Notary> {
    let number = u64::try_from(node).expect("a small world") + 1;
    let seed = number * 1000 + run;
    let nick = Nick::new(u32::try_from(seed).expect("a small number")).expect("not 0");
    let incarnation = Incarnation { epoch, instance: (run + 1) << 32 | seed };
    let config = Config::new(key(node), Name::default(), nick, incarnation, seed);
    Mesh::new(config, Notary(key(node)), now)
}

/// What was looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Explored {
    /// All, and those in which nothing is left to happen.
    pub(crate) states: usize,
    pub(crate) ends: usize,
    /// Nothing was left out.
    pub(crate) is_all: bool,
}

/// Looks at every state of a small world, but no more than so many.
pub(crate) fn explore(small: &Small, most: usize) -> Explored {
    let mut first = State::new(small);
    first.settle();
    let start = first.now;
    let mut seen = HashSet::from([first.fingerprint(start)]);
    let mut ended = HashSet::new();
    let mut open = vec![first];
    let mut is_all = true;
    while let Some(state) = open.pop() {
        let next = state.next_states(small);
        if next.is_empty() || state.is_spent(small) {
            let mut end = state;
            end.ticks = 0;
            if ended.insert(end.fingerprint(start)) {
                end.settle();
                end.check(small);
            }
            if next.is_empty() {
                continue;
            }
        }
        for state in next {
            if seen.len() >= most {
                is_all = false;
            } else if seen.insert(state.fingerprint(start)) {
                open.push(state);
            }
        }
    }
    Explored { states: seen.len(), ends: ended.len(), is_all }
}

impl State {
    /// All has happened and arrived; only time is left to pass.
    fn is_spent(&self, small: &Small) -> bool {
        let all = (1 << small.happenings.len()) - 1;
        self.done == all && self.copies.is_empty() && self.first_flying().is_none()
    }

    /// All is well: I6, I8, I4.
    fn check(&mut self, small: &Small) {
        let mut group = vec![0];
        let mut at = 0;
        while let Some(&node) = group.get(at) {
            for (cable, ends) in small.cables.iter().enumerate() {
                let is_open = self.connections[self.of_cable[cable]].is_open == [true; 2];
                for (from, to) in [(ends[0], ends[1]), (ends[1], ends[0])] {
                    if is_open && from == node && !group.contains(&to) {
                        group.push(to);
                    }
                }
            }
            at += 1;
        }
        let (now, digest) = (self.now, self.meshes[0].digest());
        let members: BTreeSet<NodeKey> = group.iter().map(|node| key(*node)).collect();
        let mut owners = BTreeMap::new();
        for &node in &group {
            let mesh = &self.meshes[node];
            assert_eq!(mesh.digest(), digest, "I6: node {node} knows something else");
            let known = mesh.nodes(now).into_iter().filter(|view| view.route.is_some());
            let reached: BTreeSet<NodeKey> = known.map(|view| view.key).collect();
            assert_eq!(reached, members, "I6: node {node} reaches others");
            let here: BTreeMap<_, _> =
                mesh.stations(now).into_iter().map(|view| (view.mac, view.owner)).collect();
            if node == 0 {
                owners = here;
            } else {
                assert_eq!(here, owners, "I8: node {node} looks elsewhere");
            }
        }
        // It is claimed by one that hears it, and not by nobody.
        let heard: BTreeSet<_> = self
            .heard_at
            .iter()
            .filter(|(_, node)| group.contains(node))
            .map(|(number, node)| (station(*number), key(*node)))
            .collect();
        for (mac, owner) in &owners {
            assert!(heard.contains(&(*mac, *owner)), "I8: {mac} is not at {owner:?}");
        }
        // One that lost it to another that lost it, too, waits for it to speak.
        let is_gone = |(happening, _): &(Happening, Option<usize>)| {
            matches!(happening, Happening::Hear { heard: Heard::Gone, .. })
        };
        if !small.happenings.iter().any(is_gone) {
            for (mac, _) in &heard {
                assert!(owners.contains_key(mac), "I8: {mac} is nowhere");
            }
        }
        for &node in &group {
            let mesh = &mut self.meshes[node];
            let ingress = mesh.nick();
            let (sequence, hops, links) = mesh.originate_flood();
            let links: Vec<LinkId> = links.collect();
            self.send(node, ingress, sequence, hops, &links);
            while !self.copies.is_empty() {
                self.carry(0);
            }
            for &other in group.iter().filter(|other| **other != node) {
                let count = self.delivered.get(&(ingress, sequence, other));
                assert_eq!(count, Some(&1), "I4: a flood of node {node} at node {other}");
            }
        }
    }
}
