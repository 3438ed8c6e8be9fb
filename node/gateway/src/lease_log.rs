//! The lease log: what is on disk, octet by octet, and how it is read after a crash.
//!
//! Pure: the caller appends, synchronises, truncates and renames. A record says all there is to
//! know of one address, and the last record of an address counts; writing one twice, or again after
//! compaction, does no harm.
//!
//! # Layout
//!
//! The file is a row of chunks of [`CHUNK`] octets. The first is the header. Every record begins a
//! chunk and fills as many as it needs; the rest of the last is zero.
//!
//! | chunk | octets |
//! |---|---|
//! | header | `vdelease`, version (u16), CRC-32C of both (u32), zeros |
//! | first of a record | `R`, length (u16), CRC-32C of length and record (u32), record |
//! | others of it | `C`, record |
//!
//! Numbers are little-endian; a record is a [`Record`] in postcard's form. Because a chunk says by
//! its first octet whether a record begins there, damage costs only the records it touches, and
//! nothing that a client may put into a record is ever taken for one.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crc::{CRC_32_ISCSI, Crc, Table};
use ether::MacAddr;
use serde::{Deserialize, Serialize};

use crate::client::{ClientKey, ReservedFor};
use crate::hostname::Hostname;
use crate::time::{BootId, LeaseTime, UtcTime};

/// The unit of the file: 128 octets, which hold the record of a usual client.
pub const CHUNK: usize = 128;

/// The version that this code writes, and the only one that it reads.
pub const VERSION: u16 = 1;

const MAGIC: &[u8; 8] = b"vdelease";
const FIRST: u8 = b'R';
const OTHER: u8 = b'C';
/// Kind, length and checksum before the record.
const FIRST_HEADER: usize = 7;

/// More than the longest record: an identifier of 255 octets, a name of 63 and some 60 others.
const MAX_RECORD: usize = 1024;

static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// One statement about an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// The address belongs, or belonged last, to a client.
    Lease(LeaseRecord),
    /// The address belongs to nobody and nobody is remembered.
    Free(Ipv4Addr),
    /// An administrator keeps the address for a client.
    Reserved(ReservationRecord),
    /// Not any more.
    Unreserved(Ipv4Addr),
}

/// A lease on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// The address.
    pub address: Ipv4Addr,
    /// What the client may do with it.
    pub state: RecordState,
    /// Whose it is.
    pub client: ClientKey,
    /// The client's station, or in quarantine the one that caused the conflict.
    pub mac: [u8; 6],
    /// The name that the server gave it.
    pub hostname: Option<Hostname>,
    /// The granted time.
    pub time: LeaseTime,
    /// The boot in which `until_since_boot` counts.
    pub boot: BootId,
    /// When the state ends (bound, quarantined) or began (released), in seconds since that boot,
    /// rounded up; `None` for never.
    pub until_since_boot: Option<u64>,
    /// The same by date.
    pub until: UtcTime,
}

/// What a lease on disk stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordState {
    /// The client may use the address until the lease ends.
    Bound,
    /// The client gave it back; it is remembered for it.
    Released,
    /// A client found it in use by somebody else.
    Quarantined,
    /// A station without a lease was seen to use it.
    Used,
}

/// A reservation on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservationRecord {
    /// The address.
    pub address: Ipv4Addr,
    /// Whom it is for.
    pub client: ReservedFor,
    /// The client's name.
    pub hostname: Option<Hostname>,
}

/// Everything that a log says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leases {
    /// The last word on each address.
    pub leases: BTreeMap<Ipv4Addr, LeaseRecord>,
    /// The reservations that were made at run time.
    pub reservations: BTreeMap<Ipv4Addr, ReservationRecord>,
}

impl Leases {
    /// Takes one more record into account.
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::Lease(lease) => {
                self.leases.insert(lease.address, lease);
            }
            Record::Free(address) => {
                self.leases.remove(&address);
            }
            Record::Reserved(reservation) => {
                self.reservations.insert(reservation.address, reservation);
            }
            Record::Unreserved(address) => {
                self.reservations.remove(&address);
            }
        }
    }
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loaded {
    /// What the readable records say.
    pub leases: Leases,
    /// Where the last of them ends: a multiple of [`CHUNK`], 0 without even a header. The caller
    /// truncates the file to this before it appends.
    pub valid_len: usize,
    /// What could not be read.
    pub damage: Damage,
}

/// What of a log could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Damage {
    /// Octets after the last readable record: a write that a crash cut short. Expected.
    pub torn_tail: usize,
    /// Chunks before it that belong to no readable record: the medium is failing, or somebody
    /// edited the file. Leases may be lost.
    pub bad_chunks: usize,
    /// Whether the header is not what this code writes.
    pub bad_header: bool,
}

impl Damage {
    /// Whether more is wrong than a torn tail.
    pub const fn is_serious(self) -> bool {
        self.bad_chunks > 0 || self.bad_header
    }
}

/// Why a file is not to be touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// A later version wrote it.
    #[error(
        "the lease log has version {0}; this program reads {VERSION}. Use the later program, or move the file away and lose the leases"
    )]
    Version(u16),
    /// Neither header nor record.
    #[error("the file is not a lease log; move it away, or give another state folder")]
    NotALog,
}

/// The octets of a log's header.
pub fn header() -> [u8; CHUNK] {
    let mut chunk = [0; CHUNK];
    chunk[..8].copy_from_slice(MAGIC);
    chunk[8..10].copy_from_slice(&VERSION.to_le_bytes());
    let sum = CRC.checksum(&chunk[..10]).to_le_bytes();
    chunk[10..14].copy_from_slice(&sum);
    chunk
}

/// The version of an unharmed header.
fn header_version(chunk: &[u8; CHUNK]) -> Option<u16> {
    let sum = CRC.checksum(&chunk[..10]).to_le_bytes();
    (chunk.starts_with(MAGIC) && chunk[10..14] == sum)
        .then(|| u16::from_le_bytes([chunk[8], chunk[9]]))
}

/// Appends the octets of one record: a multiple of [`CHUNK`].
pub fn encode(record: &Record, out: &mut Vec<u8>) {
    let bytes = postcard::to_allocvec(record).expect("a record has only known-length parts");
    let len = u16::try_from(bytes.len()).expect("its parts are bounded").to_le_bytes();
    let (head, rest) = bytes.split_at(bytes.len().min(CHUNK - FIRST_HEADER));
    out.push(FIRST);
    out.extend(len);
    out.extend(checksum(len, &bytes).to_le_bytes());
    out.extend(head);
    for part in rest.chunks(CHUNK - 1) {
        out.push(OTHER);
        out.extend(part);
    }
    out.resize(out.len().next_multiple_of(CHUNK), 0);
}

/// A whole log that says the same in as few octets as possible.
pub fn compact(leases: &Leases) -> Vec<u8> {
    let mut out = header().to_vec();
    for reservation in leases.reservations.values() {
        encode(&Record::Reserved(reservation.clone()), &mut out);
    }
    for lease in leases.leases.values() {
        encode(&Record::Lease(lease.clone()), &mut out);
    }
    out
}

/// A whole log that says in as few octets as possible what another says, which must be unharmed, and
/// what the records in `more` say beside; `None` when it is harmed.
pub fn compacted(log: &[u8], more: &[u8]) -> Option<Vec<u8>> {
    let together = [log, more].concat();
    let loaded = load(&together).ok()?;
    (loaded.damage == Damage::default()).then(|| compact(&loaded.leases))
}

/// Reads a log, whatever happened to it.
///
/// Every record that was completely written and is unharmed counts; no other does.
///
/// # Errors
/// [`LoadError`] when the file is something else, and overwriting it would destroy it. An empty
/// file, one of zeros (a crash just after its creation) and a cut header are an empty log.
pub fn load(log: &[u8]) -> Result<Loaded, LoadError> {
    let mut loaded = Loaded::default();
    let whole = log.first_chunk::<CHUNK>();
    loaded.damage.bad_header = whole.is_some_and(|found| *found != header());
    if let Some(found) = whole
        && let Some(version) = header_version(found)
        && version != VERSION
    {
        return Err(LoadError::Version(version));
    }
    let mut bad_before = 0;
    let mut at = CHUNK;
    while at < log.len() {
        match read_record(&log[at..]) {
            Some((record, len)) => {
                loaded.leases.apply(record);
                at += len;
                loaded.valid_len = at;
                loaded.damage.bad_chunks += std::mem::take(&mut bad_before);
            }
            None => {
                at += CHUNK;
                bad_before += 1;
            }
        }
    }
    if loaded.valid_len == 0 && !loaded.damage.bad_header && whole.is_some() {
        loaded.valid_len = CHUNK;
    }
    let empty = log.iter().all(|octet| *octet == 0) || header().starts_with(log);
    if loaded.valid_len == 0 && !empty {
        return Err(LoadError::NotALog);
    }
    loaded.damage.torn_tail = log.len() - loaded.valid_len;
    Ok(loaded)
}

/// The record that begins here, and the length of its chunks.
fn read_record(log: &[u8]) -> Option<(Record, usize)> {
    let [FIRST, l0, l1, c0, c1, c2, c3, ..] = *log.first_chunk::<CHUNK>()? else { return None };
    let len = [l0, l1];
    let size = usize::from(u16::from_le_bytes(len));
    if size > MAX_RECORD {
        return None;
    }
    let mut bytes = Vec::with_capacity(size);
    bytes.extend(&log[FIRST_HEADER..CHUNK][..size.min(CHUNK - FIRST_HEADER)]);
    let mut end = CHUNK;
    while bytes.len() < size {
        let (kind, part) = log.get(end..end + CHUNK)?.split_first()?;
        if *kind != OTHER {
            return None;
        }
        bytes.extend(&part[..part.len().min(size - bytes.len())]);
        end += CHUNK;
    }
    if checksum(len, &bytes) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return None;
    }
    let (record, rest) = postcard::take_from_bytes(&bytes).ok()?;
    rest.is_empty().then_some((record, end))
}

fn checksum(len: [u8; 2], record: &[u8]) -> u32 {
    let mut digest = CRC.digest();
    digest.update(&len);
    digest.update(record);
    digest.finalize()
}

impl LeaseRecord {
    /// The client's station.
    pub const fn station(&self) -> MacAddr {
        MacAddr(self.mac)
    }
}

#[cfg(test)]
mod tests;
