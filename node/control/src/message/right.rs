//! What a request takes: a right, and time.

use super::Request;
use crate::wire::WireChange;

/// What a client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Look at the node.
    View,
    /// Change it as well.
    Admin,
}

impl Request {
    /// The right that it takes.
    pub fn needs(&self) -> Right {
        match self {
            Self::Id
            | Self::Status
            | Self::Ports
            | Self::Macs { .. }
            | Self::Nodes
            | Self::Cables
            | Self::Trace { .. }
            | Self::Ping { .. }
            | Self::Events { .. }
            | Self::Leases
            | Self::Forwards
            | Self::Invites
            | Self::Wires
            | Self::WireProfiles => Right::View,
            Self::Wire { change, .. } if *change == WireChange::default() => Right::View,
            _ => Right::Admin,
        }
    }

    /// Whether its answer, which is short, may take seconds: another node, a disk or a resolver is
    /// waited for.
    pub fn waits(&self) -> bool {
        matches!(
            self,
            Self::Ping { .. }
                | Self::Connect { .. }
                | Self::Disconnect { .. }
                | Self::Trust { .. }
                | Self::Untrust { .. }
                | Self::Invite { .. }
                | Self::Uninvite { .. }
                | Self::Join { .. }
                | Self::Revoke { .. }
                | Self::Leave { .. }
                | Self::RotateKey
        )
    }
}
