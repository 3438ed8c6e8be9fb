//! Any socket on which each datagram is one Ethernet frame, as a port: with the batches of a
//! [`Plug`](crate::Plug), but without its control stream.
//!
//! | Socket | Who speaks it |
//! |---|---|
//! | unix datagram, a pair or bound to paths | QEMU's `-netdev dgram`, vfkit and libkrun's `unixgram` |
//! | UDP, connected | QEMU's `-netdev dgram` with addresses |
//! | unix `SOCK_SEQPACKET`, connected | User-Mode Linux's `bess` |
//!
//! The caller makes and names the sockets. A frame is as [`Plug`](crate::Plug) has it: no check
//! sequence, no offload header.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, RecvFlags, SocketAddrAny, SocketType, sockopt};

use crate::plug::{DEFAULT_SEND_BUFFER, SendOutcome};
use crate::queue::DatagramQueue;
use crate::stream::RecvError;
use crate::sys::mmsg::RecvBatch;

/// What vfkit's `unixgram` clients send first, so that the other side learns their address. It is
/// no frame.
pub const HELLO: [u8; 4] = *b"VFKT";

/// A connected socket of datagrams. Dropping it closes the socket; a path that it is bound to is
/// the caller's.
#[derive(Debug)]
pub struct DgramPort {
    socket: DatagramQueue,
    kind: Kind,
}

/// How the end of the peer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// When a frame cannot be sent.
    Local,
    /// As datagrams of no length.
    Sequenced,
    /// Not for certain: that nobody listens may be true for a moment only.
    Internet,
}

/// A descriptor cannot be a port.
#[derive(Debug, thiserror::Error)]
pub enum DgramOpenError {
    /// Frames need datagrams; [`StreamPort`](crate::stream::StreamPort) takes streams.
    #[error("the descriptor has no datagrams; give a datagram or a sequenced-packet socket")]
    NoDatagrams,
    /// It is not known where to send.
    #[error("the socket is not connected; connect it, or wait for its peer")]
    NotConnected,
    /// The system refused.
    #[error("cannot {what} the socket")]
    Local {
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

impl DgramPort {
    /// Takes over a connected socket: a `UnixDatagram` or `UdpSocket` of the standard library, or
    /// any such descriptor. Its send buffer becomes [`DEFAULT_SEND_BUFFER`], as far as the system
    /// allows.
    ///
    /// # Errors
    /// [`DgramOpenError`].
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O.
    pub fn new(socket: impl Into<OwnedFd>) -> Result<Self, DgramOpenError> {
        let port = Self::open(socket.into())?;
        match rustix::net::getpeername(&port.socket) {
            Ok(Some(_)) => Ok(port),
            Ok(None) | Err(Errno::NOTCONN) => Err(DgramOpenError::NotConnected),
            Err(errno) => Err(DgramOpenError::local("examine", errno.into())),
        }
    }

    /// Takes over a bound socket and waits for its peer: whoever sends first and can be answered
    /// is the peer from then on. A [`HELLO`] is swallowed; another first datagram is the first
    /// frame. Cancel safe, but the socket is closed.
    ///
    /// # Errors
    /// [`DgramOpenError`].
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O.
    pub async fn await_peer(socket: impl Into<OwnedFd>) -> Result<Self, DgramOpenError> {
        let port = Self::open(socket.into())?;
        loop {
            let mut ready = port
                .socket
                .readiness()
                .readable()
                .await
                .map_err(|error| DgramOpenError::local("wait for", error))?;
            match port.meet() {
                Ok(true) => {
                    ready.retain_ready();
                    drop(ready);
                    return Ok(port);
                }
                Ok(false) => {}
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(errno) => return Err(DgramOpenError::local("receive from", errno.into())),
            }
        }
    }

    fn open(socket: OwnedFd) -> Result<Self, DgramOpenError> {
        let examine = |errno: Errno| match errno {
            Errno::NOTSOCK => DgramOpenError::NoDatagrams,
            errno => DgramOpenError::local("examine", errno.into()),
        };
        let kind = sockopt::socket_type(&socket).map_err(examine)?;
        let domain = sockopt::socket_domain(&socket).map_err(examine)?;
        let kind = match (domain, kind) {
            (AddressFamily::UNIX, SocketType::DGRAM) => Kind::Local,
            (AddressFamily::UNIX, SocketType::SEQPACKET) => Kind::Sequenced,
            (_, SocketType::DGRAM) => Kind::Internet,
            _ => return Err(DgramOpenError::NoDatagrams),
        };
        let _ = sockopt::set_socket_send_buffer_size(&socket, DEFAULT_SEND_BUFFER);
        if kind == Kind::Internet {
            // Elsewhere the sender's buffer is the only one.
            let _ = sockopt::set_socket_recv_buffer_size(&socket, DEFAULT_SEND_BUFFER);
        }
        let socket =
            DatagramQueue::new(socket).map_err(|error| DgramOpenError::local("watch", error))?;
        Ok(Self { socket, kind })
    }

    /// Looks at the first datagram and connects to its sender. `false` when that was nobody.
    fn meet(&self) -> Result<bool, Errno> {
        let socket = &self.socket;
        let mut octets = [0; HELLO.len() + 1];
        let receive = |octets: &mut [u8], flags| {
            retry_on_intr(|| rustix::net::recvfrom(socket, &mut *octets, flags))
        };
        let (len, _, sender) = receive(&mut octets, RecvFlags::PEEK)?;
        let met = sender.is_some_and(|sender: SocketAddrAny| {
            // One without a name, or one that is gone meanwhile, cannot be the peer.
            rustix::net::connect(socket, &sender).is_ok()
        });
        if !met || octets[..len] == HELLO {
            receive(&mut octets, RecvFlags::empty())?;
        }
        Ok(met)
    }

    /// Whether the socket is one of sequenced packets.
    pub fn is_sequenced(&self) -> bool {
        self.kind == Kind::Sequenced
    }

    /// Whether somebody still answers at the peer's path: whoever has it now is the peer from then
    /// on. Always true of other kinds of sockets, whose end is told or cannot be known.
    pub fn is_attended(&self) -> bool {
        if self.kind != Kind::Local {
            return true;
        }
        match rustix::net::getpeername(&self.socket) {
            Ok(Some(peer)) if peer.addr_len() as usize > size_of::<libc::sa_family_t>() => {
                rustix::net::connect(&self.socket, &peer).is_ok()
            }
            // One without a name, as of a pair, is told when a frame is sent.
            Ok(Some(_)) => true,
            // A frame was sent to nobody, and the kernel took the connection back.
            Ok(None) | Err(_) => false,
        }
    }

    /// Waits until frames may have arrived. Cancel safe.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Waits until there may be room in the queue to the peer. Cancel safe.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// Takes what has arrived, up to 64 frames, without waiting. Returns their number, at least 1.
    /// A frame longer than the batch's slots is in it, marked as truncated.
    ///
    /// # Errors
    /// [`RecvError::WouldBlock`] when nothing has arrived; [`RecvError::Closed`] when the peer of
    /// a `SOCK_SEQPACKET` is gone, the only kind where this is seen here; [`RecvError::Failed`].
    pub fn try_recv_batch(&self, batch: &mut RecvBatch) -> Result<usize, RecvError> {
        let count = self.socket.try_recv_batch(batch).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => RecvError::WouldBlock,
            // A report on what was sent before; there may be frames behind it.
            io::ErrorKind::ConnectionRefused if self.kind == Kind::Internet => {
                RecvError::WouldBlock
            }
            io::ErrorKind::ConnectionReset => RecvError::Closed,
            _ => RecvError::Failed(error),
        })?;
        if self.kind != Kind::Sequenced {
            return Ok(count);
        }
        let end = batch.iter().position(|datagram| datagram.bytes.is_empty());
        match end {
            Some(0) => Err(RecvError::Closed),
            Some(end) => {
                batch.truncate(end);
                Ok(end)
            }
            None => Ok(count),
        }
    }

    /// Sends frames, each as one datagram, without waiting. `PeerGone` on UDP may be true for a
    /// moment only.
    pub fn try_send_batch(&self, frames: &[&[u8]]) -> SendOutcome {
        self.socket.try_send_batch(frames)
    }

    /// Whether the queue to the peer is so full that a further batch may be lost. A system call.
    pub fn is_crowded(&self) -> bool {
        self.socket.is_crowded()
    }
}

impl DgramOpenError {
    fn local(what: &'static str, source: io::Error) -> Self {
        Self::Local { what, source }
    }
}

#[cfg(test)]
mod tests;
