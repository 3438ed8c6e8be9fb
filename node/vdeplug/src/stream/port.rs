//! A stream of this host as a port: a socket, a terminal-like file, or the two ends of pipes that
//! are a program's standard input and output. Owns readiness and descriptors; framing is the
//! codecs' business.

use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, SocketType, sockopt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use super::{Decoder, Encoder, Framing, StreamConfig, StreamError};
use crate::plug::{DEFAULT_SEND_BUFFER, SendError, SendOutcome};
use crate::sys::watched::{Nonblocking, watch};

/// A stream, both directions. Dropping it closes its descriptors; octets still queued are lost.
///
/// Receiving needs a [`Decoder`] of its own, made by [`StreamPort::decoder`], because frames are
/// lent out of it while other ports send. Sending needs no more than `&self`; someone must
/// [`StreamPort::keep_flushing`], or wait for [`StreamPort::writable`] and
/// [`StreamPort::flush_queued`], or what is queued stays there.
///
/// The process must ignore `SIGPIPE`, as Rust programs do unless told otherwise.
#[derive(Debug)]
pub struct StreamPort {
    framing: Framing,
    input: AsyncFd<Nonblocking>,
    /// `None` when the input is the output too.
    output: Option<AsyncFd<Nonblocking>>,
    encoder: Mutex<Encoder>,
    /// Told when something is queued.
    queued: Notify,
    /// Told when nothing is queued any more.
    drained: Notify,
}

/// One direction of a stream, in an error's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Where frames come from.
    Input,
    /// Where frames go.
    Output,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Input => "input",
            Self::Output => "output",
        })
    }
}

/// A descriptor cannot be a port.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A regular file, a directory or a device such as `/dev/null`, which are always ready and
    /// would have to be read and written in other ways.
    #[error("the stream's {0} is a file; give a pipe, a socket or a terminal")]
    File(End),
    /// A socket that has no byte stream.
    #[error("the stream's {0} is a datagram socket; give a stream socket or a pipe")]
    Datagrams(End),
    /// The system refused.
    #[error("cannot {what} the stream's {end}")]
    Local {
        /// What was tried.
        what: &'static str,
        /// Where.
        end: End,
        /// The system's answer.
        source: io::Error,
    },
}

/// No frames came.
#[derive(Debug, thiserror::Error)]
pub enum RecvError {
    /// No whole frame has arrived. Wait for [`StreamPort::readable`].
    #[error("no whole frame has arrived")]
    WouldBlock,
    /// The peer closed the stream, or its process ended; perhaps in the middle of a frame, which
    /// is lost.
    #[error("the stream's other end is gone")]
    Closed,
    /// The stream cannot be followed any further. Close it.
    #[error(transparent)]
    OutOfStep(#[from] StreamError),
    /// Anything else. Close it.
    #[error("the stream could not be read")]
    Failed(#[source] io::Error),
}

impl StreamPort {
    /// Takes over a stream that goes both ways: a connected `UnixStream` or `TcpStream` of the
    /// standard library, or any such descriptor. A unix socket gets a send buffer of
    /// [`DEFAULT_SEND_BUFFER`]; TCP is told not to wait for more (`TCP_NODELAY`).
    ///
    /// # Errors
    /// [`OpenError`].
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O.
    pub fn new(stream: impl Into<OwnedFd>, config: StreamConfig) -> Result<Self, OpenError> {
        let interest = Interest::READABLE.add(Interest::WRITABLE);
        let input = open(stream.into(), End::Input, interest)?;
        Ok(Self::from_parts(input, None, config))
    }

    /// Takes over two one-way streams, for instance a child's standard output and input.
    ///
    /// # Errors
    /// [`OpenError`].
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O.
    pub fn pair(
        input: impl Into<OwnedFd>,
        output: impl Into<OwnedFd>,
        config: StreamConfig,
    ) -> Result<Self, OpenError> {
        let input = open(input.into(), End::Input, Interest::READABLE)?;
        let output = open(output.into(), End::Output, Interest::WRITABLE)?;
        Ok(Self::from_parts(input, Some(output), config))
    }

    /// This process's standard input and output. Both are made nonblocking for everyone who shares
    /// them until the port is dropped; nothing else should read or print there.
    ///
    /// # Errors
    /// [`OpenError`].
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O.
    pub fn stdio(config: StreamConfig) -> Result<Self, OpenError> {
        let own = |fd: BorrowedFd<'_>, end| {
            fd.try_clone_to_owned().map_err(OpenError::local("duplicate", end))
        };
        let input = own(io::stdin().as_fd(), End::Input)?;
        let output = own(io::stdout().as_fd(), End::Output)?;
        Self::pair(input, output, config)
    }

    fn from_parts(
        input: AsyncFd<Nonblocking>,
        output: Option<AsyncFd<Nonblocking>>,
        config: StreamConfig,
    ) -> Self {
        Self {
            framing: config.framing,
            input,
            output,
            encoder: Mutex::new(Encoder::new(config)),
            queued: Notify::new(),
            drained: Notify::new(),
        }
    }

    /// The decoder for this port's input. A stream has one: what it holds of a frame is nowhere
    /// else.
    pub fn decoder(&self) -> Decoder {
        Decoder::new(self.framing)
    }

    /// Waits until frames may have arrived, not at all when `decoder` holds some. Cancel safe.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub async fn readable(&self, decoder: &Decoder) -> io::Result<()> {
        if !decoder.is_ready() {
            self.input.readable().await?.retain_ready();
        }
        Ok(())
    }

    /// Takes what has arrived, up to 64 frames, without waiting. Returns their number, at least 1;
    /// [`Decoder::frames`] has them. Reads at most 64 KiB, and only when no frame is left from
    /// the read before.
    ///
    /// # Errors
    /// [`RecvError::WouldBlock`] when there is no whole frame; the others are final.
    pub fn try_recv_batch(&self, decoder: &mut Decoder) -> Result<usize, RecvError> {
        let count = decoder.next_batch()?;
        if count > 0 {
            return Ok(count);
        }
        match self.read(decoder.space()) {
            Ok(0) => return Err(RecvError::Closed),
            Ok(len) => decoder.filled(len),
            Err(error) => {
                return Err(match error.kind() {
                    io::ErrorKind::WouldBlock => RecvError::WouldBlock,
                    io::ErrorKind::ConnectionReset => RecvError::Closed,
                    _ => RecvError::Failed(error),
                });
            }
        }
        match decoder.next_batch()? {
            0 => Err(RecvError::WouldBlock),
            count => Ok(count),
        }
    }

    fn read(&self, space: &mut [u8]) -> io::Result<usize> {
        let mut received = None;
        let result = self.input.try_io(Interest::READABLE, |input| {
            let len = retry_on_intr(|| rustix::io::read(input, &mut *space))?;
            received = Some(len);
            // A short read emptied the stream. Saying so now saves the next call, which could only
            // learn the same. That the peer is gone is remembered apart.
            if len < space.len() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(len) }
        });
        received.map_or(result, Ok)
    }

    /// Sends frames without waiting; see [`Encoder::send`]. A frame that was taken is not lost
    /// unless the stream ends.
    pub fn try_send_batch(&self, frames: &[&[u8]]) -> SendOutcome {
        let mut encoder = self.encoder();
        // The runtime holds the stream for blocked from its creation to the first event. With
        // nothing queued there is no event to wait for, so it is tried all the same.
        let insist = encoder.queued() == 0;
        let outcome = encoder.send(frames, |slices| self.write(slices, insist));
        let waiting = encoder.queued() > 0;
        drop(encoder);
        if waiting {
            self.queued.notify_one();
        }
        outcome
    }

    /// Octets that wait for room in the stream.
    pub fn queued(&self) -> usize {
        self.encoder().queued()
    }

    /// Waits until there may be room in the stream. Cancel safe.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub async fn writable(&self) -> io::Result<()> {
        self.output().writable().await?.retain_ready();
        Ok(())
    }

    /// Waits until nothing is queued; somebody must [`StreamPort::keep_flushing`]. Cancel safe.
    pub async fn room(&self) {
        loop {
            let drained = self.drained.notified();
            if self.queued() == 0 {
                return;
            }
            drained.await;
        }
    }

    /// Sends what is queued, without waiting. `Ok` when nothing is queued any more.
    ///
    /// # Errors
    /// `WouldBlock` when something is left; then [`StreamPort::writable`] waits for room.
    pub fn flush_queued(&self) -> Result<(), SendError> {
        self.encoder().flush(|slices| self.write(slices, false))?;
        self.drained.notify_waiters();
        Ok(())
    }

    /// Sends what is queued whenever there is room, for as long as it is polled. Returns why it
    /// cannot go on: `PeerGone` or `Other`. Cancel safe.
    pub async fn keep_flushing(&self) -> SendError {
        loop {
            while self.queued() == 0 {
                self.queued.notified().await;
            }
            if let Err(error) = self.writable().await {
                return SendError::Other(error);
            }
            match self.flush_queued() {
                Ok(()) | Err(SendError::WouldBlock) => {}
                Err(error) => return error,
            }
        }
    }

    fn write(&self, slices: &[IoSlice<'_>], insist: bool) -> io::Result<usize> {
        let len: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut written = None;
        let result = self.output().try_io(Interest::WRITABLE, |output| {
            let count = retry_on_intr(|| rustix::io::writev(output, slices));
            written = Some(count);
            match count {
                // A short write filled the stream.
                Ok(count) if count == len => Ok(count),
                Ok(_) => Err(io::ErrorKind::WouldBlock.into()),
                Err(errno) => Err(errno.into()),
            }
        });
        match written {
            Some(count) => Ok(count?),
            None if insist => {
                let output = self.output().get_ref();
                Ok(retry_on_intr(|| rustix::io::writev(output, slices))?)
            }
            None => result,
        }
    }

    fn output(&self) -> &AsyncFd<Nonblocking> {
        self.output.as_ref().unwrap_or(&self.input)
    }

    fn encoder(&self) -> MutexGuard<'_, Encoder> {
        // A panic while it was held cannot have left it half changed: it changes after the write.
        self.encoder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenError {
    fn local(what: &'static str, end: End) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Local { what, end, source }
    }
}

/// Checks that a descriptor can be one end of a port, and has the runtime watch it.
fn open(fd: OwnedFd, end: End, interest: Interest) -> Result<AsyncFd<Nonblocking>, OpenError> {
    match sockopt::socket_type(&fd) {
        Ok(SocketType::STREAM) => tune(&fd),
        Ok(_) => return Err(OpenError::Datagrams(end)),
        Err(Errno::NOTSOCK) => {}
        Err(errno) => return Err(OpenError::local("examine", end)(errno.into())),
    }
    watch(fd, interest).map_err(|error| {
        if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) {
            OpenError::File(end)
        } else {
            OpenError::local("watch", end)(error)
        }
    })
}

/// Settings that make a socket faster; it works without them too.
fn tune(socket: &OwnedFd) {
    match sockopt::socket_domain(socket) {
        Ok(AddressFamily::UNIX) => {
            let _ = sockopt::set_socket_send_buffer_size(socket, DEFAULT_SEND_BUFFER);
        }
        Ok(AddressFamily::INET | AddressFamily::INET6) => {
            let _ = sockopt::set_tcp_nodelay(socket, true);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
