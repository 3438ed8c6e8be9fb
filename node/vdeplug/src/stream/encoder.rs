//! From frames to octets, however few of them the stream takes at a time. Owns the queue of what
//! it did not take; the writing is the caller's.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};

use super::{Framing, MIN_FRAME, StreamConfig};
use crate::plug::{SendError, SendOutcome};
use crate::sys::mmsg::BATCH;

/// Both halves of the queue, and lengths and a payload for each frame. Far below the system's
/// limit of 1024 (writev(2)).
const MAX_SLICES: usize = 2 + 2 * BATCH;

/// Octets of a frame that is copied next to its length and its neighbours: the kernel takes one long
/// piece sooner than many short ones, by more than the copy costs.
const SHORT: usize = 512;

/// Puts frames into a stream, up to 64 in one write. Only short ones are copied, unless the stream does
/// not take them at once.
///
/// What the stream does not take goes into a bounded queue, whole frames only. The rest of a frame
/// that was begun goes there in any case, so the queue may exceed its limit by one frame.
pub struct Encoder {
    framing: Framing,
    max_sent: usize,
    limit: usize,
    queue: VecDeque<u8>,
    /// The lengths of the frames of one write, each followed by its frame if that is short.
    joined: Vec<u8>,
}

impl Encoder {
    /// Makes an encoder for the beginning of a stream.
    pub fn new(config: StreamConfig) -> Self {
        Self {
            framing: config.framing,
            max_sent: config.max_sent.min(config.framing.max_received()),
            limit: config.queue,
            queue: VecDeque::new(),
            joined: Vec::new(),
        }
    }

    /// Octets that wait in the queue.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Sends what is queued and then `frames`, with one `write` for each 64 of them. `write` gets
    /// the pieces in order and returns how many octets it took, like writev(2).
    ///
    /// The outcome counts the frames that are in the stream or in the queue. It stops at the first
    /// frame that is in neither: with `WouldBlock` when the queue is full, with `TooLong` beyond
    /// [`StreamConfig::max_sent`], with `Other` below the 14 octets of an Ethernet header, and
    /// with what `write` says when it fails, which leaves the queue as it was.
    pub fn send(
        &mut self,
        frames: &[&[u8]],
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> SendOutcome {
        let mut sent = 0;
        while sent < frames.len() {
            let rest = &frames[sent..];
            let fitting =
                rest.iter().take(BATCH).take_while(|frame| self.check(frame).is_ok()).count();
            let result = if fitting == 0 {
                self.check(rest[0]).map(|()| 0)
            } else {
                self.send_some(&rest[..fitting], &mut write)
            };
            let stopped = match result {
                Ok(count) => {
                    sent += count;
                    (count < fitting).then_some(SendError::WouldBlock)
                }
                Err(error) => Some(error),
            };
            if stopped.is_some() {
                return SendOutcome { sent, stopped };
            }
        }
        SendOutcome { sent, stopped: None }
    }

    /// Sends what is queued, and nothing else. `Ok` when nothing is queued any more.
    ///
    /// # Errors
    /// `WouldBlock` when something is left, otherwise what `write` says.
    pub fn flush(
        &mut self,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> Result<(), SendError> {
        while !self.queue.is_empty() {
            let (front, back) = self.queue.as_slices();
            match write(&[IoSlice::new(front), IoSlice::new(back)]) {
                Ok(0) => return Err(SendError::WouldBlock),
                Ok(written) => drop(self.queue.drain(..written)),
                Err(error) => return Err(SendError::of_stream(error)),
            }
        }
        Ok(())
    }

    fn check(&self, frame: &[u8]) -> Result<(), SendError> {
        if frame.len() > self.max_sent {
            Err(SendError::TooLong)
        } else if frame.len() < MIN_FRAME {
            Err(SendError::Other(io::ErrorKind::InvalidInput.into()))
        } else {
            Ok(())
        }
    }

    /// Sends the queue and up to [`BATCH`] frames. Returns how many frames are in the stream or in
    /// the queue.
    fn send_some(
        &mut self,
        frames: &[&[u8]],
        write: &mut impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> Result<usize, SendError> {
        let header_len = self.framing.header_len();
        self.joined.clear();
        let mut ends = [0; BATCH];
        for (end, frame) in ends.iter_mut().zip(frames) {
            self.joined.extend_from_slice(&self.framing.header(frame.len())[..header_len]);
            if frame.len() <= SHORT {
                self.joined.extend_from_slice(frame);
            }
            *end = self.joined.len();
        }
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let (front, back) = self.queue.as_slices();
        let mut count = 0;
        // Most of the time nothing is queued.
        for part in [front, back].into_iter().filter(|part| !part.is_empty()) {
            slices[count] = IoSlice::new(part);
            count += 1;
        }
        let mut from = 0;
        for (end, frame) in ends.iter().zip(frames).filter(|(_, frame)| frame.len() > SHORT) {
            slices[count] = IoSlice::new(&self.joined[from..*end]);
            slices[count + 1] = IoSlice::new(frame);
            count += 2;
            from = *end;
        }
        if from < self.joined.len() {
            slices[count] = IoSlice::new(&self.joined[from..]);
            count += 1;
        }
        let mut written = match write(&slices[..count]).map_err(SendError::of_stream) {
            Ok(written) => written,
            Err(SendError::WouldBlock) => 0,
            Err(error) => return Err(error),
        };

        let from_queue = written.min(self.queue.len());
        self.queue.drain(..from_queue);
        written -= from_queue;
        for (index, frame) in frames.iter().enumerate() {
            let len = header_len + frame.len();
            if written >= len {
                written -= len;
                continue;
            }
            // Nothing of it is in the stream yet, so it can be dropped whole.
            if written == 0 && self.queue.len() + len > self.limit {
                return Ok(index);
            }
            let header = self.framing.header(frame.len());
            self.queue.extend(&header[written.min(header_len)..header_len]);
            self.queue.extend(&frame[written.saturating_sub(header_len)..]);
            written = 0;
        }
        Ok(frames.len())
    }
}

impl SendError {
    /// As `From`, but a runtime's own `WouldBlock`, which has no number, is one too.
    fn of_stream(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::WouldBlock { Self::WouldBlock } else { Self::from(error) }
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder")
            .field("framing", &self.framing)
            .field("max_sent", &self.max_sent)
            .field("limit", &self.limit)
            .field("queued", &self.queue.len())
            .finish()
    }
}

#[cfg(test)]
mod tests;
