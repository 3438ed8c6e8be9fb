//! What the bridge knows of a port: its number and its role.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of a bridge port.
///
/// Numbers are small and dense, for they index tables: whoever hands them out gives a closed port's
/// number to the next. At most [`MAX`](Self::MAX).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PortId(pub u32);

impl PortId {
    /// The largest number, 65 535: far more ports than one node can serve, and a bound on the
    /// tables.
    pub const MAX: Self = Self(0xffff);

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The role of a port in the bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PortKind {
    /// Stations are behind it: a guest, a tap, a local program. The number of its entries is
    /// bounded by [`Config::per_port_capacity`](crate::Config::per_port_capacity).
    Access,
    /// Other nodes are behind it. The bridge keeps its number from being used for anything else,
    /// and that is all: no frame comes from it, goes to it, or is learned there. Which cable a
    /// frame takes is the mesh's business, and what comes by one is
    /// [`handle_from_cable`](crate::Bridge::handle_from_cable)'s.
    Cable,
}
