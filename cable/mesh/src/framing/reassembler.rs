//! Datagrams into frames.

use super::received::Received;
use super::record::{RecordLength, parse_body};
use super::ring::{Ring, Role, WINDOW};
use super::{DATAGRAM_HEADER_LEN, DatagramHeader, FramingError, SEQUENCE_MASK};

/// A sequence this far from the newest, either way, cannot be loss or delay: the sender has begun
/// a new sequence. 2^22 datagrams are 2 GB at least.
const RESTART_DISTANCE: u64 = 1 << 22;

/// Where the wire's 24-bit sequences lie among the 64-bit ones: high enough to look back from.
const SEQUENCE_BASE: u64 = 1 << 32;

const _: () = assert!(WINDOW < RESTART_DISTANCE);

/// What has become of the datagrams of one connection. Counters only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Moves with each datagram whose header was understood and that did not come before.
    pub datagrams: u64,
    /// Moves with each record that was handed out.
    pub records: u64,
    /// Moves by the sequence numbers that were passed over when a later datagram came first.
    pub skipped_datagrams: u64,
    /// Moves when one of those arrives after all, within [`WINDOW`].
    pub reordered_datagrams: u64,
    /// Moves when the beginning or the end of a record is given up: the rest was lost or did not
    /// fit. A record of which only the middle was lost moves it twice.
    pub broken_records: u64,
    /// Moves with each datagram that came before, or that comes too late to tell.
    pub repeated_datagrams: u64,
    /// Moves with each datagram that gave a [`FramingError`].
    pub malformed_datagrams: u64,
    /// Moves when the sequence jumps so far that the sender must have begun anew.
    pub restarts: u64,
}

impl Counters {
    /// Datagrams that were sent and have not arrived. Some may still do.
    pub fn lost_datagrams(&self) -> u64 {
        self.skipped_datagrams.saturating_sub(self.reordered_datagrams)
    }
}

/// Puts records together again, from datagrams in whatever order.
///
/// Records that lie whole in a datagram are handed out with it. A record that was cut is handed
/// out with the datagram that brings its last missing piece: ahead of that datagram's own records
/// when the piece is at its front, behind them when it is at its end. In order of sending, this
/// is the order of pushing. The cost of a datagram does not depend on how many came before: each
/// piece is looked at when it comes, and copied once when it is joined.
///
/// One reassembler serves one connection for its whole life.
#[derive(Debug)]
pub struct Reassembler<D> {
    ring: Ring<D>,
    /// The first sequence since the start or restart: those before it were never missed.
    first: u64,
    counters: Counters,
}

impl<D: AsRef<[u8]> + Clone> Default for Reassembler<D> {
    fn default() -> Self {
        Self::new()
    }
}

impl<D: AsRef<[u8]> + Clone> Reassembler<D> {
    /// A reassembler that has seen nothing, and takes any sequence as the first.
    pub fn new() -> Self {
        Self { ring: Ring::new(), first: 0, counters: Counters::default() }
    }

    /// Takes in one datagram and appends the records that it completes to `out`.
    ///
    /// A datagram that came before, or comes more than [`WINDOW`] behind, is counted and gives
    /// nothing. Cloning a `D` should be cheap: it happens at most twice for each datagram.
    ///
    /// # Errors
    /// [`FramingError`] when the datagram, or a record in it, is malformed. The records in front
    /// of the fault are in `out` all the same.
    pub fn handle_datagram(
        &mut self,
        datagram: D,
        out: &mut Received<D>,
    ) -> Result<(), FramingError> {
        let before = out.len();
        let result = self.accept(datagram, out);
        self.ring.bound();
        self.counters.broken_records += self.ring.take_given_up();
        self.counters.malformed_datagrams += u64::from(result.is_err());
        self.counters.records += (out.len() - before) as u64;
        result
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Octets of the datagrams that are kept because a piece waits, at most
    /// [`super::MAX_KEPT_OCTETS`].
    pub fn kept_octets(&self) -> usize {
        self.ring.kept_octets()
    }

    fn accept(&mut self, datagram: D, out: &mut Received<D>) -> Result<(), FramingError> {
        let octets = datagram.as_ref();
        let header = DatagramHeader::parse(octets)?;
        let Some(sequence) = self.admit(header.sequence) else {
            self.counters.repeated_datagrams += 1;
            return Ok(());
        };
        self.counters.datagrams += 1;

        let Some(head) = header.first.map(usize::from) else {
            let payload = octets.len() - DATAGRAM_HEADER_LEN;
            let (first, before) = self.ring.run_before(sequence);
            let (last, after) = self.ring.run_after(sequence);
            let run = before + payload + after;
            self.ring.insert(sequence, Role::Middle { far: sequence, octets: payload }, datagram);
            self.ring.set_run(first, last, run);
            self.settle(first - 1, last + 1, run, out);
            self.ring.release(first - 1);
            self.ring.release(last + 1);
            return Ok(());
        };

        self.ring.insert(sequence, Role::Edge { head, tail: 0 }, datagram.clone());
        let (first, run) = self.ring.run_before(sequence);
        self.settle(first - 1, sequence, run, out);
        self.ring.release(first - 1);

        let (tail, result) = whole_records(datagram, DATAGRAM_HEADER_LEN + head, out);
        self.ring.set_tail(sequence, tail);
        let (last, run) = self.ring.run_after(sequence);
        self.settle(sequence, last + 1, run, out);
        self.ring.release(last + 1);
        self.ring.release(sequence);
        result
    }

    /// The full sequence of a datagram, and the window moved to hold it; `None` when it came
    /// before or cannot be told from one that did.
    fn admit(&mut self, sequence: u32) -> Option<u64> {
        let restart = SEQUENCE_BASE + u64::from(sequence);
        let Some(newest) = self.ring.newest() else {
            self.first = restart;
            self.ring.restart(restart);
            return Some(restart);
        };
        let mask = u64::from(SEQUENCE_MASK);
        let ahead = u64::from(sequence).wrapping_sub(newest) & mask;
        let behind = mask + 1 - ahead;
        if ahead.min(behind) >= RESTART_DISTANCE {
            self.counters.restarts += 1;
            self.first = restart;
            self.ring.restart(restart);
            return Some(restart);
        }
        if ahead == 0 {
            return None;
        }
        if ahead < behind {
            self.counters.skipped_datagrams += ahead - 1;
            self.ring.advance(newest + ahead);
            return Some(newest + ahead);
        }
        let sequence = newest - behind;
        if !self.ring.is_awaited(sequence) {
            return None;
        }
        self.counters.reordered_datagrams += u64::from(sequence > self.first);
        Some(sequence)
    }

    /// Joins the pieces between two datagrams, `left` and `right`, between which there are only
    /// middles with `middle` octets; or gives them up if they cannot belong together.
    ///
    /// Nothing happens while the beginning is missing, or while the end is and the record says
    /// that there is one.
    fn settle(&mut self, left: u64, right: u64, middle: usize, out: &mut Received<D>) {
        let Some(Role::Edge { tail, .. }) = self.ring.role(left) else {
            return;
        };
        let head = match self.ring.role(right) {
            Some(Role::Edge { head, .. }) => Some(head),
            _ => None,
        };
        let end = head.unwrap_or(0);
        if tail == 0 {
            // No record is open at the end of `left`: what follows belongs to nothing.
            if middle + end > 0 {
                self.counters.broken_records += u64::from(end > 0);
                self.ring.close(left, right);
            }
            return;
        }
        let total = tail + middle + end;
        let fits = match self.record_length(left, right) {
            Ok(Some(length)) if length.total() == total => self.join(left, right, length, out),
            // A record that ends with its datagram is not followed by a head: it is complete as
            // soon as its length says so, even before the datagram after it is there.
            Ok(Some(length)) if length.total() > total && head.is_none() => return,
            Ok(None) if head.is_none() => return,
            _ => false,
        };
        self.counters.broken_records += u64::from(!fits);
        self.ring.close(left, right);
    }

    /// The length of the record that begins at the end of `left`. The field itself may be cut.
    fn record_length(&self, left: u64, right: u64) -> Result<Option<RecordLength>, FramingError> {
        let tail = self.ring.tail(left);
        let length = RecordLength::parse(tail)?;
        if length.is_some() {
            return Ok(length);
        }
        // At most eight octets, and at least one from each datagram.
        let pieces = (left + 1..=right).take(8).flat_map(|sequence| self.ring.front(sequence));
        let mut field = [0; 8];
        let mut len = 0;
        for (to, from) in field.iter_mut().zip(tail.iter().chain(pieces)) {
            *to = *from;
            len += 1;
        }
        RecordLength::parse(&field[..len])
    }

    /// Copies the pieces together; `false` when they make no valid record.
    fn join(&self, left: u64, right: u64, length: RecordLength, out: &mut Received<D>) -> bool {
        let joined = out.joined();
        let start = joined.len();
        joined.reserve(length.total());
        joined.extend_from_slice(self.ring.tail(left));
        for sequence in left + 1..=right {
            joined.extend_from_slice(self.ring.front(sequence));
        }
        let end = joined.len();
        match joined.get(start + length.field..end).map(parse_body) {
            Some(Ok((header, in_front))) => {
                out.push_joined(header, start + length.field + in_front..end);
                true
            }
            _ => {
                joined.truncate(start);
                false
            }
        }
    }
}

/// Appends the records that lie whole in a datagram, the first of them at `start`. Says how many
/// octets at its end begin a record that goes on in the next one.
fn whole_records<D: AsRef<[u8]>>(
    datagram: D,
    start: usize,
    out: &mut Received<D>,
) -> (usize, Result<(), FramingError>) {
    let before = out.len();
    let octets = datagram.as_ref();
    let mut at = start;
    let (tail, result) = loop {
        let rest = octets.get(at..).unwrap_or(&[]);
        let length = match RecordLength::parse(rest) {
            Ok(Some(length)) if length.total() <= rest.len() => length,
            Ok(_) => break (rest.len(), Ok(())),
            // Where the next record starts is not known: the rest of the datagram is given up.
            Err(error) => break (0, Err(error)),
        };
        let end = at + length.total();
        match parse_body(&octets[at + length.field..end]) {
            Ok((header, in_front)) => out.push_whole(header, at + length.field + in_front..end),
            Err(error) => break (0, Err(error)),
        }
        at = end;
    };
    if out.len() > before {
        out.keep(datagram);
    }
    (tail, result)
}
