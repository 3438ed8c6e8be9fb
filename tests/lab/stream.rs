//! A plug in a stream socket (`vdenode --stream`), as QEMU's `-netdev stream` plugs in: each frame
//! follows its length in four octets, most significant first. Written for crowds: thousands of
//! frames a second pass through one.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// What is read at once: more than a batch of 64 full frames.
const READ: usize = 256 << 10;

/// A plug; unplugged when dropped.
#[derive(Debug)]
pub struct StreamPlug {
    stream: UnixStream,
    received: Vec<u8>,
    /// Where in `received` the next frame's length is.
    at: usize,
    ended: bool,
}

impl StreamPlug {
    /// Plugs into a listening socket.
    ///
    /// # Errors
    ///
    /// When nobody listens there.
    pub fn insert(path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path)
            .with_context(|| format!("cannot plug into {}", path.display()))?;
        Ok(Self { stream, received: Vec::new(), at: 0, ended: false })
    }

    /// Sends one frame. Whether the switch still runs: what it sent before its end can be received.
    ///
    /// # Errors
    ///
    /// When the socket fails otherwise.
    ///
    /// # Panics
    ///
    /// When the frame is longer than the length field can say.
    pub fn send(&mut self, frame: &[u8]) -> Result<bool> {
        let len = u32::try_from(frame.len()).expect("a frame fits the stream's length field");
        let octets = [&len.to_be_bytes(), frame].concat();
        match self.stream.write_all(&octets) {
            Ok(()) => Ok(true),
            Err(err)
                if matches!(err.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) =>
            {
                Ok(false)
            }
            Err(err) => Err(err).context("a stream socket takes no frame"),
        }
    }

    /// The next frame, if one comes within `within` and the switch has not ended.
    ///
    /// # Errors
    ///
    /// When the socket fails.
    pub fn receive(&mut self, within: Duration) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some(frame) = self.buffered() {
                return Ok(Some(frame));
            }
            if self.ended || !self.fill(within)? {
                return Ok(None);
            }
        }
    }

    /// Whether the switch has ended and everything that it sent was received.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    fn buffered(&mut self) -> Option<Vec<u8>> {
        let (len, rest) = self.received[self.at..].split_first_chunk::<4>()?;
        let frame = rest.get(..usize::try_from(u32::from_be_bytes(*len)).ok()?)?.to_vec();
        self.at += 4 + frame.len();
        Some(frame)
    }

    /// Reads what is there; whether anything was.
    fn fill(&mut self, within: Duration) -> Result<bool> {
        self.received.drain(..self.at);
        self.at = 0;
        self.stream.set_read_timeout(Some(within)).context("a plug's patience")?;
        let before = self.received.len();
        self.received.resize(before + READ, 0);
        let read = self.stream.read(&mut self.received[before..]);
        self.received.truncate(before + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => self.ended = true,
            Ok(_) => return Ok(true),
            Err(err) if matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(err) if err.kind() == ErrorKind::ConnectionReset => self.ended = true,
            Err(err) => return Err(err).context("a stream socket gives no frame"),
        }
        Ok(false)
    }
}
