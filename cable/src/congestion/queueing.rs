//! Whether packets wait in a queue on the path, and what the loss of some therefore means.
//!
//! Cubic takes every loss for a full queue, and fills every queue until there is one. In a cable
//! both hurt: stations inside have controllers of their own, which see the same losses, and a queue
//! on the path delays all of them, while the cable's own queue delays only the flow that fills it.
//! So the window stops growing when the round trip shows a queue, shrinks when that gets long, and
//! a loss without a queue is left to the stations inside. Where others fill the path's queue,
//! giving way would be of no use, and Cubic is left alone.

use std::time::{Duration, Instant};

/// A queue up to here is what makes full use of a path (RFC 8289 4.3 has the same target).
const TOLERATED: Duration = Duration::from_millis(5);

/// From here on the window shrinks.
const LONG: Duration = Duration::from_millis(10);

/// A window that shrank so often in vain did not cause the queue.
const IN_VAIN: u32 = 3;

/// For how long the queue is then taken for others'.
const OTHERS: Duration = Duration::from_secs(10);

/// Above this share of lost octets the path has no room, queue or not: it drops what exceeds a rate.
const MOST_LOST: f64 = 0.02;

/// Octets over which the share is taken, about; older ones count less and less.
const MEMORY: u64 = 4 << 20;

/// What the window should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Advice {
    /// What Cubic does.
    Follow,
    /// Stay as it is.
    Hold,
    /// Shrink, as if there had been a loss.
    Shrink,
}

/// What the acknowledgements of one path have shown.
#[derive(Debug, Clone, Default)]
pub(super) struct Queueing {
    delay: Duration,
    /// When the window last shrank, and the delay then.
    shrunk: Option<(Instant, Duration)>,
    in_vain: u32,
    others_until: Option<Instant>,
    acknowledged: u64,
    lost: u64,
}

impl Queueing {
    /// Takes note of an acknowledgement: the smoothed round trip and the shortest one so far.
    pub(super) fn handle_ack(
        &mut self,
        now: Instant,
        octets: u64,
        smoothed: Duration,
        shortest: Duration,
    ) -> Advice {
        self.acknowledged += octets;
        if self.acknowledged + self.lost > MEMORY {
            self.acknowledged /= 2;
            self.lost /= 2;
        }
        self.delay = smoothed.saturating_sub(shortest);
        if self.is_others(now) {
            return Advice::Follow;
        }
        if self.delay <= TOLERATED {
            self.in_vain = 0;
            return Advice::Follow;
        }
        if self.delay <= LONG {
            return Advice::Hold;
        }
        if let Some((at, delay)) = self.shrunk {
            // A smaller window shows after a round trip, and in the smoothed one after some more.
            if now.saturating_duration_since(at) < 4 * smoothed {
                return Advice::Hold;
            }
            self.in_vain = if self.delay < delay { 0 } else { self.in_vain + 1 };
            if self.in_vain >= IN_VAIN {
                self.in_vain = 0;
                self.shrunk = None;
                self.others_until = Some(now + OTHERS);
                return Advice::Follow;
            }
        }
        self.shrunk = Some((now, self.delay));
        Advice::Shrink
    }

    /// Takes note of a loss. Whether it means that the path is full.
    pub(super) fn handle_loss(&mut self, now: Instant, octets: u64) -> bool {
        self.lost += octets;
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
        let share = self.lost as f64 / (self.lost + self.acknowledged) as f64;
        self.is_others(now) || self.delay > TOLERATED || share > MOST_LOST
    }

    fn is_others(&self, now: Instant) -> bool {
        self.others_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_millis(50);

    #[expect(clippy::disallowed_methods, reason = "an arbitrary instant to start from")]
    fn start() -> Instant {
        Instant::now()
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_few_losses_without_a_queue_are_left_to_the_stations_inside() {
        let mut path = Queueing::default();
        let now = start();
        for _ in 0..1000 {
            assert_eq!(path.handle_ack(now, 14_000, BASE + ms(2), BASE), Advice::Follow);
            // 1 %.
            assert!(!path.handle_loss(now, 140));
        }
    }

    #[test]
    fn a_path_that_drops_what_exceeds_its_rate_is_full_also_without_a_queue() {
        let mut path = Queueing::default();
        let now = start();
        path.handle_ack(now, 100_000, BASE, BASE);
        assert!(path.handle_loss(now, 5000));
    }

    #[test]
    fn a_loss_with_a_queue_means_that_the_path_is_full() {
        let mut path = Queueing::default();
        let now = start();
        path.handle_ack(now, 10_000_000, BASE + ms(7), BASE);
        assert!(path.handle_loss(now, 1400));
    }

    #[test]
    fn a_window_that_fills_a_queue_stops_growing_and_shrinks_once_in_a_while() {
        let mut path = Queueing::default();
        let mut now = start();
        assert_eq!(path.handle_ack(now, 1400, BASE + ms(7), BASE), Advice::Hold);
        assert_eq!(path.handle_ack(now, 1400, BASE + ms(30), BASE), Advice::Shrink);
        now += ms(60);
        assert_eq!(path.handle_ack(now, 1400, BASE + ms(25), BASE), Advice::Hold);
        now += ms(300);
        assert_eq!(path.handle_ack(now, 1400, BASE + ms(15), BASE), Advice::Shrink);
        now += ms(300);
        assert_eq!(path.handle_ack(now, 1400, BASE + ms(4), BASE), Advice::Follow);
    }

    #[test]
    fn where_others_fill_the_queue_the_window_does_not_give_way_for_ever() {
        let mut path = Queueing::default();
        let mut now = start();
        let mut shrunk = 0;
        for _ in 0..100 {
            shrunk += u32::from(path.handle_ack(now, 1400, BASE + ms(80), BASE) == Advice::Shrink);
            now += ms(100);
        }
        assert!((1..=IN_VAIN).contains(&shrunk), "{shrunk} times");
        assert!(path.handle_loss(now, 1), "then a loss is Cubic's");
    }
}
