//! The messages of protocol version 1. Frozen: `tests/wire_v1.rs` holds their octets.
//!
//! A new kind of message may be added, for a node that does not know it skips it by its length.
//! A new field, or another order of fields, is another version. [`Hello`] is decoded before the
//! version is agreed, so that it stays as it is in all versions under the same ALPN name.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text::{Detail, Name};
use crate::nick::Nick;

/// One message of the control stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The first message in each direction, and only that.
    Hello(Hello),
    /// The last message: the sender closes the connection after it.
    Goodbye(Goodbye),
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

/// Why the sender closes the connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goodbye {
    /// What a program acts on.
    pub reason: Reason,
    /// What a person reads; may be empty.
    pub detail: Detail,
}

/// Why a connection is closed on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The node stops. The peer may redial.
    ShuttingDown,
    /// An operator took the cable out. The peer does not redial.
    Disconnected,
    /// Another connection between the same two nodes carries the cable.
    Replaced,
    /// The versions in the peer's [`Hello`] do not meet those of the sender.
    NoCommonVersion,
    /// The peer broke the protocol.
    ProtocolError,
    /// The sender does not want this cable, or has as many as it may; the detail says which.
    Refused,
    /// A reason that has no name here. Sent as it is; a number that has a name arrives as that.
    Other(u8),
}

impl Reason {
    const fn to_wire(self) -> u8 {
        match self {
            Self::ShuttingDown => 1,
            Self::Disconnected => 2,
            Self::Replaced => 3,
            Self::NoCommonVersion => 4,
            Self::ProtocolError => 5,
            Self::Refused => 6,
            Self::Other(number) => number,
        }
    }

    const fn from_wire(number: u8) -> Self {
        match number {
            1 => Self::ShuttingDown,
            2 => Self::Disconnected,
            3 => Self::Replaced,
            4 => Self::NoCommonVersion,
            5 => Self::ProtocolError,
            6 => Self::Refused,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShuttingDown => f.write_str("the node shuts down"),
            Self::Disconnected => f.write_str("the cable was disconnected by its operator"),
            Self::Replaced => f.write_str("another connection carries the cable"),
            Self::NoCommonVersion => f.write_str("the nodes have no protocol version in common"),
            Self::ProtocolError => f.write_str("the protocol was broken"),
            Self::Refused => f.write_str("the cable is refused"),
            Self::Other(number) => write!(f, "reason {number}"),
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.to_wire())
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u8::deserialize(deserializer).map(Self::from_wire)
    }
}
