//! Behind which ports of other nodes stations are, and since when they have been silent: asked when
//! somebody wants to know, as it would be old news in a record.
//!
//! Owns the questions that wait for an answer. What this node answers, its bridge knows.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use ether::{MacAddr, VlanId};

use super::Mesh;
use super::budget::Budget;
use crate::authority::{Authority, NodeKey};
use crate::nick::Nick;
use crate::packet::{SeenStation, Stations, StationsAsked};
use crate::random::Random;

/// Questions that wait for an answer at once: one to each of many nodes.
const MAX_WAITING: usize = 1024;

/// Questions of others that are answered at once, and in the long run: each costs a look at some
/// hundred stations.
const ANSWER_BURST: u32 = 64;
const ANSWER_INTERVAL: Duration = Duration::from_millis(10);

/// The same for each node that asks, so that one does not use up what is there for all. More nodes than
/// have a share of their own here at once, which are those that asked in the last second or so, share
/// what is there for all.
const ASKER_BURST: u32 = 32;
const ASKER_INTERVAL: Duration = Duration::from_millis(20);
const MAX_ASKERS: usize = 64;

/// The number of a question of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InquiryId(u64);

/// What another node wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inquiry {
    asker: Nick,
    turn: u32,
    token: u64,
    /// The first station of interest, in the order of VLAN and address.
    pub from: (VlanId, MacAddr),
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    id: InquiryId,
    node: NodeKey,
    until: Instant,
}

#[derive(Debug, Clone)]
pub(super) struct Inquiries {
    random: Random,
    count: u64,
    /// By token.
    waiting: BTreeMap<u64, Waiting>,
    answers: VecDeque<(InquiryId, Option<Stations>)>,
    asked: VecDeque<Inquiry>,
    budget: Budget,
    /// Those of nodes that have asked of late.
    askers: BTreeMap<Nick, Budget>,
}

impl Inquiries {
    pub(super) fn new(seed: u64, now: Instant) -> Self {
        Self {
            random: Random::new(seed),
            count: 0,
            waiting: BTreeMap::new(),
            answers: VecDeque::new(),
            asked: VecDeque::new(),
            budget: Budget::new(ANSWER_BURST, ANSWER_INTERVAL, now),
            askers: BTreeMap::new(),
        }
    }

    /// Whether a node may ask one more question now.
    fn admits(&mut self, asker: Nick, now: Instant) -> bool {
        if self.askers.len() >= MAX_ASKERS && !self.askers.contains_key(&asker) {
            self.askers.retain(|_, budget| !budget.is_full(now));
        }
        if self.askers.len() < MAX_ASKERS || self.askers.contains_key(&asker) {
            let own = Budget::new(ASKER_BURST, ASKER_INTERVAL, now);
            if !self.askers.entry(asker).or_insert(own).take(now) {
                return false;
            }
        }
        self.budget.take(now)
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.waiting.values().map(|waiting| waiting.until).min()
    }

    pub(super) fn expire(&mut self, now: Instant) {
        let lost = self.waiting.extract_if(.., |_, waiting| now >= waiting.until);
        self.answers.extend(lost.map(|(_, waiting)| (waiting.id, None)));
    }
}

impl<A: Authority> Mesh<A> {
    /// Asks another node for its stations from one on, and waits for its answer for as long. What
    /// comes of it is [polled](Self::poll_stations). `None`: no way leads there, or too much is asked
    /// for.
    pub fn ask_stations(
        &mut self,
        of: &NodeKey,
        from: (VlanId, MacAddr),
        patience: Duration,
        now: Instant,
    ) -> Option<InquiryId> {
        let now = self.advance(now);
        let egress = self.database.by_key(of).filter(|node| node.is_reachable())?.state.nick;
        let inquiries = &mut self.inquiries;
        if inquiries.waiting.len() + inquiries.answers.len() >= MAX_WAITING {
            return None;
        }
        let (id, token) = (InquiryId(inquiries.count), inquiries.random.next_u64());
        let turn = u32::try_from(inquiries.count & u64::from(u32::MAX)).expect("it is masked");
        let hops = self.forwarding.initial_hops(egress);
        let asked = StationsAsked { turn, token, from };
        if !self.packets.push(egress, hops, asked.encode()) {
            return None;
        }
        self.inquiries.count += 1;
        self.inquiries.waiting.insert(token, Waiting { id, node: *of, until: now + patience });
        Some(id)
    }

    /// What another node answered to the next question of which something has become; `None` in it
    /// when it did not.
    pub fn poll_stations(&mut self) -> Option<(InquiryId, Option<Stations>)> {
        self.inquiries.answers.pop_front()
    }

    /// The next question of another node, to be [answered](Self::answer_stations).
    pub fn poll_inquiry(&mut self) -> Option<Inquiry> {
        self.inquiries.asked.pop_front()
    }

    /// Answers another node's question with the stations from the one of interest on, in order;
    /// `more` when there are some behind the last one.
    pub fn answer_stations(&mut self, inquiry: Inquiry, stations: Vec<SeenStation>, more: bool) {
        let Inquiry { asker, turn, token, .. } = inquiry;
        let hops = self.forwarding.initial_hops(asker);
        let answer = Stations { turn, token, stations, more };
        self.packets.push(asker, hops, answer.encode());
    }

    /// Keeps a question for the shell; `false` when there are too many.
    pub(super) fn handle_stations_asked(
        &mut self,
        asker: Nick,
        asked: StationsAsked,
        now: Instant,
    ) -> bool {
        let StationsAsked { turn, token, from } = asked;
        let has_room = self.inquiries.asked.len() < ANSWER_BURST as usize;
        let is_taken = has_room && self.inquiries.admits(asker, now);
        if is_taken {
            self.inquiries.asked.push_back(Inquiry { asker, turn, token, from });
        }
        is_taken
    }

    /// Takes note of an answer; `false` when nobody wanted it.
    pub(super) fn handle_stations(&mut self, ingress: Nick, stations: Stations) -> bool {
        let token = stations.token;
        let from = self.inquiries.waiting.get(&token).map(|waiting| waiting.node);
        let node = from.and_then(|key| self.database.by_key(&key));
        if node.is_none_or(|node| node.state.nick != ingress) {
            return false;
        }
        if let Some(waiting) = self.inquiries.waiting.remove(&token) {
            self.inquiries.answers.push_back((waiting.id, Some(stations)));
        }
        true
    }
}
