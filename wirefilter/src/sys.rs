//! Descriptors: those that this process was given by number, and those that the runtime watches.
#![expect(unsafe_code, reason = "a number becomes a descriptor, and one is kept open")]

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The descriptor of that number, as a copy of its own; the number itself stays open until the
/// process ends.
///
/// # Errors
/// When nothing is open under that number.
pub(crate) fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    if number < 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the number is not -1, and it is only asked to be duplicated: if nothing is open
    // under it the system says so.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    descriptor.try_clone_to_owned()
}

/// Has the runtime say when a descriptor can be read, which must be nonblocking.
///
/// # Panics
/// Outside a tokio runtime with I/O.
pub(crate) fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the `OwnedFd` moves into the `AsyncFd`, which keeps it open, and is the same
    // descriptor all its life.
    let registered = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    registered.map_err(io::Error::from)
}
