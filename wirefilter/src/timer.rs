//! A timer that is exact to some microseconds: the runtime's own counts milliseconds.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use crate::sys::watch;

/// A timerfd(2), watched by the runtime.
#[derive(Debug)]
pub(crate) struct Timer {
    descriptor: AsyncFd<OwnedFd>,
    /// When it will go off.
    armed: Option<Instant>,
}

const NEVER: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

impl Timer {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let descriptor = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self { descriptor: watch(descriptor)?, armed: None })
    }

    /// Has it go off at `next` at the latest. It may go off before, for something that was wanted
    /// earlier.
    pub(crate) fn arm(&mut self, next: Option<Instant>, now: Instant) -> io::Result<()> {
        let Some(next) = next else { return Ok(()) };
        if self.armed.is_some_and(|armed| armed > now && armed <= next) {
            return Ok(());
        }
        // All zeros would disarm it.
        let wait = next.saturating_duration_since(now).max(Duration::from_nanos(1));
        let it_value = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        };
        let spec = Itimerspec { it_interval: NEVER, it_value };
        timerfd_settime(self.descriptor.get_ref(), TimerfdTimerFlags::empty(), &spec)?;
        self.armed = Some(next);
        Ok(())
    }

    /// Waits until it goes off. Cancel safe.
    pub(crate) async fn gone_off(&self) -> io::Result<()> {
        let mut guard = self.descriptor.readable().await?;
        let mut expirations = [0; 8];
        match rustix::io::read(self.descriptor.get_ref(), &mut expirations) {
            Ok(_) | Err(Errno::AGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
        guard.clear_ready();
        Ok(())
    }
}
