//! A number of events a second, with some in advance: the generic cell rate algorithm (ITU-T I.371),
//! which needs one moment for each that is limited.

use std::time::{Duration, Instant};

/// How much is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    interval: Duration,
    /// How far in advance.
    tolerance: Duration,
}

impl Limit {
    /// So many a second, and so many at once after a pause.
    pub(crate) const fn per_second(rate: u32, burst: u32) -> Self {
        let interval = Duration::from_nanos(1_000_000_000 / rate as u64);
        Self { interval, tolerance: interval.saturating_mul(burst - 1) }
    }
}

/// What one that is limited has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// When everything taken so far is paid for.
    paid_at: Option<Instant>,
}

impl Bucket {
    /// Takes one, if there is one.
    pub(crate) fn take(&mut self, limit: Limit, now: Instant) -> bool {
        let paid_at = self.paid_at.map_or(now, |at| at.max(now));
        if paid_at.saturating_duration_since(now) > limit.tolerance {
            return false;
        }
        self.paid_at = Some(paid_at + limit.interval);
        true
    }

    /// Takes so many, those too that are not there yet. Gives how long it is until they are.
    pub(crate) fn charge(&mut self, limit: Limit, count: u32, now: Instant) -> Duration {
        let from = self.paid_at.map_or(now, |at| at.max(now));
        let paid_at = from + limit.interval.saturating_mul(count);
        self.paid_at = Some(paid_at);
        let in_advance = limit.tolerance + limit.interval;
        paid_at.saturating_duration_since(now).saturating_sub(in_advance)
    }

    /// Whether it is as one from which nothing was ever taken.
    pub(crate) fn is_whole(&self, now: Instant) -> bool {
        self.paid_at.is_none_or(|at| at <= now)
    }
}
