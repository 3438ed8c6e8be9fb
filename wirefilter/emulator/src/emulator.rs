//! One direction of a link. Order of effects: the table in the crate's documentation.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::bottleneck::{Bottleneck, Carry, Item};
use crate::chance::ChancePlan;
use crate::counters::{Counters, DropReason};
use crate::frame::Frame;
use crate::line::{DelayLine, OnWay};
use crate::loss::{LossPlan, LossState};
use crate::noise::{BitNoise, corrupt};
use crate::random::{Correlated, Effect, Seed, Stream};
use crate::settings::{Order, Settings, limit};
use crate::spread::Draw;
use crate::units::{Quantity as _, whole};

/// The most memory that frames may take in one direction, in octets, each with
/// [`FRAME_OVERHEAD`]: 2^31, which is 1.3 million full frames. A frame beyond is dropped.
pub const MAX_WAITING: u64 = 1 << 31;

/// What a frame takes beside its own octets: at most 128 octets, when the memory has just grown.
pub const FRAME_OVERHEAD: u64 = 128;

/// The most copies of one frame. At 99 % duplication one in 20 000 frames would have more.
pub const MAX_COPIES: u32 = 1000;

/// How much earlier than its turn a frame may be handed in: as a network card's ring would, so
/// that a sender who wakes up a little late still keeps the interface busy all the time.
pub const READY_AHEAD: Duration = Duration::from_micros(500);

const READY_AHEAD_NANOS: u64 = 500_000;

/// What became of a frame that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is on its way, this many times. What the bottleneck drops later is only counted.
    Accepted {
        /// From 1.
        copies: u32,
    },
    /// It, and every copy, is gone.
    Dropped(DropReason),
}

/// One direction of a link: frames go in, and come out later, damaged, twice or not at all.
///
/// What happens depends on the settings, the seed, the frames and the instants of
/// [`Self::handle_frame`] and [`Self::set`] alone, not on when deliveries are polled.
#[derive(Debug)]
pub struct Emulator<F> {
    settings: Settings,
    plan: Plan,
    streams: Streams,
    /// Instants inside are nanoseconds from here.
    origin: Instant,
    /// The latest instant that was heard of.
    now: u64,
    loss: LossState,
    /// Before this the interface is busy.
    interface_free: u64,
    /// Frames in the interface, with the instant at which each has left it.
    interface: VecDeque<(u64, Item<F>)>,
    bottleneck: Bottleneck<F>,
    delay: Correlated,
    line: DelayLine<F>,
    /// Frames whose time has come but that nobody took yet. They are not in the link any more.
    ready: VecDeque<OnWay<F>>,
    ready_octets: u64,
    waiting: Waiting,
    newest_delivered: u64,
    last_was_lost: bool,
    counters: Counters,
}

/// How much is in the link. What nobody took in time is not in it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waiting {
    /// Frames and copies.
    pub frames: u64,
    /// Their octets.
    pub octets: u64,
}

/// What is asked of a direction and what it did.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// What is asked now.
    pub settings: Settings,
    /// What was done since the beginning.
    pub counters: Counters,
    /// What is in the link.
    pub waiting: Waiting,
}

/// Settings made ready.
#[derive(Debug)]
struct Plan {
    mtu: u64,
    loss: LossPlan,
    duplication: ChancePlan,
    capacity: Option<Draw>,
    speed: Option<(Draw, Carry)>,
    delay: Draw,
    delay_correlation: f64,
    reorder: ChancePlan,
    corruption: ChancePlan,
    noise: BitNoise,
    order: Order,
}

#[derive(Debug)]
struct Streams {
    loss: Stream,
    duplication: Stream,
    capacity: Stream,
    speed: Stream,
    bandwidth: Stream,
    delay: Stream,
    reorder: Stream,
    corruption: Stream,
    noise: Stream,
}

impl Streams {
    fn new(seed: Seed) -> Self {
        Self {
            loss: seed.stream(Effect::Loss),
            duplication: seed.stream(Effect::Duplication),
            capacity: seed.stream(Effect::Capacity),
            speed: seed.stream(Effect::Speed),
            bandwidth: seed.stream(Effect::Bandwidth),
            delay: seed.stream(Effect::Delay),
            reorder: seed.stream(Effect::Reorder),
            corruption: seed.stream(Effect::Corruption),
            noise: seed.stream(Effect::Noise),
        }
    }
}

impl Plan {
    fn new(settings: &Settings) -> Self {
        Self {
            mtu: settings.mtu.map_or(u64::MAX, |mtu| mtu.count()),
            loss: LossPlan::new(settings),
            duplication: ChancePlan::new(&settings.duplication),
            capacity: capacity(settings),
            speed: speed(settings),
            delay: settings.delay.plan(),
            delay_correlation: settings.delay_correlation.probability(),
            reorder: ChancePlan::new(&settings.reorder),
            corruption: ChancePlan::new(&settings.corruption),
            noise: BitNoise::new(settings.noise.plan()),
            order: settings.order,
        }
    }

    /// Takes over what changed. The rest keeps what it remembers of the frames before.
    fn update(&mut self, old: &Settings, new: &Settings) {
        let fresh = Self::new(new);
        if (&old.loss, &old.burst, old.loss_states) != (&new.loss, &new.burst, new.loss_states) {
            self.loss = fresh.loss;
        }
        if old.duplication != new.duplication {
            self.duplication = fresh.duplication;
        }
        if old.speed != new.speed {
            self.speed = fresh.speed;
        }
        if old.reorder != new.reorder {
            self.reorder = fresh.reorder;
        }
        if old.corruption != new.corruption {
            self.corruption = fresh.corruption;
        }
        if old.noise != new.noise {
            self.noise = fresh.noise;
        }
        self.mtu = fresh.mtu;
        self.capacity = fresh.capacity;
        self.delay = fresh.delay;
        self.delay_correlation = fresh.delay_correlation;
        self.order = fresh.order;
    }
}

fn capacity(settings: &Settings) -> Option<Draw> {
    let capacity = settings.capacity.as_ref()?;
    (capacity.centre.number() > 0.0).then(|| capacity.plan())
}

fn speed(settings: &Settings) -> Option<(Draw, Carry)> {
    Some((limit(settings.speed.as_ref())?.plan(), Carry::default()))
}

impl<F: Frame> Emulator<F> {
    /// An empty link. `now` is where a [`Trace`](crate::Trace) begins.
    pub fn new(settings: Settings, seed: Seed, now: Instant) -> Self {
        Self {
            plan: Plan::new(&settings),
            streams: Streams::new(seed),
            origin: now,
            now: 0,
            loss: LossState::new(),
            interface_free: 0,
            interface: VecDeque::new(),
            bottleneck: Bottleneck::new(&settings, 0),
            delay: Correlated::new(),
            line: DelayLine::new(),
            ready: VecDeque::new(),
            ready_octets: 0,
            waiting: Waiting::default(),
            newest_delivered: 0,
            last_was_lost: false,
            counters: Counters::default(),
            settings,
        }
    }

    /// Takes a frame that comes in at `now`.
    pub fn handle_frame(&mut self, frame: F, now: Instant) -> Verdict {
        let now = self.advance(now);
        while let Some((entry, octets)) = self.arrive(now) {
            self.ready_octets += octets;
            self.ready.push_back(entry);
        }
        let octets = frame.octet_count() as u64;
        self.counters.received += 1;
        self.counters.received_octets += octets;
        if octets > self.plan.mtu {
            return self.dropped(DropReason::TooLong);
        }
        let lost = self.loss.next(&mut self.plan.loss, &mut self.streams.loss);
        self.counters.loss_runs += u64::from(lost && !self.last_was_lost);
        self.last_was_lost = lost;
        if lost {
            return self.dropped(DropReason::Lost);
        }
        let mut extra = 0;
        while extra < MAX_COPIES && self.plan.duplication.happens(&mut self.streams.duplication) {
            extra += 1;
        }
        self.counters.copies += u64::from(extra);

        let mut copies = 0;
        let mut refused = None;
        for _ in 0..extra {
            match self.admit(Item { frame: frame.clone(), octets, arrived: now }, now) {
                Ok(()) => copies += 1,
                Err(reason) => refused = Some(reason),
            }
        }
        match self.admit(Item { frame, octets, arrived: now }, now) {
            Ok(()) => copies += 1,
            Err(reason) => refused = Some(reason),
        }
        match (copies, refused) {
            (0, Some(reason)) => Verdict::Dropped(reason),
            (copies, _) => Verdict::Accepted { copies },
        }
    }

    /// Takes the next frame whose time has come, in the order of delivery.
    pub fn poll_delivery(&mut self, now: Instant) -> Option<F> {
        let now = self.advance(now);
        let (entry, octets) = if let Some(entry) = self.ready.pop_front() {
            let octets = entry.frame.octet_count() as u64;
            self.ready_octets -= octets;
            (entry, octets)
        } else {
            self.arrive(now)?
        };
        self.counters.delivered += 1;
        self.counters.delivered_octets += octets;
        self.counters.reordered += u64::from(entry.sequence < self.newest_delivered);
        self.newest_delivered = self.newest_delivered.max(entry.sequence);
        self.counters.delay.add(entry.due - entry.arrived);
        self.counters.lateness.add(now - entry.due);
        Some(entry.frame)
    }

    /// When to call [`Self::poll_delivery`] again: not after the next delivery, and seldom before.
    /// `None`: the link is empty.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if let Some(entry) = self.ready.front() {
            return Some(self.instant(entry.due));
        }
        let first = self.line.first().map(|entry| entry.due);
        // What is not in the delay line yet cannot be delivered before it is through and has had
        // the shortest delay; unless order is kept, in which case it comes after what is there.
        let ordered = self.plan.order == Order::Kept
            && matches!(self.plan.reorder, ChancePlan::Never)
            && first.is_some();
        let behind = if ordered { None } else { self.earliest_of_the_rest() };
        let next = first.into_iter().chain(behind).min()?;
        Some(self.instant(next))
    }

    /// When the sender may hand in its next frame, if [`Settings::speed`] limits it: up to
    /// [`READY_AHEAD`] before its turn. What comes earlier all the same waits for its turn in the
    /// link.
    pub fn ready_at(&self) -> Option<Instant> {
        let ready = self.interface_free.checked_sub(READY_AHEAD_NANOS)?;
        (ready > self.now).then(|| self.instant(ready))
    }

    /// Whether the sender is to wait; see [`Self::ready_at`].
    pub fn is_blocked(&self, now: Instant) -> bool {
        self.ready_at().is_some_and(|ready| ready > now)
    }

    /// Takes other settings from `now` on. Frames that are on their way keep the instants of their
    /// delivery; those that wait before the bottleneck go through it at the new rate.
    pub fn set(&mut self, settings: Settings, now: Instant) {
        let now = self.advance(now);
        let old = std::mem::replace(&mut self.settings, settings);
        self.plan.update(&old, &self.settings);
        self.bottleneck.set(&old, &self.settings, now, &mut self.streams.bandwidth);
        if old.speed != self.settings.speed {
            self.interface_free = now;
            for (_, item) in std::mem::take(&mut self.interface) {
                // A refusal is counted where it happens; the sender is gone.
                let _ = self.enter_bottleneck(item, now);
            }
        }
    }

    /// What is asked.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What was done, as far as [`Self::handle_frame`] and [`Self::poll_delivery`] were told the
    /// time.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How much is in the link.
    pub const fn waiting(&self) -> Waiting {
        self.waiting
    }

    /// A copy of all that an operator may want to know.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { settings: self.settings.clone(), counters: self.counters, waiting: self.waiting }
    }

    fn dropped(&mut self, reason: DropReason) -> Verdict {
        self.counters.drop(reason);
        Verdict::Dropped(reason)
    }

    /// Lets a frame or a copy into the link, if there is room.
    fn admit(&mut self, item: Item<F>, now: u64) -> Result<(), DropReason> {
        let after = self.waiting.octets + item.octets;
        let frames = self.waiting.frames + self.ready.len() as u64 + 1;
        let memory = after + self.ready_octets + frames * FRAME_OVERHEAD;
        let reason = if memory > MAX_WAITING {
            Some(DropReason::Memory)
        } else if let Some(capacity) = &self.plan.capacity
            && after > whole(capacity.draw(&mut self.streams.capacity))
        {
            Some(DropReason::Capacity)
        } else {
            None
        };
        if let Some(reason) = reason {
            self.counters.drop(reason);
            return Err(reason);
        }
        self.waiting.frames += 1;
        self.waiting.octets = after;
        let Some((rate, carry)) = &mut self.plan.speed else {
            return self.enter_bottleneck(item, now);
        };
        #[expect(clippy::cast_precision_loss, reason = "a frame is far below 2^53 octets")]
        let time = carry.time(item.octets as f64, rate, &mut self.streams.speed);
        self.interface_free = self.interface_free.max(now).saturating_add(time);
        self.interface.push_back((self.interface_free, item));
        Ok(())
    }

    fn enter_bottleneck(&mut self, item: Item<F>, now: u64) -> Result<(), DropReason> {
        if self.bottleneck.is_open() {
            self.enter_line(item, now);
            return Ok(());
        }
        let pushed = self.bottleneck.push(item, now, &mut self.streams.bandwidth);
        pushed.map_err(|(item, reason)| {
            self.leave(item.octets);
            self.counters.drop(reason);
            reason
        })
    }

    fn enter_line(&mut self, mut item: Item<F>, now: u64) {
        if self.plan.corruption.happens(&mut self.streams.corruption) {
            corrupt(&mut item.frame, &mut self.streams.corruption);
            self.counters.corrupted += 1;
        }
        let flipped = self.plan.noise.damage(&mut item.frame, &mut self.streams.noise);
        self.counters.noisy += u64::from(flipped > 0);
        self.counters.flipped_bits += flipped;

        let Item { frame, arrived, .. } = item;
        if self.plan.reorder.happens(&mut self.streams.reorder) {
            self.counters.hurried += 1;
            self.line.push(frame, arrived, now);
            return;
        }
        let delay = if self.plan.delay_correlation > 0.0 {
            let z = self.delay.normal(self.plan.delay_correlation, &mut self.streams.delay);
            self.plan.delay.at(z)
        } else {
            self.plan.delay.draw(&mut self.streams.delay)
        };
        let due = now.saturating_add(whole(delay));
        match self.plan.order {
            Order::Kept => self.line.push_in_order(frame, arrived, due),
            Order::Free => self.line.push(frame, arrived, due),
        }
    }

    /// Takes a frame out of the link whose time has come.
    fn arrive(&mut self, now: u64) -> Option<(OnWay<F>, u64)> {
        let entry = self.line.pop(now)?;
        let octets = entry.frame.octet_count() as u64;
        self.leave(octets);
        Some((entry, octets))
    }

    const fn leave(&mut self, octets: u64) {
        self.waiting.frames -= 1;
        self.waiting.octets -= octets;
    }

    /// Does all that happens until `now`, each at its own instant. Returns `now` in nanoseconds.
    fn advance(&mut self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.origin);
        let now = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX).max(self.now);
        self.now = now;
        loop {
            let interface = self.interface.front().map_or(u64::MAX, |(end, _)| *end);
            let through = self.bottleneck.finish().unwrap_or(u64::MAX);
            // At the same instant one leaves before another comes.
            if through <= interface {
                if through > now || through == u64::MAX {
                    break;
                }
                let (counters, waiting) = (&mut self.counters, &mut self.waiting);
                let item = self.bottleneck.pop(&mut self.streams.bandwidth, |item| {
                    counters.drop(DropReason::Waited);
                    waiting.frames -= 1;
                    waiting.octets -= item.octets;
                });
                self.enter_line(item.expect("it has a finish"), through);
            } else {
                if interface > now {
                    break;
                }
                let (_, item) = self.interface.pop_front().expect("it has a front");
                let _ = self.enter_bottleneck(item, interface);
            }
        }
        now
    }

    /// The earliest instant at which a frame can be delivered that is not in the delay line yet.
    fn earliest_of_the_rest(&self) -> Option<u64> {
        let interface = self.interface.front().map(|(end, _)| *end);
        let next = self.bottleneck.finish().into_iter().chain(interface).min()?;
        let hurried = !matches!(self.plan.reorder, ChancePlan::Never);
        let minimum = if hurried { 0 } else { whole(self.plan.delay.minimum()) };
        Some(next.saturating_add(minimum))
    }

    fn instant(&self, nanoseconds: u64) -> Instant {
        // Beyond what the system can express nobody waits anyway.
        let far = Duration::from_secs(86_400 * 365);
        self.origin + Duration::from_nanos(nanoseconds).min(far)
    }
}

#[cfg(test)]
mod tests;
