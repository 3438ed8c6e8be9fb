//! One cable of this node: who is at the other end, what it costs, and what it is still to be told.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::budget::Budget;
use super::liveness::Liveness;
use super::{Config, LinkId, Neighbour};
use crate::authority::NodeKey;
use crate::message::{Cable, Message};
use crate::record::{MAX_COST, Slot};

/// One step of cost.
const COST_STEP: Duration = Duration::from_micros(100);

/// What each cable costs beside its round trip: a node on the way takes time, too.
const HOP_COST: u32 = 2;

/// A new cost is told when it differs by a quarter and half a millisecond, and no sooner than this
/// after the one before, so that jitter moves no traffic.
const COST_HOLD: Duration = Duration::from_secs(10);
const COST_STEPS: u32 = 5;

/// Forged records in a row that are worth a look at their signature, and in which time one more is.
/// An honest neighbour passes none on.
const FORGED_BURST: u32 = 16;
const FORGED_INTERVAL: Duration = Duration::from_secs(1);

/// Nodes not heard of before, of which a cable may tell: a whole mesh at once, and then some.
const NEWCOMER_BURST: u32 = 2048;
const NEWCOMER_INTERVAL: Duration = Duration::from_millis(10);

/// Digests that are looked at in a row, and in the long run: each may ask for all that is known. A mesh of
/// 1024 nodes needs two or three of them, twice, when a cable comes up; who compares more often has not
/// read the answers.
const DIGEST_BURST: u32 = 16;
const DIGEST_INTERVAL: Duration = Duration::from_secs(1);

/// How long two digests differ before the nodes compare what they know: longer than news takes.
const MISMATCH: Duration = Duration::from_secs(3);

/// At which intervals they do while it does not help.
const FIRST_RECONCILE: Duration = Duration::from_secs(10);
const LAST_RECONCILE: Duration = Duration::from_secs(600);

/// Where a digest that is to be sent goes on, and whether the other end shall answer with its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct DigestCursor {
    pub(super) next: NodeKey,
    pub(super) answer: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) neighbour: Neighbour,
    /// Its bit in the words of [`super::forwarding`].
    pub(super) bit: u8,
    /// What this end calls the cable, and what the other end does.
    pub(super) number: u32,
    pub(super) peer_number: Option<u32>,
    pub(super) live: Liveness,
    cost: Option<u32>,
    cost_since: Instant,
    /// The other end is to be told [`Self::number`].
    pub(super) cable_due: bool,
    pub(super) digest_due: Option<DigestCursor>,
    /// Nodes of which the other end is to be told the slots.
    pub(super) slots_due: BTreeSet<NodeKey>,
    /// Records that the other end is to get; link states come first. What is replaced meanwhile is
    /// sent once, as it is then.
    pub(super) pending: BTreeSet<(Slot, NodeKey)>,
    /// Nodes to which the other end leads, and whose [rivals](super::database::Node::rival) they are
    /// to get.
    pub(super) rivals_due: BTreeSet<NodeKey>,
    /// The shell has no room for more messages.
    pub(super) is_blocked: bool,
    pub(super) forged: Budget,
    pub(super) newcomers: Budget,
    pub(super) digests: Budget,
    mismatch_since: Option<Instant>,
    reconcile_at: Instant,
    reconcile_interval: Duration,
}

impl Link {
    pub(super) fn new(
        id: LinkId,
        neighbour: Neighbour,
        bit: u8,
        (number, sequence): (u32, u32),
        config: &Config,
        now: Instant,
    ) -> Self {
        Self {
            id,
            neighbour,
            bit,
            number,
            peer_number: None,
            live: Liveness::new(config.beat_interval, config.missed_beats, sequence, now),
            cost: None,
            cost_since: now,
            cable_due: true,
            digest_due: None,
            slots_due: BTreeSet::new(),
            pending: BTreeSet::new(),
            rivals_due: BTreeSet::new(),
            is_blocked: false,
            forged: Budget::new(FORGED_BURST, FORGED_INTERVAL, now),
            newcomers: Budget::new(NEWCOMER_BURST, NEWCOMER_INTERVAL, now),
            digests: Budget::new(DIGEST_BURST, DIGEST_INTERVAL, now),
            mismatch_since: None,
            reconcile_at: now,
            reconcile_interval: FIRST_RECONCILE,
        }
    }

    pub(super) fn mask(&self) -> u64 {
        1 << self.bit
    }

    /// Whether records and frames go this way.
    pub(super) fn is_up(&self) -> bool {
        self.peer_number.is_some() && self.live.is_alive()
    }

    /// What this end says it costs.
    pub(super) fn cost(&self) -> u32 {
        self.cost.unwrap_or(MAX_COST)
    }

    /// Follows the round trip of the path without its queues; says whether the cost has changed.
    pub(super) fn update_cost(&mut self, now: Instant) -> bool {
        let Some(round_trip) = self.live.shortest_round_trip() else {
            return false;
        };
        let steps = round_trip.as_nanos() / COST_STEP.as_nanos();
        let cost = u32::try_from(steps).unwrap_or(MAX_COST).saturating_add(HOP_COST).min(MAX_COST);
        let changed = match self.cost {
            None => true,
            Some(told) => {
                let differs = told.abs_diff(cost) >= (told / 4).max(COST_STEPS);
                differs && now.saturating_duration_since(self.cost_since) >= COST_HOLD
            }
        };
        if changed {
            self.cost = Some(cost);
            self.cost_since = now;
        }
        changed
    }

    /// Both ends are to compare what they know, from the lowest key on.
    pub(super) fn reconcile(&mut self) {
        self.digest_due = Some(DigestCursor { next: NodeKey::MIN, answer: true });
    }

    /// Begins to carry news.
    pub(super) fn open(&mut self) {
        self.pending.clear();
        self.rivals_due.clear();
        self.slots_due.clear();
        self.reconcile();
    }

    /// Compares what the other end's beat says with what this node knows.
    pub(super) fn compare_digests(&mut self, agree: bool, now: Instant) {
        if agree {
            self.mismatch_since = None;
            self.reconcile_interval = FIRST_RECONCILE;
            return;
        }
        let since = *self.mismatch_since.get_or_insert(now);
        if now >= since + MISMATCH && now >= self.reconcile_at {
            self.mismatch_since = None;
            self.reconcile_at = now + self.reconcile_interval;
            self.reconcile_interval = (self.reconcile_interval * 2).min(LAST_RECONCILE);
            self.reconcile();
        }
    }

    /// The number of this cable, if the other end has not been told.
    pub(super) fn poll_cable(&mut self) -> Option<Message> {
        std::mem::take(&mut self.cable_due).then_some(Message::Cable(Cable { number: self.number }))
    }
}
