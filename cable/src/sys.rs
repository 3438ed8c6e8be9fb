//! Socket options that have no safe wrapper.

#![expect(unsafe_code, reason = "setsockopt on options that no wrapper knows")]

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;

/// Lets the system keep what ICMP says of packets that were sent, to be read with `MSG_ERRQUEUE`
/// (ip(7), ipv6(7)).
pub(crate) fn keep_errors(socket: &UdpSocket) -> io::Result<()> {
    // An IPv6 socket carries IPv4, too, and has both options.
    let ipv4 = enable(socket, libc::IPPROTO_IP, libc::IP_RECVERR);
    let ipv6 = enable(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR);
    ipv4.or(ipv6)
}

fn enable(socket: &UdpSocket, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    let len = libc::socklen_t::try_from(size_of_val(&on)).expect("four octets");
    // SAFETY: both options read one `int`, whose address and length are passed and which outlives
    // the call; the descriptor is open as long as the socket is borrowed.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), len) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
