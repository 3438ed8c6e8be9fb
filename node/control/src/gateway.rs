//! The views of the gateway: leases, forwarded ports, and how it stands.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The gateway of a node that is one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GatewayStatus {
    /// Its address and the length of the subnet's prefix.
    pub address: String,
    /// Its interface.
    pub interface: String,
    /// The interfaces by which machines get out; empty when there is no way out.
    pub uplinks: Vec<String>,
    /// Whether they do so from behind this host's address.
    pub masquerade: bool,
    /// Interfaces whose forwarding this node has switched on until it ends.
    pub forwarding: Vec<String>,
    /// The domain of the machines' names.
    pub domain: String,
    /// The host's resolvers.
    pub resolvers: Vec<String>,
    /// How IPv6 is dealt with: `off`, `local` or `nat66`.
    pub ipv6: String,
    /// The prefix from which machines make IPv6 addresses.
    #[serde(default)]
    pub ipv6_prefix: Option<String>,
    /// Leases in force.
    pub leases: usize,
    /// Addresses that can be leased.
    pub pool: usize,
    /// Whether leases can be written to disk.
    pub durable: bool,
    /// What machines asked of DHCP and got.
    #[serde(default)]
    pub dhcp: DhcpCounters,
}

/// Messages of DHCP since the gateway started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DhcpCounters {
    /// Machines that looked for an address (DISCOVER).
    pub discovers: u64,
    /// Machines that asked for one (REQUEST).
    pub requests: u64,
    /// Addresses that were offered.
    pub offers: u64,
    /// Requests that were granted (ACK).
    pub acks: u64,
    /// Requests that were refused (NAK).
    pub naks: u64,
    /// Messages that got no answer, by reason; those that moved.
    pub ignored: BTreeMap<String, u64>,
}

/// One address and its machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseView {
    /// The address.
    pub address: String,
    /// The machine's station, or what a reservation is for.
    pub mac: String,
    /// The machine's name.
    pub name: Option<String>,
    /// What the address is doing.
    pub state: LeaseState,
    /// For how long, in seconds; none for ever, or when it does not end.
    pub remaining_seconds: Option<u64>,
    /// The same as seconds since 1970, by the host's present clock.
    pub expires: Option<u64>,
    /// The node behind which the machine is, as far as known.
    pub node: Option<String>,
    /// Its port there, as far as that node tells.
    pub port: Option<u32>,
    /// Whether the address is kept for the machine.
    pub reserved: bool,
    /// Whether the disk says the same.
    pub durable: bool,
}

/// What an address is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeaseState {
    /// A machine was told of it and has not asked for it yet.
    Offered,
    /// A machine may use it.
    Bound,
    /// Its lease ended; it is remembered for its machine.
    Lapsed,
    /// Somebody without a lease was seen to use it.
    Quarantined,
    /// It is kept for a machine that has not come yet.
    Reserved,
}

impl LeaseState {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Bound => "bound",
            Self::Lapsed => "lapsed",
            Self::Quarantined => "quarantined",
            Self::Reserved => "reserved",
        }
    }
}

/// A port of the gateway's host that leads to a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardView {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The host's address that is meant; none for each that it has.
    pub listen: Option<String>,
    /// The host's port.
    pub port: u16,
    /// The machine, by name or address, as it was given.
    pub to: String,
    /// Its port.
    pub to_port: u16,
    /// Its address now; none while no machine has the name.
    pub address: Option<String>,
}
