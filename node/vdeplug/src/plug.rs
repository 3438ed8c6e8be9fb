//! An open plug, the same at both ends: a datagram socket on which each datagram is one Ethernet
//! frame, and a silent control stream whose end is the unplugging.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::io::Errno;
use tokio::net::UnixStream;

use crate::path::SocketFile;
use crate::queue::DatagramQueue;
use crate::request::Description;
use crate::server::Site;
use crate::sys::mmsg::RecvBatch;

/// The default of [`crate::ServerConfig::send_buffer`] and its client's counterpart.
///
/// 512 KiB, which the kernel doubles for its own overhead: about 1360 small frames or 440 of full
/// size, more than comes to a guest at half of what a cable carries while others have its processor
/// for 3 ms. Who can wait does so before it is half full ([`Plug::is_crowded`]), so that a guest that
/// sends to another of this host as fast as it can is 2.5 ms ahead of it, not 5.
pub const DEFAULT_SEND_BUFFER: usize = 512 << 10;

/// Octets that a peer may send on the control stream after the handshake before it is taken for
/// broken. No known client sends any.
pub const MAX_IGNORED: usize = 4096;

/// One end of a plug. Dropping it unplugs: the peer reads the end of the control stream, and the
/// data socket's file is removed.
#[derive(Debug)]
pub struct Plug {
    data: DatagramQueue,
    control: UnixStream,
    peer: PeerCredentials,
    description: Description,
    /// What came on the control stream and was thrown away; see [`MAX_IGNORED`].
    ignored: AtomicUsize,
    /// The switch's end keeps its socket file and its directory. Declared last, so that both
    /// sockets are closed before.
    _site: Option<(SocketFile, Arc<Site>)>,
}

/// Who is at the other end, as the kernel noted it when the connection was made (`SO_PEERCRED`,
/// unix(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerCredentials {
    /// The process, unless it is invisible from here (another PID namespace).
    pub pid: Option<i32>,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
}

/// How a plug ended.
#[derive(Debug)]
pub enum Unplugged {
    /// The peer closed it, or its process ended.
    Closed,
    /// The peer sent more than [`MAX_IGNORED`] octets on the control stream, where none belong.
    Babbled,
    /// The control stream failed.
    Failed(io::Error),
}

/// What became of a batch.
#[derive(Debug)]
pub struct SendOutcome {
    /// How many frames went out or into the queue of a stream, in order from the first.
    pub sent: usize,
    /// Why the next one did not; `None` when all went out. The ones after it were not tried.
    pub stopped: Option<SendError>,
}

/// Why a frame could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The queue to the peer is full. Drop the rest, or wait for [`Plug::writable`].
    #[error("the queue to the plug is full")]
    WouldBlock,
    /// Nobody holds the other end any more. The control stream will say so too.
    #[error("the plug's other end is gone")]
    PeerGone,
    /// The frame is longer than the send buffer can ever hold, or than the peer of a stream takes.
    /// Skip it and go on.
    #[error("the frame is too long for the plug")]
    TooLong,
    /// Anything else, for instance no memory. Skip the frame and go on.
    #[error("the frame could not be sent")]
    Other(#[source] io::Error),
}

impl Plug {
    pub(crate) fn new(
        data: OwnedFd,
        control: UnixStream,
        peer: PeerCredentials,
        description: Description,
        site: Option<(SocketFile, Arc<Site>)>,
    ) -> io::Result<Self> {
        let data = DatagramQueue::new(data)?;
        let ignored = AtomicUsize::new(0);
        Ok(Self { data, control, peer, description, ignored, _site: site })
    }

    /// What the client said about itself.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Who is at the other end.
    pub fn peer(&self) -> PeerCredentials {
        self.peer
    }

    /// Waits until frames may have arrived. Cancel safe.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub async fn readable(&self) -> io::Result<()> {
        self.data.readable().await
    }

    /// Waits until the queue to the peer has drained to a quarter of its limit (that is where the
    /// kernel wakes writers of local datagrams up). Cancel safe.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub async fn writable(&self) -> io::Result<()> {
        self.data.writable().await
    }

    /// Takes what has arrived, up to 64 frames, without waiting. Returns their number, at least 1.
    /// A frame longer than the batch's slots is in it, marked as truncated.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has arrived; then [`Plug::readable`] waits for more.
    pub fn try_recv_batch(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        self.data.try_recv_batch(batch)
    }

    /// Sends frames, each as one datagram, without waiting.
    pub fn try_send_batch(&self, frames: &[&[u8]]) -> SendOutcome {
        self.data.try_send_batch(frames)
    }

    /// Whether the queue to the peer is so full that a further batch may be lost. A system call.
    pub fn is_crowded(&self) -> bool {
        self.data.is_crowded()
    }

    /// Waits until the other end unplugs. What it sends on the control stream is ignored, up to
    /// [`MAX_IGNORED`] octets. Cancel safe.
    pub async fn hung_up(&self) -> Unplugged {
        let mut octets = [0; 256];
        loop {
            if let Err(error) = self.control.readable().await {
                return Unplugged::Failed(error);
            }
            match self.control.try_read(&mut octets) {
                Ok(0) => return Unplugged::Closed,
                Ok(len) => {
                    if self.ignored.fetch_add(len, Ordering::Relaxed) + len > MAX_IGNORED {
                        return Unplugged::Babbled;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Unplugged::Closed;
                }
                Err(error) => return Unplugged::Failed(error),
            }
        }
    }
}

impl PeerCredentials {
    pub(crate) fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self {
            pid: credentials.pid().filter(|&pid| pid > 0),
            uid: credentials.uid(),
            gid: credentials.gid(),
        })
    }
}

impl From<io::Error> for SendError {
    fn from(error: io::Error) -> Self {
        // A runtime's own has no number.
        if error.kind() == io::ErrorKind::WouldBlock {
            return Self::WouldBlock;
        }
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(
                Errno::CONNREFUSED | Errno::CONNRESET | Errno::NOTCONN | Errno::PIPE | Errno::NOENT,
            ) => Self::PeerGone,
            Some(Errno::MSGSIZE) => Self::TooLong,
            _ => Self::Other(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_is_told_as_such_whoever_says_so() {
        let runtimes_own = io::Error::from(io::ErrorKind::WouldBlock);
        for error in [runtimes_own, io::Error::from(Errno::AGAIN)] {
            assert!(matches!(SendError::from(error), SendError::WouldBlock));
        }
    }
}
