//! One direction of a wire: an emulator, what it holds, and when it wants to be looked at.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use emulator::{DropReason, Emulator, Frame as _, Seed, Settings, Spread};
use ether::VnetHeader;
use fabric::PortId;
use mesh::message::{Message, encode};
use tokio::sync::Notify;

use super::asked::asked;
use super::measured::{Achieved, Measured};
use super::octets::Octets;
use super::pacer::{Alarm, Pacer};
use super::stream::Stream;
use crate::plane::{BATCH, Route};

/// Octets that wait in one direction at most, with [`emulator::FRAME_OVERHEAD`] for each frame: half
/// a second at 1 Gbit/s. A frame beyond is dropped.
pub(crate) const MEMORY: usize = 64 << 20;

/// Octets that are taken out in one turn of the data plane, as from a tap.
const TURN: usize = 64 << 10;

/// What goes with a frame's octets.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cargo {
    /// A frame on its way in.
    In { vnet: VnetHeader, origin: Option<Route> },
    /// A frame on its way out.
    Out { vnet: VnetHeader, route: Route },
    /// A frame from one station to another that leaves by that port.
    Pair { vnet: VnetHeader, route: Route, egress: PortId },
    /// The octets are a beat.
    Beat,
    /// The octets are this segment of the cable's stream of messages.
    Segment(u64),
}

/// A frame in the emulator.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) bytes: Octets,
    pub(crate) cargo: Cargo,
    arrived: Instant,
    /// Which settings it came under.
    era: u32,
    /// Behind which plug it came.
    session: u32,
    _weight: Weight,
}

impl emulator::Frame for Load {
    fn octets(&self) -> &[u8] {
        &self.bytes
    }

    fn octets_mut(&mut self) -> &mut [u8] {
        self.bytes.make_mut()
    }
}

/// A share of the memory, given back when it is dropped.
#[derive(Debug)]
struct Weight {
    taken: Rc<Cell<usize>>,
    octets: usize,
}

impl Weight {
    fn new(taken: &Rc<Cell<usize>>, octets: usize) -> Self {
        taken.set(taken.get() + octets);
        Self { taken: taken.clone(), octets }
    }
}

impl Clone for Weight {
    fn clone(&self) -> Self {
        Self::new(&self.taken, self.octets)
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.taken.set(self.taken.get() - self.octets);
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Lane {
    inner: RefCell<Inner>,
    /// The octets in memory.
    taken: Rc<Cell<usize>>,
    /// There is something to do here: otherwise frames pass by.
    active: Cell<bool>,
    /// Nothing happens to frames but a constant delay.
    whole: Cell<bool>,
    /// Something is due now.
    is_due: Cell<bool>,
    alarm: Alarm,
    ready: Rc<Notify>,
    /// At which port the wire is. A cable's is at none while the cable is down, a pair's never.
    port: Cell<Option<PortId>>,
}

#[derive(Debug)]
struct Inner {
    emulator: Emulator<Load>,
    /// What a cable's nodes tell each other.
    messages: Stream<Message>,
    measured: Measured,
    /// Drops that were told to the port.
    told: u64,
    /// Frames that were dropped here and not by the emulator.
    refused: u64,
    era: u32,
    session: u32,
}

impl Lane {
    pub(crate) fn new(settings: Settings, seed: Seed, pacer: &Rc<Pacer>, now: Instant) -> Self {
        let ready = Rc::new(Notify::new());
        let lane = Self {
            active: Cell::default(),
            whole: Cell::default(),
            is_due: Cell::default(),
            inner: RefCell::new(Inner {
                emulator: Emulator::new(settings, seed, now),
                messages: Stream::default(),
                measured: Measured::new(emulator::Counters::default(), now),
                told: 0,
                refused: 0,
                era: 0,
                session: 0,
            }),
            taken: Rc::default(),
            alarm: pacer.alarm(ready.clone()),
            ready,
            port: Cell::default(),
        };
        lane.look(now);
        lane
    }

    /// Whether frames have to go through here.
    #[inline]
    pub(crate) fn is_active(&self) -> bool {
        self.active.get()
    }

    /// Whether super-frames may: a constant delay is the same to all their parts, and what else can
    /// happen to a frame has to happen to each.
    pub(crate) fn takes_whole(&self) -> bool {
        self.whole.get()
    }

    /// Takes a frame. [`Self::settle`] must follow when there are no more.
    pub(crate) fn push(&self, bytes: Octets, cargo: Cargo, now: Instant) {
        self.inner.borrow_mut().push(&self.taken, bytes, cargo, now);
    }

    /// Takes a message of a cable's stream. [`Self::settle`] must follow.
    pub(crate) fn post(&self, message: Message, now: Instant) {
        let inner = &mut *self.inner.borrow_mut();
        let octets = encode(&message);
        inner.messages.push(message, &octets);
        inner.send_segments(&self.taken, now);
    }

    /// A segment of that stream has crossed.
    pub(crate) fn handle_segment(&self, number: u64, octets: &[u8]) {
        self.inner.borrow_mut().messages.handle_segment(number, octets);
    }

    /// The next message that has crossed whole, as all before it.
    pub(crate) fn poll_message(&self) -> Option<Message> {
        self.inner.borrow_mut().messages.poll_message()
    }

    /// All messages that are under way, in order. The wire goes, and they go without it.
    pub(crate) fn take_messages(&self) -> Vec<Message> {
        self.inner.borrow_mut().messages.take_all()
    }

    /// Octets of messages that are under way, or wait behind some that are.
    pub(crate) fn message_octets(&self) -> usize {
        self.inner.borrow().messages.octets()
    }

    /// Takes out what is due, at most a turn's worth, into `loads`, which is empty. [`Self::settle`]
    /// must follow.
    pub(crate) fn take(&self, loads: &mut Vec<Load>, now: Instant) {
        let inner = &mut *self.inner.borrow_mut();
        inner.send_segments(&self.taken, now);
        let mut octets = 0;
        while loads.len() < BATCH
            && octets < TURN
            && let Some(load) = inner.emulator.poll_delivery(now)
        {
            if load.era == inner.era {
                inner.measured.deliver(load.arrived, load.octet_count(), now);
            }
            if load.session == inner.session {
                octets += load.bytes.len();
                loads.push(load);
            } else {
                inner.refused += 1;
            }
        }
    }

    /// Sees to it that [`Self::ready`] ends in time. Gives the number of frames dropped since the
    /// last call.
    pub(crate) fn settle(&self, now: Instant) -> u64 {
        self.look(now);
        let inner = &mut *self.inner.borrow_mut();
        let counters = inner.emulator.counters();
        let dropped = DropReason::ALL.map(|reason| counters.dropped(reason));
        let dropped = dropped.into_iter().sum::<u64>() + inner.refused;
        dropped - std::mem::replace(&mut inner.told, dropped)
    }

    fn look(&self, now: Instant) {
        let Inner { emulator, messages, .. } = &*self.inner.borrow();
        let due = emulator.poll_timeout().into_iter().chain(messages.poll_timeout(now)).min();
        let settings = emulator.settings();
        let is_empty = due.is_none() && messages.is_empty();
        self.active.set(!is_empty || *settings != Settings::default());
        let delay = Spread { variation: Duration::ZERO, ..settings.delay.clone() };
        self.whole.set(*settings == Settings { delay, ..Settings::default() });
        self.is_due.set(due.is_some_and(|due| due <= now));
        self.alarm.set(due, now);
    }

    /// Whether something was due when the lane was last settled.
    pub(crate) fn is_due(&self) -> bool {
        self.is_due.get()
    }

    /// Waits until something is due.
    pub(crate) async fn ready(&self) {
        self.ready.notified().await;
    }

    /// Takes other settings; frames under way keep their instants. What was measured is forgotten.
    pub(crate) fn set(&self, settings: Settings, now: Instant) {
        let inner = &mut *self.inner.borrow_mut();
        if settings == *inner.emulator.settings() {
            return;
        }
        inner.emulator.set(settings, now);
        inner.era = inner.era.wrapping_add(1);
        inner.measured = Measured::new(*inner.emulator.counters(), now);
    }

    /// Begins anew: what is under way is lost.
    pub(crate) fn restart(&self, settings: Settings, seed: Seed, now: Instant) {
        let inner = &mut *self.inner.borrow_mut();
        let lost = inner.emulator.waiting().frames;
        inner.emulator = Emulator::new(settings, seed, now);
        inner.era = inner.era.wrapping_add(1);
        inner.measured = Measured::new(*inner.emulator.counters(), now);
        (inner.told, inner.refused) = (0, lost);
        inner.messages.restart();
        inner.send_segments(&self.taken, now);
    }

    /// It is plugged in at a port, or at none. What is under way will not be delivered: it was for
    /// what was behind the plug before.
    pub(super) fn set_port(&self, port: Option<PortId>) {
        self.port.set(port);
        let inner = &mut *self.inner.borrow_mut();
        inner.session = inner.session.wrapping_add(1);
        inner.messages.clear();
    }

    pub(crate) fn port(&self) -> Option<PortId> {
        self.port.get()
    }

    /// What is asked now, in words.
    pub(crate) fn asked(&self) -> BTreeMap<String, String> {
        asked(self.inner.borrow().emulator.settings())
    }

    pub(super) fn achieved(&self, now: Instant) -> Achieved {
        let inner = self.inner.borrow();
        inner.measured.achieved(inner.emulator.counters(), now)
    }

    /// Frames and octets under way.
    pub(super) fn waiting(&self) -> (u64, u64) {
        let waiting = self.inner.borrow().emulator.waiting();
        (waiting.frames, waiting.octets)
    }
}

impl Inner {
    fn push(&mut self, taken: &Rc<Cell<usize>>, bytes: Octets, cargo: Cargo, now: Instant) {
        let overhead = usize::try_from(emulator::FRAME_OVERHEAD).expect("it is 128");
        let octets = bytes.len() + overhead;
        if taken.get() + octets > MEMORY {
            self.refused += 1;
            self.measured.refused += 1;
            return;
        }
        let load = Load {
            bytes,
            cargo,
            arrived: now,
            era: self.era,
            session: self.session,
            _weight: Weight::new(taken, octets),
        };
        self.emulator.handle_frame(load, now);
    }

    fn send_segments(&mut self, taken: &Rc<Cell<usize>>, now: Instant) {
        while let Some((number, octets)) = self.messages.poll_segment(now) {
            let octets = Octets::Own(octets.into());
            self.push(taken, octets, Cargo::Segment(number), now);
        }
    }
}
