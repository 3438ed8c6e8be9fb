//! The messages and close codes of protocol version 1. Frozen: `tests/wire_v1.rs` holds their octets.
//!
//! A new kind of message may be added, for a node that does not know it skips it by its length.
//! A new field, or another order of fields, is another version. [`Hello`] is decoded before the
//! version is agreed, so that it stays as it is in all versions under the same ALPN name.

mod roster;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::bounded::Bounded;
use super::text::Name;
use crate::authority::NodeKey;
use crate::nick::Nick;
use crate::record::{Incarnation, Record, Slot};

pub use roster::{
    Join, JoinRefusal, MAX_ROSTER_ENTRIES, MeshId, RosterDigest, RosterEntries, Unwelcome, Welcome,
};

/// The most records in one message. With small ones it is this that ends a message, with large ones
/// it is their octets.
pub const MAX_RECORDS: usize = 256;

/// The most nodes in one part of a digest: 512 of at most 73 octets each.
pub const MAX_DIGEST_ENTRIES: usize = 512;

/// One message of the control stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The first message in each direction, and only that.
    Hello(Hello),
    /// The second, and only that.
    Cable(Cable),
    /// News of the mesh.
    Records(Records),
    /// What the sender knows, in short.
    Digest(Digest),
    /// What the sender knows of one node.
    Slots(Slots),
    /// What the sender's roster is, in short.
    RosterDigest(RosterDigest),
    /// News of who belongs to the mesh.
    Roster(RosterEntries),
    /// Asks to be let in; only on a connection to that end, as its first message.
    Join(Join),
    /// The answer, if it is yes.
    Welcome(Welcome),
    /// The answer, if it is no.
    Unwelcome(Unwelcome),
}

/// What the sender calls this cable in its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cable {
    /// Drawn anew for each connection, so that an old record does not vouch for a new cable.
    pub number: u32,
}

/// Records that are new, or that the sender takes to be new, to the receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Records {
    /// In any order; a node's link state before its other records.
    pub records: Bounded<Record, MAX_RECORDS>,
}

/// What the sender knows of the nodes from one key to another.
///
/// The receiver sends what it knows better: records that are newer, and those of nodes that are not
/// listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Where this part begins.
    pub first: NodeKey,
    /// Where it ends, inclusive.
    pub last: NodeKey,
    /// Whether the sender wants the receiver's digest too.
    pub answer: bool,
    /// The nodes between them that the sender can reach, in ascending order of key.
    pub entries: Bounded<DigestEntry, MAX_DIGEST_ENTRIES>,
}

/// What the sender of a [`Digest`] knows of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestEntry {
    /// The node.
    pub origin: NodeKey,
    /// Its run.
    pub incarnation: Incarnation,
    /// The sequence of its link state.
    pub sequence: u64,
    /// The exclusive-or of the fingerprints of all its records.
    pub fingerprint: u64,
}

/// All records of one node that the sender has: said when two digests agree in the node's run and
/// not in the fingerprint. The receiver sends what it has newer or besides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slots {
    /// The node.
    pub origin: NodeKey,
    /// Its run.
    pub incarnation: Incarnation,
    /// Its records, in ascending order of slot.
    pub slots: Bounded<SlotVersion, 80>,
}

/// One record that the sender of [`Slots`] has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotVersion {
    /// Which.
    pub slot: Slot,
    /// How new.
    pub sequence: u64,
    /// Tells two records apart that their origin gave one sequence.
    pub fingerprint: u64,
}

/// Who speaks, and what it can take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The protocol versions that the sender speaks.
    pub versions: VersionRange,
    /// What the operator calls the node. For people: who the peer is says its key.
    pub node_name: Name,
    /// What records call the node, until it restarts.
    pub nick: Nick,
    /// Program and version, for people.
    pub software: Name,
    /// The longest frame that the sender takes, in octets without check sequence.
    pub max_frame: u32,
    /// What the sender can do beyond that.
    pub capabilities: Capabilities,
    /// The dialling node's number of this cable, the same whenever it dials this one again; 0 from
    /// the node that was dialled.
    pub cable: u32,
}

/// Protocol versions, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRange {
    /// The lowest.
    pub min: u16,
    /// The highest.
    pub max: u16,
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            write!(f, "{}", self.min)
        } else {
            write!(f, "{} to {}", self.min, self.max)
        }
    }
}

/// A set of abilities, one bit each. Bits that have no name here are carried and mean nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Capabilities(pub u32);

impl Capabilities {
    /// Records with a virtio-net header are taken, and with them super-frames.
    pub const VNET: Self = Self(1 << 0);

    /// The sender compares rosters before the cable is used: [`Message::RosterDigest`] follows its
    /// `Hello`.
    pub const ROSTER: Self = Self(1 << 1);

    /// Whether all of `other` are in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What both sets hold.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What either set holds.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Why the sender closes the connection: the application error code of QUIC's CONNECTION_CLOSE
/// (RFC 9000 19.19 and 20.2).
///
/// 0 is not among them: an implementation closes with it on its own when a connection is dropped
/// without a word. A code that is not listed comes from a newer node, and says no more than that
/// the connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CloseCode {
    /// The node ends.
    ShuttingDown,
    /// An operator pulled the cable out.
    Disconnected,
    /// A newer connection takes this one's place between the same two nodes.
    Replaced,
    /// The connection that was there before stays; this one is not needed.
    Duplicate,
    /// Both ends have the same key: the node dialled itself.
    OwnKey,
    /// The peer's key is not trusted any more.
    Untrusted,
    /// What came on the control stream breaks the protocol.
    Protocol,
    /// The ranges of [`Hello::versions`] do not meet.
    Version,
    /// The peer reads no control messages, or did not introduce itself in time.
    Stalled,
    /// The dialling node means another node than the one that it has reached.
    AnotherMeant,
    /// The sender takes no more connections of this kind from the peer.
    TooMany,
}

impl CloseCode {
    /// All codes, by number.
    pub const ALL: [Self; 11] = [
        Self::ShuttingDown,
        Self::Disconnected,
        Self::Replaced,
        Self::Duplicate,
        Self::OwnKey,
        Self::Untrusted,
        Self::Protocol,
        Self::Version,
        Self::Stalled,
        Self::AnotherMeant,
        Self::TooMany,
    ];

    /// The number on the wire.
    pub const fn to_wire(self) -> u32 {
        match self {
            Self::ShuttingDown => 1,
            Self::Disconnected => 2,
            Self::Replaced => 3,
            Self::Duplicate => 4,
            Self::OwnKey => 5,
            Self::Untrusted => 6,
            Self::Protocol => 7,
            Self::Version => 8,
            Self::Stalled => 9,
            Self::AnotherMeant => 10,
            Self::TooMany => 11,
        }
    }

    /// The code of that number; none for a number that this node does not know.
    pub fn from_wire(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|code| u64::from(code.to_wire()) == number)
    }

    /// What the node that dialled does next, whichever end closed.
    pub const fn redial(self) -> Redial {
        match self {
            Self::Disconnected => Redial::Never,
            Self::Replaced | Self::Duplicate => Redial::WhenOtherEnds,
            Self::ShuttingDown
            | Self::OwnKey
            | Self::Untrusted
            | Self::Protocol
            | Self::Version
            | Self::Stalled
            | Self::AnotherMeant
            | Self::TooMany => Redial::Always,
        }
    }
}

/// Whether a closed connection is dialled again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Redial {
    /// Until it succeeds, ever more slowly.
    Always,
    /// Not as long as the other connection between the two nodes lives.
    WhenOtherEnds,
    /// The cable is forgotten.
    Never,
}
