//! Every reason for which a node drops a frame, and counters by reason.
//!
//! The bridge gives a few of them; ports, cables and the mesh give the others. They share one list,
//! so that an operator reads one vocabulary and no drop is without a word.

use std::fmt;

use ether::Malformed;
use ether::vnet::VnetError;
use serde::{Deserialize, Serialize};

/// Why a frame was dropped. The text form is the kebab-case word of [`as_str`](Self::as_str).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum DropReason {
    /// Shorter than its own header.
    Runt,
    /// The source is a group address or zero.
    BadSource,
    /// The tag has the reserved VLAN identifier 4095.
    BadVlan,
    /// In a VLAN that its ingress port does not carry, or without a tag on a port that takes none:
    /// ingress filtering (IEEE 802.1Q-2022 8.6.2).
    VlanNotMember,
    /// To one of the sixteen addresses that no bridge relays (IEEE 802.1Q-2022 Table 8-1).
    Reserved,
    /// The destination is behind the port that the frame came from: filtered, nothing is lost.
    SamePort,
    /// The ingress is not an access port of the bridge: it was closed while the frame was on its
    /// way.
    UnknownPort,
    /// Longer than the link or the egress port takes.
    Oversize,
    /// The egress port's queue was full: it is slower than what is sent to it.
    QueueFull,
    /// A flow's queue in front of a cable stayed long: the sender is asked to slow down (RFC 8289).
    #[serde(rename = "codel")]
    CoDel,
    /// The program behind the egress port has gone.
    PeerGone,
    /// The operating system refused to send, for a reason other than the two above.
    SendFailed,
    /// The egress that the frame names does not exist here (any more).
    NoEgress,
    /// Its virtio-net header is malformed or contradicts the frame.
    BadVnetHeader,
    /// It has crossed as many cables as a frame may.
    HopLimit,
    /// A flooded frame that had been here before.
    RepeatedFlood,
    /// A flooded frame on another cable than the one on the tree from its origin.
    ReversePath,
    /// Flooded by a node that this one does not know (yet).
    UnknownIngress,
    /// Another node sent it to this one for a station that is not here (any more).
    NotHere,
    /// It came by a cable, and its source is a station that was heard here moments ago: it went
    /// around a loop outside of the mesh, or the station has just moved away.
    LocalSource,
    /// It came in by a port by which it had just left: the port is one end of a loop outside of the
    /// mesh.
    Returned,
    /// Its source belongs to a station at another node, and stays there.
    ForeignSource,
    /// Its ingress port is blocked, as one end of a loop outside of the mesh.
    Blocked,
    /// More broadcast frames than its ingress port may send.
    BroadcastStorm,
    /// More multicast frames than its ingress port may send.
    MulticastStorm,
    /// More frames to unknown stations than its ingress port may send.
    UnknownUnicastStorm,
    /// From one more new station than its ingress port may bring at a time.
    StationStorm,
    /// It came by a cable, and the node where it entered the mesh floods more than a node may.
    FloodBudget,
    /// A DHCP server's message from a port behind which no server may be.
    RogueDhcp,
    /// A router's advertisement or redirect from a port behind which no router may be, or a first
    /// fragment that may hide one.
    RogueRa,
    /// From a port behind which the gateway is not, with the gateway's address as its source.
    GatewayClaim,
    /// Lost, or held up too long, by the wire that an operator put on its port.
    Wire,
}

impl DropReason {
    /// All reasons, each at its [`index`](Self::index).
    pub const ALL: [Self; 32] = [
        Self::Runt,
        Self::BadSource,
        Self::BadVlan,
        Self::VlanNotMember,
        Self::Reserved,
        Self::SamePort,
        Self::UnknownPort,
        Self::Oversize,
        Self::QueueFull,
        Self::CoDel,
        Self::PeerGone,
        Self::SendFailed,
        Self::NoEgress,
        Self::BadVnetHeader,
        Self::HopLimit,
        Self::RepeatedFlood,
        Self::ReversePath,
        Self::UnknownIngress,
        Self::NotHere,
        Self::LocalSource,
        Self::Returned,
        Self::ForeignSource,
        Self::Blocked,
        Self::BroadcastStorm,
        Self::MulticastStorm,
        Self::UnknownUnicastStorm,
        Self::StationStorm,
        Self::FloodBudget,
        Self::RogueDhcp,
        Self::RogueRa,
        Self::GatewayClaim,
        Self::Wire,
    ];

    /// The position in [`ALL`](Self::ALL), for tables by reason.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word for logs, counters and status lines. It is stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Runt => "runt",
            Self::BadSource => "bad-source",
            Self::BadVlan => "bad-vlan",
            Self::VlanNotMember => "vlan-not-member",
            Self::Reserved => "reserved",
            Self::SamePort => "same-port",
            Self::UnknownPort => "unknown-port",
            Self::Oversize => "oversize",
            Self::QueueFull => "queue-full",
            Self::CoDel => "codel",
            Self::PeerGone => "peer-gone",
            Self::SendFailed => "send-failed",
            Self::NoEgress => "no-egress",
            Self::BadVnetHeader => "bad-vnet-header",
            Self::HopLimit => "hop-limit",
            Self::RepeatedFlood => "repeated-flood",
            Self::ReversePath => "reverse-path",
            Self::UnknownIngress => "unknown-ingress",
            Self::NotHere => "not-here",
            Self::LocalSource => "local-source",
            Self::Returned => "returned",
            Self::ForeignSource => "foreign-source",
            Self::Blocked => "blocked",
            Self::BroadcastStorm => "broadcast-storm",
            Self::MulticastStorm => "multicast-storm",
            Self::UnknownUnicastStorm => "unknown-unicast-storm",
            Self::StationStorm => "station-storm",
            Self::FloodBudget => "flood-budget",
            Self::RogueDhcp => "rogue-dhcp",
            Self::RogueRa => "rogue-ra",
            Self::GatewayClaim => "gateway-claim",
            Self::Wire => "wire",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<Malformed> for DropReason {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Runt(_) => Self::Runt,
            Malformed::Source(_) => Self::BadSource,
            Malformed::Vlan => Self::BadVlan,
        }
    }
}

impl From<VnetError> for DropReason {
    fn from(error: VnetError) -> Self {
        match error {
            VnetError::TooLong { .. } => Self::Oversize,
            _ => Self::BadVnetHeader,
        }
    }
}

/// How many frames were dropped, by reason. A counter moves when its frame is let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DropCounters([u64; DropReason::ALL.len()]);

impl DropCounters {
    /// Counts one frame.
    #[inline]
    pub fn record(&mut self, reason: DropReason) {
        self.record_many(reason, 1);
    }

    /// Counts frames that were dropped together.
    #[inline]
    pub fn record_many(&mut self, reason: DropReason, frames: u64) {
        self.0[reason.index()] += frames;
    }

    /// Adds what another place has counted.
    pub fn merge(&mut self, other: &Self) {
        for (reason, frames) in other.iter() {
            self.record_many(reason, frames);
        }
    }

    /// The count of one reason.
    pub fn count(&self, reason: DropReason) -> u64 {
        self.0[reason.index()]
    }

    /// The count of all reasons together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// All reasons with their counts, zeros included, in the order of [`DropReason::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL.into_iter().zip(self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_its_own_index_and_word() {
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
            assert_eq!(format!("{reason:>20}").trim_start(), reason.as_str());
        }
        let words: BTreeSet<_> = DropReason::ALL.map(DropReason::as_str).into();
        assert_eq!(words.len(), DropReason::ALL.len());
    }

    #[test]
    fn the_word_is_also_the_serialised_form() {
        use serde::de::IntoDeserializer;
        use serde::de::value::{Error, StrDeserializer};
        for reason in DropReason::ALL {
            let word: StrDeserializer<'_, Error> = reason.as_str().into_deserializer();
            assert_eq!(DropReason::deserialize(word), Ok(reason));
        }
    }

    #[test]
    fn counters_add_up() {
        let mut counters = DropCounters::default();
        counters.record(DropReason::Runt);
        counters.record_many(DropReason::ReversePath, 2);
        let mut sum = counters;
        sum.merge(&counters);
        assert_eq!(sum.count(DropReason::Runt), 2);
        assert_eq!(sum.count(DropReason::ReversePath), 4);
        assert_eq!(sum.total(), 6);
        assert_eq!(sum.iter().filter(|(_, frames)| *frames > 0).count(), 2);
    }

    #[test]
    fn errors_of_a_frame_have_their_reason() {
        assert_eq!(DropReason::from(Malformed::Runt(3)), DropReason::Runt);
        assert_eq!(DropReason::from(Malformed::Vlan), DropReason::BadVlan);
        assert_eq!(DropReason::from(VnetError::SegmentSize), DropReason::BadVnetHeader);
        let too_long = VnetError::TooLong { len: 2, limit: 1 };
        assert_eq!(DropReason::from(too_long), DropReason::Oversize);
    }
}
