//! What a direction did since its settings were last changed: measured where frames leave it, by the
//! clock, so that the node's own lateness is in it. Pure.

use std::time::{Duration, Instant};

use emulator::{Counters, DropReason};

/// How finely delays are told apart below [`FINE`] microseconds: to the microsecond; above, to one
/// part in 128.
const FINE: u64 = 256;
const PARTS: u64 = FINE / 2;

/// Up to 2^37 µs, 38 hours: longer than any delay that can be asked for.
const OCTAVES: u64 = 37 - 8;

/// How long octets are counted for a rate.
const WINDOW: Duration = Duration::from_secs(1);

/// Counts of delays by their size.
#[derive(Debug, Clone)]
struct Histogram {
    counts: Box<[u32]>,
    total: u64,
}

/// See the [module](self).
#[derive(Debug, Clone)]
pub(super) struct Measured {
    since: Instant,
    /// What the emulator had counted before.
    base: Counters,
    /// Frames for which there was no memory.
    pub(super) refused: u64,
    delays: Histogram,
    octets: u64,
    /// The sum of delays, in seconds.
    sum: f64,
    last: Option<f64>,
    /// In seconds.
    jitter: f64,
    window: Option<Window>,
    rate: f64,
    peak: f64,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    start: Instant,
    latest: Instant,
    octets: u64,
}

/// All that was measured.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Achieved {
    pub(super) seconds: f64,
    pub(super) received: u64,
    pub(super) delivered: u64,
    pub(super) delivered_octets: u64,
    pub(super) loss_percent: Option<f64>,
    pub(super) copies: u64,
    pub(super) damaged: u64,
    pub(super) reordered: u64,
    pub(super) drops: Vec<(DropReason, u64)>,
    /// In milliseconds, as the following ones.
    pub(super) delay_p50: Option<f64>,
    pub(super) delay_p99: Option<f64>,
    pub(super) delay_mean: Option<f64>,
    pub(super) jitter: Option<f64>,
    /// Bits a second.
    pub(super) rate: f64,
    /// The highest rate of a second.
    pub(super) peak_rate: f64,
}

impl Histogram {
    fn new() -> Self {
        let len = usize::try_from(FINE + OCTAVES * PARTS).expect("some thousands");
        Self { counts: vec![0; len].into(), total: 0 }
    }

    fn add(&mut self, micros: u64) {
        let index = usize::try_from(place(micros)).unwrap_or(usize::MAX);
        let count = &mut self.counts[index.min(self.counts.len() - 1)];
        *count = count.saturating_add(1);
        self.total += 1;
    }

    /// The delay in microseconds that so large a share of all do not exceed.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank needs no more than 53 bits and is not negative"
    )]
    fn quantile(&self, share: f64) -> Option<f64> {
        let rank = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut below = 0;
        let at = self.counts.iter().position(|count| {
            below += u64::from(*count);
            below >= rank
        })?;
        Some(middle(at as u64))
    }
}

/// Where a delay is counted.
fn place(micros: u64) -> u64 {
    if micros < FINE {
        return micros;
    }
    // So far that PARTS to 2 PARTS remain.
    let shift = u64::from(micros.ilog2() - PARTS.ilog2());
    FINE + (shift - 1) * PARTS + ((micros >> shift) - PARTS)
}

/// The middle of the delays that are counted in one place.
#[expect(clippy::cast_precision_loss, reason = "below 2^38")]
fn middle(place: u64) -> f64 {
    if place < FINE {
        return place as f64 + 0.5;
    }
    let (shift, part) = ((place - FINE) / PARTS + 1, (place - FINE) % PARTS);
    ((PARTS + part) << shift) as f64 + (1_u64 << shift) as f64 / 2.0
}

impl Measured {
    pub(super) fn new(base: Counters, now: Instant) -> Self {
        Self {
            since: now,
            base,
            refused: 0,
            delays: Histogram::new(),
            octets: 0,
            sum: 0.0,
            last: None,
            jitter: 0.0,
            window: None,
            rate: 0.0,
            peak: 0.0,
        }
    }

    /// A frame leaves that came at `arrived`.
    pub(super) fn deliver(&mut self, arrived: Instant, octets: usize, now: Instant) {
        let delay = now.saturating_duration_since(arrived);
        self.delays.add(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX));
        let delay = delay.as_secs_f64();
        self.sum += delay;
        if let Some(last) = self.last {
            // RFC 3550 6.4.1, for frames instead of RTP's packets.
            self.jitter += ((delay - last).abs() - self.jitter) / 16.0;
        }
        self.last = Some(delay);
        let octets = octets as u64;
        self.octets += octets;
        match &mut self.window {
            Some(window) if now.saturating_duration_since(window.start) < WINDOW => {
                window.octets += octets;
                window.latest = now;
            }
            window => {
                if let Some(rate) = window.and_then(|window| window.rate(now)) {
                    self.rate = rate;
                    self.peak = self.peak.max(rate);
                }
                // The frame that opens a window was sent before it.
                *window = Some(Window { start: now, latest: now, octets: 0 });
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "statistics need no more than 53 bits")]
    pub(super) fn achieved(&self, counters: &Counters, now: Instant) -> Achieved {
        let base = &self.base;
        let lost = counters.lost - base.lost;
        let received = counters.received - base.received;
        let judged = received - (counters.too_long - base.too_long);
        let drop = |reason| {
            let count = counters.dropped(reason) - base.dropped(reason);
            let refused = if reason == DropReason::Memory { self.refused } else { 0 };
            (reason, count + refused)
        };
        let drops = DropReason::ALL.map(drop).into_iter().filter(|(_, count)| *count > 0);
        let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        let some = self.delays.total > 0;
        Achieved {
            seconds: now.saturating_duration_since(self.since).as_secs_f64(),
            received: received + self.refused,
            delivered: self.delays.total,
            delivered_octets: self.octets,
            loss_percent: share(lost, judged).map(|share| share * 100.0),
            copies: counters.copies - base.copies,
            damaged: counters.corrupted + counters.noisy - base.corrupted - base.noisy,
            reordered: counters.reordered - base.reordered,
            drops: drops.collect(),
            delay_p50: self.delays.quantile(0.5).map(|micros| micros / 1e3),
            delay_p99: self.delays.quantile(0.99).map(|micros| micros / 1e3),
            delay_mean: some.then(|| self.sum * 1e3 / self.delays.total as f64),
            jitter: some.then_some(self.jitter * 1e3),
            rate: self.rate_at(now),
            peak_rate: self.peak.max(self.rate_at(now)),
        }
    }

    /// The rate of the last second, or of the one under way when it is nearly over.
    fn rate_at(&self, now: Instant) -> f64 {
        let Some(window) = &self.window else {
            return 0.0;
        };
        if now.saturating_duration_since(window.latest) > 2 * WINDOW {
            return 0.0;
        }
        let long = now.saturating_duration_since(window.start) >= WINDOW;
        if long || self.rate <= 0.0 {
            window.rate(window.latest).unwrap_or(self.rate)
        } else {
            self.rate
        }
    }
}

impl Window {
    /// Bits a second until `now`; nothing of less than half a second.
    #[expect(clippy::cast_precision_loss, reason = "statistics need no more than 53 bits")]
    fn rate(&self, now: Instant) -> Option<f64> {
        let time = now.saturating_duration_since(self.start);
        (time >= WINDOW / 2).then(|| self.octets as f64 * 8.0 / time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "fake time counts from a real instant")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_delay_is_told_to_less_than_half_a_percent() {
        for micros in [0, 1, 255, 256, 257, 511, 512, 10_000, 10_040, 1_000_000, 86_400_000_000] {
            let shown = middle(place(micros));
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let error = (shown - micros as f64).abs();
            assert!(error <= (shown * 0.004).max(0.5), "{micros}: {shown}");
        }
        let places: Vec<_> = (0..100_000).map(place).collect();
        assert!(places.is_sorted());
    }

    #[test]
    fn half_of_all_delays_are_not_above_the_median() {
        let start = start();
        let mut measured = Measured::new(Counters::default(), start);
        for millis in 1..=100 {
            measured.deliver(start, 100, start + Duration::from_millis(millis));
        }
        let achieved = measured.achieved(&Counters::default(), start);
        let near =
            |value: Option<f64>, wanted: f64| (value.unwrap() - wanted).abs() < wanted / 200.0;
        assert!(near(achieved.delay_p50, 50.0), "{achieved:?}");
        assert!(near(achieved.delay_p99, 99.0), "{achieved:?}");
        assert!(near(achieved.delay_mean, 50.5), "{achieved:?}");
        // Each is a millisecond longer than the one before.
        assert!((achieved.jitter.unwrap() - 1.0).abs() < 0.01, "{achieved:?}");
    }

    #[test]
    fn the_rate_is_that_of_the_last_second() {
        let start = start();
        let mut measured = Measured::new(Counters::default(), start);
        // 1250 octets every millisecond: 10 Mbit/s.
        for millis in 0..3500 {
            measured.deliver(start, 1250, start + Duration::from_millis(millis));
        }
        let now = start + Duration::from_millis(3500);
        let achieved = measured.achieved(&Counters::default(), now);
        assert!((achieved.rate - 1e7).abs() < 2e4, "{achieved:?}");
        assert!((achieved.peak_rate - 1e7).abs() < 2e4, "{achieved:?}");
        let later = measured.achieved(&Counters::default(), now + Duration::from_secs(9));
        assert!(later.rate == 0.0 && later.peak_rate > 9e6, "{later:?}");
    }

    #[test]
    fn only_what_happened_since_then_counts() {
        let start = start();
        let base = Counters { received: 100, lost: 50, ..Counters::default() };
        let measured = Measured::new(base, start);
        let counters = Counters { received: 200, lost: 51, queue_full: 2, ..base };
        let achieved = measured.achieved(&counters, start);
        assert_eq!(achieved.received, 100);
        assert_eq!(achieved.loss_percent, Some(1.0));
        assert_eq!(achieved.drops, [(DropReason::Lost, 1), (DropReason::QueueFull, 2)]);
    }
}
