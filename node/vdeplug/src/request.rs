//! The one request that opens a plug, as octets. Pure; the dialogue is in [`crate::server`] and
//! [`crate::client`]. Source: the protocol table in this package's `README.md`.

use std::fmt;

use crate::address::{ADDRESS_LEN, AddressError, UnixAddress};

/// The first word of a request of version 1 or 3.
pub const MAGIC: u32 = 0xfeed_face;

/// The longest description; longer ones are cut when sent and refused when received.
pub const MAX_DESCRIPTION: usize = 128;

/// The highest port number that the upper 24 bits of a signed word can carry.
pub const MAX_PORT: u32 = 0x7f_ffff;

/// The longest request: version 1 with a full description.
pub const MAX_LEN: usize = V1_FIXED + MAX_DESCRIPTION;

/// The word that tells version 3 from version 1, which has a type of 0 or 1 in its place.
const VERSION_3: u32 = 3;
/// Magic, version, type, address.
const V3_FIXED: usize = 4 + 4 + 4 + ADDRESS_LEN;
/// Magic, type, an unused MAC address, address.
const V1_FIXED: usize = 4 + 4 + 6 + ADDRESS_LEN;

/// What the client wants to be plugged into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// A port of the switch.
    #[default]
    Plug,
    /// The management port, number 0, which lies outside the pool of ports.
    Management,
}

/// A client's wish for a plug.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Ordinary or management port.
    pub kind: Kind,
    /// The wanted port, 1 to [`MAX_PORT`]; `None` leaves the choice to the switch.
    pub port: Option<u32>,
    /// The datagram socket that the client has bound for its frames.
    pub address: UnixAddress,
    /// How the client describes itself.
    pub description: Description,
}

/// What a client says about itself: up to [`MAX_DESCRIPTION`] octets of anything. Shown to people,
/// believed by nobody.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Description(Vec<u8>);

/// The octets are not a request that this switch can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The first word is not [`MAGIC`]; clients before version 1 had none.
    #[error("request begins with {0:#010x}, not with {MAGIC:#010x}")]
    Magic(u32),
    /// The second word is neither 3 nor a type of version 1.
    #[error("request has version {0}; versions 1 and 3 are understood")]
    Version(u32),
    /// The lower eight bits of the type are neither 0 (plug) nor 1 (management).
    #[error("request has type {0}; 0 (plug) and 1 (management) are understood")]
    Kind(u8),
    /// The port is negative, and not the −1 that stands for the management port.
    #[error("request asks for port {0}")]
    Port(i32),
    /// Fewer octets than the fixed part of its version.
    #[error("request of {len} octets is shorter than {expected}")]
    TooShort {
        /// What there is.
        len: usize,
        /// The least that its version needs.
        expected: usize,
    },
    /// More octets than the fixed part and the longest description.
    #[error("request of {len} octets is longer than {limit}")]
    TooLong {
        /// What there is; more may have followed.
        len: usize,
        /// The most that its version allows.
        limit: usize,
    },
    /// The address of the client's data socket is malformed.
    #[error(transparent)]
    Address(#[from] AddressError),
}

impl Request {
    /// How many octets a request that begins with `received` must have before it can be parsed:
    /// 8 as long as its version is open, then 122 or 124.
    ///
    /// # Errors
    /// [`RequestError::Magic`] and [`RequestError::Version`], as soon as the word is there, so
    /// that a stranger is refused without waiting for more.
    pub fn required_len(received: &[u8]) -> Result<usize, RequestError> {
        if let Some(magic) = word(received, 0)
            && magic != MAGIC
        {
            return Err(RequestError::Magic(magic));
        }
        match word(received, 4) {
            None => Ok(8),
            Some(VERSION_3) => Ok(V3_FIXED),
            Some(0 | 1) => Ok(V1_FIXED),
            Some(version) => Err(RequestError::Version(version)),
        }
    }

    /// Reads a complete request of version 1 or 3. What follows the fixed part is the description.
    ///
    /// # Errors
    /// [`RequestError`], for each way in which the octets are not a request.
    pub fn parse(octets: &[u8]) -> Result<Self, RequestError> {
        let fixed = Self::required_len(octets)?;
        let short = RequestError::TooShort { len: octets.len(), expected: fixed };
        let limit = fixed + MAX_DESCRIPTION;
        if octets.len() > limit {
            return Err(RequestError::TooLong { len: octets.len(), limit });
        }
        let (head, description) = octets.split_at_checked(fixed).ok_or(short)?;
        let address = head.last_chunk::<ADDRESS_LEN>().ok_or(short)?;
        let kind = word(head, if fixed == V3_FIXED { 8 } else { 4 }).ok_or(short)?;
        let (kind, port) = parse_type(kind)?;
        Ok(Self {
            kind,
            port,
            address: UnixAddress::parse(address)?,
            description: Description(description.to_vec()),
        })
    }

    /// The request as a client of version 3 sends it: 122 octets and the description.
    pub fn encode(&self) -> Vec<u8> {
        let kind = match self.kind {
            Kind::Plug => 0,
            Kind::Management => 1,
        };
        let mut octets = Vec::with_capacity(V3_FIXED + self.description.0.len());
        for word in [MAGIC, VERSION_3, self.port.unwrap_or(0) << 8 | kind] {
            octets.extend_from_slice(&word.to_ne_bytes());
        }
        octets.extend_from_slice(self.address.as_bytes());
        octets.extend_from_slice(&self.description.0);
        octets
    }
}

/// Splits the type word: kind in the lower eight bits, port above them, arithmetically shifted.
fn parse_type(word: u32) -> Result<(Kind, Option<u32>), RequestError> {
    let [kind, ..] = word.to_le_bytes();
    let port = word.cast_signed() >> 8;
    match (kind, port) {
        (0, -1) | (1, _) => Ok((Kind::Management, None)),
        (0, 0) => Ok((Kind::Plug, None)),
        (0, port) => {
            Ok((Kind::Plug, Some(u32::try_from(port).map_err(|_| RequestError::Port(port))?)))
        }
        (kind, _) => Err(RequestError::Kind(kind)),
    }
}

/// The word at `offset` in host byte order: both ends run on the same kernel.
fn word(octets: &[u8], offset: usize) -> Option<u32> {
    octets.get(offset..)?.first_chunk().map(|word| u32::from_ne_bytes(*word))
}

impl Description {
    /// Takes a text, cut to [`MAX_DESCRIPTION`] octets at the end of a character.
    pub fn new(text: &str) -> Self {
        let fits = (0..=MAX_DESCRIPTION.min(text.len())).rfind(|&end| text.is_char_boundary(end));
        Self(text.as_bytes()[..fits.unwrap_or(0)].to_vec())
    }

    /// The octets as they were sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Text fit for a terminal and a log: without the NULs and stray octets that some clients append,
/// anything unprintable replaced by U+FFFD.
impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.0.iter().position(|&octet| octet == 0).unwrap_or(self.0.len());
        for char in String::from_utf8_lossy(&self.0[..end]).trim().chars() {
            write!(f, "{}", if char.is_control() { char::REPLACEMENT_CHARACTER } else { char })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

#[cfg(test)]
mod tests;
