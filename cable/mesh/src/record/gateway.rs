//! Who is the gateway, or would be.

use serde::{Deserialize, Serialize};

use crate::authority::NodeKey;
use crate::message::Bounded;

/// The most IPv6 addresses of a gateway: its link-local one, and one in each prefix.
pub const MAX_GATEWAY_ADDRESSES: usize = 4;

/// The body of [`Slot::GATEWAY`](super::Slot::GATEWAY): nothing once the role is given up.
pub type GatewayRecord = Bounded<GatewayClaim, 1>;

/// A node wants to be the gateway: the one that gives machines their addresses and a way out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayClaim {
    /// Whether it serves. If not, it stands by behind one that does.
    pub is_active: bool,
    /// When it took the role up for the first time: milliseconds since 1970 by its own clock, kept
    /// over restarts. Of several claims the earliest counts, then the one of the lowest key.
    pub since: u64,
    /// Whether every other port of every node is to be kept from being a DHCP server or a router.
    pub is_guarded: bool,
    /// The station of its interface.
    pub mac: [u8; 6],
    /// Its address.
    pub ipv4: [u8; 4],
    /// The length of its subnet's prefix.
    pub prefix_len: u8,
    /// Its IPv6 addresses.
    pub ipv6: Bounded<[u8; 16], MAX_GATEWAY_ADDRESSES>,
}

impl GatewayClaim {
    /// Whether an honest node can have said this.
    pub(crate) fn is_plausible(&self) -> bool {
        let is_station = self.mac[0] & 1 == 0 && self.mac != [0; 6];
        is_station && self.prefix_len <= 32
    }

    /// What claims are ordered by: the lowest counts.
    pub fn rank(&self, key: NodeKey) -> (u64, NodeKey) {
        (self.since, key)
    }
}
