//! What an operator sees of the server: leases, events, counters.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use ether::MacAddr;

use super::store::StoreError;
use crate::client::ClientKey;
use crate::hostname::Hostname;
use crate::time::UtcTime;

/// Where a frame entered the mesh: numbers of the caller's, shown with the lease and not stored. How
/// many addresses may be held is limited for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// The node.
    pub node: u64,
    /// The port of that node; all those of a node that are not known count as one.
    pub port: Option<u64>,
}

/// What an address is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseState {
    /// A client was told of it and has not asked for it yet.
    Offered,
    /// A client may use it.
    Bound,
    /// Its lease ended or was given back; it is remembered for its client.
    Lapsed,
    /// Somebody else was seen to use it.
    Quarantined,
}

/// One address and its client, as a list of leases shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// The client's station; in quarantine, the station that caused the conflict.
    pub station: MacAddr,
    /// How the client identifies itself.
    pub client: ClientKey,
    /// The name that the server gave it.
    pub hostname: Option<Hostname>,
    /// Where the client was heard last; `None` since a restart.
    pub source: Option<Source>,
    /// What the address is doing.
    pub state: LeaseState,
    /// For how long; `None` for ever, zero when lapsed.
    pub remaining: Option<Duration>,
    /// The same as a date by the host's present clock.
    pub expires: Option<UtcTime>,
    /// Whether the address is reserved.
    pub reserved: bool,
    /// Whether the log on disk says the same.
    pub durable: bool,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A client got an address, and the log has it.
    Given(Lease),
    /// A client goes on using its address.
    Renewed(Lease),
    /// A client gave its address back, or an administrator took it.
    Released(Lease),
    /// A lease ended without a renewal.
    Expired(Lease),
    /// A client found its address in use; it is out of use for the quarantine.
    Declined(Lease),
    /// A station answered the probe for an address that was about to be offered.
    Conflict {
        /// The address, now in quarantine.
        address: Ipv4Addr,
        /// Who uses it.
        station: MacAddr,
    },
    /// No address is left; at most once a minute.
    PoolExhausted {
        /// A client that got none.
        station: MacAddr,
    },
    /// A port has as many addresses as one may and asks for more, or says of as many that they are in
    /// use there and is not believed any more; at most once a minute for each.
    PortFull {
        /// The port.
        source: Source,
        /// A client that got none.
        station: MacAddr,
        /// How many it has, or claims.
        limit: usize,
    },
    /// A station says that the gateway's own address is its, for the first time in a minute.
    AddressClaimed {
        /// The station.
        station: MacAddr,
        /// Where the frame came from.
        source: Source,
    },
    /// The log cannot be written: no new lease, renewals go on in memory.
    NotDurable(StoreError),
    /// The log is written again and says all there is to say.
    Durable,
    /// Somebody else answers DHCP clients on this wire; at most once a minute.
    RogueServer {
        /// Its station.
        station: MacAddr,
        /// The address that it speaks from.
        server: Ipv4Addr,
        /// Where the frame came from.
        source: Source,
    },
    /// A reservation in the log contradicts the configuration and is ignored.
    ReservationIgnored {
        /// The address.
        address: Ipv4Addr,
        /// Why.
        reason: super::ReservationError,
    },
}

/// Why a client's message got no answer. The text form is the kebab-case word of
/// [`as_str`](Self::as_str).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Ignored {
    /// The IPv4 or UDP header is impossible, or the packet a fragment.
    BadPacket,
    /// A checksum is wrong.
    BadChecksum,
    /// The BOOTP header is short, of another operation, without its cookie, or not Ethernet's.
    BadHeader,
    /// An option runs past its end or has a forbidden length.
    BadOption,
    /// A message type that no client sends, or none.
    BadType,
    /// The parts of the message contradict each other, or one is missing.
    Inconsistent,
    /// `chaddr` is not the station that sent the frame.
    StationMismatch,
    /// From a relay agent of another subnet.
    OtherSubnet,
    /// The client chose another server.
    OtherServer,
    /// About an address that the client does not have.
    NotTheirs,
    /// The same message is being worked on.
    Repeated,
    /// Too many answers wait for the disk.
    Busy,
    /// The log cannot be written, so there is no new lease.
    NotDurable,
    /// No address is left.
    Exhausted,
    /// The client's port has as many addresses as one may.
    PortFull,
    /// What the client wants returned does not fit a message.
    ReplyTooLong,
}

impl Ignored {
    /// All reasons, each at its position.
    pub const ALL: [Self; 16] = [
        Self::BadPacket,
        Self::BadChecksum,
        Self::BadHeader,
        Self::BadOption,
        Self::BadType,
        Self::Inconsistent,
        Self::StationMismatch,
        Self::OtherSubnet,
        Self::OtherServer,
        Self::NotTheirs,
        Self::Repeated,
        Self::Busy,
        Self::NotDurable,
        Self::Exhausted,
        Self::PortFull,
        Self::ReplyTooLong,
    ];

    /// The word for logs, counters and status lines. It is stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadPacket => "bad-packet",
            Self::BadChecksum => "bad-checksum",
            Self::BadHeader => "bad-header",
            Self::BadOption => "bad-option",
            Self::BadType => "bad-type",
            Self::Inconsistent => "inconsistent",
            Self::StationMismatch => "station-mismatch",
            Self::OtherSubnet => "other-subnet",
            Self::OtherServer => "other-server",
            Self::NotTheirs => "not-theirs",
            Self::Repeated => "repeated",
            Self::Busy => "busy",
            Self::NotDurable => "not-durable",
            Self::Exhausted => "exhausted",
            Self::PortFull => "port-full",
            Self::ReplyTooLong => "reply-too-long",
        }
    }
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What the server received and sent since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// DISCOVER received.
    pub discovers: u64,
    /// REQUEST received.
    pub requests: u64,
    /// DECLINE received.
    pub declines: u64,
    /// RELEASE received.
    pub releases: u64,
    /// INFORM received.
    pub informs: u64,
    /// OFFER sent.
    pub offers: u64,
    /// ACK sent, those to INFORM included.
    pub acks: u64,
    /// NAK sent.
    pub naks: u64,
    /// ARP probes sent.
    pub probes: u64,
    /// Answers of other servers seen.
    pub rogue_answers: u64,
    /// Claims of other stations to the gateway's own address.
    pub address_claims: u64,
    /// Options that found no room in a reply.
    pub options_left_out: u64,
    /// Frames and events that nobody fetched in time, so that newer ones made them fall away.
    pub overflows: u64,
    ignored: [u64; Ignored::ALL.len()],
}

impl Counters {
    /// How many messages were ignored for this reason.
    pub const fn ignored(&self, reason: Ignored) -> u64 {
        self.ignored[reason as usize]
    }

    pub(super) const fn ignore(&mut self, reason: Ignored) {
        self.ignored[reason as usize] += 1;
    }
}
