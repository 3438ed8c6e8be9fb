//! What is kept of a cable on disk.

use serde::{Deserialize, Serialize};

use crate::address::{ParseTargetError, Target};
use crate::identity::PublicKey;

/// A kept cable on disk.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The address; for a member, its name.
    address: String,
    /// The member that is meant, wherever it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    member: Option<PublicKey>,
}

impl Kept {
    pub(super) fn of(target: &Target) -> Self {
        Self { address: target.to_string(), member: target.member_key() }
    }

    pub(super) fn target(&self) -> Result<Target, ParseTargetError> {
        match self.member {
            Some(key) => Ok(Target::member(&self.address, key)),
            None => self.address.parse(),
        }
    }
}
