//! Wakes up who waits for an instant, exact to some microseconds: the runtime's own timers count
//! milliseconds. One timerfd(2) serves all.
//!
//! A busy runtime looks at its descriptors only now and then, so the data plane, which knows the time
//! at every batch, also rings what is due: see [`Pacer::ring`]. And as an instant is of no use to a thread
//! that waits for a processor, the data plane's is in a hurry for as long as there are alarms.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::driver::now;
use crate::sys::urgency::Urgency;
use crate::sys::watch::watch;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Pacer {
    timer: AsyncFd<OwnedFd>,
    /// Who is to be told when. The number keeps two of one instant apart.
    alarms: RefCell<BTreeMap<(Instant, u64), Rc<Notify>>>,
    next_number: Cell<u64>,
    /// When the timer will go off.
    armed: Cell<Option<Instant>>,
    /// What the alarms share: the thread is in a hurry while there are some.
    hurry: RefCell<Weak<Option<Urgency>>>,
}

/// One who waits. Dropping it ends the waiting.
#[derive(Debug)]
pub(crate) struct Alarm {
    pacer: Rc<Pacer>,
    number: u64,
    due: Cell<Option<Instant>>,
    bell: Rc<Notify>,
    _hurry: Rc<Option<Urgency>>,
}

impl Pacer {
    /// Must be called within the runtime.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self {
            timer: watch(timer, Interest::READABLE)?,
            alarms: RefCell::default(),
            next_number: Cell::default(),
            armed: Cell::default(),
            hurry: RefCell::default(),
        })
    }

    /// An alarm that rings nothing yet.
    pub(crate) fn alarm(self: &Rc<Self>, bell: Rc<Notify>) -> Alarm {
        let number = self.next_number.get();
        self.next_number.set(number + 1);
        Alarm { pacer: self.clone(), number, due: Cell::default(), bell, _hurry: self.hurry() }
    }

    fn hurry(&self) -> Rc<Option<Urgency>> {
        let shared = &mut *self.hurry.borrow_mut();
        shared.upgrade().unwrap_or_else(|| {
            let hurry = Rc::new(Urgency::ask());
            *shared = Rc::downgrade(&hurry);
            hurry
        })
    }

    /// Rings all that is due.
    pub(crate) fn ring(&self, now: Instant) {
        let mut alarms = self.alarms.borrow_mut();
        while let Some(first) = alarms.first_entry()
            && first.key().0 <= now
        {
            first.remove().notify_one();
        }
    }

    /// Rings alarms for ever.
    pub(crate) async fn run(&self) -> io::Error {
        loop {
            let mut ready = match self.timer.readable().await {
                Ok(ready) => ready,
                Err(err) => return err,
            };
            // Only to make it unreadable: how often it went off is of no interest.
            let _ = rustix::io::read(self.timer.get_ref(), &mut [0; 8]);
            ready.clear_ready();
            let now = now();
            self.ring(now);
            self.armed.set(None);
            self.arm(now);
        }
    }

    /// Has the timer go off at the first alarm, or before.
    fn arm(&self, now: Instant) {
        let first = self.alarms.borrow().first_key_value().map(|(key, _)| key.0);
        let Some(first) = first else {
            return;
        };
        if self.armed.get().is_some_and(|armed| armed <= first) {
            return;
        }
        // All zeros would disarm it.
        let wait = first.saturating_duration_since(now).max(Duration::from_nanos(1));
        let it_value = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = Itimerspec { it_interval, it_value };
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &spec)
            .expect("the descriptor is a timer and the time is in range");
        self.armed.set(Some(first));
    }
}

impl Alarm {
    /// Has the bell rung at `due`, and not at what was said before; at once if that has passed.
    pub(crate) fn set(&self, due: Option<Instant>, now: Instant) {
        if due.is_some_and(|due| due <= now) {
            self.cancel();
            self.bell.notify_one();
            return;
        }
        if due == self.due.get() {
            return;
        }
        self.cancel();
        if let Some(due) = due {
            self.due.set(Some(due));
            self.pacer.alarms.borrow_mut().insert((due, self.number), self.bell.clone());
            self.pacer.arm(now);
        }
    }

    fn cancel(&self) {
        if let Some(due) = self.due.take() {
            self.pacer.alarms.borrow_mut().remove(&(due, self.number));
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.cancel();
    }
}
