//! A token bucket: so many at once, so many in the long run.

use std::time::{Duration, Instant};

/// Starts full.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    burst: u32,
    /// In which one token comes back.
    interval: Duration,
    tokens: u32,
    /// Up to when tokens were given back.
    counted: Instant,
}

impl Budget {
    pub(super) fn new(burst: u32, interval: Duration, now: Instant) -> Self {
        Self { burst, interval, tokens: burst, counted: now }
    }

    /// Takes a token if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let taken = self.tokens > 0;
        if taken {
            self.tokens -= 1;
        }
        taken
    }

    /// Whether none is left.
    pub(super) fn is_spent(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.tokens == 0
    }

    /// Whether all are there: nothing was taken of late.
    pub(super) fn is_full(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.tokens == self.burst
    }

    /// When there is one.
    pub(super) fn ready_at(&mut self, now: Instant) -> Instant {
        if self.is_spent(now) { self.counted + self.interval } else { now }
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.counted);
        let due = passed.as_nanos() / self.interval.as_nanos().max(1);
        match u32::try_from(due) {
            Ok(due) if due < self.burst => {
                self.tokens = (self.tokens + due).min(self.burst);
                self.counted += self.interval * due;
            }
            _ => {
                self.tokens = self.burst;
                self.counted = now;
            }
        }
    }
}
