//! What a node wants the operators of all nodes to know, for as long as it is so.

use serde::{Deserialize, Serialize};

use crate::authority::NodeKey;
use crate::message::{Bounded, Text};

/// The most notices of one node; the oldest stay.
pub const MAX_NOTICES: usize = 16;

/// The name of a port, for people.
pub type PortName = Text<32>;

/// The body of [`Slot::NOTICES`](super::Slot::NOTICES).
pub type Notices = Bounded<Notice, MAX_NOTICES>;

/// Something that a person should look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Notice {
    /// A probe that left one access port came in at another: they are joined outside.
    Loop {
        /// Where it came in: a port of the node that says so.
        port: PortName,
        /// Its number.
        number: u32,
        /// What it leads to: see [`PortClass`](crate::probe::PortClass).
        class: u8,
        /// The node that sent the probe.
        sender: NodeKey,
        /// The port that it left, by that node's number.
        sender_number: u32,
        /// The nonce of the probe, by which its sender knows that it is recent.
        nonce: u64,
    },
    /// A station speaks at two nodes in turn. This node does not listen to it any more.
    DuplicateStation {
        /// The VLAN.
        vlan: u16,
        /// The address.
        mac: [u8; 6],
        /// The node that keeps it.
        owner: NodeKey,
    },
    /// Two nodes run with the same key.
    ClonedKey {
        /// The key.
        key: NodeKey,
    },
    /// A port sends what only the gateway may: its frames of that kind are dropped.
    Guarded {
        /// What the port leads to.
        port: PortName,
        /// Its number.
        number: u32,
        /// What it sends.
        offence: Offence,
        /// The first station that did.
        mac: [u8; 6],
    },
}

/// What only the gateway may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Offence {
    /// What DHCP servers say.
    DhcpServer,
    /// What routers say: router advertisements and redirects.
    Router,
    /// Claims to the gateway's own addresses.
    GatewayAddress,
}
