//! The narrowest place of a link: one frame in transmission, a queue before it.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::codel::{CoDel, Sentence};
use crate::counters::DropReason;
use crate::random::Stream;
use crate::settings::{Discipline, Queue, Settings, limit};
use crate::spread::Draw;
use crate::trace::{Player, Trace};
use crate::units::whole;

/// A frame in the link, with what the counters need to know of it.
#[derive(Debug)]
pub(crate) struct Item<F> {
    pub(crate) frame: F,
    pub(crate) octets: u64,
    /// When it came into the link, in nanoseconds.
    pub(crate) arrived: u64,
}

/// How fast it goes.
#[derive(Debug)]
pub(crate) enum Server {
    Rate { rate: Draw, carry: Carry },
    Trace { trace: Arc<Trace>, player: Player },
}

/// The part of a nanosecond that the frames before took too little, so that a rate is kept exactly
/// over many frames.
#[derive(Debug, Default)]
pub(crate) struct Carry(f64);

/// A rate that was drawn below this share of its centre is taken for that: a rate near 0 would
/// stop the link for hours.
const SLOWEST: f64 = 0.01;

#[derive(Debug)]
struct InService<F> {
    item: Item<F>,
    started: u64,
    finish: u64,
    /// Less than the frame has, once it was measured anew.
    octets: f64,
}

/// The bottleneck and all who wait for it.
#[derive(Debug)]
pub(crate) struct Bottleneck<F> {
    server: Option<Server>,
    in_service: Option<InService<F>>,
    /// With the instant at which each began to wait.
    waiting: VecDeque<(u64, Item<F>)>,
    waiting_octets: u64,
    limits: Queue,
    codel: Option<CoDel>,
}

impl Carry {
    /// The time that `octets` take at `rate`.
    pub(crate) fn time(&mut self, octets: f64, rate: &Draw, stream: &mut Stream) -> u64 {
        let drawn = match rate.constant() {
            Some(rate) => rate,
            None => rate.draw(stream).max(rate.centre() * SLOWEST),
        };
        let exact = octets * 1e9 / drawn + self.0;
        let floor = libm::floor(exact);
        self.0 = exact - floor;
        whole(floor)
    }
}

impl Server {
    fn new(settings: &Settings, now: u64) -> Option<Self> {
        if let Some(trace) = &settings.trace {
            return Some(Self::Trace { trace: trace.clone(), player: Player::new(now) });
        }
        let rate = limit(settings.bandwidth.as_ref())?.plan();
        Some(Self::Rate { rate, carry: Carry::default() })
    }

    fn finish(&mut self, start: u64, octets: f64, stream: &mut Stream) -> u64 {
        match self {
            Self::Rate { rate, carry } => start.saturating_add(carry.time(octets, rate, stream)),
            Self::Trace { trace, player } => player.serve(trace, start, whole(octets)),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "frames and their times are far below 2^53")]
const fn float(number: u64) -> f64 {
    number as f64
}

impl<F> Bottleneck<F> {
    pub(crate) fn new(settings: &Settings, now: u64) -> Self {
        Self {
            server: Server::new(settings, now),
            in_service: None,
            waiting: VecDeque::new(),
            waiting_octets: 0,
            limits: settings.queue,
            codel: codel(settings.queue),
        }
    }

    /// Takes other settings. A frame in transmission goes on at the new rate with what is left of
    /// it; nobody loses his place.
    pub(crate) fn set(&mut self, old: &Settings, new: &Settings, now: u64, stream: &mut Stream) {
        if old.queue.discipline != new.queue.discipline {
            self.codel = codel(new.queue);
        }
        self.limits = new.queue;
        if old.bandwidth == new.bandwidth && old.trace == new.trace {
            return;
        }
        self.server = Server::new(new, now);
        if let Some(serving) = &mut self.in_service {
            let all = float(serving.finish - serving.started);
            let left = float(serving.finish.saturating_sub(now));
            let share = if all > 0.0 { left / all } else { 0.0 };
            serving.octets *= share;
            serving.started = now;
            serving.finish = match &mut self.server {
                Some(server) => server.finish(now, serving.octets, stream),
                None => now,
            };
        }
    }

    /// Whether frames pass without stopping.
    pub(crate) const fn is_open(&self) -> bool {
        self.server.is_none() && self.in_service.is_none()
    }

    /// Takes a frame that arrives at `now`, or refuses it for lack of room.
    pub(crate) fn push(
        &mut self,
        item: Item<F>,
        now: u64,
        stream: &mut Stream,
    ) -> Result<(), (Item<F>, DropReason)> {
        if self.in_service.is_none() {
            self.start(item, now, stream);
            return Ok(());
        }
        let octets = self.waiting_octets + item.octets;
        let full = self.limits.octets.is_some_and(|limit| octets > limit.count())
            || self.limits.frames.is_some_and(|limit| self.waiting.len() >= limit as usize);
        if full {
            return Err((item, DropReason::QueueFull));
        }
        self.waiting_octets = octets;
        self.waiting.push_back((now, item));
        Ok(())
    }

    /// When the frame in transmission is through.
    pub(crate) fn finish(&self) -> Option<u64> {
        self.in_service.as_ref().map(|serving| serving.finish)
    }

    /// Takes the frame that is through at [`Self::finish`], and begins the next one. `dropped` gets
    /// those that the queue's discipline drops.
    pub(crate) fn pop(
        &mut self,
        stream: &mut Stream,
        mut dropped: impl FnMut(Item<F>),
    ) -> Option<Item<F>> {
        let serving = self.in_service.take()?;
        let now = serving.finish;
        while let Some((since, item)) = self.waiting.pop_front() {
            self.waiting_octets -= item.octets;
            let sentence = match &mut self.codel {
                Some(codel) => codel.judge(now.saturating_sub(since), self.waiting_octets, now),
                None => Sentence::Send,
            };
            if sentence == Sentence::Send {
                self.start(item, now, stream);
                break;
            }
            dropped(item);
        }
        if let (None, Some(codel)) = (&self.in_service, &mut self.codel) {
            codel.idle();
        }
        Some(serving.item)
    }

    fn start(&mut self, item: Item<F>, now: u64, stream: &mut Stream) {
        let octets = float(item.octets);
        let finish = match &mut self.server {
            Some(server) => server.finish(now, octets, stream),
            // The limit was lifted while others wait: they all pass at this instant.
            None => now,
        };
        self.in_service = Some(InService { item, started: now, finish, octets });
    }
}

fn codel(queue: Queue) -> Option<CoDel> {
    match queue.discipline {
        Discipline::TailDrop => None,
        Discipline::CoDel { target, interval } => Some(CoDel::new(target, interval)),
    }
}
