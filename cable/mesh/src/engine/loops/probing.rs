//! Probes: those that are sent, and what becomes of those that come in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::MAX_PARTNERS;
use super::{FAST, Partner, RECENT_PROBES};
use crate::authority::Authority;
use crate::engine::{Mesh, PortId};
use crate::probe::Probe;

const SLOW: Duration = Duration::from_secs(2);

/// Probes of others that are checked in one turn, at some 60 µs: frames wait meanwhile. When more come,
/// so many wait for a turn; the rest come again.
const TURN_CHECKS: u32 = 4;
const MAX_UNCHECKED: usize = 64;

/// Probes of others that are known when they come again.
const KNOWN_PROBES: usize = 64;

/// What is to be done with a frame that is a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeVerdict {
    /// Nothing more.
    Taken,
    /// Relay it as any other frame: nodes out of reach look for a loop that leads through here.
    Relay,
}

/// Probes that came in and wait for their signature to be checked.
#[derive(Debug, Clone, Default)]
pub(super) struct Unchecked {
    waiting: VecDeque<(PortId, Vec<u8>)>,
    /// How many were checked in this turn.
    checked: u32,
}

impl Unchecked {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl<A: Authority> Mesh<A> {
    /// Takes in a frame for which [`Probe::is_probe`] holds, and says what becomes of it.
    pub fn handle_probe(&mut self, id: PortId, frame: &[u8], now: Instant) -> ProbeVerdict {
        let now = self.advance(now);
        let Some(probe) = Probe::parse(frame) else { return ProbeVerdict::Taken };
        if self.is_strange(&probe) {
            if probe.group < self.routing.group {
                return ProbeVerdict::Relay;
            }
            self.counters.probes_ignored += 1;
        } else {
            self.handle_own_probe(id, probe, frame, now);
        }
        ProbeVerdict::Taken
    }

    /// Whether a probe was sent by a node that cannot be reached: without a way through the mesh its
    /// port and that where it came in are no loop. The path outside is the only one.
    fn is_strange(&self, probe: &Probe) -> bool {
        !self.database.by_key(&probe.sender).is_some_and(|node| node.is_reachable())
    }

    /// A probe of this mesh has come in: it is checked, now or in a later turn.
    fn handle_own_probe(&mut self, id: PortId, probe: Probe, frame: &[u8], now: Instant) {
        let is_own = probe.sender == self.config.key;
        let port = self.loops.ports.get(&PortId(probe.port)).filter(|_| is_own);
        if is_own && !port.is_some_and(|port| port.has_sent(probe.nonce, now)) {
            self.counters.probes_ignored += 1;
        } else if self.loops.unchecked.checked < TURN_CHECKS {
            self.check_probe(id, probe, frame, now);
        } else if self.loops.unchecked.waiting.len() < MAX_UNCHECKED {
            self.loops.unchecked.waiting.push_back((id, frame.to_vec()));
        } else {
            self.counters.probes_ignored += 1;
        }
    }

    /// Checks the probes that wait, as far as it goes in one turn.
    pub(in crate::engine) fn check_probes(&mut self, now: Instant) {
        self.loops.unchecked.checked = 0;
        while self.loops.unchecked.checked < TURN_CHECKS
            && let Some((id, frame)) = self.loops.unchecked.waiting.pop_front()
        {
            if let Some(probe) = Probe::parse(&frame) {
                self.check_probe(id, probe, &frame, now);
            }
        }
    }

    fn check_probe(&mut self, id: PortId, probe: Probe, frame: &[u8], now: Instant) {
        let end = (probe.sender, probe.port);
        let Some(port) = self.loops.ports.get_mut(&id) else { return };
        let known = port.partners.get(&end);
        // One that is played back says nothing new.
        let is_stale = port.known.contains(&probe.nonce);
        let has_room = known.is_some() || port.partners.len() < MAX_PARTNERS;
        if is_stale || !has_room || !port.heard.take(now) {
            self.counters.probes_ignored += 1;
            return;
        }
        self.loops.unchecked.checked += 1;
        if !probe.is_authentic(frame, &self.authority) {
            self.counters.probes_ignored += 1;
            return;
        }
        if port.known.len() == KNOWN_PROBES {
            port.known.pop_front();
        }
        port.known.push_back(probe.nonce);
        let told = known.and_then(|partner| partner.told);
        let partner = Partner {
            class: probe.class,
            name: probe.name,
            heard: Some(now),
            told,
            nonce: probe.nonce,
        };
        port.partners.insert(end, partner);
        self.loops_changed(now);
    }

    pub(super) fn send_probe(&mut self, id: PortId, now: Instant) {
        let nonce = self.loops.random.next_u64();
        let Some(port) = self.loops.ports.get_mut(&id) else { return };
        let was_fast = port.in_loop || port.fast_left > 0;
        port.fast_left = port.fast_left.saturating_sub(1);
        let is_fast = port.in_loop || port.fast_left > 0;
        // Ports that began together go on apart.
        let pause = match (was_fast, is_fast) {
            (_, true) => FAST,
            (true, false) => FAST + Duration::from_millis(self.loops.random.next_u64() % 1000),
            (false, false) => SLOW,
        };
        port.probe_at = now + pause;
        if port.sent.len() == RECENT_PROBES {
            port.sent.pop_front();
        }
        port.sent.push_back((nonce, now));
        let probe = Probe {
            sender: self.config.key,
            group: self.routing.group,
            port: id.0,
            class: port.class,
            nonce,
            name: port.name.clone(),
        };
        // A port whose probes are not taken gets no more of them.
        self.loops.probes.retain(|(port, _)| *port != id);
        self.loops.probes.push_back((id, probe.encode(&self.authority)));
    }
}
