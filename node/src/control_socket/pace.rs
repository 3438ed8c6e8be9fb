//! Turns at a bounded pace, in the order in which they were asked for.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::driver::now;

/// So many turns a second, and some at once after a pause.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    /// How far in advance a turn may be had.
    tolerance: Duration,
    /// When every turn so far is paid for. Its lock is a queue: who waits, waits in it.
    paid_at: Mutex<Option<Instant>>,
}

impl Pace {
    pub(super) fn per_second(rate: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / rate;
        Self { interval, tolerance: interval * (burst - 1), paid_at: Mutex::default() }
    }

    /// Waits for a turn.
    pub(super) async fn turn(&self) {
        let mut paid_at = self.paid_at.lock().await;
        let early = |now: Instant| {
            let ahead = paid_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
            ahead.checked_sub(self.tolerance).filter(|early| !early.is_zero())
        };
        if let Some(early) = early(now()) {
            tokio::time::sleep(early).await;
        }
        let now = now();
        *paid_at = Some(paid_at.map_or(now, |at| at.max(now)) + self.interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_at_once_and_a_flood_at_its_pace() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let pace = Pace::per_second(100, 10);
            let start = now();
            for _ in 0..30 {
                pace.turn().await;
            }
            // Twenty beyond the burst, at ten milliseconds each; never earlier.
            assert!(now() - start >= Duration::from_millis(190), "{:?}", now() - start);
        });
    }
}
