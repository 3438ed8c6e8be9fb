//! Who signs: the identity of a node in records, and what the shell must be able to do with keys.
//!
//! Owns the types. Leaves cryptography, and who is a member, to the shell's [`Authority`].

use std::fmt;

use serde::{Deserialize, Serialize};

/// Length of the text form of a key: 256 bits at five bits a character.
const TEXT_LEN: usize = 52;

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A node's identity in the mesh: its Ed25519 public key (RFC 8032), 32 octets.
///
/// Keys are compared as numbers, the first octet being the most significant. Text form: base32 of
/// RFC 4648 in lower case without padding, 52 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeKey(pub [u8; 32]);

impl NodeKey {
    /// The lowest key.
    pub const MIN: Self = Self([0; 32]);

    /// The highest key.
    pub const MAX: Self = Self([0xff; 32]);

    /// The next higher key; `None` after the highest.
    pub(crate) fn successor(mut self) -> Option<Self> {
        for octet in self.0.iter_mut().rev() {
            *octet = octet.wrapping_add(1);
            if *octet != 0 {
                return Some(self);
            }
        }
        None
    }

    /// Eight of its octets, as a number to mix into hashes that need not withstand an attack.
    pub(crate) fn prefix(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Display for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(TEXT_LEN);
        let (mut bits, mut held) = (0_u32, 0_u32);
        for octet in self.0.into_iter().map(u32::from).chain([0]) {
            bits = bits << 8 | octet;
            held += 8;
            while held >= 5 && text.len() < TEXT_LEN {
                held -= 5;
                text.push(char::from(ALPHABET[(bits >> held & 0x1f) as usize]));
            }
        }
        f.pad(&text)
    }
}

impl fmt::Debug for NodeKey {
    /// The first eight characters: enough to tell nodes apart in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.to_string();
        f.write_str(&text[..8])
    }
}

/// An Ed25519 signature: 64 octets on the wire, without a length.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signature(pub [u8; 64]);

impl Signature {
    /// Eight of its octets: they differ when what was signed differs.
    pub(crate) fn prefix(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}…", self.prefix())
    }
}

impl Serialize for Signature {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (low, high) = self.0.split_at(32);
        (<[u8; 32]>::try_from(low).expect("half of 64"), <[u8; 32]>::try_from(high).expect("half"))
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (low, high) = <([u8; 32], [u8; 32])>::deserialize(deserializer)?;
        let mut octets = [0; 64];
        octets[..32].copy_from_slice(&low);
        octets[32..].copy_from_slice(&high);
        Ok(Self(octets))
    }
}

/// What the shell does with keys on behalf of the mesh.
pub trait Authority {
    /// Signs with this node's own key.
    fn sign(&self, octets: &[u8]) -> Signature;

    /// Whether that key signed these octets and belongs to a member of the mesh.
    ///
    /// It costs some 60 µs with Ed25519, so it is asked last, when a record is known to be new.
    fn verify(&self, key: &NodeKey, octets: &[u8], signature: &Signature) -> bool;

    /// Whether a member may be the gateway, as far as is known now: it is asked again and again, for
    /// roles are given and taken.
    fn may_be_gateway(&self, key: &NodeKey) -> bool;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_as_base32() {
        let mut octets = [0; 32];
        octets[..10].copy_from_slice(b"foobarfoob");
        let text = NodeKey(octets).to_string();
        assert_eq!(text.len(), TEXT_LEN);
        assert!(text.starts_with("mzxw6ytbojtg633c"), "{text}");
        assert!(NodeKey::MAX.to_string().ends_with("777q"));
    }

    #[test]
    fn the_successor_carries_and_ends() {
        let mut octets = [0; 32];
        octets[31] = 0xff;
        octets[30] = 1;
        let next = NodeKey(octets).successor().unwrap();
        assert_eq!(next.0[29..], [0, 2, 0]);
        assert_eq!(NodeKey::MAX.successor(), None);
    }
}
