//! What has no safe wrapper: sockets that the runtime watches, options, and the error queue.

#![expect(unsafe_code, reason = "options and control messages that no wrapper knows")]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, BorrowedFd};

use socket2::SockAddr;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Has the runtime watch a socket, which must be non-blocking.
///
/// # Errors
/// What epoll(7) says.
pub(crate) fn watch(socket: UdpSocket, interest: Interest) -> io::Result<AsyncFd<UdpSocket>> {
    // SAFETY: the socket moves into the `AsyncFd`, which keeps it open and gives it to nobody; it is
    // the same descriptor all its life.
    let registered = unsafe { AsyncFd::register_with_interest(socket, interest) };
    registered.map_err(io::Error::from)
}

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

/// What went wrong with a packet that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Undelivered {
    /// To whom it was addressed.
    pub(crate) to: Option<SocketAddr>,
    /// Whether the host to which it was addressed, or one on the way, says that nobody has that port
    /// open.
    pub(crate) is_refused: bool,
}

/// Octets of control messages of one entry: the error, the address of who told, and room for what
/// else was asked for.
const CONTROL: usize = 512;

#[expect(clippy::cast_possible_truncation, reason = "16")]
const ERROR_LEN: libc::c_uint = size_of::<libc::sock_extended_err>() as libc::c_uint;

/// Aligned as control messages are.
#[repr(C)]
union Control {
    octets: [MaybeUninit<u8>; CONTROL],
    _align: libc::cmsghdr,
}

/// Takes the next entry from the error queue.
///
/// # Errors
/// `WouldBlock` when there is none; otherwise what recvmsg(2) says.
pub(crate) fn next_error(socket: BorrowedFd<'_>) -> io::Result<Undelivered> {
    let mut control = Control { octets: [MaybeUninit::uninit(); CONTROL] };
    // What was sent comes back, and is of no interest.
    let mut iovec = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
    // SAFETY: the closure has the kernel write an address of the length that it is told, into
    // storage that holds any; the header, the vector without room and the control buffer outlive
    // the call, and the control messages are read only as far as the kernel says that it wrote them.
    let (is_refused, to) = unsafe {
        SockAddr::try_init(|storage, len| {
            let mut header: libc::msghdr = std::mem::zeroed();
            header.msg_name = storage.cast();
            header.msg_namelen = *len;
            header.msg_iov = &raw mut iovec;
            header.msg_iovlen = 1;
            header.msg_control = (&raw mut control).cast();
            header.msg_controllen = size_of::<Control>() as _;
            let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
            if libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) < 0 {
                return Err(io::Error::last_os_error());
            }
            *len = header.msg_namelen;
            let mut is_refused = false;
            let mut at = libc::CMSG_FIRSTHDR(&raw const header);
            while let Some(message) = at.as_ref() {
                let kind = (message.cmsg_level, message.cmsg_type);
                let has_room = message.cmsg_len >= libc::CMSG_LEN(ERROR_LEN) as _;
                if has_room
                    && (kind == (libc::IPPROTO_IP, libc::IP_RECVERR)
                        || kind == (libc::IPPROTO_IPV6, libc::IPV6_RECVERR))
                {
                    let error: libc::sock_extended_err =
                        libc::CMSG_DATA(at).cast::<libc::sock_extended_err>().read_unaligned();
                    let was_told = error.ee_origin == libc::SO_EE_ORIGIN_ICMP
                        || error.ee_origin == libc::SO_EE_ORIGIN_ICMP6;
                    let code = i32::try_from(error.ee_errno);
                    is_refused |= was_told && code == Ok(libc::ECONNREFUSED);
                }
                at = libc::CMSG_NXTHDR(&raw const header, at);
            }
            Ok(is_refused)
        })?
    };
    Ok(Undelivered { to: to.as_socket(), is_refused })
}
