//! An IPv4 subnet: a network address and a prefix length.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An IPv4 subnet. Its text form is `10.0.0.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet {
    network: Ipv4Addr,
    prefix_len: u8,
}

/// The text or the numbers are not a subnet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubnetError {
    /// Not an address, a slash and a number.
    #[error("{0:?} is not a subnet; write address/length, for example 10.0.0.0/24")]
    Text(String),
    /// A prefix longer than an address.
    #[error("a prefix of {0} bits does not fit an IPv4 address of 32")]
    PrefixLen(u8),
}

impl Subnet {
    /// The subnet of `prefix_len` bits that holds `address`.
    ///
    /// # Errors
    /// [`SubnetError::PrefixLen`] above 32.
    pub fn containing(address: Ipv4Addr, prefix_len: u8) -> Result<Self, SubnetError> {
        if prefix_len > 32 {
            return Err(SubnetError::PrefixLen(prefix_len));
        }
        let network = address.to_bits() & mask(prefix_len);
        Ok(Self { network: Ipv4Addr::from_bits(network), prefix_len })
    }

    /// Reads an interface's address with its subnet, as in `10.0.0.1/24`.
    ///
    /// # Errors
    /// [`SubnetError`] when the text is neither that nor a subnet.
    pub fn parse_interface(text: &str) -> Result<(Ipv4Addr, Self), SubnetError> {
        let refused = || SubnetError::Text(text.chars().take(40).collect());
        let (address, prefix_len) = text.split_once('/').ok_or_else(refused)?;
        let address = address.parse().map_err(|_| refused())?;
        if prefix_len.is_empty() || !prefix_len.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refused());
        }
        let prefix_len = prefix_len.parse().map_err(|_| refused())?;
        Ok((address, Self::containing(address, prefix_len)?))
    }

    /// The lowest address.
    pub const fn network(self) -> Ipv4Addr {
        self.network
    }

    /// The highest address, to which all stations listen.
    pub const fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() | !mask(self.prefix_len))
    }

    /// The netmask, for example 255.255.255.0.
    pub const fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(mask(self.prefix_len))
    }

    /// How many leading bits all addresses share, 0 to 32.
    pub const fn prefix_len(self) -> u8 {
        self.prefix_len
    }

    /// Whether the address lies inside.
    pub const fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix_len) == self.network.to_bits()
    }

    /// Whether a station may have the address: inside, and neither the network's nor the broadcast
    /// address.
    pub fn is_host(self, address: Ipv4Addr) -> bool {
        self.contains(address) && address != self.network && address != self.broadcast()
    }

    /// Whether both share an address.
    pub const fn overlaps(self, other: Self) -> bool {
        self.contains(other.network) || other.contains(self.network)
    }
}

const fn mask(prefix_len: u8) -> u32 {
    match u32::MAX.checked_shl(32 - prefix_len as u32) {
        Some(mask) => mask,
        None => 0,
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix_len)
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    /// Host bits are cleared: `10.0.0.1/24` is `10.0.0.0/24`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::parse_interface(text)?.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_address_carries_its_subnet() {
        let (address, subnet) = Subnet::parse_interface("10.1.2.3/20").unwrap();
        assert_eq!(address, Ipv4Addr::new(10, 1, 2, 3));
        assert_eq!(subnet.to_string(), "10.1.0.0/20");
        assert_eq!(subnet.mask(), Ipv4Addr::new(255, 255, 240, 0));
        assert_eq!(subnet.broadcast(), Ipv4Addr::new(10, 1, 15, 255));
    }

    #[test]
    fn the_whole_internet_and_one_host_are_subnets() {
        let all: Subnet = "0.0.0.0/0".parse().unwrap();
        let one: Subnet = "192.0.2.7/32".parse().unwrap();
        assert!(all.contains(Ipv4Addr::BROADCAST) && all.overlaps(one) && one.overlaps(all));
        assert_eq!((one.network(), one.broadcast()), (one.network(), one.network()));
    }

    #[test]
    fn malformed_text_is_refused() {
        for text in ["", "10.0.0.0", "10.0.0/24", "10.0.0.0/33", "10.0.0.0/+4", "10.0.0.0/", "a/8"]
        {
            assert!(text.parse::<Subnet>().is_err(), "{text:?} was accepted");
        }
    }
}
