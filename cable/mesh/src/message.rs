//! The control stream of a cable: which messages there are, how they are cut out of the stream,
//! and the codes with which a connection is closed.
//!
//! Owns the octets and the limits. Leaves to the shell when to send what, and what to do about
//! it. The types of each protocol version are frozen in a module of their own; a change of any
//! octet is a new version. `PROTOCOL.md` has the layout.

mod bounded;
mod codec;
mod text;
pub mod v1;

pub use bounded::{Bounded, Octets};
pub use codec::{CodecError, Decoder, MAX_MESSAGE_LEN, encode};
pub use text::{Name, Text, TextError};
pub use v1::{
    Cable, Capabilities, CloseCode, Digest, DigestEntry, Hello, Join, JoinRefusal,
    MAX_DIGEST_ENTRIES, MAX_RECORDS, MAX_ROSTER_ENTRIES, MeshId, Message, Records, Redial,
    RosterDigest, RosterEntries, SlotVersion, Slots, Unwelcome, VersionRange, Welcome,
};

/// The ALPN protocol name of a cable (RFC 7301). The number is that of the framing and of the
/// first message; smaller changes are agreed in [`Hello::versions`].
pub const ALPN: &[u8] = b"vdecable/1";

/// That of a connection on which a stranger asks to be let in. Nothing else is to be had there.
pub const JOIN_ALPN: &[u8] = b"vdecable-join/1";

/// The protocol versions that this node speaks.
pub const SUPPORTED_VERSIONS: VersionRange = VersionRange { min: 1, max: 1 };

/// The two nodes have no protocol version in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this node speaks cable protocol {ours} and the peer {theirs}; upgrade the node with the \
     lower versions"
)]
pub struct NoCommonVersion {
    /// What this node speaks.
    pub ours: VersionRange,
    /// What the peer's [`Hello`] says.
    pub theirs: VersionRange,
}

/// The highest version that both speak. Both sides come to the same result.
///
/// # Errors
/// [`NoCommonVersion`] when the ranges do not meet, or one of them is upside down.
pub fn negotiate(ours: VersionRange, theirs: VersionRange) -> Result<u16, NoCommonVersion> {
    let highest = ours.max.min(theirs.max);
    if highest >= ours.min && highest >= theirs.min {
        Ok(highest)
    } else {
        Err(NoCommonVersion { ours, theirs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(min: u16, max: u16) -> VersionRange {
        VersionRange { min, max }
    }

    #[test]
    fn the_highest_common_version_is_taken() {
        assert_eq!(negotiate(range(1, 3), range(2, 5)), Ok(3));
        assert_eq!(negotiate(range(2, 5), range(1, 3)), Ok(3));
        assert_eq!(negotiate(range(1, 1), range(1, 1)), Ok(1));
    }

    #[test]
    fn nodes_without_a_common_version_learn_both_ranges() {
        let error = negotiate(range(1, 1), range(2, 4)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("protocol 1 and the peer 2 to 4"), "{text}");
        assert!(negotiate(range(3, 4), range(1, 2)).is_err());
    }

    #[test]
    fn a_range_upside_down_meets_nothing() {
        assert!(negotiate(range(1, 9), range(5, 2)).is_err());
    }
}
