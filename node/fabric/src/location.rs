//! Which station, and where it is: behind a port of this node, or behind another node.

use std::fmt;

use ether::{MacAddr, VlanId};

use crate::port::PortId;

/// A station in a VLAN: what the filtering database tells apart. The same address in another VLAN
/// is another station.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Station {
    /// The VLAN it was heard in, which need not be the tag's: see [`crate::vlan`].
    pub vlan: VlanId,
    /// Its address.
    pub mac: MacAddr,
}

/// Another node of the mesh, by whatever number the mesh gives to it. The bridge compares numbers
/// and knows no more of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RemoteId(pub u32);

impl fmt::Display for RemoteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// Where a station is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Location {
    /// It was heard on this port.
    Port(PortId),
    /// The mesh said that it is behind this node.
    Remote(RemoteId),
}
