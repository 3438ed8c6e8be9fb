//! Where VMs and interfaces are plugged in, as typed.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, bail};

/// Where stream clients are awaited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StreamAddress {
    /// A unix socket.
    Unix(PathBuf),
    /// A TCP address.
    Tcp(SocketAddr),
}

/// A socket on which each datagram is a frame, and who is at its other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DgramAddress {
    /// A unix datagram socket. Without a peer's path, whoever sends first is the peer.
    Unix { local: PathBuf, remote: Option<PathBuf> },
    /// A UDP address. Without a peer's address, whoever sends first is the peer.
    Udp { local: SocketAddr, remote: Option<SocketAddr> },
}

/// An interface of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TapAddress {
    /// By name, made when missing.
    Name(String),
    /// A descriptor that this process inherited, open on a tap.
    Descriptor(i32),
}

/// A path has a slash; everything else must be an address and port.
fn is_path(text: &str) -> bool {
    text.contains('/')
}

fn socket_address(flag: &str, text: &str) -> anyhow::Result<SocketAddr> {
    text.parse().with_context(|| {
        format!("{flag} {text:?} is neither a path, with a slash, nor an address and port, as 127.0.0.1:5555")
    })
}

impl StreamAddress {
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        if is_path(text) {
            return Ok(Self::Unix(text.into()));
        }
        socket_address("--stream", text).map(Self::Tcp)
    }
}

impl DgramAddress {
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let (local, remote) = match text.split_once('=') {
            Some((local, remote)) => (local, Some(remote)),
            None => (text, None),
        };
        if remote.is_some_and(|remote| is_path(remote) != is_path(local)) {
            bail!("--dgram {text:?}: both ends are paths, or both are addresses");
        }
        if is_path(local) {
            return Ok(Self::Unix { local: local.into(), remote: remote.map(PathBuf::from) });
        }
        let address = |text| socket_address("--dgram", text);
        let (local, remote) = (address(local)?, remote.map(address).transpose()?);
        if remote.is_some_and(|remote| remote.is_ipv4() != local.is_ipv4()) {
            bail!("--dgram {text:?}: both addresses are IPv4, or both are IPv6");
        }
        Ok(Self::Udp { local, remote })
    }
}

/// Our own end.
impl fmt::Display for DgramAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { local, .. } => write!(f, "{}", local.display()),
            Self::Udp { local, .. } => write!(f, "{local}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_socket_is_named_by_its_path_or_address_and_its_peers() {
        let udp = |text: &str| text.parse::<SocketAddr>().unwrap();
        let cases = [
            ("/run/a", DgramAddress::Unix { local: "/run/a".into(), remote: None }),
            ("./a=./b", DgramAddress::Unix { local: "./a".into(), remote: Some("./b".into()) }),
            ("127.0.0.1:1", DgramAddress::Udp { local: udp("127.0.0.1:1"), remote: None }),
            (
                "[::1]:1=[::1]:2",
                DgramAddress::Udp { local: udp("[::1]:1"), remote: Some(udp("[::1]:2")) },
            ),
        ];
        for (text, address) in cases {
            assert_eq!(DgramAddress::parse(text).unwrap(), address, "{text}");
        }
        for wrong in ["", "a", "/run/a=127.0.0.1:1", "127.0.0.1:1=[::1]:2", "1.2.3.4"] {
            let error = DgramAddress::parse(wrong).unwrap_err().to_string();
            assert!(error.starts_with("--dgram"), "{wrong}: {error}");
        }
    }
}
