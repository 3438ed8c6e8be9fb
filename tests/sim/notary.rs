//! Signatures that are quick to make and to check. Only a world's own nodes ask for one, so that a
//! record that was changed or made up by others never has the right one.

use mesh::NodeKey;
use mesh::authority::{Authority, Signature};

/// The first octet of the keys of nodes that are no members.
const STRANGER: u8 = 0xff;

/// Signs for one node.
#[derive(Debug, Clone)]
pub(crate) struct Notary(pub(crate) NodeKey);

impl Notary {
    fn seal(key: &NodeKey, octets: &[u8]) -> Signature {
        let mut sums = [0x6a09_e667_f3bc_c908_u64, 0xbb67_ae85_84ca_a73b];
        let words = key.0.chunks(8).chain(octets.chunks(8));
        for (at, word) in words.enumerate() {
            let mut octets = [0; 8];
            octets[..word.len()].copy_from_slice(word);
            let sum = &mut sums[at % 2];
            let mixed = *sum ^ u64::from_le_bytes(octets) ^ word.len() as u64;
            *sum = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
        let (mut signature, mut turn) = ([0; 64], 1);
        for (at, out) in signature.chunks_mut(8).enumerate() {
            let sum = sums[at % 2].wrapping_add(sums[1 - at % 2].rotate_left(turn));
            turn += 7;
            out.copy_from_slice(&sum.wrapping_mul(0xbf58_476d_1ce4_e5b9).to_le_bytes());
        }
        Signature(signature)
    }
}

impl Authority for Notary {
    fn sign(&self, octets: &[u8]) -> Signature {
        Self::seal(&self.0, octets)
    }

    fn verify(&self, key: &NodeKey, octets: &[u8], signature: &Signature) -> bool {
        key.0[0] != STRANGER && Self::seal(key, octets) == *signature
    }

    fn may_be_gateway(&self, key: &NodeKey) -> bool {
        key.0[0] != STRANGER
    }
}
