//! When a queue has been too long for too long: controlled delay (RFC 8289).

use std::time::{Duration, Instant};

/// How soon after the last drop a queue that gets long again is taken for the same trouble, in
/// intervals (RFC 8289 5.4).
const SAME_TROUBLE: u32 = 16;

/// What becomes of the frame at the head of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    Pass,
    Drop,
}

/// The state of one queue.
#[derive(Debug, Default)]
pub(super) struct CoDel {
    /// When the queue will have been long for a whole interval; none while it is short.
    long_at: Option<Instant>,
    dropping: Option<Dropping>,
    /// How often it dropped, and when it would next have, the last time.
    last: Option<(u32, Instant)>,
}

#[derive(Debug, Clone, Copy)]
struct Dropping {
    /// Drops since this began; more drops come the faster.
    count: u32,
    /// `count` when it began.
    began_with: u32,
    next: Instant,
}

impl CoDel {
    /// The queue has run empty.
    pub(super) fn handle_empty(&mut self) {
        self.long_at = None;
        self.stop();
    }

    /// Judges the frame that has just left the queue. `is_short`: it waited no longer than it may,
    /// or hardly anything is behind it.
    pub(super) fn judge(&mut self, is_short: bool, now: Instant, interval: Duration) -> Judgement {
        if is_short {
            self.long_at = None;
            self.stop();
            return Judgement::Pass;
        }
        let long_at = *self.long_at.get_or_insert(now + interval);
        match &mut self.dropping {
            Some(dropping) => {
                if now < dropping.next {
                    return Judgement::Pass;
                }
                dropping.count += 1;
                dropping.next += pause(interval, dropping.count);
            }
            None if now < long_at => return Judgement::Pass,
            None => {
                let count = match self.last {
                    Some((drops, next))
                        if now.saturating_duration_since(next) < interval * SAME_TROUBLE =>
                    {
                        drops.max(1)
                    }
                    _ => 1,
                };
                let next = now + pause(interval, count);
                self.dropping = Some(Dropping { count, began_with: count, next });
            }
        }
        Judgement::Drop
    }

    fn stop(&mut self) {
        if let Some(Dropping { count, began_with, next }) = self.dropping.take() {
            // What was needed beyond the start is what will be needed again.
            let needed = if count > began_with { count - began_with } else { 1 };
            self.last = Some((needed, next));
        }
    }
}

/// The time between drops shrinks with the root of their number, which lowers the rate of a
/// transport like TCP linearly.
fn pause(interval: Duration, count: u32) -> Duration {
    interval.div_f64(f64::from(count).sqrt())
}
