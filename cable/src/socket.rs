//! The UDP socket under an endpoint: buffers that take a burst, segmentation offload that never
//! asks the kernel for more than one IP packet can hold, and what a path's MTU is said to be.

mod room;
mod sender;

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use self::room::Room;
use self::sender::Sender;
use crate::endpoint::Doorkeeper;
#[cfg(test)]
use crate::soundness::tests::{Place, trip_over};
use crate::sys;

/// Receive buffer asked for. The default of 208 KiB holds 1 ms at 1 Gbit/s and loses a quarter of a
/// burst of 500 packets even on loopback; 8 MiB hold 60 ms at that rate.
const RECEIVE_BUFFER: usize = 8 << 20;

/// Send buffer asked for: several segmentation batches. More would only hide delay.
const SEND_BUFFER: usize = 2 << 20;

/// The largest UDP payload over IPv4 (RFC 768, RFC 791): 65535 less both headers.
pub const MAX_UDP_PAYLOAD: u16 = 65_507;

/// A bound socket and what an operator should know about it.
#[derive(Debug)]
pub struct Bound {
    /// The socket.
    pub socket: UdpSocket,
    /// Set when the kernel gave less buffer than asked for.
    pub warning: Option<String>,
}

/// Binds a UDP socket for cables. An unspecified IPv6 address takes IPv4 as well.
///
/// # Errors
/// What the system says: the port is in use, the address is not here, …
pub fn bind(address: SocketAddr) -> io::Result<Bound> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    let warning = enlarge_buffers(&socket)?;
    Ok(Bound { socket: socket.into(), warning })
}

fn enlarge_buffers(socket: &Socket) -> io::Result<Option<String>> {
    use rustix::net::sockopt;
    // The forced variant passes the system's limit; it needs CAP_NET_ADMIN.
    if sockopt::set_socket_recv_buffer_size_force(socket, RECEIVE_BUFFER).is_err() {
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    }
    // Best effort: a short send buffer costs wake-ups, not packets.
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    // Linux reports twice what it grants, to count its own overhead.
    let granted = socket.recv_buffer_size()? / 2;
    Ok((granted < RECEIVE_BUFFER).then(|| {
        format!(
            "the UDP receive buffer is {} KiB: bursts may be lost; as root: sysctl -w net.core.rmem_max={RECEIVE_BUFFER}",
            granted / 1024
        )
    }))
}

/// The UDP payload that the route to a peer carries in one packet, as this host knows it; the path
/// may carry less, which path MTU discovery finds out. None when the system does not say.
pub fn route_payload(peer: SocketAddr) -> Option<u16> {
    let local: SocketAddr = match peer {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local).ok()?;
    socket.connect(peer).ok()?;
    let (mtu, headers) = match peer {
        SocketAddr::V4(_) => (rustix::net::sockopt::ip_mtu(&socket).ok()?, 20 + 8),
        SocketAddr::V6(_) => (rustix::net::sockopt::ipv6_mtu(&socket).ok()?, 40 + 8),
    };
    let payload = mtu.checked_sub(headers)?;
    Some(u16::try_from(payload).unwrap_or(MAX_UDP_PAYLOAD).min(MAX_UDP_PAYLOAD))
}

/// A UDP socket whose segmentation batches fit the kernel's limit.
///
/// quinn hands the kernel up to ten packets at once, whatever their size. More than 65507 octets
/// in all are refused with `EMSGSIZE`, which quinn-udp takes for a lost path MTU probe: above an MTU
/// of 6550 nearly everything would vanish without an error.
pub struct CableSocket {
    /// Watched for what comes in alone: with every packet that leaves the kernel there is more room for
    /// others, and the runtime would be woken to hear it.
    watched: Arc<AsyncFd<UdpSocket>>,
    state: UdpSocketState,
    /// The kernel had no room for a packet.
    is_full: AtomicBool,
    /// Sends what comes in batches, where there is a processor for it.
    sender: Option<Sender>,
    largest_payload: Arc<AtomicU16>,
    doorkeeper: Arc<Doorkeeper>,
}

/// The largest UDP payload that any connection of a socket may use.
#[derive(Debug, Clone)]
pub struct LargestPayload(Arc<AtomicU16>);

impl LargestPayload {
    /// A connection with this limit is about to start.
    pub fn raise(&self, payload: u16) {
        self.0.fetch_max(payload, Ordering::Relaxed);
    }
}

impl CableSocket {
    /// Wraps a bound socket.
    ///
    /// # Errors
    /// When it cannot be registered with the runtime.
    pub(crate) fn new(
        socket: UdpSocket,
        doorkeeper: Arc<Doorkeeper>,
    ) -> io::Result<(Arc<Self>, LargestPayload)> {
        let largest_payload = Arc::new(AtomicU16::new(1));
        let sender = Sender::start(&socket);
        let state = UdpSocketState::new((&socket).into())?;
        // quinn-udp asks for the congestion marks of each packet, in both families. Nobody heeds
        // them here, and the kernel's telling costs a few per cent of receiving.
        let _ = rustix::net::sockopt::set_ip_recvtos(&socket, false);
        let _ = rustix::net::sockopt::set_ipv6_recvtclass(&socket, false);
        let watched = Arc::new(sys::watch(socket, Interest::READABLE.add(Interest::ERROR))?);
        let is_full = AtomicBool::new(false);
        let largest = largest_payload.clone();
        let socket = Self { watched, state, is_full, sender, largest_payload, doorkeeper };
        Ok((Arc::new(socket), LargestPayload(largest)))
    }

    /// The socket itself, for who watches its error queue.
    pub(crate) fn watched(&self) -> &Arc<AsyncFd<UdpSocket>> {
        &self.watched
    }

    fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let socket = self.watched.get_ref();
        match self.state.try_send(socket.into(), transmit) {
            // What ICMP said of another peer is told to whoever sends next, once.
            Err(err) if err.kind() != io::ErrorKind::WouldBlock => {
                self.state.send(socket.into(), transmit)
            }
            result => result,
        }
    }
}

impl fmt::Debug for CableSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CableSocket").field(&self.watched).finish()
    }
}

/// How many packets of a size may go to the kernel at once.
fn segments(offered: usize, payload: u16) -> usize {
    offered.min(usize::from(MAX_UDP_PAYLOAD) / usize::from(payload.max(1))).max(1)
}

impl AsyncUdpSocket for CableSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Room::new(self))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        #[cfg(test)]
        trip_over(Place::Sent, transmit.contents);
        // Without congestion control a sender must not claim to heed congestion marks (RFC 9298
        // section 6), and a socket does not know which of its cables is open.
        let transmit = Transmit {
            ecn: None,
            destination: transmit.destination,
            contents: transmit.contents,
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        };
        if let Some(sender) = &self.sender
            && sender.offer(&transmit)?
        {
            return Ok(());
        }
        let result = self.send(&transmit);
        if result.is_err() {
            self.is_full.store(true, Ordering::Release);
        }
        result
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.watched.poll_read_ready(cx))?;
            let received =
                ready.try_io(|watched| self.state.recv(watched.get_ref().into(), bufs, meta));
            let Ok(received) = received else { continue };
            if let Ok(count) = received {
                for (buffer, meta) in bufs.iter_mut().zip(meta).take(count) {
                    self.doorkeeper.sift(buffer, meta);
                }
            }
            return Poll::Ready(received);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.watched.get_ref().local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        let payload = self.largest_payload.load(Ordering::Relaxed);
        let offered = self.state.max_gso_segments();
        // Whoever of both finds out that the path takes no batches, knows it for both.
        let offered =
            self.sender.as_ref().map_or(offered, |sender| offered.min(sender.max_segments()));
        segments(offered, payload)
    }

    fn max_receive_segments(&self) -> usize {
        // quinn sizes each receive buffer as the largest payload times this. Ours is already the
        // largest there is, which also holds whatever the kernel coalesces.
        1
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_never_exceeds_one_ip_packet() {
        for payload in [1200, 1452, 1472, 6550, 6551, 8972, 32_753, 32_754, MAX_UDP_PAYLOAD] {
            let batch = segments(10, payload) * usize::from(payload);
            assert!(batch <= usize::from(MAX_UDP_PAYLOAD), "payload {payload}");
        }
        assert_eq!(segments(10, 1452), 10);
        assert_eq!(segments(10, 8972), 7);
        assert_eq!(segments(10, MAX_UDP_PAYLOAD), 1);
    }

    #[test]
    fn the_route_to_loopback_carries_the_largest_payload() {
        assert_eq!(route_payload("127.0.0.1:7".parse().unwrap()), Some(MAX_UDP_PAYLOAD));
    }

    #[test]
    fn a_port_in_use_is_an_error_not_a_shared_port() {
        let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let taken = first.socket.local_addr().unwrap();
        assert_eq!(bind(taken).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
