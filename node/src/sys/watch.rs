//! Descriptors that the runtime watches.

#![expect(unsafe_code, reason = "the runtime cannot know that a descriptor stays open")]

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Has the runtime watch a descriptor, which must be non-blocking.
///
/// # Errors
/// What epoll(7) says.
pub(crate) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the `OwnedFd` moves into the `AsyncFd`, which keeps it open and gives it to nobody;
    // an `OwnedFd` is the same descriptor all its life.
    let registered = unsafe { AsyncFd::register_with_interest(fd, interest) };
    registered.map_err(io::Error::from)
}
