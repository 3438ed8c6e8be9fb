//! When to dial again: 0.2 s after the first failure, doubling to 15 s, with jitter. Pure.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// The wait after the first failure: a restarted peer is back in about that time.
pub const FIRST: Duration = Duration::from_millis(200);

/// The longest wait: a peer that was away for a day is met again within it.
pub const LONGEST: Duration = Duration::from_secs(15);

/// A cable that stayed up this long starts again with the shortest wait when it breaks. One that
/// breaks sooner goes on doubling, so that two nodes that disagree do not dial in a frenzy.
pub const SETTLED: Duration = Duration::from_secs(5);

/// The waits between the attempts of one cable.
#[derive(Debug)]
pub struct Redial {
    next: Duration,
    random: SmallRng,
}

impl Redial {
    /// Waits from the shortest on. The seed should differ between cables and nodes, so that many
    /// that lost the same peer do not come back all at once.
    pub fn new(seed: u64) -> Self {
        Self { next: FIRST, random: SmallRng::seed_from_u64(seed) }
    }

    /// How long to wait now: three quarters to five quarters of the present step.
    pub fn handle_failure(&mut self) -> Duration {
        let wait = self.next.mul_f64(self.random.random_range(0.75..1.25));
        self.next = (self.next * 2).min(LONGEST);
        wait.min(LONGEST)
    }

    /// The cable broke after it was up for so long.
    pub fn handle_loss(&mut self, was_up: Duration) -> Duration {
        if was_up >= SETTLED {
            self.next = FIRST;
        }
        self.handle_failure()
    }

    /// Something changed that gives the next attempt a fair chance.
    pub fn reset(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_limit_and_never_exceed_it() {
        for seed in 0..100 {
            let mut redial = Redial::new(seed);
            let mut step = FIRST;
            for _ in 0..20 {
                let wait = redial.handle_failure();
                assert!(wait >= step.mul_f64(0.75) && wait <= step.mul_f64(1.25), "seed {seed}");
                assert!(wait <= LONGEST, "seed {seed}");
                step = (step * 2).min(LONGEST);
            }
        }
    }

    #[test]
    fn only_a_settled_cable_starts_over() {
        let mut redial = Redial::new(1);
        for _ in 0..10 {
            redial.handle_failure();
        }
        assert!(redial.handle_loss(SETTLED / 2) > FIRST * 10);
        assert!(redial.handle_loss(SETTLED) <= FIRST.mul_f64(1.25));
    }
}
