//! What the log says of single leases: each of a few, and how many more of a crowd.
//!
//! Machines decide how often something happens to their leases, and must not fill a disk by it.

use std::time::{Duration, Instant};

/// So many lines in so long a time; the rest is counted.
const LINES: u32 = 20;
const SPAN: Duration = Duration::from_secs(60);

/// Says which lines are written.
#[derive(Debug, Default)]
pub(super) struct Chronicle {
    /// When the first line of the present span was written.
    since: Option<Instant>,
    lines: u32,
    left_out: u32,
}

impl Chronicle {
    /// Whether there is room for a line.
    pub(super) fn admits(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) >= SPAN && self.left_out == 0 {
            *self = Self { since: Some(now), ..Self::default() };
        }
        let is_admitted = self.lines < LINES;
        if is_admitted {
            self.lines += 1;
        } else {
            self.left_out += 1;
        }
        is_admitted
    }

    /// How many lines were left out, when it is time to say so.
    pub(super) fn poll_left_out(&mut self, now: Instant) -> Option<u32> {
        let since = self.since?;
        let is_over = now.saturating_duration_since(since) >= SPAN;
        (is_over && self.left_out > 0).then(|| std::mem::take(self).left_out)
    }

    /// When to ask for that.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.since.filter(|_| self.left_out > 0).map(|since| since + SPAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver;

    #[test]
    fn a_crowd_is_a_few_lines_and_a_number() {
        let start = driver::now();
        let mut chronicle = Chronicle::default();
        let admitted = (0..1000).filter(|_| chronicle.admits(start)).count();
        assert_eq!(admitted, 20);
        assert_eq!(chronicle.poll_left_out(start + SPAN / 2), None);
        assert_eq!(chronicle.poll_timeout(), Some(start + SPAN));
        assert_eq!(chronicle.poll_left_out(start + SPAN), Some(980));
        assert_eq!(
            (chronicle.poll_timeout(), chronicle.poll_left_out(start + SPAN * 2)),
            (None, None)
        );
        assert!(chronicle.admits(start + SPAN), "the next minute has lines of its own");
    }

    #[test]
    fn what_happens_now_and_then_is_always_written() {
        let start = driver::now();
        let mut chronicle = Chronicle::default();
        for number in 0..100 {
            assert!(chronicle.admits(start + SPAN / 10 * number), "{number}");
        }
        assert_eq!(chronicle.poll_timeout(), None);
    }
}
