//! Views of who belongs to the mesh: invitations, and members.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An invitation's line. Whoever reads it can join, so that `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenText(pub String);

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText")
    }
}

/// An invitation that was just made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewInvitation {
    /// The line to be handed over.
    pub token: TokenText,
    /// What names the invitation afterwards.
    pub id: String,
    /// What the new member will be called, if that is settled.
    pub name: Option<String>,
    /// What it will be allowed to do: `switch`, `gateway`, `admin`.
    pub roles: Vec<String>,
    /// For how long it can be used.
    pub expires_in_seconds: u64,
    /// For how long the membership will last; none: for ever.
    pub lasts_seconds: Option<u64>,
    /// The addresses in it, the best first.
    pub addresses: Vec<String>,
}

/// An invitation that is remembered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InviteStatus {
    /// What names it.
    pub id: String,
    /// Who made it.
    pub by: String,
    /// `open`, `used`, `expired`, `taken-back`, or `void` when its maker is no administrator any more.
    pub state: String,
    /// Who used it.
    pub used_by: Option<String>,
    /// What the new member will be called, if that is settled and it is open.
    pub name: Option<String>,
    /// What it will be allowed to do.
    pub roles: Vec<String>,
    /// For how long it can still be used.
    pub expires_in_seconds: Option<u64>,
}

/// A stranger that came to this node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptStatus {
    /// How long ago.
    pub age_seconds: f64,
    /// Where it came from.
    pub address: String,
    /// The key that it proved.
    pub key: String,
    /// What it is called now, if it was let in.
    pub joined_as: Option<String>,
    /// Why not.
    pub refused: Option<String>,
}

/// What this node is in its mesh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnMembership {
    /// What all members call it. The node's own name is for programs on its host.
    pub name: String,
    /// `member`, `expired`, or `revoked`.
    pub state: String,
    /// What it may do: `switch`, `gateway`, `admin`.
    pub roles: Vec<String>,
    /// How many members there are, this one included.
    pub members: usize,
    /// The key that it will have from its next start on.
    pub next_key: Option<String>,
}

/// What the mesh's roster says of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// `member`, `expired`, or `revoked`.
    pub state: String,
    /// What it may do.
    pub roles: Vec<String>,
    /// When its membership ends, in seconds since 1970; none: never.
    pub expires_unix: Option<u64>,
    /// How long that is from now.
    pub expires_in_seconds: Option<u64>,
}
