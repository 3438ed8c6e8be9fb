//! A descriptor of any kind, nonblocking and watched by the runtime.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor that is nonblocking, and as it was again when it is dropped: the setting belongs
/// to everyone who shares the open file, such as the shell of a terminal.
#[derive(Debug)]
pub(crate) struct Nonblocking {
    fd: OwnedFd,
    /// The flags to restore, unless it was nonblocking before.
    before: Option<OFlags>,
}

/// Makes a descriptor nonblocking and has the runtime watch it. `EPERM` when it is of a kind that
/// cannot be waited for (epoll_ctl(2)).
///
/// # Panics
/// Outside a tokio runtime with I/O.
pub(crate) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<Nonblocking>> {
    let flags = fcntl_getfl(&fd)?;
    fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
    let before = (!flags.contains(OFlags::NONBLOCK)).then_some(flags);
    let fd = Nonblocking { fd, before };
    // SAFETY: the `OwnedFd` moves into the `AsyncFd`, which keeps it open; `Nonblocking` gives it
    // to nobody and an `OwnedFd` is the same descriptor all its life.
    let registered = unsafe { AsyncFd::register_with_interest(fd, interest) };
    registered.map_err(io::Error::from)
}

impl Drop for Nonblocking {
    fn drop(&mut self) {
        if let Some(flags) = self.before {
            let _ = fcntl_setfl(&self.fd, flags);
        }
    }
}

impl AsFd for Nonblocking {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Nonblocking {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
