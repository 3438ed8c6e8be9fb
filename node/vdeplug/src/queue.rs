//! A nonblocking datagram socket and the queue behind it: frames in and out in batches, how full
//! the queue to the peer is, and waiting for room in it.
//!
//! The runtime watches the socket for what arrives, and for room only while somebody waits for
//! room. The kernel tells a writer of local datagrams about each one that the peer takes, as long
//! as three quarters of the queue are empty; a socket watched for that would wake its thread once
//! for every frame that it has sent.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::sockopt;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::plug::{SendError, SendOutcome};
use crate::sys::mmsg::{self, BATCH, RecvBatch};
use crate::sys::outq;
use crate::sys::watched::{Nonblocking, watch};

/// The share of its limit, as a fraction, above which a queue is crowded: more than the quarter at
/// which the kernel says that there is room again by a batch of frames of full size, in a queue of
/// [`crate::plug::DEFAULT_SEND_BUFFER`], so that who waits does not wait for each few. The rest is for
/// those who cannot wait.
const CROWDED: (usize, usize) = (7, 16);

/// A connected datagram socket.
#[derive(Debug)]
pub(crate) struct DatagramQueue {
    socket: AsyncFd<Nonblocking>,
    /// Octets, as the kernel counts them, that wait at most for the peer to take them.
    limit: usize,
}

impl DatagramQueue {
    /// Takes a socket over; the size of its send buffer is final.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        let limit = sockopt::socket_send_buffer_size(&socket)?;
        Ok(Self { socket: watch(socket, Interest::READABLE)?, limit })
    }

    pub(crate) fn readiness(&self) -> &AsyncFd<Nonblocking> {
        &self.socket
    }

    /// Waits until something may have arrived.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await?.retain_ready();
        Ok(())
    }

    /// Takes what has arrived. Returns how many datagrams, at least 1.
    pub(crate) fn try_recv_batch(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        let mut received = None;
        let result = self.socket.try_io(Interest::READABLE, |socket| {
            let count = batch.receive(socket.as_fd())?;
            received = Some(count);
            // A batch that is not full emptied the queue. Saying so now saves the next call,
            // which could only learn the same.
            if count < BATCH { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
        });
        received.map_or(result, Ok)
    }

    /// Sends frames, each as one datagram, without waiting.
    pub(crate) fn try_send_batch(&self, frames: &[&[u8]]) -> SendOutcome {
        let mut sent = 0;
        while sent < frames.len() {
            match mmsg::send(self.as_fd(), &frames[sent..]) {
                Ok(count) => sent += count,
                Err(error) => return SendOutcome { sent, stopped: Some(SendError::from(error)) },
            }
        }
        SendOutcome { sent, stopped: None }
    }

    /// Whether a further batch may find no room.
    pub(crate) fn is_crowded(&self) -> bool {
        let (part, whole) = CROWDED;
        outq::octets(self.as_fd()).is_ok_and(|queued| queued > self.limit / whole * part)
    }

    /// Waits until the queue has drained to a quarter of its limit, which is where the kernel
    /// tells writers of local datagrams.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        // The runtime watches one descriptor once.
        let again = self.as_fd().try_clone_to_owned()?;
        watch(again, Interest::WRITABLE)?.writable().await?.retain_ready();
        Ok(())
    }
}

impl AsFd for DatagramQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }
}
