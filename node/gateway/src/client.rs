//! Who a lease belongs to.

use std::fmt;

use ether::MacAddr;
use serde::{Deserialize, Serialize};

/// The key of a DHCP client on this subnet: its client identifier where it sends one, else its
/// hardware address (RFC 2131 4.2).
///
/// The identifier's octets are opaque, the DUID form of RFC 4361 included. A machine that boots
/// with iPXE and then its system sends two identifiers and has two leases.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ClientKey {
    /// Option 61, 1 to 255 octets.
    Id(Vec<u8>),
    /// `chaddr` of an Ethernet station.
    Hardware([u8; 6]),
}

impl ClientKey {
    /// The client identifier, if the client sent one.
    pub fn id(&self) -> Option<&[u8]> {
        match self {
            Self::Id(id) => Some(id),
            Self::Hardware(_) => None,
        }
    }
}

impl fmt::Display for ClientKey {
    /// A hardware address as such, an identifier as hexadecimal octets joined by colons.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => hexadecimal(f, id),
            Self::Hardware(mac) => MacAddr(*mac).fmt(f),
        }
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.id().is_some() { "id" } else { "hardware" };
        write!(f, "{kind} {self}")
    }
}

/// Whom a reservation is for. An identifier decides before a MAC address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ReservedFor {
    /// Whoever sends this client identifier (option 61).
    ClientId(Vec<u8>),
    /// Whoever has this `chaddr`, with any identifier or none.
    Mac(MacAddr),
}

impl fmt::Display for ReservedFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientId(id) => {
                f.write_str("client-id ")?;
                hexadecimal(f, id)
            }
            Self::Mac(mac) => mac.fmt(f),
        }
    }
}

fn hexadecimal(f: &mut fmt::Formatter<'_>, octets: &[u8]) -> fmt::Result {
    for (index, octet) in octets.iter().enumerate() {
        let colon = if index == 0 { "" } else { ":" };
        write!(f, "{colon}{octet:02x}")?;
    }
    Ok(())
}
