//! What happens to a world, step by step, and how it is mended.

use std::time::Duration;

use ether::MacAddr;
use mesh::authority::Signature;
use mesh::framing::{Reach, RecordHeader};
use mesh::message::{Bounded, Digest, DigestEntry, Message, Records};
use mesh::record::{Incarnation, LinkEntry, LinkState, Record, Slot, Version};
use mesh::{Nick, NodeKey};

use crate::cables::Cable;
use crate::frame::{Words, build, ticket};
use crate::node::{Node, Stop, Use};
use crate::notary::Notary;
use crate::plan::{Forgery, Round, Step};
use crate::shapes::Run;
use crate::world::World;

/// What a rogue remembers.
const OVERHEARD: usize = 100;

/// Moves of a station in one world, below those that make nodes give up on it.
const FEW_MOVES: u32 = 2;

impl World {
    pub(crate) fn apply(&mut self, step: Step) {
        self.trace(|| format!("STEP {step:?}"));
        match step {
            Step::Cut { cable, from } => self.cables[cable].cut = from,
            Step::Heal { cable } => {
                self.cables[cable].cut = [false; 2];
                self.release(cable);
            }
            Step::Unplug { cable } => {
                self.cables[cable].is_plugged = false;
                self.end_link(cable, 0);
                self.end_link(cable, 1);
            }
            Step::Plug { cable } => {
                self.cables[cable].is_plugged = true;
                self.call(cable);
            }
            Step::Worsen { cable, loss, twice, jitter } => {
                let cable = &mut self.cables[cable];
                (cable.loss, cable.twice) = (loss, twice);
                cable.jitter = Duration::from_micros(jitter);
            }
            Step::Slow { cable, rate } => self.cables[cable].rate = Some(rate),
            Step::Crash { node, keeps_disk } => self.crash(node, keeps_disk),
            Step::Leave { node } => self.take_leave(node),
            Step::Boot { node } => {
                if self.nodes[node].switch.is_none() {
                    self.boot(node);
                }
            }
            Step::Stop { node, clock_runs } => {
                if self.nodes[node].is_running() {
                    self.nodes[node].stop = Some(Stop { since: self.now, clock_runs });
                }
            }
            Step::Resume { node } => self.resume(node),
            Step::Leap { node, ahead } => {
                let nanos = Duration::from_millis(ahead).as_nanos();
                self.nodes[node].leap(i64::try_from(nanos).expect("some seconds"));
                // One that is stopped sees what its clock shows when it goes on.
                if self.nodes[node].is_running() {
                    self.rouse(node);
                }
            }
            Step::Calendar { node, by } => self.nodes[node].calendar += by,
            Step::Replug { node, port } => {
                let clock = self.clock(node);
                if self.nodes[node].is_running() {
                    self.nodes[node].unplug(port, clock);
                    self.nodes[node].plug(port, clock);
                    self.rouse(node);
                }
            }
            Step::Move { station, node, port, says_so } => {
                let place = &mut self.stations[station];
                if place.at != (node, port) && place.also.is_none() {
                    place.at = (node, port);
                    place.moves += 1;
                    place.is_odd |= place.moves > FEW_MOVES;
                    if says_so {
                        self.speak(station, Words::Announcement);
                    }
                }
            }
            Step::Double { station, node, port } => {
                let station = &mut self.stations[station];
                if station.at != (node, port) {
                    station.also = Some((node, port));
                    station.is_odd = true;
                }
            }
            Step::Undouble { station } => self.stations[station].also = None,
            Step::Join { a, b } => {
                if a != b {
                    // What was joined with one of them is joined with both.
                    let mut segment = [self.segment_of(a), self.segment_of(b)].concat();
                    segment.sort_unstable();
                    segment.dedup();
                    self.segments.retain(|old| !segment.contains(&old[0]));
                    self.segments.push(segment);
                }
            }
            Step::Part => self.segments.clear(),
            Step::Clone { of, at } => self.clone_node(of, at),
            Step::Unclone => {
                for node in self.plan.nodes..self.nodes.len() {
                    self.crash(node, true);
                }
                for cable in self.plan.cables.len()..self.cables.len() {
                    self.apply(Step::Unplug { cable });
                }
            }
            Step::Forge { cable, end, how } => self.forge(cable, end, how),
        }
    }

    fn crash(&mut self, node: usize, keeps_disk: bool) {
        for cable in 0..self.cables.len() {
            for end in 0..2 {
                if self.cables[cable].ends[end].node == node {
                    // Nobody is left to say that it has ended.
                    self.cables[cable].ends[end].link = None;
                    self.call(cable);
                }
            }
        }
        self.nodes[node].switch = None;
        self.nodes[node].stop = None;
        self.nodes[node].held.clear();
        if !keeps_disk {
            self.nodes[node].disk = None;
        }
    }

    fn take_leave(&mut self, node: usize) {
        let clock = self.clock(node);
        if !self.nodes[node].is_running() {
            return;
        }
        if let Some(switch) = &mut self.nodes[node].switch {
            switch.mesh.handle_leave(clock);
        }
        self.rouse(node);
        for cable in 0..self.cables.len() {
            let Cable { ends, .. } = &self.cables[cable];
            if ends.iter().any(|end| end.node == node) {
                self.end_link(cable, 0);
                self.end_link(cable, 1);
            }
        }
        self.crash(node, true);
    }

    fn resume(&mut self, node: usize) {
        let Some(stop) = self.nodes[node].stop.take() else { return };
        if !stop.clock_runs {
            let stood = self.now.saturating_sub(stop.since).as_nanos();
            self.nodes[node].leap(-i64::try_from(stood).expect("some seconds"));
        }
        let mut held = std::mem::take(&mut self.nodes[node].held);
        if self.dice.chance(500) {
            // What came first is looked at first; otherwise the clock is.
            self.nodes[node].wake_at = Some(self.now);
            self.handle(crate::world::Event::Wake { node });
        }
        while let Some(event) = held.pop_front() {
            self.handle(event);
        }
        self.nodes[node].wake_at = Some(self.now);
        self.handle(crate::world::Event::Wake { node });
    }

    fn clone_node(&mut self, of: usize, at: usize) {
        if of == at || self.nodes.len() > self.plan.nodes {
            return;
        }
        self.may_clone = true;
        let (key, disk) = (self.nodes[of].key, self.nodes[of].disk);
        let mut clone = Node::new(key, vec![0], false, &mut self.dice);
        clone.disk = disk;
        self.nodes.push(clone);
        let node = self.nodes.len() - 1;
        let delay = [Duration::from_millis(1); 2];
        self.cables.push(Cable::new(&Run { ends: [node, at], delay }));
        self.boot(node);
        self.call(self.cables.len() - 1);
    }

    pub(crate) fn overhear(&mut self, message: &Message) {
        let Message::Records(records) = message else { return };
        for record in records.records.iter() {
            if self.overheard.len() < OVERHEARD {
                self.overheard.push(record.clone());
            } else {
                // The same for every record that ever came by (Vitter's algorithm R, roughly).
                let at = usize::try_from(record.version.sequence).unwrap_or(0) % (4 * OVERHEARD);
                if let Some(place) = self.overheard.get_mut(at) {
                    *place = record.clone();
                }
            }
        }
    }

    /// The node at one end of a cable says something to the other that it should not.
    fn forge(&mut self, cable: usize, end: usize, how: Forgery) {
        let line = &self.cables[cable];
        let [Some(from), Some(to)] = [end, 1 - end].map(|end| line.ends[end].link.as_ref()) else {
            return;
        };
        let _ = from;
        let port = to.port;
        let (rogue, at) = (line.ends[end].node, line.ends[1 - end].node);
        if !self.nodes[at].is_running() {
            return;
        }
        let key = self.nodes[rogue].key;
        let heard = |dice: &mut crate::dice::Dice, from: &[Record]| {
            (!from.is_empty()).then(|| from[dice.roll(from.len())].clone())
        };
        let mut records = Vec::new();
        match how {
            Forgery::Changed => {
                for _ in 0..1 + self.dice.roll(40) {
                    let Some(mut record) = heard(&mut self.dice, &self.overheard) else { continue };
                    match self.dice.roll(4) {
                        0 => record.version.sequence += 1 + self.dice.next() % 1000,
                        1 => record.version.incarnation.epoch += 1 + self.dice.next() % 1000,
                        2 => record.signature = Signature([7; 64]),
                        _ => record.version.incarnation.instance ^= 1 << self.dice.roll(64),
                    }
                    records.push(record);
                }
            }
            Forgery::Old => {
                for _ in 0..1 + self.dice.roll(40) {
                    records.extend(heard(&mut self.dice, &self.overheard));
                }
            }
            Forgery::Stranger => {
                let key = NodeKey([0xff; 32]);
                records.push(link_state(key, 1, self.dice.next(), Vec::new()));
            }
            Forgery::Impossible => {
                let own = LinkEntry { peer: key, number: 1, peer_number: 1, cost: 1 };
                records.push(link_state(key, u64::MAX, self.dice.next(), vec![own]));
            }
            Forgery::Digests => return self.forge_digest(cable, 1 - end),
            Forgery::Floods => return self.forge_floods(at, port),
        }
        let message = Message::Records(Records { records: Bounded::truncated(records) });
        self.hear_from_rogue(cable, 1 - end, message);
    }

    fn forge_digest(&mut self, cable: usize, end: usize) {
        let mut entries: Vec<DigestEntry> = self
            .overheard
            .iter()
            .map(|record| DigestEntry {
                origin: record.origin,
                incarnation: record.version.incarnation,
                sequence: record.version.sequence ^ 1,
                fingerprint: record.version.sequence,
            })
            .collect();
        entries.sort_unstable_by_key(|entry| entry.origin);
        entries.dedup_by_key(|entry| entry.origin);
        let digest = Digest {
            first: NodeKey::MIN,
            last: NodeKey::MAX,
            answer: true,
            entries: Bounded::truncated(entries),
        };
        self.hear_from_rogue(cable, end, Message::Digest(digest));
    }

    /// Floods of a node that is not there.
    fn forge_floods(&mut self, at: usize, port: u32) {
        for _ in 0..1 + self.dice.roll(20) {
            let nick = u32::try_from(self.dice.next() >> 32).unwrap_or(1).max(1);
            let reach = match self.dice.roll(2) {
                0 => Reach::Flood { sequence: u32::try_from(self.dice.next() >> 32).unwrap_or(0) },
                _ => Reach::Unicast { egress: Nick::new(nick ^ 1) },
            };
            let Some(ingress) = Nick::new(nick) else { continue };
            let vnet = Some(ticket(u64::MAX));
            let header = RecordHeader { hops: 63, ingress, reach, vnet };
            let to = Words::To(MacAddr([0xff; 6]));
            let frame = build(MacAddr([2, 0xee, 0, 0, 0, 1]), to, 0);
            self.carry_on(at, port, &header, &frame);
        }
    }

    /// All that was broken is whole again, but what the round wants to stay as it is.
    pub(crate) fn mend(&mut self, round: &Round) {
        self.is_talking = false;
        self.apply(Step::Unclone);
        for node in 0..self.plan.nodes {
            self.resume(node);
            if !round.stays_down {
                self.apply(Step::Boot { node });
            }
        }
        for cable in 0..self.plan.cables.len() {
            let line = &mut self.cables[cable];
            (line.loss, line.jitter, line.rate) = (0, Duration::ZERO, None);
            if round.apart.contains(&cable) {
                self.apply(Step::Cut { cable, from: [true, true] });
            } else {
                self.apply(Step::Heal { cable });
                self.apply(Step::Plug { cable });
            }
        }
        for station in 0..self.stations.len() {
            self.apply(Step::Undouble { station });
        }
        if !round.stays_joined {
            self.apply(Step::Part);
        }
    }

    /// What a cable is to a node.
    pub(crate) fn link_of(&self, cable: usize, end: usize) -> Option<u32> {
        let port = self.cables[cable].ends[end].link.as_ref()?.port;
        let node = self.cables[cable].ends[end].node;
        (self.nodes[node].used_as(port) == Use::Cable(cable, end)).then_some(port)
    }
}

fn link_state(key: NodeKey, epoch: u64, instance: u64, links: Vec<LinkEntry>) -> Record {
    let state = LinkState {
        nick: Nick::new(7).expect("seven is not 0"),
        name: mesh::message::Name::lossy("rogue"),
        capabilities: 0,
        links: Bounded::truncated(links),
    };
    let version = Version { incarnation: Incarnation { epoch, instance }, sequence: 1 };
    Record::sign(key, version, Slot::LINK_STATE, &state, &Notary(key))
}
