//! What nodes want known everywhere, as data and in a sentence.

use serde::{Deserialize, Serialize};

use super::{Named, NamedPort};

/// What another node wants known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "about", rename_all = "kebab-case")]
pub enum Notice {
    /// Two access ports are joined outside.
    Loop {
        /// The port of the node that says so.
        port: NamedPort,
        /// The node of the other port.
        other: Named,
        /// The other port's number.
        other_port: u32,
    },
    /// A station speaks at two nodes.
    DuplicateStation {
        /// Its VLAN; 0 is untagged.
        vlan: u16,
        /// The station.
        mac: String,
        /// Who keeps it.
        owner: Named,
    },
    /// Two nodes run with one key.
    ClonedKey {
        /// The key's node.
        node: Named,
    },
    /// A port sends what only the gateway may.
    Guarded {
        /// The port of the node that says so.
        port: NamedPort,
        /// What it sends.
        offence: Offence,
        /// The first station that did.
        mac: String,
    },
}

/// What only the gateway may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Offence {
    /// What DHCP servers say.
    DhcpServer,
    /// What routers say: router advertisements and redirects.
    Router,
    /// Claims to the gateway's own addresses.
    GatewayAddress,
}

pub(super) fn noticed(notice: &Notice) -> String {
    match notice {
        Notice::Loop { port, other, other_port } => format!(
            "loop: its {} and port {other_port} of node {} are joined outside of the mesh, and one \
             of them is blocked until they are taken apart",
            port.shown(),
            other.shown()
        ),
        Notice::DuplicateStation { vlan, mac, owner } => format!(
            "{} speaks there and at node {} in turn; give one of the two stations another address, \
             or look for a loop",
            station(mac, *vlan),
            owner.shown()
        ),
        Notice::ClonedKey { node } => cloned(node),
        Notice::Guarded { port, offence, mac } => guarded("its ", port, *offence, mac),
    }
}

pub(super) fn guarded(whose: &str, port: &NamedPort, offence: Offence, mac: &str) -> String {
    let (what, fix) = match offence {
        Offence::DhcpServer => (
            "answers of a DHCP server",
            "stop that server, or start the gateway with --no-guard if it is meant",
        ),
        Offence::Router => (
            "router advertisements",
            "stop that router, or start the gateway with --no-guard if it is meant",
        ),
        Offence::GatewayAddress => {
            ("claims to the gateway's own address", "give that machine another address")
        }
    };
    let port = port.shown();
    format!("{what} come in at {whose}{port} from station {mac} and are dropped; {fix}")
}

pub(super) fn cloned(node: &Named) -> String {
    format!(
        "two nodes run with the key of {}, one of them perhaps from a copied disk; stop the copy, \
         remove its state directory, and it makes a key of its own",
        node.shown()
    )
}

pub(super) fn station(mac: &str, vlan: u16) -> String {
    if vlan == 0 { format!("station {mac}") } else { format!("station {mac} in VLAN {vlan}") }
}
