//! CoDel: when a queue has been too long for too long, and what to drop then (RFC 8289).

use std::time::Duration;

/// The state of RFC 8289 5, in nanoseconds.
#[derive(Debug)]
pub(crate) struct CoDel {
    target: u64,
    interval: u64,
    /// When the wait was first above the target, plus the interval; `None` while it is below.
    first_above: Option<u64>,
    dropping: bool,
    drop_next: u64,
    count: u32,
    last_count: u32,
}

/// What to do with a frame that is about to leave the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sentence {
    Send,
    Drop,
}

/// A queue with no more than this is never too long: one full frame (RFC 8289 5.4, maxpacket).
const ALWAYS_GOOD: u64 = 1514;

impl CoDel {
    pub(crate) fn new(target: Duration, interval: Duration) -> Self {
        Self {
            target: nanos(target),
            interval: nanos(interval).max(1),
            first_above: None,
            dropping: false,
            drop_next: 0,
            count: 0,
            last_count: 0,
        }
    }

    /// Judges the frame at the head of the queue, which waited for `sojourn`; `behind` octets are
    /// left when it is gone. To be asked again for the next one when this one is dropped.
    pub(crate) fn judge(&mut self, sojourn: u64, behind: u64, now: u64) -> Sentence {
        let too_long = self.too_long(sojourn, behind, now);
        if self.dropping {
            if !too_long {
                self.dropping = false;
            } else if now >= self.drop_next {
                self.count += 1;
                self.drop_next = self.control_law(self.drop_next);
                return Sentence::Drop;
            }
            return Sentence::Send;
        }
        if too_long {
            self.dropping = true;
            // Soon after the last time, it begins at the rate that had been found necessary.
            let delta = self.count - self.last_count;
            let recently = now.saturating_sub(self.drop_next) < 16 * self.interval;
            self.count = if delta > 1 && recently { delta } else { 1 };
            self.last_count = self.count;
            self.drop_next = self.control_law(now);
            return Sentence::Drop;
        }
        Sentence::Send
    }

    /// To be told when the queue is empty.
    pub(crate) const fn idle(&mut self) {
        self.first_above = None;
        self.dropping = false;
    }

    const fn too_long(&mut self, sojourn: u64, behind: u64, now: u64) -> bool {
        if sojourn < self.target || behind <= ALWAYS_GOOD {
            self.first_above = None;
            return false;
        }
        match self.first_above {
            None => {
                self.first_above = Some(now + self.interval);
                false
            }
            Some(first_above) => now >= first_above,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "an interval in nanoseconds is far below 2^53")]
    fn control_law(&self, from: u64) -> u64 {
        from + crate::units::whole(self.interval as f64 / libm::sqrt(f64::from(self.count)))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn codel() -> CoDel {
        CoDel::new(Duration::from_millis(5), Duration::from_millis(100))
    }

    #[test]
    fn short_waits_and_short_bursts_are_let_be() {
        let mut codel = codel();
        for now in 0..1000 {
            assert_eq!(codel.judge(4 * MS, 100_000, now * MS), Sentence::Send);
        }
        // Above for less than an interval, then below.
        for now in 1000..1090 {
            assert_eq!(codel.judge(50 * MS, 100_000, now * MS), Sentence::Send);
        }
        assert_eq!(codel.judge(MS, 100_000, 1091 * MS), Sentence::Send);
        assert_eq!(codel.judge(50 * MS, 100_000, 1101 * MS), Sentence::Send);
    }

    #[test]
    fn drops_come_closer_together_as_the_square_root_says() {
        let mut codel = codel();
        let drops: Vec<u64> = (0..1000)
            .filter(|now| codel.judge(50 * MS, 100_000, now * MS) == Sentence::Drop)
            .collect();
        assert_eq!(drops[0], 100);
        let expected: Vec<f64> = [1.0f64, 2.0, 3.0, 4.0].map(|n| 100.0 / n.sqrt()).to_vec();
        for (pair, expected) in drops.windows(2).zip(expected) {
            assert!(((pair[1] - pair[0]) as f64 - expected).abs() <= 1.0, "{drops:?}");
        }
    }

    #[test]
    fn a_queue_of_one_frame_is_never_too_long() {
        let mut codel = codel();
        assert!((0..1000).all(|now| codel.judge(50 * MS, 1000, now * MS) == Sentence::Send));
    }
}
