//! The stations behind a node's access ports.

use ether::{MacAddr, VlanId};
use serde::{Deserialize, Serialize};

use crate::message::Bounded;

/// Stations in one record. A change costs one such record, at most 1.8 kB; 65 536 stations are 512
/// of them.
pub const PAGE_STATIONS: usize = 128;

/// Claims do not go beyond this, so that an answer to each is possible.
pub(crate) const MAX_MOBILITY: u32 = u32::MAX >> 1;

/// Set for a station that never moves.
const FLAG_STICKY: u8 = 1;

/// The body of the slots from [`Slot::FIRST_PAGE`](super::Slot::FIRST_PAGE) to
/// [`Slot::LAST_PAGE`](super::Slot::LAST_PAGE): some of the node's stations, in ascending order.
pub type StationPage = Bounded<StationEntry, PAGE_STATIONS>;

/// A claim: this station is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StationEntry {
    vlan: u16,
    mac: [u8; 6],
    /// How often the station has changed its node; the highest claim counts (RFC 7432 7.7).
    pub mobility: u32,
    flags: u8,
}

impl StationEntry {
    /// A claim.
    pub fn new(vlan: VlanId, mac: MacAddr, mobility: u32, sticky: bool) -> Self {
        let flags = if sticky { FLAG_STICKY } else { 0 };
        Self { vlan: vlan.0, mac: mac.0, mobility: mobility.min(MAX_MOBILITY), flags }
    }

    /// The VLAN that the station was heard in.
    pub fn vlan(&self) -> VlanId {
        VlanId(self.vlan)
    }

    /// Its address.
    pub fn mac(&self) -> MacAddr {
        MacAddr(self.mac)
    }

    /// Whether it stays where it is whatever others claim (RFC 7432 15.2).
    pub fn is_sticky(&self) -> bool {
        self.flags & FLAG_STICKY != 0
    }

    /// Whether there can be such a station.
    pub(crate) fn is_plausible(&self) -> bool {
        let mac = self.mac();
        self.vlan <= VlanId::MAX.0
            && !mac.is_group()
            && !mac.is_zero()
            && self.mobility <= MAX_MOBILITY
            && self.flags & !FLAG_STICKY == 0
    }
}

/// Whether an honest node can have said this.
pub(crate) fn is_plausible(page: &StationPage) -> bool {
    page.iter().all(StationEntry::is_plausible)
        && page.is_sorted_by(|a, b| (a.vlan, a.mac) < (b.vlan, b.mac))
}
