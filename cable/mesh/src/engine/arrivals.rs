//! Records that have come and are still to be looked at.
//!
//! A signature costs as much as relaying a hundred frames, and a whole mesh may have news at once. So
//! only a few are checked in a turn, and frames have theirs between.

use std::collections::VecDeque;
use std::time::Instant;

use super::{LinkId, Mesh};
use crate::authority::Authority;
use crate::record::Record;

/// Signatures that are checked in one turn, 60 µs each, and with a page of stations twice as much.
const TURN_CHECKS: u64 = 4;

/// Records that wait. With more, the oldest are checked at once: then the control streams wait, and in
/// the end whoever sends so many.
const MAX_WAITING: usize = 4096;

#[derive(Debug, Clone, Default)]
pub(super) struct Arrivals(VecDeque<(LinkId, Record)>);

impl Arrivals {
    /// A cable has ended; what it brought was not taken in, and others will tell it again.
    pub(super) fn forget(&mut self, id: LinkId) {
        self.0.retain(|(from, _)| *from != id);
    }
}

impl<A: Authority> Mesh<A> {
    pub(super) fn records_arrived(&mut self, id: LinkId, records: Vec<Record>, now: Instant) {
        let was_empty = self.arrivals.0.is_empty();
        self.arrivals.0.extend(records.into_iter().map(|record| (id, record)));
        if was_empty {
            self.check_arrivals(now);
        }
        while self.arrivals.0.len() > MAX_WAITING
            && let Some((id, record)) = self.arrivals.0.pop_front()
        {
            self.handle_record(id, record, now);
        }
    }

    /// Whether something waits for a turn.
    pub(super) fn has_unchecked(&self) -> bool {
        !self.arrivals.0.is_empty() || self.loops.has_unchecked()
    }

    /// Checks what waits, as far as it goes in one turn.
    pub(super) fn check_what_waits(&mut self, now: Instant) {
        self.check_arrivals(now);
        self.check_probes(now);
    }

    fn check_arrivals(&mut self, now: Instant) {
        let most = self.counters.verified + TURN_CHECKS;
        while self.counters.verified < most
            && let Some((id, record)) = self.arrivals.0.pop_front()
        {
            self.handle_record(id, record, now);
        }
    }
}
