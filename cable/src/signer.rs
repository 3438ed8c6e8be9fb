//! The keys behind the mesh's records: signing with this node's own, checking others'.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use mesh::authority::{Authority, NodeKey, Signature};
use mesh::roster::{Checker, Sealer};

use crate::identity::{Identity, PublicKey};
use crate::trust::Trust;

/// Signs in the name of one node.
pub struct Signer {
    pair: Ed25519KeyPair,
    key: NodeKey,
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
        let pair = pair.expect("an identity is made of such a key");
        Self { pair, key: identity.public().into() }
    }
}

impl Sealer for Signer {
    fn key(&self) -> NodeKey {
        self.key
    }

    fn seal(&self, octets: &[u8]) -> Signature {
        let signature = self.pair.sign(octets);
        Signature(signature.as_ref().try_into().expect("Ed25519 signatures have 64 octets"))
    }
}

/// Checks signatures with the public key alone.
#[derive(Debug, Clone, Copy)]
pub struct Signatures;

impl Checker for Signatures {
    fn is_signed_by(&self, key: &NodeKey, octets: &[u8], signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, key.0).verify(octets, &signature.0).is_ok()
    }
}

/// Who signs records for the mesh, and whose are taken.
#[derive(Debug)]
pub struct Notary {
    signer: Signer,
    trust: Trust,
}

impl Notary {
    /// Signs as `identity`, and takes records of those whom `trust` lets speak.
    pub fn new(identity: &Identity, trust: Trust) -> Self {
        Self { signer: Signer::new(identity), trust }
    }
}

impl Authority for Notary {
    fn sign(&self, octets: &[u8]) -> Signature {
        self.signer.seal(octets)
    }

    fn verify(&self, key: &NodeKey, octets: &[u8], signature: &Signature) -> bool {
        self.trust.lets_speak((*key).into()) && Signatures.is_signed_by(key, octets, signature)
    }

    fn may_be_gateway(&self, key: &NodeKey) -> bool {
        self.trust.may_be_gateway((*key).into())
    }
}

impl From<PublicKey> for NodeKey {
    fn from(key: PublicKey) -> Self {
        Self(key.octets())
    }
}

impl From<NodeKey> for PublicKey {
    fn from(key: NodeKey) -> Self {
        Self::from_octets(key.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_signs_others_can_check_with_its_public_key_alone() {
        let [one, other] = [(); 2].map(|()| Identity::generate().unwrap());
        let signature = Signer::new(&one).seal(b"record");
        let [one, other] = [one.public().into(), other.public().into()];
        assert!(Signatures.is_signed_by(&one, b"record", &signature));
        assert!(!Signatures.is_signed_by(&one, b"recorD", &signature));
        assert!(!Signatures.is_signed_by(&other, b"record", &signature));
    }
}
