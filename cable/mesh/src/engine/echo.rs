//! Echoes: how long it takes to a node and back, the way that frames go.
//!
//! Owns the requests that wait for an answer, and the answers to those of others. Nothing is said
//! twice: what is lost on the way is what is to be seen.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::{Mesh, NextHop};
use crate::authority::{Authority, NodeKey};
use crate::nick::Nick;
use crate::packet::{ECHO_LEN, Echo, EchoKind, MAX_PACKET_LEN};
use crate::random::Random;

/// Requests that wait for an answer at once: more than people type.
const MAX_WAITING: usize = 256;

/// The number of an echo of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EchoId(u64);

/// No echo was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EchoError {
    /// No way leads to that node.
    #[error("no way leads there")]
    Unreachable,
    /// Too short for its fields, or longer than the longest frame.
    #[error("an echo is from {ECHO_LEN} to {MAX_PACKET_LEN} octets long")]
    Length,
    /// There are as many as there may be.
    #[error("{MAX_WAITING} echoes are waited for already")]
    TooMany,
}

/// What became of an echo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EchoOutcome {
    /// It was answered.
    Answered {
        /// After so long.
        round_trip: Duration,
        /// Cables that the request crossed.
        there: u8,
        /// Cables that the answer crossed.
        back: u8,
    },
    /// It was not, for as long as was to be waited.
    Lost,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    id: EchoId,
    node: NodeKey,
    sent: Instant,
    until: Instant,
}

#[derive(Debug, Clone)]
pub(super) struct Echoes {
    random: Random,
    turn: u32,
    count: u64,
    /// By token.
    waiting: BTreeMap<u64, Waiting>,
    outcomes: VecDeque<(EchoId, EchoOutcome)>,
}

impl Echoes {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            turn: 0,
            count: 0,
            waiting: BTreeMap::new(),
            outcomes: VecDeque::new(),
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.waiting.values().map(|waiting| waiting.until).min()
    }

    pub(super) fn expire(&mut self, now: Instant) {
        let lost = self.waiting.extract_if(.., |_, waiting| now >= waiting.until);
        self.outcomes.extend(lost.map(|(_, waiting)| (waiting.id, EchoOutcome::Lost)));
    }
}

impl<A: Authority> Mesh<A> {
    /// Sends an echo request of so many octets to a node, this one included, and waits for its
    /// answer for as long. What comes of it is [polled](Self::poll_echo).
    ///
    /// # Errors
    /// [`EchoError`]; nothing was sent.
    pub fn send_echo(
        &mut self,
        to: &NodeKey,
        len: usize,
        patience: Duration,
        now: Instant,
    ) -> Result<EchoId, EchoError> {
        let now = self.advance(now);
        if !(ECHO_LEN..=MAX_PACKET_LEN).contains(&len) {
            return Err(EchoError::Length);
        }
        if self.echoes.waiting.len() + self.echoes.outcomes.len() >= MAX_WAITING {
            return Err(EchoError::TooMany);
        }
        let node = self.database.by_key(to).ok_or(EchoError::Unreachable)?;
        let egress = node.state.nick;
        let echoes = &mut self.echoes;
        let id = EchoId(echoes.count);
        let (turn, token) = (echoes.turn, echoes.random.next_u64());
        let waiting = Waiting { id, node: *to, sent: now, until: now + patience };
        if *to == self.config.key {
            let (round_trip, there, back) = (Duration::ZERO, 0, 0);
            echoes.outcomes.push_back((id, EchoOutcome::Answered { round_trip, there, back }));
        } else {
            let way = self.forwarding.next_hop(egress, None, turn);
            let NextHop::Link(_) = way else { return Err(EchoError::Unreachable) };
            let hops = self.forwarding.initial_hops(egress);
            let kind = EchoKind::Request;
            echoes.waiting.insert(token, waiting);
            let request = Echo { kind, hops, crossed: 0, turn, token, len };
            self.packets.push(egress, hops, request.encode());
        }
        self.echoes.count += 1;
        self.echoes.turn = turn.wrapping_add(1);
        Ok(id)
    }

    /// Answers a request, or takes note of an answer; `false` when nobody wanted it.
    pub(super) fn handle_echo(
        &mut self,
        ingress: Nick,
        hops: u8,
        echo: Echo,
        now: Instant,
    ) -> bool {
        // The last cable counts no hop down.
        let crossed = echo.hops.saturating_sub(hops).saturating_add(1);
        match echo.kind {
            EchoKind::Request => {
                let hops = self.forwarding.initial_hops(ingress);
                let answer = Echo { kind: EchoKind::Answer, hops, crossed, ..echo };
                self.packets.push(ingress, hops, answer.encode())
            }
            EchoKind::Answer => {
                let from = self.echoes.waiting.get(&echo.token).map(|waiting| waiting.node);
                let node = from.and_then(|key| self.database.by_key(&key));
                let waiting = node
                    .filter(|node| node.state.nick == ingress)
                    .and_then(|_| self.echoes.waiting.remove(&echo.token));
                let Some(waiting) = waiting else { return false };
                let outcome = EchoOutcome::Answered {
                    round_trip: now.saturating_duration_since(waiting.sent),
                    there: echo.crossed,
                    back: crossed,
                };
                self.echoes.outcomes.push_back((waiting.id, outcome));
                true
            }
        }
    }

    /// What became of the next echo of which something has become.
    pub fn poll_echo(&mut self) -> Option<(EchoId, EchoOutcome)> {
        self.echoes.outcomes.pop_front()
    }
}
