//! From octets, split anywhere, to frames. Owns the one buffer that they are read into; the
//! reading is the caller's.

use std::fmt;

use super::{Framing, StreamError};
use crate::sys::mmsg::BATCH;

/// Octets asked for in one read: large reads are what makes a stream the cheapest port, and beyond
/// this the gain is flat.
const READ: usize = 64 << 10;

/// Takes a stream apart into frames, up to 64 at a time, without copying or allocating for any.
///
/// Octets go in through [`Decoder::space`] and [`Decoder::filled`]; [`Decoder::next_batch`] finds
/// the frames and [`Decoder::frames`] lends them out. Memory is bounded by the framing: 64 KiB and
/// one frame.
pub struct Decoder {
    framing: Framing,
    buffer: Box<[u8]>,
    /// Where the octets begin that are in no batch yet.
    start: usize,
    /// Where the octets end.
    end: usize,
    /// First octet and length of each frame of the present batch, all before `start`.
    spans: [(usize, usize); BATCH],
    count: usize,
}

/// What is at some place of the buffer.
enum Next {
    /// The beginning of something, or nothing.
    Part,
    /// A length of 0.
    Empty,
    /// A whole frame of this many octets.
    Frame(usize),
    TooLong(StreamError),
}

impl Decoder {
    /// Makes a decoder for the beginning of a stream.
    pub fn new(framing: Framing) -> Self {
        let len = READ + framing.header_len() + framing.max_received();
        Self {
            framing,
            buffer: vec![0; len].into_boxed_slice(),
            start: 0,
            end: 0,
            spans: [(0, 0); BATCH],
            count: 0,
        }
    }

    /// Where to put the octets that come next: 64 KiB, or less while whole frames wait in the
    /// buffer or once the stream is out of step. Ends the present batch.
    pub fn space(&mut self) -> &mut [u8] {
        self.count = 0;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.buffer.len() - self.end < READ {
            // Rarely more than a part of one frame.
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let room = &mut self.buffer[self.end..];
        let len = room.len().min(READ);
        &mut room[..len]
    }

    /// Says that the first `len` octets of [`Decoder::space`] are now those that came.
    ///
    /// # Panics
    /// When there was no space for so many.
    pub fn filled(&mut self, len: usize) {
        assert!(len <= self.buffer.len() - self.end, "{len} octets beyond the buffer");
        self.end += len;
    }

    /// Finds the next whole frames, up to 64, and ends the batch before. Returns their number; 0
    /// when more octets are needed first.
    ///
    /// # Errors
    /// [`StreamError`], once the frames before the fault have been handed out, and then each time.
    pub fn next_batch(&mut self) -> Result<usize, StreamError> {
        self.count = 0;
        while self.count < BATCH {
            match self.next_at(self.start) {
                Next::Part => break,
                Next::Empty => self.start += self.framing.header_len(),
                Next::Frame(len) => {
                    let first = self.start + self.framing.header_len();
                    self.spans[self.count] = (first, len);
                    self.count += 1;
                    self.start = first + len;
                }
                Next::TooLong(error) if self.count == 0 => return Err(error),
                Next::TooLong(_) => break,
            }
        }
        Ok(self.count)
    }

    /// The frames of the present batch, in order.
    pub fn frames(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let spans = &self.spans[..self.count];
        spans.iter().map(|&(first, len)| &self.buffer[first..first + len])
    }

    /// Whether the next batch needs no more octets: then it must be fetched before the stream is
    /// waited for, which may have nothing more to say.
    pub fn is_ready(&self) -> bool {
        let mut at = self.start;
        loop {
            match self.next_at(at) {
                Next::Part => return false,
                Next::Empty => at += self.framing.header_len(),
                Next::Frame(_) | Next::TooLong(_) => return true,
            }
        }
    }

    fn next_at(&self, at: usize) -> Next {
        let rest = &self.buffer[at..self.end];
        let Some(len) = self.framing.length(rest) else {
            return Next::Part;
        };
        let limit = self.framing.max_received();
        if len == 0 {
            Next::Empty
        } else if len > limit {
            Next::TooLong(StreamError::TooLong { len, limit })
        } else if rest.len() - self.framing.header_len() < len {
            Next::Part
        } else {
            Next::Frame(len)
        }
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("framing", &self.framing)
            .field("buffered", &(self.end - self.start))
            .field("batch", &self.count)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
