//! How much waits in a socket's send queue: the ioctl SIOCOUTQ (unix(7), udp(7)).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Octets, with the kernel's own overhead, that were sent on `socket` and that its peer has not
/// taken yet.
///
/// # Errors
/// What ioctl(2) says.
pub(crate) fn octets(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut octets: libc::c_int = 0;
    // SAFETY: SIOCOUTQ, which has the number of TIOCOUTQ, writes one int, which outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut octets) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(octets).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn what_the_peer_has_not_taken_is_counted() {
        let (a, b) = UnixDatagram::pair().unwrap();
        assert_eq!(octets(a.as_fd()).unwrap(), 0);
        a.send(&[0; 100]).unwrap();
        assert!(octets(a.as_fd()).unwrap() >= 100);
        b.recv(&mut [0; 100]).unwrap();
        assert_eq!(octets(a.as_fd()).unwrap(), 0);
    }
}
