//! The loop that moves frames: from a side into the link, and out of it when their time has come.
//!
//! One thread does everything. A direction whose output is full is not read any further, so that
//! the sender waits and nothing is lost that the link does not lose.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use emulator::Direction;
use tokio::sync::{Notify, broadcast};

use crate::blink::BlinkSocket;
use crate::daemon::tell;
use crate::filter::{Filter, Octets};
use crate::side::{Received, Sent, Side, Unfit};
use crate::spares::Spares;
use crate::timer::Timer;

/// Frames that are handed to a side at once.
const BATCH: usize = 64;

/// How long what is on its way may take after one side of a link that goes both ways is gone.
const LINGER: Duration = Duration::from_secs(10);

/// Changes of state that a session may be behind before it misses some.
const STEPS: usize = 256;

/// The time, which only the programs around a link read.
#[expect(clippy::disallowed_methods, reason = "this is where time comes from")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// What the loop and the consoles share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Never borrowed across a wait.
    pub(crate) filter: RefCell<Filter>,
    /// Told when a console changed something.
    pub(crate) changed: Notify,
    /// Told when the program is to end.
    pub(crate) shutdown: Notify,
    /// Changes of state, as sessions show them.
    pub(crate) steps: broadcast::Sender<String>,
}

impl Shared {
    pub(crate) fn new(filter: Filter) -> Self {
        let (steps, _) = broadcast::channel(STEPS);
        Self {
            filter: RefCell::new(filter),
            changed: Notify::new(),
            shutdown: Notify::new(),
            steps,
        }
    }
}

/// One direction on its way from side to side.
#[derive(Debug)]
struct Lane {
    direction: Direction,
    /// Places among the sides.
    source: usize,
    sink: usize,
    /// What was read while the interface was busy.
    held: VecDeque<Octets>,
    /// What the sink has no room for.
    outbox: VecDeque<Octets>,
    /// Nobody is at the sink any more.
    dead: bool,
}

impl Lane {
    const fn new(direction: Direction, source: usize, sink: usize) -> Self {
        let held = VecDeque::new();
        Self { direction, source, sink, held, outbox: VecDeque::new(), dead: false }
    }
}

/// The link between its sides.
#[derive(Debug)]
pub(crate) struct Driver<'a> {
    shared: &'a Shared,
    /// One for a link that goes one way, which it enters and leaves; otherwise left and right.
    sides: Vec<Side>,
    lanes: Vec<Lane>,
    spares: Spares,
    timer: Timer,
    blink: Option<BlinkSocket>,
    unfit: Unfit,
    /// Since one side is gone: until when the other is served.
    ending: Option<Option<Instant>>,
}

impl<'a> Driver<'a> {
    /// A link between two sides, or on one for a single direction.
    pub(crate) fn new(
        shared: &'a Shared,
        left: Side,
        right: Option<Side>,
        blink: Option<BlinkSocket>,
    ) -> anyhow::Result<Self> {
        let lanes = match right {
            None => vec![Lane::new(Direction::LeftToRight, 0, 0)],
            Some(_) => vec![
                Lane::new(Direction::LeftToRight, 0, 1),
                Lane::new(Direction::RightToLeft, 1, 0),
            ],
        };
        let timer = Timer::new().context("cannot make a timer")?;
        let sides = [Some(left), right].into_iter().flatten().collect();
        let (spares, unfit) = (Spares::default(), Unfit::default());
        Ok(Self { shared, sides, lanes, spares, timer, blink, unfit, ending: None })
    }

    /// What could not pass through the sides.
    pub(crate) const fn unfit(&self) -> Unfit {
        self.unfit
    }

    /// Moves frames until a side hangs up or the program is told to end.
    pub(crate) async fn run(&mut self) -> anyhow::Result<()> {
        loop {
            self.receive();
            self.deliver();
            self.tell_steps();
            let now = now();
            if self.is_over(now) {
                return Ok(());
            }
            self.timer.arm(self.next_event(now), now).context("cannot set the timer")?;
            if !self.wait().await? {
                return Ok(());
            }
        }
    }

    /// Waits until there is something to do. `false`: the program is to end.
    async fn wait(&mut self) -> anyhow::Result<bool> {
        let left = &self.sides[0];
        let right = self.sides.last().expect("there is at least one side");
        let both = self.sides.len() > 1;
        let (reads_left, reads_right) = (self.reads(0), both && self.reads(1));
        let (full_left, full_right) = (self.is_full(0), both && self.is_full(1));
        let gone = tokio::select! {
            result = self.timer.gone_off() => return Ok(result.map(|()| true)?),
            result = left.readable(), if reads_left => return Ok(result.map(|()| true)?),
            result = right.readable(), if reads_right => return Ok(result.map(|()| true)?),
            result = left.writable(), if full_left => return Ok(result.map(|()| true)?),
            result = right.writable(), if full_right => return Ok(result.map(|()| true)?),
            () = self.shared.changed.notified() => return Ok(true),
            () = self.shared.shutdown.notified() => return Ok(false),
            () = left.hung_up() => 0,
            () = right.hung_up(), if both => 1,
        };
        // A switch takes both directions of a side with it.
        for lane in &mut self.lanes {
            lane.dead |= lane.sink == gone;
        }
        self.end();
        Ok(true)
    }

    fn receive(&mut self) {
        let mut filter = self.shared.filter.borrow_mut();
        let mut closed = false;
        for lane in &mut self.lanes {
            let now = now();
            while !lane.held.is_empty() && !filter.is_blocked(lane.direction, now) {
                let frame = lane.held.pop_front().expect("it is not empty");
                filter.handle_frame(lane.direction, frame, now);
            }
            if self.ending.is_some() || !lane.held.is_empty() || !lane.outbox.is_empty() {
                continue;
            }
            let (direction, held, spares) = (lane.direction, &mut lane.held, &mut self.spares);
            let received = self.sides[lane.source].receive(&mut self.unfit, |frame| {
                let frame = spares.copy(frame);
                if held.is_empty() && !filter.is_blocked(direction, now) {
                    filter.handle_frame(direction, frame, now);
                } else {
                    held.push_back(frame);
                }
            });
            if let Received::Closed(reason) = received {
                closed = true;
                if let Some(reason) = reason {
                    tell(&reason);
                }
            }
        }
        drop(filter);
        if closed {
            self.end();
        }
    }

    fn deliver(&mut self) {
        let mut filter = self.shared.filter.borrow_mut();
        let now = now();
        let mut dead = false;
        for lane in self.lanes.iter_mut().filter(|lane| !lane.dead) {
            let sink = &mut self.sides[lane.sink];
            loop {
                while lane.outbox.len() < BATCH
                    && let Some(frame) = filter.poll_delivery(lane.direction, now)
                {
                    lane.outbox.push_back(frame);
                }
                let sent = if lane.outbox.is_empty() {
                    sink.flush()
                } else {
                    let frames: Vec<&[u8]> = lane.outbox.iter().map(|frame| &**frame).collect();
                    sink.send(&frames, &mut self.unfit)
                };
                let Sent::Some(count) = sent else {
                    lane.dead = true;
                    dead = true;
                    break;
                };
                for frame in lane.outbox.drain(..count) {
                    if let Some(blink) = &mut self.blink {
                        blink.tell(filter.is_one_way(), lane.direction, frame.len());
                    }
                    self.spares.keep(frame);
                }
                if count < BATCH || !lane.outbox.is_empty() {
                    break;
                }
            }
        }
        drop(filter);
        if dead {
            self.end();
        }
    }

    fn tell_steps(&self) {
        let mut filter = self.shared.filter.borrow_mut();
        while let Some(step) = filter.poll_step() {
            // Without a session nobody listens.
            let _ = self.shared.steps.send(step);
        }
    }

    /// Nothing is taken any more; what is on its way still has some time.
    fn end(&mut self) {
        if self.ending.is_none() {
            // In one direction it is the sink who decides: while it listens, nothing is lost.
            let limit = (self.lanes.len() > 1).then(|| now() + LINGER);
            self.ending = Some(limit);
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        let Some(limit) = self.ending else { return false };
        let filter = self.shared.filter.borrow();
        let is_done = |lane: &Lane| {
            lane.dead
                || lane.held.is_empty()
                    && lane.outbox.is_empty()
                    && self.sides[lane.sink].queued() == 0
                    && filter.link().poll_lane(lane.direction).is_none()
        };
        limit.is_some_and(|limit| limit <= now) || self.lanes.iter().all(is_done)
    }

    /// When something happens by itself.
    fn next_event(&self, now: Instant) -> Option<Instant> {
        let filter = self.shared.filter.borrow();
        let link = filter.link();
        let lanes = self.lanes.iter().filter(|lane| !lane.dead).flat_map(|lane| {
            // A full sink says itself when it has room.
            let delivery = link.poll_lane(lane.direction).filter(|_| lane.outbox.is_empty());
            let ready = link.direction(lane.direction).ready_at().unwrap_or(now);
            [delivery, (!lane.held.is_empty()).then_some(ready)]
        });
        let others = [link.poll_change(), self.ending.flatten()];
        lanes.chain(others).flatten().min()
    }

    /// Whether frames are wanted from a side.
    fn reads(&self, side: usize) -> bool {
        let lane = self.lanes.iter().find(|lane| lane.source == side);
        self.ending.is_none()
            && lane.is_some_and(|lane| lane.held.is_empty() && lane.outbox.is_empty())
    }

    /// Whether frames, or the rest of one, wait for room in a side.
    fn is_full(&self, side: usize) -> bool {
        let lane = self.lanes.iter().find(|lane| lane.sink == side && !lane.dead);
        lane.is_some_and(|lane| !lane.outbox.is_empty() || self.sides[side].queued() > 0)
    }
}
