//! What is kept of a cable on disk.

use serde::{Deserialize, Serialize};

use super::CableId;
use crate::address::{ParseTargetError, Target};
use crate::identity::PublicKey;

/// The highest number that a file may give a cable. No node comes near, and after it there is room for
/// those that peers dial.
const MAX_ID: u32 = 1 << 30;

/// A kept cable on disk.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The address; for a member, its name.
    address: String,
    /// The member that is meant, wherever it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    member: Option<PublicKey>,
    /// What it is called, so that it is called so after the next start, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<u32>,
}

impl Kept {
    pub(super) fn of(id: CableId, target: &Target) -> Self {
        Self { address: target.to_string(), member: target.member_key(), id: Some(id.0) }
    }

    /// What it was called.
    pub(super) fn id(&self) -> Option<CableId> {
        self.id.filter(|id| (1..=MAX_ID).contains(id)).map(CableId)
    }

    pub(super) fn target(&self) -> Result<Target, ParseTargetError> {
        match self.member {
            Some(key) => Ok(Target::member(&self.address, key)),
            None => self.address.parse(),
        }
    }
}
