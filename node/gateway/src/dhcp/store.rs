//! What the log does not say yet, and which answers wait for it.
//!
//! One write at a time: while the caller stores one, the next collects (group commit). An address
//! is noted, not a record: what is written is what is true when the write is fetched, so that a
//! failed write is simply repeated.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::client::ClientKey;
use crate::lease_log::CHUNK;

/// Names one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// A write to the lease log that the caller makes durable and then reports with
/// [`Server::handle_stored`](super::Server::handle_stored).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Which one.
    pub ticket: Ticket,
    /// What to do.
    pub write: Write,
}

/// What to do with the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Write at this offset, which is the log's length, and `fdatasync`. When that fails, truncate
    /// the file to the offset again; when that fails too, report [`StoreError::Failed`].
    Append {
        /// Where.
        at: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// Write another file, `fsync` it, rename it over the log, `fsync` the folder.
    Replace(Vec<u8>),
    /// The same with what [`compacted`](crate::lease_log::compacted) makes of the log, whose length
    /// is this, and of these records. Where it makes nothing, report [`StoreError::Failed`].
    Compact {
        /// How long the log is.
        at: u64,
        /// What it says besides.
        bytes: Vec<u8>,
    },
}

/// Why a write is not durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// `ENOSPC` or `EDQUOT`, and the log is as it was.
    #[error("no space left for the lease log; free some")]
    NoSpace,
    /// `EROFS` or a lack of permission, and the log is as it was.
    #[error("the lease log is read-only; make its folder writable")]
    ReadOnly,
    /// Anything else. What the file holds is not known, so the next write replaces it.
    #[error("writing the lease log failed; look at the host's disk")]
    Failed,
    /// No report for a second. The server's own finding; a report ends it.
    #[error("the disk takes more than a second for the lease log; look at the host's disk")]
    Slow,
}

/// How long a write may take before renewals stop waiting for it.
const SLOW: Duration = Duration::from_secs(1);

/// How long after a failure the next write is tried.
const RETRY: Duration = Duration::from_secs(5);

/// How many answers may wait. A client that gets none repeats its request.
pub(super) const MAX_HELD: usize = 4096;

/// A log is compacted when it is this many times as long as need be, and not short.
const COMPACT_RATIO: usize = 4;
const COMPACT_FROM: usize = 256 * 1024;

/// An ACK that waits for its lease to be durable.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) address: Ipv4Addr,
    pub(super) client: ClientKey,
    /// When the client's last lease of the address ended, if it had one.
    pub(super) lapsed: Option<Duration>,
    pub(super) xid: u32,
    pub(super) frame: Vec<u8>,
}

/// Addresses of which the log does not say the truth.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    pub(super) leases: BTreeSet<Ipv4Addr>,
    pub(super) reservations: BTreeSet<Ipv4Addr>,
}

/// What is to be written.
#[derive(Debug)]
pub(super) enum Due<'a> {
    /// The truth about these addresses.
    Append(&'a Dirty),
    /// The same, and the log is longer than need be.
    Compact(&'a Dirty),
    /// Everything.
    Replace,
}

/// How a write changes the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Append,
    Compact,
    Replace,
}

#[derive(Debug)]
struct Batch {
    ticket: Ticket,
    since: Duration,
    dirty: Dirty,
    held: Vec<Held>,
    manner: Manner,
}

#[derive(Debug)]
pub(super) struct Pending {
    dirty: Dirty,
    held: Vec<Held>,
    in_flight: Option<Batch>,
    next: u64,
    log_len: usize,
    /// Whether the next write must be a whole log.
    replace: bool,
    /// Do not compact below this length: it failed, or made no less of it, at half of that.
    compact_from: usize,
    trouble: Option<StoreError>,
    retry_at: Duration,
}

impl Pending {
    /// `log_len` is that of a sound log, or 0 to write a whole one first.
    pub(super) fn new(log_len: usize) -> Self {
        Self {
            dirty: Dirty::default(),
            held: Vec::new(),
            in_flight: None,
            next: 0,
            log_len,
            replace: log_len == 0,
            compact_from: COMPACT_FROM,
            trouble: None,
            retry_at: Duration::ZERO,
        }
    }

    /// The ticket of the write that will hold what is noted now.
    pub(super) const fn ticket(&self) -> Ticket {
        Ticket(self.next)
    }

    pub(super) const fn trouble(&self) -> Option<StoreError> {
        self.trouble
    }

    pub(super) fn note_lease(&mut self, address: Ipv4Addr) {
        self.dirty.leases.insert(address);
    }

    pub(super) fn note_reservation(&mut self, address: Ipv4Addr) {
        self.dirty.reservations.insert(address);
    }

    pub(super) fn hold(&mut self, held: Held) {
        self.held.push(held);
    }

    pub(super) fn is_full(&self) -> bool {
        let in_flight = self.in_flight.as_ref().map_or(0, |batch| batch.held.len());
        self.held.len() + in_flight >= MAX_HELD
    }

    /// Whether the answer to this very message waits already.
    pub(super) fn holds(&self, address: Ipv4Addr, xid: u32) -> bool {
        let same = |held: &Held| held.address == address && held.xid == xid;
        // The address is noted whenever an answer about it waits: usually there is none to search.
        let in_flight = self.in_flight.as_ref().is_some_and(|batch| {
            batch.dirty.leases.contains(&address) && batch.held.iter().any(same)
        });
        in_flight || (self.dirty.leases.contains(&address) && self.held.iter().any(same))
    }

    pub(super) fn is_durable(&self, address: Ipv4Addr) -> bool {
        let in_flight = self.in_flight.as_ref();
        !self.dirty.leases.contains(&address)
            && !in_flight.is_some_and(|batch| batch.dirty.leases.contains(&address))
    }

    /// What to write now, if anything. `live` is how many records a compact log has.
    pub(super) fn due(&self, now: Duration, live: usize) -> Option<Due<'_>> {
        if self.in_flight.is_some() || (self.trouble.is_some() && now < self.retry_at) {
            return None;
        }
        let compact =
            self.log_len >= self.compact_from && self.log_len > COMPACT_RATIO * (live + 1) * CHUNK;
        let nothing = self.dirty.leases.is_empty() && self.dirty.reservations.is_empty();
        match (self.replace, nothing) {
            (true, _) => Some(Due::Replace),
            (false, true) => None,
            (false, false) if compact => Some(Due::Compact(&self.dirty)),
            (false, false) => Some(Due::Append(&self.dirty)),
        }
    }

    /// Begins the write that was [`due`](Self::due): a whole log or the records to append.
    pub(super) fn begin(&mut self, now: Duration, manner: Manner, bytes: Vec<u8>) -> Store {
        let ticket = self.ticket();
        self.next += 1;
        self.in_flight = Some(Batch {
            ticket,
            since: now,
            dirty: std::mem::take(&mut self.dirty),
            held: std::mem::take(&mut self.held),
            manner,
        });
        let at = u64::try_from(self.log_len).expect("a length has at most 64 bits");
        let write = match manner {
            Manner::Append => Write::Append { at, bytes },
            Manner::Compact => Write::Compact { at, bytes },
            Manner::Replace => Write::Replace(bytes),
        };
        Store { ticket, write }
    }

    /// The write succeeded, and the log is that long now: the answers that may go, and whether there
    /// was trouble before.
    pub(super) fn succeeded(&mut self, ticket: Ticket, log_len: u64) -> Option<(Vec<Held>, bool)> {
        let batch = self.in_flight.take_if(|batch| batch.ticket == ticket)?;
        self.log_len = usize::try_from(log_len).unwrap_or(usize::MAX);
        match batch.manner {
            Manner::Append => {}
            // The log may tell of addresses that this server knows nothing of any more.
            Manner::Compact => self.compact_from = COMPACT_FROM.max(self.log_len.saturating_mul(2)),
            Manner::Replace => {
                self.replace = false;
                self.compact_from = COMPACT_FROM;
            }
        }
        Some((batch.held, self.trouble.take().is_some()))
    }

    /// The write failed: the answers that waited, those for the next write included, and whether
    /// the operator does not know yet.
    pub(super) fn failed(
        &mut self,
        ticket: Ticket,
        error: StoreError,
        now: Duration,
    ) -> Option<(Vec<Held>, bool)> {
        let mut batch = self.in_flight.take_if(|batch| batch.ticket == ticket)?;
        self.dirty.leases.append(&mut batch.dirty.leases);
        self.dirty.reservations.append(&mut batch.dirty.reservations);
        batch.held.append(&mut self.held);
        self.retry_at = now + RETRY;
        if matches!(error, StoreError::Failed | StoreError::Slow) {
            self.replace = true;
        } else if batch.manner == Manner::Compact {
            // No room for a second file; there may be room for a few more records.
            self.compact_from = self.log_len.saturating_mul(2);
        }
        let news = self.trouble.replace(error) != Some(error);
        Some((batch.held, news))
    }

    /// When to come back: to find a write slow, or to try again.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        match (&self.in_flight, self.trouble) {
            (Some(batch), None) => Some(batch.since + SLOW),
            (None, Some(_)) => Some(self.retry_at),
            _ => None,
        }
    }

    /// Whether the write that is under way has just become slow.
    pub(super) fn becomes_slow(&mut self, now: Duration) -> bool {
        let Some(batch) = &self.in_flight else { return false };
        let slow = self.trouble.is_none() && batch.since + SLOW <= now;
        if slow {
            self.trouble = Some(StoreError::Slow);
        }
        slow
    }

    /// Takes the answers that wait and for which `choose` says so.
    pub(super) fn release(&mut self, mut choose: impl FnMut(&Held) -> bool) -> Vec<Held> {
        let in_flight = self.in_flight.iter_mut().map(|batch| &mut batch.held);
        let mut released = Vec::new();
        for held in in_flight.chain([&mut self.held]) {
            released.extend(held.extract_if(.., |held| choose(held)));
        }
        released
    }
}
