//! One direction of a wire: an emulator, what it holds, and when it wants to be looked at.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use emulator::{DropReason, Emulator, Frame as _, Seed, Settings, Spread};
use ether::VnetHeader;
use fabric::PortId;
use tokio::sync::Notify;

use super::asked::asked;
use super::measured::{Achieved, Measured};
use super::pacer::{Alarm, Pacer};
use crate::plane::{BATCH, Origin, Route};

/// Octets that wait in one direction at most, with [`emulator::FRAME_OVERHEAD`] for each frame: half
/// a second at 1 Gbit/s. A frame beyond is dropped.
pub(crate) const MEMORY: usize = 64 << 20;

/// Octets that are taken out in one turn of the data plane, as from a tap.
const TURN: usize = 64 << 10;

/// What goes with a frame's octets.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cargo {
    /// A frame on its way in.
    In { vnet: VnetHeader, origin: Option<Origin> },
    /// A frame on its way out.
    Out { vnet: VnetHeader, route: Route },
    /// A frame from one station to another that leaves by that port.
    Pair { vnet: VnetHeader, route: Route, egress: PortId },
    /// The octets are a beat.
    Beat,
}

/// A frame in the emulator.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) bytes: Box<[u8]>,
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
        &mut self.bytes
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
    pub(crate) fn push(&self, bytes: &[u8], cargo: Cargo, now: Instant) {
        let inner = &mut *self.inner.borrow_mut();
        let overhead = usize::try_from(emulator::FRAME_OVERHEAD).expect("it is 128");
        let octets = bytes.len() + overhead;
        if self.taken.get() + octets > MEMORY {
            inner.refused += 1;
            inner.measured.refused += 1;
            return;
        }
        let load = Load {
            bytes: bytes.into(),
            cargo,
            arrived: now,
            era: inner.era,
            session: inner.session,
            _weight: Weight::new(&self.taken, octets),
        };
        inner.emulator.handle_frame(load, now);
    }

    /// Takes out what is due, at most a turn's worth. [`Self::settle`] must follow.
    pub(crate) fn take(&self, now: Instant) -> ArrayVec<Load, BATCH> {
        let inner = &mut *self.inner.borrow_mut();
        let mut loads = ArrayVec::new();
        let mut octets = 0;
        while !loads.is_full()
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
        loads
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
        let emulator = &self.inner.borrow().emulator;
        let due = emulator.poll_timeout();
        let settings = emulator.settings();
        self.active.set(due.is_some() || *settings != Settings::default());
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
    }

    /// It is plugged in at a port, or at none. What is under way will not be delivered: it was for
    /// what was behind the plug before.
    pub(super) fn set_port(&self, port: Option<PortId>) {
        self.port.set(port);
        let inner = &mut *self.inner.borrow_mut();
        inner.session = inner.session.wrapping_add(1);
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
