//! The calls of the C library that need `unsafe`: batched datagrams ([`mmsg`]), the
//! fill of a send queue, descriptors that the runtime watches, and the group database. Everything else goes through `rustix`.
#![expect(
    unsafe_code,
    reason = "recvmmsg, sendmmsg, SIOCOUTQ, getgrnam_r and watching a descriptor have no safe form here"
)]

use std::ffi::CString;
use std::io;
use std::ptr;

pub mod mmsg;
pub(crate) mod outq;
pub(crate) mod watched;

/// The longest entry of the group database that is read: a group of some thousand members.
const GROUP_BUFFER: usize = 256 * 1024;

/// The number of a group, by its name in the group database. `None` when there is no such group.
pub(crate) fn group_id(name: &str) -> io::Result<Option<u32>> {
    let Ok(name) = CString::new(name) else {
        return Ok(None);
    };
    let mut buffer = vec![0; GROUP_BUFFER];
    // SAFETY: `group` is a plain C structure for which all zeros (null pointers) is a valid value.
    let mut entry: libc::group = unsafe { std::mem::zeroed() };
    let mut found = ptr::null_mut();
    // SAFETY: the name is NUL-terminated; the buffer is given with its true length and, like
    // `entry` and `found`, outlives the call.
    let error = unsafe {
        libc::getgrnam_r(name.as_ptr(), &mut entry, buffer.as_mut_ptr(), buffer.len(), &mut found)
    };
    match (error, found.is_null()) {
        (0, true) => Ok(None),
        (0, false) => Ok(Some(entry.gr_gid)),
        // Several libraries report an unknown name so (getgrnam(3), notes).
        (libc::ENOENT | libc::ESRCH, _) => Ok(None),
        (error, _) => Err(io::Error::from_raw_os_error(error)),
    }
}
