//! Wires: links made as bad as they are told to be, on a port, on a cable, or from one station to
//! another. The emulating is `emulator`'s; here is what it is told, when, and what it did.
//!
//! | I want to change… | Open |
//! |---|---|
//! | how a setting is written | `edit.rs`; how it is shown, `asked.rs` |
//! | the profiles | `profile.rs` |
//! | the language of timelines | `timeline.rs` |
//! | what is measured | `measured.rs` |
//! | how frames get into an emulator and out again | `lane.rs`, `../plane/wired.rs` |
//! | what is copied of them | `octets.rs` |
//! | how exact the time is | `pacer.rs` |
//! | what a wire does to a cable's control messages | `stream.rs` |
//! | which stations are a pair | `pairs.rs` |
//! | what a request does | `requests.rs` |
//!
//! A wire costs nothing where there is none: one look at an `Option` for each batch. Frames with one
//! are copied once, but for those that are long and can stay where they were received.

mod asked;
pub(crate) mod edit;
pub(crate) mod lane;
mod measured;
pub(crate) mod octets;
pub(crate) mod pacer;
pub(crate) mod pairs;
pub(crate) mod requests;
mod stream;
mod timeline;
pub(crate) mod view;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::time::Instant;

use emulator::{Both, Direction, Seed, Settings};
use fabric::PortId;
use tokio::task::JoinHandle;

use self::edit::{Edit, Sides, apply};
use self::lane::{Lane, Load};
use self::pacer::Pacer;
use self::pairs::Pairs;
use self::timeline::Timeline;
use crate::driver::{Shard, now};
use crate::port::turn::after_others;
use crate::pressure::wait_for_room;

/// All that the data plane knows of wires beside those that ports have.
#[derive(Debug, Default)]
pub(crate) struct Wires {
    /// There is one as soon as there was a wire.
    pub(crate) pacer: Option<Rc<Pacer>>,
    /// By the cable's id, so that a wire stays when the cable comes back.
    pub(crate) cables: BTreeMap<String, Rc<Wire>>,
    pub(crate) pairs: Pairs,
    /// Cables at these ports are to be closed, for what came out of their wires or did not.
    pub(crate) faults: Vec<(PortId, String)>,
    /// Room for what comes out of a lane in a turn.
    pub(crate) loads: Vec<Load>,
}

/// A wire.
#[derive(Debug)]
pub(crate) struct Wire {
    lanes: Both<Option<Rc<Lane>>>,
    asked: RefCell<Asked>,
    frames_only: Cell<bool>,
    timeline: RefCell<Option<Task>>,
    _deliveries: Vec<Task>,
}

/// Batches that are handed on in one turn of the data plane, in which a port brings one. What is due
/// is late already; with as much in as out, a busy node would be ever later. So many 64-KiB batches
/// take it half a millisecond.
const BATCHES: usize = 16;

/// What a user said last.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Without what a timeline makes of them.
    settings: Both<Settings>,
    profile: Option<String>,
    seed: u64,
    timeline: Option<Rc<Timeline>>,
}

/// A task that ends with its owner.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Task {
    fn spawn(future: impl Future<Output = ()> + 'static) -> Self {
        Self(tokio::task::spawn_local(future))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a change asks for, checked.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    edits: Vec<Edit>,
    profile: Option<String>,
    timeline: Option<Rc<Timeline>>,
    seed: Option<u64>,
    frames_only: Option<bool>,
    /// The directions that are to be as if there were no wire.
    clear: Option<Sides>,
}

/// The directions that a wire can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In and out.
    Port,
    /// One: the emulator's left to right.
    Pair,
}

impl Wire {
    /// A wire that does nothing yet.
    pub(crate) fn new(shard: &Rc<Shard>, pacer: &Rc<Pacer>, kind: Kind, now: Instant) -> Self {
        let seed = rand::random();
        let mut deliveries = Vec::new();
        let mut lane = |direction: Direction| {
            let seed = lane_seed(seed, direction);
            let lane = Rc::new(Lane::new(Settings::default(), seed, pacer, now));
            deliveries.push(Task::spawn(deliver(shard.clone(), lane.clone(), direction)));
            Some(lane)
        };
        let left_to_right = lane(Direction::LeftToRight);
        let right_to_left = match kind {
            Kind::Port => lane(Direction::RightToLeft),
            Kind::Pair => None,
        };
        let settings = Both::default();
        Self {
            lanes: Both { left_to_right, right_to_left },
            asked: RefCell::new(Asked { settings, profile: None, seed, timeline: None }),
            frames_only: Cell::default(),
            timeline: RefCell::default(),
            _deliveries: deliveries,
        }
    }

    /// A direction, if there is something to do in it.
    #[inline]
    pub(crate) fn active(&self, direction: Direction) -> Option<&Rc<Lane>> {
        self.lanes[direction].as_ref().filter(|lane| lane.is_active())
    }

    /// The same for beats.
    pub(crate) fn active_for_beats(&self, direction: Direction) -> Option<&Rc<Lane>> {
        if self.frames_only.get() { None } else { self.active(direction) }
    }

    /// The same for control messages, of which none may overtake those that are in there already.
    pub(crate) fn active_for_messages(&self, direction: Direction) -> Option<&Rc<Lane>> {
        let lane = self.active(direction)?;
        (!self.frames_only.get() || lane.message_octets() > 0).then_some(lane)
    }

    pub(crate) fn lanes(&self) -> impl Iterator<Item = (Direction, &Rc<Lane>)> {
        Direction::ALL.into_iter().filter_map(|it| Some((it, self.lanes[it].as_ref()?)))
    }

    /// It is plugged in at a port, or at none.
    pub(crate) fn set_port(&self, port: Option<PortId>) {
        self.lanes().for_each(|(_, lane)| lane.set_port(port));
    }

    /// Frames under way.
    pub(crate) fn waiting(&self) -> u64 {
        self.lanes().map(|(_, lane)| lane.waiting().0).sum()
    }

    /// Carries a plan out. A timeline that is playing ends.
    pub(crate) fn change(self: &Rc<Self>, plan: &Plan, now: Instant) {
        *self.timeline.borrow_mut() = None;
        let mut asked = self.asked.borrow_mut();
        if let Some(sides) = plan.clear {
            apply(&[Edit::clear(sides)], &mut asked.settings);
        }
        apply(&plan.edits, &mut asked.settings);
        if plan.profile.is_some() || plan.clear.is_some() {
            asked.profile.clone_from(&plan.profile);
        }
        asked.timeline.clone_from(&plan.timeline);
        asked.seed = plan.seed.unwrap_or(asked.seed);
        if let Some(frames_only) = plan.frames_only {
            self.frames_only.set(frames_only);
        }
        for (direction, lane) in self.lanes() {
            let settings = asked.settings[direction].clone();
            let clear = plan.clear.is_some_and(|sides| sides.has(direction));
            if plan.seed.is_some() || clear {
                lane.restart(settings, lane_seed(asked.seed, direction), now);
            } else {
                lane.set(settings, now);
            }
            lane.settle(now);
        }
        if let Some(timeline) = &plan.timeline {
            let task = play(Rc::downgrade(self), timeline.clone(), asked.settings.clone(), now);
            *self.timeline.borrow_mut() = Some(Task::spawn(task));
        }
    }

    /// Whether it does nothing any more.
    pub(crate) fn is_idle(&self) -> bool {
        let asked = self.asked.borrow();
        asked.settings == Both::default() && asked.timeline.is_none()
    }

    fn follow(&self, settings: &Both<Settings>, now: Instant) {
        for (direction, lane) in self.lanes() {
            lane.set(settings[direction].clone(), now);
            lane.settle(now);
        }
    }
}

fn lane_seed(seed: u64, direction: Direction) -> Seed {
    // As the emulator's own link has it, so that a seed means the same to both.
    Seed::new(seed).child(match direction {
        Direction::LeftToRight => 1,
        Direction::RightToLeft => 2,
    })
}

/// Plays a timeline.
async fn play(wire: Weak<Wire>, timeline: Rc<Timeline>, base: Both<Settings>, start: Instant) {
    let mut round = start;
    loop {
        let mut settings = base.clone();
        if round > start
            && let Some(wire) = wire.upgrade()
        {
            wire.follow(&settings, now());
        }
        for step in &timeline.steps {
            tokio::time::sleep_until((round + step.at).into()).await;
            apply(&step.edits, &mut settings);
            let Some(wire) = wire.upgrade() else {
                return;
            };
            wire.follow(&settings, now());
        }
        let Some(period) = timeline.period else {
            return;
        };
        round += period;
        tokio::time::sleep_until(round.into()).await;
        // After the machine slept nobody wants all the rounds that it missed.
        round = round.max(now().checked_sub(period).unwrap_or(round));
    }
}

/// Hands on what comes out of a lane, for ever.
async fn deliver(shard: Rc<Shard>, lane: Rc<Lane>, direction: Direction) {
    loop {
        after_others(lane.ready()).await;
        for _ in 0..BATCHES {
            let congested = shard.plane.borrow_mut().deliver(&lane, direction, now());
            close_faulty(&shard);
            wait_for_room(congested).await;
            if !lane.is_due() {
                break;
            }
        }
    }
}

/// Closes cables whose wires brought what they must not, or bring nothing any more.
pub(crate) fn close_faulty(shard: &Shard) {
    let faults = std::mem::take(&mut shard.plane.borrow_mut().wires.faults);
    for (port, fault) in faults {
        if let Some(cable) = shard.cables.at_port(port.0) {
            tracing::warn!(%cable, fault, "the cable cannot go on");
            shard.cables.close_faulty(cable, &fault);
        }
    }
}
