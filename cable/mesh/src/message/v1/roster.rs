//! Messages about who belongs to the mesh: between members, and with those who want to join.

use serde::{Deserialize, Serialize};

use crate::authority::{NodeKey, Signature};
use crate::message::bounded::Bounded;
use crate::message::text::Name;
use crate::roster::{Entry, Founding};

/// The most entries in one message: 128 of at most 400 octets each.
pub const MAX_ROSTER_ENTRIES: usize = 128;

/// What stands for a mesh in an invitation: a hash of its [`Founding`], which the shell makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MeshId(pub [u8; 16]);

/// What the sender's roster is, in short. The receiver sends its own if it differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterDigest {
    /// Which mesh's.
    pub founding: Founding,
    /// SHA-256 over the signatures of all entries, in the order of their places.
    pub digest: [u8; 32],
}

/// Entries of a roster that are new, or that the sender takes to be new, to the receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterEntries {
    /// Which mesh's.
    pub founding: Founding,
    /// Whoever signed one comes before it.
    pub entries: Bounded<Entry, MAX_ROSTER_ENTRIES>,
    /// Whether the sender has said all that it was about to say.
    pub last: bool,
}

/// A stranger asks to be let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// Into which mesh.
    pub mesh: MeshId,
    /// The public key of its invitation.
    pub invite: NodeKey,
    /// What it calls itself.
    pub name: Name,
    /// Program and version, for people.
    pub software: Name,
    /// The invitation's key signed this session, the stranger's key, and the name.
    pub proof: Signature,
}

/// It is let in. The roster follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// What the new member is called.
    pub name: Name,
    /// What the one who lets it in is called.
    pub by: Name,
}

/// It is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unwelcome {
    /// Why: [`JoinRefusal::to_wire`].
    pub reason: u32,
}

/// Why a stranger is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JoinRefusal {
    /// This node does not know the invitation, or the proof is not right.
    Unknown,
    /// The invitation can be used no more: its time is over.
    Expired,
    /// Somebody else has used it.
    Used,
    /// An administrator took it back.
    TakenBack,
    /// This node belongs to another mesh.
    OtherMesh,
    /// This node may not let anybody in.
    NotAdmin,
    /// There is no room for another member.
    Full,
    /// This node cannot do it now: too many are asking, or its disk fails.
    Busy,
}

impl JoinRefusal {
    /// All of them, by number.
    pub const ALL: [Self; 8] = [
        Self::Unknown,
        Self::Expired,
        Self::Used,
        Self::TakenBack,
        Self::OtherMesh,
        Self::NotAdmin,
        Self::Full,
        Self::Busy,
    ];

    /// The number on the wire.
    pub const fn to_wire(self) -> u32 {
        match self {
            Self::Unknown => 1,
            Self::Expired => 2,
            Self::Used => 3,
            Self::TakenBack => 4,
            Self::OtherMesh => 5,
            Self::NotAdmin => 6,
            Self::Full => 7,
            Self::Busy => 8,
        }
    }

    /// The reason of that number; none for a number that this node does not know.
    pub fn from_wire(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.to_wire() == number)
    }
}
