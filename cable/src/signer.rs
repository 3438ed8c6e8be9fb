//! The keys behind the mesh's records: signing with this node's own, checking others'.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use mesh::authority::{Authority, NodeKey, Signature};

use crate::identity::{Identity, PublicKey};

/// Signs in the name of one node.
///
/// Whoever signs rightly counts as a member: a record only comes by nodes that are trusted, and
/// they take records only from nodes that they trust.
pub struct Signer {
    pair: Ed25519KeyPair,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

impl Signer {
    /// Signs as `identity`.
    pub fn new(identity: &Identity) -> Self {
        let pair = Ed25519KeyPair::from_pkcs8(identity.pkcs8());
        Self { pair: pair.expect("an identity is made of such a key") }
    }
}

impl Authority for Signer {
    fn sign(&self, octets: &[u8]) -> Signature {
        let signature = self.pair.sign(octets);
        Signature(signature.as_ref().try_into().expect("Ed25519 signatures have 64 octets"))
    }

    fn verify(&self, key: &NodeKey, octets: &[u8], signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, key.0).verify(octets, &signature.0).is_ok()
    }
}

impl From<PublicKey> for NodeKey {
    fn from(key: PublicKey) -> Self {
        Self(key.octets())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_signs_others_can_check_with_its_public_key_alone() {
        let [one, other] = [(); 2].map(|()| Identity::generate().unwrap());
        let signer = Signer::new(&one);
        let signature = signer.sign(b"record");
        let checker = Signer::new(&other);
        assert!(checker.verify(&one.public().into(), b"record", &signature));
        assert!(!checker.verify(&one.public().into(), b"recorD", &signature));
        assert!(!checker.verify(&other.public().into(), b"record", &signature));
    }
}
