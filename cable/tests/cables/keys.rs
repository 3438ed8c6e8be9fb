//! Every way not to prove a trusted key, on either side: refused, and both ends know why.

use std::sync::Arc;

use cable::failure::{Failure, Phase};
use control::status::CableState;
use mesh::message::ALPN;
use rustls::sign::CertifiedKey;

use crate::handmade::{Client, Pair, Proof, certified, certified_octets, server_that_shows};
use crate::lab::{self, Home, until};

/// A `SubjectPublicKeyInfo` of RSA (RFC 8017), with a modulus that is long enough.
fn rsa() -> Vec<u8> {
    let mut der = vec![
        0x30, 0x81, 0x9f, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01,
        0x01, 0x05, 0x00, 0x03, 0x81, 0x8d, 0x00, 0x30, 0x81, 0x89, 0x02, 0x81, 0x81, 0x00,
    ];
    der.extend([0xb5; 128]);
    der.extend([0x02, 0x03, 0x01, 0x00, 0x01]);
    der
}

/// What is shown in the place of a trusted key, by what a counter calls it and what the two ends say.
fn proofs(
    trusted: &Pair,
    other: &Pair,
) -> Vec<(&'static str, [&'static str; 2], Arc<CertifiedKey>)> {
    let not_ed25519 = ["something else than an Ed25519 key", "takes no Ed25519 key"];
    let unsigned = ["did not sign with the key that it showed", "did not sign with its key"];
    let mut long = trusted.key.to_spki();
    long.push(0);
    let shows = |octets: Vec<u8>| certified_octets(octets, trusted.signing.clone());
    vec![
        ("wrong-signature", unsigned, certified(trusted.key, other.signing.clone())),
        ("not-ed25519", not_ed25519, shows(rsa())),
        ("not-ed25519", not_ed25519, shows(Vec::new())),
        ("not-ed25519", not_ed25519, shows(trusted.key.to_spki()[..43].to_vec())),
        ("not-ed25519", not_ed25519, shows(long)),
        ("untrusted", ["that is not trusted here", "does not trust this node"], other.certified()),
    ]
}

#[test]
fn who_knocks_without_proof_is_refused_with_the_reason_on_both_ends() {
    lab::run(async {
        let node = Home::new().start();
        let (trusted, other) = (Pair::new(), Pair::new());
        node.trust(trusted.key);
        let proofs = proofs(&trusted, &other);
        let not_ed25519 = ["something else than an Ed25519 key", "takes no Ed25519 key"];
        let none = [
            ("no-key", ["showed no key", "showed no key"], Proof::Nothing),
            // These do not even offer raw keys.
            ("not-ed25519", not_ed25519, Proof::None),
            ("not-ed25519", not_ed25519, Proof::Certificate(trusted.certified())),
        ];
        let shown = proofs.into_iter().map(|(word, says, key)| (word, says, Proof::RawKey(key)));
        for (number, (word, [_, says], proof)) in shown.chain(none).enumerate() {
            let count = || node.cables.strangers().refused.get(word).copied().unwrap_or(0);
            let before = count();
            let client = Client::new(proof, ALPN);
            let err = match client.knock(node.address()).await {
                Ok(connection) => connection.closed().await,
                Err(err) => err,
            };
            let heard = Failure::of(&err, Phase::Handshake, node.address(), None).reason();
            assert!(heard.contains(says), "{number} {word}: {heard}");
            until("the node counts it", || count() == before + 1).await;
        }
        assert!(node.cables.statuses().is_empty());
        assert_eq!(node.heard(), []);
    });
}

#[test]
fn who_is_dialled_and_has_no_proof_is_refused_with_the_reason_on_both_ends() {
    lab::run(async {
        let node = Home::new().start();
        let (trusted, other) = (Pair::new(), Pair::new());
        node.trust(trusted.key);
        for (word, [says, hears], proof) in proofs(&trusted, &other) {
            let server = server_that_shows(proof, ALPN);
            let address = server.local_addr().unwrap();
            let cable = node.connect(address).await;
            let incoming = server.accept().await.unwrap();
            let err = match incoming.await {
                Ok(connection) => connection.closed().await,
                Err(err) => err,
            };
            let heard = Failure::of(&err, Phase::Handshake, address, None).reason();
            assert!(heard.contains(hears), "{word}: {heard}");
            until("the node says why", || node.reason(cable).contains(says)).await;
            assert_ne!(node.status(cable).unwrap().state, CableState::Up);
            node.cables.disconnect(&cable.to_string()).unwrap();
        }
        assert_eq!(node.heard(), []);
    });
}
