//! How much may be under way on a path that is no LAN: as much as it delivers in a round trip, and a
//! little more.
//!
//! The stations inside have controllers of their own, which decide what their losses mean. The cable's
//! must only see to it that what exceeds the path's rate waits in the cable's queue, where each flow
//! has its turn, and not in the path's, where all wait behind it. So it measures, in the manner of BBR
//! (draft-ietf-ccwg-bbr), at which rate the path delivers and how long its round trip takes when
//! nobody queues, and allows the product.
//!
//! Differs from BBR in that it is a window only: no phase in which more is sent than is delivered.
//! What the window has above the product shows whether the path has become faster.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::tolerance::Tolerance;

/// What may stand in the path's queue, as a share of the round trip, and its bounds. It is by how
/// much the rate may grow in a round trip.
const SLACK: f64 = 0.08;
const LEAST_SLACK: Duration = Duration::from_millis(3);
const MOST_SLACK: Duration = Duration::from_millis(20);

/// Acknowledgements come in bunches, the larger the busier the hosts; what a bunch holds is allowed
/// beside the rest, for no more time than this.
const MOST_BUNCHED: Duration = Duration::from_millis(15);

/// Round trips for which the highest rate counts.
const RATE_MEMORY: u32 = 10;

/// The least time for which it counts, and over which it is measured: the clocks of two busy hosts
/// are no better.
const LEAST_MEMORY: Duration = Duration::from_millis(500);
const LEAST_SAMPLE: Duration = Duration::from_millis(20);

/// How long the shortest round trip counts. Then the window shrinks for two of them, so that the
/// queue that it may have left in the path is gone when it is measured anew. So it does when all
/// packets of a round trip queue: what is left when ours are gone is other people's, or the path has
/// become longer, and who still believed in the old round trip would give way to them until nothing
/// is left.
const ROUND_TRIP_MEMORY: Duration = Duration::from_secs(10);
const DRAINING_SHARE: f64 = 0.9;
const DRAINING_PAUSE: Duration = Duration::from_secs(1);

/// The path is as fast as it gets when three round trips did not make it faster by a quarter.
const STARTING_GROWTH: f64 = 1.25;
const STARTING_PATIENCE: u32 = 3;

/// All packets of a round trip queue when none of them took less than the path's own by a quarter and
/// by this.
const LEAST_QUEUE: Duration = Duration::from_millis(10);

/// What a path that loses too much is given of what it delivers, and what it gets back of that in
/// each round trip.
const FULL_SHARE: f64 = 0.85;
const LEAST_SHARE: f64 = 0.6;
const SHARE_STEP: f64 = 0.01;

/// Samples that are kept of a falling series.
const SAMPLES: usize = 64;

/// Packets that may always be under way.
const LEAST_PACKETS: u64 = 4;

/// A model of the path.
#[derive(Debug, Clone)]
pub(super) struct Model {
    mtu: u64,
    initial_window: u64,
    window: u64,
    delivered: u64,
    /// Octets acknowledged since the last batch of acknowledgements was done.
    batch: u64,
    /// The last batch's shortest time from sending to acknowledgement.
    batch_round_trip: Option<Duration>,
    /// When how much had been delivered.
    deliveries: VecDeque<(Instant, u64)>,
    rate: Highest,
    last_rate: f64,
    round_trip: Option<Duration>,
    bunched: Bunched,
    tolerance: Tolerance,
    /// When there was last too little to send to tell the path's rate.
    idle_at: Option<Instant>,
    starting: Option<Starting>,
    /// Of what the path delivers.
    share: f64,
    round: Round,
    draining: Option<Draining>,
    drained_at: Option<Instant>,
    /// What was sent before this has been judged.
    full_at: Option<Instant>,
}

/// The window is small, so that the path's own round trip can be seen.
#[derive(Debug, Clone, Copy)]
struct Draining {
    began: Instant,
    window: u64,
    /// The shortest round trip of what was sent since, and when to be content with it.
    least: Option<(Duration, Instant)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Starting {
    rate: f64,
    rounds_without_growth: u32,
}

/// How a batch of acknowledgements came about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    pub(super) now: Instant,
    /// Whether there was nothing more to send.
    pub(super) is_idle: bool,
}

impl Model {
    pub(super) fn new(initial_window: u64, mtu: u16) -> Self {
        Self {
            mtu: mtu.into(),
            initial_window,
            window: initial_window,
            delivered: 0,
            batch: 0,
            batch_round_trip: None,
            deliveries: VecDeque::new(),
            rate: Highest::default(),
            last_rate: 0.0,
            round_trip: None,
            bunched: Bunched::default(),
            tolerance: Tolerance::default(),
            idle_at: None,
            starting: Some(Starting::default()),
            share: 1.0,
            round: Round::default(),
            draining: None,
            drained_at: None,
            full_at: None,
        }
    }

    pub(super) fn window(&self) -> u64 {
        self.window.max(self.least_window())
    }

    pub(super) fn initial_window(&self) -> u64 {
        self.initial_window
    }

    pub(super) fn set_mtu(&mut self, mtu: u16) {
        self.mtu = mtu.into();
    }

    fn least_window(&self) -> u64 {
        LEAST_PACKETS * self.mtu
    }

    /// Takes note of a packet that has arrived.
    pub(super) fn handle_ack(&mut self, now: Instant, sent: Instant, octets: u64) {
        self.batch += octets;
        self.tolerance.handle_ack(octets);
        let took = now.saturating_duration_since(sent);
        self.batch_round_trip = Some(self.batch_round_trip.map_or(took, |least| least.min(took)));
    }

    /// All packets of one acknowledgement were told.
    pub(super) fn handle_batch(&mut self, Batch { now, is_idle }: Batch) {
        let octets = std::mem::take(&mut self.batch);
        let Some(took) = self.batch_round_trip.take() else { return };
        self.delivered += octets;
        if is_idle {
            self.idle_at = Some(now);
        }
        self.round_trip = Some(self.round_trip.map_or(took, |least| least.min(took)));
        self.drain(now, took, is_idle);
        self.measure_rate(now);
        let memory = self.memory();
        let rate = self.rate.get();
        if self.starting.is_none() {
            self.bunched.handle_batch(octets, rate, now, memory);
        }
        self.round.least = Some(self.round.least.map_or(took, |least| least.min(took)));
        self.round.is_idle |= is_idle;
        if self.round.ends.is_none_or(|ends| now >= ends) {
            self.handle_round(now, took);
            self.round = Round { ends: Some(now + took), least: None, is_idle: false };
        }
        if self.starting.is_some() {
            if !is_idle {
                self.window += octets;
            }
        } else {
            self.window = self.target();
        }
    }

    /// Takes note of lost packets, the last of which left at `sent`.
    pub(super) fn handle_loss(
        &mut self,
        now: Instant,
        sent: Instant,
        octets: u64,
        is_everything: bool,
    ) {
        if is_everything {
            // Nothing gets through, or nothing did for a while: what was measured is of another path.
            let delivered = self.delivered;
            *self = Self { delivered, ..Self::new(self.initial_window, self.mtu()) };
            self.window = self.least_window();
            return;
        }
        // What had left before the last answer to a loss says nothing about the answer.
        let is_old = self.full_at.is_some_and(|full_at| sent <= full_at);
        if is_old || !self.tolerance.handle_loss(octets) {
            return;
        }
        self.tolerance = Tolerance::default();
        self.full_at = Some(now);
        self.share = (self.share * FULL_SHARE).max(LEAST_SHARE);
        self.rate.set(self.last_rate, now);
        self.starting = None;
        self.window = if self.last_rate > 0.0 { self.target() } else { self.window / 2 };
    }

    fn mtu(&self) -> u16 {
        u16::try_from(self.mtu).unwrap_or(u16::MAX)
    }

    /// That of the path when nobody queues, as far as is known.
    fn round_trip(&self) -> Duration {
        self.round_trip.unwrap_or_default()
    }

    /// Follows the phase in which the path's own round trip is measured anew, and begins it when it is
    /// due.
    fn drain(&mut self, now: Instant, took: Duration, is_idle: bool) {
        if let Some(draining) = &mut self.draining {
            // What was sent before may have queued behind what we had in the path.
            if now.saturating_duration_since(draining.began) >= took {
                let (least, until) = draining.least.unwrap_or((took, now + took));
                let least = least.min(took);
                draining.least = Some((least, until));
                if now >= until {
                    self.round_trip = Some(least);
                    self.draining = None;
                    self.drained_at = Some(now);
                }
            }
            return;
        }
        let drained_at = *self.drained_at.get_or_insert(now);
        let is_old = now.saturating_duration_since(drained_at) >= ROUND_TRIP_MEMORY;
        if is_old && !is_idle {
            self.begin_to_drain(now, self.rate.get());
        }
    }

    fn begin_to_drain(&mut self, now: Instant, rate: f64) {
        if self.starting.is_none() && self.draining.is_none() {
            let product = rate * self.round_trip().as_secs_f64();
            let window = octets(product * DRAINING_SHARE);
            self.draining = Some(Draining { began: now, window, least: None });
        }
    }

    /// How long the highest rate counts.
    fn memory(&self) -> Duration {
        (self.round_trip() * RATE_MEMORY).max(LEAST_MEMORY)
    }

    /// Over two round trips, for what makes one uneven.
    fn measure_rate(&mut self, now: Instant) {
        let span = (2 * self.round_trip()).max(LEAST_SAMPLE);
        // A long round trip with many acknowledgements needs no more points than a short one.
        if self
            .deliveries
            .back()
            .is_none_or(|&(at, _)| now.saturating_duration_since(at) >= span / 64)
        {
            self.deliveries.push_back((now, self.delivered));
        }
        let age = |&(at, _): &(Instant, u64)| now.saturating_duration_since(at);
        while self.deliveries.get(1).is_some_and(|second| age(second) >= span) {
            self.deliveries.pop_front();
        }
        let Some((first, before)) =
            self.deliveries.front().filter(|first| age(first) >= span).copied()
        else {
            return;
        };
        let elapsed = now.saturating_duration_since(first);
        let rate = octets_per_second(self.delivered - before, elapsed);
        self.last_rate = rate;
        // What had pauses between, or was held back here, says nothing against the path.
        let had_pauses = self.idle_at.is_some_and(|idle_at| idle_at >= first);
        if !(had_pauses || self.share < 1.0) || rate >= self.rate.get() {
            self.rate.handle_sample(rate, now, self.memory());
        }
    }

    /// A round trip is over.
    fn handle_round(&mut self, now: Instant, took: Duration) {
        self.bunched.begin(now);
        let base = self.round_trip();
        let least = self.round.least.unwrap_or(took);
        let queues = !self.round.is_idle && least > base + (base / 4).max(LEAST_QUEUE);
        let has_paused =
            self.drained_at.is_some_and(|at| now.saturating_duration_since(at) >= DRAINING_PAUSE);
        if queues && has_paused {
            // It may have become slower, too.
            self.begin_to_drain(now, self.last_rate);
        }
        self.share = (self.share + SHARE_STEP).min(1.0);
        let rate = self.rate.get();
        let Some(starting) = &mut self.starting else { return };
        if self.round.is_idle || rate == 0.0 {
            return;
        }
        if rate >= starting.rate * STARTING_GROWTH {
            *starting = Starting { rate, rounds_without_growth: 0 };
        } else {
            starting.rounds_without_growth += 1;
        }
        if queues || starting.rounds_without_growth >= STARTING_PATIENCE {
            self.starting = None;
        }
    }

    fn target(&self) -> u64 {
        let rate = self.rate.get();
        let base = self.round_trip();
        let product = rate * base.as_secs_f64() * self.share;
        if let Some(draining) = &self.draining {
            return draining.window;
        }
        if self.share < 1.0 {
            return octets(product);
        }
        let slack = base.mul_f64(SLACK).clamp(LEAST_SLACK, MOST_SLACK);
        let bunched = self.bunched.get().min(rate * MOST_BUNCHED.as_secs_f64());
        octets(product + bunched.max(rate * slack.as_secs_f64()))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
fn octets_per_second(octets: u64, elapsed: Duration) -> f64 {
    octets as f64 / elapsed.as_secs_f64().max(1e-6)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and is positive"
)]
fn octets(octets: f64) -> u64 {
    octets as u64
}

/// The round trip that is under way.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    ends: Option<Instant>,
    least: Option<Duration>,
    is_idle: bool,
}

/// The highest of the samples of a while.
#[derive(Debug, Clone, Default)]
struct Highest {
    /// The highest, the highest since, and so on to the last.
    samples: VecDeque<(Instant, f64)>,
}

impl Highest {
    fn get(&self) -> f64 {
        self.samples.front().map_or(0.0, |&(_, value)| value)
    }

    fn handle_sample(&mut self, value: f64, now: Instant, memory: Duration) {
        while self.samples.back().is_some_and(|&(_, last)| last <= value) {
            self.samples.pop_back();
        }
        // The first of a falling series stands for those that come at the same time.
        if self.samples.len() < SAMPLES {
            self.samples.push_back((now, value));
        }
        while self.samples.len() > 1
            && self
                .samples
                .front()
                .is_some_and(|&(at, _)| now.saturating_duration_since(at) > memory)
        {
            self.samples.pop_front();
        }
    }

    fn set(&mut self, value: f64, now: Instant) {
        self.samples.clear();
        self.samples.push_back((now, value));
    }
}

/// How many more octets than the rate lets expect are acknowledged at once.
#[derive(Debug, Clone, Default)]
struct Bunched {
    began: Option<Instant>,
    octets: u64,
    most: Highest,
}

impl Bunched {
    fn get(&self) -> f64 {
        self.most.get()
    }

    /// Counts anew: the rate may have changed.
    fn begin(&mut self, now: Instant) {
        (self.began, self.octets) = (Some(now), 0);
    }

    #[expect(clippy::cast_precision_loss, reason = "an estimate needs no more digits")]
    fn handle_batch(&mut self, octets: u64, rate: f64, now: Instant, memory: Duration) {
        let began = *self.began.get_or_insert(now);
        let expected = rate * now.saturating_duration_since(began).as_secs_f64();
        if self.octets as f64 <= expected {
            (self.began, self.octets) = (Some(now), octets);
            return;
        }
        self.octets += octets;
        self.most.handle_sample(self.octets as f64 - expected, now, memory);
    }
}

#[cfg(test)]
mod tests;
