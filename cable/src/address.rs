//! Where a cable leads: `HOST`, `HOST:PORT`, `[IPV6]:PORT`.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use crate::identity::PublicKey;

/// The UDP port on which nodes await cables.
pub const DEFAULT_PORT: u16 = 7667;

/// How long to wait for the resolver. It goes on by itself, and may know the answer next time.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A host, by name or address, and a UDP port; or a member of the mesh, wherever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    host: String,
    port: u16,
    member: Option<PublicKey>,
}

/// The text does not name a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} does not name a host: {why}")]
pub struct ParseTargetError {
    text: String,
    why: &'static str,
}

impl FromStr for Target {
    type Err = ParseTargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = |why| ParseTargetError { text: text.chars().take(80).collect(), why };
        let to_port = |port: &str| match port.parse::<u16>() {
            Ok(0) | Err(_) => Err(refused("the port is a number from 1 to 65535")),
            Ok(port) => Ok(port),
        };
        if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) =
                rest.split_once(']').ok_or_else(|| refused("the bracket is not closed"))?;
            host.split('%').next().unwrap_or(host).parse::<Ipv6Addr>().map_err(|_| {
                refused("in brackets stands an IPv6 address, as in [2001:db8::1]:7667")
            })?;
            let port = match rest.strip_prefix(':') {
                Some(port) => to_port(port)?,
                None if rest.is_empty() => DEFAULT_PORT,
                None => return Err(refused("after the bracket comes a colon and a port")),
            };
            return Ok(Self { host: host.to_owned(), port, member: None });
        }
        if text.parse::<Ipv6Addr>().is_ok() {
            return Ok(Self { host: text.to_owned(), port: DEFAULT_PORT, member: None });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, to_port(port)?),
            None => (text, DEFAULT_PORT),
        };
        if host.is_empty() {
            return Err(refused("it is empty"));
        }
        if host.contains('@') {
            return Err(refused("a cable needs no user name"));
        }
        if host.len() > 253
            || !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        {
            return Err(refused("a host name has letters, digits, hyphens and dots"));
        }
        Ok(Self { host: host.to_owned(), port, member: None })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.member.is_some() {
            f.write_str(&self.host)
        } else if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        let host = address.ip().to_canonical().to_string();
        Self { host, port: address.port(), member: None }
    }
}

impl Target {
    /// A member of the mesh, by its key. The name is for people.
    pub fn member(name: &str, key: PublicKey) -> Self {
        Self { host: name.to_owned(), port: DEFAULT_PORT, member: Some(key) }
    }

    /// The key of the member that is meant, if it is one.
    pub fn member_key(&self) -> Option<PublicKey> {
        self.member
    }

    /// The host, as it was written.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The UDP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Asks the system's resolver for the addresses, in the order in which to try them.
    ///
    /// # Errors
    /// What the resolver says; also when it knows the name but no address of it.
    pub async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, self.port)]);
        }
        let lookup = tokio::net::lookup_host((self.host.as_str(), self.port));
        let addresses: Vec<_> = tokio::time::timeout(RESOLVE_TIMEOUT, lookup)
            .await
            .map_err(|_elapsed| io::Error::other("the resolver does not answer"))??
            .collect();
        if addresses.is_empty() {
            return Err(io::Error::other("the name has no address"));
        }
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_the_default_port_unless_it_names_one() {
        for (text, shown) in [
            ("hostB", "hostB:7667"),
            ("hostb.example:1", "hostb.example:1"),
            ("192.0.2.1", "192.0.2.1:7667"),
            ("192.0.2.1:99", "192.0.2.1:99"),
            ("2001:db8::1", "[2001:db8::1]:7667"),
            ("[2001:db8::1]", "[2001:db8::1]:7667"),
            ("[2001:db8::1]:5", "[2001:db8::1]:5"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_host_is_refused_with_the_reason() {
        for text in
            ["", ":5", "a:0", "a:65536", "a:b", "a:1:2", "[::1", "[::1]5", "[x]:1", "a b", "u@h"]
        {
            assert!(text.parse::<Target>().is_err(), "{text:?}");
        }
    }
}
