//! Every way not to prove a trusted key, on either side: refused, and both ends know why.

use std::sync::Arc;
use std::time::Duration;

use cable::failure::{Failure, Phase};
use cable::trust::{Offer, Verdict};
use control::status::CableState;
use mesh::message::{ALPN, JOIN_ALPN, Message, Name, encode};
use mesh::roster::Roles;
use rustls::sign::CertifiedKey;

use crate::enrolment::offer;
use crate::handmade::{Client, Pair, Proof, certified, certified_octets, server_that_shows};
use crate::lab::{self, Home, Node, until};

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

/// A member of a node's mesh that is made by hand.
async fn admitted(by: &Node, lasts: Option<Duration>) -> Pair {
    let pair = Pair::new();
    let offer = Offer { lasts, ..offer(Roles::SWITCH) };
    let token = by.trust.invite(&offer, vec![by.address().into()]).unwrap().0;
    let client = Client::new(Proof::RawKey(pair.certified()), JOIN_ALPN);
    let connection = client.knock(by.address()).await.unwrap();
    let mut session = [0; 32];
    connection.export_keying_material(&mut session, b"EXPORTER-vdecable-join-1", b"").unwrap();
    let request = cable::trust::request(&token, &session, pair.key, &Name::lossy("handmade"));
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(&encode(&Message::Join(request))).await.unwrap();
    recv.read_exact(&mut [0; 5]).await.unwrap();
    until("it is a member", || by.trust.contains(pair.key)).await;
    pair
}

/// Members that are none any more: what a counter calls them, what the node says and what they hear.
async fn former_members(node: &Node) -> [(&'static str, [&'static str; 2], Pair); 2] {
    let (out, over) =
        (admitted(node, None).await, admitted(node, Some(Duration::from_secs(1))).await);
    node.trust.revoke(&out.key.to_string(), false).unwrap();
    node.cables.handle_trust_change();
    until("its time is over", || node.trust.verdict(over.key) == Verdict::Expired).await;
    let revoked = ["presented a key that was revoked", "its key was revoked"];
    let expired = ["a member whose time is over", "its membership has ended"];
    [("revoked", revoked, out), ("expired", expired, over)]
}

#[test]
fn who_was_a_member_and_knocks_is_refused_with_the_reason_on_both_ends() {
    lab::run(async {
        let node = Home::new().start_member("a");
        for (word, [_, hears], pair) in former_members(&node).await {
            let count = || node.cables.strangers().refused.get(word).copied().unwrap_or(0);
            let before = count();
            let client = Client::honest(&pair);
            let err = match client.knock(node.address()).await {
                Ok(connection) => connection.closed().await,
                Err(err) => err,
            };
            let heard = Failure::of(&err, Phase::Handshake, node.address(), None).reason();
            assert!(heard.contains(hears), "{word}: {heard}");
            until("the node counts it", || count() == before + 1).await;
            assert!(node.trust.refusals().iter().any(|refusal| refusal.key == pair.key), "{word}");
        }
        assert_eq!(node.heard(), []);
    });
}

#[test]
fn who_was_a_member_and_is_dialled_is_refused_with_the_reason_on_both_ends() {
    lab::run(async {
        let node = Home::new().start_member("a");
        for (word, [says, hears], pair) in former_members(&node).await {
            let server = server_that_shows(pair.certified(), ALPN);
            let address = server.local_addr().unwrap();
            let cable = node.connect(address).await;
            let err = match server.accept().await.unwrap().await {
                Ok(connection) => connection.closed().await,
                Err(err) => err,
            };
            let heard = Failure::of(&err, Phase::Handshake, address, None).reason();
            assert!(heard.contains(hears), "{word}: {heard}");
            until("the node says why", || node.reason(cable).contains(says)).await;
            let fix = node.status(cable).unwrap().fix.unwrap_or_default();
            assert!(fix.contains("vdecable invite"), "{word}: {fix}");
            node.cables.disconnect(&cable.to_string()).unwrap();
        }
        assert_eq!(node.heard(), []);
    });
}
