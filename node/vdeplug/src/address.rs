//! `struct sockaddr_un` as it travels inside a request and as the reply: 110 octets, never fewer.
//!
//! An address is kept exactly as it was received. User-Mode Linux names an abstract socket whose
//! 108 octets end in uninitialised memory, and all of them belong to the name (unix(7)), so an
//! address that was trimmed at a NUL or built again from a string would name nothing.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::net::SocketAddrUnix;

/// Size of the whole structure on Linux: a 16-bit family and 108 octets of path.
pub const ADDRESS_LEN: usize = 110;

/// The longest path that fits with its terminating NUL.
pub const MAX_PATH: usize = PATH_LEN - 1;

const FAMILY_LEN: usize = 2;
const PATH_LEN: usize = ADDRESS_LEN - FAMILY_LEN;
const FAMILY_UNIX: u16 = rustix::net::AddressFamily::UNIX.as_raw();

/// The address of a local socket, by path or abstract.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UnixAddress([u8; ADDRESS_LEN]);

/// The octets are not the address of a local socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The first two octets, in host byte order, are not `AF_UNIX`.
    #[error("address family is {0}, not 1 (AF_UNIX)")]
    Family(u16),
    /// A path fills all 108 octets; it cannot be told from one that was cut off.
    #[error("socket path is not terminated within its 108 octets")]
    Unterminated,
    /// The path does not fit.
    #[error("socket path of {0} octets is longer than {MAX_PATH}")]
    TooLong(usize),
}

impl UnixAddress {
    /// Takes an address as it was received.
    ///
    /// # Errors
    /// [`AddressError::Family`] and [`AddressError::Unterminated`].
    pub fn parse(octets: &[u8; ADDRESS_LEN]) -> Result<Self, AddressError> {
        let family = u16::from_ne_bytes([octets[0], octets[1]]);
        if family != FAMILY_UNIX {
            return Err(AddressError::Family(family));
        }
        if !octets[FAMILY_LEN..].contains(&0) {
            return Err(AddressError::Unterminated);
        }
        Ok(Self(*octets))
    }

    /// The address of the socket at `path`, padded with zeros.
    ///
    /// # Errors
    /// [`AddressError::TooLong`].
    pub fn from_path(path: &Path) -> Result<Self, AddressError> {
        let path = path.as_os_str().as_bytes();
        if path.len() > MAX_PATH {
            return Err(AddressError::TooLong(path.len()));
        }
        let mut octets = [0; ADDRESS_LEN];
        octets[..FAMILY_LEN].copy_from_slice(&FAMILY_UNIX.to_ne_bytes());
        octets[FAMILY_LEN..][..path.len()].copy_from_slice(path);
        Ok(Self(octets))
    }

    /// The 110 octets.
    pub fn as_bytes(&self) -> &[u8; ADDRESS_LEN] {
        &self.0
    }

    /// The path up to its NUL, or `None` for an abstract address.
    pub fn path(&self) -> Option<&Path> {
        let path = &self.0[FAMILY_LEN..];
        let len = path.iter().position(|&octet| octet == 0).unwrap_or(PATH_LEN);
        (len > 0).then(|| Path::new(OsStr::from_bytes(&path[..len])))
    }

    /// The address in the form that system calls take, of the same 110 octets where they count:
    /// the whole field for an abstract name, up to the NUL for a path.
    pub(crate) fn to_socket(self) -> std::io::Result<SocketAddrUnix> {
        let address = match self.path() {
            Some(path) => SocketAddrUnix::new(path),
            None => SocketAddrUnix::new_abstract_name(&self.0[FAMILY_LEN + 1..]),
        };
        Ok(address?)
    }
}

impl fmt::Display for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path() {
            Some(path) => write!(f, "{}", path.display()),
            // The notation of ss(8), without the padding.
            None => {
                let name = &self.0[FAMILY_LEN + 1..];
                let end = name.iter().rposition(|&octet| octet != 0).map_or(0, |last| last + 1);
                write!(f, "@{}", name[..end].escape_ascii())
            }
        }
    }
}

impl fmt::Debug for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnixAddress({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_round_trips_in_110_octets() {
        let address = UnixAddress::from_path(Path::new("/run/vde.ctl/plug.1")).unwrap();
        assert_eq!(&address.as_bytes()[..4], [1, 0, b'/', b'r']);
        assert_eq!(UnixAddress::parse(address.as_bytes()), Ok(address));
        assert_eq!(address.path(), Some(Path::new("/run/vde.ctl/plug.1")));
    }

    #[test]
    fn an_abstract_name_keeps_every_octet_of_its_padding() {
        let mut octets = [0xa5; ADDRESS_LEN];
        octets[..7].copy_from_slice(&[1, 0, 0, b'u', b'm', b'l', 0]);
        let address = UnixAddress::parse(&octets).unwrap();
        assert_eq!(address.path(), None);
        let name = address.to_socket().unwrap();
        assert_eq!(name.abstract_name(), Some(&octets[3..]));
    }

    #[test]
    fn what_is_no_local_address_is_refused() {
        let mut octets = [b'x'; ADDRESS_LEN];
        octets[..2].copy_from_slice(&2u16.to_ne_bytes());
        assert_eq!(UnixAddress::parse(&octets), Err(AddressError::Family(2)));
        octets[..2].copy_from_slice(&1u16.to_ne_bytes());
        assert_eq!(UnixAddress::parse(&octets), Err(AddressError::Unterminated));
        let long = "x".repeat(108);
        assert_eq!(UnixAddress::from_path(Path::new(&long)), Err(AddressError::TooLong(108)));
        assert!(UnixAddress::from_path(Path::new(&long[1..])).is_ok());
    }
}
