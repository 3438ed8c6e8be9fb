//! Loops outside the mesh: two access ports, of one node or two, that someone has joined.
//!
//! Every port sends a probe now and then. A probe that comes in somewhere proves a path outside
//! from one port to the other. Of the two, the one of the lower class is blocked, then that of the
//! node with the higher key, then the one with the higher number. Both nodes come to the same
//! result: the one that hears blocks its own port or tells the other one by a notice. A blocked
//! port still sends and hears probes, and is open again when none came for a while.
//!
//! To nodes that cannot be reached through the mesh this one is a bridge outside, and may be part of
//! their loop. Where two groups of nodes are joined at two places, both would block a port, and perhaps
//! not the same path: so only one group's probes are passed on by the other.

mod probing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::budget::Budget;
use super::event::Event;
use super::{Mesh, PortId};
use crate::authority::{Authority, NodeKey};
use crate::probe::PortClass;
use crate::random::Random;
use crate::record::{Notice, Notices, PortName};
pub use probing::ProbeVerdict;
use probing::Unchecked;

/// A new port is probed five times at this interval, and so is one in a loop for as long.
const FAST: Duration = Duration::from_secs(1);
const FAST_ROUNDS: u8 = 5;

/// A port that leads to a network of the host's begins with probes alone, for so long: should the
/// network be joined with another port, not one frame goes round. A guest need not wait, and would not
/// like to; nor would those who want an address of the gateway.
const LISTEN: Duration = Duration::from_secs(1);

/// A loop is taken to be gone when no probe came for so long: five may be lost at the slow pace.
const EVIDENCE: Duration = Duration::from_secs(12);

/// How long a probe counts as recent when another node tells of it.
const RECENT: Duration = Duration::from_secs(12);
const RECENT_PROBES: usize = 16;

/// The most other ports that one is known to be joined with; one is enough to block it.
const MAX_PARTNERS: usize = 16;

/// Signatures checked for each port: at once, and in the long run.
const HEARD_BURST: u32 = 20;
const HEARD_INTERVAL: Duration = Duration::from_millis(200);

/// Probes made in one turn, at some 30 µs: frames wait meanwhile.
const TURN_PROBES: usize = 16;

/// So many stations that move within such a time may go round in a loop: probe at once, but no more
/// than once in that time.
const FLAPS: u8 = 3;
const FLAP_WINDOW: Duration = Duration::from_secs(5);

/// One end of a path outside.
type End = (NodeKey, u32);

/// Whether data may pass a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortState {
    /// It may.
    Open,
    /// Only probes may, both ways: it is new, and what it leads to is not known yet.
    Listening,
    /// Only probes may, both ways: it is one end of a loop.
    Blocked,
}

#[derive(Debug, Clone)]
struct Partner {
    class: PortClass,
    name: PortName,
    /// The last probe of it that came in here.
    heard: Option<Instant>,
    /// The nonce of the probe of this port that it heard, as long as its node says so.
    told: Option<u64>,
    /// That of the last probe that came in.
    nonce: u64,
}

#[derive(Debug, Clone)]
struct Port {
    class: PortClass,
    name: PortName,
    /// Until when only probes pass.
    listens_until: Option<Instant>,
    probe_at: Instant,
    fast_left: u8,
    /// Its own probes of late.
    sent: VecDeque<(u64, Instant)>,
    partners: BTreeMap<End, Partner>,
    /// The nonces of the probes that came in of late.
    known: VecDeque<u64>,
    heard: Budget,
    told_state: PortState,
    in_loop: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Loops {
    ports: BTreeMap<PortId, Port>,
    probes: VecDeque<(PortId, Vec<u8>)>,
    changed: BTreeSet<PortId>,
    unchecked: Unchecked,
    random: Random,
    flaps: (Instant, u8),
}

impl Loops {
    pub(super) fn new(seed: u64, now: Instant) -> Self {
        Self {
            ports: BTreeMap::new(),
            probes: VecDeque::new(),
            changed: BTreeSet::new(),
            unchecked: Unchecked::default(),
            random: Random::new(seed),
            flaps: (now, 0),
        }
    }

    pub(super) fn has_unchecked(&self) -> bool {
        !self.unchecked.is_empty()
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let port = |port: &Port| {
            let evidence = port.partners.values().filter_map(|partner| partner.heard);
            let timers = evidence.map(|heard| heard + EVIDENCE).chain(port.listens_until);
            timers.chain([port.probe_at]).min()
        };
        self.ports.values().filter_map(port).min()
    }

    fn probe_all(&mut self, now: Instant) {
        for port in self.ports.values_mut() {
            port.probe_at = now;
            port.fast_left = FAST_ROUNDS;
        }
    }

    /// What a node told counts no more.
    pub(super) fn forget_node(&mut self, key: &NodeKey) {
        for port in self.ports.values_mut() {
            port.partners.retain(|(node, _), _| node != key);
        }
    }

    /// A station has moved between this node and another.
    pub(super) fn note_move(&mut self, now: Instant) {
        self.note_moves(1, now);
    }

    fn note_moves(&mut self, moves: u8, now: Instant) {
        if now >= self.flaps.0 + FLAP_WINDOW {
            self.flaps = (now, 0);
        }
        let before = self.flaps.1;
        self.flaps.1 = before.saturating_add(moves);
        if before < FLAPS && self.flaps.1 >= FLAPS {
            self.probe_all(now);
        }
    }
}

/// Whether the first end is the one to be blocked.
fn loses(own: (PortClass, End), other: (PortClass, End)) -> bool {
    own.0 < other.0 || own.0 == other.0 && own.1 >= other.1
}

impl<A: Authority> Mesh<A> {
    /// A port leads somewhere now. If that is a network of the host's it listens first; else it is
    /// open. The first probe is due at once.
    pub fn handle_port_up(&mut self, id: PortId, class: PortClass, name: &str, now: Instant) {
        let now = self.advance(now);
        let port = Port {
            class,
            name: PortName::lossy(name),
            listens_until: (class == PortClass::Tap).then_some(now + LISTEN),
            probe_at: now,
            fast_left: FAST_ROUNDS,
            sent: VecDeque::new(),
            partners: BTreeMap::new(),
            known: VecDeque::new(),
            heard: Budget::new(HEARD_BURST, HEARD_INTERVAL, now),
            told_state: PortState::Open,
            in_loop: false,
        };
        self.loops.ports.insert(id, port);
        self.loops_changed(now);
    }

    /// A port leads nowhere any more.
    pub fn handle_port_down(&mut self, id: PortId, now: Instant) {
        let now = self.advance(now);
        self.loops.ports.remove(&id);
        self.loops.changed.remove(&id);
        self.loops_changed(now);
    }

    /// Stations of this node move to and fro between two of its ports, as they seem to when somebody
    /// has joined the ports.
    pub fn handle_flapping(&mut self, now: Instant) {
        let now = self.advance(now);
        self.loops.note_moves(FLAPS, now);
    }

    /// The next probe, as a frame to leave by an access port.
    pub fn poll_probe(&mut self) -> Option<(PortId, Vec<u8>)> {
        self.loops.probes.pop_front()
    }

    /// The next port whose state has changed. All ports are open at first.
    pub fn poll_block(&mut self) -> Option<(PortId, PortState)> {
        while let Some(id) = self.loops.changed.pop_first() {
            let state = self.port_state(id);
            if let Some(port) = self.loops.ports.get_mut(&id)
                && port.told_state != state
            {
                port.told_state = state;
                return Some((id, state));
            }
        }
        None
    }

    /// Whether data may pass a port.
    pub fn port_state(&self, id: PortId) -> PortState {
        let Some(port) = self.loops.ports.get(&id) else { return PortState::Open };
        let own = (port.class, (self.config.key, id.0));
        if self.partners(port).any(|(end, partner)| loses(own, (partner.class, *end))) {
            PortState::Blocked
        } else if port.listens_until.is_some() {
            PortState::Listening
        } else {
            PortState::Open
        }
    }

    /// The ports that one is joined with, by the mesh too.
    fn partners<'a>(&'a self, port: &'a Port) -> impl Iterator<Item = (&'a End, &'a Partner)> {
        port.partners.iter().filter(|((key, _), partner)| {
            let counts = partner.heard.is_some() || partner.told.is_some();
            counts && self.database.by_key(key).is_some_and(|node| node.is_reachable())
        })
    }

    pub(super) fn probe_what_is_due(&mut self, now: Instant) {
        let mut has_changed = false;
        let due: Vec<PortId> = self
            .loops
            .ports
            .iter_mut()
            .filter_map(|(id, port)| {
                has_changed |= port.expire(now);
                has_changed |= port.listens_until.take_if(|until| now >= *until).is_some();
                (now >= port.probe_at).then_some(*id)
            })
            .collect();
        for id in due.into_iter().take(TURN_PROBES) {
            self.send_probe(id, now);
        }
        if has_changed {
            self.loops_changed(now);
        }
    }

    /// Another node's notices were replaced: it may have heard probes of this node's ports.
    pub(super) fn loop_notices_changed(&mut self, from: NodeKey, notices: &Notices, now: Instant) {
        for (id, port) in &mut self.loops.ports {
            let mut told = BTreeMap::new();
            for notice in notices.iter() {
                if let Notice::Loop { number, class, port: name, sender, sender_number, nonce } =
                    notice
                    && (*sender, *sender_number) == (self.config.key, id.0)
                {
                    told.insert((from, *number), (*class, name.clone(), *nonce));
                }
            }
            for (end, partner) in port.partners.iter_mut().filter(|((key, _), _)| *key == from) {
                if !told.contains_key(end) {
                    partner.told = None;
                }
            }
            for (end, (class, name, nonce)) in told {
                let is_known = port.partners.get(&end).is_some_and(|p| p.told == Some(nonce));
                let has_room =
                    port.partners.contains_key(&end) || port.partners.len() < MAX_PARTNERS;
                if !is_known && (!has_room || !port.has_sent(nonce, now)) {
                    continue;
                }
                let class = PortClass::from_wire(class);
                let partner = port.partners.entry(end).or_insert_with(|| Partner {
                    class,
                    name,
                    heard: None,
                    told: None,
                    nonce: 0,
                });
                partner.told = Some(nonce);
            }
            port.expire(now);
        }
        self.loops_changed(now);
    }

    /// Draws the consequences: states, notices, events.
    pub(super) fn loops_changed(&mut self, now: Instant) {
        let mut notices = Vec::new();
        let mut events = Vec::new();
        let mut in_loop = Vec::new();
        for (id, port) in &self.loops.ports {
            for (end, partner) in self.partners(port).filter(|(_, partner)| partner.heard.is_some())
            {
                notices.push(Notice::Loop {
                    port: port.name.clone(),
                    number: id.0,
                    class: port.class.to_wire(),
                    sender: end.0,
                    sender_number: end.1,
                    // The first one that was heard: a notice changes only when the loop does.
                    nonce: self.told_nonce(*id, *end).unwrap_or(partner.nonce),
                });
            }
            let first = self.partners(port).next();
            match first {
                Some((end, partner)) if !port.in_loop => {
                    events.push(Event::LoopFound {
                        port: *id,
                        other: self.who(end.0),
                        other_port: partner.name.as_str().to_owned(),
                        state: self.port_state(*id),
                    });
                }
                None if port.in_loop => events.push(Event::LoopCleared { port: *id }),
                _ => {}
            }
            in_loop.push((*id, first.is_some()));
        }
        for (id, in_loop) in in_loop {
            if let Some(port) = self.loops.ports.get_mut(&id)
                && port.in_loop != in_loop
            {
                port.in_loop = in_loop;
                port.probe_at = port.probe_at.min(now + FAST);
                port.fast_left = FAST_ROUNDS;
            }
            self.loops.changed.insert(id);
        }
        if events.iter().any(|event| matches!(event, Event::LoopFound { .. })) {
            self.blame_loop(now);
        }
        events.into_iter().for_each(|event| self.events.push(event));
        self.set_loop_notices(notices, now);
    }
}

impl Port {
    fn has_sent(&self, nonce: u64, now: Instant) -> bool {
        self.sent.iter().any(|(sent, at)| *sent == nonce && now < *at + RECENT)
    }

    /// Forgets what was not heard for long; says whether there was such.
    fn expire(&mut self, now: Instant) -> bool {
        let mut has_changed = false;
        self.partners.retain(|_, partner| {
            if partner.heard.is_some_and(|heard| now >= heard + EVIDENCE) {
                partner.heard = None;
                has_changed = true;
            }
            partner.heard.is_some() || partner.told.is_some()
        });
        has_changed
    }
}
