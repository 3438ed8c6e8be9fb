//! Time as the bridge counts it: one word, so that comparing two times costs one instruction.

use std::time::{Duration, Instant};

/// Nanoseconds since the first time that the bridge was told. They last for 584 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Nanos(pub(crate) u64);

impl Nanos {
    #[inline]
    pub(crate) const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A length of time in nanoseconds; what is longer than they reach is as long as they reach.
#[inline]
pub(crate) fn nanos(duration: Duration) -> u64 {
    let whole = duration.as_secs().saturating_mul(1_000_000_000);
    whole.saturating_add(u64::from(duration.subsec_nanos()))
}

/// Turns what callers say of the time into [`Nanos`] that never run backwards: lists in the order
/// of time need a time that has one.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    origin: Option<Instant>,
    latest: Nanos,
}

impl Clock {
    #[inline]
    pub(crate) fn advance(&mut self, now: Instant) -> Nanos {
        let origin = *self.origin.get_or_insert(now);
        self.latest = self.latest.max(Nanos(nanos(now.saturating_duration_since(origin))));
        self.latest
    }

    /// What [`advance`](Self::advance) would say.
    pub(crate) fn peek(&self, now: Instant) -> Nanos {
        let elapsed = |origin| nanos(now.saturating_duration_since(origin));
        self.latest.max(Nanos(self.origin.map_or(0, elapsed)))
    }

    pub(crate) fn instant(&self, time: Nanos) -> Option<Instant> {
        self.origin?.checked_add(Duration::from_nanos(time.0))
    }
}
